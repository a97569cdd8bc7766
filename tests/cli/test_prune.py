"""`prune` and `forget --prune` against a scripted agent."""

import msgspec
import pytest

from backuppeer.cli.prune import read_unused
from backuppeer.control.amendments import ForgetPlan, ForgetResult
from backuppeer.control.pruning import PruneHost, PrunePlan, PruneResult
from backuppeer.control.saving import LeftOut
from backuppeer.errors import IntegrityFault, UserError
from cli.rows import PROGRESS, ask, run
from control.dummy import PEER, given, telling

ALICE = PruneHost(
    peer_id=PEER,
    name="alice\x1b",
    packs=3,
    bytes=30_000_000,
    at_once_bytes=0,
    lock_s=30 * 86400,
    until="2026-12-27T20:00:00Z",
    told=True,
)
CAROL = msgspec.structs.replace(ALICE, name="carol", told=False)
AWAY = LeftOut(peer_id=PEER, name="carol", reason="no answer", hint="the next backup tells it")
PLAN = PrunePlan(
    packs=10,
    bytes=100_000_000,
    delete_packs=2,
    delete_bytes=20_000_000,
    repack_packs=1,
    repack_bytes=10_000_000,
    move_bytes=4_000_000,
    kept_packs=7,
    unfinished_packs=0,
    unfinished_bytes=0,
    unused_bytes=1_000_000,
    held_back=0,
    is_room_short=False,
    room_bytes=500_000_000,
    hosts=[ALICE],
)
DONE = PruneResult(
    deleted_packs=2,
    repacked_packs=1,
    kept_packs=7,
    unfinished_packs=0,
    freed_bytes=30_000_000,
    sent_bytes=5_000_000,
    seconds=3.0,
    hosts=[ALICE],
    peers=[PEER],
)
NOTHING = msgspec.structs.replace(
    PLAN, delete_packs=0, repack_packs=0, hosts=[msgspec.structs.replace(ALICE, packs=0, bytes=0)]
)


def test_what_broke_off_is_shown_apart_and_gone_at_once(capsys, agent):
    host = msgspec.structs.replace(ALICE, at_once_bytes=12_000_000)
    shown = msgspec.structs.replace(PLAN, unfinished_packs=3, unfinished_bytes=12_000_000, hosts=[host])
    done = msgspec.structs.replace(DONE, unfinished_packs=3, hosts=[host])
    dummy = agent({"prune/plan": telling([], shown), "prune": telling([], done)})
    code, out, _ = run(capsys, "prune", "--yes")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert ["unfinished", "3", "12", "MB", "that", "backups", "which", "broke", "off", "have", "sent:"] in [
        line[:11] for line in lines
    ]
    rows = [line for line in lines if line[:1] and line[0].startswith("alice")]
    assert [line[1:5] for line in rows[:2]] == [["12", "MB", "at", "once"], ["18", "MB", "after", "30"]]
    assert "has erased 12 MB of backups that broke off" in out
    assert "erases 18 MB" in out
    assert not dummy.requests[-1][1].keep_unfinished
    run(capsys, "prune", "--keep-unfinished", "--yes")
    assert dummy.requests[-1][1].keep_unfinished


def test_of_what_broke_off_the_plan_says_at_each_host_what_goes_at_once_what_may_and_what_waits(capsys, agent):
    hosts = [
        msgspec.structs.replace(ALICE, at_once_bytes=12_000_000),
        msgspec.structs.replace(CAROL, unclear_bytes=30_000_000),
    ]
    agent({"prune/plan": telling([], msgspec.structs.replace(PLAN, hosts=hosts))})
    _, out, _ = run(capsys, "prune", "--dry-run")
    rows = [line.split() for line in out.splitlines() if line.startswith(("alice", "carol"))]
    assert [row[1:5] for row in rows] == [
        ["12", "MB", "at", "once"],
        ["18", "MB", "after", "30"],
        ["30", "MB", "at", "once,"],
    ]
    assert "it says so when it is told" in out


def test_prune_shows_what_goes_where_and_when_and_does_what_was_agreed(capsys, agent):
    dummy = agent({"prune/plan": telling([PROGRESS], PLAN), "prune": telling([PROGRESS], DONE)})
    code, out, _ = run(capsys, "prune", "--yes")
    assert code == 0
    assert "of 10 packs with 100 MB:" in out
    assert "20 MB that no snapshot needs" in out
    assert "10 MB, 4 MB of it needed, and sent to each host; about 6 MB are won" in out
    assert "alice\\u001b" in out
    assert "after 30 d" in out
    assert "2 packs deleted, 1 pack packed anew (5 MB sent), 7 kept" in out
    assert "erases 30 MB when 30 d have passed there" in out
    (_, first), (_, second) = dummy.requests
    assert (first.agreed, second.agreed) == (False, True)
    assert (first.max_unused_permille, first.max_unused_bytes, first.max_repack_bytes) == (50, None, None)


