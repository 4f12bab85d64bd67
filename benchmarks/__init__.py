"""Throughput and memory, as ratios to this machine's own limits."""
