"""The cache of figures: what is unchanged is not drawn again, what is changed is, and without a cache all works."""

import os
import shutil
import time

import pytest

from analysis import cache, pictures
from analysis.cache import Cache
from analysis.command import main
from analysis.compose import sweep_jobs
from analysis.load import cache_of, sweep_rows
from analysis.pictures import Picture, drawn
from store.runs import RunStore
from tests.test_report import stored

NAMES = ("fig03.png", "fig03.pdf", "fig03.csv")


@pytest.fixture
def store(tmp_path, monkeypatch) -> RunStore:
    """Two methods of figure 3 in tmp_path/runs, which is where a command looks."""
    monkeypatch.chdir(tmp_path)
    found = RunStore(tmp_path / "runs")
    for row in sweep_rows("fig03", found):
        if row.config["algo"]["name"] in ("tpo", "grpo"):
            stored(found, row, [0.1, 0.2, 0.15])
    return found


@pytest.fixture
def draws(monkeypatch) -> list[str]:
    """The figures that were drawn, in turn."""
    found, draw = [], Picture.draw
    monkeypatch.setattr(Picture, "draw", lambda picture: found.append(picture.figure) or draw(picture))
    return found


def files(tmp_path, *arguments: str) -> dict[str, bytes]:
    """What `python -m analysis fig03` writes, in a process of its own."""
    sweep_jobs.cache_clear()
    assert main(["fig03", *arguments]) == 0
    return {name: (tmp_path / "figures" / name).read_bytes() for name in NAMES}


def test_what_is_unchanged_is_not_drawn_again(store, draws, tmp_path):
    first = files(tmp_path)
    shutil.rmtree(tmp_path / "figures")
    assert files(tmp_path) == first and draws == ["fig03"]
    assert main(["report"]) == main(["report"]) == 0
    assert draws == ["fig03", "fig03"]  # the page has a picture of its own


def test_new_results_are_drawn(store, draws, tmp_path):
    first = files(tmp_path)
    stored(store, sweep_rows("fig03", store)[0], [0.1, 0.2])
    second = files(tmp_path)
    assert draws == ["fig03", "fig03"] and all(first[name] != second[name] for name in NAMES)


def test_other_code_draws_and_composes_again(store, draws, tmp_path, monkeypatch):
    files(tmp_path)
    before = set(cache_of(store).folder.iterdir())
    monkeypatch.setattr(cache, "code", lambda: "other")
    files(tmp_path)
    made = set(cache_of(store).folder.iterdir()) - before
    assert draws == ["fig03", "fig03"] and len(made) == 2  # a figure and a sweep


def test_code_is_every_file_of_code_and_settings_and_the_versions_of_what_draws(tmp_path, monkeypatch):
    versions = dict.fromkeys(cache.PACKAGES, "1")
    monkeypatch.setattr(cache, "ROOT", tmp_path)
    monkeypatch.setattr(cache, "version", versions.__getitem__)
    for folder in cache.CODE:
        (tmp_path / folder / "inner").mkdir(parents=True)
        (tmp_path / folder / "inner" / "one.yaml").write_text("a: 1")

    def code() -> str:
        return cache.code.__wrapped__()

    found = [code()]
    for folder in cache.CODE:
        (tmp_path / folder / "inner" / "one.yaml").write_text("a: 2")
        found.append(code())
    (tmp_path / "analysis" / "new.mplstyle").write_text("")
    found.append(code())
    (tmp_path / "analysis" / "new.mplstyle").rename(tmp_path / "analysis" / "newer.mplstyle")
    found.append(code())
    versions["matplotlib"] = "2"
    found.append(code())
    assert len(set(found)) == len(found)
    (tmp_path / "analysis" / "inner" / "one.pyc").write_text("")
    (tmp_path / "README.md").write_text("")
    assert code() == found[-1]


