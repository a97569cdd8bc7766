"""`check` in front of people and programs, against a scripted agent."""

import msgspec
import pytest

from backuppeer.cli.check import read_subset
from backuppeer.control.checking import CheckedHost, CheckRequest, CheckResult, Problem, Repair, RepairResult
from backuppeer.control.inspection import StatsResult
from backuppeer.control.saving import LeftOut
from backuppeer.errors import UserError
from cli.rows import ERROR_FILE, PROGRESS, ask, run
from control.dummy import PEER, telling

HOST = CheckedHost(peer_id=PEER, alias="alice", reached=True, head=3, copies=12, unread=12)
WHOLE = CheckResult(
    snapshots=2,
    packs=12,
    problems=[],
    files_hit=0,
    snapshots_hit=[],
    read_copies=0,
    read_bytes=0,
    copies=12,
    unread_copies=12,
    oldest_verified="",
    hosts=[HOST],
    repairs=[],
    left_out=[],
    seconds=1.5,
)
DAMAGED = msgspec.structs.replace(
    WHOLE,
    problems=[
        Problem(about="packs", text="alice returned 1 pack wrong\x1b[2J", peer_id=PEER),
        Problem(about="snapshots", text="files and folders with no host whole: 1, in snapshots: 1"),
    ],
    files_hit=1,
    snapshots_hit=["aa" * 32],
    hosts=[msgspec.structs.replace(HOST, damaged=1, unread=3, oldest_verified="2026-11-22T21:30:00Z")],
    repairs=[Repair(action="copies", text="send again 1 pack to alice")],
    read_copies=9,
    read_bytes=9_000_000,
)
GONE = LeftOut(peer_id=PEER, name="alice", reason="no answer", hint="")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5%", CheckRequest(percent=5)),
        ("0.5 %", CheckRequest(percent=0.5)),
        ("100%", CheckRequest(percent=100)),
        ("2/10", CheckRequest(part=2, parts=10)),
        ("1/1", CheckRequest(part=1, parts=1)),
        ("500MB", CheckRequest(most_bytes=500_000_000)),
        ("500M", CheckRequest(most_bytes=500_000_000)),
        ("1GiB", CheckRequest(most_bytes=2**30)),
    ],
)
def test_a_share_is_read_as_written(text, expected):
    assert read_subset(text, read_data=False) == expected


@pytest.mark.parametrize("text", ["0%", "101%", "-5%", "0/3", "4/3", "1/0", "0", "0MB", "five", "5%%", "1/2/3", " "])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(UserError):
        read_subset(text, read_data=False)


def test_a_share_beside_all_is_refused(capsys, agent):
    agent({})
    code, _, err = run(capsys, "check", "--read-data", "--read-data-subset", "5%")
    assert code == 2
    assert "leave out --read-data-subset" in err


def test_a_whole_backup_is_told_with_how_much_of_it_was_ever_read(capsys, agent):
    dummy = agent({"check": telling([PROGRESS], WHOLE)})
    code, out, _ = run(capsys, "check")
    assert code == 0
    assert out.startswith("✓ checked 2 snapshots, 12 packs in 2 s\n")
    assert "alice (bp1qqqsyqcyq5): 12 copies, none was ever read back: see --read-data-subset" in out
    code, lines = ask(capsys, "check", "--snapshot", "aaaa", "--read-data")
    assert (code, lines[-1]) == (0, {"event": "done", **msgspec.to_builtins(WHOLE)})
    assert (dummy.requests[-1][1].snapshots, dummy.requests[-1][1].read_data) == (["aaaa"], True)


def test_damage_is_told_line_by_line_and_is_exit_15(capsys, agent):
    agent({"check": telling([ERROR_FILE], DAMAGED)})
    code, out, err = run(capsys, "check", "--read-data")
    assert code == 15
    assert "✗ alice returned 1 pack wrong\\u001b[2J" in out
    assert "read 9 MB in 9 copies" in out
    assert "1 wrong, 3 never read back, the oldest reading is of 2026-11-22" in out
    assert "error: 2 problems were found, the first: alice returned 1 pack wrong" in err
    assert "hint: `backup-peer check --repair" in err
    code, lines = ask(capsys, "check")
    assert (code, [line["event"] for line in lines]) == (15, ["error-file", "done", "error"])


@pytest.mark.parametrize(("reached", "expected", "word"), [(True, 3, "not all could"), (False, 11, "no host could")])
def test_hosts_that_were_not_asked_are_named(capsys, agent, reached, expected, word):
    hosts = (
        [HOST, msgspec.structs.replace(HOST, reached=False)]
        if reached
        else [msgspec.structs.replace(HOST, reached=False)]
    )
    agent({"check": telling([], msgspec.structs.replace(WHOLE, left_out=[GONE], hosts=hosts))})
    code, out, err = run(capsys, "check")
    assert code == expected
    assert "not asked, as it can't be reached" in out
    assert word in err
    assert "alice: no answer" in err


