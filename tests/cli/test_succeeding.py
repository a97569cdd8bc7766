"""`recover --new-identity`: what a person is asked, in which order things happen, and where the words do not go."""

from types import SimpleNamespace

import msgspec
import pytest

from agent.loops import SetClock
from backuppeer.agent.home.handover import Opener, begin_succession
from backuppeer.agent.home.heir import is_begun, load_heir
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.keyring import change_custody, create_identity, load_keys, recover_identity
from backuppeer.cli import agents, succeeding, unlocking
from backuppeer.control.recovering import RecoverResult
from backuppeer.control.saving import LeftOut
from backuppeer.control.succeeding import SuccessionPlan, SuccessionTold
from backuppeer.control.taking_over import TakeOverResult
from backuppeer.crypto.custody import Stretch
from backuppeer.crypto.keys import derive_identity, derive_working
from backuppeer.crypto.words import encode_words
from backuppeer.errors import PeerUnreachable
from backuppeer.ids import PeerId, RepositoryId, format_peer_id
from backuppeer.limits import SUCCESSION_STEPS
from cli.rows import ask, run
from cli.terminal import FakePipe
from control.dummy import PEER, telling

MASTER = bytes(32)
WORDS = encode_words(MASTER)
OLD, NEW = (format_peer_id(PeerId(derive_identity(derive_working(MASTER, number)).public)) for number in (1, 2))
REPOSITORY = RepositoryId(b"\xab" * 16)
AWAY = LeftOut(peer_id=PEER, name="bo\x1bb", reason="bob is away", hint="later")
PLAN = SuccessionPlan(
    peer_id=OLD, is_recovered=True, repository=REPOSITORY.hex(), epoch=4, snapshots=3, heard=["alice"], left_out=[AWAY]
)
TOLD = SuccessionTold(peer_id=NEW, former=OLD, peers=[PEER], left_out=[AWAY])
TAKEN = TakeOverResult(
    peer_id=NEW, peers=[PEER], names=["old al"], snapshots=3, packs=9, head=5, notes=[], epoch=5, left_out=[AWAY]
)
FOUND = RecoverResult(peer_id=NEW, peers=[PEER], snapshots=3, packs=9, head=4, notes=[])
ROUTES = ["recover/succeed/plan", "recover/succeed", "recover/take-over"]


@pytest.fixture
def scene(monkeypatch):
    """`steps`: when the agent was stopped, and started with what opens the home. `typed`: what a person types."""
    made = SimpleNamespace(steps=[], typed=[])
    monkeypatch.setattr(agents, "stop_agent", lambda _: made.steps.append("stopped"))
    monkeypatch.setattr(agents, "await_end", lambda _: made.steps.append("ended"))
    monkeypatch.setattr(agents, "start_agent", lambda _, secret: made.steps.append(("started", secret)))
    monkeypatch.setattr("backuppeer.cli.wording.read_hidden", lambda _: made.typed.pop(0))
    return made


def scripted(agent, plan=PLAN, *, told=TOLD, taken=TAKEN):
    return agent(
        {
            "recover": telling([], FOUND),
            "recover/succeed/plan": telling([], plan),
            "recover/succeed": telling([], told),
            "recover/take-over": telling([], taken),
        }
    )


def test_it_says_who_follows_who_can_not_be_heard_and_who_is_shut_out_then_asks_then_reads_the_words(
    capsys, home, agent, terminal, scene
):
    recover_identity(Home(home), MASTER)
    dummy = scripted(agent)
    shown = terminal("y\n")
    scene.typed.append(WORDS)
    code, out, _ = run(capsys, "recover", "--new-identity")
    assert code == 3, "one host has not heard"
    assert [route for route, _ in dummy.requests] == ROUTES
    assert scene.steps == ["stopped", ("started", b""), "ended"]
    heir = load_heir(Home(home), b"")
    assert format_peer_id(heir.peer) == NEW
    said = " ".join(shown.getvalue().split())
    assert "these hosts are there and will follow: alice" in said
    assert "bo\\u001bb can't be heard now (bob is away): it serves the old identity until it is told" in said
    assert "every machine with the old identity is shut out" in said
    assert NEW in said
    assert "told to 1 host: this home is" in out
    assert "bo\\u001bb has not heard yet" in out
    assert "read old al the words of this id: `backup-peer peers verify 'old al'" in " ".join(out.split())
    assert "`backup-peer kit --to kit.html" in out
    told = "".join(str(request) for _, request in dummy.requests)
    assert not any(word in told for word in WORDS.split() if len(word) > 5)


