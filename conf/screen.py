"""Where commands print."""

from rich.console import Console

from conf.entry import ReaderLeft


class Screen(Console):
    """A console whose reader may leave. Rich raises SystemExit then, which a run would record as its failure."""

    def on_broken_pipe(self) -> None:
        raise ReaderLeft
