"""`recover --check`: whether the words bring everything back, tried in a home that is gone afterwards.

Knows: a passing home and its agent. Must not know: how a recovery works. Nothing is changed, here or at any host: what
hosts hold is read, and they are told neither where this home is nor where to leave notes. While it runs, the keys that
the words stand for lie in a folder of the system's temporary ones, 0700; also when the command is killed, the
agent takes them away.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from backuppeer.agent.home.home import Home
from backuppeer.cli import homes, succeeding
from backuppeer.cli.render import format_count
from backuppeer.cli.screen import GREEN, YELLOW, Screen
from backuppeer.control.client import Client
from backuppeer.control.recovering import RecoverResult
from backuppeer.errors import ExitCode, LocalError

_PREFIX: Final = "backup-peer-check-"


class Rehearsal:
    """A home in which words are tried."""

    def __init__(self, home: Home, master: bytes) -> None:
        self._home, self._master = home, master
        self._followed: list[str] = []
        self.peer_id = homes.recover_peer(home, master)

    def client(self) -> Client:
        """Return a client of its agent, started if need be."""
        from backuppeer.cli.agents import ensure_agent  # noqa: PLC0415 - subprocess; not for verbs without agent

        return ensure_agent(self._home)

    def follow(self, succession: str) -> str:
        """Make it a home anew, of whom this identity went on as; return the new peer id. succession: hex, signed."""
        _end_agent(self._home)
        # Its agent took everything away when it ended: who it was is made again, and who goes on in its place of that.
        self._home.path.mkdir(mode=0o700, exist_ok=True)
        self._home.passing_mark.touch(mode=0o600)
        homes.recover_peer(self._home, self._master)
        for said in (*self._followed, succession):
            self.peer_id = succeeding.follow(self._home, self._master, said)
        self._followed.append(succession)
        return self.peer_id


@contextmanager
def passing_home(master: bytes) -> Iterator[Rehearsal]:
    """Yield a home of what the words stand for, gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    home = Home(folder)
    try:
        home.passing_mark.touch(mode=0o600)
        tried = Rehearsal(home, master)
        try:
            yield tried
        finally:
            _end_agent(home)
    finally:
        # Everything in it was made here and is nowhere needed: keys that the words give again, an index of the hosts'.
        shutil.rmtree(folder, ignore_errors=True)


def _end_agent(home: Home) -> None:
    """Return when the agent of a passing home has ended: it does so by itself after each check, perhaps just now."""
    from backuppeer.cli.agents import await_end, stop_agent  # noqa: PLC0415 - subprocess; only here

    try:
        stop_agent(home)
    except LocalError:
        await_end(home)


def judge(screen: Screen, result: RecoverResult) -> int:
    """Say what the check has shown, and return the exit code: 0, or 3 when a host was not heard."""
    snapshots = format_count(result.snapshots, "snapshot")
    if result.unheard:
        count = format_count(len(result.unheard), "host")
        screen.line(f"{screen.paint('!', YELLOW)} these words bring back {snapshots}, but {count} could not be heard")
        code = ExitCode.INCOMPLETE
    else:
        screen.line(f"{screen.paint('✓', GREEN)} these words bring back {snapshots}; every host of yours was heard")
        code = ExitCode.DONE
    screen.line("  this was a check: nothing was changed, here or at any host", hang=4)
    return code
