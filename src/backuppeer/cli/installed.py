"""How an operating system keeps an agent running: a systemd unit of the user, or a launchd agent.

Knows: their files and commands. Must not know: homes' contents, screens. One file for each home; nothing needs root.
"""

import hashlib
import os
import plistlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from backuppeer.agent.home.home import Home, usual_home
from backuppeer.errors import LocalError, UserError
from backuppeer.limits import SERVICE_COMMAND_S

_NAME = "backup-peer"


class Keeper(Protocol):
    """What keeps the agent of one home running."""

    @property
    def file(self) -> Path:
        """What the system reads."""
        ...

    def check(self) -> None:
        """See whether the system would do it, before anything is changed.

        Raises:
            LocalError: it can't be reached.
            UserError: somebody put something else in the file's place.

        """
        ...

    def install(self) -> None:
        """Write the file, and start the agent by it, now and at each login."""
        ...

    def uninstall(self) -> bool:
        """End the agent, and remove the file, whatever the system says; False if there was none."""
        ...

    def is_running(self) -> bool:
        """Whether the agent runs by it."""
        ...

    def show_logs(self) -> list[str]:
        """Return the command that shows what it said."""
        ...


def keeper_of(home: Home) -> Keeper:
    """Return what keeps the agent of a home running on this machine.

    Raises:
        UserError: nothing that is known does.

    """
    # By the command, not by its agent: that finds out how the keys of the home are opened.
    command = [
        sys.executable,
        "-P",
        "-m",
        "backuppeer.cli.main",
        "--home",
        os.fspath(home.path),
        "agent",
        "run",
        "--keep",
    ]
    if sys.platform == "darwin":
        return LaunchAgent(home.path, command)
    if shutil.which("systemctl"):
        return SystemdUnit(home.path, command)
    raise UserError(
        "no systemd runs here, and this is no macOS: there is nothing that a service could be installed in",
        hint="have `backup-peer agent start` run at each start of the machine, for example by a line `@reboot` in cron",
    )


def name_of(home: Path) -> str:
    """Return the name of a home's service: the usual home's is plain."""
    if home == usual_home().path:
        return _NAME
    return f"{_NAME}-{hashlib.sha256(os.fsencode(home)).hexdigest()[:8]}"


@dataclass(slots=True)
class SystemdUnit:
    """A unit of the user's own manager."""

    home: Path
    command: Sequence[str]

    @property
    def file(self) -> Path:
        """Where the unit lies."""
        folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
        return Path(folder) / "systemd" / "user" / self._unit

    @property
    def _unit(self) -> str:
        return f"{name_of(self.home)}.service"

    def text(self) -> str:
        """Return the unit."""
        return f"""# Written by `backup-peer service install`; `backup-peer service uninstall` removes it.
[Unit]
Description=BackupPeer agent of {_escape_unit(os.fspath(self.home))}
After=network-online.target

[Service]
Type=exec
ExecStart={" ".join([_quote_program(self.command[0]), *map(_quote_unit, self.command[1:])])}
Restart=on-failure
RestartSec=10
# It works in the background: whoever sits at the machine goes before.
Nice=10
IOSchedulingClass=best-effort
IOSchedulingPriority=7
UMask=0077
NoNewPrivileges=yes

[Install]
WantedBy=default.target
"""

    def check(self) -> None:
        """See whether the user's manager answers."""
        _check_place(self.file)
        self.text()
        _run("systemctl", "--user", "show-environment", hint=_NO_MANAGER)

    def install(self) -> None:
        """Write the unit and start it, also anew, now and at each login."""
        _write(self.file, self.text())
        _run("systemctl", "--user", "daemon-reload", hint=_NO_MANAGER)
        _run("systemctl", "--user", "enable", self._unit, hint=_NO_MANAGER)
        _run("systemctl", "--user", "restart", self._unit, hint=_NO_MANAGER)

    def uninstall(self) -> bool:
        """Stop the unit and remove it."""
        if not self.file.exists():
            return False
        _succeeds("systemctl", "--user", "disable", "--now", self._unit)
        self.file.unlink(missing_ok=True)
        (self.file.parent / "default.target.wants" / self._unit).unlink(missing_ok=True)
        _succeeds("systemctl", "--user", "daemon-reload")
        return True

    def is_running(self) -> bool:
        """Whether the unit is active."""
        return self.file.exists() and _succeeds("systemctl", "--user", "is-active", "--quiet", self._unit)

    def show_logs(self) -> list[str]:
        """Return the command that shows its part of the journal."""
        return ["journalctl", "--user", "--unit", self._unit]


