"""python -m algorithms.new NAME: a new objective from a template that trains at once, as code and as yaml."""

import argparse
import keyword
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLORS = (
    "#56B4E9",
    "#EE7733",
    "#009988",
    "#CC3311",
    "#EE3377",
    "#4477AA",
    "#AA3377",
)  # told apart by colour-blind eyes
LINESTYLES = ("-", "--", ":", "-.")

CODE_TEMPLATE = '''"""{title}: what it does, in a line."""

from dataclasses import dataclass

from algorithms.base import Batch, Loss, Objective, group_sum, require, standardize, token_sum


@dataclass(frozen=True)
class {cls}(Objective):
    """The idea in a sentence, then the loss to minimise.

        loss = -sum_i w_i max(u_i, 0)^power l_i,    u_i = (s_i - mean) / std,    l_i = sum_t log pi(y_it)

    What published implementations do differently, if it is published. Raises ValueError for power <= 0.
    https://example.org/{name}
    """

    name = "{name}"  # the `objective` of the yaml file
    paper = "https://example.org/{name}"
    sampler = "group"  # what the loss compares: single | group | set | oracle
    # The contract tests hold you to these; algorithms/base.py says what each means.
    invariances = frozenset({{"shift", "scale"}})  # of all rewards
    zero_variance_gradient = "none"  # when a group of equal scores has no gradient: none | none_on_policy | nonzero
    epochs = 4  # gradient steps per rollout

    # Hyperparameters, each with its default here and in the yaml file.
    power: float = 1.0

    def __post_init__(self):
        require(self.power > 0, "power", self.power, "> 0")

    def loss(self, logp, batch: Batch) -> Loss:
        """logp (*L,B,K,T): B contexts, K candidates, T tokens; the loss keeps *L alone, {{}} are metrics."""
        u = standardize(batch.score, batch.effective_weight)
        advantage = u.clamp_min(0) ** self.power
        return group_sum(-advantage * token_sum(logp, batch.mask), batch.effective_weight), {{}}
'''

YAML_TEMPLATE = """name: {name}
objective: {name}
label: {title}
color: "{color}"
linestyle: "{line}"
power: 1.0
"""


def create(name: str, folder: Path | None = None) -> tuple[Path, Path]:
    """Write NAME.py and NAME.yaml into the suite, or both into `folder`; or raise ValueError and write nothing."""
    ours = ROOT / "conf" / "algo"
    code, look = (ROOT / "algorithms", ours) if folder is None else (folder, folder)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise ValueError(
            f"name={name}: must be lower-case letters, digits and _, from a letter on, and no Python keyword"
        )
    code.mkdir(parents=True, exist_ok=True)
    paths = code / f"{name}.py", look / f"{name}.yaml"
    taken = [path for path in (*paths, ROOT / "algorithms" / f"{name}.py", ours / f"{name}.yaml") if path.exists()]
    if taken:
        raise ValueError(f"name={name}: {taken[0]} is there already; choose another name")
    color, line = unused_style([*ours.glob("*.yaml"), *look.glob("*.yaml")])
    title = name.replace("_", " ").capitalize()
    fields = {"name": name, "title": title, "cls": "".join(part.capitalize() for part in name.split("_"))}
    paths[0].write_text(CODE_TEMPLATE.format(**fields))
    paths[1].write_text(YAML_TEMPLATE.format(**fields, color=color, line=line))
    return paths


def unused_style(files: list[Path]) -> tuple[str, str]:
    """A colour and a line that no yaml file has."""
    pattern = re.compile(r'^color: "?(\S+?)"?\nlinestyle: "?(\S+?)"?$', re.MULTILINE)
    taken = {found.groups() for path in files if (found := pattern.search(path.read_text()))}
    free = [(color, line) for line in LINESTYLES for color in COLORS if (color, line) not in taken]
    return free[0] if free else (COLORS[0], LINESTYLES[0])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m algorithms.new", description="A new objective that trains at once.")
    parser.add_argument("name", help="a Python identifier such as mine")
    parser.add_argument("--dir", type=Path, help="a folder of your own (default: into the suite)")
    args = parser.parse_args(argv)
    try:
        paths = create(args.name, args.dir)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    path = "" if args.dir is None else f" algo_path={args.dir}"
    print(f"wrote {paths[0]} and {paths[1]}; now: python run.py algo={args.name}{path}")
    if args.dir is None:
        print(f"its contract: python -m pytest -k {args.name}; beside others: python run.py -m algo={args.name},tpo")
    return 0


if __name__ == "__main__":
    sys.exit(main())
