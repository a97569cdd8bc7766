"""Make docs/errors-seen.md of what tests of E1 to E9 saw: `python tools/errors_seen.py FILE`, or `make error-table`.

Knows: the lines that `tests/e2e/seen.py` writes. Must not know: how an error is made. A test keeps the page's messages
and codes those of the source.
"""

import json
import sys
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "errors-seen.md"
CASES: Final = {
    "E1": "the chosen peer goes offline while connecting",
    "E2": "authentication fails with the chosen peer",
    "E3": "a signaling server, or all of them, becomes unavailable",
    "E4": "a peer vanishes in the middle of a transfer",
    "E5": "a host's disk or quota is full",
    "E6": "a host returns wrong, stale or no data",
    "E7": "a process is killed at any instant",
    "E8": "a clock is wrong by an hour",
    "E9": "a malformed, oversized or hostile message",
}
_ABOUT: Final = """# Errors, as tests saw them

Each of these was done for real, with processes of their own: killed, cut off, filled, corrupted, set wrong. The tests
assert the message, the hint, the code, that nothing was lost, and that the way out leads out. `…` stands for what
differs each time. All messages there are: [errors.md](errors.md).

<!-- written by `make error-table` -->
"""
_HEAD: Final = "\n| how it was made | it says | code | hint | the way out, as taken |\n|---|---|---|---|---|\n"


class Row(NamedTuple):
    """One error that a test saw. verb: that told it."""

    case: str
    how: str
    verb: str
    message: str
    code: int
    hint: str
    way_out: str


def render(rows: list[Row]) -> str:
    """Return the page.

    Raises:
        SystemExit: a case was not seen.

    """
    if missing := sorted(set(CASES) - {row.case for row in rows}):
        raise SystemExit(f"nobody saw {', '.join(missing)}")
    parts = [_ABOUT]
    for case, title in CASES.items():
        parts += [f"\n## {case}: {title}\n", _HEAD]
        parts += sorted(_render(row) for row in rows if row.case == case)
    return "".join(parts)


def _render(row: Row) -> str:
    said = f"`{row.verb}`: {row.message}"
    return f"| {' | '.join(_cell(text) for text in (row.how, said, str(row.code), row.hint, row.way_out))} |\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def read_page(text: str) -> list[Row]:
    """Return the rows of a page."""
    rows, case = [], ""
    for line in text.splitlines():
        if line.startswith("## "):
            case = line[3:].partition(":")[0]
        cells = [cell.strip().replace("\0", "|") for cell in line.replace("\\|", "\0").split("|")[1:-1]]
        if len(cells) == len(Row._fields) - 2 and cells[2].isdigit():
            verb, _, message = cells[1].partition(": ")
            rows.append(Row(case, cells[0], verb.strip("`"), message, int(cells[2]), cells[3], cells[4]))
    return rows


def main(path: Path) -> None:
    """Write the page from a file of lines."""
    seen = {Row(**json.loads(line)) for line in path.read_text().splitlines()}
    PAGE.write_text(render(sorted(seen)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
