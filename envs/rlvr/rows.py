"""Problems of the user's own: files with one JSON object a line, checked and divided into splits."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from envs.rlvr.base import SPLITS
from envs.rlvr.splits import split_of

Row = dict[str, Any]
EXAMPLE = '{"prompt": "2+3=", "answer": "5"}'
_known: dict[str, dict[str, list[Row]]] = {}  # {hash of the files' contents: rows of each split}


def load(files: dict[str, str]) -> tuple[str, dict[str, list[Row]]]:
    """A hash of what the files contain, and the rows of each split.

    `files` are paths under the names of their settings: data, and perhaps validation_data and test_data. Raises
    ValueError that names the setting, the file, the line and the field.
    """
    contents = {key: _read(key, path) for key, path in files.items()}
    hashes = {key: hashlib.sha256(content).hexdigest() for key, content in contents.items()}
    digest = hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()
    if digest not in _known:
        _known[digest] = _divided(files, {key: _rows(key, files[key], text) for key, text in contents.items()})
    return digest, _known[digest]


def answer_of(row: Row) -> str:
    """A row's answer as text; empty where it has none."""
    answer = row.get("answer")
    return answer if isinstance(answer, str) else "" if answer is None else json.dumps(answer, ensure_ascii=False)


def _read(key: str, path: str) -> bytes:
    file = Path(os.path.expanduser(path))
    if not file.exists():
        raise ValueError(f"{key}={path}: no such file; name one that has a row such as {EXAMPLE} on each line")
    try:
        return file.read_bytes()
    except OSError as error:
        raise ValueError(f"{key}={path}: cannot be read ({error.strerror})") from None


def _rows(key: str, path: str, content: bytes) -> dict[int, Row]:
    """{line: row}; empty lines at the end count for nothing."""
    lines = content.removeprefix(b"\xef\xbb\xbf").rstrip().split(b"\n")
    if lines == [b""]:
        raise ValueError(f"{key}={path}: is empty; each line must be a row such as {EXAMPLE}")
    return {number: _row(f"{key}={path}: line {number}", line) for number, line in enumerate(lines, 1)}


def _row(where: str, line: bytes) -> Row:
    try:
        row = json.loads(line.decode())
    except UnicodeDecodeError:
        raise ValueError(f"{where} is no text in UTF-8") from None
    except (ValueError, RecursionError):
        raise ValueError(f"{where} is no JSON, or cut off: {line.decode()[:60]!r}") from None
    if not isinstance(row, dict):
        raise ValueError(f"{where} must be an object such as {EXAMPLE}, found {line.decode()[:60]!r}")
    prompt = row.get("prompt")
    if prompt is None:
        raise ValueError(f"{where} has no prompt; it must be an object such as {EXAMPLE}")
    if not isinstance(prompt, str) or not prompt:
        raise ValueError(f"{where}: prompt must be a text of at least one character, found {str(prompt)[:60]!r}")
    for field, text in {"prompt": prompt, "answer": answer_of(row)}.items():
        if any("\ud800" <= c <= "\udfff" for c in text):
            raise ValueError(f"{where}: {field} holds half of a surrogate pair, which no tokenizer can read")
    return row


def _divided(files: dict[str, str], rows: dict[str, dict[int, Row]]) -> dict[str, list[Row]]:
    """Rows of each split: those of its own file, or by a hash of the prompt those of `data`."""
    found = {split: list(rows[f"{split}_data"].values()) if f"{split}_data" in rows else [] for split in SPLITS}
    for row in rows["data"].values():
        split = split_of(row["prompt"])
        found["train" if f"{split}_data" in rows else split].append(row)
    seen: dict[str, tuple[str, int]] = {}
    for key, lines in rows.items():
        for number, row in lines.items():
            other, line = seen.setdefault(row["prompt"], (key, number))
            if other != key:
                raise ValueError(
                    f"{key}={files[key]}: line {number}: prompt is also that of line {line} of {other}={files[other]}; "
                    f"a held-out prompt must be in no other split"
                )
    empty = [split for split in SPLITS if not found[split]]
    if empty:
        raise ValueError(
            f"data={files['data']}: {len(rows['data'])} rows leave none for {' and '.join(empty)}: a hash of the "
            f"prompt gives eight in ten to train and one each to validation and test; add rows, or name files: "
            f"env.validation_data=FILE env.test_data=FILE"
        )
    return found
