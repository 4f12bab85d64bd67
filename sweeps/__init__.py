"""Grids as files: `python run.py paper=fig02`."""
