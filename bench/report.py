"""The figures of a JSON file, written into docs/performance.md between two markers, the JSON beside it.

    make bench-report [JSON=bench-result.json]

Knows: the two files. Must not know: what the figures mean.
"""

import argparse
import shutil
import sys
from pathlib import Path

from results import read_results
from table import format_markdown

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
BEGIN = "<!-- figures: written by `make bench-report` -->"
END = "<!-- end of figures -->"


def replace_figures(document: str, figures: str) -> str:
    """Return `document` with `figures` between its markers.

    Raises:
        SystemExit: it has not just one of each, in order.

    """
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in tail:
        raise SystemExit(f"the document needs one line {BEGIN!r} and behind it one {END!r}")
    return f"{head}{BEGIN}\n\n{figures}\n\n{END}{tail}"


def main() -> int:
    """Write the figures down."""
    parser = argparse.ArgumentParser(description="Write the figures of a benchmark into the documentation.")
    parser.add_argument("--json", type=Path, default=Path("bench-result.json"))
    parser.add_argument("--into", type=Path, default=DOCUMENT)
    options = parser.parse_args()
    text = replace_figures(options.into.read_text(), format_markdown(read_results(options.json)))
    beside = options.into.with_suffix(".json")
    if options.json.resolve() != beside.resolve():
        shutil.copyfile(options.json, beside)
    options.into.write_text(text)
    print(f"wrote {options.into} and {beside}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
