"""docs/algorithms.md is what the code says today, and shows every method."""

import re

from omegaconf import OmegaConf

from docs import sections
from tests.helpers import ROOT

PAGE = ROOT / "docs" / "algorithms.md"
PINNED = (ROOT / "pyproject.toml").read_text() + (ROOT / "constraints-engines.txt").read_text()


def test_the_page_is_up_to_date():
    assert PAGE.read_text() == sections.text(), "run make docs"


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
