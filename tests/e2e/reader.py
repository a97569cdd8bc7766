"""Somebody who reads a page of docs/ and types what stands there, on a terminal, answering what is asked.

What a page can't know is filled in as a reader would: `bp1…` by the id that stands on the own screen (of `browse`, of
`requests`), or that somebody told with `id`; an invite and a code by what somebody's screen showed. Sizes are smaller
than on the page, in the same order, since the disks here are.
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import threading
from collections.abc import Callable
from pathlib import Path

from e2e.harness import Home, World

SILENCE_S = 120
_SIZES = {"500GB": "6GB", "200GB": "4GB", "100GB": "2500MB", "50GB": "3GB", "20GB": "1GB", "5GB": "500MB"}
_SIZE = re.compile(r"\b\d+GB\b")
_ID = re.compile(r"bp1[a-z0-9]{10,}")
_INVITE = re.compile(r"bpi1[a-z0-9]{80,}")
_CODE = re.compile(r"\b\d+-[a-z]+-[a-z]+\b")
_NUMBERED = re.compile(r"\b(\d+) ([a-z]+)\b")
_WANTED = re.compile(r"word (\d+), from your paper:$")


class Town:
    """All who appear on a page, and what they told each other."""

    def __init__(self, world: World) -> None:
        self.world, self.readers = world, dict[str, Reader]()
        self.told_id = self.invite = self.code = ""

    def reader(self, name: str) -> "Reader":
        """Return who is called so, who moves in now if nobody is. "Bob's new machine" has the words of Bob."""
        if name not in self.readers:
            made = Reader(self, self.world.home(f"{len(self.readers)}"))
            old = self.readers.get(name.partition("'s ")[0])
            made.words = dict(old.words) if old else {}
            self.readers[name] = made
        return self.readers[name]


class Reader:
    """A person with a home folder that has documents and photos, and an empty BackupPeer home."""

    def __init__(self, town: Town, home: Home) -> None:
        self._town, self._home = town, home
        self.words = dict[int, str]()
        """What is on the paper."""
        self._listed = ""
        self._under_way: Typing | None = None
        self.folder = home.path.with_name(f"{home.path.name}-files")
        for name in ("documents", "photos"):
            (self.folder / name).mkdir(parents=True)
            (self.folder / name / "first").write_bytes(os.urandom(300_000))

    def type_line(self, line: str, *, goes_on: bool = False) -> "Typing":
        """Type one line; return when the shell is ready again, or, if it `goes_on`, when it waits for somebody."""
        typing = Typing(self._fill_in(line), self._environment(), self._answer)
        if goes_on:
            typing.wait_shown("wait")
            self._under_way = typing
        else:
            self._finish(line, typing)
        self._learn(line, typing.shown)
        return typing

    def finish(self) -> None:
        """See that what went on has come to its end."""
        if self._under_way is not None:
            self._finish("what went on", self._under_way)
            self._under_way = None

    @staticmethod
    def _finish(line: str, typing: "Typing") -> None:
        assert typing.wait() == 0, f"{line}\n{typing.shown}"

    def _environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return self._home.environment() | {"HOME": str(self.folder), "PATH": path, "TERM": "xterm", "NO_COLOR": "1"}

    def _fill_in(self, line: str) -> str:
        line = _SIZE.sub(lambda size: _SIZES[size[0]], line)
        return line.replace("bp1…", self._listed or self._town.told_id).replace("7-abandon-ability", self._town.code)

    def _learn(self, line: str, shown: str) -> None:
        town, verb = self._town, line.split()[1]
        if verb == "init":
            self.words = {int(number): word for number, word in _NUMBERED.findall(shown)}
        elif verb == "id":
            town.told_id = _ID.findall(shown)[-1]
        elif verb in {"browse", "requests"} and (found := _ID.findall(shown)):
            self._listed = found[0]
        elif verb == "connect":
            self._listed = ""
        elif verb == "invite":
            town.invite = next(iter(_INVITE.findall(shown)), town.invite)
            town.code = next(iter(_CODE.findall(shown)), town.code)

    def _answer(self, shown: str) -> str:
        """Return what is typed at the end of what is shown so far; nothing if nothing is asked."""
        last = shown.rstrip()
        if wanted := _WANTED.search(last):
            return {int(number): word for number, word in _NUMBERED.findall(shown)}[int(wanted[1])]
        if last.endswith("24 words (not shown):"):
            return " ".join(self.words[number] for number in range(1, 25))
        if last.endswith("invite:"):
            return self._town.invite
        return "yes" if last.endswith(("[y/N]", "[yes/no]")) else ""


class Typing:
    """One line typed into a shell on a terminal of its own."""

    def __init__(self, line: str, environment: dict[str, str], answer: Callable[[str], str]) -> None:
        self._line, self._answer, self._parts, self._news = line, answer, "", threading.Condition()
        self._pid, self._terminal = pty.fork()
        if not self._pid:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.execve("/bin/sh", ["sh", "-c", line], environment)  # noqa: S606 - what a document tells to type
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._code: int | None = None
        self._thread.start()

    @property
    def shown(self) -> str:
        """What the terminal showed until now."""
        return self._parts

    def wait_shown(self, word: str) -> None:
        """Return once `word` was shown."""
        with self._news:
            self._news.wait_for(lambda: word in self._parts or self._code is not None, SILENCE_S)
        assert word in self._parts, f"{self._line}\n{self._parts}"

    def wait(self) -> int:
        """Return the exit code once it has ended."""
        self._thread.join(SILENCE_S)
        assert self._code is not None, f"{self._line} does not end:\n{self._parts}"
        return self._code

    def _read(self) -> None:
        code = -1
        try:
            while self._take():
                pass
            _, status = os.waitpid(self._pid, 0)
            code = os.waitstatus_to_exitcode(status)
        finally:
            os.close(self._terminal)
            with self._news:
                self._code = code
                self._news.notify_all()

    def _take(self) -> bool:
        ready, _, _ = select.select([self._terminal], [], [], SILENCE_S)
        try:
            part = os.read(self._terminal, 4096).decode(errors="replace") if ready else ""
        except OSError:  # the end of a terminal whose program has ended
            return False
        if not part:
            os.kill(self._pid, signal.SIGKILL)
            return False
        with self._news:
            self._parts += part
            self._news.notify_all()
        if answer := self._answer(self._parts):
            os.write(self._terminal, answer.encode() + b"\n")
            self._parts += "|"  # what was asked is no longer the end
        return True
