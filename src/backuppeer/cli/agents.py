"""The agent as a process: found, started on demand, replaced when of another version, stopped.

Knows: the socket, `python -m backuppeer.cli.serve`, process ids. Must not know: what the agent does. The home's
lock decides who is the agent: of two started at once one takes it, the other exits 0, and both commands reach the one.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Final

from backuppeer import __version__
from backuppeer.agent.home.home import Home
from backuppeer.cli.homes import require_identity
from backuppeer.cli.unlocking import offer_secrets, try_secrets
from backuppeer.cli.upgrading import Tell, check_format, tell_nobody, tell_replaced, telling_upgrade
from backuppeer.control.api import Nothing, PingResult
from backuppeer.control.client import AgentNotRunning, Client
from backuppeer.control.sockets import socket_path_for
from backuppeer.control.stopping import StopResult
from backuppeer.errors import ExitCode, LocalError
from backuppeer.limits import AGENT_PING_S, AGENT_REASON_BYTES, AGENT_START_S, AGENT_STOP_S

_KEPT: Final = frozenset(
    (
        *("HOME", "USER", "LOGNAME", "PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"),
        *("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "BACKUPPEER_BIND", "BACKUPPEER_LOG", "BACKUPPEER_SERVERS"),
    )
)
"""What the agent inherits of the command's environment: no more, for a shell's environment is full of secrets."""
_KEPT_PREFIXES: Final = ("LC_", "XDG_")
_FIRST_WAIT_S: Final = 0.005
_LONGEST_PAUSE_S: Final = 0.03
"""Between two pings of an agent that starts: half of it is what a person waits in vain, and a ping costs 0.3 ms."""
_LONGEST_WAIT_S: Final = 0.1


def client_of(home: Home) -> Client:
    """Return a client for the agent of `home`, running or not."""
    return Client(socket_path_for(home.path))


def ping_agent(home: Home) -> PingResult | None:
    """Return who answers for `home`; None when nobody does.

    Raises:
        LocalError: an agent is there but stuck.

    """
    try:
        return client_of(home).call("ping", Nothing(), PingResult, timeout_s=AGENT_PING_S)
    except AgentNotRunning:
        return None


def ensure_agent(home: Home, tell: Tell = tell_nobody) -> Client:
    """Return a client for a running agent of this version, starting or replacing one as needed.

    tell: hears that an agent of another version was replaced, and that the home was upgraded.

    Raises:
        NotFoundError: the home has no identity.
        NewerFormatError: a newer version has upgraded the home; its agent is left alone.
        LocalError: the agent does not start.

    """
    found = ping_agent(home)
    if found is not None and found.version != __version__:
        check_format(home)
        stop_agent(home)
        tell_replaced(found.version, tell)
        found = None
    if found is None:
        with telling_upgrade(home, tell):
            start_agent(home)
    return client_of(home)


def start_agent(home: Home, secret: bytes | None = None) -> PingResult:
    """Start an agent in its own session and return once it answers, or once another one does that was faster.

    `secret`: what opens the keys, where it is known already.

    Raises:
        NotFoundError: the home has no identity.
        LocalError: it ended at once, with its own words and exit code where it said them, or did not answer in time.

    """
    require_identity(home)
    offered = offer_secrets(home) if secret is None else iter((secret,))
    return try_secrets(offered, lambda each: _start_told(home, each))


def _start_told(home: Home, secret: bytes) -> PingResult:
    reason, tell = os.pipe()
    try:
        os.set_blocking(reason, False)
        return _start(home, secret, reason, tell)
    finally:
        os.close(reason)
        os.close(tell)


def _start(home: Home, secret: bytes, reason: int, tell: int) -> PingResult:
    process = _spawn(home, secret, tell)
    deadline, wait_s = time.monotonic() + AGENT_START_S, _FIRST_WAIT_S
    while time.monotonic() < deadline:
        found = _ping_starting(home)
        if found is not None:
            _let_go(process, is_agent=found.pid == process.pid)
            return found
        if process.poll():
            raise _explain_end(home, process.returncode, reason)
        time.sleep(wait_s)
        wait_s = min(wait_s * 1.5, _LONGEST_PAUSE_S)
        if process.returncode == 0 and wait_s == _LONGEST_PAUSE_S:
            # Another process has the lock but does not answer: perhaps an agent about to end. Be next.
            process = _spawn(home, secret, tell)
    process.kill()
    process.wait()
    raise LocalError(
        f"the agent did not answer within {AGENT_START_S:.0f} s",
        hint=f"`backup-peer agent run` shows why; its log is in {home.logs}",
    )


def _let_go(process: "subprocess.Popen[bytes]", *, is_agent: bool) -> None:
    if is_agent:
        # It outlives this command on purpose; without this, Popen warns that it does.
        process.returncode = 0
        return
    # Another one was faster and holds the lock. Ours must not wake up late and take it after an `agent stop`.
    process.kill()
    process.wait()


def _explain_end(home: Home, code: int, reason: int) -> LocalError:
    """Return what an agent that ended at once said of it, or that it did."""
    with contextlib.suppress(BlockingIOError, ValueError, KeyError, TypeError):
        said = json.loads(os.read(reason, AGENT_REASON_BYTES))
        error = LocalError(str(said["message"]), hint=str(said["hint"]))
        error.exit_code = ExitCode(said["code"])
        return error
    return LocalError(
        f"the agent ended at once (exit code {code})",
        hint=f"`backup-peer agent run` shows why; its log is in {home.logs}",
    )


def _spawn(home: Home, secret: bytes, tell: int) -> "subprocess.Popen[bytes]":
    with opening(secret) as (options, descriptors):
        return subprocess.Popen(
            [*agent_command(home), "--tell", str(tell), *options],
            pass_fds=(tell, *descriptors),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=agent_environment(os.environ.copy()),
            start_new_session=True,
        )


@contextlib.contextmanager
def opening(secret: bytes) -> Iterator[tuple[list[str], tuple[int, ...]]]:
    """Yield the options and descriptors by which an agent that starts in the block learns what opens its keys."""
    if not secret:
        yield [], ()
        return
    # A pipe, which only the two processes can read: not argv, nor the environment, which all of this user's can. What
    # is written is far below what a pipe takes without a reader.
    ours, theirs = os.pipe()
    try:
        os.write(theirs, secret)
        os.close(theirs)
        yield ["--unlock", str(ours)], (ours,)
    finally:
        os.close(ours)


def _ping_starting(home: Home) -> PingResult | None:
    try:
        return ping_agent(home)
    except LocalError:
        # It listens but isn't ready to answer.
        return None


def stop_agent(home: Home) -> bool:
    """Ask the agent of `home` to park its jobs, and return when its process has ended; False if none ran.

    Raises:
        LocalError: it did not end in time.

    """
    found = ping_agent(home)
    if found is None:
        return False
    process = _watch(found.pid)
    # An agent that ended between the two calls is what was wanted.
    with contextlib.suppress(AgentNotRunning):
        client_of(home).call("stop", Nothing(), StopResult, timeout_s=AGENT_STOP_S)
    try:
        _wait_ended(process, found.pid)
    finally:
        if process is not None:
            os.close(process)
    return True


def await_end(home: Home) -> None:
    """Return when an agent that ends by itself has ended: it holds the home's lock until then.

    Raises:
        LocalError: it did not end in time.

    """
    deadline = time.monotonic() + AGENT_STOP_S
    while time.monotonic() < deadline:
        try:
            with home.lock() as is_ours:
                if is_ours:
                    return
        except LocalError:
            if not home.path.exists():  # a passing home goes with its agent
                return
            raise
        time.sleep(_LONGEST_WAIT_S)
    raise LocalError(
        f"the agent of {home.path} did not end within {AGENT_STOP_S:.0f} s", hint="`backup-peer agent stop` ends it"
    )


def agent_command(home: Home) -> list[str]:
    """Return the command line of an agent. -P: its folder, /, must not be searched for modules."""
    return [sys.executable, "-P", "-m", "backuppeer.cli.serve", "--home", os.fspath(home.path)]


def agent_environment(environment: dict[str, str]) -> dict[str, str]:
    """Return the part of an environment that an agent may inherit."""
    return {k: v for k, v in environment.items() if k in _KEPT or k.startswith(_KEPT_PREFIXES)}


def _watch(pid: int) -> int | None:
    """Return a descriptor that becomes readable when the process ends; None where the system has no such thing.

    Taken before the agent is asked to stop, so that a process id used again can't be mistaken for it.
    """
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _wait_ended(process: int | None, pid: int) -> None:
    ended = _poll_ended(pid) if process is None else bool(select.select([process], [], [], AGENT_STOP_S)[0])
    if not ended:
        raise LocalError(
            f"the agent (process {pid}) did not end within {AGENT_STOP_S:.0f} s", hint=f"kill {pid}, if you must"
        )


def _poll_ended(pid: int) -> bool:
    deadline = time.monotonic() + AGENT_STOP_S
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(_LONGEST_WAIT_S)
    return False
