"""Messages cost work while a flood lasts, and nothing when idle: real servers on loopback, floods of few messages."""

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest
from websockets.asyncio.server import serve

from backuppeer import limits
from backuppeer.crypto.identity import SigningKey
from backuppeer.crypto.stamp import NO_WORK, WORK_BYTES
from backuppeer.errors import AuthenticationFault, NoSignaling, Unavailable
from backuppeer.signaling import depositing
from backuppeer.signaling.client import open_link
from backuppeer.signaling.depositing import deposit_at
from backuppeer.signaling.messages import (
    SUBPROTOCOL,
    CloseCode,
    Deposit,
    Deposited,
    WorkWanted,
    decode_request,
    encode,
)
from backuppeer.signaling.pool import Pool
from backuppeer.signaling.server import postage
from backuppeer.signaling.server.caps import Caps
from backuppeer.signaling.server.postage import Postage
from backuppeer.signaling.servers import authority
from backuppeer.signaling.stamping import estimate_s, make_work
from signaling.kit import NoJitter, TurnedClock, run, serving

SEALED = b"s" * limits.KNOCK_BYTES
INBOX = SigningKey.generate().public
FLOODED = Caps(load_messages_per_s=1 / limits.LOAD_WINDOW_S)
"""One message within a minute is a flood."""


def message(inbox=INBOX, work=NO_WORK):
    return Deposit(inbox, SEALED, work)


def take(made, inbox=INBOX, times=1):
    for _ in range(times):
        assert made.collect(None, message(inbox), "a") is None


def price(made, inbox=INBOX):
    due = made.collect(None, message(inbox), "a")
    return due.bits if due else 0


@asynccontextmanager
async def flooded(caps=FLOODED):
    """Yield a server where the next message into INBOX costs work."""
    async with serving(caps) as served:
        await served.engine.open_inbox(INBOX)
        assert await deposit_at(served.url, INBOX, SEALED)
        yield served


async def waiting(served):
    return len(await served.engine.waiting(INBOX))


def told():
    seen = []

    async def on_work(url, seconds):
        seen.append((url, seconds > 0))

    return seen, on_work


def test_an_idle_server_wants_no_work_however_often_an_inbox_had_messages():
    clock = TurnedClock()
    made = Postage(Caps(), clock=clock)
    for _ in range(100):
        take(made)
        clock.turn(1.5 / limits.LOAD_INBOX_PER_S)
    assert made.bits() == 0


def test_a_flood_of_one_inbox_costs_those_who_write_there_and_nobody_else():
    clock = TurnedClock()
    made = Postage(Caps(), clock=clock)
    take(made, times=int(limits.LOAD_INBOX_PER_S * limits.LOAD_WINDOW_S))
    other = SigningKey.generate().public
    take(made, other)
    assert price(made) == limits.LOAD_BITS_LEAST + 1
    assert price(made, other) == 0
    clock.turn(limits.LOAD_WINDOW_S)
    assert price(made) == 0, "it is over"


def test_a_flood_of_all_inboxes_costs_more_the_greater_it_is_up_to_the_most():
    made = Postage(Caps(), clock=TurnedClock())
    asked = []
    for number in range(40):
        take(made, number.to_bytes(32, "big"))  # the first message into an inbox is free
    for part in (0.25, 0.5, 1, 2, 4, 8, 16):
        for _ in range(int(part * limits.LOAD_MESSAGES_PER_S * limits.LOAD_WINDOW_S)):
            made._all.note(made._clock.monotonic_s())
        asked.append(price(made, bytes(32)))
    assert asked[0] == 0
    assert asked == sorted(asked)
    assert asked[-1] == limits.KNOCK_BITS_MOST


def test_the_first_message_into_an_inbox_is_free_while_a_flood_lasts_so_that_replies_are():
    clock = TurnedClock()
    made = Postage(FLOODED, clock=clock)
    take(made)
    assert price(made) > 0
    take(made, SigningKey.generate().public)
    clock.turn(limits.MESSAGE_FREE_S)
    for _ in range(5):
        take(made, SigningKey.generate().public)
    assert made.bits() > 0
    take(made)


