"""Suites: the declared tasks, the tuned track's choice, what is reported, and the board on made-up results."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_module

from analysis import leaderboard, suite_rows, suites
from analysis.command import main as analysis
from analysis.suite_cells import cells
from analysis.suites import DEFAULT, Protocol, Setting, Suite, Task
from conf.messages import ConfigError
from conf.resolve import resolve
from store.runs import RunStore
from tests.test_rlvr_tasks import write_gsm8k

ARMS = Task("arms", "bandits", "env=sparse_bandit env.arms=5 train.steps=20", chance=0.8, best=0.0)
MORE = Task("more arms", "bandits", "env=sparse_bandit env.arms=9 train.steps=20", chance=0.8, best=0.3)
PROTOCOL = Protocol(seeds=4, tuning_seeds=(100, 101), learning_rates=(0.1, 1, 10), epochs=(1, 4))
SUITE = Suite("made_up", PROTOCOL, {}, (ARMS, MORE))
FILE = """
protocol: {seeds: 2, tuning_seeds: [100], learning_rates: [1, 3.16], epochs: [1]}
tasks:
  - {name: arms, family: bandits, set: env=sparse_bandit env.arms=5 train.steps=10, chance: 0.8, best: 0.0}
"""
BROKEN = {
    "tasks: 3": "tasks=3: must be a list of at least one task",
    "tasks: []": "tasks=[]: must be a list of at least one task",
    "protocol: {}": "must have a list `tasks`",
    "include: [core]": "include=['core']: must be the name of a suite",
    "include: SELF": "the suite includes itself",
    "include: core\nlimits: 5": "limits=5: must be a list of sentences",
    "include: core\nleave_out: [ce]": "leave_out=['ce']: must be names with reasons",
    "tasks: []\ntask: 3": "task: unknown key (did you mean tasks?)",
    "tasks:\n  - {name: a, family: b, set: env=digits, chance: 1}": "task 1: lacks best",
    "tasks:\n  - {name: a, family: b, set: env=digits, chance: 1, best: 0, beste: 1}": "did you mean best?",
    "include: core\nprotocol: {seeds: 101}": "protocol: tuning_seeds=[100, 101, 102]: must be none of the reported",
    "include: core\nprotocol: {seeds: 1000000000}": "seeds=1000000000: must be a number from 1 to 100000",
    "include: cor\ntasks: []": "suite.yaml: suite=cor: not found (did you mean core?)",
    FILE + FILE.split("tasks:")[1].strip("\n"): "name=arms: two tasks have it",
    FILE + FILE.split("tasks:")[1].strip("\n").replace("name: arms", "name: b"): "set=env=sparse_bandit env.arms=5",
    "tasks:\n  - {name: a, family: b, set: env=digits, chance: x, best: 0}": "task 1: chance=x: must be a number",
    "tasks:\n  - {name: a, family: b, set: env=digits, chance: 0, best: 1}": "task 1: best=1: must be below chance=0",
    "include: core\nprotocol: {epochs: 4}": "protocol: epochs=4: must be a list of whole numbers >= 1",
    "include: core\nprotocol: {tuning_seeds: [100.5]}": "tuning_seeds=[100.5]: must be a list of whole numbers >= 0",
    "include: core\nprotocol: {tuning_seeds: [100, 100]}": "tuning_seeds=[100, 100]: must be different whole numbers",
    "include: core\nprotocol: {learning_rates: [0]}": "learning_rates=[0]: must be a list of numbers > 0",
    FILE.replace("train.steps=10", "seeds=3"): "task 1: set=seeds=3: must be one that makes a task",
    FILE.replace("train.steps=10", "algo.eta=2"): "task 1: set=algo.eta=2: must be one that makes a task",
    "tasks: [": "cannot be read as yaml",
}


@pytest.fixture
def store(tmp_path) -> RunStore:
    return RunStore(tmp_path / "runs")


def record(store, row, errors: dict[int, float | list[float]]) -> None:
    """Store seeds whose errors stay at a number, or go through a list of three."""
    lines = [
        {"seed": seed, "step": step, "metric": "error", "value": value}
        for seed, values in errors.items()
        for step, value in zip((1, 10, 20), values if isinstance(values, list) else [values] * 3, strict=True)
    ]
    config = row.config | {"compares": "set", "gradient_epochs": row.config["train"]["epochs"] or 4}
    store.open(config).save(pd.DataFrame(lines), {"seconds": 2.0 * len(errors), "seeds": list(errors), "device": "cpu"})


def rows(store, algo: str, setting: Setting = DEFAULT) -> dict[str, object]:
    """{task: row} of a setting."""
    section = suite_rows.algo_section(algo, None)
    return {task.name: suite_rows.configured_row(task, algo, section, setting, (), store) for task in SUITE.tasks}


def fill(store, algo: str, value: float, setting: Setting = DEFAULT, seeds=range(4)) -> None:
    for row in rows(store, algo, setting).values():
        record(store, row, dict.fromkeys(seeds, value))


def board(store) -> pd.DataFrame:
    return leaderboard.board(cells(SUITE, store), SUITE).set_index(["track", "method"])


def without_download(task) -> list[str]:
    """MNIST's code runs on images that need no download."""
    return ["env.dataset=digits"] if "env=mnist" in task.overrides else []


