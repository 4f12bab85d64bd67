"""Problems and a reward of the user's own: rows of a file, and a function that scores completions."""

from collections.abc import Sequence
from dataclasses import dataclass

from algorithms.base import require
from envs.rlvr.base import Problem, TextEnv
from envs.rlvr.in_process import InProcess
from envs.rlvr.rows import EXAMPLE, Row, answer_of
from envs.rlvr.sources import Sources, known_sources, open_sources
from envs.rlvr.verify import Pool


@dataclass(frozen=True)
class Text(TextEnv):
    """The user's score in [0, 1]; a completion solves its problem if it has the full score. docs/text.md says more.

    data             a file with a row {"prompt": ..., "answer": ...} on each line; further fields reach the function
    validation_data  such a file for this split; null: a tenth of the rows of `data`, by a hash of the prompt
    test_data        the same
    reward           FILE.py:NAME, a function (completion, row) -> score
    unsafe_in_process  call that function in the process that trains, without any limit
    template         the prompt, with {prompt}
    stop             a character at which a completion ends: what the function gets is the text before it
    content_hash     of the rows and of the function's files, which distinguishes runs; null: found out
    """

    name = "text"

    data: str | None = None
    validation_data: str | None = None
    test_data: str | None = None
    reward: str | None = None
    unsafe_in_process: bool = False
    template: str = "{prompt}"
    stop: str | None = None
    chat: str = "auto"
    thinking: bool = False
    batch: int = 16
    candidates: int = 16
    max_new_tokens: int = 256
    content_hash: str | None = None

    def __post_init__(self):
        super().__post_init__()
        require(bool(self.data), "data", self.data, f"a file with a row on each line, such as {EXAMPLE}")
        require("{prompt}" in self.template, "template", repr(self.template), "a text with {prompt} in it")
        found = self._open().content_hash  # what cannot be used is refused before any work
        object.__setattr__(self, "content_hash", found)

    @property
    def verifier(self) -> Pool | InProcess:
        return self._sources().grader

    @property
    def has_answers(self) -> bool:
        return all(map(answer_of, self._sources().rows["train"]))

    def problems(self, split: str) -> Sequence[Problem]:
        return Prompted(self._sources().rows[split], self.template)

    def _sources(self) -> Sources:
        """Rows and function; a process that was handed this environment has to open them again."""
        return known_sources(self.content_hash, self.reward, self.unsafe_in_process) or self._open()

    def _open(self) -> Sources:
        files = {key: getattr(self, key) for key in ("data", "validation_data", "test_data")}
        found = open_sources({key: path for key, path in files.items() if path}, self.reward, self.unsafe_in_process)
        right, allowed = found.content_hash, f"null, or {found.content_hash}, which is that of these files"
        require(self.content_hash in (None, right), "content_hash", self.content_hash, allowed)
        return found


@dataclass(frozen=True)
class Prompted(Sequence[Problem]):
    """The problems of rows, whose prompts go through a template."""

    rows: list[Row]
    template: str

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Problem:
        row = self.rows[index]
        return Problem(self.template.replace("{prompt}", row["prompt"]), answer_of(row), row)
