"""Policies, with one set of parameters per seed stacked along the first dim."""
