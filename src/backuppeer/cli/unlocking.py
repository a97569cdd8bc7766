"""What opens the keys of a locked home: asked for on the terminal, said by a command, or kept in the system's keyring.

Knows: the three ways, in which order. Must not know: what is opened with it. A passphrase is never in argv, nor in the
environment, nor in a file of ours: it goes from the terminal through a pipe into the agent.
"""

import base64
import binascii
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Final, TypeVar

from backuppeer.agent.home.config import read_config
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.keyfile import Custody, KeyFile, parse_key_file, read_key_file
from backuppeer.cli.hidden import hidden, read_hidden
from backuppeer.cli.passphrase_command import ask_command
from backuppeer.errors import ExitCode, LocalError, UserError
from backuppeer.ids import PeerId, format_peer_id

_TRIES: Final = 3
_SERVICE: Final = "backup-peer"
_KEY_BYTES: Final = 32
_PROMPT: Final = "passphrase of this home (not shown): "
_LOST: Final = (
    "is it unlocked, in this session? without it only the 24 words bring this home back: "
    "`backup-peer passphrase set --words` puts the keys under a passphrase instead"
)
_UNCHANGED: Final = "nothing was changed: `backup-peer passphrase set` puts the keys under a passphrase instead"
T = TypeVar("T")
Read = Callable[[str], str]
"""Reads one passphrase, given what to ask."""


def offer_secrets(home: Home, read: Read | None = None) -> Iterator[bytes]:
    """Yield what may open the keys of a home, one after the other; whoever takes one says by going on that it is wrong.

    b"" for a home that is not locked. `read`: instead of the terminal, once.

    Raises:
        UserError: nobody is there to ask.
        LocalError: the keyring or the command gives nothing.

    """
    file = read_key_file(home.keys / "working")
    if file.custody is Custody.NOTHING:
        yield b""
    elif file.custody is Custody.KEYRING:
        yield recall_key(file)
    elif command := read_config(home).passphrase_command:
        yield encode_passphrase(ask_command(command))
    elif read is not None:
        yield encode_passphrase(read(_PROMPT))
    else:
        yield from _ask_person()


def try_secrets(offered: Iterator[bytes], use: Callable[[bytes], T]) -> T:
    """Return what `use` makes of the first secret that it does not find wrong.

    Raises:
        UserError, LocalError: of the last one, or what else `use` raises.

    """
    wrong: UserError | LocalError = LocalError("nothing opens the keys of this home")
    # Also while one is tried, which takes a second: what is typed meanwhile may be the next.
    with hidden():
        for secret in offered:
            try:
                return use(secret)
            except (UserError, LocalError) as exc:
                if exc.exit_code is not ExitCode.AUTHENTICATION:
                    raise
                wrong = exc
    raise wrong


def offer_typed(prompt: str, read: Read | None = None) -> Iterator[bytes]:
    """Yield passphrases as they are typed, each after the one before was wrong. `read`: as for `offer_secrets`.

    Raises:
        UserError: nobody is there to ask.

    """
    if read is not None:
        yield encode_passphrase(read(prompt))
        return
    for number in range(_TRIES):
        if number:
            print("  that is not the passphrase", file=sys.stderr)  # noqa: T201 - the terminal; no screen is known here
        yield encode_passphrase(read_hidden(prompt))


def encode_passphrase(text: str) -> bytes:
    """Return a typed passphrase as the bytes that are stretched, be it good or not.

    Raises:
        UserError: too long, or no text.

    """
    from backuppeer.crypto.custody import normalise_passphrase  # noqa: PLC0415 - crypto libraries

    return normalise_passphrase(text)


def _ask_person() -> Iterator[bytes]:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UserError(
            "the keys of this home are under a passphrase, and there is no terminal to ask on",
            hint="`backup-peer agent start` on a terminal asks once, and commands need none then; or "
            "`backup-peer config set passphrase_command COMMAND` names a command that says it",
        )
    yield from offer_typed(_PROMPT)


# --- the system's keyring
def keep_heir(packed: bytes, secret: bytes) -> None:
    """Keep what opens a home for the key file that is to take the place of the one of now; packed: its bytes.

    Raises:
        LocalError: the keyring does not take it.

    """
    file = parse_key_file(Path("working"), packed)
    if file.custody is Custody.KEYRING:
        keep_key(file, secret)


def recall_key(file: KeyFile) -> bytes:
    """Return the key of a locked home from the system's keyring.

    Raises:
        LocalError: there is none, or no keyring.

    """
    library = _load_keyring()
    try:
        kept = library.get_password(_SERVICE, _name_of(file))
    except library.errors.KeyringError as exc:
        raise _explain_keyring(f"does not answer: {_first_sentence(exc)}") from exc
    try:
        key = base64.b64decode(kept or "", validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _KEY_BYTES:
        raise _explain_keyring("has no key for this home")
    return key


def keep_key(file: KeyFile, key: bytes) -> None:
    """Put the key of a sealing into the system's keyring, beside those of others: it is there before its file is.

    Raises:
        LocalError: there is no keyring, or it does not give back what it was given.

    """
    library, text = _load_keyring(), base64.b64encode(key).decode()
    try:
        library.set_password(_SERVICE, _name_of(file), text)
        # Asked before the home depends on it: some keyrings forget at once and say nothing.
        kept = library.get_password(_SERVICE, _name_of(file))
    except library.errors.KeyringError as exc:
        raise _explain_keyring(f"takes no key: {_first_sentence(exc)}", hint=_UNCHANGED) from exc
    if kept != text:
        raise _explain_keyring("did not keep the key", hint=_UNCHANGED)


def forget_key(file: KeyFile) -> bool:
    """Remove the key of a sealing that is no more; False if that can't be done: it opens nothing any more."""
    try:
        library = _load_keyring()
    except LocalError:
        return False
    try:
        library.delete_password(_SERVICE, _name_of(file))
    except library.errors.KeyringError:
        return False
    return True


def _name_of(file: KeyFile) -> str:
    # Of this sealing: another home of the same peer has its own key, and a new one takes nothing away from the old.
    return f"{format_peer_id(PeerId(file.identity))}/{file.label}"


def _load_keyring() -> ModuleType:
    try:
        import keyring  # noqa: PLC0415 - an extra, and slow to import
        import keyring.errors  # noqa: PLC0415
    except ImportError as exc:
        raise LocalError(
            "the system's keyring can't be used: the Python package keyring is not installed",
            hint="install it beside this program: `pip install keyring`, or pipx with its `inject`",
        ) from exc
    return keyring


def _first_sentence(error: Exception) -> str:
    # The library advises packages that it calls itself not recommended.
    return str(error).partition(". ")[0].rstrip(".") or type(error).__name__


def _explain_keyring(what: str, *, hint: str = _LOST) -> LocalError:
    return LocalError(f"the system's keyring {what}"[:200], hint=hint)
