"""What the README says is there."""

import re

from tests.helpers import ROOT

README = (ROOT / "README.md").read_text()


def block(language: str, containing: str) -> str:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    (found,) = (text for kind, text in blocks if kind == language and containing in text)
    return found


def test_the_loss_in_the_readme_is_the_template_s():
    assert block("python", "def loss") in (ROOT / "algorithms" / "templates" / "objective.py").read_text()


def test_every_file_and_folder_in_the_tree_exists():
    tree = block("", "compose -> validate")
    for line in tree.splitlines():
        assert (ROOT / line.split()[0]).exists(), line


def test_every_command_names_things_that_exist():
    for module in set(re.findall(r"python -m ([\w.]+)", README)) - {"pytest"}:
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
    for picture in re.findall(r"!\[[^]]*]\(([^)]+)\)", README):
        assert (ROOT / picture).exists()


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
