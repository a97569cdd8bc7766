"""`config servers`, and what other verbs say of servers."""

import asyncio
import threading
from contextlib import asynccontextmanager, contextmanager

import msgspec
import pytest

from backuppeer.agent.home.config import read_config
from backuppeer.agent.home.home import locate_home
from backuppeer.cli import main as main_module
from backuppeer.cli.probing import describe_probe
from backuppeer.control import api
from backuppeer.control.browsing import BrowseDone
from backuppeer.control.events import Event, EventName
from backuppeer.control.servers import ServerState
from backuppeer.signaling.probe import Probe
from backuppeer.signaling.servers import DEFAULT_SERVER
from cli.rows import ROW, ask, run
from cli.terminal import FakeTerminal
from control.dummy import given, telling
from signaling.kit import dead_url, serving
from signaling.test_proxying import URL, proxy

ONE, TWO = "wss://one.example", "ws://two.example:81"
GOOD = ServerState(url=ONE, connected=True, last_reached="2026-11-22T10:00:00Z", rows=3)
LIAR = ServerState(url=TWO, connected=False, forged=1, faults=["it hands out 1 offer\x1b[31m that nobody signed"])
GONE = ServerState(url="ws://three.example", connected=False, error="connection refused", failures=4)


def configured():
    return read_config(locate_home(None)).servers


def status_of(*servers):
    return given(
        api.StatusResult(
            peer_id=ROW.peer_id,
            agent="running",
            servers=list(servers),
            sessions=0,
            hosting=api.HostingState(offering=True),
            snapshots=0,
        )
    )


@contextmanager
def beside(scene):
    """Enter `scene()` in a thread with a loop of its own; gives what it gives."""
    ready, ended, found = threading.Event(), None, []

    async def serve():
        nonlocal ended
        ended = asyncio.Event()
        async with scene() as given:
            found.extend([given, asyncio.get_running_loop()])
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(20)
    try:
        yield found[0]
    finally:
        found[1].call_soon_threadsafe(ended.set)
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def served():
    """Run a real server in a thread; gives its address."""
    with beside(serving) as server:
        yield server.url


@asynccontextmanager
async def behind_proxy():
    async with serving(origins=[URL]) as server, proxy(server.port, kind="socks5") as there:
        yield there


def test_a_first_server_comes_beside_the_default_one_and_each_is_kept_once(capsys):
    assert run(capsys, "config", "servers", "add", ONE, TWO + "/", ONE)[0] == 0
    assert configured() == [DEFAULT_SERVER, ONE, TWO]
    assert "nothing new" in run(capsys, "config", "servers", "add", ONE)[1]
    assert configured() == [DEFAULT_SERVER, ONE, TWO]


def test_the_default_one_can_be_removed_and_none_is_none(capsys):
    code, out, _ = run(capsys, "config", "servers", "remove", DEFAULT_SERVER)
    assert (code, configured()) == (0, [])
    assert "no server is used" in out
    assert ask(capsys, "config servers list") == (0, [[]])
    assert run(capsys, "config", "servers", "add", ONE)[0] == 0
    assert configured() == [ONE]


@pytest.mark.parametrize(("words", "code"), [(("add", "http://x"), 2), (("remove", ONE), 10), (("add",), 2)])
def test_what_is_no_server_or_not_in_use_is_said_and_nothing_changes(capsys, words, code):
    assert run(capsys, "config", "servers", *words)[0] == code
    assert configured() is None


def test_a_seventeenth_server_is_refused(capsys):
    urls = [f"ws://s{number}.example" for number in range(16)]
    assert run(capsys, "config", "servers", "add", *urls)[0] == 2
    assert run(capsys, "config", "servers", "add", *urls[1:])[0] == 0


@pytest.mark.parametrize(
    ("flag", "environment", "source"),
    [(["--server", TWO], ONE, "flag"), ([], TWO, "environment"), ([], None, "config")],
)
def test_the_list_says_where_it_comes_from(capsys, monkeypatch, flag, environment, source):
    run(capsys, "config", "servers", "add", ONE)
    if environment:
        monkeypatch.setenv("BACKUPPEER_SERVERS", environment)
    _, lines = ask(capsys, "config servers list", *flag)
    assert {row["source"] for row in lines[0]} == {source}
    urls = [DEFAULT_SERVER, ONE] if source == "config" else [TWO]
    assert [row["url"] for row in lines[0]] == urls
    assert urls[-1] in run(capsys, "config", "servers", *flag)[1]


def test_the_list_tells_how_servers_do_while_an_agent_runs(capsys, agent):
    dummy = agent({"servers": given([GOOD, LIAR])})
    (locate_home(None).path / "keys").mkdir(exist_ok=True)
    (locate_home(None).path / "keys" / "working").touch()
    code, out, _ = run(capsys, "config", "servers", "list", "--server", f"{ONE},{TWO}")
    assert code == 0
    assert f"✓ {ONE}  connected" in out
    assert "it hands out 1 offer\\u001b[31m that nobody signed" in out
    assert dummy is not None


def test_a_changed_list_says_where_the_slot_stays(capsys, agent):
    agent({"status": status_of(GOOD)})
    (locate_home(None).path / "keys").mkdir(exist_ok=True)
    (locate_home(None).path / "keys" / "working").touch()
    _, _, err = run(capsys, "config", "servers", "add", ONE)
    assert "your slot stays on offer where it is: `backup-peer host" in " ".join(err.split())


