"""A function of the user's, FILE.py:NAME, as a rule: score(completion, row) gives a number in [0, 1].

Child processes import this file, so that torch stays out of here.
"""

import copy
import importlib.machinery
import importlib.util
import inspect
import itertools
import numbers
import os
import sys
import traceback
import types
from collections.abc import Callable, Set

from envs.rlvr.grades import Grade

PACKAGE = "own_folder_"  # the beginning of what a folder of the user's is called as a package
LONGEST = 300  # characters of a message
ROUNDING = 1e-6  # so near to 0 or 1 a score is 0 or 1: 0.7 + 0.2 + 0.1 is a little below 1, and solves the problem
_count = itertools.count()


class UnusableError(Exception):
    """A file cannot be imported or lacks the function; the message says in one line where and why."""


class ScoreError(ValueError):
    """A function returned what is no score; the message says which function and what."""


class OwnRule:
    """The function of "FILE.py:NAME"; the folder of the file is the first place where its imports are looked for."""

    def __init__(self, rule: str):
        self.file, _, self.name = rule.rpartition(":")
        self.folder = os.path.dirname(self.file)
        self.known = set(sys.modules)
        sys.path.insert(0, self.folder)
        sys.dont_write_bytecode = True  # nothing is left in the user's folder
        try:
            module = import_file(self.file, new_package(self.folder))
        except (Exception, SystemExit) as error:
            raise UnusableError(explain(error, self.folder)) from None
        self.function = _function(module, self.name)

    def __call__(self, facts: dict, completion: str) -> tuple[float, bool]:
        score = self.function(completion, copy.deepcopy(facts))  # what it changes in a row ends with this completion
        if getattr(score, "shape", None) == ():  # numbers of numpy, and tensors that hold one
            score = score.item()
        if not isinstance(score, numbers.Real) or not -ROUNDING <= score <= 1 + ROUNDING:
            raise ScoreError(f"{_place(self.function)}{self.name} returned {score!r:.60}, not a number in [0, 1]")
        exact = round(score) if abs(score - round(score)) <= ROUNDING else score
        return float(exact), exact == 1

    def files(self) -> list[str]:
        """The file, and what it has imported from its own folder so far."""
        return sorted({self.file, *own_modules(self.folder, self.known).values()})

    def objection(self, before: Grade, after: Grade, answer: str) -> str:
        """Why the function cannot be used: the right answer has no score, or none within the limits on files."""
        if before.status != "ok":
            return before.message if answer else ""
        advice = "load what it needs at the top of its file, or set env.unsafe_in_process=true"
        return "" if after.status == "ok" else f"works only without limits ({after.message}); {advice}"


def own_modules(folder: str, known: Set[str]) -> dict[str, str]:
    """{name: file} of the modules from a folder that were imported after the `known` ones, libraries in it left out."""
    files = {name: getattr(sys.modules[name], "__file__", None) or "" for name in sys.modules.keys() - known}
    libraries = (sys.prefix + os.sep, sys.base_prefix + os.sep)
    inside = folder + os.sep
    return {name: file for name, file in files.items() if file.startswith(inside) and not file.startswith(libraries)}


def forget_modules(folder: str, known: Set[str]) -> None:
    """Let the `own_modules` of a folder be imported anew by name; those in a package of `new_package` stay."""
    for name in own_modules(folder, known):
        if not name.startswith(PACKAGE):
            del sys.modules[name]


def new_package(folder: str) -> str:
    """The name of a new package that is a folder, so that `from .other import name` finds other.py in it."""
    name = f"{PACKAGE}{next(_count)}"
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [folder]
    return name


def import_file(file: str, package: str) -> types.ModuleType:
    """The module of a file, in a package of `new_package`."""
    name = f"{package}.{os.path.basename(file).removesuffix('.py')}"
    if name in sys.modules:  # another file of the package has imported it
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(sys.modules[name])
    except BaseException:
        del sys.modules[name]
        raise
    return sys.modules[name]


def is_own(rule: str) -> bool:
    """Whether a rule is "FILE.py:NAME", and none of the suite's."""
    return ".py:" in rule


def explain(error: BaseException, folder: str) -> str:
    """In one line: the innermost line of the code in `folder` that an error passed, its type, and what it says."""
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        frames.append((error.filename, error.lineno))
    own = [(file, line) for file, line in frames if file.startswith(folder + os.sep)]
    where = "".join(f"{os.path.basename(file)}, line {line}: " for file, line in own[-1:])
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    return one_line(f"{where}{type(error).__name__}: {said}" if said else f"{where}{type(error).__name__}")


def one_line(text: str) -> str:
    """The first line of a text, cut at LONGEST characters; what is no plain character is escaped."""
    first = (text.splitlines() or [""])[0][:LONGEST]
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in first)  # codecs would have to be imported


def _function(module: types.ModuleType, name: str) -> Callable:
    """The function that a module has under a name; raises UnusableError."""
    file, function = os.path.basename(module.__file__), getattr(module, name, None)
    if not callable(function):
        found = (value for value in vars(module).values() if inspect.isfunction(value))
        mine = [value.__name__ for value in found if value.__module__ == module.__name__]
        raise UnusableError(f"{file} has no function {name}; it has: {', '.join(mine) or 'none'}")
    try:
        inspect.signature(function).bind("a completion", {})
    except TypeError:
        takes = f"{name}{inspect.signature(function)}"
        raise UnusableError(f"{_place(function)}{takes} must take two arguments: {name}(completion, row)") from None
    except ValueError:  # functions of C need not say what they take
        pass
    return function


def _place(function: Callable) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{os.path.basename(code.co_filename)}, line {code.co_firstlineno}: " if code else ""
