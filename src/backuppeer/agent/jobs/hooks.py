"""Commands that a person wants run beside the backups of a set: before, after, and when one failed (ADR 0025).

Knows: how a command of the settings is run. Must not know: backups. It runs as the person whose home this is, as
anything in their crontab does: whoever can write `config.toml` can run commands, so one that others may write to is
refused. It gets no standard input, a short list of environment variables (nothing of the agent's own, hence no
secret), the person's home folder to start in, and a time cap; it and its children end with the backup.
"""

import asyncio
import os
import signal
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from backuppeer.agent.home.home import Home
from backuppeer.agent.home.sets import Command, Hooks
from backuppeer.agent.reporter import Reporter
from backuppeer.errors import RefusedError
from backuppeer.limits import HOOK_END_S, HOOK_LINE_BYTES, HOOK_LINES, HOOK_S

_log = structlog.get_logger()
_KEPT: Final = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")
_SHELL: Final = "/bin/sh"


@dataclass(frozen=True, slots=True)
class HookRunner:
    """The hooks of one backup of a set."""

    home: Home
    set_name: str
    hooks: Hooks
    reporter: Reporter

    async def run(self, event: str, facts: Mapping[str, str] | None = None, *, within_s: float = HOOK_S) -> None:
        """Run the hook `before`, `after` or `failed`, if there is one, and tell what it says.

        `facts`: environment variables for it, beside BACKUPPEER_EVENT, _SET and _HOME.

        Raises:
            RefusedError: it did not end well, took too long, or must not be run.

        """
        command: Command = getattr(self.hooks, event)
        if not command:
            return
        check_owner(self.home.config)
        self.reporter.say_state("hook", f"running the hook `{event}` of set {self.set_name}")
        words = [_SHELL, "-c", command] if isinstance(command, str) else command
        outcome = await self._run(words, event, facts or {}, within_s)
        if outcome:
            _log.warning("a hook failed", set=self.set_name, hook=event, outcome=outcome)
            raise RefusedError(
                f"the hook `{event}` of set {self.set_name} {outcome}",
                hint=f"it is sets.{self.set_name}.hooks.{event} in {self.home.config}; try it in a terminal",
            )

    async def _run(self, words: list[str], event: str, facts: Mapping[str, str], within_s: float) -> str:
        """Return '' or what went wrong."""
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                cwd=_find_start(),
                env=self._environment(event, facts),
                limit=HOOK_LINE_BYTES,
                start_new_session=True,  # a group of its own, so that its children can be ended with it
            )
        except (OSError, ValueError) as exc:
            return f"can't be run: {(getattr(exc, 'strerror', None) or str(exc)).lower()}"
        try:
            async with asyncio.timeout(within_s):
                await self._tell_output(process, event)
                code = await process.wait()
        except TimeoutError:
            return f"did not end in {within_s:.0f} s, and was stopped"
        finally:
            await _end(process)
        return "" if code == 0 else f"failed (exit code {code})" if code > 0 else f"was ended by signal {-code}"

    async def _tell_output(self, process: asyncio.subprocess.Process, event: str) -> None:
        lines = 0
        if process.stdout is None:
            return
        while data := await _read_line(process.stdout):
            lines += 1
            if lines <= HOOK_LINES and (text := data.decode(errors="replace").rstrip()):
                self.reporter.note(f"hook {event}: {text}")
        if lines > HOOK_LINES:
            self.reporter.note(f"hook {event}: … and {lines - HOOK_LINES:,} more lines")

    def _environment(self, event: str, facts: Mapping[str, str]) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        told = {"EVENT": event, "SET": self.set_name, "HOME": os.fspath(self.home.path), **facts}
        return kept | {f"BACKUPPEER_{name}": value for name, value in told.items()}


async def _read_line(stream: asyncio.StreamReader) -> bytes:
    """Return the next line, or as much of one as may be; empty at the end."""
    try:
        return await stream.readuntil(b"\n")
    except asyncio.IncompleteReadError as exc:
        return exc.partial
    except asyncio.LimitOverrunError as exc:
        return await stream.read(max(1, exc.consumed))


async def _end(process: asyncio.subprocess.Process) -> None:
    """End it and its children, if they are still there: gently first."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        # Its own group, made by start_new_session: nobody else can be in it.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(TimeoutError):
            async with asyncio.timeout(HOOK_END_S):
                await process.wait()


def check_owner(config: Path) -> None:
    """Refuse settings that somebody else could have written commands into.

    Raises:
        RefusedError: it belongs to others, or others may write to it.

    """
    try:
        seen = config.stat()
    except OSError as exc:
        raise RefusedError(f"hooks are not run: {config} can't be examined") from exc
    if seen.st_uid not in {os.geteuid(), 0} or stat.S_IMODE(seen.st_mode) & (stat.S_IWGRP | stat.S_IWOTH):
        raise RefusedError(
            f"hooks are not run: others may write to {config}", hint=f"make it yours alone: `chmod 600 {config}`"
        )


def _find_start() -> str:
    folder = os.environ.get("HOME", "/")
    return folder if os.path.isdir(folder) else "/"  # noqa: PTH112 - text in, text out
