"""Hosts of a job: what is told when none is left."""

import asyncio
from types import SimpleNamespace

import pytest

from backuppeer.agent.owner.gathering import Gathering
from backuppeer.agent.reporter import Reporter
from backuppeer.errors import PeerUnreachable, RefusedError

NAMES = {b"e": "eve", b"a": "alice"}


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (
            PeerUnreachable("eve is not on offer", hint="ask her"),
            PeerUnreachable("it tells too slowly what it holds", hint="try again"),
            ("eve is not on offer; alice: it tells too slowly what it holds", "ask her; try again", 11),
        ),
        (RefusedError("no room", hint="h"), PeerUnreachable("away", hint="h"), ("eve: no room; alice: away", "h", 13)),
    ],
)
def test_when_no_host_is_left_each_is_named_with_its_reason(first, second, told):
    async def emit(_):
        pass

    async def scenario():
        vault = SimpleNamespace(
            traffic_bytes=lambda: 0,
            asked=SimpleNamespace(mark=lambda: None),
            name=NAMES.__getitem__,
            blame=lambda *_: None,
            partners=list,
        )
        gathering = Gathering(vault, Reporter(emit))
        for peer, error in ((b"e", first), (b"a", second)):
            gathering.drop(SimpleNamespace(peer=peer), error)
        with pytest.raises(type(first)) as caught:
            gathering._live([])
        assert (caught.value.message, caught.value.hint, caught.value.exit_code) == told

    asyncio.run(scenario())
