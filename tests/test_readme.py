"""What the README and the documents say is there."""

import re

import pytest

from tests.helpers import ROOT

README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def block(language: str, containing: str) -> str:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    (found,) = (text for kind, text in blocks if kind == language and containing in text)
    return found


def test_every_file_and_folder_in_the_tree_exists():
    tree = block("", "compose -> validate")
    for line in tree.splitlines():
        assert (ROOT / line.split()[0]).exists(), line


def test_the_readme_stays_short():
    assert len(README.splitlines()) <= 120


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_link_of_a_page_names_things_that_exist(page):
    text = page.read_text()
    for module in set(re.findall(r"python -m ([\w.]+)", text)) - {"pytest", "verl.trainer.main_ppo"}:
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
    for target in re.findall(r"]\(([^)]+)\)", text):
        name, _, anchor = target.partition("#")
        if target.startswith("http"):
            continue
        linked = page.parent / name if name else page
        assert linked.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads], target


def test_the_code_on_the_page_of_extensions_is_that_of_the_templates():
    page = (ROOT / "docs" / "extend.md").read_text()
    templates = [
        unindented(path.read_text())
        for group in ("algorithms", "envs", "models")
        for path in (ROOT / group / "templates").glob("*.py")
    ]
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 5
    for code in blocks:
        assert any(unindented(code) in template for template in templates), code


def unindented(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())
