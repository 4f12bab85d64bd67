"""Figures and tables, from the run store alone: nothing here imports torch or trains."""
