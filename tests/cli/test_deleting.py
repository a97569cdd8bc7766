"""`restore --delete` on the command line: what it shows and asks before anything goes."""

import msgspec
import pytest

from backuppeer.control import events
from backuppeer.control.restoring import Conflict, RestorePlan
from cli.rows import RESTORED, run
from cli.terminal import check_output
from control.dummy import telling

CONFLICT = Conflict(path="/t/a", kind="file")
PLAN = RestorePlan(snapshot="3fa9c1d2" * 8, time="2026-11-22T21:30:00Z", paths=["/a"], conflicts=[], conflicts_total=0)


# what would go
REMOVALS = [
    events.Event(event="rows", data={"rows": [{"path": f"/t/old{n}\x1b", "kind": "file"} for n in range(12)]}),
    events.Event(event="rows", data={"rows": [{"path": "/t/folder", "kind": "dir"}]}),
]
DELETING = ("restore", "latest", "--delete", "--target")


@pytest.fixture
def full(tmp_path):
    (tmp_path / "there").touch()
    return str(tmp_path)


def test_delete_asks_with_the_number_of_what_would_go_and_a_no_restores_nothing(capsys, agent, terminal, full):
    plan = msgspec.structs.replace(PLAN, removals_total=13)
    dummy = agent({"restore/plan": telling(REMOVALS, plan), "restore": telling([], RESTORED)})
    shown = terminal("n\n")
    assert run(capsys, *DELETING, full)[0] == 13
    assert [name for name, _ in dummy.requests] == ["restore/plan"]
    said = shown.getvalue()
    assert "remove 13 entries that snapshot 3fa9c1d2 does not have" in said
    assert r"remove file /t/old0\u001b" in said
    assert "… and 3 more to remove" in said
    assert "replace" not in said
    shown = terminal("y\n")
    assert run(capsys, *DELETING, full)[0] == 0
    assert dummy.requests[-1][1].delete
    assert dummy.requests[-1][1].snapshot == PLAN.snapshot


def test_delete_without_a_terminal_needs_a_yes(capsys, agent, full):
    plan = msgspec.structs.replace(PLAN, removals_total=13, conflicts_total=1, conflicts=[CONFLICT])
    dummy = agent({"restore/plan": telling(REMOVALS, plan), "restore": telling([], RESTORED)})
    code, _, err = run(capsys, *DELETING, full)
    assert (code, "would be replaced and 13 entries" in err) == (2, True)
    code, _, err = run(capsys, *DELETING, full, "--overwrite", "if-newer")
    assert (code, "would be replaced" in err) == (2, False)
    assert run(capsys, *DELETING, full, "--yes")[0] == 0
    assert [name for name, _ in dummy.requests] == ["restore/plan", "restore/plan", "restore"]


def test_delete_does_not_ask_where_there_is_nothing_to_remove(capsys, agent, full):
    done = msgspec.structs.replace(RESTORED, removed=2)
    dummy = agent({"restore/plan": telling([], PLAN), "restore": telling([], done)})
    code, out, _ = run(capsys, *DELETING, full)
    assert (code, "2 entries removed" in out) == (0, True)
    assert dummy.requests[-1][1].overwrite == "refuse"


def test_a_dry_run_lists_all_that_would_be_removed(capsys, agent, full):
    agent({"restore/plan": telling(REMOVALS, msgspec.structs.replace(PLAN, removals_total=13))})
    code, out, _ = run(capsys, *DELETING, full, "--dry-run")
    assert code == 0
    assert "would remove 13 entries:\n" in out
    assert [line.split()[:1] for line in out.splitlines()[-13:]] == [["file"]] * 12 + [["folder"]]
    code, out, _ = run(capsys, *DELETING, full, "--dry-run", "--json")
    lines = check_output("restore --dry-run", out)
    assert [line["event"] for line in lines] == ["removal"] * 13 + ["done"]


def test_delete_and_never_are_refused_together(capsys, agent, full):
    dummy = agent({})
    assert run(capsys, *DELETING, full, "--overwrite", "never")[0] == 2
    assert dummy.requests == []
