"""What the agent's log must not have."""

import json
import logging
import sys

import pytest
import structlog

from backuppeer.agent.home.home import Home
from backuppeer.agent.home.logbook import open_log


@pytest.fixture
def read_log(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    root = logging.getLogger()
    before, level = root.handlers, root.level
    home = Home(tmp_path / "home")
    open_log(home)
    yield lambda: [json.loads(line) for line in (home.logs / "agent.log").read_text().splitlines()]
    for handler in root.handlers:
        handler.close()
    root.handlers, root.level = before, level
    structlog.reset_defaults()


@pytest.mark.parametrize("address", ["192.0.2.7:4433", "[2001:db8::7]:4433", "[fe80::1%eth0]:80"])
def test_the_address_of_a_peer_stands_in_no_line_whoever_logs_it(read_log, address):
    structlog.get_logger().info("seen of a peer", reason=f"another key answers at {address}, it says")
    logging.getLogger("a.library").warning("no route to %s", address)
    first, second = read_log()
    assert first["reason"] == "another key answers at (address), it says"
    assert second["event"] == "no route to (address)"


def test_the_address_of_a_server_stays(read_log):
    structlog.get_logger().info("signaling", server="ws://127.0.0.1:8080", version="1.2.3.4")
    (line,) = read_log()
    assert (line["server"], line["version"]) == ("ws://127.0.0.1:8080", "1.2.3.4")