def test_once_every_host_has_heard_it_is_done(capsys, home, agent, scene, monkeypatch):
    recover_identity(Home(home), MASTER)
    scripted(agent, taken=msgspec.structs.replace(TAKEN, left_out=[]))
    monkeypatch.setattr("sys.stdin", FakePipe(WORDS))
    assert ask(capsys, "recover", "--new-identity", "--yes")[0] == 0


def test_a_no_changes_nothing_and_asks_for_no_words(capsys, home, agent, terminal, scene):
    recover_identity(Home(home), MASTER)
    scripted(agent)
    terminal("n\n")
    assert run(capsys, "recover", "--new-identity")[0] == 13
    assert (scene.steps, is_begun(Home(home))) == ([], False)


def test_without_a_terminal_and_without_yes_nothing_is_signed(capsys, home, agent, scene, monkeypatch):
    recover_identity(Home(home), MASTER)
    scripted(agent)
    monkeypatch.setattr("sys.stdin", FakePipe(WORDS))
    code, _, err = run(capsys, "recover", "--new-identity")
    assert (code, is_begun(Home(home))) == (2, False)
    assert "it shuts out every other home of yours" in err


def test_words_of_another_identity_change_nothing_and_the_agent_goes_on(capsys, home, agent, scene, monkeypatch):
    recover_identity(Home(home), MASTER)
    scripted(agent)
    monkeypatch.setattr("sys.stdin", FakePipe(encode_words(b"2" * 32)))
    code, lines = ask(capsys, "recover", "--new-identity", "--yes")
    assert (code, scene.steps, is_begun(Home(home))) == (12, [], False)
    assert "another identity" in lines[-1]["message"]


def test_a_machine_that_keeps_others_backups_says_who_follows_who_is_away_and_who_can_not(
    capsys, home, agent, terminal, scene
):
    recover_identity(Home(home), MASTER)
    plan = msgspec.structs.replace(PLAN, owners=["dora", "eve"], absent=["eve"], stuck=["fr\x1bed"], has_slot=True)
    scripted(agent, plan, taken=msgspec.structs.replace(TAKEN, left_out=[]))
    shown = terminal("y\n")
    scene.typed.append(WORDS)
    code, out, _ = run(capsys, "recover", "--new-identity")
    assert (code, is_begun(Home(home))) == (0, True)
    said, told = " ".join(shown.getvalue().split()), " ".join(out.split())
    for text in (said, told):
        assert "you keep backups of dora, eve: what they have here stays, they follow when they are met" in text
        assert "fr\\u001bed can't follow: the agreement does not name your words" in text
    assert "not in session now, and told when met: eve" in said
    assert "invites that you gave until now lead nowhere" in said


def test_a_machine_without_a_host_of_its_own_says_who_it_is_and_speaks_of_no_hosts(
    capsys, home, agent, terminal, scene
):
    recover_identity(Home(home), MASTER)
    plan = msgspec.structs.replace(PLAN, owners=["dora"], heard=[], left_out=[])
    scripted(agent, plan, taken=msgspec.structs.replace(TAKEN, left_out=[], peers=[], names=[]))
    shown = terminal("y\n")
    scene.typed.append(WORDS)
    code, out, _ = run(capsys, "recover", "--new-identity")
    assert code == 0
    first = out.splitlines()[0]
    assert first.endswith(f"this home is {NEW[:13]} in place of {OLD[:13]}")
    assert ("you keep backups of dora" in out, "host" in first) == (True, False)
    assert (shown.getvalue() + out).count("✓") == 1
    said = " ".join(out.split())
    assert "once dora has followed, compare words: `backup-peer peers verify dora" in said
    assert "needs a new invite: `backup-peer invite create" in said
    assert "backup PATH" not in said


