"""Runs on disk, addressed by their configuration; archives of runs; loggers of metrics."""
