"""Plans: trained in their order within a budget, stopped in every way without a loss, and shared by several calls."""

import os
import re
import signal
import time
from dataclasses import replace

import pytest

from analysis import cost, status, suites
from analysis.load import sweep_rows
from launch import plans, requests
from launch.plans import Entry
from store.archive import Archive
from store.results import Results
from store.runs import RunStore
from store.transfer import export, finished_runs
from tests.processes import finish, start, wait_for_checkpoint
from tests.test_report import stored
from training.checkpoint import Schedule
from training.stop import Stop

TINY = "env.horizon=3 env.batch=8 model.d_model=8 model.layers=1 train.steps=60 train.checkpoint_every=5"
PLAN = f"""
- {{sweep: fig07, scale: quick, set: "algo=tpo,dg {TINY}", seeds: 2}}
- {{sweep: fig07, scale: quick, set: "algo=grpo {TINY}", seeds: 1}}
"""
BAD = {
    "plan=paper budget=-1": "2h, 90m or 600s",
    "plan=paper budget=2x": "2h, 90m or 600s",
    "plan=paper budget=soon": "2h, 90m or 600s",
    "plan=papr budget=1h": "did you mean paper?",
    "plan=paper algo=tpo": "algo: cannot be set together with plan=, whose file says what is trained; allowed: plan",
    "plan=paper -m": "-m: cannot be set together with plan=",
    "plan=paper launch.nice=20": "launch.nice=20: must be from 0",
    "plan=paper launch.workers=0": "launch.workers=0",
    "plan=paper launch=slurm_local": "launch=slurm_local",
    "plan=paper device=tpu": "device=tpu",
    "plan=paper env.data_dir=nowhere": "env.data_dir=nowhere: no such folder",
    "launch.nice=-1": "launch.nice=-1",
    "plan=paper launch.workers=100000": "launch.workers=100000: must be null or >= 1, at most 32 for each core",
}
BROKEN = {
    "- {sweep: fig99}": "entry 1: sweep=fig99: not found",
    "- {sweep: fig02}\n- {seeds: 3}": "entry 2: {'seeds': 3}: must have one of the keys",
    "- {sweep: fig02, seed: 3}": "did you mean seeds?",
    "- {sweep: fig02, seeds: 0}": "seeds=0",
    "- {sweep: fig02, seeds: 1000000000}": "seeds=1000000000: must be a number from 1 to 100000",
    "- {sweep: fig02, set: algo}": "set=algo",
    '- {sweep: fig02, set: "algo=[tpo"}': "plan.yaml, entry 1: algo=[tpo: ",
    "- {plan: paper, seeds: 3}": "plan must be a name or a file, and the only key",
    "- {sweep: fig02, set: seeds=3}": "seeds is a key of the entry itself",
    '- {sweep: fig02, set: "algo=\'tpo"}': "No closing quotation; close the quotes",
    "- {suite: none.yaml}": "suite=none.yaml: not found",
    "- {suite: cor}": "did you mean core?",
    "- {sweep: fig07, set: train.step=3}": "plan.yaml, entry 1: train.step: unknown key (did you mean steps?)",
    "- {sweep: fig07, set: train.steps=abc}": "train.steps=abc: must be a number",
    "- {sweep: fig07, set: foo=3}": "foo: unknown key",
    "- {sweep: fig07, set: algo=mine}": "algo=mine: not found",
    "- {sweep: fig02}\n- {suite: core, algo: tpoo}": "plan.yaml, entry 2: algo=tpoo: not found",
    "- {suite: core, seeds: 5}": "seeds=5: {'suite': 'core', 'seeds': 5} does not use this key",
    "- {sweep: fig02, track: tuned}": "track=tuned: {'sweep': 'fig02', 'track': 'tuned'} does not use this key",
    "- {undecided: [table3]}": "undecided=['table3']: not found",
    "- {undecided: tabel3}": "did you mean table3?",
    "sweep: fig02": "must be a list",
    "- [": "cannot be read as yaml",
    "- {plan: BROKEN}": "includes itself",
}


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(PLAN)
    return f"plan={path}"


def store(folder) -> Results:
    return Results(RunStore(folder), Archive(folder / "no archive"))


def tables(folder) -> dict:
    return {run.path.parts[-2:]: run.frame() for run in RunStore(folder).runs()}


def assert_equal(folder, quiet) -> None:
    ours, theirs = tables(folder), tables(quiet)
    assert ours.keys() == theirs.keys() and len(ours) == 3
    assert all(ours[key].equals(theirs[key]) for key in ours)