def test_a_look_tells_of_each_server_and_what_to_do(capsys, served):
    code, out, _ = run(capsys, "config", "servers", "test", served, dead_url(), f"{served}/elsewhere")
    assert code == 3
    assert f"✓ {served}  open in" in out
    assert "answers in" in out
    assert "nothing listens there" in out
    assert "is this the address of a signaling server?" in out
    assert run(capsys, "config", "servers", "test", dead_url())[0] == 14
    code, lines = ask(capsys, "config servers test", served)
    assert code == 0
    assert lines[0][0]["offers"] == 0
    assert lines[0][0]["round_trip_ms"] > 0


@pytest.mark.parametrize("is_named", [True, False])
def test_a_look_goes_through_the_proxy_and_never_around_it(capsys, is_named):
    def look(url):
        flag = ("--proxy", url) if is_named else ()
        assert is_named or run(capsys, "config", "set", "proxy", url)[0] == 0
        return run(capsys, "config", "servers", "test", URL, *flag)

    with beside(behind_proxy) as (through, asked):
        code, out, _ = look(through)
        assert code == 0
        assert "its clock was not seen" in out
        assert set(asked) == {URL.removeprefix("ws://")}
        code, out, _ = look("socks5://127.0.0.1:1")
        assert code == 14
        assert "through a proxy and not around it" in " ".join(out.split())


def test_a_look_dials_nothing_while_nobody_knows_whether_a_proxy_is_wanted(capsys):
    path = locate_home(None).path
    path.mkdir(exist_ok=True)
    (path / "config.toml").write_text("proxy = 7")
    code, out, _ = run(capsys, "config", "servers", "test", URL)
    assert code == 14
    assert "not dialled" in out
    assert "`backup-peer config list" in out


def test_a_changed_proxy_says_when_the_slot_goes_through_it(capsys, agent):
    agent({"status": status_of(GOOD)})
    (locate_home(None).path / "keys").mkdir(exist_ok=True)
    (locate_home(None).path / "keys" / "working").touch()
    _, _, err = run(capsys, "config", "set", "proxy", "socks5://127.0.0.1:9050")
    assert "until the agent starts anew: `backup-peer agent stop" in " ".join(err.split())


def test_status_tells_when_a_server_was_reached_how_often_it_failed_and_what_it_hands_out(capsys, agent):
    agent({"status": status_of(GOOD, LIAR, GONE)})
    _, out, _ = run(capsys, "status")
    assert f"! {TWO}  never reached" in out
    assert "that nobody signed" in out
    assert "✗ ws://three.example  connection refused (never reached, 4 tries in a row)" in out
    assert "\x1b" not in out


def test_browse_notes_servers_that_are_silent_or_lie(capsys, agent):
    agent({"browse": given([ROW]), "servers": given([GOOD, LIAR, GONE])})
    _, out, err = run(capsys, "browse")
    err = " ".join(err.split())
    assert "note: ws://three.example: connection refused" in err
    assert f"note: {TWO}: it hands out 1 offer" in err
    assert ONE not in err
    assert "\x1b" not in out + err


def test_browse_warns_of_who_signed_two_offers_under_one_number(capsys, agent):
    agent({"browse": given([msgspec.structs.replace(ROW, forked=True, alias="bob")])})
    assert "bob signed two different offers under one number" in " ".join(run(capsys, "browse")[1].split())
    assert ask(capsys, "browse")[1][0][0]["forked"] is True


def test_on_a_terminal_rows_are_shown_before_all_servers_answered_and_each_once(agent, terminal, monkeypatch):
    other = msgspec.structs.replace(ROW, peer_id="bp1" + "q" * 58, alias="late")
    early = Event(event=EventName.ROWS, data={"rows": [msgspec.to_builtins(ROW)]})
    dummy = agent({"browse/live": telling([early, early], BrowseDone(offers=[other, ROW]))})
    terminal()
    shown = FakeTerminal()
    monkeypatch.setattr("sys.stdout", shown)
    assert main_module.main(["browse"]) == 0
    text = shown.getvalue()
    assert text.index("bp1qqqsyqcyq5") < text.index("late")
    assert text.count("0.83 trusted") == 2
    assert "2 hosts" in text
    assert [name for name, _ in dummy.requests if name.startswith("browse")] == ["browse/live"]


def test_a_relay_behind_a_certificate_of_ones_own_is_said_to_be_out_of_use(monkeypatch):
    found = Probe(url="wss://x", connect_ms=1.0, round_trip_ms=1.0, relay=True)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    assert "relay" in describe_probe(found)
    monkeypatch.setenv("SSL_CERT_FILE", "/own.pem")
    assert "relay, used only with a certificate of a public authority" in describe_probe(found)


def test_a_server_in_the_settings_that_can_not_be_one_is_told_with_file_and_key(capsys, home):
    (home / "config.toml").write_text('region = "EU"\nservers = ["wss://one.example", "nonsense"]\n')
    code, _, err = run(capsys, "config", "servers", "list")
    assert code == 2
    assert f"{home}/config.toml: servers: not a signaling server address: 'nonsense'" in " ".join(err.split())
