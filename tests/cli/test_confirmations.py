"""What deletes or ends something asks first; without a terminal and without --yes it ends with 2 and changes nothing.

Every verb stands in one of the three lists. A new one that stands in none fails here: its writer has to decide.
"""

import importlib
import io

import pytest
import typer

from backuppeer.agent.home.home import Home
from backuppeer.cli.homes import create_peer
from backuppeer.cli.main import build_app
from backuppeer.cli.screen import Screen
from backuppeer.control.blocking import BlockPlan
from backuppeer.control.ending import RetirePlan
from cli import rows as shared
from cli import test_amendments, test_check, test_ending, test_leave, test_prune, test_replacing, test_waiving
from cli.rows import run
from control.dummy import PEER, given, telling

RETIRE = RetirePlan(owners=1, is_new=True, used_bytes=1, until="2027-01-22T12:00:00Z")
ASKS = {
    "forget": ("forget --keep-last 1", {"forget/plan": given(test_amendments.PLAN)}),
    "prune": ("prune", {"prune/plan": telling([], test_prune.PLAN)}),
    "repair": ("repair", {"check": telling([], test_check.DAMAGED)}),
    "check": ("check --repair", {"check": telling([], test_check.DAMAGED)}),
    "connect": ("connect alice --storage 1GB", {"connect/plan": given(shared.PLAN)}),
    "host": ("host --storage 50GB", {}),
    "host --retire": ("host --retire", {"host/retire/plan": given(RETIRE)}),
    "leave": ("leave", {"leave/plan": given(test_leave.PLAN)}),
    "block": ("block eve", {"block/plan": given(BlockPlan(peer_id=PEER, name="eve", ends=[test_ending.PLAN]))}),
    "peers end": ("peers end alice", {"peers/end/plan": given(test_ending.PLAN)}),
    "peers lock": ("peers lock alice 7d", {"peers/lock/plan": given(test_waiving.LOCK)}),
    "peers purge": ("peers purge alice", {"peers/purge/plan": given(test_waiving.END)}),
    "peers replace": ("peers replace alice bob", {"peers/replace/plan": telling([], test_replacing.PLAN)}),
}
"""A call that asks, and the plan that it asks about: the agent of the test has no handler for anything else."""
ASKS_ELSEWHERE = {
    "init": "test_identity:test_init_without_terminal_and_without_yes_exits_2_and_makes_nothing",
    "recover": "test_taking_over:test_without_a_terminal_and_without_yes_nothing_is_signed",
    "restore": "test_deleting:test_delete_without_a_terminal_needs_a_yes",
    "leave --purge": "test_leave:test_deleting_is_a_question_of_its_own",
    "export --move": "test_confirmations:test_giving_the_right_to_make_backups_away_is_a_question",
}
"""What needs a scene of its own: the test that says so."""
NEED_NOT = {
    "agent stop": "it parks jobs, and starts again when needed (DESIGN 1)",
    "service uninstall": "`service install` puts it back; backups and settings stay",
    "disconnect": "the next command that needs it dials again",
    "invite revoke": "another one is made in a second; what came of it stands",
    "requests reject": "it can be accepted later",
    "requests accept": "a person was asked by the request; other terms are agreed by --yes or a question",
    "requests offer": "whoever asked decides",
    "unblock": "`block` takes it back",
    "vouch": "`vouch --withdraw` takes it back",
    "tag": "tags are put back as they were taken",
    "backup remove": "the set in the settings alone; snapshots stay",
    "config set": "set again as it was",
    "config edit": "leaving the editor is the answer",
    "config servers remove": "added again",
    "peers set": "recorded again otherwise",
    "peers verify": "a person compares the words there and says what they found",
    "peers forgive": "it lifts a bar, for a peer that is named",
    "peers undelete": "it brings back",
    "peers resize": "the other side decides; below what is stored it is refused",
    "peers renew": "it makes longer, or takes an end back",
    "passphrase set": "whoever opens the keys has typed what opens them",
    "passphrase keyring": "as `passphrase set`",
    "passphrase remove": "as `passphrase set`",
    "dump": "a file that is there stays, unless --yes",
    "kit": "a file that is there stays",
    "import": "into a home without identity alone",
    "backup": "it adds",
    "backup add": "it adds",
    "config servers add": "it adds",
    "service install": "it adds",
    "agent start": "nothing ends by it",
    "agent run": "nothing ends by it",
    "mount": "read-only",
    "server": "holds what expires by itself",
    "demo": "in a folder of its own",
    "audit": "it asks hosts; a drill writes into a folder of its own",
    "audit rebut": "it writes a new file",
    "invite create": "it gives nothing before somebody comes",
    "doctor": "a report is a new file",
    "pause": "`resume` takes it back",
    "resume": "what a person had paused goes on",
    "cancel": "what was sent counts, and the same command goes on with it",
    "notify test": "it sends a trial to the person's own addresses",
}
"""What changes something and asks nobody, and why that is so."""
CHANGES_NOTHING = {
    *("id", "browse", "sessions", "snapshots", "ls", "find", "diff", "stats", "status", "logs", "completion"),
    *("invite", "invite list", "requests", "requests list", "peers", "peers list", "peers show", "backup sets"),
    *("audit verify-proof", "reputation", "reputation explain", "passphrase show", "config get", "config list"),
    *(
        "jobs",
        "jobs attach",
        "report",
        "config servers",
        "config servers list",
        "config servers test",
        "service status",
        "service logs",
        "agent status",
    ),
}