def test_a_hold_that_is_twice_the_lock_is_explained_before_the_question_and_after(capsys, agent):
    doubled = [msgspec.structs.replace(host, doubled=True) for host in PLAN.hosts]
    plan, done = (msgspec.structs.replace(one, hosts=doubled) for one in (PLAN, DONE))
    agent({"prune/plan": telling([], plan), "prune": telling([], done)})
    _, out, err = run(capsys, "prune", "--yes")
    assert (out + err).count("kept for twice the lock") == 2


def test_prune_prints_its_plan_and_its_result_as_lines(capsys, agent):
    dummy = agent({"prune/plan": telling([], PLAN), "prune": telling([], DONE)})
    wishes = "--max-unused 10% --max-repack-size 2GB --repack-small"
    code, lines = ask(capsys, "prune", *wishes.split(), "--yes")
    assert code == 0
    assert {"event": "plan", **msgspec.to_builtins(PLAN)} in lines
    assert lines[-1] == {"event": "done", **msgspec.to_builtins(DONE)}
    wish = dummy.requests[-1][1]
    assert (wish.max_unused_permille, wish.max_repack_bytes, wish.repack_small) == (100, 2 * 10**9, True)


@pytest.mark.parametrize("wrong", ["lots", "-5%", "101%", "100%", "5", ""])
def test_a_waste_that_can_not_be_meant_is_told_with_its_option(capsys, agent, wrong):
    agent({})
    code, _, err = run(capsys, "prune", "--max-unused", wrong)
    assert code == 2
    assert "--max-unused" in err
    assert "for example: `--max-unused 5%`" in err
    assert "for example 5%, 2GB, or unlimited" in err or not wrong


@pytest.mark.parametrize(("typed", "code"), [("y\n", 0), ("n\n", 13), ("", 13)])
def test_prune_asks_and_a_no_changes_nothing(capsys, agent, terminal, typed, code):
    dummy = agent({"prune/plan": telling([], PLAN), "prune": telling([], DONE)})
    shown = terminal(typed)
    assert run(capsys, "prune")[0] == code
    assert "delete 2 packs and pack 1 pack anew? [y/N]" in shown.getvalue()
    assert ("prune" in [route for route, _ in dummy.requests]) is (code == 0)


def test_without_a_terminal_and_without_yes_prune_is_exit_2_and_changes_nothing(capsys, agent):
    dummy = agent({"prune/plan": telling([], PLAN)})
    code, _, err = run(capsys, "prune")
    assert code == 2
    assert "--yes" in err
    assert [route for route, _ in dummy.requests] == ["prune/plan"]


def test_a_dry_run_and_nothing_to_prune_ask_nobody(capsys, agent):
    dummy = agent({"prune/plan": telling([], PLAN)})
    code, out, _ = run(capsys, "prune", "--dry-run")
    assert (code, out.splitlines()[-1]) == (0, "would delete 2 packs and pack 1 pack anew")
    assert ask(capsys, "prune", "-n")[1][-1]["freed_bytes"] == 30_000_000
    assert {route for route, _ in dummy.requests} == {"prune/plan"}
    agent({"prune/plan": telling([], msgspec.structs.replace(NOTHING, left_out=[AWAY]))})
    code, out, _ = run(capsys, "prune")
    assert (code, out.splitlines()[-1]) == (0, "nothing to prune")


def test_a_host_that_is_away_is_named_and_the_exit_code_is_3(capsys, agent):
    result = msgspec.structs.replace(DONE, hosts=[ALICE, CAROL], left_out=[AWAY])
    agent({"prune/plan": telling([], PLAN), "prune": telling([], result)})
    code, lines = ask(capsys, "prune", "--yes")
    assert code == 3
    assert [line["event"] for line in lines[-2:]] == ["done", "error"]
    code, _, err = run(capsys, "prune", "--yes")
    assert code == 3
    assert "carol was not told: no answer" in err
    assert "error: not told yet: carol" in err
    assert "hint: nothing else has to be done" in err


def test_packs_that_are_held_back_say_why(capsys, agent):
    agent({"prune/plan": telling([], msgspec.structs.replace(PLAN, held_back=4, is_room_short=True))})
    assert "4 more wasteful packs stay because the hosts have no room" in run(capsys, "prune", "-n")[2]
    agent({"prune/plan": telling([], msgspec.structs.replace(PLAN, held_back=1))})
    assert "1 more wasteful pack stays because of --max-repack-size" in run(capsys, "prune", "-n")[2]


