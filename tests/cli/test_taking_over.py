"""`recover --take-over`: what a person is asked, in which order things happen, and where the words do not go."""

from types import SimpleNamespace

import pytest

from backuppeer.agent.home.home import Home
from backuppeer.agent.home.keyring import load_keys, recover_identity
from backuppeer.cli import agents, taking_over
from backuppeer.cli.main import main
from backuppeer.control.recovering import RecoverResult
from backuppeer.control.saving import LeftOut
from backuppeer.control.taking_over import TakeOverPlan, TakeOverResult
from backuppeer.crypto.words import encode_words
from backuppeer.errors import PeerUnreachable
from backuppeer.ids import PeerId, format_peer_id
from backuppeer.proof.statements import WriterGrant, open_statement
from cli.rows import ask, run
from cli.terminal import FakePipe
from control.dummy import PEER, telling

MASTER = bytes(32)
WORDS = encode_words(MASTER)
HOST = format_peer_id(PeerId(bytes(32)))
AWAY = LeftOut(peer_id=PEER, name="bo\x1bb", reason="bob is away", hint="later")
PLAN = TakeOverPlan(
    peer_id=PEER,
    is_recovered=True,
    repository="ab" * 16,
    epoch=4,
    snapshots=3,
    host="lap\x1btop",
    time="2026-11-22T21:30:00Z",
    heard=["alice"],
    left_out=[AWAY],
)
TAKEN = TakeOverResult(peer_id=PEER, peers=[PEER], snapshots=3, packs=9, head=5, notes=[], epoch=5, left_out=[AWAY])
FOUND = RecoverResult(peer_id=PEER, peers=[PEER], snapshots=3, packs=9, head=4, notes=[])


@pytest.fixture
def scene(monkeypatch):
    """`stopped`: one entry for each time the agent is stopped, whether a grant lay in the home then; the scripted one

    goes on. `typed`: the words that a person types, one answer after the other.
    """
    made = SimpleNamespace(stopped=[], typed=[])
    monkeypatch.setattr(agents, "stop_agent", lambda home: made.stopped.append((home.keys / "grant").exists()))
    monkeypatch.setattr("backuppeer.cli.wording.read_hidden", lambda _: made.typed.pop(0))
    return made


def granted(home) -> WriterGrant:
    keys = load_keys(Home(home))
    return open_statement(WriterGrant, keys.grant, keys.authority)


def scripted(agent, plan=PLAN):
    return agent(
        {
            "recover": telling([], FOUND),
            "recover/take-over/plan": telling([], plan),
            "recover/take-over": telling([], TAKEN),
        }
    )


def test_a_new_home_recovers_first_asks_then_signs_with_the_agent_stopped_and_asks_for_the_words_once(
    capsys, home, agent, terminal, scene
):
    dummy = scripted(agent)
    shown = terminal("y\n")
    scene.typed.append(WORDS)
    code, out, _ = run(capsys, "recover", "--take-over")
    assert code == 3, "one host does not know it yet"
    assert [route for route, _ in dummy.requests] == ["recover", "recover/take-over/plan", "recover/take-over"]
    assert scene.stopped == [False], "before the grant is there"
    assert (granted(home).epoch, granted(home).repository) == (5, b"\xab" * 16)
    said = " ".join(shown.getvalue().split())
    assert "3 snapshots, the last by lap\\u001btop on" in said
    assert 'says "taken over" at its next backup and makes none any more; it can still restore' in said
    assert "bo\\u001bb does not count now (bob is away)" in said
    assert "this machine makes the backups from now on" in out
    assert "bo\\u001bb does not know it yet" in out
    assert "may only read" not in out
    told = "".join(str(request) for _, request in dummy.requests)
    assert not any(word in told for word in WORDS.split() if len(word) > 5)


def test_a_home_that_recovered_before_asks_for_the_words_again_only_after_a_yes(capsys, home, agent, terminal, scene):
    recover_identity(Home(home), MASTER)
    dummy = scripted(agent)
    terminal("n\n")
    assert run(capsys, "recover", "--take-over")[0] == 13, "and no words were asked for"
    assert scene.stopped == []
    assert not (home / "keys" / "grant").exists()
    terminal("y\n")
    scene.typed.append(WORDS)
    assert run(capsys, "recover", "--take-over")[0] == 3
    assert granted(home).epoch == 5
    assert "recover" not in [route for route, _ in dummy.requests]


