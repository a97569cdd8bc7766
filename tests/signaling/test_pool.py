"""Several real servers, some dead, some hanging, some lying."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import serve

from backuppeer import limits
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import ExitCode, LocalError, NoSignaling, ProtocolViolation, Unavailable, UserError
from backuppeer.signaling.board import Acceptance, Board
from backuppeer.signaling.client import backoff_s, open_link
from backuppeer.signaling.health import HealthBook
from backuppeer.signaling.listing import ListingKind, open_listing
from backuppeer.signaling.merge import SeqMemory
from backuppeer.signaling.messages import SUBPROTOCOL, InboxOpen, Message, Page, encode
from backuppeer.signaling.pool import Pool, no_signaling
from backuppeer.signaling.server.engine import Shown
from signaling.kit import NOW_MS, Host, NoJitter, dead_url, hanging, run, serving

SEALED = b"s" * limits.KNOCK_BYTES


def pool_of(*urls, clock, memory=None):
    return Pool(list(urls), clock=clock, memory=memory, randomness=NoJitter())


async def ignore(_sealed, _server):
    pass


async def until(predicate):
    while not predicate():  # noqa: ASYNC110 - states have no event of their own; each turn lets the loop work
        await asyncio.sleep(0)


def test_a_listing_goes_to_all_servers_and_each_answer_is_told():
    async def story():
        host = Host()
        async with serving() as a, serving() as b, pool_of(a.url, dead_url(), b.url, clock=a.clock) as pool:
            outcomes = await pool.publish(host.signed())
            assert [(o.url, o.accepted) for o in outcomes] == [(a.url, True), (dead_url(), False), (b.url, True)]
            assert "refused" in outcomes[1].error
            assert [s.connected for s in pool.states()] == [True, False, True]
            result = await pool.browse()
            assert [row.peer for row in result.listings] == [host.peer]
            assert set(result.listings[0].servers) == {a.url, b.url}
            assert (result.seen, result.refused) == (2, 0)
            assert [s.url for s in result.failed] == [dead_url()]

    run(story())


def test_a_hanging_server_delays_nothing_beyond_the_soft_deadline(monkeypatch):
    monkeypatch.setattr(limits, "BROWSE_SOFT_S", 0.05)

    async def story():
        host = Host()
        async with hanging() as stuck, serving() as live, pool_of(stuck, live.url, clock=live.clock) as pool:
            outcomes = await pool.publish(host.signed(), within_s=0.05)
            assert [o.accepted for o in outcomes] == [False, True]
            result = await pool.browse()
            assert result.answered == [live.url]
            assert [row.peer for row in result.listings] == [host.peer]
            assert "in time" in result.failed[0].error
            handle = await pool.open_inbox(host.inbox, ignore)
            assert handle.open_at() == [live.url]
            await handle.close()

    run(story())


def test_without_any_reachable_server_the_error_names_those_tried_and_the_way_out():
    async def story():
        host, other = Host(), "ws://127.0.0.1:2"
        async with Pool([dead_url(), other], randomness=NoJitter()) as pool:
            steps = [
                pool.publish(host.signed()),
                pool.browse(),
                pool.deposit([dead_url(), other], host.inbox.public, SEALED),
                pool.open_inbox(host.inbox, ignore),
            ]
            for step in steps:
                with pytest.raises(NoSignaling) as caught:
                    await step
                assert caught.value.exit_code is ExitCode.NO_SIGNALING
                assert "--server" in caught.value.hint
                for url in (dead_url(), other):
                    assert f"{caught.value.message} {caught.value.hint}".count(url) == 1
            assert not any(status.url in status.error for status in pool.states())

    run(story())


def test_a_server_that_accepts_and_never_answers_is_given_up():
    async def story():
        async with hanging() as stuck:
            with pytest.raises(Unavailable, match="did not answer within"):
                async with open_link(stuck, timeout_s=0.05):
                    pass

    run(story())


def test_a_redirect_is_not_followed():
    """An inbox proof is bound to the name we were told to dial; nobody may send us elsewhere."""

    async def story():
        async with serving() as target:
            answer = f"HTTP/1.1 302 Found\r\nLocation: {target.url}\r\nContent-Length: 0\r\n\r\n".encode()

            async def redirect(reader, writer):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
                writer.close()

            async with await asyncio.start_server(redirect, "127.0.0.1", 0) as server:
                url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
                with pytest.raises(Unavailable, match="HTTP status 302"):
                    async with open_link(url):
                        pass

    run(story())


def test_a_server_that_hands_out_empty_pages_for_ever_is_left():
    async def story():
        async def endless(socket):
            async for _ in socket:
                await socket.send(encode(Page([], b"on", 0)))

        async with serve(endless, "127.0.0.1", 0, subprotocols=[SUBPROTOCOL], compression=None) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with Pool([url]) as pool:
                assert (await pool.browse(limit=20)).listings == []

    run(story())


@pytest.mark.parametrize("answer", [b"", b"\xc1", "text", encode(InboxOpen()), encode(Message(1, SEALED))])
def test_a_server_that_breaks_the_protocol_counts_as_failed(answer):
    async def story():
        async def rogue(socket):
            async for _ in socket:
                await socket.send(answer)

        async with serve(rogue, "127.0.0.1", 0, subprotocols=[SUBPROTOCOL], compression=None) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with Pool([url], randomness=NoJitter()) as pool:
                for step in (pool.browse(), pool.deposit([url], b"i" * 32, SEALED), pool.publish(Host().signed())):
                    with pytest.raises(NoSignaling):
                        await step

    run(story())


def test_a_pool_without_servers_says_that_none_is_configured():
    async def story():
        async with Pool([]) as pool:
            for step in (pool.publish(b"x"), pool.browse(), pool.deposit([], b"i" * 32, SEALED)):
                with pytest.raises(NoSignaling, match="none is configured"):
                    await step
            assert pool.states() == []

    run(story())


def test_a_bad_address_is_a_usage_error():
    with pytest.raises(UserError) as caught:
        Pool(["http://a.example"])
    assert caught.value.exit_code is ExitCode.USAGE


def test_a_publication_returns_by_itself_when_its_server_restarts():
    async def story():
        host = Host()
        async with serving() as first, pool_of(first.url, clock=first.clock) as pool:
            await pool.publish(host.signed())
            await first.stop()
            async with serving(port=first.port, clock=first.clock) as second:
                await until(lambda: second.engine.record)
                assert second.engine.record[0].signed == host.signed()

    run(story())


def test_a_server_that_was_away_gets_the_newest_listing_only():
    async def story():
        host = Host()
        async with serving() as live, serving() as late:
            await late.stop()
            async with pool_of(live.url, late.url, clock=live.clock) as pool:
                await pool.publish(host.signed(NOW_MS))
                await pool.publish(host.signed(NOW_MS + 1))
                async with serving(port=late.port, clock=live.clock) as back:
                    await until(lambda: back.engine.record)
                    assert [shown.seq for shown in back.engine.record] == [NOW_MS + 1]

    run(story())


def test_a_refresh_replaces_the_listing_over_the_same_sockets():
    async def story():
        host = Host()
        async with serving() as server, pool_of(server.url, clock=server.clock) as pool:
            await pool.publish(host.signed(NOW_MS))
            await pool.publish(host.signed(NOW_MS + 1))
            assert server.engine.lost.empty()
            result = await pool.browse()
            assert result.listings[0].listing.seq == NOW_MS + 1

    run(story())


def test_a_refused_listing_is_told_with_its_reason():
    async def story():
        host = Host()
        async with serving() as server, pool_of(server.url, clock=server.clock) as pool:
            await pool.publish(host.signed(NOW_MS + 1))
            with pytest.raises(NoSignaling, match="stale"):
                await pool.publish(host.signed(NOW_MS))
            assert "stale" in pool.states()[0].error

    run(story())


def test_a_listing_refused_for_its_times_is_told_as_a_wrong_clock_with_what_it_says():
    async def story():
        host = Host()
        async with serving() as server, pool_of(server.url, clock=server.clock) as pool:
            days_ahead = NOW_MS + 10 * 86400_000
            with pytest.raises(NoSignaling, match="clock of this computer seems wrong") as caught:
                await pool.publish(host.signed(days_ahead, now_ms=days_ahead))
            assert "it says 20" in caught.value.hint
            assert "clock" in pool.states()[0].error

    run(story())


def test_withdrawing_takes_the_listing_off_every_server():
    async def story():
        host = Host()
        async with serving() as a, serving() as b, pool_of(a.url, b.url, clock=a.clock) as pool:
            await pool.publish(host.signed(NOW_MS))
            outcomes = await pool.withdraw(host.tombstone(NOW_MS + 1))
            assert [o.accepted for o in outcomes] == [True, True]
            assert (await pool.browse()).listings == []
            assert await a.engine.lost.get() == host.peer

    run(story())


def test_closing_the_pool_ends_presence():
    async def story():
        host = Host()
        async with serving() as server:
            async with pool_of(server.url, clock=server.clock) as pool:
                await pool.publish(host.signed())
            assert await server.engine.lost.get() == host.peer
            await pool.close()

    run(story())


def test_rows_are_told_as_they_arrive_and_once():
    async def story():
        hosts = [Host() for _ in range(120)]
        async with serving() as a, serving() as b:
            for server in (a, b):
                for number, host in enumerate(hosts):
                    await put(server.engine, open_listing(host.signed(), NOW_MS), number)
            told = []
            async with pool_of(a.url, b.url, clock=a.clock) as pool:
                result = await pool.browse(on_rows=told.append)
            assert len(told) > 2
            assert sorted(row.peer for rows in told for row in rows) == sorted(host.peer for host in hosts)
            assert len(result.listings) == 120
            assert result.seen == 240

    run(story())


async def put(engine, row, holder):
    """Show a listing without a publisher's socket."""
    await engine.put_listing(
        Shown(row.peer, row.listing.seq, row.signed, row.signed[:32], is_slot=True, life_s=7200), holder
    )