def test_what_was_begun_goes_on_without_words_and_questions(capsys, home, agent, scene, monkeypatch):
    recover_identity(Home(home), MASTER)
    begin_succession(Home(home), MASTER, Opener(), repository=REPOSITORY, epoch=5, clock=SetClock())
    monkeypatch.setattr("sys.stdin", FakePipe(""))
    for has_heir, routes in ((True, ROUTES), (False, [ROUTES[0], ROUTES[2]])):
        plan = SuccessionPlan(peer_id=OLD, is_recovered=True, is_begun=True, has_heir=has_heir)
        dummy = scripted(agent, plan)
        code, lines = ask(capsys, "recover", "--new-identity", "--yes")
        assert (code, lines[-1]["event"], lines[-1]["epoch"]) == (3, "done", 5)
        assert lines[-1]["former"] == (OLD if has_heir else "")
        assert [route for route, _ in dummy.requests] == routes
        dummy.stop()


def test_when_no_host_could_be_told_the_error_says_how_to_go_on(capsys, home, agent, scene, monkeypatch):
    recover_identity(Home(home), MASTER)
    scripted(agent, told=PeerUnreachable("no host could be told", hint="go on"))
    monkeypatch.setattr("sys.stdin", FakePipe(WORDS))
    code, lines = ask(capsys, "recover", "--new-identity", "--yes")
    assert (code, lines[-1]["message"]) == (11, "no host could be told")
    assert is_begun(Home(home))


@pytest.mark.slow
def test_a_locked_home_is_opened_once_and_its_heir_is_under_the_same_passphrase(
    capsys, home, agent, scene, monkeypatch
):
    create_identity(Home(home), MASTER, SetClock())
    keys, cheap = load_keys(Home(home)), Stretch(memory_kib=64, passes=1, lanes=1)
    change_custody(Home(home), keys.working, unlocking.Custody.PASSPHRASE, b"a passphrase", stretch=cheap)
    plan = SuccessionPlan(peer_id=OLD, is_recovered=True, repository=keys.repository.hex(), epoch=1, heard=["alice"])
    scripted(agent, plan)
    asked = []
    monkeypatch.setattr(unlocking, "ask_command", lambda command: asked.append(command) or "a passphrase")
    (home / "config.toml").write_text('passphrase_command = "say it"\n')
    monkeypatch.setattr("sys.stdin", FakePipe(WORDS))
    assert ask(capsys, "recover", "--new-identity", "--yes")[0] == 3
    assert scene.steps == ["stopped", ("started", b"a passphrase"), "ended"]
    assert asked == ["say it"]
    assert format_peer_id(load_heir(Home(home), b"a passphrase").peer) == NEW


def test_a_home_of_the_words_is_led_to_who_it_is_now(capsys, home, agent, terminal, scene):
    origin = Home(home.with_name("origin"))
    create_identity(origin, MASTER, SetClock())
    name = load_keys(origin).repository
    begin_succession(origin, MASTER, Opener(), repository=name, epoch=2, clock=SetClock())
    signed = load_heir(origin, b"").succession.hex()
    answers = [RecoverResult(peer_id=OLD, peers=[], snapshots=0, packs=0, head=0, notes=[], succession=signed), FOUND]

    async def lead_on(_request, _emit):
        return answers.pop(0)

    agent({"recover": lead_on})
    shown = terminal()
    scene.typed.append(WORDS)
    code, out, _ = run(capsys, "recover")
    assert code == 0
    assert (f"identity: {OLD}" in out, f"identity: {NEW}" in out) == (True, True)
    assert "went on as another" in shown.getvalue()
    assert format_peer_id(load_keys(Home(home)).peer) == NEW
    assert load_keys(Home(home)).repository == name


def test_no_more_than_eight_steps_are_followed(capsys, home, agent, scene, monkeypatch):
    monkeypatch.setattr("sys.stdin", FakePipe(WORDS))
    led = RecoverResult(peer_id=OLD, peers=[], snapshots=0, packs=0, head=0, notes=[], succession="ab")
    dummy = agent({"recover": telling([], led)})
    followed = []
    monkeypatch.setattr(succeeding, "follow", lambda _home, _master, said: followed.append(said) or NEW)
    code, lines = ask(capsys, "recover", "--yes")
    assert (code, len(followed), len(dummy.requests)) == (2, SUCCESSION_STEPS + 1, SUCCESSION_STEPS + 1)
    assert "more than 8 times" in lines[-1]["message"]


@pytest.mark.parametrize("option", ["--take-over", "--new-identity"])
def test_a_check_changes_nothing_and_takes_no_aim(capsys, home, option):
    code, _, err = run(capsys, "recover", "--check", option)
    assert code == 2
    assert f"--check changes nothing, and {option} does" in err