@dataclass(slots=True)
class LaunchAgent:
    """A launchd agent of the user."""

    home: Path
    command: Sequence[str]

    @property
    def file(self) -> Path:
        """Where its property list lies."""
        return Path.home() / "Library" / "LaunchAgents" / f"{self._label}.plist"

    @property
    def _label(self) -> str:
        return f"net.{name_of(self.home)}"

    def text(self) -> str:
        """Return the property list."""
        return plistlib.dumps(
            {
                "Label": self._label,
                "ProgramArguments": list(self.command),
                "RunAtLoad": True,
                "KeepAlive": {"SuccessfulExit": False},
                "ProcessType": "Background",
                "LowPriorityIO": True,
                "Nice": 10,
                "Umask": 0o077,
                "StandardErrorPath": os.fspath(self.home / "logs" / "service.log"),
            }
        ).decode()

    def check(self) -> None:
        """See whether the place is free: launchd is always there."""
        _check_place(self.file)

    def install(self) -> None:
        """Write the property list and load it."""
        _write(self.file, self.text())
        _succeeds("launchctl", "bootout", self._target)  # of before, if there is one
        _run("launchctl", "bootstrap", f"gui/{os.getuid()}", os.fspath(self.file))

    def uninstall(self) -> bool:
        """Unload it and remove the property list."""
        if not self.file.exists():
            return False
        _succeeds("launchctl", "bootout", self._target)
        self.file.unlink(missing_ok=True)
        return True

    def is_running(self) -> bool:
        """Whether launchd has it."""
        return self.file.exists() and _succeeds("launchctl", "print", self._target)

    def show_logs(self) -> list[str]:
        """Return the command that shows what it wrote."""
        return ["tail", "-n", "100", os.fspath(self.home / "logs" / "service.log")]

    @property
    def _target(self) -> str:
        return f"gui/{os.getuid()}/{self._label}"


_NO_MANAGER: Final = (
    "is there a session of this user? over ssh and in containers there may be none: `loginctl enable-linger` makes one "
    "that stays"
)


def _check_place(path: Path) -> None:
    if path.is_symlink():
        raise UserError(
            f"{path} is a link that somebody put there: nothing was changed",
            hint="a link to /dev/null forbids the service; remove it to have one",
        )


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text)
    beside.replace(path)


def _quote_program(word: str) -> str:
    """Return the program as systemd reads it back: in quotes, its own signs escaped; it looks for no variable there."""
    return '"' + _escape_unit(word).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _quote_unit(word: str) -> str:
    """Return a word behind the program as systemd reads it back."""
    return _quote_program(word).replace("$", "$$")


def _escape_unit(text: str) -> str:
    """Return text for a unit, in which % has a meaning of its own.

    Raises:
        UserError: a sign that no unit can have.

    """
    if not text.isprintable():
        raise UserError(
            f"no service can name {text!r}", hint="have the home in a folder without such signs: --home DIR"
        )
    return text.replace("%", "%%")


def _succeeds(*words: str) -> bool:
    try:
        done = subprocess.run(words, capture_output=True, timeout=SERVICE_COMMAND_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _run(*words: str, hint: str = "") -> None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=SERVICE_COMMAND_S, check=False)
    except OSError as exc:
        raise LocalError(f"{words[0]} can't be run: {exc.strerror}") from exc
    except subprocess.TimeoutExpired as exc:
        raise LocalError(f"`{' '.join(words)}` does not end") from exc
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["it says nothing"]
        raise LocalError(
            f"`{' '.join(words)}` failed: {said[0][:200]}",
            hint=hint,
        )