def test_what_can_not_be_pruned_is_told_with_its_code(capsys, agent):
    agent({"prune/plan": given(IntegrityFault("3 parts are in no known pack", hint="run `backup-peer backup`"))})
    code, _, err = run(capsys, "prune", "--yes")
    assert code == 15
    assert "3 parts" in err


def test_waste_is_a_share_a_size_or_unlimited():
    assert read_unused("5%") == (50, None)
    assert read_unused("0.5 %") == (5, None)
    assert read_unused("2GB") == (50, 2 * 10**9)
    assert read_unused("0") == (50, 0)
    assert read_unused("unlimited") == (1000, None)
    for wrong in ("100%", "120%", "-3%", "x", "%"):
        with pytest.raises(UserError):
            read_unused(wrong)


# --- forget --prune
FORGET_PLAN = ForgetPlan(groups=[], forgotten=1, kept=2, digest="d")
FORGOTTEN = ForgetResult(forgotten=["aa" * 32], kept=2, peers=[PEER])


def test_forget_with_prune_asks_once_and_tells_both(capsys, agent, terminal):
    routes = {
        "forget/plan": given(FORGET_PLAN),
        "forget": telling([], FORGOTTEN),
        "prune/plan": telling([], PLAN),
        "prune": telling([], DONE),
    }
    dummy = agent(routes)
    shown = terminal("y\n")
    assert run(capsys, "forget", "aaaa", "--prune")[0] == 0
    assert shown.getvalue().count("[y/N]") == 1
    assert "forget 1 snapshot, keep 2 and prune? [y/N]" in shown.getvalue()
    assert [route for route, _ in dummy.requests] == ["forget/plan", "forget", "prune/plan", "prune"]
    code, lines = ask(capsys, "forget", "aaaa", "--prune", "--yes")
    assert code == 0
    assert [line["event"] for line in lines] == ["plan", "prune-plan", "done"]
    assert lines[-1]["pruned"] == msgspec.to_builtins(DONE)


def test_forget_with_prune_that_forgets_nothing_prunes_nothing(capsys, agent):
    dummy = agent({"forget/plan": given(msgspec.structs.replace(FORGET_PLAN, forgotten=0))})
    assert run(capsys, "forget", "--keep-last", "9", "--prune", "--yes")[0] == 0
    assert [route for route, _ in dummy.requests] == ["forget/plan"]


def test_forget_alone_says_that_prune_frees(capsys, agent):
    agent({"forget/plan": given(FORGET_PLAN), "forget": telling([], FORGOTTEN)})
    assert "until `backup-peer prune" in run(capsys, "forget", "aaaa", "--yes")[1]


def test_packs_that_no_list_names_have_their_row(capsys, agent):
    agent({"prune/plan": telling([], msgspec.structs.replace(PLAN, unlisted_packs=3, unlisted_bytes=49_000_000))})
    out = run(capsys, "prune", "--dry-run")[1]
    assert "  unlisted          3  49 MB that hosts keep and no list names: at once, or with their lock\n" in out


def test_a_host_that_frees_nothing_has_no_row(capsys, agent):
    idle = msgspec.structs.replace(ALICE, name="idle", packs=0, bytes=0)
    agent({"prune/plan": telling([], msgspec.structs.replace(PLAN, hosts=[ALICE, idle]))})
    out = run(capsys, "prune", "--dry-run")[1]
    rows = [line.split()[0] for line in out.splitlines() if line.split()]
    assert "idle" not in rows
    assert any(row.startswith("alice") for row in rows)


def test_the_question_and_the_answer_speak_of_the_same_packs_and_bytes(capsys, agent):
    left = {"unfinished_packs": 4, "unfinished_bytes": 132_000_000, "unlisted_packs": 1, "unlisted_bytes": 17_000_000}
    host = msgspec.structs.replace(ALICE, packs=5, bytes=149_000_000, at_once_bytes=149_000_000)
    shown = msgspec.structs.replace(NOTHING, delete_bytes=0, repack_bytes=0, **left, hosts=[host])
    done = msgspec.structs.replace(
        DONE, deleted_packs=0, repacked_packs=0, **left, freed_bytes=149_000_000, hosts=[host]
    )
    agent({"prune/plan": telling([], shown), "prune": telling([], done)})
    out = run(capsys, "prune", "--dry-run")[1]
    asked = "would erase 132 MB of backups that broke off and have hosts delete 17 MB that no list names\n"
    assert asked in out
    assert ask(capsys, "prune", "-n")[1][-1]["freed_bytes"] == 149_000_000
    out = run(capsys, "prune", "--yes")[1]
    assert "5 packs deleted" in out
    assert "has erased 149 MB that no list named\n" in out