@pytest.mark.parametrize("name", suites.names())
def test_every_task_composes_and_states_its_chance(name):
    core = suites.read("core").tasks if name != "core" else ()
    for task in (task for task in suites.read(name).tasks if task not in core):
        for algo in ("tpo", "grpo", "ppo", "remax"):  # one of each kind of sampler
            with initialize_config_module("conf", version_base="1.3"):
                env = resolve(compose("config", [*task.overrides, *without_download(task), f"algo={algo}"])).env
        assert env.spec.chance_error == pytest.approx(task.chance, abs=1e-5), task.name


@pytest.mark.parametrize("name", suites.names())
def test_no_tuning_seed_is_a_reported_seed(name):
    protocol = suites.read(name).protocol
    assert not set(protocol.reported) & set(protocol.tuning_seeds)


def test_scores_late_and_area(store):
    record(store, rows(store, "tpo")["arms"], {seed: [0.8, 0.4, 0.2] for seed in range(4)})
    record(store, rows(store, "tpo")["more arms"], {seed: [0.8, 0.55, 0.3] for seed in range(4)})
    found = {cell.task.name: cell for cell in cells(SUITE, store)}
    assert found["arms"].late() == pytest.approx([0.75] * 4)  # the mean over the last tenth is the last record
    assert found["more arms"].late() == pytest.approx([1.0] * 4)
    assert found["more arms"].area() == pytest.approx([0.5] * 4)
    line = board(store).loc["default", "TPO"]
    assert line.complete and line["rank"] == 1
    assert line.late == pytest.approx(0.875) and line.family_bandits == pytest.approx(0.875)
    assert line.seconds == pytest.approx(4) and line.gradient_steps == 2 * 20 * 4


def test_a_seed_that_turned_non_finite_scores_0(store):
    record(store, rows(store, "tpo")["arms"], {0: [0.2, 0.1, np.nan], 1: 0.4})
    (cell,) = cells(SUITE, store)
    assert cell.late().tolist() == pytest.approx([0.0, 0.5]) and cell.area().tolist() == pytest.approx([0.0, 0.5])


def test_incomplete_methods_stand_below_without_a_rank(store):
    fill(store, "tpo", 0.4)
    fill(store, "grpo", 0.5)
    record(store, rows(store, "dg")["arms"], dict.fromkeys(range(4), 0.0))
    fill(store, "ppo", 0.0, seeds=range(3))  # one seed short
    found = board(store).loc["default"]
    assert found["rank"].dropna().to_dict() == {"TPO": 1, "GRPO": 2}
    assert found.tasks.to_dict() == {"TPO": 2, "GRPO": 2, "DG": 1, "PPO": 0}
    assert found.loc[["DG", "PPO"], ["late", "area", "mean_rank", "wins_TPO"]].isna().all(axis=None)
    assert found.wins_TPO["GRPO"] == 0 and found.wins_GRPO["TPO"] == 1
    assert np.isnan(found.wins_TPO["TPO"])


def test_a_cell_below_the_best_known_is_named(store):
    fill(store, "tpo", 0.3)
    assert leaderboard.records(cells(SUITE, store), SUITE) == []
    fill(store, "grpo", 0.25)
    (sentence,) = leaderboard.records(cells(SUITE, store), SUITE)
    assert sentence.startswith("more arms: GRPO (default track) reaches 0.25, below the best known 0.3")


def test_ties_count_half(store):
    fill(store, "tpo", 0.4)
    fill(store, "grpo", 0.4)
    found = board(store).loc["default"]
    assert found.wins_TPO["GRPO"] == 0.5 and found.mean_rank.tolist() == [1.5, 1.5]


def tune(store, algo: str, errors: dict[Setting, float]) -> None:
    for setting in suite_rows.settings(PROTOCOL):
        fill(store, algo, errors.get(setting, 0.7), setting, PROTOCOL.tuning_seeds)


