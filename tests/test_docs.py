"""The pages that are made from the code are what it says today, and show every method, grader and setting."""

import itertools
import re

import pytest
from omegaconf import OmegaConf

from docs import graders, sections, settings
from envs.rlvr.graders import GRADERS
from tests.helpers import ROOT
from training.config import TrainConfig

PAGE, SETTINGS = ROOT / "docs" / "algorithms.md", ROOT / "docs" / "settings.md"
GRADERS_PAGE = (ROOT / "docs" / "graders.md").read_text()
PINNED = (ROOT / "pyproject.toml").read_text() + (ROOT / "constraints-engines.txt").read_text()


def test_the_pages_are_up_to_date():
    assert PAGE.read_text() == sections.text(), "run make docs"
    assert SETTINGS.read_text() == settings.text(), "run make docs"
    assert graders.with_table(GRADERS_PAGE) == GRADERS_PAGE, "run make docs"


@pytest.mark.parametrize("section", settings.SECTIONS)
def test_every_file_and_every_setting_of_a_group_is_shown(section):
    text = SETTINGS.read_text()
    for file in (ROOT / "conf" / section).glob("*.yaml"):
        if section != "train":
            assert f"`{section}={file.stem}`" in text
        node = OmegaConf.load(file)
        for key in node.get(section, node):
            if key not in ("defaults", "name", "label", "task"):
                assert f"| `{section}.{key}` |" in text, key


def test_allowed_values_are_those_that_a_class_checks():
    found = settings.allowed_values(TrainConfig)
    assert found["steps"] == "between 1 and 1000000000" and found["epochs"] == "null or >= 1"
    assert found["eval_split"] == "one of validation, test"


def test_every_grader_is_shown_and_told_from_the_others():
    for name in GRADERS:
        assert f"| `{name}` |" in GRADERS_PAGE
    verdicts = [tuple(graders.scores(answer, completion)) for answer, completion, _ in graders.CASES]
    for i, j in itertools.combinations(range(len(GRADERS)), 2):
        assert any(row[i] > row[j] for row in verdicts) and any(row[i] < row[j] for row in verdicts)
    named = (
        "dollars",
        "%",
        "/ 1",
        "**72**",
        "\\boxed{72}",
        "+72",
        "\N{MINUS SIGN}",
        "####:",
        "\N{NO-BREAK SPACE}",
        " .5",
    )
    for part in named:  # what graders of the field are known to disagree on, or to miss
        assert any(part in completion for _, completion, _ in graders.CASES), part


def test_every_method_has_a_section_a_source_and_a_picture():
    text = PAGE.read_text()
    for node, objective in sections.configured_objectives():
        assert f"`algo={node.name}`" in text
        assert objective.paper in text
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert link.startswith("https://") or (PAGE.parent / link).exists(), link


def test_the_table_of_libraries_names_methods_settings_and_versions_that_exist():
    for name, engine in sections.engines().items():
        assert f"{name}=={engine.version}" in PINNED
        for method, case in engine.methods.items():
            node = OmegaConf.load(ROOT / "conf" / "algo" / f"{method}.yaml")
            assert set(case) <= {"here", "there", "on_policy", "contrast"}
            assert set(case.get("here", {})) <= set(node), method


def test_the_findings_judge_every_claim_as_the_report_does():
    report, page = ((ROOT / name).read_text() for name in ("REPRODUCTION.md", "docs/findings.md"))
    judged = re.findall(r'^- "(.+)": \*\*(.+)\*\*(.*)$', report, re.MULTILINE)
    rows = [line.strip("|").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    verdicts = {row[0].strip(): row[1].strip() for row in rows}
    assert len(judged) > 10
    for claim, verdict, scale in judged:
        assert verdicts[claim] == verdict + scale
