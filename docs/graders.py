"""The table of docs/graders.md: what each grader of a number says to each of many answers."""

from envs.rlvr.graders import GRADERS

MARKER = "####"
CASES = (  # the right number, the completion, and what is peculiar about it
    ("72", "#### 72", "as asked"),
    ("72", "48 + 24 = 72\n#### 72", "with its working"),
    ("72", "#### 72.", "a full stop"),
    ("1200", "#### 1,200", "a comma"),
    ("72", "#### $72", "a dollar sign"),
    ("72", "####72", "no space"),
    ("72", "#### 72.0", "another spelling"),
    ("72", "#### 72 dollars", "a unit"),
    ("72", "#### 72%", "a percent sign"),
    ("72", "#### 72 / 1", "a term"),
    ("72", "#### 72 or 73", "two answers"),
    ("72", "#### **72**", "bold"),
    ("72", "#### \\boxed{72}", "a box behind the marker"),
    ("72", "The answer is \\boxed{72}.", "a box alone"),
    ("1200", "\\boxed{1{,}200\\text{ dollars}}", "a box with a separator and a unit"),
    ("72", "#### +72", "a plus sign"),
    ("-5", "#### -5", "a minus sign"),
    ("-5", "#### \N{MINUS SIGN}5", "a minus sign of typesetters"),
    ("72", "####: 72", "a colon"),
    ("72", "#### 72\N{NO-BREAK SPACE}", "a no-break space behind it"),
    ("0.5", "#### .5", "no leading zero"),
    ("72", "#### 71\n#### 72", "corrected"),
    ("72", "#### 72\nSo 72 clips in 2 months.", "more text behind it"),
    ("72", "#### 72\n" + "So it is. " * 31, "310 characters of text behind it"),
    ("72", "72", "a bare number"),
    ("72", "She sold 72 clips.", "a sentence"),
    ("72", "#### 73", "wrong"),
    ("72", "\\boxed{73}", "wrong, in a box"),
    ("72", "#### 172", "wrong, with the right digits in it"),
    ("72", "72, or is it 73?", "wrong in the end"),
    ("72", "", "nothing"),
)
SHOWN = 34  # characters of a completion
SIGNS = {"\n": "⏎", "\N{NO-BREAK SPACE}": "⍽"}


def with_table(page: str) -> str:
    """The page with its table, which is the end of it, as it is today."""
    prose = page[: page.index("| asked |")] if "| asked |" in page else page
    names = " | ".join(f"`{name}`" for name in GRADERS)
    lines = [f"| asked | completion | | {names} |", "|---|---|---|" + "---|" * len(GRADERS)]
    for answer, completion, what in CASES:
        verdicts = " | ".join(f"{score:.0f}" for score in scores(answer, completion))
        lines.append(f"| {answer} | {_code(completion)} | {what} | {verdicts} |")
    return prose + "\n".join(lines) + "\n"


def scores(answer: str, completion: str) -> list[float]:
    """The score that each of GRADERS gives, in their order."""
    return [grade({"answer": answer, "marker": MARKER}, completion)[0] for grade in GRADERS.values()]


def _code(completion: str) -> str:
    shown = "".join(SIGNS.get(character, character) for character in completion)
    shown = shown if len(shown) <= SHOWN else f"{shown[: SHOWN - 1]}…"
    return f"`{shown}`" if shown else ""
