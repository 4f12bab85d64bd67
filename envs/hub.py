"""Data sets of the public hub."""

from typing import Any


def fetch(hub: str, alternatives: str, config: str | None = None, revision: str | None = None) -> Any:
    """The splits of a data set, which the library caches.

    Raises ValueError if it cannot be loaded. The message says why, and what else the user can do (`alternatives`).
    """
    try:
        from datasets import load_dataset

        return load_dataset(hub, config, revision=revision)
    except ImportError:
        needs = "needs the package datasets: pip install -c constraints.txt datasets"
        raise ValueError(f"data_dir=null: {hub} {needs}; or {alternatives}") from None
    except Exception as error:  # no network, no disk space, a moved repository: each library raises its own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"data_dir=null: cannot load {hub} ({reason}); {alternatives}") from None
