"""One file per task family: where contexts come from, and what a candidate scores."""