def test_who_asks_and_does_not_pay_raises_no_price():
    made = Postage(FLOODED, clock=TurnedClock())
    take(made)
    assert len({price(made) for _ in range(1000)}) == 1


def test_the_price_is_the_same_for_inboxes_that_are_there_and_that_are_not():
    async def story():
        async with serving(FLOODED) as served:
            await served.engine.open_inbox(INBOX)
            asked = []
            for inbox in (INBOX, SigningKey.generate().public):
                async with open_link(served.url) as link:
                    await link.ask(message(inbox), Deposited)
                    asked.append((await link.ask(message(inbox), WorkWanted)).bits)
            assert asked[0] <= asked[1] <= asked[0] + 1, "one more message, and nothing of the inbox"

    run(story())


def test_inboxes_are_remembered_up_to_a_cap_and_the_one_written_to_longest_ago_goes(monkeypatch):
    monkeypatch.setattr(limits, "LOAD_INBOXES", 3)
    made = Postage(FLOODED, clock=TurnedClock())
    for name in (b"a", b"b", b"c", b"d"):
        take(made, name * 32)
    assert len(made._inboxes) == 3
    assert price(made, b"b" * 32) > 0
    take(made, b"a" * 32)


def test_a_message_into_a_flooded_inbox_is_worked_for_and_arrives():
    async def story():
        async with flooded() as served, Pool([served.url], clock=served.clock, randomness=NoJitter()) as pool:
            seen, on_work = told()
            assert await pool.deposit([served.url], INBOX, SEALED, on_work=on_work) == served.url
            assert seen == [(served.url, True), (served.url, False)]
            assert await waiting(served) == 2
            assert pool.states()[0].connected

    run(story())


def test_who_does_no_work_is_told_that_the_server_is_flooded():
    async def story():
        async with flooded() as served, Pool([served.url], clock=served.clock, randomness=NoJitter()) as pool:
            with pytest.raises(NoSignaling, match="flooded, and wants work for a message"):
                await pool.deposit([served.url], INBOX, SEALED)
            assert await waiting(served) == 1

    run(story())


def test_a_server_that_takes_a_message_for_nothing_is_preferred_to_work():
    async def story():
        async with flooded() as busy, serving() as idle:
            async with Pool([busy.url, idle.url], clock=busy.clock, randomness=NoJitter()) as pool:
                seen, on_work = told()
                assert await pool.deposit([busy.url, idle.url], INBOX, SEALED, on_work=on_work) == idle.url
            assert seen == []

    run(story())


def test_a_program_of_before_is_sent_elsewhere_while_a_flood_lasts_and_served_as_ever_when_not():
    async def story():
        async with serving(FLOODED) as served, open_link(served.url) as link:
            before = Deposit(INBOX, SEALED)  # without the field, or with an empty one: what it does not know of
            await link.ask(before, Deposited)
            with pytest.raises(Unavailable, match=f"{CloseCode.BUSY} busy: go elsewhere"):
                await link.ask(before, Deposited)

    run(story())


def test_a_server_of_before_reads_a_message_as_ever():
    class Before(msgspec.Struct, tag="deposit", tag_field="t", frozen=True):
        inbox: bytes
        sealed: bytes

    assert msgspec.msgpack.decode(encode(message()), type=Before) == Before(INBOX, SEALED)
    without = msgspec.msgpack.encode(Before(INBOX, SEALED))
    assert decode_request(without) == Deposit(INBOX, SEALED)


def test_a_message_has_one_size_with_work_and_without():
    assert len(NO_WORK) == WORK_BYTES
    assert len({len(encode(message(work=work))) for work in (NO_WORK, b"\xff" * WORK_BYTES)}) == 1
    assert len({len(encode(WorkWanted(bits, bytes(32)))) for bits in range(1, limits.KNOCK_BITS_MOST + 1)}) == 1