def test_the_limit_is_per_server_and_everything_lifts_it():
    async def story():
        async with serving() as server, pool_of(server.url, clock=server.clock) as pool:
            for number in range(130):
                await put(server.engine, open_listing(Host().signed(), NOW_MS), number)
            assert len((await pool.browse(limit=60)).listings) == 60
            assert len((await pool.browse(limit=60, everything=True)).listings) == 130

    run(story())


def test_rows_a_lying_server_made_up_are_refused_and_counted():
    async def story():
        honest, altered, expired = Host(), Host(), Host()
        bad = altered.signed()
        bad = bad[:-1] + bytes([bad[-1] ^ 1])
        async with serving() as liar, pool_of(liar.url, clock=liar.clock) as pool:
            rows = [honest.signed(), bad, expired.signed(now_ms=NOW_MS - 5 * 3_600_000), b"junk"]
            for number, signed in enumerate(rows):
                row = open_listing(Host().signed(), NOW_MS)
                await put(liar.engine, row, number)
                liar.engine._shown[row.peer].signed = signed
            result = await pool.browse()
            assert [row.peer for row in result.listings] == [honest.peer]
            assert (result.seen, result.refused) == (4, 3)

    run(story())


def test_a_server_that_rolls_back_shows_nothing_old():
    async def story():
        host, memory = Host(), SeqMemory()
        async with serving() as fresh, serving() as stale:
            async with pool_of(fresh.url, clock=fresh.clock, memory=memory) as pool:
                await pool.publish(host.signed(NOW_MS + 1))
                await pool.browse()
            async with pool_of(stale.url, clock=fresh.clock, memory=memory) as pool:
                await pool.publish(host.signed(NOW_MS))
                assert (await pool.browse()).listings == []

    run(story())