@pytest.mark.parametrize("args", BAD)
def test_bad_plans_and_budgets_are_one_line(cli, args):
    code, out = cli(*args.split())
    assert code == 2 and BAD[args] in out and len(out.splitlines()) <= 3


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_plan_names_its_entry(cli, tmp_path, text):
    path = tmp_path / "plan.yaml"
    path.write_text(text.replace("BROKEN", str(path)))
    code, out = cli(f"plan={path}", "budget=0")
    assert code == 2 and BROKEN[text] in " ".join(out.split())


def test_the_papers_plan_asks_for_ten_seeds_of_a_cell_before_twenty(tmp_path):
    entries = [entry for entry in plans.read("paper") if entry.sweep]
    seeds = [len(task.seeds) for task in plans.tasks(entries, store(tmp_path))]
    many = [n for n in seeds if n not in (20, 100)]  # MNIST and the bandits take minutes with all of their seeds
    assert many == sorted(many) and min(seeds) >= 10


def test_the_plan_of_the_suite_trains_both_tracks_of_every_method(tmp_path):
    entries, every = plans.read("core"), set(suites.methods(suites.read("core"), "glob(*)"))
    for track in suites.TRACKS:
        chosen = [entry for entry in entries if entry.track == track]
        assert {task.row.config["algo"]["name"] for task in plans.tasks(chosen, store(tmp_path))} == every


def test_a_plan_may_include_another(tmp_path):
    (tmp_path / "inner.yaml").write_text(PLAN)
    (tmp_path / "outer.yaml").write_text(f"- {{plan: {tmp_path / 'inner.yaml'}}}\n- {{sweep: fig02}}\n")
    assert [entry.sweep for entry in plans.read(str(tmp_path / "outer.yaml"))] == ["fig07", "fig07", "fig02"]


def test_a_plan_stops_by_itself_and_goes_on_and_loses_nothing(tmp_path, plan):
    """Once by Ctrl-C, once by SIGTERM, once by kill -9 and once by its budget, each while it trains."""
    folder = tmp_path / "killed"
    quiet = start(tmp_path / "quiet", "whole", (plan, "launch.workers=1"))
    for number, code, workers in ((signal.SIGINT, 130, 1), (signal.SIGTERM, 143, 2), (signal.SIGKILL, -9, 1)):
        args, begun = (plan, f"launch.workers={workers}", "launch.nice=1"), time.time()
        process, log = start(folder, signal.Signals(number).name, args)
        wait_for_checkpoint(folder, newer_than=begun)
        os.kill(process.pid, number)
        said = finish(process, log, code)
        assert "Traceback" not in said
        if number != signal.SIGKILL:
            assert "wait at a checkpoint, from which the same command goes on" in said
    said = finish(*start(folder, "budget", (plan, "budget=0.2s", "launch.workers=1")))
    assert "0 seeds new" in said
    said = finish(*start(folder, "last", (plan, "budget=5m", "launch.workers=1")))
    assert "resumed at step" in said and "3 of 3" in said
    finish(*quiet)
    assert_equal(folder, tmp_path / "quiet")


def test_a_process_whose_parent_is_killed_stops_at_a_checkpoint(tmp_path, plan):
    process, _ = start(tmp_path / "runs", "one", (plan, "launch.workers=2"))
    wait_for_checkpoint(tmp_path / "runs")
    process.kill()
    process.join()
    wait_until_free(tmp_path / "runs")
    assert list((tmp_path / "runs").rglob("checkpoint.pt"))


