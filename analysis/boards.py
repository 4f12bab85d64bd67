"""The boards that `python -m analysis leaderboard` makes: of a suite, or of the runs of a study."""

import os
import shlex
from pathlib import Path

from rich.console import Console

from analysis import board_page, board_pictures, catalogue, leaderboard, study_board, style, suites
from analysis.load import Row, cache_of, stored_rows
from analysis.suite_cells import cells
from analysis.suite_rows import without_tuning_seeds
from conf.messages import ConfigError, command
from store.results import Results

DEFAULT = "core"  # suite
ALL_RUNS = "runs"  # --of runs: every run in the store


def of_suite(name: str, store: Results, out: Path, console: Console) -> int:
    """Print and draw a suite's board, and write it as CSV, markdown and a page. Raises ConfigError for a bad suite."""
    suite = suites.read(name)
    found = cells(suite, store)
    lines = leaderboard.board(found, suite)
    if lines.empty:
        console.print(f"suite {name}: no runs in {store}; run: {command([f'suite={name}', 'algo=tpo'], store.root)}")
        return 1
    stem = "leaderboard" if name == DEFAULT else f"leaderboard_{suite.name}"
    asked = "" if name == DEFAULT else f" --suite {shlex.quote(os.path.normpath(name))}"
    drawn_by = f"python -m analysis leaderboard{asked}"
    csv, text, page = (out / f"{stem}.{suffix}" for suffix in ("csv", "md", "html"))
    if text.exists() and leaderboard.made_by(drawn_by) not in text.read_text():
        raise ConfigError(f"suite={name}: {text} is the board of another suite; choose a folder with --out")
    content = ["board", suite.name, repr(suite.tasks), [cell.row.content for cell in found], lines.to_csv()]
    files = cache_of(store).get(content, lambda: _pictures(found, lines, suite))
    for file, data in files.items():
        (out / f"{stem}_{file}").write_bytes(data)
    for printed in (*leaderboard.render(lines, suite), *leaderboard.records(found, suite)):
        console.print(printed)
    lines.to_csv(csv, index=False)
    leaderboard.cell_frame(found, suite).to_csv(out / f"{stem}_cells.csv", index=False)
    images = [f"{stem}_{file}" for file in files if file.endswith(".png")]
    text.write_text(leaderboard.markdown(lines, suite, images, drawn_by))
    page.write_text(board_page.page(lines, suite, images))
    console.print(f"{stem}: {', '.join(map(str, [csv, text, page, *(out / image for image in images)]))}")
    return 0


def _pictures(found: list, lines, suite: suites.Suite) -> dict[str, bytes]:
    made = {name: style.encoded(figure) for name, figure in board_pictures.pictures(found, lines, suite).items()}
    return {f"{name}.{suffix}": data for name, files in made.items() for suffix, data in files.items()}


def of_study(name: str, rows: list[Row], store: Results, out: Path, scale: str, console: Console) -> int:
    """The boards of a figure's rows."""
    if not rows:
        return 1
    boards = getattr(catalogue.module(name), "BOARDS", {"": list})
    suffix = "" if scale == "paper" else scale
    stems = {board: "_".join(filter(None, ("leaderboard", name, suffix, board))) for board in boards}
    return max(_board(stems[board], chosen(rows), store, out, console) for board, chosen in boards.items())


def of_runs(store: Results, out: Path, console: Console) -> int:
    """One board of every run in the store, without the seeds on which suites tune."""
    return _board(f"leaderboard_{ALL_RUNS}", without_tuning_seeds(stored_rows(store)), store, out, console)


def _board(stem: str, rows: list[Row], store: Results, out: Path, console: Console) -> int:
    """Print and draw every method of the rows over all of its tasks, and write the same as CSV and markdown."""
    found = study_board.entries(rows)
    if not found:
        run = command(["paper=fig02"], store.root)
        console.print(f"{stem}: no task in {store} was run by two methods; run: {run}")
        return 1
    board, tasks = study_board.board(found), study_board.by_task(found)
    content = ["study board", [row.content for row in rows]]
    files = cache_of(store).get(content, lambda: style.encoded(study_board.draw(found, board)))
    paths = style.write(files, out / stem)
    csv, text = (out / f"{stem}.{suffix}" for suffix in ("csv", "md"))
    board.merge(tasks, on="method").to_csv(csv, index=False)
    text.write_text(study_board.markdown(board, tasks))
    for table in study_board.render(board, tasks):
        console.print(table)
    console.print(f"{stem}: {', '.join(map(str, [*paths, csv, text]))}")
    return 0
