"""What the program says on a platform on which it does not run.

Must not know: verbs. Imports nothing that such a platform may lack.
"""

import json
from typing import Final, TextIO

from backuppeer.errors import LocalError

_REFUSAL: Final = LocalError(
    "this program does not run on Windows: it handles names and paths of Windows in backups, and no more",
    hint="run it on Linux; WSL 2 is a Linux, too, but nobody has tried it there yet (docs/faq.md)",
)


def refuse(out: TextIO, err: TextIO, *, is_json: bool) -> int:
    """Tell why nothing is done, also as a JSON line if asked for; return the exit code."""
    code = int(_REFUSAL.exit_code)
    err.write(f"error: {_REFUSAL.message}\nhint: {_REFUSAL.hint}\n")
    if is_json:
        event = {"event": "error", "code": code, "message": _REFUSAL.message, "hint": _REFUSAL.hint}
        out.write(json.dumps(event) + "\n")
    return code