def wait_until_free(folder) -> None:
    deadline = time.monotonic() + 60
    while any(run.is_busy() for run in RunStore(folder).runs()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_two_calls_share_a_plan(tmp_path, plan):
    calls = [start(tmp_path / "runs", name, (plan, "launch.workers=1")) for name in ("one", "two")]
    said = [finish(*call) for call in calls]
    trained = [re.findall(r"runs left \(done", text) for text in said]
    assert sum(map(len, trained)) == 3 and "Traceback" not in "".join(said)
    batches = [run.manifest()["batches"] for run in RunStore(tmp_path / "runs").runs()]
    assert [len(batch) for batch in batches] == [1, 1, 1]


def test_a_task_that_fails_does_not_stop_the_others(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(f'- {{sweep: fig07, scale: quick, set: "algo=tpo env.vocab=1 {TINY}"}}\n{PLAN}')
    said = finish(*start(tmp_path / "runs", "one", (f"plan={path}", "launch.workers=1")), code=1)
    assert "refused: env.vocab=1" in said and len(tables(tmp_path / "runs")) == 3


def test_what_is_done_and_left_is_counted_without_training(tmp_path, cli, plan):
    code, out = cli(plan, "budget=0", f"runs_dir={tmp_path / 'runs'}")
    assert code == 0 and re.search(r"fig07, table3 .*0 of 3 .*0 of 3 .*0 of 5", out)
    assert not list((tmp_path / "runs").rglob("manifest.json"))


def test_twenty_seeds_only_where_the_order_of_methods_is_undecided(tmp_path):
    folder = store(tmp_path)
    assert not list(plans.tasks([Entry(undecided="table3", seeds=20)], folder))
    rows = {row.config["algo"]["name"]: row for row in sweep_rows("fig07", folder) if row.config["env"]["horizon"] == 7}
    wide, finals = [0.0] * 5 + [0.9] * 5, {"ppo": [0.99] * 10}
    for algo in ("tpo", "dg", "ppo"):
        stored(folder.folder, rows[algo], finals.get(algo, wide))
    found = list(plans.tasks([Entry(undecided="table3", seeds=20)], folder))
    assert {task.row.config["algo"]["name"] for task in found} == {"tpo", "dg"}
    assert all(task.missing(folder) == tuple(range(10, 20)) for task in found)


def test_seeds_of_an_archive_count_as_done(tmp_path):
    empty = store(tmp_path / "runs")
    (task, *_) = plans.tasks([Entry(sweep="fig03", seeds=4)], empty)
    assert task.missing(empty) == (0, 1, 2, 3)
    made = RunStore(tmp_path / "elsewhere")
    stored(made, replace(task.row, run=made.find(task.row.config)), [0.1, 0.2])
    export(finished_runs(made)["contextual_bandit"], tmp_path / "archive" / "contextual_bandit.parquet")
    shipped = Results(RunStore(tmp_path / "runs"), Archive(tmp_path / "archive"))
    assert task.missing(shipped) == (2, 3)
    (cell,) = status.cells([(task.row, (0, 1), "fig03"), (task.row, (0, 1, 2, 3), "fig03")], shipped).values()
    assert cell.left == 2 and cell.sweeps == {"fig03"}
    frame = status.summarise(status.by_figure([cell]), {cost._kind(task.row.config): cost.Speed(1e-3)}, workers=2)
    assert frame.hours.tolist() == [pytest.approx(2 * 1000 * 1e-3 / 3600 / 2)] * 2


@pytest.mark.parametrize("content", [b"", b"junk"])
def test_seeds_whose_metrics_are_damaged_are_trained_again(tmp_path, content):
    folder = store(tmp_path / "runs")
    (task, *_) = plans.tasks([Entry(sweep="fig03", seeds=2)], folder)
    stored(RunStore(tmp_path / "runs"), task.row, [0.1, 0.2])
    assert task.missing(folder) == ()
    (folder.folder.find(task.row.config).path / "metrics.parquet").write_bytes(content)
    assert task.missing(folder) == (0, 1)


def test_seeds_that_nobody_wants_complete_no_cell(tmp_path):
    (task, *_) = plans.tasks([Entry(sweep="fig03")], store(tmp_path / "runs"))
    wanted, done = frozenset(range(10)), frozenset((*range(7), 100, 101, 102))
    cell = status.Cell(task.row, frozenset(("fig03",)), wanted, done, before=frozenset(range(5)))
    frame = status.summarise({"fig03": [cell]}, {}, workers=1)
    assert frame.loc[0, ["ten", "all", "seeds", "new"]].tolist() == [0, 0, 7, 2]


def test_a_checkpoint_is_due_after_a_minute_or_later_where_saving_is_slow(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("training.checkpoint.time.monotonic", lambda: now[0])
    schedule = Schedule(500)
    assert schedule.due(500) and not schedule.due(499)
    now[0] = 61
    assert schedule.due(1)
    with schedule.saving():
        now[0] += 3
    now[0] += 149
    assert not schedule.due(2)
    now[0] += 2
    assert schedule.due(3)


def test_stop_is_due_at_its_deadline_and_when_the_parent_is_gone():
    assert not Stop().due and Stop(deadline=time.time() - 1).due
    assert not Stop(parent=os.getppid()).due and Stop(parent=1 if os.getppid() != 1 else 2).due


def test_budgets():
    assert [requests.parse_budget(text) for text in ("2h", "90m", "600s", "0", "1.5h")] == [7200, 5400, 600, 0, 5400]


def test_a_path_keeps_the_quotes_that_it_needs(tmp_path):
    word = f"runs_dir='{tmp_path / 'a,b'}'"
    request = requests.parse(["plan=paper", word])
    assert request.runs_dir == tmp_path / "a,b" and request.overrides == (word,)
