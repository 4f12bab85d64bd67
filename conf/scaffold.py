"""A new class and its yaml from a template: what python -m algorithms.new, envs.new and models.new share."""

import argparse
import keyword
import re
import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path

# words of Python, also as the name of a class, and of the command line
RESERVED = {*map(str.lower, keyword.kwlist), "null", "nan", "inf", "on", "off", "yes", "no", "y", "n"}
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Scaffold:
    """Writes new files of a config group.

    package   the folder of the suite with the classes of the group, and with their templates in `templates`
    kinds     {template: what the command that trains it needs beside its name}; each template is a .py and a .yaml
              file, and the first is the default
    extra     a function of all yaml files of the group: {further word of a template: what stands for it}
    """

    group: str
    package: str
    kinds: dict[str, str]
    extra: Callable[[list[Path]], dict[str, str]] = lambda files: {}

    def create(self, name: str, folder: Path | None = None, kind: str | None = None) -> tuple[Path, Path]:
        """Write NAME.py and NAME.yaml into the suite, or both into `folder`; or raise ValueError and write nothing."""
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in RESERVED:
            raise ValueError(
                f"name={name}: must be lower-case letters, digits and _, start with a letter, and be no keyword"
            )
        if name in sys.stdlib_module_names or name in packages_distributions():
            raise ValueError(f"name={name}: is the name of a Python module, which it would hide; choose another name")
        ours = ROOT / self.package / f"{name}.py", ROOT / "conf" / self.group / f"{name}.yaml"
        paths = ours if folder is None else (folder / f"{name}.py", folder / f"{name}.yaml")
        for path in (*paths, *ours, *self._classes_called(name)):
            if path.exists():
                raise ValueError(f"name={name}: {path} has this name already; choose another name")
        words = {"template_name": name, "Template name": name.replace("_", " ").capitalize()}
        words["TemplateName"] = "".join(part.capitalize() for part in name.split("_"))
        words |= self.extra([*ours[1].parent.glob("*.yaml"), *paths[1].parent.glob("*.yaml")])
        try:
            for path in paths:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(self._filled(kind or next(iter(self.kinds)), path.suffix, words))
        except OSError as error:
            for path in paths:
                with suppress(OSError):
                    path.unlink()
            where = paths[0].parent
            raise ValueError(f"{where}: cannot write there ({error.strerror}); name a writable folder") from None
        return paths

    def main(self, argv: list[str] | None = None) -> int:
        """The command; returns its exit code."""
        parser = argparse.ArgumentParser(f"python -m {self.package}.new", description="New files that train at once.")
        parser.add_argument("name", help="a Python identifier such as mine")
        parser.add_argument("--dir", type=Path, help="a folder of your own (default: into the suite)")
        first = next(iter(self.kinds))
        if len(self.kinds) > 1:
            parser.add_argument("--kind", choices=self.kinds, default=first, help=f"the template (default: {first})")
        args = parser.parse_args(argv, argparse.Namespace(kind=first))
        try:
            paths = self.create(args.name, args.dir, args.kind)
        except ValueError as error:
            print(error, file=sys.stderr)
            return 2
        folder = "" if args.dir is None else shlex.quote(str(args.dir))
        found, own = (f" {self.group}_path={folder}", f" --own={folder}") if folder else ("", "")
        print(f"wrote {paths[0]} and {paths[1]}")
        print(f"train it: python run.py {self.group}={args.name}{found}{self.kinds[args.kind]}")
        print(f"hold it to its contract: python -m pytest -k {args.name}{own}")
        return 0

    def _classes_called(self, name: str) -> list[Path]:
        """The files of the suite in which a class has the name."""
        line = f'\n    name = "{name}"\n'
        return [path for path in (ROOT / self.package).rglob("*.py") if line in path.read_text()]

    def _filled(self, kind: str, suffix: str, words: dict[str, str]) -> str:
        text = (ROOT / self.package / "templates" / f"{kind}{suffix}").read_text()
        for word, meant in words.items():
            text = text.replace(word, meant)
        return text
