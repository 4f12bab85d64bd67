"""Grids as files: `python run.py paper=fig02`, `python run.py studies=staleness`."""