def test_tuning_seeds_reach_no_reported_number(store):
    """The setting that is best on tuning seeds is reported by its other seeds, however good the tuning seeds are."""
    best, other = Setting(0.1, 4), Setting(1, 1)
    tune(store, "tpo", {best: 0.0})
    assert not cells(SUITE, store)
    fill(store, "tpo", 0.6, best)
    fill(store, "tpo", 0.1, other)  # better on the reported seeds, which must not decide
    found = cells(SUITE, store)
    assert {cell.setting for cell in found} == {best} and {cell.track for cell in found} == {"tuned"}
    for cell in found:
        assert set(cell.row.late("error")) == set(PROTOCOL.reported)
        assert cell.late() == pytest.approx([(cell.task.chance - 0.6) / (cell.task.chance - cell.task.best)] * 4)
    changed = dict.fromkeys(PROTOCOL.tuning_seeds, 0.05)  # other numbers on tuning seeds, the same choice
    before = board(store)
    for row in rows(store, "tpo", best).values():
        record(store, row, changed)
    pd.testing.assert_frame_equal(board(store).drop(columns="seconds"), before.drop(columns="seconds"))


def test_the_choice_waits_for_the_whole_grid_and_prefers_the_default_among_equals(store):
    def grid():
        return {s: replace(rows(store, "tpo", s)["arms"], only=None) for s in suite_rows.settings(PROTOCOL)}

    assert suite_rows.choose(grid(), ARMS, PROTOCOL) is None
    tune(store, "tpo", {})
    assert suite_rows.choose(grid(), ARMS, PROTOCOL) == Setting(1, 1)
    partly = {setting: row for setting, row in grid().items() if setting != Setting(10, 4)}
    assert suite_rows.choose(partly, ARMS, PROTOCOL) is None


def test_a_choice_on_the_edge_of_the_grid_is_marked(store):
    tune(store, "tpo", {Setting(10, 1): 0.0})
    fill(store, "tpo", 0.1, Setting(10, 1))
    assert board(store).loc["tuned", "TPO"].edge == 2
    frame = leaderboard.cell_frame(cells(SUITE, store), SUITE)
    assert frame.edge.tolist() == [True, True] and frame.learning_rate_factor.tolist() == [10, 10]
    assert not suite_rows.is_edge(Setting(1, 4), PROTOCOL)


def test_what_a_method_trains_grows_with_the_choice(store):
    suite = replace(SUITE, tasks=(ARMS,))
    assert [row.only for row in suite_rows.default_rows(suite, "tpo", store)] == [(0, 1, 2, 3)]
    assert [row.only for row in suite_rows.tuned_rows(suite, "tpo", store)] == [(100, 101)] * 6
    tune(store, "tpo", {Setting(10, 4): 0.0})
    *_, last = suite_rows.tuned_rows(suite, "tpo", store)
    assert last.only == (0, 1, 2, 3)
    assert last.overrides[-3:] == ("algo=tpo", "optim.lr=1.0", "train.epochs=4")


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_suite_names_what_is_wrong(tmp_path, text):
    path = tmp_path / "suite.yaml"
    path.write_text(text.replace("SELF", str(path)))
    with pytest.raises(ConfigError) as error:
        suites.read(str(path))
    assert BROKEN[text] in str(error.value)


BAD = {
    "suite=core": "algo: missing",
    "suite=core algo=ce": "algo=ce: the suite core leaves it out: it reads the right answer",
    "suite=cor": "did you mean core?",
    "suite=core suite=full algo=tpo": "one suite at a time",
    "suite=core algo=tpoo": "did you mean tpo?",
    "suite=core algo=tpo track=tune": "did you mean tuned?",
    "suite=core algo=tpo budget=soon": "2h, 90m or 600s",
    "suite=core algo=tpo seeds=3": "seeds: cannot be set together with suite=",
    "suite=core algo=tpo algo_path=nowhere": "algo_path=nowhere: no such folder",
}


@pytest.mark.parametrize("args", BAD)
def test_a_wrong_command_is_one_line(cli, args):
    code, out = cli(*args.split())
    assert code == 2 and BAD[args] in " ".join(out.split()) and len(out.splitlines()) <= 3


