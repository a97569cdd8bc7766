"""A request whose session ends in the middle of disk work gives back everything, and nothing while a thread uses it."""

import asyncio
import os
import threading
from contextlib import suppress

import pytest

from agent.hosted import hosted
from backuppeer.agent.host.serving import Serving
from backuppeer.agent.host.threads import run_whole
from backuppeer.errors import BackupPeerError
from backuppeer.host.disk import write_all
from backuppeer.proof.merkle import compute_stored_id
from backuppeer.wire.messages import GetRange, Proceed, PutPack
from host.host_world import put_pack

DATA = bytes(300_000)


class Gate:
    """Work in a thread comes here and waits until it may go on."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()
        self.went_on = threading.Event()

    def stop(self) -> None:
        self.reached.set()
        assert self.opened.wait(30)

    async def wait_reached(self) -> None:
        assert await asyncio.to_thread(self.reached.wait, 30)


async def put(session, agreement) -> None:
    message = PutPack(agreement=agreement, stored=compute_stored_id(DATA), size=len(DATA))
    async with session.request(message) as channel:
        await channel.receive(Proceed)
        await channel.send_raw(DATA)
        await channel.receive_any()


async def get(session, agreement) -> None:
    async with session.request(
        GetRange(agreement=agreement, stored=compute_stored_id(DATA), first_leaf=0, leaves=1)
    ) as channel:
        await channel.receive_any()


async def cut_off_at(gate: Gate, house, owner, agreement, ask=put) -> None:
    """Ask for something, end the request when the host's thread is at the gate, and only then let the thread go on."""
    tasks = []

    async def serve(peer, channel):
        tasks.append(asyncio.current_task())
        await Serving(house.premises, house.requests.consider_proposal, house.standing.blame).serve(peer, channel)

    async with hosted(house, owner, serve=serve) as link:
        asking = asyncio.create_task(ask(link.session, agreement))
        await gate.wait_reached()
        (task,) = tasks
        task.cancel()
        for _ in range(20):
            await asyncio.to_thread(int)  # what the cancelled task gives to threads is behind us in the queue no more
        gate.opened.set()
        await asyncio.wait([task])
        asking.cancel()
        with suppress(BackupPeerError, asyncio.CancelledError):
            await asking


def test_room_that_is_reserved_when_the_session_ends_is_given_back(house, owner, monkeypatch):
    agreement, store, gate = owner.agree_with(house), house.premises.open(), Gate()
    reserve = store.quota.reserve

    def slow(*given, **named):
        gate.stop()
        return reserve(*given, **named)

    # the quota has slots: the class is patched
    monkeypatch.setattr(type(store.quota), "reserve", lambda _, *given, **named: slow(*given, **named))
    asyncio.run(cut_off_at(gate, house, owner, agreement))
    assert store.totals().reserved_bytes == 0


def test_a_file_is_not_closed_while_a_thread_writes_to_it(house, owner, monkeypatch):
    agreement, store, gate, seen = owner.agree_with(house), house.premises.open(), Gate(), []

    def slow(descriptor, piece):
        before = os.fstat(descriptor).st_ino
        gate.stop()
        with suppress(OSError):
            seen.append(os.fstat(descriptor).st_ino == before)
        write_all(descriptor, piece)

    monkeypatch.setattr(store, "_target", type(store._target)(store._layout, store._catalogue, slow))
    asyncio.run(cut_off_at(gate, house, owner, agreement))
    assert seen == [True], "the descriptor was given back under the writer's hands"
    assert store.totals().reserved_bytes == 0
    assert not list((store.directory / "incoming").iterdir())


def test_a_pack_that_is_being_committed_when_the_session_ends_is_there_whole_and_counted_once(
    house, owner, monkeypatch
):
    agreement, store, gate = owner.agree_with(house), house.premises.open(), Gate()
    add = store._catalogue.add_pack

    def slow(*given, **options):
        gate.stop()
        return add(*given, **options)

    monkeypatch.setattr(store._catalogue, "add_pack", slow)
    asyncio.run(cut_off_at(gate, house, owner, agreement))
    usage = store.usage(agreement)
    assert (usage.packs, usage.used_bytes, usage.reserved_bytes) == (1, len(DATA), 0)
    assert store.rebuild_catalogue(verify=True).notes() == []


def test_a_pack_that_is_being_opened_when_the_session_ends_is_closed_again(house, owner, monkeypatch):
    agreement, store, gate = owner.agree_with(house), house.premises.open(), Gate()
    stored = put_pack(store, DATA, agreement)
    opened = []

    def slow(*given):
        gate.stop()
        opened.append(type(store).open_pack(store, *given))
        return opened[0]

    monkeypatch.setattr(store, "open_pack", slow)
    asyncio.run(cut_off_at(gate, house, owner, agreement, get))
    assert [reader.stored for reader in opened] == [stored]
    assert opened[0]._descriptor < 0, "a descriptor is lost"


def test_what_a_thread_raises_after_its_caller_was_cancelled_is_no_news():
    gate = Gate()

    def fail():
        gate.stop()
        raise OSError("late")

    async def scenario():
        task = asyncio.create_task(run_whole(fail))
        await gate.wait_reached()
        task.cancel()
        gate.opened.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    with pytest.raises(OSError, match="late"):
        asyncio.run(run_whole(fail))
