"""Streams into a backup: what the options mean, and commands that fail."""

import asyncio
import contextlib
import os
import sys
import threading

import msgspec
import pytest

from backuppeer.cli import feeds
from backuppeer.cli.feeds import Command
from backuppeer.control.saving import StreamRequest
from backuppeer.errors import LocalError, PeerUnreachable
from cli.rows import BACKED_UP, ask, run
from control.dummy import given

ROUTE = "backup/stream"


def taking(fed):
    """A handler that reads all of the stream into `fed`."""

    async def handler(request, emit, inflow):
        def read():
            view = memoryview(bytearray(100_000))
            while count := inflow.read_into(view):
                fed.extend(view[:count])

        await asyncio.to_thread(read)
        return BACKED_UP

    return handler


@pytest.fixture
def piped(monkeypatch):
    """Put bytes on standard input."""
    ends = []

    def pipe(data):
        reader, writer = os.pipe()
        threading.Thread(target=lambda: (os.write(writer, data), os.close(writer))).start()
        file = os.fdopen(reader, "r")
        ends.append(file)
        monkeypatch.setattr("sys.stdin", file)

    yield pipe
    for file in ends:
        file.close()


def python(program):
    return ("--", sys.executable, "-c", program)


def test_standard_input_goes_to_the_agent_with_its_name(capsys, agent, piped):
    fed = bytearray()
    dummy = agent({ROUTE: taking(fed)})
    piped(b"\0\xff\n" * 5000)
    code, lines = ask(
        capsys, "backup", "--stdin", "--stdin-name", "x/y.sql", "--to", "bob", "--tag", "t", "--level", "9"
    )
    assert code == 0
    assert lines == [{"event": "done", **msgspec.to_builtins(BACKED_UP)}]
    assert fed == b"\0\xff\n" * 5000
    request = dummy.requests[0][1]
    assert isinstance(request, StreamRequest)
    assert (request.name, request.to, request.tags, request.level) == ("x/y.sql", ["bob"], ["t"], 9)


def test_the_output_of_a_command_goes_to_the_agent(capsys, agent):
    fed = bytearray()
    dummy = agent({ROUTE: taking(fed)})
    program = "import sys; sys.stdout.write('row ' * 700_000); print('-x --json', file=sys.stderr)"
    assert run(capsys, "backup", "--stdin-from-command", *python(program))[0] == 0
    assert fed == b"row " * 700_000
    assert dummy.requests[0][1].name == "stdin"


def test_a_command_that_fails_is_named_with_its_exit_code(capsys, agent):
    agent({ROUTE: taking(bytearray())})
    code, lines = ask(capsys, "backup", "--stdin-from-command", *python("import sys; sys.exit(9)"))
    assert code == 1
    assert "ended with exit code 9; no snapshot was made" in lines[-1]["message"]
    program = "import os; os.kill(os.getpid(), 15)"
    code, lines = ask(capsys, "backup", "--stdin-from-command", *python(program))
    assert (code, "was ended by signal 15" in lines[-1]["message"]) == (1, True)


def test_a_command_is_not_run_when_the_backup_can_not_be_made(capsys, agent, tmp_path):
    async def refuse(request, emit, inflow):
        return await given(PeerUnreachable("no host answers"))(request, emit)

    agent({ROUTE: refuse})
    program = f"open({str(tmp_path / 'ran')!r}, 'w')"
    assert run(capsys, "backup", "--stdin-from-command", *python(program))[0] == 11
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--stdin", "--stdin-from-command", "--", "true"), 2, "both"),
        (("--stdin", "/etc"), 2, "two backups"),
        (("--stdin", "--files-from", "/dev/null"), 2, "one file"),
        (("--stdin", "--exclude", "x"), 2, "one file"),
        (("--stdin", "-x"), 2, "one file"),
        (("--stdin-name", "x", "/etc"), 2, "without a stream"),
        (("--stdin-from-command",), 2, "no command"),
        (("--stdin-from-command", "--", ""), 2, "no command"),
        (("--stdin-from-command", "--", "no-such-\x1b[2Jcommand"), 10, "there is no command"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_any_work(capsys, agent, words, code, says):
    dummy = agent({})
    got, _, err = run(capsys, "backup", *words)
    assert (got, says in err, "\x1b" in err) == (code, True, False)
    assert dummy.requests == []


def test_a_command_that_is_left_is_ended_though_it_does_not_listen(monkeypatch):
    monkeypatch.setattr(feeds, "COMMAND_END_S", 0.1)
    deaf = "import signal, sys, time; signal.signal(15, signal.SIG_IGN); print('x' * 10, flush=True); time.sleep(600)"
    with Command([sys.executable, "-c", deaf]) as command:
        assert command.take(10) == b"x" * 10
        process = command._process
        assert process is not None
    assert process.returncode == -9
    with pytest.raises(LocalError):
        Command.__exit__(left := Command(["true"]), None, None, None) or left.take(1)


def test_a_command_that_is_left_while_it_starts_is_ended_too(monkeypatch):
    runs, may_return, popen = threading.Event(), threading.Event(), feeds.subprocess.Popen

    def start(*args, **options):
        process = popen(*args, **options)
        runs.set()
        assert may_return.wait(60)
        return process

    monkeypatch.setattr(feeds.subprocess, "Popen", start)
    command = Command([sys.executable, "-c", "import time; time.sleep(600)"])

    def read():
        with contextlib.suppress(LocalError):
            command.take(1)

    reader = threading.Thread(target=read)
    reader.start()
    assert runs.wait(60)
    leaving = threading.Thread(target=command.__exit__, args=(None, None, None))
    leaving.start()
    may_return.set()
    leaving.join(60)
    process = command._process
    assert process is not None
    assert process.returncode == -15
    reader.join(60)


def test_a_command_that_can_not_be_started_says_why(tmp_path):
    script = tmp_path / "script"
    script.write_bytes(b"\x7fELF no program")
    script.chmod(0o755)
    with Command([str(script)]) as command, pytest.raises(LocalError, match=r"can't run .*exec format error"):
        command.take(1)
