import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading

import msgspec
import pytest

from backuppeer import __version__
from backuppeer.cli.main import VERBS, main
from backuppeer.control import api
from backuppeer.errors import (
    AuthenticationFault,
    IntegrityFault,
    NoSignaling,
    NotFoundError,
    PeerUnreachable,
    PendingError,
    RefusedError,
)
from cli.rows import PENDING, PROGRESS, ROW, WORDS, ask, run
from cli.terminal import check_output
from control.dummy import PEER, given, telling


# --- front door
def test_version_is_printed_without_loading_typer():
    script = "import sys; from backuppeer.cli.main import main; main(['--version']); sys.exit('typer' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == 0
    assert done.stdout.decode() == f"backup-peer {__version__}\n"


def test_a_client_verb_loads_nothing_of_the_agents_machinery():
    script = (
        "import sys; from backuppeer.cli.main import main; main(['snapshots']);"
        "print([m for m in ('asyncio', 'starlette', 'uvicorn', 'iroh', 'cryptography', 'rich.console', 'websockets')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.stdout.decode().strip() == "[]"


def test_help_names_every_verb(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert all(f"  {verb} " in out for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(capsys, verb):
    code, out, _ = run(capsys, verb, "--help")
    assert code == 0
    assert out.startswith(f"Usage: backup-peer {verb}")


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["browse", "--nonsense"],
        ["browse", "--limit", "x"],
        ["browse", "--min-storage", "much"],
        ["browse", "--min-trust", "2"],
        ["browse", "--sort", "beauty"],
        ["browse", "--server", "http://x"],
        ["connect"],
        ["connect", "alice"],
        ["connect", "alice", "--storage", "0"],
        ["host"],
        ["host", "--storage", "1GB", "--accept", "everyone"],
        ["host", "--storage", "1GB", "--duration", "soon"],
        ["backup"],
        ["restore", "latest"],
        ["restore", ":/a", "--target", "t"],
        ["config", "set", "nonsense", "1"],
        ["config"],
    ],
)
def test_bad_options_exit_2_with_a_hint(capsys, words, agent):
    agent({})
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert "\nhint: " in err
    code, out, _ = run(capsys, *words, "--json")
    last = json.loads(out.splitlines()[-1])
    assert (code, last["event"], last["code"]) == (2, "error", 2)


def test_a_home_without_identity_exits_10_with_the_hint_init(capsys, home):
    for verb in ("browse", "status", "snapshots", "peers", "sessions", "requests", "id"):
        code, _, err = run(capsys, verb)
        assert code == 10
        assert "backup-peer init" in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PendingError, 4),
        (NotFoundError, 10),
        (PeerUnreachable, 11),
        (AuthenticationFault, 12),
        (RefusedError, 13),
        (NoSignaling, 14),
        (IntegrityFault, 15),
        (ZeroDivisionError, 1),
    ],
)
def test_the_agents_errors_become_exit_codes(capsys, agent, tmp_path, error, code):
    raised = error("it broke: \x1b[2J") if error is ZeroDivisionError else error("it broke: \x1b[2J", hint="mend it")
    agent({"browse": given(raised), "backup": telling([PROGRESS], raised)})
    assert run(capsys, "browse")[0] == code
    code_seen, out, err = run(capsys, "backup", str(tmp_path), "--json")
    lines = check_output("backup", out)
    assert (code_seen, lines[-1]["event"], lines[-1]["code"]) == (code, "error", code)
    assert err.startswith("error: ")
    assert "\x1b" not in err


# --- lists
def test_browse_sends_its_filters_and_prints_one_array(capsys, agent):
    dummy = agent({"browse": given([ROW])})
    words = [
        "--min-trust",
        "0.8",
        "--min-storage",
        "10GB",
        "--region",
        "EU",
        "--min-availability",
        "90%",
        "--sort",
        "free",
        "--limit",
        "3",
        "--all",
    ]
    code, lines = ask(capsys, "browse", *words, "--server", "wss://one.example", "--server", "ws://two:1")
    assert (code, len(lines)) == (0, 1)
    assert lines[0] == [msgspec.to_builtins(ROW)]
    assert dummy.requests == [
        (
            "browse",
            api.BrowseRequest(
                servers=["wss://one.example", "ws://two:1"],
                min_trust=0.8,
                min_storage=10**10,
                region="EU",
                min_availability=0.9,
                sort="free",
                limit=3,
                all=True,
            ),
        )
    ]


def test_browse_shows_prefix_trust_and_space_in_words(capsys, agent):
    agent({"browse": given([ROW, msgspec.structs.replace(ROW, alias="b\x1b[31mad")])})
    code, out, _ = run(capsys, "browse")
    assert code == 0
    assert "bp1qqqsyqcyq5" in out
    assert "0.83 trusted" in out
    assert "50 GB" in out
    assert "\x1b" not in out


def test_nobody_on_offer_is_an_empty_array_or_a_sentence(capsys, agent):
    agent({"browse": given([])})
    assert ask(capsys, "browse") == (0, [[]])
    code, out, err = run(capsys, "browse")
    assert (code, out) == (0, "nobody offers space like that right now\n")
    assert "hint" in err


@pytest.mark.parametrize(
    ("flag", "environment", "expected"),
    [
        (["--server", "ws://flag"], "ws://env", ["ws://flag"]),
        ([], "ws://env,ws://two", ["ws://env", "ws://two"]),
        ([], "", []),
        ([], None, ["ws://config"]),
    ],
)
def test_servers_come_from_flag_then_environment_then_config(  # noqa: PLR0917 - fixtures and cases
    capsys, agent, monkeypatch, flag, environment, expected
):
    dummy = agent({"browse": given([])})
    assert main(["config", "set", "servers", "ws://config"]) == 0
    if environment is not None:
        monkeypatch.setenv("BACKUPPEER_SERVERS", environment)
    assert run(capsys, "browse", *flag)[0] == 0
    assert dummy.requests[-1][1].servers == expected


