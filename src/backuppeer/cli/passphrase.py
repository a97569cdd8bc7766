"""`passphrase`: what opens the keys of this home, so that a copy of its disk is not enough.

Knows: the questions. Must not know: how keys are sealed, or where a keyring is.
"""

import secrets
import sys
from typing import Annotated, Final

import msgspec
import typer

from backuppeer.agent.home.keyfile import Custody, parse_key_file, read_key_file
from backuppeer.cli import homes, unlocking
from backuppeer.cli.context import Context, context_of
from backuppeer.cli.hidden import hidden, read_hidden
from backuppeer.cli.screen import Screen
from backuppeer.cli.wording import decode_master, read_words
from backuppeer.crypto.custody import check_passphrase
from backuppeer.crypto.keys import SECRET_BYTES, WorkingSecret
from backuppeer.errors import UserError
from backuppeer.limits import PASSPHRASE_CHARS

_TRIES: Final = 3
_SHOWN: Final = {
    Custody.NOTHING: "the keys of this home lie open: whoever copies its disk has them",
    Custody.PASSPHRASE: "the keys of this home are under a passphrase",
    Custody.KEYRING: "the keys of this home are under a key in the system's keyring",
}
_Words = Annotated[
    bool, typer.Option("--words", help="Type the 24 words instead: for who forgot the passphrase, or lost the keyring.")
]


class CustodyResult(msgspec.Struct, kw_only=True):
    """`passphrase`: what opens the keys now, one of nothing, passphrase, keyring."""

    custody: str


def add_to(app: typer.Typer) -> None:
    """Add the verb and what may follow it."""
    group = typer.Typer(rich_markup_mode=None)
    group.command(name="show", help="Say what opens the keys of this home.")(show)
    group.command(name="set", help="Put the keys under a passphrase, or change it.")(set_passphrase)
    group.command(name="keyring", help="Put the keys under a key in the system's keyring.")(use_keyring)
    group.command(name="remove", help="Let the keys lie open, as they do after `init`.")(remove)
    app.add_typer(group, name="passphrase", help="What opens the keys of this home when its agent starts.")


def show(ctx: typer.Context) -> int:
    """Say what opens the keys."""
    context = context_of(ctx)
    homes.require_identity(context.home)
    custody = read_key_file(context.home.keys / "working").custody
    context.screen.line(_SHOWN[custody])
    context.screen.done(CustodyResult(custody=custody.name.lower()))
    return 0


def set_passphrase(ctx: typer.Context, words: _Words = False) -> int:  # noqa: FBT002 - a flag
    """Ask for a new passphrase, and seal the keys under it."""
    context = context_of(ctx)
    typed = Typed(context.screen)
    working = _unlock(context, typed, by_words=words)
    new = typed.read_new()
    context.screen.aside("sealing: one guess at it is to cost memory and time")
    return _change(context, working, Custody.PASSPHRASE, new)


def use_keyring(ctx: typer.Context, words: _Words = False) -> int:  # noqa: FBT002 - a flag
    """Make a key, keep it in the keyring, and seal the keys under it."""
    context = context_of(ctx)
    working = _unlock(context, Typed(context.screen), by_words=words)
    return _change(context, working, Custody.KEYRING, secrets.token_bytes(SECRET_BYTES))


def remove(ctx: typer.Context, words: _Words = False) -> int:  # noqa: FBT002 - a flag
    """Write the keys as `init` does."""
    context = context_of(ctx)
    return _change(context, _unlock(context, Typed(context.screen), by_words=words), Custody.NOTHING, b"")


def _change(context: Context, working: WorkingSecret, custody: Custody, secret: bytes) -> int:
    from backuppeer.agent.home.keyring import seal_custody, write_custody  # noqa: PLC0415 - crypto libraries

    screen, path = context.screen, context.home.keys / "working"
    before, packed = read_key_file(path), seal_custody(context.home, working, custody, secret)
    if custody is Custody.KEYRING:
        # Before the file that needs it, and beside the key before: stopped anywhere, what stands can be opened.
        unlocking.keep_key(parse_key_file(path, packed), secret)
    write_custody(context.home, packed)
    if before.custody is Custody.KEYRING:
        unlocking.forget_key(before)
    screen.line(f"{screen.paint('✓', '32')} {_SHOWN[custody]}")
    if custody is Custody.PASSPHRASE:
        screen.line("  it is asked for when the agent starts; forgotten, only the 24 words open this home", hang=4)
    if custody is not Custody.NOTHING and before.custody is Custody.NOTHING:
        screen.line("  copies of this home made before have the keys in the open still", hang=4)
    screen.done(CustodyResult(custody=custody.name.lower()))
    return 0


def _unlock(context: Context, typed: "Typed", *, by_words: bool) -> WorkingSecret:
    """Return the working secret of the home, by what opens it now or by the words.

    Raises:
        UserError: neither does.

    """
    from backuppeer.agent.home.keyring import check_master, unlock_working  # noqa: PLC0415 - crypto libraries

    homes.require_identity(context.home)
    if by_words:
        # In a pipe the words are the first line: the new passphrase may come after them.
        text = read_words(context.screen, "") if context.screen.can_ask else typed.read_line("")
        return check_master(context.home, decode_master(context.screen, text))
    offered = unlocking.offer_secrets(context.home, None if context.screen.can_ask else typed.read_line)
    return unlocking.try_secrets(offered, lambda secret: unlock_working(context.home, secret))


class Typed:
    """Passphrases as they are typed, or lines of standard input with --yes: the one that is, then the new one."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def read_line(self, prompt: str) -> str:
        """Read one line of standard input.

        Raises:
            UserError: without --yes nothing is taken for an answer.

        """
        del prompt
        if not self._screen.yes:
            raise UserError(
                "there is no terminal to ask for a passphrase on",
                hint="pipe it in with --yes, the one that is first, then the new one, a line each; never as arguments",
            )
        return sys.stdin.readline(4 * PASSPHRASE_CHARS).rstrip("\r\n")

    def read_new(self) -> bytes:
        """Read a new passphrase, on a terminal twice.

        Raises:
            UserError: none that will do.

        """
        if not self._screen.can_ask:
            return check_passphrase(self.read_line(""))
        with hidden():
            for _ in range(_TRIES):
                try:
                    new = check_passphrase(read_hidden("new passphrase (not shown): "))
                except UserError as exc:
                    self._screen.aside(f"  {exc.message}: {exc.hint}", hang=4)
                    continue
                if check_passphrase(read_hidden("once more: ")) == new:
                    return new
                self._screen.aside("  the two differ")
        raise UserError("no new passphrase was given", hint="nothing was changed: try again")