@pytest.mark.parametrize("wrong", ["challenge", "inbox", "server", "bits", "zeros but one"])
def test_work_for_something_else_does_not_hold_and_is_a_breach(wrong):
    async def story():
        async with flooded() as served, open_link(served.url) as link:
            wanted = await link.ask(message(), WorkWanted)
            challenge = bytes(32) if wrong == "challenge" else wanted.challenge
            inbox = bytes(32) if wrong == "inbox" else INBOX
            server = "other.example" if wrong == "server" else authority(served.url)
            bits = 1 if wrong == "bits" else wanted.bits
            work = await make_work(challenge, inbox, server, bits=bits)
            if wrong == "zeros but one":
                work = bytes(WORK_BYTES - 1) + b"\x01"
            with pytest.raises(Unavailable, match=str(CloseCode.UNPROVEN)):
                await link.ask(message(work=work), Deposited)
            assert await waiting(served) == 1

    run(story())


def test_work_is_good_for_one_message_upon_one_socket():
    async def story():
        async with flooded() as served, open_link(served.url) as link:
            wanted = await link.ask(message(), WorkWanted)
            work = await make_work(wanted.challenge, INBOX, authority(served.url), bits=wanted.bits)
            await link.ask(message(work=work), Deposited)
            again = await link.ask(message(work=work), WorkWanted)
            assert again.challenge != wanted.challenge
            async with open_link(served.url) as other:
                await other.ask(message(work=work), WorkWanted)
            assert await waiting(served) == 2

    run(story())


def test_what_was_asked_for_a_quiet_inbox_does_not_pay_for_a_loud_one():
    made = Postage(FLOODED, clock=TurnedClock())
    take(made)
    due = made.collect(None, message(), "a")
    with pytest.raises(AuthenticationFault):
        made.collect(due, message(bytes(32), b"\x01" * WORK_BYTES), "a")


@asynccontextmanager
async def asking_for(bits, *, forever=False):
    """Yield a server that answers each message by asking for work, however often or once."""

    async def answer(connection):
        async for data in connection:
            is_paid = decode_request(data).work != NO_WORK and not forever
            await connection.send(encode(Deposited() if is_paid else WorkWanted(bits, bytes(32))))

    async with serve(answer, "127.0.0.1", 0, subprotocols=[SUBPROTOCOL]) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def test_a_server_that_wants_more_than_the_most_or_never_has_enough_gets_no_more(monkeypatch):
    async def story():
        seen, on_work = told()
        async with asking_for(limits.KNOCK_BITS_MOST + 1) as url:
            with pytest.raises(Unavailable, match="more work for a message than this program does"):
                await deposit_at(url, INBOX, SEALED, on_work=on_work)
        assert seen == []
        async with asking_for(1, forever=True) as url:
            with pytest.raises(Unavailable, match="does not take the work"):
                await deposit_at(url, INBOX, SEALED, on_work=on_work)
        async with asking_for(limits.KNOCK_BITS_MOST) as url:
            monkeypatch.setattr(depositing, "KNOCK_WORK_S", 0.05)
            with pytest.raises(Unavailable, match=r"than is done here in 0\.05 s"):
                await deposit_at(url, INBOX, SEALED, on_work=on_work)

    run(story())


def test_the_time_that_is_told_is_near_the_time_that_it_takes():
    async def story():
        told_s = min([await estimate_s(limits.LOAD_BITS_LEAST) for _ in range(5)])
        began_s = asyncio.get_running_loop().time()
        await make_work(bytes(32), INBOX, "a", bits=limits.LOAD_BITS_LEAST)
        took_s = asyncio.get_running_loop().time() - began_s
        assert told_s / 20 < took_s < told_s * 20, "other work runs beside this test"
        assert await estimate_s(limits.LOAD_BITS_LEAST + 6) > told_s

    run(story())


def test_the_most_that_is_worked_is_what_a_server_asks_for_at_most():
    caps = Caps()
    assert (caps.load_messages_per_s, caps.load_inbox_per_s) == (limits.LOAD_MESSAGES_PER_S, limits.LOAD_INBOX_PER_S)
    assert limits.KNOCK_WORK_S < limits.SERVER_INBOX_SILENCE_S
    assert postage.limits.KNOCK_BITS_MOST == depositing.KNOCK_BITS_MOST
