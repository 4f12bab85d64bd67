"""python -m analysis list | all | FIGURE ... | TABLE ... | table ENV | samples RUN | report | leaderboard"""

import argparse
import logging
import re
import sys
from pathlib import Path

from analysis import catalogue
from analysis.paper import TABLES
from conf.messages import RUNS, ConfigError, command, unknown
from conf.own_files import CONF
from conf.screen import Screen
from store.archive import Archive
from store.identity import run_id
from store.results import Results
from store.runs import RunStore, require_writable

console = Screen(width=None if sys.stdout.isatty() else 160, soft_wrap=True, markup=False)
COMMANDS = ("list", "all", "table", "samples", "report", "leaderboard")
OF_ONE = {
    "table": "environment: python -m analysis table sparse_bandit",
    "samples": "run: python -m analysis samples RUN, its id or folder",
}
FEW = 8  # missing configurations of a sweep that are named one by one


def requested_rows(name: str, store: Results, scale: str) -> list:
    """All rows of a figure's sweeps, done or not; prints what is missing and the command for it."""
    rows = {c: catalogue.sweep_rows(s, store, scale) for s, c in catalogue.commands(name, scale, store.root).items()}
    found = [row for of_sweep in rows.values() for row in of_sweep]
    if not any(row.seeds for row in found):
        console.print(f"{name}: no runs in {store}; run: {' && '.join(rows)}")
        return found
    for of_all, of_sweep in rows.items():
        missing = [row for row in of_sweep if row.seeds < len(row.only)]
        if len(missing) > FEW:
            console.print(f"{name}: {len(missing)} of {len(of_sweep)} configurations lack seeds; run: {of_all}")
            continue
        for row in missing:
            run = command(row.overrides, store.root)
            console.print(f"{name}: {row.label} has {row.seeds} of {len(row.only)} seeds; run: {run}")
    return found


def make_figures(asked: dict[str, list], store: Results, out: Path, scale: str) -> list[int]:
    """Draw figures {name: rows} from what the store has; an exit code for each."""
    from analysis import style
    from analysis.load import cache_of, drawn_rows
    from analysis.pictures import Picture, drawn

    shown = {name: drawn_rows(name, rows, store) for name, rows in asked.items()}
    pictures = [Picture(name, rows) for name, rows in shown.items() if rows]
    for picture, files in zip(pictures, drawn(pictures, cache_of(store)), strict=True):
        stem = out / _stem(picture.figure, scale)
        console.print(f"{picture.figure}: {', '.join(map(str, style.write(files, stem)))}")
        show_held_out(picture.figure, picture.rows, stem)
    return [0 if rows else 1 for rows in shown.values()]


def show_held_out(title: str, rows: list, path: Path) -> None:
    """Print what language models among the rows solve of held-out problems, and write it as markdown."""
    from analysis import held_out, tables

    frame = held_out.summary(rows)
    if len(frame):
        shown = held_out.texts(frame)
        heading, names = f"{title}: held-out problems, {held_out.UNITS}", list(shown).index("seeds")
        console.print(tables.terminal(heading, shown, names=names))
        path.with_suffix(".md").write_text(tables.markdown(shown) + "\n")
        console.print(f"{title}: {path.with_suffix('.md')}")


def make_paper_table(name: str, rows: list, store: Results, out: Path, scale: str) -> int:
    """Print ours beside the paper's, and write the same as CSV and markdown."""
    from analysis import compare
    from analysis.load import shorter_rows

    frame = compare.compare(name, rows, shorter_rows(TABLES[name].figure, rows, store))
    csv, text = (out / f"{_stem(name, scale)}.{suffix}" for suffix in ("csv", "md"))
    frame.to_csv(csv, index=False)
    text.write_text(compare.markdown(name, frame))
    console.print(compare.render(name, frame))
    console.print(f"{name}: {csv}, {text}")
    return 0 if any(row.seeds for row in rows) else 1


def make(name: str, store: Results, out: Path, scale: str) -> int:
    """One figure or table of the paper; a table without runs still shows the paper's numbers."""
    if name in TABLES:
        return make_paper_table(name, requested_rows(TABLES[name].figure, store, scale), store, out, scale)
    return max(make_figures({name: requested_rows(name, store, scale)}, store, out, scale))