def test_lists_print_arrays_that_fit_their_schemas(capsys, agent):
    peer = api.PeerRow(
        peer_id=PEER,
        alias="alice",
        role="host",
        verified=False,
        quota_bytes=10,
        used_bytes=1,
        safety_words=WORDS,
        last_seen="",
        trust=0.5,
        trust_level="fair",
    )
    session = api.SessionRow(
        peer_id=PEER,
        alias="alice",
        state="connected",
        path="direct",
        rtt_ms=1.5,
        sent_bytes=1,
        received_bytes=2,
        since="2026-11-22T21:30:00Z",
    )
    snapshot = api.SnapshotRow(
        snapshot="ab" * 32, time="2026-11-22T21:30:00Z", paths=["/a\udcff"], files=1, bytes=2, peers=[PEER]
    )
    entry = api.EntryRow(path="a\udcff", kind="file", mode=0o644, uid=0, gid=0, size=1, mtime="2026-11-22T21:30:00Z")
    rows = {"peers": peer, "sessions": session, "snapshots": snapshot, "requests": PENDING, "ls": entry}
    agent({verb: given([row]) for verb, row in rows.items()})
    for verb, row in rows.items():
        arguments = ["latest:/a:b"] if verb == "ls" else []
        assert ask(capsys, verb, *arguments) == (0, [[msgspec.to_builtins(row)]])
        code, out, _ = run(capsys, verb, *arguments)
        assert code == 0
        assert out.isascii()
    code, out, _ = run(capsys, "ls", "latest")
    assert out == "-rw-r--r--     0     0 1 2026-11-22 21:30 a\\xff\n" or "a\\xff" in out


def test_ls_splits_snapshot_and_path_at_the_first_colon(capsys, agent):
    dummy = agent({"ls": given([])})
    assert run(capsys, "ls", "latest:/a:b", "-R")[0] == 0
    request = dummy.requests[0][1]
    assert (request.snapshot, request.path, request.recursive) == ("latest", "/a:b", True)


def test_status_is_one_object(capsys, agent):
    status = api.StatusResult(
        peer_id=PEER,
        agent="running",
        servers=[api.ServerState(url="wss://one.example", connected=False, error="refused")],
        sessions=1,
        hosting=api.HostingState(offering=True, storage_bytes=10**9),
        snapshots=3,
        notes=["your only copy is with an unproven peer"],
    )
    agent({"status": given(status)})
    assert ask(capsys, "status") == (0, [msgspec.to_builtins(status)])
    code, out, _ = run(capsys, "status")
    assert code == 0
    assert "offering 1 GB" in out
    assert "only copy" in out


# --- requests, disconnect
def test_requests_are_accepted_and_rejected(capsys, agent):
    dummy = agent({"requests/accept": given(PENDING), "requests/reject": given(PENDING)})
    assert ask(capsys, "requests accept", "r7f3a", "--name", "carol")[0] == 0
    assert ask(capsys, "requests reject", "r7f3a", "--reason", "full")[0] == 0
    (_, accepted), (_, rejected) = dummy.requests
    assert (accepted.request, accepted.alias) == ("r7f3a", "carol")
    assert rejected.reason == "full"


def test_waiting_requests_show_the_words_to_compare(capsys, agent):
    agent({"requests": given([PENDING])})
    for words in (["requests"], ["requests", "list"]):
        code, out, _ = run(capsys, *words)
        assert code == 0
        assert WORDS in out


def test_disconnect_tells_whether_there_was_a_session(capsys, agent):
    agent({"disconnect": given(api.DisconnectResult(peer_id=PEER, closed=True))})
    assert ask(capsys, "disconnect", "alice") == (0, [{"event": "done", "peer_id": PEER, "closed": True}])


# --- streams
def test_a_closed_pipe_ends_a_verb_quietly(agent, home):
    rows = [msgspec.structs.replace(ROW, alias="x" * 1000)] * 200
    agent({"browse": given(rows)})
    command = [sys.executable, "-m", "backuppeer.cli.main", "browse", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    process.stdout.close()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == b""


def test_ctrl_c_during_a_backup_cancels_it_and_exits_130(capsys, agent, tmp_path):
    cancelled = threading.Event()

    async def backup(request, emit):
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    agent({"backup": backup})
    assert run(capsys, "backup", str(tmp_path))[0] == 130
    assert cancelled.wait(10)


def test_under_sudo_the_home_is_named(capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("BACKUPPEER_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("SUDO_USER", "me")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert "root's own home" in run(capsys, "id")[2]


def test_a_signaling_server_says_where_it_listens_and_ends_on_sigterm():
    command = [sys.executable, "-m", "backuppeer.cli.main", "server", "--listen", "127.0.0.1:0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            (ready,) = check_output("server", line)
            assert ready["event"] == "ready"
            host, _, port = ready["listen"].rpartition(":")
            with socket.create_connection((host, int(port)), timeout=10):
                pass
        finally:
            process.terminate()
        assert process.wait(20) == 0


def test_a_signaling_server_that_can_not_listen_exits_2(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run(capsys, "server", "--listen", f"127.0.0.1:{port}")[0] == 2
    assert run(capsys, "server", "--listen", "nonsense")[0] == 2