def test_equivocation_between_servers_is_flagged():
    async def story():
        host = Host()
        async with serving() as a, serving() as b:
            async with pool_of(a.url, clock=a.clock) as one, pool_of(b.url, clock=a.clock) as two:
                await one.publish(host.signed(availability=900))
                await two.publish(host.signed(availability=500))
                async with pool_of(a.url, b.url, clock=a.clock) as viewer:
                    (row,) = (await viewer.browse()).listings
            assert row.is_equivocating
            assert row.listing.kind is ListingKind.SLOT

    run(story())


def test_a_deposit_falls_over_to_the_next_server():
    async def story():
        host = Host()
        got = asyncio.Queue()

        async def keep(sealed, server):
            got.put_nowait((sealed, server))

        async with serving() as live, pool_of(dead_url(), live.url, clock=live.clock) as pool:
            await pool.open_inbox(host.inbox, keep)
            assert await pool.deposit([dead_url(), live.url], host.inbox.public, SEALED) == live.url
            assert await got.get() == (SEALED, live.url)
            await pool.close()

    run(story())


def test_servers_are_tried_in_the_order_named_own_ones_first():
    async def story():
        async with serving() as a, serving() as b, pool_of(a.url, b.url, clock=a.clock) as pool:
            named = ["wss://far.example", b.url + "/", "nonsense", a.url, "ws://far.example"]
            assert pool._reachable(named) == [b.url, a.url, "wss://far.example"]
            assert await pool.deposit(named, b"i" * 32, SEALED) == b.url

    run(story())