def make_all(store: Results, out: Path, scale: str) -> int:
    """Every figure and table that has runs, and every study that has runs of its own; commands for the others."""
    if next(store.runs(), None) is None:
        run = command(["paper=fig02"], store.root)
        console.print(f"no runs in {store}; run: {run} (python -m analysis list names the others)")
        return 1
    asked = {name: requested_rows(name, store, scale) for name in catalogue.figures()}
    drawn = [name for name in asked if has_runs(name, asked)]
    tables = [name for name, table in TABLES.items() if table.figure in drawn]
    codes = make_figures({name: asked[name] for name in drawn}, store, out, scale)
    codes += [make_paper_table(name, asked[TABLES[name].figure], store, out, scale) for name in tables]
    missing = [name for name in (*asked, *TABLES) if name not in (*drawn, *tables)]
    console.print(f"all: {len(codes)} drawn; without runs: {', '.join(missing) or 'none'}")
    return min(codes, default=1)


def has_runs(figure: str, asked: dict[str, list]) -> bool:
    """Whether the rows of a figure have a run; of a study, one that no figure with other sweeps asks for as well."""
    found = {run_id(row.config) for row in asked[figure] if row.seeds}
    if not catalogue.is_paper_figure(figure):
        ours = set(catalogue.sweeps(figure))
        others = [name for name in asked if not ours & set(catalogue.sweeps(name))]
        found -= {run_id(row.config) for name in others for row in asked[name]}
    return bool(found)


def make_table(env: str, store: Results, out: Path) -> int:
    """Print every run of an environment without the seeds on which suites tune, and write the same as CSV."""
    import pandas as pd

    from analysis import tables
    from analysis.labels import usual_settings
    from analysis.load import environment_rows, finished_envs
    from analysis.suite_rows import without_tuning_seeds

    everything = environment_rows(env, store)
    rows = without_tuning_seeds(everything)
    if everything and not rows:
        console.print(
            f"table {env}: all of its seeds are ones on which suites tune, which no table reports; use others"
        )
        return 1
    if not rows:
        fault = unknown(f"table {env}", finished_envs(store), f"no finished seeds in {store}")
        there = (CONF / "env" / f"{env}.yaml").exists()
        console.print(f"{fault}; run: {command([f'env={env}'], store.root)}" if there else fault)
        return 1
    frame = tables.summary(rows).sort_values("error")
    seeds = tables.seed_by_seed([rows[i] for i in frame.index])
    both = [frame.reset_index(drop=True), seeds.drop(columns=["label", "seeds"])]
    pd.concat(both, axis=1).to_csv(out / f"table_{env}.csv", index=False)
    common = usual_settings([row.config for row in everything])
    usual = ", ".join(f"{key}={value}" for key, value in common.items() if value != "None")  # None: not for all tasks
    console.print(tables.render(frame, f"{env}; unless a row says otherwise: {usual}" if usual else env))
    console.print(tables.render_seeds(seeds))
    console.print(f"{out / f'table_{env}.csv'}")
    show_held_out(env, rows, out / f"table_{env}")
    return 0


def make_report(store: Results, out: Path) -> int:
    """Write the whole comparison with the paper as a page and as markdown."""
    from analysis import report

    paths = report.write(store, out)
    console.print(f"report: {', '.join(map(str, paths))}")
    return 0


def make_leaderboard(store: Results, out: Path, of: str | None, scale: str, suite: str | None) -> int:
    """The board of a suite, of one figure's sweeps, or of every run in the store."""
    from analysis import boards

    if of is None:
        return boards.of_suite(suite or boards.DEFAULT, store, out, console)
    if of == boards.ALL_RUNS:
        return boards.of_runs(store, out, console)
    rows = [row for row in requested_rows(of, store, scale) if row.seeds]
    return boards.of_study(of, rows, store, out, scale, console)


def show_samples(name: str, store: RunStore) -> int:
    """Print the completions that a run of a language model kept."""
    from analysis import samples

    runs = samples.find_runs(name, store)
    if len(runs) != 1:
        known = [run.path.name for run in store.runs() if (run.path / "samples.jsonl").exists()]
        what = f"{len(runs)} runs in {store.root}" if runs else f"no run in {store.root}"
        console.print(unknown(f"samples {name}", known, what))
        return 1
    found = samples.sample_lines(runs[0].samples()) or [
        f"{runs[0].path}: no completions; runs of language models keep them"
    ]
    for line in found:
        console.print(line, highlight=False)
    return 0


