"""Figures as files, each drawn once for what its runs contain, by two processes where many are missing."""

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from analysis import catalogue, style
from analysis.cache import Cache, Files
from analysis.load import Row
from conf.entry import sigint_ignored

FEW = 3  # missing pictures that one process draws before a second one has started
PROCESSES = multiprocessing.get_context("spawn")  # a fork beside other threads hangs


@dataclass(frozen=True)
class Picture:
    """A figure of these rows. `formats` of matplotlib, and "csv" for the data; `dpi`: None for that of the style."""

    figure: str
    rows: list[Row]
    formats: tuple[str, ...] = ("png", "pdf", "csv")
    dpi: float | None = None

    @cached_property
    def key(self) -> list[Any]:
        """All that its files depend on but code."""
        return ["picture", self.figure, self.formats, self.dpi, [row.content for row in self.rows]]

    def draw(self) -> Files:
        """{format: content}"""
        figure, data = catalogue.module(self.figure).draw(self.rows)
        files = style.encoded(figure, tuple(name for name in self.formats if name != "csv"), self.dpi)
        return files | ({"csv": data.to_csv(index=False).encode()} if "csv" in self.formats else {})


def drawn(pictures: list[Picture], disk_cache: Cache) -> Iterator[Files]:
    """The files of each picture, in turn; a second process draws what is missing from the last one on."""
    missing = [picture for picture in pictures if not disk_cache.has(picture.key)]
    with _second_process(missing, disk_cache) if len(missing) > FEW and os.cpu_count() != 1 else nullcontext():
        for picture in pictures:
            yield disk_cache.get(picture.key, picture.draw)


@contextmanager
def _second_process(pictures: list[Picture], disk_cache: Cache) -> Iterator[None]:
    """A process that fills the cache, which is how this one gets what it drew."""
    process = PROCESSES.Process(target=_draw_backwards, args=(pictures, disk_cache), daemon=True)
    with sigint_ignored():  # Ctrl-C is for this process, which then ends the other
        process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def _draw_backwards(pictures: list[Picture], disk_cache: Cache) -> None:
    for picture in reversed(pictures):
        disk_cache.get(picture.key, picture.draw)
        if not disk_cache.has(picture.key):  # the folder cannot be written, so the other process draws all
            return
