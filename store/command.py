"""python -m store export | import: export runs into a compact archive, or import runs from it"""

import argparse
import logging
import shlex
from pathlib import Path

from store.archive import Archive
from store.runs import RunStore, require_writable
from store.transfer import Report, export, finished_runs, load


def main(argv: list[str] | None = None) -> int:
    logging.basicConfig(format="%(message)s")
    parser = argparse.ArgumentParser(
        "python -m store", description="Export runs into a compact archive, or import them."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    out = commands.add_parser("export", help="add the finished seeds of a runs folder to an archive")
    out.add_argument("--runs-dir", type=Path, default=Path("runs"), help="the runs to export (default: runs)")
    out.add_argument("--out", type=Path, default=Path("results"), help="the archive to add to (default: results)")
    out.add_argument("--env", action="append", help="only this environment; may be given more than once")
    back = commands.add_parser("import", help="add the runs of an archive to a runs folder")
    back.add_argument("--from", dest="archive", type=Path, default=Path("results"), help="default: results")
    back.add_argument("--runs-dir", type=Path, default=Path("runs"), help="where to put them (default: runs)")
    back.add_argument("--force", action="store_true", help="also replace seeds that the runs folder has")
    args = parser.parse_args(argv)
    if args.command == "import":
        return _import(args.archive, RunStore(args.runs_dir), args.force, parser)
    return _export(RunStore(args.runs_dir), args.out, args.env, parser)


def _export(store: RunStore, out: Path, envs: list[str] | None, parser: argparse.ArgumentParser) -> int:
    runs = finished_runs(store)
    if not runs:
        print(f"no finished runs in {store.root}; run: python run.py algo=tpo env=sparse_bandit")
        return 1
    for env in envs or []:
        if env not in runs:
            parser.error(f"--env {env}: {store.root} has no finished runs of it; allowed: {', '.join(runs)}")
    _check_writable("--out ", out, parser)
    return _print_reports([export(runs[env], out / f"{env}.parquet") for env in dict.fromkeys(envs or runs)])


def _import(archive: Path, store: RunStore, force: bool, parser: argparse.ArgumentParser) -> int:
    if archive.is_file():
        parser.error(f"--from {archive}: must be the folder of an archive, such as {archive.parent}")
    files = Archive(archive).files
    if not files:
        print(
            f"no archive (*.parquet) in {archive}; make one: python -m store export --out {shlex.quote(str(archive))}"
        )
        return 1
    _check_writable("--runs-dir ", store.root, parser)
    return _print_reports([report for file in files for report in load(file, store, force)])


def _check_writable(option: str, folder: Path, parser: argparse.ArgumentParser) -> None:
    try:
        require_writable(option, folder)
    except ValueError as error:
        parser.error(str(error))


def _print_reports(reports: list[Report]) -> int:
    for _, line in reports:
        print(line)
    return 0 if all(succeeded for succeeded, _ in reports) else 1