def test_a_peer_cannot_make_us_dial_into_our_own_network():
    async def story():
        async with serving() as private, serving() as own, pool_of(own.url, clock=own.clock) as pool:
            with pytest.raises(NoSignaling):
                await pool.deposit([private.url, "wss://127.0.0.1:1", "ws://router.example"], b"i" * 32, SEALED)
            with pytest.raises(NoSignaling):
                await pool.open_inbox(SigningKey.generate(), ignore, servers=[private.url])
            assert private.engine.record == []

    run(story())


def test_a_deposit_of_another_size_is_our_own_bug():
    async def story():
        async with Pool([dead_url()]) as pool:
            with pytest.raises(LocalError):
                await pool.deposit([dead_url()], b"i" * 32, b"short")

    run(story())


def test_a_message_refused_by_its_reader_is_not_delivered_again():
    async def story():
        host = Host()
        seen = asyncio.Queue()

        async def refuse(sealed, server):
            seen.put_nowait(sealed)
            raise ProtocolViolation("not for me")

        async with serving() as server, pool_of(server.url, clock=server.clock) as pool:
            handle = await pool.open_inbox(host.inbox, refuse)
            await pool.deposit([server.url], host.inbox.public, SEALED)
            await seen.get()
            await pool.deposit([server.url], host.inbox.public, b"t" * limits.KNOCK_BYTES)
            await seen.get()
            await until(lambda: not server.engine._messages)
            await handle.close()

    run(story())


def test_a_message_sent_again_after_a_lost_acknowledgement_is_heard_once():
    async def story():
        host = Host()
        seen = asyncio.Queue()

        async def keep(sealed, _server):
            seen.put_nowait(sealed[:1])

        async with serving() as server, pool_of(server.url, clock=server.clock) as pool:
            await pool.open_inbox(host.inbox, keep)
            for text in (b"s", b"s", b"t"):
                await pool.deposit([server.url], host.inbox.public, text * limits.KNOCK_BYTES)
            assert [await seen.get(), await seen.get()] == [b"s", b"t"]

    run(story())


def test_a_bug_in_a_reader_comes_out_of_close():
    async def story():
        host = Host()

        async def bug(sealed, _server):
            raise ZeroDivisionError

        async with serving() as server:
            pool = pool_of(server.url, clock=server.clock)
            handle = await pool.open_inbox(host.inbox, bug)
            await pool.deposit([server.url], host.inbox.public, SEALED)
            await server.engine.left.get()
            with pytest.raises(ZeroDivisionError):
                await handle.close()
            await pool.close()

    run(story())


def test_an_inbox_is_opened_again_after_its_server_restarted():
    async def story():
        host = Host()
        got = asyncio.Queue()

        async def keep(sealed, _server):
            got.put_nowait(sealed)

        async with serving() as first, pool_of(first.url, clock=first.clock) as pool:
            handle = await pool.open_inbox(host.inbox, keep)
            await first.stop()
            await until(lambda: not handle.open_at())
            async with serving(port=first.port, clock=first.clock) as second:
                await until(lambda: second.engine.record and handle.open_at())
                await pool.deposit([first.url], host.inbox.public, SEALED)
                assert await got.get() == SEALED

    run(story())


