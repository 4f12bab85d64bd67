"""Archives: lossless there and back, united with what is there, and never the worse for a failure."""

import json
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from analysis import catalogue
from analysis.command import main as analysis
from analysis.load import sweep_rows
from store import archive
from store.archive import ABOUT, VERSION, Archive, packed, unpacked
from store.command import main as store_command
from store.identity import run_id
from store.results import Results
from store.runs import RunStore
from tests.helpers import EARLY, ROOT, experiment, files_limited_to, metrics, saved

LATE = "2026-01-02T10:00:00+0100"


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    return tmp_path


def export(*args: object) -> int:
    return store_command(["export", *map(str, args)])


def load(*args: object) -> int:
    return store_command(["import", *map(str, args)])


def archived(folder) -> dict:
    return {run.key: run for run in Archive(folder / "results").runs()}


def about(file) -> dict:
    return json.loads(pq.read_metadata(file).metadata[ABOUT])


def entries(file) -> list[dict]:
    """What a file says of its runs."""
    return unpacked(about(file)["runs"])


def edit(file, **changes) -> None:
    """Change what a file says of itself."""
    changed = json.dumps(about(file) | changes)
    pq.write_table(pq.read_table(file).replace_schema_metadata({ABOUT: changed}), file)


def test_there_and_back_loses_nothing(cli, folder):
    cli("-m", "algo=tpo,ce", "env=contextual_bandit", "seeds=3", "train.steps=5", "algo.label=Ours")
    assert export() == 0 and [path.name for path in (folder / "results").iterdir()] == ["contextual_bandit.parquet"]
    assert load("--runs-dir", "again") == 0
    old, new = list(RunStore(folder / "runs").runs()), list(RunStore(folder / "again").runs())
    assert len(old) == 2 and [run.path.parts[-3:] for run in old] == [run.path.parts[-3:] for run in new]
    for before, after in zip(old, new, strict=True):
        pd.testing.assert_frame_equal(before.frame(), after.frame(), check_exact=True)
        assert before.config() == after.config() and before.config()["compares"]
        assert before.manifest() == after.manifest()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_keep_every_bit(folder, dtype):
    info = np.finfo(dtype)
    values = [np.nan, np.inf, -np.inf, -0.0, info.tiny / 4, info.max, info.eps, 1 / 3]
    frame = metrics(0, 1, 2, 3, dtype=dtype).assign(value=np.array(values, dtype))
    run = saved(folder, frame)
    assert export() == 0 and load("--runs-dir", "again") == 0
    (again,) = RunStore(folder / "again").runs()
    assert again.frame().dtypes.to_dict() == run.frame().dtypes.to_dict()
    bits = [r.frame().value.to_numpy().tobytes() for r in (run, again, archived(folder)[run.path.parts[-3:]])]
    assert bits[0] == bits[1] == bits[2] == np.array(values, dtype).tobytes()


def test_an_archive_is_compact_and_the_same_each_time(folder):
    rng, steps, seeds = np.random.default_rng(0), 2000, 20
    values = rng.integers(0, 1000, size=steps * seeds) / 1000
    keys = {"seed": np.repeat(np.arange(seeds), steps), "step": np.tile(np.arange(steps, dtype=np.int32), seeds)}
    saved(folder, pd.DataFrame(keys | {"metric": "error", "value": values.astype(np.float32)}))
    assert export() == 0
    file = folder / "results" / "sparse_bandit.parquet"
    first = file.read_bytes()
    assert len(first) < 2.5 * steps * seeds  # bytes: seed, step and metric cost next to nothing
    assert export() == 0 and file.read_bytes() == first


@pytest.mark.parametrize(("rows", "groups"), [(1, 5), (7, 3), (10**6, 1)])
def test_each_run_is_found_among_others_of_its_row_group(folder, monkeypatch, rows, groups):
    monkeypatch.setattr(archive, "GROUP_ROWS", rows)
    for value in range(5):
        saved(folder, metrics(0, 1, value=value), f"train.steps={10 + value}")
    assert export() == 0
    assert pq.read_metadata(folder / "results" / "sparse_bandit.parquet").num_row_groups == groups
    runs = [run for run in archived(folder).values() for _ in range(2)]
    assert [set(run.frame().value) for run in runs] == [{run.config()["train"]["steps"] - 10.0} for run in runs]


