"""`--proxy`, environment, settings: the nearest says what signaling goes through; a running agent is told."""

import pytest

from backuppeer.agent.home.home import Home
from backuppeer.cli.serve import _go_by_settings
from backuppeer.errors import Unavailable
from backuppeer.signaling.proxying import proxy_for
from cli.rows import ask, run
from control.dummy import given

SOCKS = "socks5://127.0.0.1:9050"


@pytest.fixture
def told(agent):
    return agent({"unblock": given(None)})


def test_the_flag_goes_before_the_environment_and_that_before_the_settings(capsys, told, monkeypatch):
    def sent(*words):
        run(capsys, "unblock", "alice", *words)
        return told.proxies[-1]

    assert sent() == ""
    assert ask(capsys, "config set", "proxy", "http://proxy.example:3128")[0] == 0
    assert sent() == "http://proxy.example:3128"
    monkeypatch.setenv("BACKUPPEER_PROXY", "http://u:s3cret@other.example:3128")
    assert sent() == "http://u:s3cret@other.example:3128"
    assert sent("--proxy", SOCKS) == "socks5h://127.0.0.1:9050"
    assert sent("--proxy", "") == ""


def test_what_is_no_proxy_and_a_password_that_all_can_see_are_refused_and_nothing_is_asked(capsys, told):
    for proxy, said in (("127.0.0.1:9050", "not a proxy"), ("http://u:s3cret@h:1", "BACKUPPEER_PROXY")):
        code, _, err = run(capsys, "unblock", "alice", "--proxy", proxy)
        assert code == 2
        assert said in err
        assert "s3cret" not in err
    assert run(capsys, "config", "set", "proxy", "h")[0] == 2
    assert told.proxies == []


def test_what_the_agent_does_by_itself_goes_by_the_settings_and_nowhere_if_they_can_not_be_read(home, monkeypatch):
    import contextvars  # noqa: PLC0415 - beside its only use

    def found(text):
        (home / "config.toml").write_text(text)
        _go_by_settings(Home(home))
        return proxy_for("wss://one.example")

    def of(text):
        return contextvars.copy_context().run(found, text)

    assert of("") is True
    assert of(f'proxy = "{SOCKS}"') == "socks5h://127.0.0.1:9050"
    for broken in ("proxy = 7", "proxy = 'x'", "x ="):
        with pytest.raises(Unavailable, match="not dialled"):
            of(broken)