def main(argv: list[str] | None = None) -> int:
    logging.basicConfig(format="%(message)s")
    parser = _parser()
    args = parser.parse_args(argv)
    _check(args, parser)
    runs_dir = args.runs_dir or RUNS
    store = Results(RunStore(runs_dir), Archive(args.results or Path("results")))
    what, *names = args.what
    if what == "list":
        return show_titles()
    if what == "samples":
        return show_samples(names[0], RunStore(runs_dir))
    out, scale = args.out or Path("." if what == "report" else "figures"), args.scale or "paper"
    try:
        require_writable("--out ", out)
    except ValueError as error:
        parser.error(str(error))
    if what == "leaderboard":
        try:
            return make_leaderboard(store, out, args.of, scale, args.suite)
        except ConfigError as error:
            parser.error(str(error))
    if what == "all":
        return make_all(store, out, scale)
    if what == "table":
        return make_table(names[0], store, out)
    if what == "report":
        return make_report(store, out)
    return max(make(name, store, out, scale) for name in args.what)


def _titles() -> dict[str, str]:
    """{name: title} of every figure and table."""
    return {name: catalogue.title(name) for name in catalogue.figures()} | {n: t.title for n, t in TABLES.items()}


def show_titles() -> int:
    for name, title in _titles().items():
        console.print(f"{name}  {title}", highlight=False)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m analysis", description="Figures and tables from the run store.")
    allowed = f"list, all, {', '.join(_titles())}, report, leaderboard, or: table ENV, samples RUN"
    parser.add_argument("what", nargs="+", help=allowed)
    parser.add_argument("--scale", choices=("paper", "quick"), help="as in python run.py paper=fig07 (default: paper)")
    parser.add_argument("--runs-dir", type=Path, help="the runs to read (default: runs)")
    parser.add_argument("--results", type=Path, help="the archive to read what they lack from (default: results)")
    parser.add_argument("--out", type=Path, help="where to write (default: figures; report: here)")
    parser.add_argument("--of", help="leaderboard: the runs of this figure, such as rivals, or all runs with --of runs")
    parser.add_argument("--suite", help="leaderboard: a suite, or a file of one's own (default: core)")
    return parser


def _check(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """End the command, with the word that is wrong and what is allowed."""
    what, *names = args.what
    if args.of is not None and args.what != ["leaderboard"]:
        parser.error(f"--of {args.of}: allowed only after python -m analysis leaderboard")
    if args.of is not None and args.of not in (*catalogue.figures(), "runs"):
        parser.error(unknown(f"--of {args.of}", [*catalogue.figures(), "runs"], "no such figure"))
    if args.suite is not None and (args.of is not None or args.what != ["leaderboard"]):
        parser.error(f"--suite {args.suite}: allowed only after python -m analysis leaderboard, and without --of")
    of_every_scale = what in ("list", "table", "samples", "report", "leaderboard") and args.of in (None, "runs")
    if args.scale and of_every_scale:
        parser.error(f"--scale {args.scale}: {what} shows every scale; leave it out")
    for key, folder in {"--results": args.results, "--runs-dir": args.runs_dir}.items():
        if folder and not folder.is_dir():
            parser.error(f"{key} {folder}: no such folder")
    if what in OF_ONE:
        if len(names) != 1:
            parser.error(f"{what} takes one {OF_ONE[what]}")
        return
    known = [*COMMANDS, *_titles()]
    for name in args.what:
        if name in COMMANDS and names:
            parser.error(f"{' '.join(args.what)}: {name} must be the only word")
        if (padded := re.sub(r"^fig(\d)$", r"fig0\1", name)) != name and padded in known:
            parser.error(f"{name}: no such figure (did you mean {padded}?)")
        if name not in known:
            parser.error(unknown(name, known, "no such figure or table"))


def _stem(name: str, scale: str) -> str:
    """Quick results never overwrite those of the paper's scale."""
    return name if scale == "paper" else f"{name}_{scale}"
