"""What tests of E1 to E9 saw: the error a person was told, and that the way out it names leads out.

`make error-table` sets BACKUPPEER_ERRORS_SEEN to a file, runs the tests marked `seen`, and makes docs/errors-seen.md of
the lines they left there (`tools/errors_seen.py`). Without it the same is asserted, and nothing is written.
"""

import json
import os
import re
from pathlib import Path

from e2e.harness import Result, World

_FILE = "BACKUPPEER_ERRORS_SEEN"
_CHANGING = {
    r" --home …[^ `]*": "",
    r"bp1[02-9ac-hj-np-z]{8,}": "…",
    r"(?<=127\.0\.0\.1:)\d+": "…",
    r"\b[0-9a-f]{16,64}\b": "…",
    r"\b\d{4}-\d\d-\d\d\b": "…",
    r"\b\d+(\.\d+)?(?= ([kMGT]B|%))": "…",
}
"""What differs from run to run, and what stands for it."""


def note(world: World, case: str, how: str, told: Result, *, verb: str, code: int, way_out: str, hinted: str) -> None:
    """Keep what was told in a case; call it once the way out was gone and all was well.

    case: E1 to E9. how: it was made. verb: that told it. way_out: what was done then, in the document's words.
    hinted: words of the hint that lead there.
    """
    error = told.last
    assert (told.code, error["event"], error["code"]) == (code, "error", code), told
    message, hint = str(error["message"]), str(error["hint"])
    assert hinted in hint, (hinted, hint)
    assert f"error: {message}" in told.stderr
    assert "\nhint: " in told.stderr
    assert "Traceback" not in told.stderr
    keep(world, case, how, verb=verb, code=code, said=(message, hint), way_out=way_out)


def keep(world: World, case: str, how: str, *, verb: str, code: int, said: tuple[str, str], way_out: str) -> None:
    """Keep what was told where that is no error; said: message and hint."""
    message, hint = (_settle(world, text) for text in said)
    row = {"case": case, "how": how, "verb": verb, "code": code, "message": message, "hint": hint, "way_out": way_out}
    if path := os.environ.get(_FILE):
        with Path(path).open("a") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _settle(world: World, text: str) -> str:
    """Return a text without what differs from run to run."""
    text = text.replace(str(world.path), "…")
    for pattern, instead in _CHANGING.items():
        text = re.sub(pattern, instead, text)
    return text
