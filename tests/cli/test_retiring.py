from backuppeer.control.ending import RetiredOwner, RetirePlan, RetireResult
from cli.rows import ask, run
from cli.terminal import FakeTerminal
from control.dummy import PEER, given

UNTIL = "2027-01-22T12:00:00Z"
RETIRED = RetireResult(
    owners=[
        RetiredOwner(peer_id=PEER, alias="bob", used_bytes=10**9, until=UNTIL, told=True),
        RetiredOwner(peer_id=PEER, alias="", used_bytes=1, until=UNTIL, told=False),
    ],
    until=UNTIL,
)


def retiring(agent, *, is_new=True, result=RETIRED):
    plan = RetirePlan(owners=2, is_new=is_new, used_bytes=2 * 10**9, until=UNTIL)
    return agent({"host/retire/plan": given(plan), "host/retire": given(result)})


def test_it_asks_once_shows_whom_it_could_not_tell_and_when_the_disk_is_free(capsys, agent, terminal):
    dummy = retiring(agent)
    shown = terminal("n\n")
    assert run(capsys, "host", "--retire")[0] == 13
    assert "2 owners with 2 GB here" in " ".join(shown.getvalue().split())
    assert [route for route, _ in dummy.requests] == ["host/retire/plan"]
    terminal("y\n")
    code, out, _ = run(capsys, "host", "--retire")
    assert code == 0
    assert "the disk is free on 2027-01-22 at the soonest" in " ".join(out.split())
    assert ("yes" in out, "not yet" in out) == (True, True)
    retiring(agent, is_new=False)
    terminal("")
    assert run(capsys, "host", "--retire")[0] == 0, "asked again it only shows"


def test_a_host_that_keeps_nothing_is_free_at_once(capsys, agent):
    retiring(agent, is_new=False, result=RetireResult(owners=[], until=""))
    assert "the disk is free" in run(capsys, "host", "--retire")[1]
    code, lines = ask(capsys, "host --retire")
    assert (code, lines[-1]["owners"]) == (0, [])


def test_retiring_fits_80_columns_whatever_owners_are_called(capsys, agent, terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    owners = [RetiredOwner(peer_id=PEER, alias="an old friend " * 4, used_bytes=999 * 10**9, until=UNTIL, told=False)]
    retiring(agent, result=RetireResult(owners=[*RETIRED.owners, *owners], until=UNTIL))
    shown, shown_on = terminal("y\n"), FakeTerminal()
    monkeypatch.setattr("sys.stdout", shown_on)
    monkeypatch.setenv("NO_COLOR", "1")
    code = run(capsys, "host", "--retire")[0]
    out = shown_on.getvalue()
    lines = out.splitlines()
    wide = [line for line in [*lines, *shown.getvalue().splitlines()] if len(line) > 80]
    assert (code, [line for line in wide if "--home" not in line]) == (0, [])
    (row,) = (line for line in lines if line.lstrip().startswith("an old"))
    assert ("999 GB" in row, "2027-01-22" in row, "not yet" in row) == (True, True, True)
    assert lines[0].startswith("✓ the slot is withdrawn, and notice given;")
    assert "the disk is free on 2027-01-22 at the soonest" in " ".join(out.split())
