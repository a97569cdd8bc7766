import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from backuppeer import __version__
from backuppeer.cli.main import VERBS, main
from backuppeer.cli.relaying import describe_relay
from backuppeer.cli.render import shorten_id
from backuppeer.cli.server import _describe_notes
from backuppeer.control import api
from backuppeer.control.alarms import SeenAlarms
from backuppeer.control.sessions import DisconnectResult, SessionRow
from backuppeer.errors import (
    AuthenticationFault,
    IntegrityFault,
    NoSignaling,
    NotFoundError,
    PeerUnreachable,
    PendingError,
    RefusedError,
)
from cli.rows import PENDING, PROGRESS, ROW, WORDS, ask, make_peer, run
from cli.terminal import FakeTerminal, check_output
from control.dummy import PEER, given, telling
from signaling.test_tls import make_certificate


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


def test_help_names_every_verb_and_cuts_no_sentence_off(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert "..." not in out.partition("Commands:")[2]
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
        ["host", "--storage", "50"],
        ["host", "--storage", "1GB", "--accept", "everyone"],
        ["host", "--storage", "1GB", "--duration", "soon"],
        ["backup"],
        ["restore", "latest"],
        ["restore", ":/a", "--target", "t"],
        ["restore", "latest", "--target", ""],
        ["restore", "latest", "--target="],
        ["restore", "latest", "--target", "t", "--path", ""],
        ["host", "--storage", "1GB", "--store", ""],
        ["status", "--home", ""],
        ["backup", ""],
        ["backup", "/", ""],
        ["config", "set", "nonsense", "1"],
        ["peers", "set", "bob"],
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
    assert (code, out) == (0, "nobody offers space at these servers yet\n")
    assert "hint: ask a friend" in err
    for filtered in (["--region", "EU"], ["--min-trust", "0.1"], ["--min-storage", "1"], ["--min-availability", "1%"]):
        code, out, err = run(capsys, "browse", *filtered)
        assert (code, out) == (0, "nobody offers space like that right now\n")
        assert "hint: loosen" in err


@pytest.mark.parametrize(
    ("free", "words", "size"),
    [
        ([5 * 10**10], [], "10GB"),
        ([2**32], [], "4GB"),
        ([2**26], [], "60MB"),
        ([2**29], [], "500MB"),
        ([2**37], ["--min-storage", "20GB"], "20GB"),
        ([0, 2**32], [], "4GB"),
    ],
)
def test_browse_suggests_a_size_that_the_row_can_grant(capsys, agent, free, words, size):
    agent({"browse": given([msgspec.structs.replace(ROW, free_bytes=one) for one in free])})
    assert f"`backup-peer connect bp1qqqsyqcyq5 --storage {size} --home" in run(capsys, "browse", *words)[1]


def test_browse_marks_friends(capsys, agent):
    agent({"browse": given([msgspec.structs.replace(ROW, alias="alice")]), "peers": given([make_peer(verified=True)])})
    out = run(capsys, "browse")[1]
    assert "♥ alice" in out
    assert "♥ = you compared" in out


def test_browse_proposes_nobody_who_has_no_space_left(capsys, agent):
    agent({"browse": given([msgspec.structs.replace(ROW, free_bytes=0)])})
    out = run(capsys, "browse")[1]
    assert "1 host · nobody here has space free now" in out
    assert "connect" not in out


OTHER = msgspec.structs.replace(ROW, peer_id="bp1" + "z" * 58, free_bytes=2**32)


@pytest.mark.parametrize(
    ("rows", "advice"),
    [
        ([ROW, OTHER], "2 hosts · choose one: `backup-peer connect bp1zzzzzzzzzz --storage 4GB"),
        ([ROW], "1 host · it keeps space for you already: `backup-peer backup --home"),
    ],
)
def test_browse_does_not_advise_to_choose_whom_one_has(capsys, agent, rows, advice):
    agent({"browse": given(rows), "peers": given([make_peer(role="host", peer_id=ROW.peer_id)])})
    assert advice in run(capsys, "browse")[1]


@pytest.mark.parametrize(
    ("rooms", "advice"),
    [
        ((0,), "it keeps data for you already, and may get no more now: `backup-peer peers "),
        ((0, None), "goes to those that may get more"),
        ((10**9, None), "all of them keep space for you already: `backup-peer backup "),
    ],
)
def test_browse_sends_no_backups_where_nothing_may_go(capsys, agent, rooms, advice):
    rows = [ROW, OTHER][: len(rooms)]
    mine = [make_peer(peer_id=row.peer_id, room_bytes=room) for row, room in zip(rows, rooms, strict=True)]
    agent({"browse": given(rows), "peers": given(mine)})
    assert advice.split(":")[0] in run(capsys, "browse")[1]


@pytest.mark.parametrize(
    ("ended_by_us", "advice"),
    [
        (True, "your agreement ends: no backups go there; `backup-peer peers renew alice "),
        (False, "no backups go there\n"),
    ],
)
def test_browse_sends_no_backups_where_the_agreement_ends(capsys, agent, ended_by_us, advice):
    ending = make_peer(peer_id=ROW.peer_id, ends="2027-01-22T12:00:00Z", ended_by_us=ended_by_us)
    agent({"browse": given([ROW]), "peers": given([ending])})
    out = run(capsys, "browse")[1]
    assert advice in out
    assert "backup-peer backup" not in out


def test_space_for_space_is_said_without_a_number(capsys, agent):
    promises = api.Promised(reciprocity=1.0)
    agent({"browse": given([msgspec.structs.replace(ROW, promises=promises)])})
    assert "wants as much kept for it in return" in run(capsys, "browse")[1]


def test_whoever_is_to_offer_space_gets_a_whole_command_without_our_home(capsys, agent):
    agent({"browse": given([])})
    for filtered in ((), ("--region", "EU")):
        assert "`backup-peer host --storage 50GB` on the other machine" in run(capsys, "browse", *filtered)[2]


def test_the_owner_who_accepts_an_offer_compares_with_the_host(capsys, agent):
    for direction, other in (("in", "owner"), ("out", "host")):
        agent({"requests/accept": given(msgspec.structs.replace(PENDING, state="accepted", direction=direction))})
        out = run(capsys, "requests", "accept", "r7f3a")[1]
        assert f"the {other}'s screen shows the same words" in " ".join(out.split())


def test_browse_does_not_claim_an_availability_that_nobody_promised(capsys, agent):
    agent({"browse": given([msgspec.structs.replace(ROW, availability=0.0)])})
    _, out, _ = run(capsys, "browse")
    assert "0 %" not in out
    assert "free ≥" in out


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
    peer = make_peer(verified=False, quota_bytes=10)
    session = SessionRow(
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
    entry = api.EntryRow(
        path="a\udcff", kind="file", mode=0o644, uid=0, gid=0, size=1234567, mtime="2026-11-22T21:30:00Z"
    )
    rows = {"peers": peer, "sessions": session, "snapshots": snapshot, "requests": PENDING, "ls": entry}
    agent({verb: given([row]) for verb, row in rows.items()})
    for verb, row in rows.items():
        arguments = ["latest:/a:b"] if verb == "ls" else []
        assert ask(capsys, verb, *arguments) == (0, [[msgspec.to_builtins(row)]])
        code, out, _ = run(capsys, verb, *arguments)
        assert code == 0
        assert out.isascii()
    code, out, _ = run(capsys, "ls", "latest")
    assert out.startswith("-rw-r--r--     0     0 1.23 MB 2026-11-2")
    assert out.endswith(" a\\xff\n")


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


@pytest.mark.parametrize(
    ("agreements", "noted", "told"),
    [
        (3, 1, "no word of the newest state left yet for the recovery of 2 owners"),
        (1, 0, "no word of the newest state left yet for the recovery of 1 owner"),
        (3, 3, ""),
        (0, 0, ""),
    ],
)
def test_status_says_for_how_many_owners_no_word_is_left_in_lines_of_80_columns(
    capsys, agent, monkeypatch, *, agreements, noted, told
):
    shown_on = FakeTerminal()
    monkeypatch.setattr("sys.stdout", shown_on)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    hosting = api.HostingState(agreements=agreements, noted=noted, agreed_bytes=10**12, used_bytes=999 * 10**9)
    status = api.StatusResult(peer_id=PEER, agent="running", servers=[], sessions=0, hosting=hosting, snapshots=1)
    agent({"status": given(status)})
    assert run(capsys, "status")[0] == 0
    lines = shown_on.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    at = next(number for number, line in enumerate(lines) if line.startswith("hosting"))
    wrapped = [line for line in lines[at + 1 :] if line.startswith(" " * 13)]
    shown = " ".join(" ".join([lines[at], *wrapped]).split())
    assert shown.endswith(told)
    assert ("no word" in shown) is bool(told)
    assert len(wrapped) == bool(told), "it is carried on below the values, not below the labels"


def test_status_seen_says_which_alarms_it_repeats_no_more_and_shows_the_rest(capsys, agent):
    status = api.StatusResult(
        peer_id=PEER, agent="running", servers=[], sessions=0, hosting=api.HostingState(), snapshots=3
    )
    dummy = agent({"status": given(status), "status/seen": given(SeenAlarms(seen=["bob asked\x1b to delete 83 %"]))})
    code, out, _ = run(capsys, "status", "--seen")
    assert code == 0
    assert out.splitlines()[0] == "✓ seen: bob asked\\u001b to delete 83 %"
    assert "snapshots  3" in out
    assert [route for route, _ in dummy.requests] == ["status/seen", "status"]
    assert ask(capsys, "status", "--seen") == (0, [msgspec.to_builtins(status)])


def test_status_seen_says_when_there_is_nothing_to_see(capsys, agent):
    status = api.StatusResult(
        peer_id=PEER, agent="running", servers=[], sessions=0, hosting=api.HostingState(), snapshots=3
    )
    agent({"status": given(status), "status/seen": given(SeenAlarms(seen=[]))})
    assert run(capsys, "status", "--seen")[1].startswith("there is no alarm that ends by being seen\n")


def test_status_and_peers_say_what_is_free_now_and_what_when(capsys, agent):
    dates = {"next_free_bytes": 2 * 10**9, "next_free": "2027-01-17T12:00:00Z"}
    status = api.StatusResult(
        peer_id=PEER,
        agent="running",
        servers=[],
        sessions=0,
        hosting=api.HostingState(agreements=1, agreed_bytes=10**10, used_bytes=9 * 10**9, deleted_bytes=1, **dates),
        snapshots=0,
        storing=api.StoringState(hosts=2, agreed_bytes=10**10, used_bytes=4 * 10**9, **dates),
    )
    ended = api.StoringState(hosts=2, agreed_bytes=10**10, used_bytes=4 * 10**9, ended_bytes=5 * 10**9)
    given_away = msgspec.structs.replace(status, storing=ended)
    row = api.PeerRow(
        peer_id=PEER,
        alias="alice",
        role="host",
        verified=True,
        quota_bytes=10**10,
        used_bytes=10**10,
        safety_words="",
        last_seen="",
        trust=0.0,
        trust_level="unproven",
        **dates,
    )
    agent({"status": given(status), "peers": given([row])})
    _, out, _ = run(capsys, "status")
    assert "1 GB free now, 2 GB more on 2027-01-17" in out
    assert "4 GB of 10 GB used at 2 hosts, 6 GB free now, 2 GB more on 2027-01-17" in out
    agent({"status": given(given_away), "peers": given([row])})
    assert "at 2 hosts, 1 GB free now" in run(capsys, "status")[1], "where the agreement ends nothing is free"
    capped = msgspec.structs.replace(status.storing, withheld_bytes=6 * 10**9)
    agent({"status": given(msgspec.structs.replace(status, storing=capped)), "peers": given([row])})
    _, out, _ = run(capsys, "status")
    assert "0 B free now, 2 GB more on 2027-01-17" in out
    assert "6 GB agreed on may not be used yet: `backup-peer peers show PEER" in out
    _, out, _ = run(capsys, "peers")
    assert "alice: 0 B free now, 2 GB more on 2027-01-17" in out
    assert "at the soonest" in out


def test_peers_names_what_may_go_there_and_whose_words_differed(capsys, agent):
    dates = {"next_free_bytes": 2 * 10**9, "next_free": "2027-01-17T12:00:00Z"}
    row = make_peer(quota_bytes=10**10, used_bytes=0, room_bytes=10**9, differs=True, verified=False, **dates)
    agent({"peers": given([row])})
    out = run(capsys, "peers")[1]
    assert "1 GB free now, 2 GB more" in out
    assert "the words differed: " in out
    assert "not compared yet" not in out
    before = "bp1" + "q" * 61
    agent({"peers": given([msgspec.structs.replace(row, differed_as=before)])})
    out = run(capsys, "peers")[1]
    assert f"the words differed as {shorten_id(before)}; compare these: " in out, "nobody has compared the ones below"


@pytest.mark.parametrize(("count", "words"), [(1, "1 request waits"), (2, "2 requests wait")])
def test_status_tells_of_requests_that_wait_on_both_sides_and_of_a_home_that_only_reads(capsys, agent, count, words):
    status = api.StatusResult(
        peer_id=PEER, agent="running", servers=[], sessions=0, hosting=api.HostingState(), snapshots=2
    )
    busy = msgspec.structs.replace(status, waiting_in=count, waiting_out=1, read_only=True)
    agent({"status": given(busy)})
    _, out, _ = run(capsys, "status")
    assert f"{words} for your answer: see `backup-peer requests --home" in out
    assert "1 request of yours waits for an answer" in out
    assert "read-only: this home restores" in out
    assert "next:" not in out


def test_a_quiet_status_speaks_of_no_requests(capsys, agent):
    agent(
        {
            "status": given(
                api.StatusResult(
                    peer_id=PEER, agent="running", servers=[], sessions=0, hosting=api.HostingState(), snapshots=0
                )
            )
        }
    )
    _, out, _ = run(capsys, "status")
    assert "wait" not in out
    assert "next: `backup-peer browse" in out, "nothing was begun here yet"
    assert "read-only" not in out


def test_requests_say_why_a_host_said_no(capsys, agent):
    refused = msgspec.structs.replace(PENDING, direction="out", state="rejected", reason="no room\x1b[31m")
    agent({"requests": given([refused])})
    _, out, _ = run(capsys, "requests")
    assert "gave no space: no room\\u001b[31m" in out


def test_a_region_that_host_would_refuse_is_refused_as_a_setting(capsys, home):
    code, _, err = run(capsys, "config", "set", "region", "a very long region name")
    assert code == 2
    assert "EU or US-W" in err
    assert run(capsys, "config", "set", "region", "EU")[0] == 0
    assert run(capsys, "config", "set", "region", "")[0] == 0


def test_status_tells_a_server_that_fails_from_one_that_is_not_in_use(capsys, agent):
    servers = [
        api.ServerState(url="wss://one.example", connected=True),
        api.ServerState(url="wss://two.example", connected=False),
        api.ServerState(url="wss://three.example", connected=False, error="refused"),
    ]
    hosting = api.HostingState()
    agent(
        {
            "status": given(
                api.StatusResult(
                    peer_id=PEER, agent="running", servers=servers, sessions=0, hosting=hosting, snapshots=0
                )
            )
        }
    )
    _, out, _ = run(capsys, "status")
    assert "✓ wss://one.example  connected\n" in out
    assert "· wss://two.example  not in use\n" in out
    assert "✗ wss://three.example  refused (never reached)\n" in out


def test_peers_explain_the_mark_and_how_a_comparison_is_recorded(capsys, agent):
    peer = make_peer()
    record = "backup-peer peers verify alice"
    answers = [peer, *(msgspec.structs.replace(peer, verified=False, role=role) for role in ("host", "both", "owner"))]

    async def peers(request, emit):
        return [answers.pop(0)]

    agent({"peers": peers})
    _, out, _ = run(capsys, "peers")
    assert "♥ = you compared" in out
    assert record not in out
    for _ in range(3):
        _, out, _ = run(capsys, "peers")
        assert WORDS in out
        assert record in out


def test_a_narrow_terminal_cuts_the_name_of_a_friend_and_never_the_mark(capsys, agent, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = FakeTerminal()
    monkeypatch.setattr("sys.stdout", shown)
    agent({"peers": given([make_peer(alias="my neighbour across the road", last_seen="2026-11-22T21:30:00Z")])})
    assert run(capsys, "peers")[0] == 0
    (row,) = [line for line in shown.getvalue().splitlines() if "my host" in line]
    assert "♥ my" in row
    assert "…" in row
    assert len(row) <= 80


def test_a_comparison_is_recorded_on_either_side(capsys, agent):
    row = make_peer(alias="bob", role="owner")
    dummy = agent({"peers/set": given(row)})
    assert ask(capsys, "peers set", "bob", "--verified")[0] == 0
    assert (dummy.requests[0][1].peer, dummy.requests[0][1].verified) == ("bob", True)
    assert run(capsys, "peers", "set", "bob")[0] == 2
    assert len(dummy.requests) == 1


def test_a_peer_is_given_a_name(capsys, agent):
    dummy = agent({"peers/set": given(make_peer(alias="bob"))})
    code, out, _ = run(capsys, "peers", "set", PEER, "--name", "bob")
    assert code == 0
    assert out == f"recorded: {PEER[:13]} is bob\n"
    assert dummy.requests[0][1] == api.PeerSetting(peer=PEER, name="bob")


def test_an_unknown_option_is_answered_with_where_all_are_told(capsys, home):
    assert "all there is: `backup-peer peers set --help`" in run(capsys, "peers", "set", "bob", "--nmae", "x")[2]
    assert "for example: `--limit 20`" in run(capsys, "browse", "--limit", "x")[2]


def test_an_example_has_what_was_typed_of_a_choice(capsys, home):
    assert "for example: `backup-peer config set region VALUE" in run(capsys, "config", "set", "region")[2]
    assert "for example: `backup-peer config set KEY VALUE" in run(capsys, "config", "set")[2]


def test_accepting_shows_whom_and_the_words_that_the_owner_sees(capsys, agent):
    agent({"requests/accept": given(msgspec.structs.replace(PENDING, state="accepted"))})
    _, out, _ = run(capsys, "requests", "accept", "r7f3a")
    for part in (PEER, WORDS, "10 GB", "kept for 1 y", "the same words", f"peers verify {PEER[:13]} "):
        assert part in out


def test_who_was_given_a_name_is_verified_by_it(capsys, agent):
    agent({"requests/accept": given(msgspec.structs.replace(PENDING, state="accepted", alias="old bob"))})
    assert "`backup-peer peers verify 'old bob'" in run(capsys, "requests", "accept", "r7f3a", "--name", "old bob")[1]


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


def test_only_the_last_no_to_a_peer_is_told(capsys, agent):
    no = msgspec.structs.replace(PENDING, state="rejected")
    other = msgspec.structs.replace(no, direction="out", reason="too much")
    agent({"requests": given([no, other, msgspec.structs.replace(no, request_id="second"), other])})
    _, out, _ = run(capsys, "requests")
    assert (out.count("is refused the same"), out.count("gave no space")) == (1, 1)
    assert "accept second" in out
    assert out.count("\n\n") == 1


def test_a_rejected_request_shows_how_to_take_the_no_back(capsys, agent):
    rejected = msgspec.structs.replace(PENDING, state="rejected")
    agent({"requests": given([rejected]), "requests/reject": given(rejected)})
    for words in (["requests"], ["requests", "reject", "r7f3a"]):
        code, out, _ = run(capsys, *words)
        assert code == 0
        assert "7 days" in out
        assert "if you change your mind: `backup-peer requests accept r7f3a --home" in out


def test_the_table_of_requests_fits_80_columns_with_ids_and_times_whole(capsys, agent, monkeypatch):
    shown = FakeTerminal()
    request = msgspec.structs.replace(PENDING, request_id="0123456789abcdef" * 2, alias="a" * 60, state="accepted")
    agent({"requests": given([request])})
    monkeypatch.setattr("sys.stdout", shown)
    assert main(["requests"]) == 0
    _, row = shown.getvalue().splitlines()
    assert len(row) <= 80
    assert row.startswith("01234567  from  bp1qqqsyqcyq5  aaa")
    assert re.search(r"accepted  2026-11-2\d \d\d:\d\d$", row)


def test_disconnect_tells_whether_there_was_a_session(capsys, agent):
    agent({"disconnect": given(DisconnectResult(peer_id=PEER, closed=True))})
    done = {"event": "done", "peer_id": PEER, "closed": True, "cut": 0, "rest_s": 0}
    assert ask(capsys, "disconnect", "alice") == (0, [done])


# --- streams
def test_a_closed_pipe_ends_a_verb_quietly(agent, home):
    rows = [msgspec.structs.replace(ROW, alias="x" * 1000)] * 200
    agent({"browse": given(rows)})
    command = [sys.executable, "-m", "backuppeer.cli.main", "browse", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    process.stdout.close()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 141, "as of any program that SIGPIPE ends: nobody interrupted it"
    assert err == b""


def test_output_onto_a_full_disk_is_one_error_and_nothing_of_python(agent, home):
    agent({"browse": given([ROW])})
    for words in (["browse", "--json"], ["browse"]):
        with Path("/dev/full").open("wb") as full:
            command = [sys.executable, "-m", "backuppeer.cli.main", *words]
            process = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False, timeout=30)
        assert process.returncode == 13
        *_, error, hint = process.stderr.decode().splitlines()
        assert error == "error: a disk of this machine is full: standard output can't be written"
        assert hint.startswith("hint: ")
        assert "Exception" not in process.stderr.decode()


def test_ctrl_c_during_a_backup_cancels_it_and_exits_130(capsys, agent, tmp_path):
    cancelled = threading.Event()

    async def backup(request, emit):
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    agent({"backup": backup})
    code, _, err = run(capsys, "backup", str(tmp_path))
    assert code == 130
    assert err == "stopped; what a host has stored is kept\nhint: the same command goes on from there\n"
    assert cancelled.wait(10)


def test_ctrl_c_during_a_restore_names_the_folder_and_exits_130(capsys, agent, tmp_path):
    async def restore(request, emit):
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()

    agent({"restore": restore})
    code, out, err = run(capsys, "restore", "latest", "--target", str(tmp_path / "t"), "--json")
    assert code == 130
    assert f"stopped; finished files stay in {tmp_path / 't'}\n" in err
    assert check_output("restore", out)[-1]["code"] == 130


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


def test_a_server_refuses_limits_that_are_none_half_a_certificate_and_a_password_that_all_can_see(capsys, tmp_path):
    def refused(*options):
        code, _, err = run(capsys, "server", "--listen", "127.0.0.1:0", *options)
        assert code == 2
        return err

    assert "one of listings, " in refused("--limit", "speed=3")
    assert "for example connections=60000" in refused("--limit", "connections=-1")
    assert "can't be '0': it is a whole number, 1 or more" in refused("--limit", "connections=0")
    assert "the least is 10kB" in refused("--relay-rate", "20")
    assert "for example network-pages=4000+100".replace("-", "_") in refused("--limit", "network-pages=7")
    assert "go together" in refused("--tls-cert", str(tmp_path / "a.pem"))
    assert "No such file" in refused("--tls-cert", str(tmp_path / "a"), "--tls-key", str(tmp_path / "b"))
    assert "not a proxy's address" in refused("--trusted-proxy", "my-proxy")
    assert "not the address of a Valkey" in refused("--cluster", "http://127.0.0.1")
    said = refused("--cluster", "valkey://:s3cret@127.0.0.1/0")
    assert "BACKUPPEER_CLUSTER" in said
    assert "s3cret" not in said


def test_a_server_with_a_certificate_reads_it_again_on_sighup_and_keeps_the_former_if_it_does_not_fit(tmp_path):
    chain, _ = make_certificate(tmp_path)
    options = ("--listen", "127.0.0.1:0", "--tls-cert", str(chain), "--tls-key", str(tmp_path / "key.pem"))
    command = [sys.executable, "-m", "backuppeer.cli.main", "server", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            lines = iter(process.stdout.readline, "")
            assert "clients use: --server wss://127.0.0.1:" in next(line for line in lines if "clients" in line)
            process.send_signal(signal.SIGHUP)
            assert "new connections see it" in next(line for line in lines if "certificate" in line)
            chain.write_text("broken")
            process.send_signal(signal.SIGHUP)
            assert "the former certificate is used on" in next(line for line in lines if "certificate" in line)
        finally:
            process.terminate()
        assert process.wait(20) == 0


def test_a_server_says_where_it_keeps_notes_and_refuses_a_folder_that_can_not_be_one(capsys, tmp_path):
    assert "within a day" in _describe_notes(None, 0)
    assert "--data DIR keeps them" in _describe_notes(None, 0)
    assert _describe_notes(tmp_path / "d", 3) == f"recovery notes are kept in {tmp_path / 'd'} (3 notes)"
    (tmp_path / "file").write_text("mine")
    code, _, err = run(capsys, "server", "--listen", "127.0.0.1:0", "--data", str(tmp_path / "file"))
    assert code == 2
    assert "--data: " in err
    assert "is a file" in err


def test_a_server_says_what_it_relays_and_which_ports_peers_ask_for_their_address():
    relaying = SimpleNamespace(observer_ports=[443, 444], at="")
    assert describe_relay(relaying, 20_000_000) == (
        "relays up to 20 MB/s between peers that can't reach each other directly; "
        "peers ask 443/udp, 444/udp for their address outside: let these in, too"
    )
    assert describe_relay(SimpleNamespace(observer_ports=[], at=""), 20_000_000).endswith("directly")
    node = SimpleNamespace(observer_ports=[], at="wss://node-a.example.org")
    assert describe_relay(node, 20_000_000).endswith(
        "; as wss://node-a.example.org, where clients must reach this node"
    )
    assert describe_relay(None, 0).endswith("by this server")
    assert describe_relay(None, 0, is_shared=True).endswith("by this server")
    assert describe_relay(None, 1, is_shared=True).endswith("--relay-url gives each node a relay of its own")


@pytest.mark.parametrize(
    "words",
    [
        ["--observe", "here:1"],
        ["--observe", "1.2.3.4"],
        ["--relay-rate", "much"],
        ["--relay-url", "https://a.example"],
        ["--relay-url", "wss://a.example/below"],
    ],
)
def test_a_server_refuses_what_is_no_place_for_observers_no_rate_and_no_address(capsys, words):
    assert run(capsys, "server", "--listen", "127.0.0.1:0", *words)[0] == 2


def test_a_relayed_session_says_how_fast_it_is_and_why_it_is_relayed(capsys, agent):
    session = SessionRow(
        peer_id=PEER,
        alias="alice",
        state="idle",
        path="relayed",
        rtt_ms=41,
        sent_bytes=1,
        received_bytes=2,
        since="2026-11-22T21:30:00Z",
        path_reason="both NATs are symmetric",
        bytes_per_s=2_100_000,
    )
    agent({"sessions": given([session])})
    _, out, _ = run(capsys, "sessions")
    assert out.splitlines()[-1] == "alice: relayed at 2.1 MB/s because both NATs are symmetric"


def test_status_says_what_lies_before_this_machine_and_how_many_sessions_are_relayed(capsys, agent):
    status = api.StatusResult(
        peer_id=PEER,
        agent="running",
        servers=[],
        sessions=3,
        hosting=api.HostingState(),
        snapshots=0,
        relayed=1,
        network="behind a NAT",
    )
    agent({"status": given(status)})
    _, out, _ = run(capsys, "status")
    assert "network    behind a NAT" in out.splitlines()
    assert "sessions   3, 1 of them relayed" in out.splitlines()


@pytest.mark.parametrize("words", [["--quiet", "--verbose"], ["-q", "-v"]])
def test_quiet_and_verbose_are_two_wishes(agent, capsys, words):
    agent({})
    code, _, err = run(capsys, "snapshots", *words)
    assert code == 2
    assert "--quiet and --verbose are two wishes" in err
