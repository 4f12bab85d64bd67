"""One module per figure: `draw(rows)` for the runs of its SWEEPS (unnamed: sweeps/paper/<module>.yaml)."""