def test_a_method_of_ones_own_finds_its_place(cli, tmp_path, capsys):
    """Both tracks of an own objective and of TPO on an own suite with an own task; a second call has nothing to do."""
    from algorithms import new
    from envs import new as new_task

    own_task = "  - {name: own, family: own, set: env=mine_bandit env_path=own train.steps=5, chance: 0.8, best: 0.0}\n"
    (tmp_path / "small.yaml").write_text(FILE + own_task)
    assert new_task.SCAFFOLD.main(["mine_bandit", "--dir", str(tmp_path / "own")]) == 0
    assert new.SCAFFOLD.main(["mine", "--dir", str(tmp_path / "own")]) == 0
    for name, setting in {"mine": "power: 1.0", "mine_bandit": "  arms: 5"}.items():  # the classes have these defaults
        file = tmp_path / "own" / f"{name}.yaml"
        text = file.read_text()
        assert setting in text
        file.write_text("\n".join(line for line in text.splitlines() if not line.startswith(setting)))
    command = ("suite=small.yaml", "algo_path=own", "launch.workers=1")
    code, out = cli(*command, "algo=mine", "budget=0")
    assert code == 0 and "0 of 2" in out and not list((tmp_path / "runs").rglob("metrics.parquet"))
    code, out = cli(*command, "algo=mine,tpo")
    assert code == 0 and "default track, 2 seeds" in out and "tuned track, 2 seeds" in out
    assert "Mine" in out and "TPO" in out and "24 seeds new" in out
    code, out = cli(*command, "algo=mine")
    assert code == 0 and "0 seeds new" in out and "Mine" in out and "TPO" in out
    plan = "- {suite: small.yaml, algo: mine}\n- {suite: small.yaml, algo: mine, track: tuned}\n"
    (tmp_path / "plan.yaml").write_text(plan)
    code, out = cli("plan=plan.yaml", "algo_path=own", "launch.workers=1")
    assert code == 0 and "0 seeds new" in out and "2 of 2" in out
    assert analysis(["leaderboard", "--suite", "small.yaml"]) == 0
    assert "Mine" in capsys.readouterr().out
    lines = pd.read_csv(tmp_path / "figures" / "leaderboard_small.csv")
    assert lines.complete.all() and set(lines.track) == {"default", "tuned"}
    page = (tmp_path / "figures" / "leaderboard_small.html").read_text()
    assert page.count("<tr>") == 2 + len(lines)  # a head and the methods of each track
    for name in ("tasks", "profiles", "speed"):
        for track in suites.TRACKS:
            assert (tmp_path / "figures" / f"leaderboard_small_{track}_{name}.png").stat().st_size > 1000
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "small.yaml").write_text(FILE)
    with pytest.raises(SystemExit):
        analysis(["leaderboard", "--suite", "other/small.yaml"])
    assert "leaderboard_small.md is the board of another suite; choose a folder" in capsys.readouterr().err
    assert analysis(["leaderboard", "--suite", "./small.yaml"]) == 0