@pytest.mark.parametrize("content", [b"", b"nonsense", None], ids=["empty", "nonsense", "cut off"])
def test_a_damaged_entry_is_made_again(store, draws, tmp_path, capsys, content):
    first = files(tmp_path)
    entries = list(cache_of(store).folder.iterdir())
    whole = {path: path.stat().st_size for path in entries}
    for path in entries:
        path.write_bytes(path.read_bytes()[:-10] if content is None else content)
    second = files(tmp_path)
    assert draws == ["fig03", "fig03"] and all(first[name] == second[name] for name in ("fig03.png", "fig03.csv"))
    assert "Traceback" not in "".join(capsys.readouterr())
    assert {path for path in entries if path.stat().st_size > 0.9 * whole[path]} == set(entries)  # whole again
    files(tmp_path)
    assert len(draws) == 2


def test_a_cache_that_cannot_be_written_only_costs_time(store, draws, tmp_path):
    folder = cache_of(store).folder
    first = files(tmp_path)
    shutil.rmtree(folder)
    folder.write_text("a file where the folder should be, which not even root can write into")
    for _ in range(2):
        second = files(tmp_path)
        assert all(first[name] == second[name] for name in ("fig03.png", "fig03.csv"))
    assert draws == ["fig03"] * 3


def test_a_cache_that_may_only_be_read_is_read(store, draws, tmp_path, monkeypatch):
    def refuse(*arguments):
        raise PermissionError

    first = files(tmp_path)
    monkeypatch.setattr(os, "utime", refuse)
    monkeypatch.setattr(cache, "atomic_write", refuse)
    assert files(tmp_path) == first
    assert main(["report"]) == 0 and draws == ["fig03", "fig03"]  # the page has a picture of its own


def test_an_error_of_a_drawing_is_not_that_of_the_cache(tmp_path):
    with pytest.raises(ZeroDivisionError) as caught:
        Cache(tmp_path).get("key", lambda: 1 / 0)
    assert caught.value.__context__ is None


def test_another_runs_folder_has_a_cache_of_its_own(store, draws, tmp_path):
    first = files(tmp_path)
    shutil.copytree(tmp_path / "runs", tmp_path / "other", ignore=shutil.ignore_patterns(".cache"))
    second = files(tmp_path, "--runs-dir", "other")
    assert draws == ["fig03", "fig03"] and (tmp_path / "other" / ".cache").is_dir()
    assert all(first[name] == second[name] for name in ("fig03.png", "fig03.csv"))


def test_the_entries_that_were_not_used_for_longest_give_way(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "MAX_ENTRIES", 2)
    kept = Cache(tmp_path / "cache")
    for age, key in enumerate("ab"):
        kept.get(key, lambda: {"file": b"old"})
        os.utime(kept._path(key), (age, age))
    assert kept.get("a", lambda: {"file": b"new"}) == {"file": b"old"}  # used last
    kept.get("c", lambda: {"file": b"old"})
    assert [kept.has(key) for key in "abc"] == [True, False, True]


def some(store: RunStore, count: int) -> list[Picture]:
    """Different pictures, each of one run."""
    (row, *_) = [row for row in sweep_rows("fig03", store) if row.seeds]
    return [Picture("fig03", [row], ("png",), dpi=20 + i) for i in range(count)]


def test_a_second_process_draws_the_same(store, draws):
    wanted = [picture.draw() for picture in some(store, 6)]
    draws.clear()
    found = drawn(some(store, 6), cache_of(store))
    first = next(found)
    last = some(store, 6)[-1]
    for _ in range(600):  # until the other process has drawn one
        if cache_of(store).has(last.key):
            break
        time.sleep(0.1)
    assert [first, *found] == wanted and len(draws) < 6


def test_a_second_process_stops_where_nothing_can_be_kept(store, draws, tmp_path):
    (tmp_path / "file").write_text("")
    kept = Cache(tmp_path / "file" / "cache")
    pictures._draw_backwards(some(store, 5), kept)
    assert len(draws) == 1
    assert list(drawn(some(store, 5), kept)) == [picture.draw() for picture in some(store, 5)]


def test_few_missing_pictures_start_no_process(store, monkeypatch):
    monkeypatch.setattr(pictures, "PROCESSES", None)
    asked = some(store, pictures.FEW + 3)
    for picture in asked[:3]:
        cache_of(store).get(picture.key, picture.draw)
    assert len(list(drawn(asked, cache_of(store)))) == len(asked)
    assert len(list(drawn(asked, cache_of(store)))) == len(asked)