def test_a_run_that_names_no_row_group_has_one_of_its_own(folder):
    saved(folder, metrics(0, value=0.25), "algo=tpo")
    saved(folder, metrics(0, value=0.75), "algo=pg")
    assert export() == 0
    file = folder / "results" / "sparse_bandit.parquet"
    kept = [{name: value for name, value in entry.items() if name != "group"} for entry in entries(file)]
    changed = json.dumps(about(file) | {"runs": packed(kept)})
    pq.write_table(pq.read_table(file).replace_schema_metadata({ABOUT: changed}), file, row_group_size=2)
    assert {key[1]: set(run.frame().value) for key, run in archived(folder).items()} == {"pg": {0.75}, "tpo": {0.25}}


def test_no_path_of_this_machine_is_exported(folder):
    run = saved(folder, metrics(0), "env=digits", "model=mlp")
    run.write_config(run.config() | {"env": run.config()["env"] | {"data_dir": str(folder)}})
    run.fail(RuntimeError(str(folder)))
    assert export() == 0
    (kept,) = archived(folder).values()
    assert str(folder) not in json.dumps(kept.entry)
    assert kept.manifest()["status"] == "done" and kept.manifest()["batches"] == run.manifest()["batches"]


@pytest.mark.parametrize(("ours", "shared"), [(LATE, 0.25), (EARLY, 0.5)])
def test_export_unites_seeds_and_the_newer_wins(folder, ours, shared):
    run = saved(folder, metrics(0, 1, value=0.5), finished=EARLY.replace("10:", "11:"))
    saved(folder, metrics(7), "algo=dg")
    assert export() == 0
    saved(folder, metrics(1, 2, value=0.25), finished=ours, runs="others")
    assert export("--runs-dir", "others") == 0
    united = archived(folder)[run.path.parts[-3:]]
    assert united.frame().groupby("seed").value.first().to_dict() == {0: 0.5, 1: shared, 2: 0.25}
    assert united.seeds_done() == [0, 1, 2] and len(united.manifest()["batches"]) == 2
    assert len(archived(folder)) == 2  # what the other folder has not stays


def test_a_full_disk_leaves_the_old_archive(folder, capsys):
    saved(folder, metrics(0))
    assert export() == 0
    file = folder / "results" / "sparse_bandit.parquet"
    before = file.read_bytes()
    noise = np.random.default_rng(0).random(30000, dtype=np.float32)
    saved(folder, metrics(*range(15000)).assign(value=noise))
    capsys.readouterr()
    with files_limited_to(20000):
        assert export() == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert str(file.relative_to(folder)) in line and "File too large" in line and "is as it was" in line
    assert file.read_bytes() == before and list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("version", [VERSION - 1, VERSION + 1])
def test_another_version_is_named_and_left_alone(folder, capsys, caplog, version):
    saved(folder, metrics(0))
    saved(folder, metrics(0), "env=contextual_bandit")
    assert export() == 0
    file = folder / "results" / "contextual_bandit.parquet"
    edit(file, version=version)
    before = file.read_bytes()
    for command in (lambda: load("--runs-dir", "again"), export):
        capsys.readouterr()
        assert command() == 1
        out = capsys.readouterr().out
        assert f"{file.relative_to(folder)}: its archive version is {version}, this code reads {VERSION}" in out
    assert file.read_bytes() == before
    assert [path.name for path in (folder / "again").iterdir()] == ["sparse_bandit"]
    assert analysis(["table", "sparse_bandit", "--runs-dir", "empty"]) == 0
    assert f"archive version is {version}" in caplog.text


def truncate(data: bytes) -> bytes:
    return data[:-20]


def flip(data: bytes) -> bytes:
    return data[:60] + bytes([data[60] ^ 255]) + data[61:]


@pytest.mark.parametrize("damage", [truncate, flip, lambda data: b"", lambda data: b"PAR1" * 9])
def test_a_damaged_file_is_named_and_the_others_are_imported(folder, capsys, caplog, damage):
    saved(folder, metrics(*range(50)))
    saved(folder, metrics(0), "env=contextual_bandit")
    assert export() == 0
    file = folder / "results" / "sparse_bandit.parquet"
    file.write_bytes(damage(file.read_bytes()))
    before = file.read_bytes()
    capsys.readouterr()
    assert load("--runs-dir", "again") == 1
    assert "damaged file results/sparse_bandit.parquet" in capsys.readouterr().out
    assert [path.name for path in (folder / "again").iterdir()] == ["contextual_bandit"]
    assert export() == 1 and file.read_bytes() == before
    assert analysis(["table", "sparse_bandit", "--runs-dir", "empty"]) == 1
    assert "damaged file" in caplog.text


