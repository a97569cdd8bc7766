"""The command that says the passphrase: run with bounds on its time and on what it says.

Knows: processes. Must not know: what the passphrase opens. The command shares our process group, since it may have to
ask on the terminal itself; so what it started and left behind is not ended, and not waited for either.
"""

import os
import select
import shlex
import subprocess
import time
from typing import Final

from backuppeer.errors import LocalError
from backuppeer.limits import PASSPHRASE_CHARS, PASSPHRASE_COMMAND_S

_MOST_BYTES: Final = 4 * PASSPHRASE_CHARS + 2
"""A passphrase of the longest characters, and the end of a line."""

_LOOK_S: Final = 0.1
"""How often is looked whether the process has ended."""


def ask_command(command: str) -> str:
    """Return what a command says, without the end of its line.

    Raises:
        LocalError: it can't be run, fails, takes more than PASSPHRASE_COMMAND_S, or says too much, or no text.

    """
    reader, writer = os.pipe()
    try:
        process = subprocess.Popen(shlex.split(command), stdin=subprocess.DEVNULL, stdout=writer)
    except (OSError, ValueError, IndexError) as exc:
        os.close(reader)
        # Not the command's words: a person may have written the passphrase itself into them.
        raise _explain(f"could not be run ({type(exc).__name__})") from exc
    finally:
        os.close(writer)
    try:
        said = _read_bounded(process, reader, until=time.monotonic() + PASSPHRASE_COMMAND_S)
    finally:
        os.close(reader)
        process.kill()  # no harm to one that has ended
        process.wait()
    try:
        # As of other programs: what ends the line is no part of it.
        return said.decode().rstrip("\r\n")
    except UnicodeDecodeError as exc:
        raise _explain("said what is no text") from exc


def _read_bounded(process: "subprocess.Popen[bytes]", output: int, *, until: float) -> bytes:
    """Read to the end of the output, or of the process: what that left behind may keep the output open."""
    said = b""
    while time.monotonic() < until:
        has_ended = process.poll() is not None
        if not select.select([output], [], [], 0.0 if has_ended else _LOOK_S)[0]:
            if has_ended:
                break
            continue
        piece = os.read(output, _MOST_BYTES)
        said += piece
        if len(said) > _MOST_BYTES:
            raise _explain(f"said more than a passphrase of {PASSPHRASE_CHARS} characters")
        if not piece:
            break
    try:
        code = process.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired as exc:
        raise _explain(f"took longer than {PASSPHRASE_COMMAND_S:.0f} s") from exc
    if code:
        raise _explain(f"ended with code {code}")
    return said


def _explain(what: str) -> LocalError:
    return LocalError(
        f"the command that says the passphrase {what}",
        hint="`backup-peer config get passphrase_command` shows it; without it a terminal is asked",
    )
