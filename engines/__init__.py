"""One file per engine: the suite's objectives inside trainers of other libraries."""
