"""One module per figure: `draw(rows)` for the runs of sweeps/paper/<module>.yaml."""
