"""Commands that a person wants run beside the backups of a set: before, after, and when one failed (ADR 0025).

Knows: how a command of the settings is run. Must not know: backups. It runs as the person whose home this is, as
anything in their crontab does: whoever can write `config.toml` can run commands, so one that others may write to is
refused. It gets no standard input, a short list of environment variables (nothing of the agent's own, hence no
secret), the person's home folder to start in, and a time cap. What it leaves running ends with the backup, or at once
when it failed; a program that shall stay has to leave its group, as daemons do (`setsid`).
"""

import asyncio
import os
import shlex
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from backuppeer.agent.home.home import Home
from backuppeer.agent.home.sets import Command, Hooks
from backuppeer.agent.jobs.hook_process import HookProcess
from backuppeer.agent.reporter import Reporter
from backuppeer.errors import LocalError, RefusedError
from backuppeer.limits import HOOK_S

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
    _left: list[HookProcess] = field(default_factory=list)
    """Hooks that ended well, and may have left something running until the backup is over."""

    async def run(self, event: str, facts: Mapping[str, str] | None = None, *, within_s: float = HOOK_S) -> None:
        """Run the hook `before`, `after` or `failed`, if there is one, and tell what it says.

        `facts`: environment variables for it, beside BACKUPPEER_EVENT, _SET and _HOME.

        Raises:
            LocalError: it did not end well, or took too long.
            RefusedError: it must not be run.

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
            raise LocalError(
                f"the hook `{event}` of set {self.set_name} {outcome}",
                hint=f"it is sets.{self.set_name}.hooks.{event} in {self.home.config}; try it in a terminal",
            )

    async def close(self) -> None:
        """End what the hooks left running: a tunnel, a server that `after` was to find."""
        while self._left:
            await self._left.pop().end()

    async def _run(self, words: Sequence[str], event: str, facts: Mapping[str, str], within_s: float) -> str:
        """Return '' or what went wrong."""

        def tell(line: str) -> None:
            self.reporter.note(f"hook {event}: {line}")

        try:
            process = HookProcess(words, cwd=_find_start(), env=self._environment(event, facts), tell=tell)
        except (OSError, ValueError) as exc:
            return f"can't be run: {(getattr(exc, 'strerror', None) or str(exc)).lower()}"
        code = 1
        try:
            async with asyncio.timeout(within_s):
                code = await process.wait()
        except TimeoutError:
            return f"did not end in {within_s:.0f} s, and was stopped"
        finally:
            if code:
                await process.end()
            else:
                self._left.append(process)
        return "" if code == 0 else f"failed (exit code {code})" if code > 0 else f"was ended by signal {-code}"

    def _environment(self, event: str, facts: Mapping[str, str]) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        told = {"EVENT": event, "SET": self.set_name, "HOME": os.fspath(self.home.path), **facts}
        return kept | {f"BACKUPPEER_{name}": value for name, value in told.items()}


def check_owner(config: Path) -> None:
    """Refuse settings that somebody else could have written commands into.

    Raises:
        RefusedError: it belongs to others, or others may write to it.

    """
    try:
        seen = config.stat()
    except OSError as exc:
        raise RefusedError(
            f"hooks are not run: {config} can't be examined: {exc.strerror}", hint="it must be a file of yours"
        ) from exc
    if seen.st_uid not in {os.geteuid(), 0} or stat.S_IMODE(seen.st_mode) & (stat.S_IWGRP | stat.S_IWOTH):
        raise RefusedError(
            f"hooks are not run: others may write to {config}",
            hint=f"make it yours alone: `chmod 600 {shlex.quote(str(config))}`",
        )


def _find_start() -> str:
    folder = os.environ.get("HOME", "/")
    return folder if os.path.isdir(folder) else "/"  # noqa: PTH112 - text in, text out
