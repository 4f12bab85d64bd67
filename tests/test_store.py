"""The run store: atomic, addressed by content, and never brought down by a damaged file."""

import json
import subprocess
import threading

import pandas as pd
import pytest
import yaml

from store import provenance
from store.archive import Archive
from store.identity import identity, run_id
from store.results import Results
from store.runs import READERS, Run, RunBusy, RunStore, atomic_write
from tests.helpers import experiment


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "runs")


@pytest.fixture
def run(store, tmp_path):
    return store.open(experiment(tmp_path).config)


def metrics(*seeds: int, value: float = 0.5) -> pd.DataFrame:
    rows = [{"seed": seed, "step": step, "metric": "error", "value": value} for seed in seeds for step in (1, 2)]
    return pd.DataFrame(rows)


def test_identity_ignores_what_does_not_change_the_numbers(tmp_path):
    plain = run_id(experiment(tmp_path).config)
    assert run_id(experiment(tmp_path, "seeds=3", "device=cpu", "force=true").config) == plain
    assert run_id(experiment(tmp_path, "algo.label=Ours", "train.checkpoint_every=7").config) == plain
    assert run_id(experiment(tmp_path, "algo.eta=1").config) == plain
    for change in ("algo.eta=2", "env.arms=50", "optim.lr=0.2", "train.steps=7", "train.log_every=2"):
        assert run_id(experiment(tmp_path, change).config) != plain


def test_a_folder_of_data_counts_unless_its_data_are_published(tmp_path):
    config = experiment(tmp_path).config
    for task, expected in (("image_bandit", 1), ("mine", 2)):
        of_task = [config | {"env": config["env"] | {"task": task, "data_dir": folder}} for folder in ("a", "b")]
        assert len({run_id(one) for one in of_task}) == expected


def test_identity_covers_every_section(tmp_path):
    assert set(identity(experiment(tmp_path).config)) == {"algo", "env", "model", "optim", "train", "sampler", "match"}


def test_seeds_are_merged_and_replaced(run):
    run.save(metrics(0, 1), {"seconds": 1})
    run.save(metrics(1, 2, value=0.25), {"seconds": 1})
    assert run.seeds_done() == [0, 1, 2]
    assert run.frame().groupby("seed").value.first().tolist() == [0.5, 0.25, 0.25]
    assert not run.frame().duplicated(["seed", "step", "metric"]).any()


def test_a_run_looks_as_the_newest_command_says(store, run, tmp_path):
    store.open(experiment(tmp_path, "algo.label=Ours", "algo.color='#000000'").config)
    assert (run.config()["algo"]["label"], run.config()["algo"]["color"]) == ("Ours", "#000000")


def test_a_file_that_may_not_be_read_is_not_damaged(run, monkeypatch):
    run.save(metrics(0), {"seconds": 1})
    monkeypatch.setitem(READERS, "metrics.parquet", lambda path: (_ for _ in ()).throw(PermissionError(13, "no", path)))
    with pytest.raises(PermissionError):
        run.seeds_done()


def test_a_run_whose_config_is_damaged_is_not_done(store, run, tmp_path):
    run.save(metrics(0), {"seconds": 1})
    (run.path / "config.yaml").write_text("")
    config, results = experiment(tmp_path).config, Results(store, Archive(tmp_path / "no archive"))
    assert results.seeds_done_now(config) == set()
    store.open(config)
    assert results.seeds_done_now(config) == {0}


@pytest.mark.parametrize("damage", [b"", b"PAR1half", b"\x00" * 200])
def test_damaged_metrics_are_named_skipped_and_kept(run, caplog, damage):
    run.save(metrics(0), {"seconds": 1})
    (run.path / "metrics.parquet").write_bytes(damage)
    assert run.seeds_done() == []
    assert "metrics.parquet" in caplog.text
    run.save(metrics(0), {"seconds": 1})
    assert run.seeds_done() == [0]
    (kept,) = run.path.glob("metrics.parquet.damaged-*")
    assert kept.read_bytes() == damage


def test_a_config_of_another_version_is_named_and_skipped(store, run, tmp_path, caplog):
    other = store.open(experiment(tmp_path, "algo=dg").config)
    old = {key: value for key, value in run.config().items() if key != "sampler"}
    (run.path / "config.yaml").write_text(yaml.safe_dump(old))
    assert list(store.runs()) == [other]
    assert "lacks 'sampler'" in caplog.text


