"""A terminal of 80 columns with a shell in it, and pictures of what it shows: tmux is the terminal, rich draws it."""

import io
import re
import shlex
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

COLUMNS: Final = 80
ROWS: Final = 60
_PROMPT: Final = "$ "
_PATIENCE_S: Final = 60.0
_LOOK_S: Final = 0.05
_FONTS: Final = "DejaVu Sans Mono, Menlo, Consolas, monospace"
_FORMAT: Final = re.sub(r"\s*@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace(
    "Fira Code, monospace", _FONTS
)
"""Without fonts from the web: nothing is loaded from anywhere."""


_CELL: Final = 12.2
"""Width of a character in what rich draws."""
_INDENTED: Final = re.compile(r' x="([0-9.]+)" y="([0-9.]+)" textLength="([0-9.]+)" ([^>]*)>((?:&#160;)+)(?=[^<])')


def _move(found: re.Match[str]) -> str:
    """Return a text that begins where its first letter stands: some programs drop spaces at the front."""
    gap = _CELL * found[5].count("&")
    x, length = float(found[1]) + gap, float(found[3]) - gap
    return f' x="{x:.1f}" y="{found[2]}" textLength="{length:.1f}" {found[4]}>'


class Pane:
    """One terminal; `environment` is all that its shell has."""

    def __init__(self, name: str, environment: dict[str, str]) -> None:
        self._name = name
        shell = [
            "env",
            "-i",
            *(f"{key}={value}" for key, value in environment.items()),
            "bash",
            "--norc",
            "--noprofile",
        ]
        self._tmux("new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), shlex.join(shell))
        self._wait(lambda: self.lines()[-1:] == [_PROMPT.strip()], "the shell")

    def type(self, text: str) -> None:
        """Type a line."""
        self._tmux("send-keys", "-l", text)
        self._tmux("send-keys", "Enter")

    def run(self, command: str, *, until: str = "", answers: dict[str, str] | None = None) -> None:
        """Run a command on a clean screen until it has ended, or shows what matches `until`; answer what it asks.

        answers: what to type when the screen ends so.
        """
        self._tmux("send-keys", "C-l")
        self._wait(lambda: self.lines() == [_PROMPT.strip()], "a clean screen")
        self.type(command)
        left = dict(answers or {})

        def is_there() -> bool:
            shown = self.lines()
            for question, answer in list(left.items()):
                if shown and shown[-1].endswith(question):
                    del left[question]
                    self.type(answer)
            if until:
                return any(re.search(until, line) for line in shown)
            return len(shown) > 1 and shown[-1] == _PROMPT.strip() and not left

        self._wait(is_there, command)

    def wait_end(self) -> None:
        """Wait until the command has ended."""
        self._wait(lambda: self.lines()[-1:] == [_PROMPT.strip()], "the end")

    def lines(self) -> list[str]:
        """Return what it shows, without colours and what is empty at the end."""
        return self._tmux("capture-pane", "-p").rstrip().splitlines()

    def shoot(self, path: Path, title: str) -> None:
        """Draw what it shows into an SVG file."""
        shown = self._tmux("capture-pane", "-e", "-p").rstrip().splitlines()
        if shown and Text.from_ansi(shown[-1]).plain.strip() == _PROMPT.strip():
            shown.pop()
        console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
        console.print(Text.from_ansi("\n".join(shown)), soft_wrap=True)
        drawn = console.export_svg(title=title, theme=MONOKAI, code_format=_FORMAT, unique_id=path.stem)
        drawn = _INDENTED.sub(_move, drawn)
        path.write_text("\n".join(line.rstrip() for line in drawn.splitlines()) + "\n")

    def close(self) -> None:
        """End the terminal and whatever runs in it."""
        subprocess.run(["tmux", "-L", self._name, "kill-server"], capture_output=True, check=False)

    def _tmux(self, *words: str) -> str:
        command = ["tmux", "-L", self._name, "-f", "/dev/null", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def _wait(self, holds: Callable[[], bool], what: str) -> None:
        end_s, pause = time.monotonic() + _PATIENCE_S, threading.Event()
        while not holds():
            assert time.monotonic() < end_s, f"waited for {what}; it shows {self.lines()}"
            pause.wait(_LOOK_S)
