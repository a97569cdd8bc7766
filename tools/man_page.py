"""Make man/backup-peer.1 out of what `--help` says: `python tools/man_page.py`.

Knows: typer's tree of commands, the little of roff that a page needs. A test keeps both equal.
"""

import re
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

from typer.main import get_command

from backuppeer.cli.examples import list_examples
from backuppeer.cli.further import ITSELF
from backuppeer.cli.main import VERBS, build_app
from backuppeer.cli.screen import Screen
from backuppeer.errors import MEANINGS

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "man" / "backup-peer.1"
_HEAD = """.\\" Written by tools/man_page.py
.TH BACKUP\\-PEER 1 "" "BackupPeer" "User Commands"
.SH NAME
backup\\-peer \\- encrypted backups on each other's machines
.SH SYNOPSIS
.B backup\\-peer
.RI [ options ]
.I verb
.RI [ arguments ]
"""
_TAIL = """.SH ENVIRONMENT
.TP
.B BACKUPPEER_HOME
Folder that holds this peer's state.
.TP
.B BACKUPPEER_SERVERS
Signaling servers, separated by commas.
.TP
.B BACKUPPEER_PROXY
What signaling goes through.
.TP
.B BACKUPPEER_BIND
Address on which the agent listens.
.TP
.B NO_COLOR
If set, nothing is coloured.
.SH SEE ALSO
.BR restic (1),
.BR borg (1)
"""


def render() -> str:
    """Return the page."""
    app: Any = get_command(build_app(Screen((StringIO(), StringIO(), StringIO()), json=False, yes=False)))
    parts = [_HEAD, ".SH DESCRIPTION\n", _paragraphs(app.help), ".SH OPTIONS\n", *map(_render_option, _options(app))]
    parts.append(".SH VERBS\n")
    for name in VERBS:
        parts += _render_command(name, app.commands[name])
    codes = (f".TP\n.B {int(code)}\n{_plain(meaning.cause)}\n" for code, meaning in MEANINGS.items())
    return "".join([*parts, ".SH EXIT STATUS\n", *codes, _TAIL])


def _render_command(name: str, command: Any) -> Iterator[str]:
    below = dict(getattr(command, "commands", {}))
    own = below.pop(ITSELF, command)
    arguments = " ".join(each.metavar or each.name for each in own.params if each.param_type_name == "argument")
    yield f".SS {_plain(f'{name} {arguments}'.strip())}\n{_paragraphs(own.help or command.help)}"
    yield from map(_render_option, _options(own))
    yield from _render_examples(name)
    for further, each in below.items():
        if not each.hidden:
            yield from _render_command(f"{name} {further}", each)


def _render_examples(name: str) -> Iterator[str]:
    yield ".PP\nExamples:\n"
    for call in list_examples(name, VERBS[name].example if name in VERBS else ""):
        yield f".PP\n.RS\n.B {_plain(call)}\n.RE\n"


def _options(command: Any) -> list[Any]:
    return [each for each in command.params if each.param_type_name == "option" and not each.hidden]


def _render_option(option: Any) -> str:
    names = ", ".join(f"\\fB{_plain(name)}\\fR" for name in option.opts)
    value = "" if option.is_flag else f" \\fI{_plain(option.metavar or 'VALUE')}\\fR"
    return f".TP\n{names}{value}\n{_plain(option.help or '')}\n"


def _paragraphs(text: str | None) -> str:
    found = [re.sub(r"\s+", " ", each).strip() for each in (text or "").split("\n\n")]
    return "\n.PP\n".join(_plain(each) for each in found if each) + "\n"


def _plain(text: str) -> str:
    """Return words that roff takes as they are."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga").replace("…", "...")
    return f"\\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(render())
    sys.stdout.write(f"{PAGE.relative_to(ROOT)} written\n")
