"""Two agents of different versions, in one process: the newer is this program, told to speak other versions."""

import asyncio

import pytest
import structlog

from agent.loops import play
from agent.parties import USAGE, Party, ask, running
from backuppeer.errors import IncompatibleVersion
from backuppeer.transport.memory import Network
from backuppeer.wire.handshake import Handshake, Offer


def speak(monkeypatch, *, dialler=(1, 1), acceptor=(1, 1)):
    """Let every dialler and every acceptor of this test offer these versions."""
    monkeypatch.setitem(Handshake.dial.__func__.__kwdefaults__, "offer", Offer(dialler))
    monkeypatch.setitem(Handshake.accept.__func__.__kwdefaults__, "offer", Offer(acceptor))


@pytest.mark.parametrize(("dialler", "acceptor"), [((1, 1), (1, 2)), ((1, 2), (1, 1))])
def test_a_version_and_the_one_before_it_work_together(monkeypatch, dialler, acceptor):
    speak(monkeypatch, dialler=dialler, acceptor=acceptor)

    async def scenario():
        network = Network()
        one, two = Party(network, 1), Party(network, 2)
        async with running(one, two):
            near, far = await one.meet(two)
            assert near.version == far.version == 1
            assert await ask(near) == await ask(far) == USAGE

    play(scenario())


@pytest.mark.parametrize(("dialler", "acceptor"), [((1, 1), (2, 3)), ((2, 3), (1, 1))])
def test_without_a_common_version_both_agents_say_who_has_to_upgrade_and_nobody_is_blamed(
    monkeypatch, dialler, acceptor
):
    speak(monkeypatch, dialler=dialler, acceptor=acceptor)
    is_newer = acceptor[0] > dialler[1]

    async def scenario():
        network = Network()
        one, two = Party(network, 1), Party(network, 2)
        async with running(one, two):
            with structlog.testing.capture_logs() as logged:
                with pytest.raises(IncompatibleVersion) as heard:
                    await one.dial(two)
                await asyncio.sleep(1.0)  # virtual: the acceptor hears that the dialler has closed
            assert ("a newer" if is_newer else "an older") in heard.value.message
            assert ("on this machine" in heard.value.hint) is is_newer
            (told,) = [entry["reason"] for entry in logged if entry["event"] == "connection turned away"]
            assert ("an older" if is_newer else "a newer") in told
            assert one.faults == two.faults == []
            assert one.sessions.all() == two.sessions.all() == []

    play(scenario())
