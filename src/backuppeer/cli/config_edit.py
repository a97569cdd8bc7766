"""`config edit`: the settings in a person's own editor, on a copy, taken over only whole and valid.

Knows: editors, how a slip is told by key and line. Must not know: what the keys mean. While it is open the settings
hold as before; what another command changes meanwhile is not overwritten.
"""

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

import msgspec
import typer

from backuppeer.agent.home.config import parse_config, read_raw
from backuppeer.agent.home.config_lines import find_line
from backuppeer.agent.home.config_writer import hold_settings
from backuppeer.agent.home.home import EDIT_PREFIX, Home, explain_denial, write_private
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
_END_S: Final = 5.0
"""How long an editor may take to end when it is told to."""


class Edited(msgspec.Struct, kw_only=True):
    """`config edit`: whether anything is other than before."""

    changed: bool


def edit(ctx: typer.Context) -> int:
    """Open a copy, check it, take it over."""
    context = context_of(ctx)
    screen, home = context.screen, context.home
    editor, before = _find_editor(), read_raw(home)
    home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    first = before or _make_template()
    # A killed command would leave its copy and its editor.
    with _handled(signal.default_int_handler, signal.SIGTERM, signal.SIGHUP), _copied(home, first) as copy:
        text = _edit_until_valid(screen, editor, copy)
        has_changed = text not in {first, before}
        if has_changed:
            _take_over(home, before, text, copy)
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
    handle, name = tempfile.mkstemp(prefix=EDIT_PREFIX, suffix=".toml", dir=home.path)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        yield Path(name)
    finally:
        for left in home.path.glob(f"{Path(name).name}*"):  # and what the editor left beside it
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
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
                kept = f", and is kept in {_keep(copy)}" if copy.is_file() else ""
                raise UserError(f"nothing was changed: what you left is not valid{kept}", hint=exc.hint) from exc


def _run(editor: list[str], copy: Path) -> None:
    try:
        # Ctrl-C is the editor's: to many it is a key. A handler of ours, as it would inherit that it is ignored.
        with _handled(lambda *_: None, signal.SIGINT):
            code = _wait_end(subprocess.Popen([*editor, os.fspath(copy)]))
    except OSError as exc:
        raise UserError(
            f"the editor {editor[0][:80]!r} can't be run: {exc.strerror}; nothing was changed",
            hint="name another one: `EDITOR=nano backup-peer config edit`",
        ) from exc
    if code:
        raise UserError(f"the editor ended with code {code}: nothing was changed", hint="leave it without an error")


def _wait_end(editor: subprocess.Popen[bytes]) -> int:
    try:
        return editor.wait()
    except KeyboardInterrupt:
        editor.terminate()
        try:
            editor.wait(_END_S)
        except subprocess.TimeoutExpired:
            editor.kill()
            editor.wait()
        raise


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], object], *numbers: signal.Signals) -> Iterator[None]:
    """Handle signals so while the block runs; only the main thread may, and tests run elsewhere."""
    is_main = threading.current_thread() is threading.main_thread()
    before = [(number, signal.signal(number, handler)) for number in numbers] if is_main else []
    try:
        yield
    finally:
        for number, earlier in before:
            signal.signal(number, earlier)


def _read_valid(copy: Path) -> str:
    if copy.exists() and not copy.is_file():
        raise UserError("the editor left no file: something else stands in its place", hint="save a file of that name")
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


def _take_over(home: Home, before: str, text: str, copy: Path) -> None:
    with hold_settings(home):
        if read_raw(home) != before:
            raise LocalError(
                f"another command changed the settings meanwhile: yours are kept in {_keep(copy)}",
                hint="compare the two, then `backup-peer config edit` again",
            )
        try:
            # Of a link, what it leads to is replaced.
            write_private(home.config.resolve(), text.encode())
        except OSError as exc:
            why = explain_denial(home.config, exc)
            raise LocalError(f"{why.message}; what you wrote is kept in {_keep(copy)}", hint=why.hint) from exc


def _keep(copy: Path) -> str:
    """Keep what a person wrote, and return the name it has; a rename needs no room."""
    kept = copy.with_name(copy.name.replace(EDIT_PREFIX, "config.mine-", 1))
    copy.rename(kept)
    kept.chmod(0o600)  # an editor makes a file anew
    return kept.name
