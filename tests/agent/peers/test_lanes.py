"""Lanes of a session: made when wanted, given back, given up; nothing is lost with one."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from agent.loops import VirtualClock
from agent.parties import Party, running
from backuppeer.agent.peers import lanes as lanes_module
from backuppeer.agent.peers.lanes import LaneBroken, Lanes
from backuppeer.agent.peers.retry import retry
from backuppeer.crypto.certificate import make_certificate
from backuppeer.errors import PeerUnreachable, ProtocolViolation, RefusedError
from backuppeer.limits import LANE_ATTEMPTS, LANES_PER_SESSION, MIB
from backuppeer.transport.base import PathInfo, PathKind
from backuppeer.transport.memory import Network
from backuppeer.transport.memory.network import MemoryConnection
from backuppeer.wire.messages import GetRange, LaneOffer, LaneWish, Range, Refused

HERE = ["127.0.0.1"]
DIRECT = PathInfo(PathKind.DIRECT, 1.0, "127.0.0.1:9")
DIRECT_6 = PathInfo(PathKind.DIRECT, 1.0, "[::1]:9")
AFAR = PathInfo(PathKind.DIRECT, 1.0, "192.0.2.1:9")
RELAYED = PathInfo(PathKind.RELAYED, 1.0, "https://relay")


async def until(lanes, condition):
    """Wait for what lanes do by themselves, over real sockets."""
    while not condition():
        await lanes.changed.wait()
        lanes.changed.clear()


class Side:
    """The lanes of one end, what it said, and an echo for what comes in."""

    def __init__(self, path=DIRECT, binds=HERE):
        self.said = asyncio.Queue()
        self.lanes = Lanes("peer", say=self.said.put, path=lambda: path, binds=binds)

    async def echo(self, stream):
        data = await stream.read_exact(5)
        await stream.write(data)
        await stream.finish()
        assert await stream.read(1) == b""


class Pair:
    """An owner and a host whose words reach each other."""

    def __init__(self, owner, host):
        self.owner, self.host = owner, host
        self.wishes = 0
        self._tasks = [asyncio.create_task(self._carry()), asyncio.create_task(self._carry_back())]

    async def _carry(self):
        while True:
            wish = await self.owner.said.get()
            assert isinstance(wish, LaneWish)
            self.wishes += 1
            await self.host.lanes.hear_wish(wish, self.host.echo)

    async def _carry_back(self):
        while True:
            self.owner.lanes.hear_offer(await self.host.said.get())

    def stop_answers(self):
        """Leave what the host says to the test."""
        self._tasks.pop().cancel()

    async def lane(self):
        """Return a stream on a lane, as soon as there is one."""
        while (stream := self.owner.lanes.take()) is None:
            self.owner.lanes.changed.clear()
            await self.owner.lanes.changed.wait()
        return stream

    async def ask(self, stream):
        await stream.write(b"hello")
        assert await stream.read_exact(5) == b"hello"
        await stream.finish()
        await self.owner.lanes.give_back(stream)

    def close(self):
        for side in (self.owner, self.host):
            side.lanes.close()
        for task in self._tasks:
            task.cancel()


def play(scenario, **sides):
    async def guarded():
        pair = Pair(sides.get("owner", Side)(), sides.get("host", Side)())
        try:
            async with asyncio.timeout(30):
                await scenario(pair)
        finally:
            pair.close()

    asyncio.run(guarded())


def test_the_first_bulk_goes_another_way_and_a_lane_comes_meanwhile_and_is_used_again():
    async def scenario(pair):
        assert pair.owner.lanes.take() is None
        for _ in range(3):
            await pair.ask(await pair.lane())
        assert pair.owner.lanes.count == pair.host.lanes.count == pair.wishes == 1
        assert pair.owner.lanes.sent_bytes == pair.host.lanes.received_bytes == 15

    play(scenario)


def test_bulk_waits_a_moment_for_the_lane_that_is_being_made(monkeypatch):
    monkeypatch.setattr(lanes_module, "LANE_WAIT_S", 3600.0)

    async def scenario(pair):
        stream = await pair.owner.lanes.obtain()
        assert stream is not None
        await pair.ask(stream)

    play(scenario)


def test_bulk_waits_for_a_lane_in_use_and_goes_another_way_when_that_takes_long(monkeypatch):
    monkeypatch.setattr(lanes_module, "LANE_WAIT_S", 3600.0)

    async def scenario(pair):
        streams = [await pair.lane() for _ in range(LANES_PER_SESSION)]
        waiting = asyncio.ensure_future(pair.owner.lanes.obtain())
        await pair.ask(streams.pop())
        streams.append(await waiting)
        assert streams[-1] is not None
        monkeypatch.setattr(lanes_module, "LANE_WAIT_S", 0.01)
        assert await pair.owner.lanes.obtain() is None
        await asyncio.gather(*map(pair.ask, streams))

    play(scenario)


def test_over_a_long_line_a_lane_is_waited_for_as_many_round_trips_as_it_takes_to_make_one(monkeypatch):
    monkeypatch.setattr(lanes_module, "LANE_WAIT_S", 0.0)

    async def near(pair):
        assert await pair.owner.lanes.obtain() is None

    async def far(pair):
        stream = await pair.owner.lanes.obtain()
        assert stream is not None
        await pair.ask(stream)

    play(near, owner=lambda: Side(path=PathInfo(PathKind.DIRECT, 0.0, "127.0.0.1:9")))
    play(far, owner=lambda: Side(path=PathInfo(PathKind.DIRECT, 2000.0, "127.0.0.1:9")))


def test_however_long_a_line_is_a_lane_is_waited_for_no_longer_than_one_is_dialled(monkeypatch):
    monkeypatch.setattr(lanes_module, "LANE_DIAL_S", 0.01)
    monkeypatch.setattr(lanes_module, "LANE_WAIT_S", 0.0)

    async def scenario(pair):
        streams = [await pair.lane() for _ in range(LANES_PER_SESSION)]
        assert await pair.owner.lanes.obtain() is None
        await asyncio.gather(*map(pair.ask, streams))

    play(scenario, owner=lambda: Side(path=PathInfo(PathKind.DIRECT, 1e9, "127.0.0.1:9")))


def test_a_first_lane_that_does_not_come_in_time_is_waited_for_by_no_further_request(monkeypatch):
    monkeypatch.setattr(lanes_module, "LANE_DIAL_S", 60.0)
    monkeypatch.setattr(lanes_module, "LANE_WAIT_S", 0.0)

    async def scenario():
        lanes = Side(path=PathInfo(PathKind.DIRECT, 1e9, "127.0.0.1:9")).lanes
        assert lanes.take() is None
        lanes._wished_s -= 60
        async with asyncio.timeout(30):
            assert await lanes.obtain() is None
        lanes.close()

    asyncio.run(scenario())


def test_bulk_that_can_have_no_lane_does_not_wait(monkeypatch):
    monkeypatch.setattr(lanes_module, "LANE_WAIT_S", 3600.0)

    async def scenario(pair):
        assert await pair.owner.lanes.obtain() is None

    play(scenario, owner=lambda: Side(binds=[]))
    play(scenario, owner=lambda: Side(path=RELAYED))


def test_there_are_only_so_many_lanes():
    async def scenario(pair):
        streams = [await pair.lane() for _ in range(LANES_PER_SESSION)]
        assert pair.owner.lanes.take() is None
        await asyncio.gather(*map(pair.ask, streams))
        assert pair.wishes == pair.owner.lanes.count == LANES_PER_SESSION
        # A peer that wishes for more than that gets none.
        await pair.host.lanes.hear_wish(LaneWish(certificate=make_certificate().der), pair.host.echo)
        assert pair.host.lanes.count == LANES_PER_SESSION

    play(scenario)


def test_the_bytes_of_closed_lanes_still_count():
    async def scenario(pair):
        stream = await pair.lane()
        await stream.write(b"hello")
        assert await stream.read_exact(5) == b"hello"
        pair.owner.lanes.drop(stream, is_broken=False)
        await until(pair.owner.lanes, lambda: not pair.owner.lanes.count)
        assert (pair.owner.lanes.sent_bytes, pair.owner.lanes.received_bytes) == (5, 5)

    play(scenario)


def test_without_a_direct_path_nobody_wishes_and_nobody_listens():
    async def scenario(pair):
        assert pair.owner.lanes.take() is None
        await asyncio.sleep(0)
        assert pair.owner.said.empty()
        said = asyncio.Queue()
        relayed = Lanes("peer", say=said.put, path=lambda: RELAYED, binds=HERE)
        await relayed.hear_wish(LaneWish(certificate=make_certificate().der), pair.host.echo)
        assert (await said.get()).port == 0

    play(scenario, owner=lambda: Side(path=RELAYED))


@pytest.mark.parametrize("binds", [[], ["::1"]], ids=["no lanes at all", "another family"])
def test_a_side_without_a_fitting_address_does_not_wish(binds):
    async def scenario(pair):
        for _ in range(5):
            assert pair.owner.lanes.take() is None
            await asyncio.sleep(0)
        assert pair.wishes == 0

    play(scenario, owner=lambda: Side(path=AFAR, binds=binds))


def test_a_path_over_the_other_loopback_has_lanes_too():
    async def scenario(pair):
        await pair.ask(await pair.lane())
        assert pair.owner.lanes.count == pair.host.lanes.count == 1

    play(scenario, owner=lambda: Side(path=DIRECT_6), host=lambda: Side(path=DIRECT_6))


def test_after_some_attempts_the_session_stays_as_it_is():
    async def scenario(pair):
        for _ in range(3 * LANE_ATTEMPTS):
            assert pair.owner.lanes.take() is None
            for _ in range(20):
                await asyncio.sleep(0)
        assert pair.wishes == LANE_ATTEMPTS

    play(scenario, host=lambda: Side(path=RELAYED))


@pytest.mark.parametrize(
    "offer",
    [
        LaneOffer(port=22, certificate=make_certificate().der, token=bytes(32)),
        LaneOffer(port=50000, certificate=make_certificate().der, token=bytes(31)),
        LaneOffer(port=50000, certificate=b"nonsense", token=bytes(32)),
        LaneOffer(port=50000, certificate=b"", token=bytes(32)),
    ],
    ids=["a port of the system", "a short token", "no certificate", "an empty certificate"],
)
def test_offers_without_sense_are_not_dialled(offer, monkeypatch):
    async def scenario():
        side = Side()
        for _ in range(LANE_ATTEMPTS):
            assert side.lanes.take() is None
            await side.said.get()
            side.lanes.hear_offer(offer)
            await until(side.lanes, lambda: side.lanes._answer is None)
        assert side.lanes.take() is None
        assert side.said.empty()

    monkeypatch.setattr("socket.create_connection", None)
    asyncio.run(scenario())


def test_an_offer_that_nobody_asked_for_breaks_the_session():
    async def scenario():
        with pytest.raises(ProtocolViolation):
            Side().lanes.hear_offer(LaneOffer(port=0))

    asyncio.run(scenario())


def test_a_peer_of_an_older_version_is_asked_once():
    async def scenario():
        side = Side()
        side.lanes.take()
        await side.said.get()
        side.lanes.hear_unsupported()
        await until(side.lanes, lambda: side.lanes._answer is None)
        assert side.lanes.take() is None
        assert side.lanes._answer is None

    asyncio.run(scenario())


def test_a_lane_that_breaks_takes_the_free_ones_along_and_new_ones_can_be_had():
    async def scenario(pair):
        one, two = await pair.lane(), await pair.lane()
        await pair.ask(two)
        for lane in list(pair.host.lanes._lanes):
            lane.close()
        with pytest.raises(PeerUnreachable):
            await one.read(1)
        pair.owner.lanes.drop(one, is_broken=True)
        assert pair.owner.lanes.take() is None
        await pair.ask(await pair.lane())

    play(scenario)


def test_cancelled_requests_cost_no_attempts_and_no_other_lanes():
    async def scenario(pair):
        streams = [await pair.lane() for _ in range(LANES_PER_SESSION)]
        await pair.ask(streams.pop())
        for stream in streams:
            reading = asyncio.ensure_future(stream.read(1))
            await asyncio.sleep(0)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            pair.owner.lanes.drop(stream, is_broken=False)
        await pair.ask(await pair.lane())
        await asyncio.gather(*[pair.ask(await pair.lane()) for _ in range(LANES_PER_SESSION)])

    play(scenario)


def test_a_wish_that_comes_before_a_closed_lane_was_seen_to_go_is_not_turned_away():
    async def scenario(pair):
        streams = [await pair.lane() for _ in range(LANES_PER_SESSION)]
        await until(pair.host.lanes, lambda: pair.host.lanes.count == LANES_PER_SESSION)
        pair.stop_answers()
        await pair.host.lanes.hear_wish(LaneWish(certificate=make_certificate().der), pair.host.echo)
        pair.owner.lanes.drop(streams[0], is_broken=False)
        assert (await pair.host.said.get()).port > 0

    play(scenario)


def test_a_wish_ends_the_wait_at_the_door_before_and_the_answer_comes_soon(monkeypatch):
    monkeypatch.setattr(lanes_module, "_DOOR_GRACE_S", 0.01)

    async def scenario():
        side = Side()
        for _ in range(3):
            await side.lanes.hear_wish(LaneWish(certificate=make_certificate().der), side.echo)
            assert (await side.said.get()).port > 0
        side.lanes.close()

    async def guarded():
        async with asyncio.timeout(10):
            await scenario()

    asyncio.run(guarded())


def test_the_answer_to_a_wish_that_was_given_up_is_passed_over(monkeypatch):
    monkeypatch.setattr(lanes_module, "REPLY_S", 0.01)

    async def scenario():
        side = Side()
        assert side.lanes.take() is None
        await side.said.get()
        await until(side.lanes, lambda: side.lanes._answer is None)
        assert side.lanes.take() is None, "nor is another made meanwhile"
        assert side.lanes._answer is None
        side.lanes.hear_offer(LaneOffer(port=50000))
        with pytest.raises(ProtocolViolation):
            side.lanes.hear_offer(LaneOffer(port=50000))
        assert side.lanes.take() is None
        assert isinstance(await side.said.get(), LaneWish)

    asyncio.run(scenario())


def test_a_lane_that_has_carried_much_is_replaced(monkeypatch):
    monkeypatch.setattr(lanes_module, "LANE_BYTES", 9)

    async def scenario(pair):
        await pair.ask(await pair.lane())
        await pair.ask(await pair.lane())
        assert pair.wishes == 2

    play(scenario)


def test_lanes_that_the_peer_dialled_do_not_count_as_ours():
    async def scenario(pair):
        streams = [await pair.lane() for _ in range(LANES_PER_SESSION)]
        await asyncio.gather(*map(pair.ask, streams))
        assert pair.host.lanes.take() is None
        assert pair.host.lanes._answer is not None, "it wishes for its own"

    play(scenario)


def test_a_violation_on_a_lane_ends_the_session():
    async def scenario(pair):
        async def break_rules(_):
            raise ProtocolViolation("nonsense")

        pair.host.echo = break_rules
        stream = await pair.lane()
        await stream.write(b"hello")
        with pytest.raises(ProtocolViolation):
            await pair.host.lanes.watch()
        with pytest.raises(PeerUnreachable):
            await stream.read(1)

    play(scenario)


# --- with sessions


async def answer_range(_, channel):
    message = await channel.receive(GetRange)
    if message.leaves > 64:
        await channel.send(Refused(message="too much"))
    else:
        await channel.send(Range(size=MIB, pack_bytes=MIB))
        await channel.send_raw(bytes(MIB))
    await channel.finish()
    await channel.wait_end()


async def get_range(session, leaves=64):
    question = GetRange(agreement=b"a" * 16, stored=b"s" * 32, first_leaf=0, leaves=leaves)
    async with session.request(question, bulk=True) as channel:
        answer = await channel.receive(Range)
        return sum([len(piece) async for piece in channel.receive_raw(answer.size)])


@asynccontextmanager
async def apart(monkeypatch):
    monkeypatch.setattr(MemoryConnection, "path", lambda _: DIRECT)
    network = Network()
    one, two = (Party(network, index, serve=answer_range, lane_binds=HERE) for index in (1, 2))
    async with asyncio.timeout(30), running(one, two):
        session = await one.dial(two)
        assert await get_range(session) == MIB
        await until(session.lanes, lambda: session.lanes.count)
        yield one, two, session


def test_bulk_of_a_session_moves_to_a_lane_and_back_when_the_lane_dies(monkeypatch):
    async def scenario():
        async with apart(monkeypatch) as (_, two, session):
            quiet = session.connection.received_bytes
            assert await get_range(session) == MIB
            assert session.connection.received_bytes - quiet < MIB, "it came over the lane"
            assert session.received_bytes > MIB
            for lane in list(two.sessions.all()[0].lanes._lanes):
                lane.close()
            # Said to be the lane's own trouble, so it is made again at once, without waiting for anybody.
            with pytest.raises(LaneBroken):
                await get_range(session)
            assert await retry(lambda: get_range(session), VirtualClock(), budget_s=0) == MIB
            assert session.is_open

    asyncio.run(scenario())


def test_a_refusal_on_a_lane_is_told_and_the_session_lives_on(monkeypatch):
    async def scenario():
        async with apart(monkeypatch) as (_, _, session):
            with pytest.raises(RefusedError, match="too much"):
                await get_range(session, leaves=65)
            assert await get_range(session) == MIB

    asyncio.run(scenario())


def test_lanes_die_with_their_session(monkeypatch):
    async def scenario():
        async with apart(monkeypatch) as (one, two, session):
            there = two.sessions.all()[0]
            await one.sessions.close(two.peer)
            await there.ended.wait()
            await until(session.lanes, lambda: not session.lanes.count)
            await until(there.lanes, lambda: not there.lanes.count)

    asyncio.run(scenario())


def test_no_attempt_is_spent_while_a_session_is_relayed_and_a_direct_path_that_comes_gets_its_lane():
    async def scenario():
        paths = [RELAYED]
        lanes = Lanes("peer", say=(said := asyncio.Queue()).put, path=lambda: paths[0], binds=HERE)
        for _ in range(2 * LANE_ATTEMPTS):
            assert lanes.take() is None
        assert said.empty()
        paths[0] = DIRECT
        assert lanes.take() is None
        assert isinstance(await said.get(), LaneWish)
        lanes.close()

    asyncio.run(scenario())