def every_verb():
    """Yield each verb as it is typed."""
    streams = (io.StringIO(), io.StringIO(), io.StringIO())
    command = typer.main.get_command(build_app(Screen(streams, json=False, yes=False)))

    def walk(found, path):
        further = getattr(found, "commands", None) or {}
        for name, each in further.items():
            yield from walk(each, [*path, name] if name.isprintable() else path)
        if not further or getattr(found, "invoke_without_command", False):
            yield " ".join(path)

    return set(walk(command, [])) - {""}


def test_every_verb_is_known_to_ask_to_need_not_or_to_change_nothing():
    lists = [{verb.partition(" --")[0] for verb in (*ASKS, *ASKS_ELSEWHERE)}, set(NEED_NOT), CHANGES_NOTHING]
    known = set().union(*lists)
    assert (sorted(every_verb() - known), sorted(known - every_verb())) == ([], [])
    assert sum(map(len, lists)) == len(known), "no verb stands in two lists"


@pytest.mark.parametrize("verb", ASKS)
def test_without_a_terminal_and_without_yes_nothing_is_done_and_the_way_is_said(capsys, agent, verb):
    words, plan = ASKS[verb]
    dummy = agent(plan)
    code, _, err = run(capsys, *words.split())
    assert (code, "--yes" in err) == (2, True), err
    unscripted = {route for route, _ in dummy.requests} - {*plan, "host/plan", "peers", "ping", "servers"}
    assert unscripted == set(), "only the plan was asked for"


@pytest.mark.parametrize("verb", ["peers end", "leave", "block"])
def test_a_no_at_the_terminal_is_13_and_changes_nothing(capsys, agent, terminal, verb):
    words, plan = ASKS[verb]
    dummy = agent(plan)
    terminal("\n")
    assert run(capsys, *words.split())[0] == 13
    assert {route for route, _ in dummy.requests} <= {*plan, "ping"}


@pytest.mark.parametrize("where", ASKS_ELSEWHERE.values(), ids=ASKS_ELSEWHERE)
def test_what_asks_in_a_scene_of_its_own_has_a_test_of_it(where):
    module, _, name = where.partition(":")
    assert callable(getattr(importlib.import_module(f"cli.{module}"), name, None)), where


def test_giving_the_right_to_make_backups_away_is_a_question(capsys, home, tmp_path):
    create_peer(Home(home), bytes(32))
    code, _, err = run(capsys, "export", str(tmp_path / "home.bp"), "--move")
    assert (code, "--yes" in err, Home(home).is_read_only, list(tmp_path.glob("*.bp"))) == (2, True, False, [])
