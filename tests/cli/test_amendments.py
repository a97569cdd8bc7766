"""`forget`, `tag` and the filters and groups of `snapshots`, against a scripted agent."""

import time

import msgspec
import pytest

from backuppeer.cli.selection import name_group, read_fields
from backuppeer.cli.zone import find_zone
from backuppeer.control.amendments import ForgetGroup, ForgetPlan, ForgetResult, PlannedRow, Tagged, TagResult
from backuppeer.control.api import SnapshotRow
from backuppeer.control.saving import LeftOut
from backuppeer.errors import NotFoundError, PeerUnreachable
from cli.rows import PROGRESS, ask, run
from cli.test_prune import PLAN as PRUNE
from control.dummy import PEER, given, telling


def planned(name, *reasons, **fields):
    return PlannedRow(
        snapshot=name * 32,
        kept=bool(reasons),
        time=fields.get("time", "2026-11-22T21:30:00Z"),
        host="h",
        paths=["/a\udcff"],
        tags=fields.get("tags", []),
        reasons=list(reasons),
    )


GROUP = ForgetGroup(
    set="",
    host="laptop\x1b",
    paths=["/a\udcff"],
    snapshots=[planned("aa"), planned("bb", "last", "oldest daily"), planned("cc", "tag work", tags=["work"])],
)
PLAN = ForgetPlan(groups=[GROUP], forgotten=1, kept=2, digest="d1")
FORGOTTEN = ForgetResult(forgotten=["aa" * 32], kept=2, peers=[PEER])
AWAY = LeftOut(peer_id=PEER, name="carol", reason="no answer", hint="the next backup tells it")
TAGGED = TagResult(
    changed=[Tagged(snapshot="bb" * 32, before="aa" * 32, tags=["x", "y\x1b"])], unchanged=1, peers=[PEER]
)


