"""`config edit`: the settings in a person's own editor, on a copy, taken over only whole and valid.

Knows: editors, how a slip is told by key and line. Must not know: what the keys mean. While it is open the settings
hold as before; what another command changes meanwhile is not overwritten.
"""

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
import typer

from backuppeer.agent.home.config import parse_config, read_raw
from backuppeer.agent.home.config_lines import find_line
from backuppeer.agent.home.config_writer import hold_settings
from backuppeer.agent.home.home import Home, write_private
from backuppeer.cli.context import context_of
from backuppeer.cli.render import escape_line
from backuppeer.cli.screen import GREEN, Screen
from backuppeer.cli.settings import EXAMPLES, check_values
from backuppeer.errors import LocalError, UserError

HELP: Final = (
    "Open the settings in your editor ($VISUAL, else $EDITOR).\n\nA copy is opened; it takes effect when you leave the "
    "editor, if all of it is valid. Else the key and the line are named, and you may go on. Comments stay."
)
_USUAL: Final = ("editor", "nano", "vi")
_PREFIX: Final = ".config.edit-"


class Edited(msgspec.Struct, kw_only=True):
    """`config edit`: whether anything is other than before."""

    changed: bool


def edit(ctx: typer.Context) -> int:
    """Open a copy, check it, take it over."""
    context = context_of(ctx)
    screen, home = context.screen, context.home
    editor, before = _find_editor(), read_raw(home)
    home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _copied(home, before or _make_template()) as copy:
        first = copy.read_bytes()
        text = _edit_until_valid(screen, editor, copy)
        has_changed = copy.read_bytes() != first and text != before
        if has_changed:
            _take_over(home, before, text)
    if has_changed:
        screen.line(f"{screen.paint('✓', GREEN)} the settings are changed: {escape_line(str(home.config))}", hang=2)
    else:
        screen.line("nothing was changed")
    screen.done(Edited(changed=has_changed))
    return 0


def _find_editor() -> list[str]:
    for name in ("VISUAL", "EDITOR"):
        if chosen := os.environ.get(name, "").strip():
            try:
                return shlex.split(chosen)
            except ValueError as exc:
                raise UserError(f"{name} is no command: {chosen[:80]!r}", hint=f"for example: {name}=nano") from exc
    found = next((path for name in _USUAL if (path := shutil.which(name))), None)
    if found is None:
        raise UserError(
            "no editor is known",
            hint="name one: `EDITOR=nano backup-peer config edit`, or use `backup-peer config set`",
        )
    return [found]


def _make_template() -> str:
    lines = [f"# {key} = {_write_toml(key, value)}" for key, value in EXAMPLES.items() if "." not in key]
    return "\n".join(["# Settings of this home; `backup-peer config list` shows what holds.", *lines, ""])


def _write_toml(key: str, value: str) -> str:
    words = value.strip("'").split(",")
    listed = ", ".join(f'"{word}"' for word in words)
    return f"[{listed}]" if key == "servers" else listed


@contextmanager
def _copied(home: Home, text: str) -> Iterator[Path]:
    """Yield a copy that only its owner can read, in the home, as settings may hold what is nobody's business."""
    handle, name = tempfile.mkstemp(prefix=_PREFIX, suffix=".toml", dir=home.path)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    try:
        yield Path(name)
    finally:
        for left in home.path.glob(f"{Path(name).name}*"):  # and what the editor left beside it
            left.unlink(missing_ok=True)


def _edit_until_valid(screen: Screen, editor: list[str], copy: Path) -> str:
    while True:
        _run(editor, copy)
        try:
            return _read_valid(copy)
        except UserError as exc:
            if not screen.can_ask:
                raise UserError(f"{exc.message}; nothing was changed", hint=exc.hint) from exc
            screen.note(exc.message)
            if exc.hint:
                screen.hint(exc.hint)
            if (
                screen.read_answer("go on editing? [Y/n] ").strip().lower() not in {"", "y", "yes"}
                or screen.input_ended
            ):
                raise UserError("nothing was changed: what you left is not valid", hint=exc.hint) from exc


def _run(editor: list[str], copy: Path) -> None:
    try:
        done = subprocess.run([*editor, os.fspath(copy)], check=False)
    except OSError as exc:
        raise UserError(
            f"the editor {editor[0][:80]!r} can't be run: {exc.strerror}; nothing was changed",
            hint="name another one: `EDITOR=nano backup-peer config edit`",
        ) from exc
    if done.returncode:
        raise UserError(
            f"the editor ended with code {done.returncode}: nothing was changed", hint="leave it without an error"
        )


def _read_valid(copy: Path) -> str:
    try:
        text = copy.read_bytes().decode()
    except FileNotFoundError as exc:
        raise UserError("the editor left no file: nothing was changed", hint="save it under the same name") from exc
    except UnicodeDecodeError as exc:
        raise UserError(f"this is no text: {exc}", hint="save it as UTF-8") from exc
    try:
        check_values(parse_config(text))
    except UserError as exc:
        line = find_line(text, exc.message)
        raise UserError(f"line {line}: {exc.message}" if line else exc.message, hint=exc.hint) from exc
    return text


def _take_over(home: Home, before: str, text: str) -> None:
    with hold_settings(home):
        if read_raw(home) == before:
            write_private(home.config, text.encode())
            return
    handle, name = tempfile.mkstemp(prefix="config.mine-", suffix=".toml", dir=home.path)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    raise LocalError(
        f"another command changed the settings meanwhile: yours are kept in {name}",
        hint="compare the two, then `backup-peer config edit` again",
    )
