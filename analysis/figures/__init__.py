"""One module per figure: `draw(rows)` for the runs of its SWEEPS (unnamed: the sweep file of its own name)."""
