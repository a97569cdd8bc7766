"""`leave`: what a person sees before and after, who still needs the service, and a home that is deleted."""

import msgspec
import pytest

from backuppeer.cli import vacating
from backuppeer.control.ending import RetiredOwner
from backuppeer.control.leaving import LeavePlan, LeaveResult, LeftHost
from backuppeer.control.stopping import StopResult
from cli.rows import ask, run
from cli.terminal import FakeTerminal
from control.dummy import PEER, given

UNTIL = "2027-01-22T12:00:00Z"
ALICE = LeftHost(peer_id=PEER, alias="alice", used_bytes=10**9, until=UNTIL, ended=True, told=True)
BOB = RetiredOwner(peer_id=PEER, alias="bob", used_bytes=2 * 10**9, until=UNTIL, told=True)
PLAN = LeavePlan(
    hosts=[ALICE],
    owners=2,
    used_bytes=2 * 10**9,
    until=UNTIL,
    is_new=True,
    is_offering=True,
    requests=1,
    sets=["default"],
)
NOBODY = LeaveResult(hosts=[ALICE], owners=[], until="", store="")


class Keeper:
    """Stands for the system's service manager."""

    def __init__(self, file):
        self.file = file
        file.write_text("")

    def uninstall(self):
        self.file.unlink()
        return True


@pytest.fixture
def service(tmp_path, monkeypatch):
    keeper = Keeper(tmp_path / "unit")
    monkeypatch.setattr(vacating, "keeper_of", lambda _: keeper)
    return keeper


def leaving(agent, result=NOBODY, *, is_new=True, **changes):
    told = msgspec.structs.replace(PLAN, is_new=is_new, **changes)
    return agent(
        {
            "leave/plan": given(told),
            "leave": given(result),
            "stop": given(StopResult(stopped=True)),
        }
    )


@pytest.fixture
def _stopped(monkeypatch):
    """The scripted agent lives in this process: nobody waits for its end."""
    monkeypatch.setattr("backuppeer.cli.vacating.stop_agent", lambda _: True)


def routes(dummy):
    return [route for route, _ in dummy.requests]


def test_it_says_what_leaving_means_and_a_no_ends_nothing(capsys, agent, terminal):
    dummy = leaving(agent)
    shown = terminal("n\n")
    assert run(capsys, "leave")[0] == 13
    text = " ".join(shown.getvalue().split())
    for words in (
        "alice keeps 1 GB of your backups until 2027-01-22 at least",
        "`peers renew PEER` takes the end back",
        "no backups are made any more, nor by schedule (default)",
        "2 owners with 2 GB here can read it until 2027-01-22 at least",
        "1 request of yours to hosts is void",
    ):
        assert words in text
    assert routes(dummy) == ["leave/plan"]


def test_on_a_pipe_it_needs_a_yes(capsys, agent):
    dummy = leaving(agent)
    code, _, err = run(capsys, "leave")
    assert (code, "--yes" in err, routes(dummy)) == (2, True, ["leave/plan"])


@pytest.mark.usefixtures("_stopped")
def test_the_service_goes_when_nobody_needs_it(capsys, agent, service):
    leaving(agent)
    code, lines = ask(capsys, "leave", "--yes")
    assert (code, lines[-1]["service"], lines[-1]["agent"], service.file.exists()) == (0, "removed", False, False)


@pytest.mark.parametrize(
    "result",
    [
        LeaveResult(hosts=[], owners=[BOB], until=UNTIL, store="/s"),
        LeaveResult(hosts=[msgspec.structs.replace(ALICE, told=False)], owners=[], until="", store=""),
        LeaveResult(hosts=[], owners=[], until="", store="/s", store_fault="the disk is away"),
    ],
    ids=["others' data", "a host to be told", "a store that is away"],
)
def test_the_service_stays_while_it_is_needed_and_that_is_said(capsys, agent, service, result):
    dummy = leaving(agent, result, is_new=False)
    code, out, _ = run(capsys, "leave")
    assert (code, service.file.exists(), "stop" in routes(dummy)) == (3 if result.store_fault else 0, True, False)
    assert "`backup-peer leave" in out


@pytest.mark.usefixtures("_stopped")
def test_a_host_that_takes_no_notice_is_told_with_its_reason_and_ends_with_3(capsys, agent):
    refusing = msgspec.structs.replace(ALICE, ended=False, told=False, refused="the writing device must sign it")
    leaving(agent, LeaveResult(hosts=[refusing], owners=[], until="", store=""))
    code, out, _ = run(capsys, "leave", "--yes")
    assert (code, "takes no notice: the writing device must sign it" in out) == (3, True)


