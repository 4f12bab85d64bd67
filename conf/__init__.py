"""Hydra groups, and the one place where a composed config is validated."""
