"""Verdicts by their rule, sentences by theirs, the page, and the leaderboard."""

import html
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml

from analysis import catalogue, cost, study_board, tables
from analysis.claims import CLAIMS, NO_INTERVAL, OPEN, claims
from analysis.command import main
from analysis.compare import compare
from analysis.labels import label
from analysis.load import Row, shorter, sweep_rows
from analysis.paper import EPISODES, FINAL, TABLES, paper_values
from analysis.verdicts import DIFFERS, DIRECTION, FEW, LEGEND, NOT_RUN, READING, REPRODUCED
from store.runs import RunStore
from tests.helpers import objective


def stored(store: RunStore, row: Row, finals, metric: str = "error", seconds: float = 12.0) -> Row:
    """The row after a run whose seeds go in three records from chance 1 to these values."""
    n = len(finals)
    last = row.config["train"]["steps"]
    values = np.concatenate([np.ones(n), np.full(n, 0.5), np.asarray(finals, dtype=float)])
    steps = np.repeat([1, last // 2, last], n)
    frame = pd.DataFrame({"seed": np.tile(np.arange(n), 3), "step": steps, "metric": metric, "value": values})
    config = row.config | {"compares": objective(row.config["algo"]["name"]).sampler}
    store.open(config).save(
        frame, {"seconds": seconds, "seeds": list(range(n)), "device": "cpu", "versions": {"torch": "2"}}
    )
    return Row(config, label(config), row.run, row.only, row.overrides)


@pytest.fixture
def store(tmp_path) -> RunStore:
    return RunStore(tmp_path / "runs")


def fig03(store: RunStore, **finals: float) -> pd.DataFrame:
    """The table of figure 3 when these methods end at these means, with a spread of 1 %."""
    rows = {row.config["algo"]["name"]: row for row in sweep_rows("fig03", store)}
    noise = 1 + 0.01 * np.random.default_rng(0).normal(size=100)
    found = [stored(store, row, finals[name] * noise) if name in finals else row for name, row in rows.items()]
    return compare("fig03_numbers", found).set_index("algo")


def test_verdicts_follow_their_rule(store):
    found = fig03(store, ce=3.4e-4, tpo=4.5e-4, grpo=6e-4, dg=5e-4).verdict  # paper: 3.4, 4.0, 5.3, 21 e-4
    assert found["ce"] == REPRODUCED
    assert found["tpo"] == DIRECTION  # not the value, but above ce and below grpo and dg, as in the paper
    assert found["grpo"] == found["dg"] == DIFFERS  # these two are in the wrong order
    assert found["pg"] == NOT_RUN


def test_never_is_reproduced_by_never(store):
    rows = [row for row in sweep_rows("fig07", store) if row.config["algo"]["name"] in ("dg", "tpo")]
    rows = [row for row in rows if row.config["env"]["horizon"] == 10]
    frame = compare("table3", [stored(store, row, [0.99, 0.98] * 5) for row in rows])
    found = frame[(frame.match == "prompts") & (frame.horizon == 10)].set_index("algo").verdict
    assert found["dg"] == REPRODUCED and found["tpo"] == DIFFERS


def test_what_the_paper_ties_is_no_order_to_keep(store):
    ours = {"tpo": 0.3, "grpo": 0.6, "grpo_no_kl": 0.93, "dg": 0.94}  # paper: .07, .50, and "-" for two
    rows = {row.config["algo"]["name"]: row for row in sweep_rows("fig07", store) if row.config["env"]["horizon"] == 10}
    noise = 1 + 0.01 * np.random.default_rng(0).normal(size=20)
    frame = compare("table3", [stored(store, rows[name], value * noise) for name, value in ours.items()])
    found = frame[(frame.match == "prompts") & (frame.horizon == 10)].set_index("algo").verdict
    assert found[list(ours)].tolist() == [DIRECTION] * 4


def test_every_method_says_how_many_learnt_where_those_of_one_split(store):
    rows = {row.config["algo"]["name"]: row for row in sweep_rows("fig07", store) if row.config["env"]["horizon"] == 10}
    ours = {"tpo": [0.0] * 10, "grpo": [0.0] * 6 + [1.0] * 4}
    for methods, expected in ((ours, ["n=10, 10 learnt", "n=10, 6 learnt"]), (["tpo"], ["n=10, last tenth 0.0"])):
        frame = compare("table3", [stored(store, rows[name], ours[name]) for name in methods])
        found = frame[(frame.match == "prompts") & (frame.horizon == 10)].set_index("algo")
        assert all(text in found.shown[name] for name, text in zip(methods, expected, strict=True))
    assert frame.paper_shown[(frame.algo == "tpo") & (frame.horizon == 10)].tolist() == ["7.4", "19"]


def test_few_seeds_get_no_verdict_and_a_diverged_one_counts_as_wrong(store):
    rows = {row.config["algo"]["name"]: row for row in sweep_rows("fig03", store)}
    few, diverged = stored(store, rows["tpo"], [4e-4] * 9), stored(store, rows["pg"], [0.0] * 9 + [np.nan])
    frame = compare("fig03_numbers", [few, diverged]).set_index("algo")
    assert frame.verdict["tpo"] == FEW and frame.n["pg"] == 10
    assert frame.ours["pg"] == pytest.approx(0.1) and tables.summary([diverged]).error.item() == pytest.approx(0.1)


def test_an_arrival_counts_in_a_run_shorter_than_the_papers(store):
    wanted = sweep_rows("fig16", store)[:2]
    arrived, stayed = wanted
    for row, steps, finals in (arrived, 200, [0.001] * 4), (arrived, 400, [0.002] * 10), (stayed, 300, [0.5] * 10):
        config = row.config | {"train": row.config["train"] | {"steps": steps}}
        stored(store, replace(row, config=config, run=store.find(config)), finals)
    frame = compare("table5", wanted, shorter(wanted, store)).set_index(["measure", "eta"])
    arrives, stays = arrived.config["algo"]["eta"], stayed.config["algo"]["eta"]
    assert frame.ours[EPISODES, arrives] == 400 and frame.n[EPISODES, arrives] == 10
    assert frame.verdict[EPISODES, stays] == frame.verdict[FINAL, arrives] == NOT_RUN


def test_a_shorter_run_of_a_group_counts_under_both_matchings(store):
    wanted = [row for row in sweep_rows("fig06", store) if row.config["algo"]["name"] == "tpo"][:1]
    config = wanted[0].config | {"train": wanted[0].config["train"] | {"steps": 150}}
    stored(store, replace(wanted[0], config=config, run=store.find(config)), [0.001] * 10)
    frame = compare("table2", wanted, shorter(wanted, store))
    assert frame[frame.n > 0].match.tolist() == ["prompts", "interactions"]
    assert frame[frame.n > 0].ours.tolist() == [150, 150]


def test_claims_are_counted_over_their_groups(store):
    frame = fig03(store, ce=3e-4, tpo=4e-4, grpo=5e-4, dg=6e-4, pg=7e-4).reset_index()
    (claim,) = claims("fig03", {"fig03_numbers": frame})
    assert claim.verdict == "holds"
    frame.loc[frame.algo == "grpo", "low"] = 4e-4
    assert claims("fig03", {"fig03_numbers": frame})[0].verdict == OPEN
    frame.loc[frame.algo == "grpo", "high"] = 1e-4
    assert claims("fig03", {"fig03_numbers": frame})[0].verdict == "does not hold"
    assert claims("fig03", {"fig03_numbers": frame.assign(n=0)})[0].verdict == NOT_RUN


def test_a_claim_needs_every_rival_and_an_interval_of_each(store):
    frame = fig03(store, ce=3e-4, tpo=4e-4, grpo=5e-4, dg=6e-4, pg=7e-4).reset_index()

    def verdict() -> str:
        return claims("fig03", {"fig03_numbers": frame})[0].verdict

    assert verdict() == "holds"
    frame.loc[frame.algo == "pg", "n"] = 0
    assert verdict() == NOT_RUN
    frame.loc[frame.algo == "dg", ["low", "high"]] = np.nan
    assert verdict() == NO_INTERVAL


def test_the_same_runs_under_both_matchings_are_one_case():
    cells = [
        ("prompts", "tpo", 10, 50, 60, "a"),
        ("prompts", "grpo", 10, 70, 80, "b"),
        ("prompts", "ppo", 10, 90, 99, "c"),
    ]
    cells += [("interactions", "tpo", 10, 50, 60, "a"), ("interactions", "grpo", 10, 70, 80, "b")]
    frame = pd.DataFrame(cells, columns=["match", "algo", "n", "low", "high", "run"]).assign(
        reward="bag", target="copy"
    )
    (claim,) = claims("fig06", {"table2": frame})
    assert claim.verdict == "holds; 1 not run"


def test_a_run_that_ends_before_a_measure_does_not_fill_its_cell(store):
    rows = [row for row in sweep_rows("fig02", store, "quick") if row.config["algo"]["name"] == "tpo"]
    config = rows[0].config | {"train": rows[0].config["train"] | {"steps": 120}}
    frame = compare(
        "fig02_numbers", [stored(store, replace(rows[0], config=config, run=store.find(config)), [0.1] * 10)]
    )
    filled = frame[(frame.algo == "tpo") & (frame.n > 0)]
    assert filled.measure.tolist() == ["after 50 steps", "after 100 steps"]


def test_every_claim_names_a_figure_a_table_and_cells_that_exist(store):
    for figure, found in yaml.safe_load(CLAIMS.read_text()).items():
        assert figure in catalogue.figures()
        for claim in found:
            table = TABLES[claim["table"]]
            assert set(claim.get("lowest", claim.get("highest"))) <= set(table.keys)
            assert set(claim.get("only", {})) <= set(table.keys)


@pytest.mark.parametrize("name", ["table3", "table5", "fig04_numbers", "fig14_numbers", "fig17_numbers"])
def test_every_number_of_the_paper_belongs_to_a_cell_that_the_sweeps_fill(store, name):
    values, seeds, source = paper_values(name)
    frame = compare(name, catalogue.rows(TABLES[name].figure, store, "paper"))
    assert set(values) <= set(frame[list(TABLES[name].keys)].itertuples(index=False, name=None))
    asked = frame[frame.shown == NOT_RUN]
    # a group method fills two matchings once it ran
    assert len(asked) >= len(values) / 2 and min(seeds.values()) >= 10 and source


def test_page_holds_every_figure_and_number(store, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(catalogue, "figures", lambda: ["fig03", "fig05", "staleness"])
    fig03(store, ce=3.4e-4, tpo=4e-4)
    assert main(["report"]) == 0
    page, text = ((tmp_path / name).read_text() for name in ("report/index.html", "REPRODUCTION.md"))
    assert re.findall('<h2 id="(.*?)"', page) == ["fig03", "fig05"]
    assert page.count("data:image/png;base64") == 1 and "http" not in re.sub("https://arxiv.org", "", page)
    for part in ("0.00034", "n=100", "python run.py paper=fig03", "reproduced", "torch 2"):
        assert part in page
    assert "| CE (oracle) | 0.00034" in text and "*reproduced*" in text and "| 58" not in text and "paper 58" in text
    shown = html.unescape(page)
    for sentence in [*LEGEND.values(), *READING, "Note: V 2 in Table 1"]:
        assert sentence in shown and sentence in text
    for line in re.findall(r"^\|.*$", text, re.MULTILINE):
        assert line.endswith("|")


def test_time_of_what_is_missing_grows_with_its_size(store):
    row, other = sweep_rows("fig03", store)[:2]
    stored(store, row, [0.1] * 10, seconds=20)
    assert cost.seconds([row], cost.speeds(store)) == pytest.approx(180)  # 90 of 100 seeds are missing
    assert cost.seconds([other], cost.speeds(store)) == pytest.approx(200)  # from the other method on the task
    assert cost.seconds([sweep_rows("fig02", store)[0]], cost.speeds(store)) is None


def test_time_of_a_single_sample_method_does_not_grow_with_the_candidates(store):
    for algo, growth in (("dg", 1), ("tpo", 4)):
        few, many = (sweep_rows("fig12", store, "paper", (f"algo={algo}", f"env.candidates={k}"))[0] for k in (8, 32))
        stored(store, few, [0.1] * 30, seconds=60)
        assert cost.seconds([many], cost.speeds(store)) == pytest.approx(60 * growth)


def test_leaderboard_scores_chance_0_and_the_best_1(store):
    rows = {row.config["algo"]["name"]: row for row in sweep_rows("fig03", store)}
    found = [stored(store, rows[a], v) for a, v in {"tpo": [0.1, 0.1], "grpo": [0.1, 0.3], "pg": [1.0, 1.0]}.items()]
    alone = stored(store, sweep_rows("fig02", store)[0], [0.5, 0.5])
    listed = study_board.entries([*found, alone])
    assert {entry.task for entry in listed} == {"Contextual bandit"}  # what one method alone has run compares nothing
    board = study_board.board(listed).set_index("method")
    assert board.iqm.to_dict() == pytest.approx({"TPO": 1.0, "GRPO": 1 - 0.1 / 0.9, "PG": 0.0})
    assert board["rank"].to_dict() == {"TPO": 1, "GRPO": 2, "PG": 3}
    assert board.wins_TPO["GRPO"] == 0.25 and board.wins_GRPO["TPO"] == 0.75 and np.isnan(board.wins_TPO["TPO"])
    assert board.seconds["TPO"] == 6


def test_methods_of_ones_own_with_one_label_are_rows_of_their_own(store):
    (row,) = (stored(store, row, [0.1, 0.2]) for row in sweep_rows("fig02", store)[:1])
    algos = [row.config["algo"] | {"name": "mine", "eta": eta} for eta in (1.0, 2.0)]
    listed = study_board.entries([row, *(replace(row, config=row.config | {"algo": algo}) for algo in algos)])
    assert {entry.method for entry in listed} == {"TPO", "TPO (algo=mine, eta=1.0)", "TPO (algo=mine, eta=2.0)"}


def test_a_seed_that_turned_non_finite_scores_as_chance_does(store):
    rows = {row.config["algo"]["name"]: row for row in sweep_rows("fig02", store)}
    found = [stored(store, rows[a], v) for a, v in {"tpo": [0.1, 0.1], "pg": [0.1, np.nan]}.items()]
    scores = {entry.method: entry.scores for entry in study_board.entries(found)}
    assert scores["PG"].tolist() == [1.0, 0.0] and scores["TPO"].tolist() == [1.0, 1.0]


def test_a_task_on_which_no_method_learns_has_no_scale_and_is_left_out(store, caplog):
    flat = [stored(store, row, [1.0, 1.0]) for row in sweep_rows("fig02", store)[:2]]
    rows = {row.config["algo"]["name"]: row for row in sweep_rows("fig03", store)}
    found = [stored(store, rows[a], v) for a, v in {"tpo": [0.1, 0.1], "grpo": [0.1, 0.3]}.items()]
    board = study_board.board(study_board.entries([*flat, *found])).set_index("method")
    assert board["rank"].to_dict() == {"TPO": 1, "GRPO": 2} and (board.tasks == 1).all()
    assert "left out: Sparse bandit: no method ends below the error of chance" in caplog.text


def test_groups_stand_under_both_matchings_and_what_is_drawn_is_counted(store):
    rows = [
        row
        for sweep in ("fig07", "fig07_interactions")
        for row in sweep_rows(sweep, store)
        if row.config["algo"]["name"] in ("tpo", "ppo") and row.config["env"]["horizon"] == 7
    ]
    listed = study_board.entries([stored(store, row, [0.1, 0.2]) for row in rows])
    drawn = {(entry.method, entry.task.split("match ")[-1]): entry.rollouts for entry in listed}
    once = 2000 * 100
    assert drawn == {("TPO", "prompts)"): 8 * once, ("PPO", "prompts)"): once} | {
        (method, "interactions)"): 8 * once for method in ("TPO", "PPO")
    }


def test_leaderboard_shows_what_is_missing(store, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for sweep in ("fig02", "fig03"):
        for row in sweep_rows(sweep, store):
            if (sweep, row.config["algo"]["name"]) != ("fig02", "dg"):
                stored(store, row, [0.1, 0.2])
    assert main(["leaderboard", "--of", "runs"]) == 0
    out = capsys.readouterr().out
    table = pd.read_csv(tmp_path / "figures" / "leaderboard_runs.csv").set_index("method")
    assert table.tasks["TPO"] == 2 and table.tasks["DG"] == 1
    assert "Sparse bandit" in out and "figures/leaderboard_runs.md" in out
    text = (tmp_path / "figures" / "leaderboard_runs.md").read_text()
    assert re.search(r"\| DG \| 1\.00 \| - \|", text)
    for suffix in ("png", "pdf", "md"):
        assert (tmp_path / "figures" / f"leaderboard_runs.{suffix}").stat().st_size > 100


def test_leaderboard_of_an_empty_store_names_a_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["leaderboard"]) == 1
    assert "python run.py" in capsys.readouterr().out