def test_asked_again_it_only_shows_where_it_stands(capsys, agent, terminal, service):
    leaving(agent, LeaveResult(hosts=[], owners=[BOB], until=UNTIL, store="/s"), is_new=False)
    terminal("")
    code, out, _ = run(capsys, "leave")
    said = " ".join(out.split())
    assert (code, "2 GB of 1 owner stay here until 2027-01-22 at least" in said) == (0, True)


@pytest.mark.usefixtures("service")
def test_a_home_with_data_of_others_is_not_deleted_and_the_day_is_said(capsys, agent, home):
    leaving(agent, LeaveResult(hosts=[], owners=[BOB], until=UNTIL, store="/s"))
    code, _, err = run(capsys, "leave", "--purge", "--yes")
    assert (code, "1 owner has 2 GB here until 2027-01-22" in err, home.exists()) == (13, True, True)


@pytest.mark.usefixtures("service")
def test_a_store_that_nobody_can_look_into_counts_as_full(capsys, agent, home):
    leaving(agent, LeaveResult(hosts=[], owners=[], until="", store="/s", store_fault="the disk is away"))
    code, _, err = run(capsys, "leave", "--purge", "--yes")
    assert (code, "the disk is away" in err, home.exists()) == (13, True, True)


@pytest.mark.usefixtures("_stopped")
def test_folders_that_say_otherwise_than_the_agent_keep_the_home(capsys, agent, home):
    (home / "store" / "agreements" / ("a" * 32) / "packs").mkdir(parents=True)
    (home / "store" / "backup-peer-store").touch()
    leaving(agent)
    code, _, err = run(capsys, "leave", "--purge", "--yes")
    assert (code, "1 agreement in" in err, (home / "store").exists()) == (13, True, True)


@pytest.mark.usefixtures("_stopped")
def test_deleting_is_a_question_of_its_own(capsys, agent, terminal, home):
    leaving(agent)
    shown = terminal("y\nn\n")
    assert run(capsys, "leave", "--purge")[0] == 13
    text = " ".join(shown.getvalue().split())
    assert "can be had back only with your 24 words" in text
    assert "delete this home for good?" in text
    assert home.exists()


@pytest.mark.usefixtures("_stopped")
def test_a_home_goes_and_with_it_the_service(capsys, agent, home, service, tmp_path):
    (home / "keys").mkdir()
    (home / "keys" / "working").touch()
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "backup-peer-store").touch()
    leaving(agent, LeaveResult(hosts=[ALICE], owners=[], until="", store=str(tmp_path / "disk")))
    code, out, _ = run(capsys, "leave", "--purge", "--yes")
    assert (code, home.exists(), service.file.exists()) == (0, False, False)
    assert "the folder is yours to delete" in " ".join(out.split())


def test_a_deletion_that_was_stopped_goes_on_without_a_question(capsys, home):
    (home / "leaving").touch()
    (home / "state.db").touch()
    assert run(capsys, "leave", "--purge")[0] == 0
    assert not home.exists()
    assert run(capsys, "leave", "--purge")[0] == 10


def test_a_deletion_that_goes_on_looks_again_and_lets_go_of_a_mark_that_is_older_than_the_data(capsys, home):
    packs = home / "store" / "agreements" / ("a" * 32) / "packs" / "00"
    packs.mkdir(parents=True)
    (packs / ("0" * 64)).write_bytes(b"another's")
    (home / "store" / "backup-peer-store").touch()
    (home / "leaving").touch()
    code, _, err = run(capsys, "leave", "--purge", "--yes")
    assert (code, "1 agreement in" in err, "its keys are gone" in err) == (13, True, True)
    assert (next(packs.iterdir()).exists(), (home / "leaving").exists()) == (True, False)


def test_of_much_that_stays_the_first_names_are_shown_and_all_with_json(capsys, home):
    (home / "leaving").touch()
    for number in range(20):
        (home / f"photo {number:02}.jpg").touch()
    code, out, _ = run(capsys, "leave", "--purge")
    assert (code, "photo 07.jpg and 12 more" in " ".join(out.split()), "photo 08" in out) == (0, True, False)
    (home / "leaving").touch()
    assert len(ask(capsys, "leave", "--purge")[1][-1]["remaining"]) == 20


def test_leaving_fits_80_columns_whatever_peers_are_called(capsys, agent, terminal, monkeypatch, service):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    long = msgspec.structs.replace(ALICE, alias="an old friend of mine " * 4, used_bytes=999 * 10**9, told=False)
    leaving(agent, LeaveResult(hosts=[ALICE, long], owners=[BOB], until=UNTIL, store="/s"), hosts=[ALICE, long])
    shown, shown_on = terminal("y\n"), FakeTerminal()
    monkeypatch.setattr("sys.stdout", shown_on)
    assert run(capsys, "leave")[0] == 0
    lines = [*shown_on.getvalue().splitlines(), *shown.getvalue().splitlines()]
    assert [line for line in lines if len(line) > 80 and "--home" not in line] == []
