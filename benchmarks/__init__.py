"""Throughput and memory, as ratios to this machine's own limits, of processes tuned as those of run.py are."""

from conf.process import tune_process

tune_process()
