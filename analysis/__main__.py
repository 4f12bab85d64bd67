"""python -m analysis list | FIGURE ... | TABLE ... | table ENV"""

import argparse
import importlib
import logging
import pkgutil
import sys
from pathlib import Path
from types import ModuleType

from rich.console import Console

import analysis.figures
from analysis.compare import TABLES
from conf.messages import unknown
from store.runs import RunStore

console = Console(width=None if sys.stdout.isatty() else 120, soft_wrap=True)
FEW = 8  # missing configurations of a sweep that are named one by one


def figures() -> list[str]:
    return [info.name for info in pkgutil.iter_modules(analysis.figures.__path__)]


def wanted(name: str, store: RunStore, scale: str) -> list:
    """All rows of a figure's sweeps, done or not; prints what is missing and the command for it."""
    from analysis.load import choice, sweep_rows

    rows = {" ".join(["python run.py", *choice(s, scale)]): sweep_rows(s, store, scale) for s in _sweeps(name)}
    found = [row for of_sweep in rows.values() for row in of_sweep]
    if not any(row.seeds for row in found):
        console.print(f"{name}: no runs in {store.root}; run: {' && '.join(rows)}")
        return found
    for command, of_sweep in rows.items():
        missing = [row for row in of_sweep if row.seeds < len(row.only)]
        if len(missing) > FEW:
            console.print(f"{name}: {len(missing)} of {len(of_sweep)} configurations lack seeds; run: {command}")
            continue
        for row in missing:
            console.print(f"{name}: {row.label} has {row.seeds} of {len(row.only)} seeds; run: {row.command}")
    return found


def make_figure(name: str, store: RunStore, out: Path, scale: str) -> int:
    """Draw one figure from what the store has."""
    from analysis import style
    from analysis.load import beside

    asked = wanted(name, store, scale)
    rows = [row for row in asked if row.seeds] + beside(asked, store)
    if not rows:
        return 1
    figure, drawn = _module(name).draw(rows)
    stem = out / _stem(name, scale)
    paths = [*style.save(figure, stem), stem.with_suffix(".csv")]
    drawn.to_csv(paths[-1], index=False)
    console.print(f"{name}: {', '.join(map(str, paths))}")
    return 0


def make_paper_table(name: str, store: RunStore, out: Path, scale: str) -> int:
    """Print ours beside the paper's, and write the same as CSV and markdown."""
    from analysis import compare

    rows = wanted(compare.TABLES[name].figure, store, scale)
    frame = compare.compare(name, rows)
    out.mkdir(parents=True, exist_ok=True)
    csv, text = (out / f"{_stem(name, scale)}.{suffix}" for suffix in ("csv", "md"))
    frame.to_csv(csv, index=False)
    text.write_text(compare.markdown(name, frame))
    console.print(compare.render(name, frame))
    console.print(f"{name}: {csv}, {text}")
    return 0 if any(row.seeds for row in rows) else 1


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
    titles = {name: _module(name).__doc__.splitlines()[0] for name in figures()}
    titles |= {name: table.title for name, table in TABLES.items()}
    parser = argparse.ArgumentParser("python -m analysis", description="Figures and tables from the run store.")
    parser.add_argument("what", nargs="+", help=f"list, {', '.join(titles)}, or: table ENV")
    parser.add_argument("--scale", choices=("paper", "quick"), default="paper", help="as in python run.py paper=fig07")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"), help="the store to read (default: runs)")
    parser.add_argument("--out", type=Path, default=Path("figures"), help="where to write (default: figures)")
    args = parser.parse_args(argv)
    store = RunStore(args.runs_dir)
    if args.what == ["list"]:
        for name, title in titles.items():
            console.print(f"{name}  {title}", highlight=False)
        return 0
    if args.what[0] == "table":
        if len(args.what) != 2:
            parser.error("table takes one environment: python -m analysis table sparse_bandit")
        return make_table(args.what[1], store, args.out)
    for name in args.what:
        if name not in titles:
            parser.error(unknown(name, ["list", "table", *titles], "no such figure or table"))
    makers = [make_paper_table if name in TABLES else make_figure for name in args.what]
    return max(make(name, store, args.out, args.scale) for make, name in zip(makers, args.what, strict=True))


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"analysis.figures.{name}")


def _sweeps(name: str) -> tuple[str, ...]:
    return getattr(_module(name), "SWEEPS", (name,))


def _stem(name: str, scale: str) -> str:
    """Quick results never overwrite those of the paper's scale."""
    return name if scale == "paper" else f"{name}_{scale}"


if __name__ == "__main__":
    sys.exit(main())