@pytest.mark.parametrize("damage", ["", "{", "[1, 2]", "\x00"])
@pytest.mark.parametrize("name", ["manifest.json", "config.yaml"])
def test_damaged_descriptions_are_named_and_lose_no_seed(store, run, caplog, name, damage):
    config = run.config()
    run.save(metrics(0), {"seconds": 1})
    (run.path / name).write_text(damage)
    again = store.open(config)
    assert again.seeds_done() == [0]
    again.save(metrics(1), {"seconds": 1})
    assert again.seeds_done() == [0, 1]
    assert again.config() == config and again.manifest()["seeds_done"] == [0, 1]
    assert name in caplog.text
    assert len(list(run.path.glob(f"{name}.damaged-*"))) == 1


def test_a_damaged_run_does_not_hide_the_others(store, run, tmp_path, caplog):
    other = store.open(experiment(tmp_path, "algo=dg").config)
    (run.path / "config.yaml").write_text("{")
    assert list(store.runs()) == [other]
    assert str(run.path) in caplog.text


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "data"
    path.write_text("old")

    def fail(temporary):
        temporary.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        atomic_write(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_whose_process_died_before_its_manifest_settles(run, tmp_path):
    run.save(metrics(0), {"seconds": 1})
    metrics(0, 1).to_parquet(run.path / "metrics.parquet")
    run.update(status="running")
    run.checkpoints[0].touch()
    with run.claim():
        run.repair_manifest()
    manifest = run.manifest()
    assert manifest["status"] == "done" and manifest["seeds_done"] == [0, 1]
    assert not run.checkpoints[0].exists()


def test_one_process_holds_a_run(run):
    with run.claim(), pytest.raises(RunBusy), Run(run.path).claim():
        pass
    with Run(run.path).claim():
        pass


def test_a_process_that_asks_keeps_none_from_a_run(run):
    def ask():
        while not done.is_set():
            Run(run.path).is_busy()

    done, asking = threading.Event(), threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(200):
            with run.claim():
                pass
    finally:
        done.set()
        asking.join()


def test_a_failure_keeps_what_was_done(run):
    run.save(metrics(0), {"seconds": 1})
    run.fail(RuntimeError("later"))
    assert run.manifest()["status"] == "failed" and run.manifest()["error"] == "RuntimeError: later"
    assert "RuntimeError: later" in run.traceback.read_text()
    assert run.seeds_done() == [0]


def test_the_manifest_says_where_numbers_came_from(cli, tmp_path):
    cli("debug=smoke")
    (run,) = RunStore(tmp_path / "runs").runs()
    (batch,) = json.loads((run.path / "manifest.json").read_text())["batches"]
    assert batch["seeds"] == [0, 1] and batch["seconds"] > 0
    assert batch["versions"]["torch"] and batch["device"].startswith("cpu")
    assert "commit" in batch and batch["frozen"] == {}


def test_changes_and_new_code_that_are_not_committed_are_kept(tmp_path, monkeypatch):
    def git(*args):
        subprocess.run(("git", *args), cwd=tmp_path, check=True, capture_output=True)

    monkeypatch.setattr(provenance, "REPOSITORY", tmp_path)
    git("init")
    (tmp_path / "algorithms").mkdir()
    (tmp_path / "README.md").write_bytes(b"caf\xc3\xa9\n")
    git("add", ".")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-m", "first")
    assert provenance._git.__wrapped__()[1] == b""
    (tmp_path / "README.md").write_bytes(b"caf\xe9\n")  # in another encoding
    (tmp_path / "algorithms" / "mine.py").write_text("ETA = 2\n")
    commit, diff = provenance._git.__wrapped__()
    assert len(commit) == 40 and b"+caf\xe9" in diff and b"+ETA = 2" in diff


def test_samples_are_kept_once_each_with_and_without_the_number_of_their_problem(tmp_path):
    run = RunStore(tmp_path).open(experiment(tmp_path).config)
    line = {"seed": 0, "step": 2, "split": "test", "greedy": False, "completion": "x"}
    older = [line | {"prompt": prompt} for prompt in ("a", "b")]
    newer = [line | {"prompt": "c", "problem": number} for number in (0, 1)]
    run.add_samples([*older, *newer])
    run.add_samples(newer)  # of a resumed run
    assert run.samples() == [*older, *newer]
    with (run.path / "samples.jsonl").open("a") as file:
        file.write('{"seed": 0, "st')  # the process died
    run.add_samples(later := [line | {"prompt": "d"}, line | {"prompt": "e"}])
    assert run.samples() == [*older, *newer, *later]