def test_words_of_another_identity_change_nothing_and_the_agent_goes_on(capsys, home, agent, scene, monkeypatch):
    recover_identity(Home(home), MASTER)
    scripted(agent)
    monkeypatch.setattr("sys.stdin", FakePipe(encode_words(b"2" * 32)))
    code, lines = ask(capsys, "recover", "--take-over", "--yes")
    assert (code, scene.stopped) == (12, [])
    assert "another identity" in lines[-1]["message"]
    assert not (home / "keys" / "grant").exists()


def test_killed_after_the_grant_the_same_command_only_tells_the_hosts_and_needs_no_words(
    capsys, home, agent, scene, monkeypatch
):
    recover_identity(Home(home), MASTER)
    monkeypatch.setattr("sys.stdin", FakePipe(WORDS))
    dummy = scripted(agent)
    whole = taking_over._run

    def killed(context, route, kind):
        if route == "recover/take-over":
            raise PeerUnreachable("killed here")
        return whole(context, route, kind)

    monkeypatch.setattr(taking_over, "_run", killed)
    assert ask(capsys, "recover", "--take-over", "--yes")[0] == 11
    assert granted(home).epoch == 5
    monkeypatch.setattr(taking_over, "_run", whole)
    dummy.stop()
    scripted(agent, TakeOverPlan(peer_id=PEER, is_recovered=True, is_writer=True, epoch=5))
    monkeypatch.setattr("sys.stdin", FakePipe(""))
    code, lines = ask(capsys, "recover", "--take-over", "--yes")
    assert (code, lines[-1]["event"], lines[-1]["epoch"]) == (3, "done", 5)
    assert (granted(home).epoch, len(scene.stopped)) == (5, 1)


def test_without_a_terminal_and_without_yes_nothing_is_signed(capsys, home, agent, scene, monkeypatch):
    recover_identity(Home(home), MASTER)
    scripted(agent)
    monkeypatch.setattr("sys.stdin", FakePipe(WORDS))
    code, _, err = run(capsys, "recover", "--take-over")
    assert (code, scene.stopped) == (2, [])
    assert "taking over stops the other machine, and there is no terminal to ask on" in err


@pytest.mark.parametrize(
    ("options", "named"),
    [([], "recover --yes"), (["--take-over", "--peer", HOST], f"recover --peer {HOST} --take-over --yes")],
)
def test_without_a_terminal_the_way_that_is_named_does_what_was_asked_for(capsys, home, monkeypatch, options, named):
    monkeypatch.setattr("sys.stdin", FakePipe(WORDS))
    code, _, err = run(capsys, "recover", *options)
    assert code == 2
    assert f"`backup-peer {named} < words.txt --home {home}`" in err


def test_a_home_whose_recovery_found_no_host_yet_recovers_first(capsys, home, agent, terminal):
    recover_identity(Home(home), MASTER)
    dummy = scripted(agent, TakeOverPlan(peer_id=PEER, is_recovered=False))
    terminal("n\n")
    run(capsys, "recover", "--take-over")
    assert [route for route, _ in dummy.requests][:2] == ["recover/take-over/plan", "recover"]


def test_ctrl_c_while_hosts_are_told_says_that_the_grant_stands(capsys, home, agent, scene, monkeypatch):
    recover_identity(Home(home), MASTER)
    scripted(agent)
    monkeypatch.setattr("sys.stdin", FakePipe(WORDS))
    whole = taking_over._run

    def interrupted(context, route, kind):
        if route == "recover/take-over":
            raise KeyboardInterrupt
        return whole(context, route, kind)

    monkeypatch.setattr(taking_over, "_run", interrupted)
    code, lines = ask(capsys, "recover", "--take-over", "--yes")
    assert code == 130
    assert "makes the backups from now on, but not every host knows it" in lines[-1]["message"]
    assert granted(home).epoch == 5


@pytest.mark.parametrize("where", ["question", "words"])
def test_ctrl_c_before_the_grant_changes_nothing_and_says_so(home, agent, terminal, monkeypatch, where):
    recover_identity(Home(home), MASTER)
    scripted(agent)
    shown = terminal("y\n")

    def press_ctrl_c(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(
        "sys.stdin.readline" if where == "question" else "backuppeer.cli.wording.read_hidden", press_ctrl_c
    )
    assert main(["recover", "--take-over"]) == 130
    assert "not taken over" in shown.getvalue()
    assert not (home / "keys" / "grant").exists()