def test_a_file_of_another_kind_and_a_name_that_leaves_the_folder_are_refused(folder, capsys):
    (folder / "results").mkdir()
    pq.write_table(pa.table({"x": [1]}), folder / "results" / "other.parquet")
    assert load() == 1 and "other.parquet: it was not made by python -m store export" in capsys.readouterr().out
    saved(folder, metrics(0))
    assert export("--out", "evil") == 0
    (file,) = (folder / "evil").iterdir()
    (entry,) = entries(file)
    edit(file, runs=packed([entry | {"run": "../../x"}]))
    assert load("--from", "evil", "--runs-dir", "deep/runs") == 1 and not list(folder.glob("deep/*/*"))


def test_import_adds_seeds_but_overwrites_none_unless_forced(folder):
    saved(folder, metrics(0, 1, 2, value=0.25), runs="others")
    assert export("--runs-dir", "others") == 0
    run = saved(folder, metrics(1, value=0.5))
    run.checkpoints[0].write_text("of a training that was killed")
    for _ in range(2):
        assert load() == 0
        assert run.frame().groupby("seed").value.first().to_dict() == {0: 0.25, 1: 0.5, 2: 0.25}
        assert run.manifest()["seeds_done"] == [0, 1, 2] and len(run.manifest()["batches"]) == 2
    assert load("--force") == 0
    assert run.frame().groupby("seed").value.first().to_dict() == {0: 0.25, 1: 0.25, 2: 0.25}
    assert run.checkpoints[0].exists()


def test_import_leaves_a_run_alone_that_is_being_trained(folder, capsys):
    run = saved(folder, metrics(0))
    assert export() == 0
    run.save(metrics(1), {"seconds": 1})
    with run.claim():
        assert load("--force") == 1
    assert "another process is working on it" in capsys.readouterr().out


def test_a_config_of_an_older_version_is_called_so_and_stays_in_the_archive(folder, capsys, caplog):
    run, other = saved(folder, metrics(0)), saved(folder, metrics(0), "algo=dg")
    assert export() == 0
    (file,) = (folder / "results").iterdir()
    said = entries(file)
    for entry in said:
        if entry["algo"] == "tpo":
            del entry["config"]["sampler"]
    edit(file, runs=packed(said))
    assert load("--runs-dir", "again") == 1
    assert [run.path.name for run in RunStore(folder / "again").runs()] == [other.path.name]
    assert "written by an older version: lacks 'sampler'" in caplog.text and "damaged" not in caplog.text
    caplog.clear()
    (run.path / "config.yaml").write_text(yaml.safe_dump({"algo": {}}))
    assert export() == 0
    assert "config.yaml (written by an older version: lacks 'env')" in caplog.text and "damaged" not in caplog.text
    assert {entry["algo"] for entry in entries(file)} == {"tpo", "dg"}


@pytest.mark.parametrize("source", ["archive", "folder"])
def test_a_number_written_in_two_ways_is_one_setting(folder, source):
    """An older archive may hold 0 for one method and 0.0 for another: the leaderboard compares them all the same."""
    for algo, value in ("tpo", 0.25), ("dg", 0.5):
        frame = metrics(0, 1, value=value)
        saved(folder, frame.assign(value=frame.value.where(frame.step > 1, 1.0)), f"algo={algo}")
    assert export() == 0
    (file,) = (folder / "results").iterdir()
    said = entries(file)
    for entry, kind in zip(said, (int, float), strict=True):
        for section, key in ("train", "kl_beta"), ("env", "reward_noise"):
            entry["config"][section][key] = kind(0)
    edit(file, runs=packed(said))
    assert load("--runs-dir", "again") == 0
    for path, entry in zip(sorted((folder / "again").rglob("config.yaml")), said, strict=True):
        path.write_text(yaml.safe_dump(entry["config"]))
    where = {"archive": ("empty", "results"), "folder": ("again", "empty")}[source]
    assert analysis(["leaderboard", "--of", "runs", "--runs-dir", where[0], "--results", where[1]]) == 0
    board = pd.read_csv(folder / "figures" / "leaderboard_runs.csv").set_index("method")
    assert board.tasks.to_dict() == {"TPO": 1, "DG": 1}
    assert board["Sparse bandit"].to_dict() == pytest.approx({"TPO": 1, "DG": 2 / 3})
    assert all(run_id(run.config()) == run.key[-1] for run in archived(folder).values())


def test_the_shipped_runs_are_those_of_today_s_settings():
    """A setting that came later leaves them alone at the value that stands for what was done before."""
    runs = list(Archive(ROOT / "results").runs())
    assert len(runs) > 100
    for run in runs:
        config = run.config()
        assert run_id(config) == run.key[-1]
        later = {"env": {"grader": "strict", "shots": 0, "stop": None}, "train": {"eval_samples": 1}}
        assert run_id(config | {s: values | config[s] for s, values in later.items()}) == run.key[-1]
        other = config | {"train": config["train"] | {"eval_samples": 8}}
        assert run_id(other) != run.key[-1] and run_id(config | {"env": config["env"] | {"shots": 7}}) != run.key[-1]


