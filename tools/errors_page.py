"""Make docs/errors.md, the catalogue of what can go wrong, out of the source: `python tools/errors_page.py`.

Knows: the tree of errors, how a call of one of its classes looks. Must not know: when it is raised. A message is found
where its class is called with words; what is only known when it happens stands as `…`. A test keeps both equal.
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from backuppeer import errors
from backuppeer.errors import MEANINGS, BackupPeerError, ExitCode

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "backuppeer"
PAGE = ROOT / "docs" / "errors.md"
_CLASSES = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, BackupPeerError)
}
_INNER = {"ProtocolViolation", "LocalError"}
"""Of these only what has a hint is for people."""
_ABOUT = """# What can go wrong

Every command ends with a code, says on standard error what happened and to whom (`error: …`), and what to do next
(`hint: …`). Below, by code: what it means, what helps, and what is said, with the hint if it has one of its own. `…` is
what is only known when it happens. Codes 0 and 130, and a no of yours, are no errors.

Not listed are the hundreds of ways in which a peer's or server's message can be malformed (nothing is done by it, the
words say which rule it breaks, and it counts against whoever sent it), and what only a fault of this program brings up.

<!-- written by `python tools/errors_page.py` -->
"""


class Said(NamedTuple):
    """A message and its hint."""

    message: str
    hint: str


def render() -> str:
    """Return the page."""
    found = defaultdict[ExitCode, set[Said]](set)
    for path in sorted(SOURCE.rglob("*.py")):
        for code, said in _find(ast.parse(path.read_text())):
            found[code].add(said)
    return _ABOUT + "".join(_render_code(code, found[code]) for code in ExitCode if code is not ExitCode.DONE)


def _render_code(code: ExitCode, said: set[Said]) -> str:
    meaning = MEANINGS[code]
    lines = [f"\n## {int(code)}\n", f"{meaning.cause[:1].upper()}{meaning.cause[1:]}.\n"]
    if meaning.remedy:
        lines.append(f"What helps: {meaning.remedy}.\n")
    if advised := sorted(each for each in said if each.hint):
        lines += ["| it says | what to do |", "|---|---|"]
        lines += [f"| {_cell(message)} | {_cell(hint)} |" for message, hint in advised]
        lines.append("")
    if plain := sorted(each.message for each in said if not each.hint):
        lines += ["Also:\n", *(f"- {message}" for message in plain), ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _find(tree: ast.AST) -> Iterator[tuple[ExitCode, Said]]:
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or not call.args:
            continue
        if (kind := _CLASSES.get(call.func.id)) and (message := _read(call.args[0])).strip("… "):
            hint = next((_read(given.value) for given in call.keywords if given.arg == "hint"), "")
            said = Said(message, hint if hint.strip("… ") else "")
            if said.hint or call.func.id not in _INNER:
                yield kind.exit_code, said


def _read(node: ast.expr) -> str:
    """Return the words of an expression, `…` for what is no word."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_read(part) for part in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _read(left) + _read(right)
        case ast.IfExp(body=body, orelse=other):
            return f"{_read(body)} / {_read(other)}"
    return "…"


if __name__ == "__main__":
    PAGE.write_text(render())
    sys.stdout.write(f"{PAGE.relative_to(ROOT)} written\n")
