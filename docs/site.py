"""python -m docs.site: the documentation as a website in site/, with the source files that it links to."""

import logging
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort
from pymdownx.slugs import slugify

from conf.entry import run_main

ROOT = Path(__file__).resolve().parent.parent
DRAFT, SITE = ROOT / "site" / "draft", ROOT / "site" / "html"
LINK = re.compile(r"(!?)\[((?:[^\[\]]|!\[[^\]]*\]\([^)]*\))*)\]\(([^)\s]+)\)")
CODE = re.compile(r"`[^`\n]+`")
NAV = {
    "Start": ["README.md", "docs/getting_started.md", "docs/concepts.md"],
    "Commands": ["docs/commands.md", "docs/sweeps.md", "docs/settings.md"],
    "The paper": ["docs/findings.md", "docs/paper.md", "REPRODUCTION.md"],
    "The benchmark": ["docs/benchmark.md", "docs/leaderboard.md", "docs/algorithms.md", "docs/studies.md"],
    "Language models": ["docs/language_models.md", "docs/pretrained.md", "docs/text.md", "docs/graders.md"],
    "Extend": ["docs/extend.md", "docs/engines.md", "API.md", "CONTRIBUTING.md"],
    "Reliability and speed": ["docs/reliability.md", "benchmarks/README.md"],
}
API = {
    "suite": "From Python",
    "algorithms.base": "What an objective gets, and what it returns",
    "envs.base": "What a task is",
    "models.base": "What a model is",
    "engines.weights": "The gradient on each token, for other trainers",
}
PAGES = [page for pages in NAV.values() for page in pages]
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml"}


def main() -> int:
    """Write the site; 1 where mkdocs has a warning, such as a link to nothing."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    shutil.rmtree(DRAFT, ignore_errors=True)
    DRAFT.mkdir(parents=True)
    (DRAFT / "API.md").write_text(api())
    linked: set[str] = set()
    for page in PAGES:
        if page != "API.md":
            text = with_site_links((ROOT / page).read_text(), page, linked.add)
            write(DRAFT / site_path(page), without_escaped_pipes(text))
    for file in sorted(linked):
        copy(file)
    (DRAFT / "style.css").write_text(STYLE)
    file = SITE.parent / "mkdocs.yml"
    file.write_text("site_name: TPO suite\n")
    try:
        build(load_config(str(file), **config()))
    except Abort:
        return 1
    print(f"{SITE.relative_to(ROOT)}/index.html")
    return 0


def config() -> dict:
    """The settings of mkdocs; every warning is an error."""
    return {
        "docs_dir": str(DRAFT),
        "site_dir": str(SITE),
        "strict": True,
        "use_directory_urls": False,
        "nav": [{title: [site_path(page) for page in pages]} for title, pages in NAV.items()],
        "theme": {
            "name": "material",
            "font": False,
            "features": ["navigation.sections", "navigation.top", "toc.follow"],
        },
        "extra_css": ["style.css"],
        "markdown_extensions": ["tables", "fenced_code", {"toc": {"slugify": slugify(case="lower")}}],
        "plugins": ["search", {"mkdocstrings": {"handlers": {"python": {"paths": [str(ROOT)], "options": OPTIONS}}}}],
        "validation": {"links": {"anchors": "warn", "absolute_links": "warn", "unrecognized_links": "warn"}},
    }


OPTIONS = {"docstring_style": None, "show_root_heading": True, "show_source": False, "members_order": "source"}
# a table wider than a phone scrolls by itself
STYLE = """.md-typeset table:not([class]) { display: block; overflow-x: auto; }
.md-typeset table:not([class]) th { min-width: 0; }
.md-typeset table:not([class]) :is(th, td) { padding: 0.4em 0.8em; }
.md-grid { max-width: 76rem; }
"""


def site_path(page: str) -> str:
    """Where a page of the repository is in the site."""
    if page == "README.md":
        return "index.md"
    if page == "benchmarks/README.md":
        return "benchmarks.md"
    return page.removeprefix("docs/")


def with_site_links(text: str, page: str, used: Callable[[str], None]) -> str:
    """The text of a page, with links that work in the site; `used` is told each other file that it links to."""
    here = (ROOT / page).parent

    def replaced(match: re.Match) -> str:
        mark, words, link = match.groups()
        words = LINK.sub(replaced, words)  # an image that is a link
        path, _, anchor = link.partition("#")
        if ":" in link or not path:
            return f"{mark}[{words}]({link})"
        target = os.path.relpath(os.path.normpath(here / path), ROOT)
        if (ROOT / target).is_dir():
            return f"{words} (`{target}/`)"
        if target in PAGES:
            found = site_path(target)
        else:
            used(target)
            found = f"source/{target}.md" if Path(target).suffix in LANGUAGES else target
        relative = os.path.relpath(found, Path(site_path(page)).parent)
        return f"{mark}[{words}]({relative}{anchor and '#'}{anchor})"

    return LINK.sub(replaced, text)


def without_escaped_pipes(text: str) -> str:
    """The text with `a\\|b` in code as `a|b`: in a table GitHub needs the backslash, and mkdocs would show it."""
    return CODE.sub(lambda match: match[0].replace("\\|", "|"), text)


def copy(file: str) -> None:
    """Put a linked file into the site: source as a page of its own, anything else as it is."""
    language = LANGUAGES.get(Path(file).suffix)
    if language is None:
        (DRAFT / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, DRAFT / file)
        return
    fence = "`" * 4
    write(DRAFT / "source" / f"{file}.md", f"# {file}\n\n{fence}{language}\n{(ROOT / file).read_text()}{fence}\n")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def api() -> str:
    """The page that mkdocstrings fills from docstrings."""
    parts = ["# API\n", "Shapes are in brackets: S seeds, B contexts, K candidates, T tokens.\n"]
    parts += [f"## {title}\n\n::: {module}\n" for module, title in API.items()]
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(run_main(main))
