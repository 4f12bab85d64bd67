"""Data sets of the public hub, with one message for all the ways in which they cannot be had."""

from typing import Any


def fetch(hub: str, ways: str, config: str | None = None, revision: str | None = None) -> Any:
    """The splits of a data set, cached, with a progress bar; raises ValueError that offers `ways` to do without."""
    try:
        from datasets import load_dataset

        return load_dataset(hub, config, revision=revision)
    except ImportError:
        raise ValueError(f"data_dir=null: loading {hub} needs 'pip install datasets'; or {ways}") from None
    except Exception as error:  # no network, no disk space, a moved repository: each library raises its own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"data_dir=null: cannot load {hub} ({reason}); {ways}") from None
