"""One notification brought to all places, by a process of its own (`child`).

Knows: the process, what goes in and comes out. Must not know: apprise, troubles. The addresses hold passwords: they go
by standard input, never in an argument or the environment, and no answer names them.
"""

import asyncio
import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from backuppeer.agent.notifications.message import Message
from backuppeer.limits import NOTIFY_ANSWER_BYTES, NOTIFY_SEND_S

MISSING: Final = (
    "notifications need the Python package apprise, which is not installed",
    "`pipx inject backup-peer apprise`, or `pip install apprise` where backup-peer was installed with pip",
)
"""What is so, and what helps."""
_PASSED_ON: Final = frozenset(
    (
        *("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "SYSTEMROOT", "VIRTUAL_ENV", "PYTHONPATH"),
        *("DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY"),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
    )
)
"""What the process gets of our environment: to be found, to be shown, to get out. No secret of this home is in it."""


class Errand(msgspec.Struct, frozen=True, kw_only=True):
    """What the process is given. An empty body: only look whether the addresses can be understood."""

    urls: list[str]
    title: str = ""
    body: str = ""
    is_trouble: bool = True


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of one place. is_wrong: the address is none, so trying again does not help; is_missing: no apprise."""

    is_sent: bool = False
    reason: str = ""
    is_wrong: bool = False
    is_missing: bool = False


def is_available() -> bool:
    """Whether apprise is installed here; it is not imported for that."""
    return importlib.util.find_spec("apprise") is not None


async def deliver(urls: Sequence[str], message: Message, *, is_trouble: bool = True) -> list[Answer]:
    """Bring a message to each place; return in their order what came of it. Never raises for what a place does."""
    errand = Errand(urls=list(urls), title=message.title, body=message.body, is_trouble=is_trouble)
    process = await asyncio.create_subprocess_exec(
        *_COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=choose_environment(os.environ),
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(NOTIFY_SEND_S):
            answer = await _converse(process, msgspec.json.encode(errand))
    except (TimeoutError, OSError):
        answer = b""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return read_answers(answer, len(errand.urls))


def check_urls(urls: Sequence[str]) -> list[Answer]:
    """Look whether apprise understands these addresses; nothing is sent."""
    errand = msgspec.json.encode(Errand(urls=list(urls)))
    environment = choose_environment(os.environ)
    try:
        done = subprocess.run(
            _COMMAND, input=errand, capture_output=True, env=environment, timeout=NOTIFY_SEND_S, check=False
        )
    except (subprocess.TimeoutExpired, OSError):
        return read_answers(b"", len(urls))
    return read_answers(done.stdout[:NOTIFY_ANSWER_BYTES], len(urls))


_COMMAND: Final = (sys.executable, "-P", "-m", "backuppeer.agent.notifications.child")


def choose_environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return what the process gets of an environment."""
    return {name: value for name, value in given.items() if name in _PASSED_ON}


def read_answers(answer: bytes, count: int) -> list[Answer]:
    """Return what a process said of `count` places; where it said nothing that can be meant, that none got it."""
    try:
        answers = msgspec.json.decode(answer, type=list[Answer])
    except msgspec.DecodeError:
        answers = []
    if len(answers) != count:
        return [Answer(reason=f"it was not sent within {NOTIFY_SEND_S:.0f} s")] * count
    return answers


async def _converse(process: asyncio.subprocess.Process, errand: bytes) -> bytes:
    if process.stdin is None or process.stdout is None:
        return b""
    process.stdin.write(errand)
    await process.stdin.drain()
    process.stdin.close()
    answer = bytearray()
    while len(answer) <= NOTIFY_ANSWER_BYTES and (piece := await process.stdout.read(NOTIFY_ANSWER_BYTES)):
        answer += piece
    return bytes(answer)