def test_the_backoff_doubles_its_roof_up_to_a_minute_staying_low_at_first_with_full_jitter():
    class Roof(NoJitter):
        def uniform(self, a, b):
            assert a == 0
            return b

    assert [backoff_s(n, Roof()) for n in (0, 1, 2)] == [0.5, 1.0, 2.0]
    assert [backoff_s(n, Roof()) for n in (4, 12, 13, 14)] == [8.0, 8.0, 16.0, 32.0]
    assert backoff_s(1000, Roof()) == limits.RECONNECT_MAX_S


def test_a_board_settles_at_once_when_all_have_spoken():
    async def story():
        board = Board(["a", "b"])
        board.put("a", accepted=False, error="x")
        board.put("b", accepted=True, error="")
        board.put("c", accepted=True, error="")
        await board.settle(1000)
        assert [o.accepted for o in board.outcomes()] == [False, True]

    run(story())


def test_a_deposit_passes_a_hanging_server_in_bounded_time(monkeypatch):
    monkeypatch.setattr(limits, "DEPOSIT_S", 0.05)

    async def story():
        host = Host()
        async with hanging() as stuck, serving() as live, pool_of(stuck, live.url, clock=live.clock) as pool:
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            assert await pool.deposit([stuck, live.url], host.inbox.public, SEALED) == live.url
            assert loop.time() - began_s < limits.SERVER_CONNECT_S
            (state, _) = pool.states()
            assert "did not answer within" in state.error

    run(story())


def test_each_server_answers_for_the_rows_it_handed_out():
    async def story():
        host, book = Host(), HealthBook()
        async with serving() as fresh, serving() as stale:
            for server, seq in ((fresh, NOW_MS + 1), (stale, NOW_MS)):
                await put(server.engine, open_listing(host.signed(seq), NOW_MS), 1)
            memory = SeqMemory()
            for url in (fresh.url, stale.url):  # one after the other: which answers first is chance
                async with Pool([url], clock=fresh.clock, memory=memory, health=book) as pool:
                    await pool.browse()
            assert (book.get(fresh.url).rows, book.get(fresh.url).outdated) == (1, 0)
            assert (book.get(stale.url).rows, book.get(stale.url).outdated) == (1, 1)
            fresh.clock.turn(limits.OUTDATED_GRACE_S + 1)
            async with Pool([stale.url], clock=fresh.clock, memory=memory, health=book) as pool:
                await pool.browse()
            assert book.get(stale.url).is_lagging(fresh.clock.now_ms())

    run(story())


def test_a_server_that_is_lost_was_reached_last_when_it_was_lost():
    async def story():
        book, gone = HealthBook(), asyncio.Event()
        async with serving() as server:
            pool = Pool([server.url], clock=server.clock, health=book, randomness=NoJitter(), on_change=gone.set)
            async with pool:
                await pool.publish(Host().signed())
                began_ms = book.get(server.url).reached_ms
                server.clock.turn(3600)
                gone.clear()
                await server.stop()
                await gone.wait()
                assert book.get(server.url).reached_ms >= began_ms + 3600 * 1000
                assert book.get(server.url).failures > 0

    run(story())


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        ("did not receive a valid HTTP response", "is it wss://"),
        ("the server hung up", "is it ws://"),
        ("connection refused", "check addresses and network"),
    ],
)
def test_who_dials_without_tls_what_wants_it_or_the_other_way_round_is_told(error, hint):
    refused = no_signaling("nothing found", [Acceptance(url="ws://x", accepted=False, error=f"ws://x: {error}")])
    assert hint in refused.hint


@given(st.integers(0, 10**6), st.integers())
def test_a_wait_before_a_try_is_anywhere_from_nothing_to_its_roof(attempt, seed):
    class Roof(random.Random):
        def uniform(self, a, b):
            assert a == 0
            return b

    roof = backoff_s(attempt, Roof())
    assert 0 <= backoff_s(attempt, random.Random(seed)) <= roof <= limits.RECONNECT_MAX_S
    assert backoff_s(attempt + 1, Roof()) >= roof, "a roof never sinks"
