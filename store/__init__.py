"""Runs on disk, addressed by what was run, and mirrors of them."""