class Twice:
    """Answers the first check with damage, the next ones with none."""

    def __init__(self):
        self.left = [DAMAGED]

    async def __call__(self, request, emit):
        return self.left.pop() if self.left else WHOLE


WAYS = [("check", "--repair"), ("repair",)]


@pytest.mark.parametrize("words", WAYS)
def test_a_repair_shows_its_plan_does_just_that_and_checks_again(capsys, agent, words):
    done = RepairResult(done=["alice holds every pack"], resent=0, left_out=[])
    dummy = agent({"check": Twice(), "repair": telling([], done)})
    code, out, _ = run(capsys, *words, "--yes")
    assert code == 0
    assert "a repair would\n  - send again 1 pack to alice\n" in out
    assert "snapshots that are not whole stay in the list: aaaaaaaa" in out
    assert "✓ alice holds every pack\n✓ checked 2 snapshots" in out
    assert [route for route, _ in dummy.requests if route != "ping"] == ["check", "repair", "check"]
    (asked,) = [request for route, request in dummy.requests if route == "repair"]
    assert asked.actions == ["copies"]


@pytest.mark.parametrize("words", WAYS)
def test_a_repair_with_json_tells_plan_and_outcome(capsys, agent, words):
    agent({"check": Twice(), "repair": telling([], RepairResult(done=[], resent=2, left_out=[]))})
    code, lines = ask(capsys, *words, "--yes")
    assert (code, [line["event"] for line in lines]) == (0, ["plan", "repaired", "done"])


@pytest.mark.parametrize(("typed", "code"), [("y\n", 0), ("\n", 13)])
def test_a_repair_asks_and_a_no_changes_nothing(capsys, agent, terminal, typed, code):
    dummy = agent({"check": Twice(), "repair": telling([], RepairResult(done=[], resent=0, left_out=[]))})
    shown = terminal(typed)
    assert run(capsys, "check", "--repair")[0] == code
    assert "repair this? No data is deleted [y/N]" in shown.getvalue()
    assert ("repair" in [route for route, _ in dummy.requests]) is (code == 0)


def test_a_repair_without_a_terminal_and_without_yes_is_exit_2(capsys, agent):
    dummy = agent({"check": telling([], DAMAGED)})
    assert run(capsys, "check", "--repair")[0] == 2
    assert "repair" not in [route for route, _ in dummy.requests]


def test_nothing_to_repair_asks_nobody(capsys, agent):
    dummy = agent({"check": telling([], WHOLE)})
    assert run(capsys, "check", "--repair")[0] == 0
    assert "repair" not in [route for route, _ in dummy.requests]
    lost = msgspec.structs.replace(DAMAGED, repairs=[])
    dummy = agent({"check": telling([], lost)})
    code, _, err = run(capsys, "check", "--repair")
    assert code == 15
    assert "there is nothing that a repair could do about this" in err
    assert "`backup-peer forget" in err


# --- a settings file that can't be read
STATS = StatsResult(
    snapshots=[],
    files=0,
    dirs=0,
    bytes=0,
    unique_bytes=0,
    stored_bytes=0,
    blobs=0,
    data_blobs=0,
    packs=0,
    compression_ratio=1.0,
    dedup_ratio=1.0,
    missing_blobs=0,
    hosts=[],
)


@pytest.mark.parametrize("content", [b"servers = [", b"colour = 'blue'\n", b"\xff\xfe\x00"])
def test_damaged_settings_break_no_command_and_never_mean_the_default_server(capsys, agent, home, content, monkeypatch):
    monkeypatch.delenv("BACKUPPEER_SERVERS", raising=False)
    (home / "config.toml").write_bytes(content)
    dummy = agent({"check": telling([], WHOLE), "stats": telling([], STATS)})
    for verb in ("check", "stats"):
        code, _, err = run(capsys, verb)
        assert code == 0
        assert "note: no signaling server is used" in err
        assert "config.toml" in err
        assert dummy.requests[-1][1].servers == []
    assert (home / "config.toml").read_bytes() == content


def test_a_host_that_lacks_packs_says_so_and_a_check_of_all_that_is_whole_ends_well(capsys, agent):
    hosts = [HOST, msgspec.structs.replace(HOST, copies=0, unread=0, lacking=12, lacking_bytes=44_300_000)]
    agent({"check": telling([], msgspec.structs.replace(WHOLE, hosts=hosts))})
    code, out, err = run(capsys, "check")
    assert code == 0
    assert "): 0 copies, lacks 12 packs (44.3 MB) that others have\n" in out
    assert "hint: `backup-peer backup" in err
    agent({"check": telling([], WHOLE)})
    assert "hint" not in run(capsys, "check")[2]