WRONG = {
    FILE.replace("env.arms=5", "env.arms=-3"): "suite small, task arms, algo=tpo: env.arms=-3: must be >= 2",
    FILE.replace("env.arms=5", "env.arm=5"): "did you mean arms?",
    FILE.replace("env=sparse_bandit", "env=spars_bandit"): "did you mean sparse_bandit?",
    FILE.replace("train.steps=10", "optim.lr=abc"): "must be a number",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_task_that_is_wrong_is_refused_before_any_work(cli, tmp_path, capsys, text):
    (tmp_path / "small.yaml").write_text(text)
    code, out = cli("suite=small.yaml", "algo=tpo", "launch.workers=1")
    assert code == 2 and WRONG[text] in " ".join(out.split()) and not list((tmp_path / "runs").rglob("metrics.parquet"))
    with pytest.raises(SystemExit) as stop:
        analysis(["leaderboard", "--suite", "small.yaml"])
        raise SystemExit(2)  # a value that only training refuses
    assert stop.value.code == 2


def test_the_folder_of_the_data_reaches_every_task_that_reads_one(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "data").mkdir()
    write_gsm8k(tmp_path / "data")
    words = "set: env=gsm8k model=tiny_qwen3 optim=adamw"
    (tmp_path / "small.yaml").write_text(FILE.replace("set: env=sparse_bandit env.arms=5", words))
    code, out = cli("suite=small.yaml", "algo=tpo", "track=default", "budget=0", "env.data_dir=~/data")
    assert code == 0 and "0 of 1" in out
    (tmp_path / "small.yaml").write_text(FILE.replace("env=sparse_bandit env.arms=5", "env=digits"))
    code, out = cli("suite=small.yaml", "algo=tpo", "track=default", "budget=0", "env.data_dir=null")
    assert code == 0 and "0 of 1" in out


def test_a_file_beside_the_suite_is_included_with_its_protocol(tmp_path):
    (tmp_path / "small.yaml").write_text(FILE)
    (tmp_path / "more.yaml").write_text("include: small.yaml\nprotocol: {seeds: 3}\n")
    found = suites.read(str(tmp_path / "more.yaml"))
    assert found.protocol == replace(suites.read(str(tmp_path / "small.yaml")).protocol, seeds=3)
    assert [task.name for task in found.tasks] == ["arms"]


def test_folders_with_brackets_in_their_names_are_found(cli, tmp_path):
    folder = tmp_path / "dir (1)"
    own_method(folder, "mine", "Mine", 1.0)
    (folder / "small.yaml").write_text(FILE)
    code, out = cli("suite=dir (1)/small.yaml", "algo_path=dir (1)", "algo=mine", "launch.workers=1", "track=default")
    assert code == 0 and "2 seeds new" in out, out


def test_a_suite_says_how_to_train_again(cli):
    code, out = cli("suite=core", "algo=tpo", "force=true")
    assert code == 2 and "force=true: a suite trains only what is missing; delete the folders" in out


def test_a_metric_that_no_run_records_is_named(cli, tmp_path):
    (tmp_path / "small.yaml").write_text(FILE.replace("best: 0.0", "best: 0.0, metric: eror"))
    code, out = cli("suite=small.yaml", "algo=tpo", "launch.workers=1", "track=default")
    assert code == 2 and "task arms: metric=eror: not recorded (did you mean error?)" in " ".join(out.split())


def own_method(folder, name: str, label: str, power: float, loss: str | None = None) -> None:
    from algorithms import new

    if not (folder / f"{name}.py").exists():
        assert new.SCAFFOLD.main([name, "--dir", str(folder)]) == 0
    path = folder / f"{name}.yaml"
    lines = [line for line in path.read_text().splitlines() if not line.startswith(("label:", "power:"))]
    path.write_text("\n".join([*lines, f"label: {label}", f"power: {power}"]) + "\n")
    if loss is not None:
        code = (folder / f"{name}.py").read_text()
        head, _, _ = code.partition("        u = standardize")
        (folder / f"{name}.py").write_text(head + f"        {loss}\n")


def test_methods_of_one_label_and_settings_of_one_method_have_rows_of_their_own(cli, tmp_path):
    (tmp_path / "small.yaml").write_text(FILE)
    command = ("suite=small.yaml", "algo_path=own", "launch.workers=1", "track=default")
    own_method(tmp_path / "own", "twin", "TPO", 1.0)
    assert cli(*command, "algo=tpo,twin")[0] == 0
    own_method(tmp_path / "own", "twin", "TPO", 3.0)
    assert cli(*command, "algo=twin")[0] == 0
    assert analysis(["leaderboard", "--suite", "small.yaml"]) == 0
    methods = set(pd.read_csv(tmp_path / "figures" / "leaderboard_small.csv").method)
    assert "TPO" in methods and len(methods) == 3
    assert {text for text in methods if "power=1.0" in text or "power=3.0" in text or "power=1" in text}


def test_a_method_that_raises_stops_a_suite_at_its_line(cli, tmp_path):
    (tmp_path / "small.yaml").write_text(FILE)
    own_method(tmp_path / "own", "raiser", "Raiser", 1.0, loss='raise RuntimeError("boom")')
    code, out = cli("suite=small.yaml", "algo_path=own", "launch.workers=1", "algo=raiser")
    text = "".join(out.split())
    assert code == 1 and "raiser.py,line" in text and "traceback.txt" in text
    assert "thefirstrunsfailedinthesameplace" in text and out.count("seeds to train") == 3


def test_a_task_of_ones_own_is_composed_anew_when_its_file_changes(store, tmp_path):
    from envs import new as new_task

    assert new_task.SCAFFOLD.main(["mine_bandit", "--dir", str(tmp_path / "own")]) == 0
    overrides = ("env=mine_bandit", f"env_path={tmp_path / 'own'}")
    before = suite_rows.task_config(overrides, store)
    path = tmp_path / "own" / "mine_bandit.yaml"
    path.write_text(path.read_text().replace(f"arms: {before['env']['arms']}", "arms: 7"))
    assert suite_rows.task_config(overrides, store)["env"]["arms"] == 7 != before["env"]["arms"]


def test_an_empty_store_names_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert analysis(["leaderboard"]) == 1
    assert "python run.py suite=core algo=tpo" in capsys.readouterr().out
