"""One file per method: a pure loss over a group of scored candidates."""