def test_nothing_to_export_or_import_names_the_command(folder, capsys):
    assert export() == 1 and "no finished runs in runs; run: python run.py" in capsys.readouterr().out
    assert load() == 1 and "python -m store export" in capsys.readouterr().out
    saved(folder, metrics(0))
    with pytest.raises(SystemExit) as stop:
        export("--env", "sparse_bandi")
    assert stop.value.code == 2 and "allowed: sparse_bandit" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_one_line(folder, capsys):
    saved(folder, metrics(0))
    assert export() == 0
    (folder / "file").touch()
    for command, option in ((export, "--out"), (load, "--runs-dir")):
        with pytest.raises(SystemExit) as stop:
            command(option, folder / "file")
        assert stop.value.code == 2
        assert f"{option} {folder / 'file'}: cannot write there (File exists)" in capsys.readouterr().err


def test_only_the_environments_asked_for_are_exported(folder):
    saved(folder, metrics(0))
    saved(folder, metrics(0), "env=contextual_bandit")
    assert export("--env", "contextual_bandit") == 0
    assert [path.stem for path in (folder / "results").iterdir()] == ["contextual_bandit"]


def test_figures_from_the_archive_equal_those_from_the_runs(folder, monkeypatch, capsys):
    monkeypatch.setattr(catalogue, "figures", lambda: ["fig02", "fig03"])  # composing all of them is slow
    rng, store = np.random.default_rng(0), RunStore(folder / "runs")
    for row in sweep_rows("fig02", store)[:3]:
        frames = [metrics(*range(20)).assign(metric=name) for name in ("error", "misalignment")]
        frame = pd.concat(frames).assign(value=rng.random(80, dtype=np.float32))
        store.open(row.config).save(frame, {"seeds": list(range(20)), "seconds": 1.25})
    assert analysis(["fig02", "fig02_numbers", "--out", "a"]) == 0
    assert analysis(["table", "sparse_bandit", "--out", "a"]) == 0
    assert export() == 0
    (folder / "runs").rename(folder / "elsewhere")
    capsys.readouterr()
    assert analysis(["all", "--out", "b"]) == 0
    out = capsys.readouterr().out
    assert "fig03: no runs in runs or results; run: python run.py paper=fig03" in out
    assert "all: 2 drawn; without runs: fig03, " in out
    assert analysis(["table", "sparse_bandit", "--out", "b"]) == 0
    assert {path.name for path in (folder / "a").iterdir()} == {path.name for path in (folder / "b").iterdir()}
    for name in ("fig02.csv", "fig02_numbers.csv", "table_sparse_bandit.csv"):
        assert (folder / "a" / name).read_bytes() == (folder / "b" / name).read_bytes()
    assert analysis(["fig02", "--results", "elsewhere/sparse_bandit", "--out", "c"]) == 1  # there is no archive
    with pytest.raises(SystemExit) as stop:
        analysis(["fig02", "--results", "resluts"])
    assert stop.value.code == 2


def test_all_of_nothing_is_one_line(capsys):
    assert analysis(["all"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert "no runs in runs or results" in line and "python run.py paper=fig02 (" in line


@pytest.mark.parametrize("what", ["fig02", "all", "table digits", "leaderboard", "leaderboard --of runs"])
def test_a_command_for_missing_runs_trains_into_the_folder_that_was_named(folder, capsys, what):
    (folder / "others").mkdir()
    assert analysis([*what.split(), "--runs-dir", "others"]) == 1
    assert re.search(r"; run: python run.py \S+ .*runs_dir=others", capsys.readouterr().out)


def test_runs_come_first_and_the_archive_adds_what_they_lack(folder):
    here = saved(folder, metrics(0, 1, value=0.25), runs="others", finished=LATE)
    saved(folder, metrics(0), "algo=dg", runs="others")
    assert export("--runs-dir", "others") == 0
    saved(folder, metrics(1, 2, value=0.5))
    results = Results(RunStore(folder / "runs"), Archive(folder / "results"))
    assert [run.config()["algo"]["name"] for run in results.runs()] == ["dg", "tpo"]
    run = results.find(here.config())
    assert run.frame().groupby("seed").value.first().to_dict() == {0: 0.25, 1: 0.5, 2: 0.5}
    assert run.seeds_done() == run.manifest()["seeds_done"] == [0, 1, 2]
    assert sum(batch["seconds"] for batch in run.manifest()["batches"]) == 3
    assert results.find(experiment(folder, "algo=pg").config).frame().empty
