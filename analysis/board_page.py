"""A suite's board as an HTML page of one file, with columns that sort when their heads are clicked."""

import html

import pandas as pd

from analysis.leaderboard import texts
from analysis.suites import Suite

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; font-size: 13px; margin-bottom: 2rem }
th, td { padding: 3px 9px; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap }
th { cursor: pointer; position: sticky; top: 0; background: #fff; vertical-align: bottom; white-space: normal }
th[aria-sort=ascending]::after { content: " \\25B2" } th[aria-sort=descending]::after { content: " \\25BC" }
td:nth-child(2), th:nth-child(2) { text-align: left }
tr.incomplete { color: #888 }
div.wide { overflow-x: auto }
img { max-width: 100%; width: 26rem; margin: 0 1rem 1rem 0; vertical-align: top }
"""
# numbers sort as numbers and "-" stands last, whichever way a column is sorted
SCRIPT = """
function value(row, column) {
  const text = row.cells[column].textContent, number = parseFloat(text.replace(/,/g, ""));
  return text === "-" || / of .* tasks/.test(text) ? null : Number.isNaN(number) ? text : number;
}
document.querySelectorAll("th").forEach(head => head.addEventListener("click", () => {
  const body = head.closest("table").tBodies[0], column = head.cellIndex;
  const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  head.parentNode.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", down === 1 ? "ascending" : "descending");
  [...body.rows].sort((a, b) => {
    const [x, y] = [value(a, column), value(b, column)];
    if (x === null || y === null) return (x === null) - (y === null);
    if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1;
    return down * (typeof x === "number" ? x - y : x.localeCompare(y));
  }).forEach(row => body.append(row));
}));
"""


def page(lines: pd.DataFrame, suite: Suite, images: list[str]) -> str:
    """The page of a board; `images` are files beside it."""
    parts = [f"<h1>Suite {html.escape(suite.name)}</h1>", f"<p>{_about(suite)}</p>"]
    for track, group in lines.groupby("track"):
        group = group.reset_index(drop=True)
        parts += [f"<h2>{track.capitalize()} track</h2>", _table(texts(group, suite), group.complete)]
        parts += [f'<img src="{name}" alt="{name}" loading="lazy">' for name in images if f"_{track}_" in name]
    head = f'<meta charset="utf-8"><title>Suite {html.escape(suite.name)}</title><style>{STYLE}</style>'
    body = "\n".join(parts) + f"<script>{SCRIPT}</script>"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{body}</body></html>\n'


def _about(suite: Suite) -> str:
    protocol, tasks = suite.protocol, ", ".join(html.escape(task.name) for task in suite.tasks)
    return (
        f"{len(suite.tasks)} tasks ({tasks}), seeds 0 to {protocol.seeds - 1}. A score is 1 at the lowest late error "
        f"known for a task and 0 at the error of random answers. The tuned track chooses a learning rate and the "
        f"epochs of each task on seeds {', '.join(map(str, protocol.tuning_seeds))}. "
        "Click the head of a column to sort by it."
    )


def _table(shown: pd.DataFrame, complete: pd.Series) -> str:
    head = "".join(f"<th>{html.escape(str(name)) or '#'}</th>" for name in shown)
    rows = []
    for line, done in zip(shown.itertuples(index=False), complete, strict=True):
        cells = "".join(f"<td>{html.escape(text)}</td>" for text in line)
        rows.append(f"<tr{'' if done else ' class=incomplete'}>{cells}</tr>")
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
