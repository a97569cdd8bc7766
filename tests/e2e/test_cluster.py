"""Two real nodes upon a real store: one is killed, one is told to end, and what they were told is still there."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

import pytest

from backuppeer.signaling.asking import ask_relay
from backuppeer.signaling.client import open_link
from backuppeer.signaling.messages import Browse, Page, Publish, Published
from signaling.kit import Host, run
from signaling.stores import storing

pytestmark = pytest.mark.slow


@contextmanager
def node(store, name="node-1"):
    """Run one as operators do; yield its process and the address that clients dial."""
    own = ("--relay-url", f"wss://{name}.example.org")
    words = ("server", "--listen", "127.0.0.1:0", "--stamp-bits", "0", "--limit", "drain_s=1", "--json", *own)
    environment = {**os.environ, "BACKUPPEER_CLUSTER": store.url}
    command = [sys.executable, "-m", "backuppeer.cli.main", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as process:
        try:
            yield process, f"ws://{json.loads(process.stdout.readline())['listen']}"
        finally:
            process.kill()


async def rows(url):
    async with open_link(url) as link:
        return (await link.ask(Browse(b"", 50), Page)).rows


async def publish(url, host):
    async with open_link(url) as link:
        return (await link.ask(Publish(host), Published)).accepted


def test_an_offer_outlives_the_node_it_was_made_at_and_a_node_that_is_told_to_end_does(tmp_path):
    now_ms = time.time_ns() // 1_000_000
    hosts = [Host().signed(now_ms, now_ms=now_ms) for _ in range(2)]
    with ExitStack() as held:
        store = held.enter_context(storing(tmp_path))
        (first, one), (second, two) = (held.enter_context(node(store, f"node-{number}")) for number in (1, 2))
        run(asyncio.wait_for(_both(one, two, hosts), 20))
        first.kill()
        first.wait(10)
        run(_is_there(two, hosts))
        second.send_signal(signal.SIGTERM)
        assert second.wait(10) == 0


async def _both(one, two, hosts):
    assert await publish(one, hosts[0])
    assert await publish(two, hosts[1])
    for number, url in enumerate((one, two), 1):
        assert sorted(await rows(url)) == sorted(hosts)
        offered = await ask_relay(url, bytes(32))
        assert (offered.life_s > 0, offered.at) == (True, f"wss://node-{number}.example.org"), "each its own relay"


async def _is_there(url, hosts):
    assert sorted(await rows(url)) == sorted(hosts), "for a minute after the node's last sign of life"
