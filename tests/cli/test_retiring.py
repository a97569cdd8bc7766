from backuppeer.control.ending import RetiredOwner, RetirePlan, RetireResult
from cli.rows import ask, run
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
