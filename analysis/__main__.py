"""python -m analysis list | FIGURE ... | table ENV"""

import argparse
import importlib
import logging
import pkgutil
import sys
from pathlib import Path

from rich.console import Console

import analysis.figures
from conf.messages import unknown
from store.runs import RunStore

console = Console(width=None if sys.stdout.isatty() else 120, soft_wrap=True)


def figures() -> list[str]:
    return [info.name for info in pkgutil.iter_modules(analysis.figures.__path__)]


def make_figure(name: str, store: RunStore, out: Path) -> int:
    """Draw one figure from what the store has; print the command for each row that it lacks."""
    from analysis import style
    from analysis.load import beside, sweep_rows

    wanted = sweep_rows(name, store)
    for row in wanted:
        if row.seeds < len(row.only):
            console.print(f"{name}: {row.label} has {row.seeds} of {len(row.only)} seeds; run: {row.command}")
    rows = [row for row in wanted if row.seeds] + beside(wanted, store)
    if not rows:
        console.print(f"{name}: no runs in {store.root}; run: python run.py paper={name}")
        return 1
    figure, drawn = importlib.import_module(f"analysis.figures.{name}").draw(rows)
    paths = [*style.save(figure, out / name), out / f"{name}.csv"]
    drawn.to_csv(paths[-1], index=False)
    console.print(f"{name}: {', '.join(map(str, paths))}")
    return 0


def make_table(env: str, store: RunStore, out: Path) -> int:
    """Print every run of an environment, and write the same as CSV."""
    from analysis import tables
    from analysis.load import environment_rows

    rows = environment_rows(env, store)
    if not rows:
        known = sorted({run.config()["env"]["name"] for run in store.runs()})
        console.print(f"{unknown(f'table {env}', known, f'no runs in {store.root}')}; run: python run.py env={env}")
        return 1
    frame = tables.summary(rows).sort_values("error")
    out.mkdir(parents=True, exist_ok=True)
    frame.to_csv(out / f"table_{env}.csv", index=False)
    console.print(tables.render(frame, env))
    console.print(f"{out / f'table_{env}.csv'}")
    return 0


def main(argv: list[str] | None = None) -> int:
    logging.basicConfig(format="%(message)s")
    parser = argparse.ArgumentParser("python -m analysis", description="Figures and tables from the run store.")
    parser.add_argument("what", nargs="+", help=f"list, {', '.join(figures())}, or: table ENV")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"), help="the store to read (default: runs)")
    parser.add_argument("--out", type=Path, default=Path("figures"), help="where to write (default: figures)")
    args = parser.parse_args(argv)
    store = RunStore(args.runs_dir)
    if args.what == ["list"]:
        for name in figures():
            console.print(f"{name}  {importlib.import_module(f'analysis.figures.{name}').__doc__.splitlines()[0]}")
        return 0
    if args.what[0] == "table":
        if len(args.what) != 2:
            parser.error("table takes one environment: python -m analysis table sparse_bandit")
        return make_table(args.what[1], store, args.out)
    for name in args.what:
        if name not in figures():
            parser.error(unknown(name, ["list", "table", *figures()], "no such figure"))
    return max(make_figure(name, store, args.out) for name in args.what)


if __name__ == "__main__":
    sys.exit(main())
