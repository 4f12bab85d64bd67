"""The training loop and its parts: samplers, gradients, observers, optimisers, per-seed noise, checkpoints."""