@pytest.fixture(autouse=True)
def _berlin(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


# --- forget
def test_forget_sends_its_rules_filters_and_zone_and_does_what_was_planned(capsys, agent, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dummy = agent({"forget/plan": given(PLAN), "forget": telling([PROGRESS], FORGOTTEN)})
    rules = "--keep-last 1 --keep-hourly 2 --keep-daily 3 --keep-weekly 4 --keep-monthly 5 --keep-yearly -1"
    more = "--keep-within 1y2d --keep-tag a --keep-tag b --tag t --host h --host i --path docs/ --group-by host,set"
    code, lines = ask(capsys, "forget", *rules.split(), *more.split(), "--yes")
    assert code == 0
    assert lines[0] == {"event": "plan", **msgspec.to_builtins(PLAN)}
    assert lines[-1] == {"event": "done", **msgspec.to_builtins(FORGOTTEN)}
    (first, asked), (second, done) = dummy.requests
    assert (first, second) == ("forget/plan", "forget")
    assert [asked.keep_last, asked.keep_hourly, asked.keep_daily, asked.keep_weekly] == [1, 2, 3, 4]
    assert (asked.keep_monthly, asked.keep_yearly, asked.keep_within_s) == (5, -1, 367 * 86400)
    assert (asked.keep_tags, asked.tags, asked.hosts) == (["a", "b"], ["t"], ["h", "i"])
    assert (asked.path, asked.group_by, asked.zone) == (str(tmp_path / "docs"), ["host", "set"], "Europe/Berlin")
    assert asked.agreed == ""
    assert done.agreed == "d1"
    assert msgspec.structs.replace(done, agreed="") == asked


def test_forget_shows_what_stays_and_why_and_what_goes(capsys, agent):
    agent({"forget/plan": given(PLAN), "forget": telling([], FORGOTTEN)})
    code, out, _ = run(capsys, "forget", "--keep-last", "1", "--yes")
    assert code == 0
    assert out.startswith("laptop\\u001b, /a\\xff\nsnapshot  time              plan    why                 tags\n")
    assert [line.split() for line in out.splitlines()[2:5]] == [
        ["aaaaaaaa", "2026-11-22", "22:30", "forget"],
        ["bbbbbbbb", "2026-11-22", "22:30", "keep", "last,", "oldest", "daily"],
        ["cccccccc", "2026-11-22", "22:30", "keep", "tag", "work", "work"],
    ]
    assert "✓ forgot 1 snapshot, 2 left\n  what only they held stays with the hosts until `backup-peer prune" in out


@pytest.mark.parametrize(("typed", "code"), [("y\n", 0), ("\n", 13)])
def test_forget_asks_and_a_no_changes_nothing(capsys, agent, terminal, typed, code):
    dummy = agent({"forget/plan": given(PLAN), "forget": telling([], FORGOTTEN)})
    shown = terminal(typed)
    assert run(capsys, "forget", "aaaa")[0] == code
    assert "forget 1 snapshot, keep 2? [y/N]" in shown.getvalue()
    assert ("forget" in [route for route, _ in dummy.requests]) is (code == 0)


def test_forget_without_a_terminal_and_without_yes_is_exit_2_and_changes_nothing(capsys, agent):
    dummy = agent({"forget/plan": given(PLAN)})
    code, _, err = run(capsys, "forget", "aaaa")
    assert code == 2
    assert "1 snapshot would be forgotten" in err
    assert [route for route, _ in dummy.requests] == ["forget/plan"]


def test_a_dry_run_shows_the_plan_and_asks_and_changes_nothing(capsys, agent):
    dummy = agent({"forget/plan": given(PLAN)})
    code, out, _ = run(capsys, "forget", "--keep-last", "1", "--dry-run")
    assert code == 0
    assert out.endswith("would forget 1 snapshot, keep 2\n")
    code, lines = ask(capsys, "forget", "--keep-last", "1", "-n")
    assert (code, lines[-1]["forgotten"], lines[-1]["kept"]) == (0, ["aa" * 32], 2)
    assert {route for route, _ in dummy.requests} == {"forget/plan"}


def test_nothing_to_forget_is_said_and_asks_nobody(capsys, agent):
    agent({"forget/plan": given(ForgetPlan(groups=[], forgotten=0, kept=0, digest="d"))})
    assert run(capsys, "forget", "--keep-last", "1")[:2] == (0, "nothing to forget\n")


def test_hosts_that_are_away_are_named_and_the_exit_code_is_0(capsys, agent):
    agent({"forget/plan": given(PLAN), "forget": telling([], msgspec.structs.replace(FORGOTTEN, left_out=[AWAY]))})
    code, _, err = run(capsys, "forget", "aaaa", "--yes")
    assert code == 0
    assert "note: carol still has the old list: the next backup tells it\n" in err


@pytest.mark.parametrize(("error", "code"), [(NotFoundError("there is no snapshot aaaa"), 10)])
def test_forget_of_what_is_not_there_is_told_before_any_question(capsys, agent, error, code):
    agent({"forget/plan": given(error)})
    assert run(capsys, "forget", "aaaa", "--yes")[0] == code


def test_when_no_host_could_be_told_the_exit_code_is_11(capsys, agent):
    agent({"forget/plan": given(PLAN), "forget": telling([], PeerUnreachable("nothing was changed: away"))})
    code, lines = ask(capsys, "forget", "aaaa", "--yes")
    assert (code, [line["event"] for line in lines]) == (11, ["plan", "error"])


def test_minutes_in_keep_within_are_pointed_out_and_wrong_numbers_refused(capsys, agent):
    dummy = agent({"forget/plan": given(ForgetPlan(groups=[], forgotten=0, kept=0, digest="d"))})
    err = run(capsys, "forget", "--keep-within", "2y5m7d3h")[2]
    assert "m is minutes here, mo is months" in err
    assert dummy.requests[0][1].keep_within_s == (2 * 365 + 7) * 86400 + 3 * 3600 + 5 * 60
    assert "minutes" not in run(capsys, "forget", "--keep-within", "2y5mo7d3h")[2]
    for wrong in (["--keep-within", "soon"], ["--keep-within", "0d"], ["--keep-daily", "x"], ["--keep-last", "0"]):
        assert run(capsys, "forget", *wrong)[0] == 2
    assert "--keep-last 0 keeps nothing" in run(capsys, "forget", "--keep-last", "0", "--keep-daily", "3")[2]


def test_a_dry_run_with_prune_says_what_the_prune_would_free_without_what_is_forgotten(capsys, agent):
    dummy = agent({"forget/plan": given(PLAN), "prune/plan": telling([], PRUNE)})
    code, out, _ = run(capsys, "forget", "aaaa", "--prune", "--dry-run")
    assert code == 0
    assert "would delete 2 packs and pack 1 pack anew\n  that is about: " in out
    assert [route for route, _ in dummy.requests] == ["forget/plan", "prune/plan"]
    assert dummy.requests[-1][1].without == ["aa" * 8]
    code, lines = ask(capsys, "forget", "aaaa", "--prune", "-n")
    assert ([line["event"] for line in lines], lines[-1]["pruned"]["freed_bytes"]) == (
        ["plan", "prune-plan", "done"],
        30_000_000,
    )


def test_a_dry_run_with_prune_beside_hosts_that_are_away_still_says_what_is_forgotten(capsys, agent):
    agent({"forget/plan": given(PLAN), "prune/plan": telling([], PeerUnreachable("nothing was pruned: away"))})
    code, out, err = run(capsys, "forget", "aaaa", "--prune", "--dry-run")
    assert (code, "would forget 1 snapshot" in out) == (0, True)
    assert "what a prune would then free is not known: nothing was pruned: away" in err


def test_a_dry_run_with_prune_of_nothing_prunes_nothing(capsys, agent):
    agent({"forget/plan": given(ForgetPlan(groups=[], forgotten=0, kept=3, digest="d"))})
    assert "so nothing is pruned" in run(capsys, "forget", "--keep-last", "9", "--prune")[1]


def test_missing_snapshots_and_groups_without_paths_have_their_columns(capsys, agent):
    group = ForgetGroup(set="", host="", paths=[], snapshots=[planned("aa", time="")])
    agent({"forget/plan": given(ForgetPlan(groups=[group], forgotten=1, kept=0, digest="d"))})
    out = run(capsys, "forget", "aaaa", "-n", "--group-by", "")[1]
    assert out.startswith("all snapshots\nsnapshot  time     plan    why  tags  paths\naaaaaaaa  missing  forget")


# --- tag
def test_tag_shows_the_new_ids(capsys, agent):
    dummy = agent({"tag": telling([PROGRESS], msgspec.structs.replace(TAGGED, left_out=[AWAY]))})
    code, out, err = run(capsys, "tag", "aaaa", "latest", "--add", "x", "--add", "y", "--remove", "z")
    assert code == 0
    unchanged = "  1 snapshot had the tags to add already, and none to remove\n"
    assert out == f"✓ snapshot aaaaaaaa is now bbbbbbbb: x, y\\u001b\n{unchanged}"
    assert "carol still has the old list" in err
    request = dummy.requests[0][1]
    assert (request.snapshots, request.add, request.remove) == (["aaaa", "latest"], ["x", "y"], ["z"])
    assert request.replace is None
    assert "1 snapshot had these tags already\n" in run(capsys, "tag", "aaaa", "--add", "x")[1]
    assert "1 snapshot had no such tag to remove" in run(capsys, "tag", "aaaa", "--remove", "nope")[1]
    code, lines = ask(capsys, "tag", "aaaa", "--set", "x")
    assert (code, lines[-1]["changed"][0]["snapshot"]) == (0, "bb" * 32)


@pytest.mark.parametrize(("words", "replace"), [(["--set", "a", "--set", "b"], ["a", "b"]), (["--set", ""], [])])
def test_set_replaces_all_tags_and_an_empty_one_takes_them_off(capsys, agent, words, replace):
    dummy = agent({"tag": telling([], TAGGED)})
    assert run(capsys, "tag", "aaaa", *words)[0] == 0
    assert dummy.requests[0][1].replace == replace


def test_tag_without_a_snapshot_is_exit_2(capsys, agent):
    assert run(capsys, "tag", "--add", "x")[0] == 2


# --- snapshots
def row(name, host, paths, **fields):
    moment = "2026-11-22T21:30:00Z"
    return SnapshotRow(
        snapshot=name * 32, time=moment, paths=paths, files=1, bytes=2, peers=[PEER], host=host, **fields
    )


ROWS = [
    msgspec.structs.replace(row("dd", "", []), missing=True),
    row("aa", "two", ["/a"]),
    row("bb", "one\x1b", ["/b", "/a"], tags=["t"]),
    row("cc", "two", ["/a"], set="s", original="ee" * 32),
]


def test_snapshots_passes_on_its_filters(capsys, agent, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dummy = agent({"snapshots": given(ROWS)})
    words = "--tag a --tag b --host h --path docs/ --latest 3 --group-by host"
    assert ask(capsys, "snapshots", *words.split()) == (0, [msgspec.to_builtins(ROWS)])
    request = dummy.requests[0][1]
    assert (request.tags, request.hosts, request.path) == (["a", "b"], ["h"], str(tmp_path / "docs"))
    assert (request.latest, request.group_by) == (3, ["host"])
    assert run(capsys, "snapshots", "--latest", "0")[0] == 2


def test_without_snapshots_it_says_what_makes_one_here_or_that_none_is_like_that(capsys, agent, home):
    agent({"snapshots": given([])})
    assert f"no snapshots; `backup-peer backup PATH --home {home}`" in run(capsys, "snapshots")[1]
    assert run(capsys, "snapshots", "--tag", "a")[1] == "no snapshots are like that\n"


def test_groups_have_headings_and_without_group_by_there_are_none(capsys, agent):
    dummy = agent({"snapshots": given(ROWS)})
    plain = run(capsys, "snapshots")[1]
    assert [line[:8] for line in plain.splitlines()[1:]] == ["dddddddd", "aaaaaaaa", "bbbbbbbb", "cccccccc"]
    assert dummy.requests[0][1].group_by == ["set", "host", "paths"]
    out = run(capsys, "snapshots", "--group-by", "host")[1]
    parts = [part.splitlines() for part in out.split("\n\n")]
    assert [part[0] for part in parts] == ["lost or withheld by the hosts", "one\\u001b", "two"]
    assert [line[:8] for line in parts[2][2:]] == ["aaaaaaaa", "cccccccc"]
    out = run(capsys, "snapshots", "--group-by", "set,host,paths")[1]
    heads = [part.splitlines()[0] for part in out.split("\n\n")]
    assert heads == ["lost or withheld by the hosts", "one\\u001b, /a /b", "two, /a", "set s, two"]


def test_fields_are_read_from_a_list_with_commas():
    assert read_fields("set, host") == ["set", "host"]
    assert read_fields("") == []
    assert name_group("", "", []) == "all snapshots"


# --- zone
@pytest.mark.parametrize(
    ("said", "zone"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        (":America/New_York", "America/New_York"),
        ("/usr/share/zoneinfo/Asia/Tokyo", "Asia/Tokyo"),
        ("", "UTC"),
        ("CET-1CEST,M3.5.0,M10.5.0/3", ""),
        ("/etc/hosts", ""),
        ("../../etc/passwd", ""),
        ("Nowhere/Land", ""),
    ],
)
def test_the_zone_of_the_terminal_has_a_name_where_tz_is_one(monkeypatch, said, zone):
    monkeypatch.setenv("TZ", said)
    assert find_zone() == zone


def test_without_tz_the_systems_link_names_it(monkeypatch, tmp_path):
    monkeypatch.delenv("TZ")
    link = tmp_path / "localtime"
    assert find_zone(link) == ""
    link.symlink_to("/usr/share/zoneinfo/posix/Europe/Paris")
    assert find_zone(link) == "Europe/Paris"
