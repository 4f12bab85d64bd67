"""The loop, candidate sampling, optimisers, per-seed noise, checkpoints and progress."""
