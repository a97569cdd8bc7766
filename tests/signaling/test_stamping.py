"""New keys show work where a server asks for it: real servers on loopback, the least difficulty but where said."""

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest
from websockets.asyncio.server import serve

from agent.loops import play
from backuppeer import limits
from backuppeer.crypto.identity import SigningKey
from backuppeer.crypto.stamp import DAY_MS, STAMP_BYTES, holds
from backuppeer.errors import NoSignaling, Unavailable
from backuppeer.signaling import client, stamping
from backuppeer.signaling import pool as pool_module
from backuppeer.signaling.client import Publication, open_link
from backuppeer.signaling.messages import SUBPROTOCOL, Publish, Published, Refusal, decode_request, encode
from backuppeer.signaling.pool import Pool
from backuppeer.signaling.server.caps import Caps
from backuppeer.signaling.server.seen import SeenKeys
from backuppeer.signaling.servers import authority
from backuppeer.signaling.stamping import Work, make_stamp
from signaling.kit import NOW_MS, Host, NoJitter, TurnedClock, run, serving


def publishing(served, clock=None):
    pool = Pool([served.url], clock=clock or served.clock, randomness=NoJitter())
    proving = []
    pool.on_proving = lambda url, goes_on: proving.append((url, goes_on))
    return pool, proving


async def publish(served, listing, stamp=b""):
    async with open_link(served.url) as link:
        return await link.ask(Publish(listing, stamp), Published)


def test_a_new_key_shows_work_once_and_is_known_from_then_on():
    async def story():
        async with serving(stamp_bits=1) as served:
            host = Host()
            pool, proving = publishing(served)
            async with pool:
                (taken,) = await pool.publish(host.signed())
                assert taken.accepted
                assert proving == [(served.url, True), (served.url, False)]
                (taken,) = await pool.publish(host.signed(NOW_MS + 1))
                assert taken.accepted
            pool, proving = publishing(served)
            async with pool:
                (taken,) = await pool.publish(host.signed(NOW_MS + 2))
                assert taken.accepted
                assert proving == [], "another connection of a key that is known"

    run(story())


def test_who_shows_no_work_is_refused_in_words_and_told_how_much_is_wanted():
    async def story():
        async with serving(stamp_bits=5) as served:
            host = Host()
            # As a program of before sends it, and as it shows the code: as it came.
            answer = await publish(served, host.signed())
            assert answer == Published(accepted=False, code=Refusal.STAMP, bits=5)
            assert "this program is too old" in answer.code
            assert served.engine.record == [], "nothing of it reached the engine"
            stamp = await make_stamp(host.peer, authority(served.url), 5, clock=served.clock)
            assert (await publish(served, host.signed(), stamp)).accepted

    run(story())


@pytest.mark.parametrize("wrong", ["key", "server", "yesterday", "tomorrow", "easy", "zeros"])
def test_work_for_another_key_server_or_day_or_too_little_of_it_is_refused(wrong):
    async def story():
        async with serving(stamp_bits=12) as served:
            host, clock = Host(), TurnedClock()
            clock.ms += {"yesterday": -DAY_MS, "tomorrow": DAY_MS}.get(wrong, 0)
            peer = SigningKey.generate().public if wrong == "key" else host.peer
            server = "two.example:8443" if wrong == "server" else authority(served.url)
            stamp = await make_stamp(peer, server, 1 if wrong == "easy" else 12, clock=clock)
            answer = await publish(served, host.signed(), bytes(STAMP_BYTES) if wrong == "zeros" else stamp)
            assert answer.code == Refusal.STAMP

    run(story())


def test_a_clock_within_the_skew_has_the_right_day():
    midnight = NOW_MS // DAY_MS * DAY_MS
    for off_s, is_right in ((limits.CLOCK_SKEW_S, True), (limits.CLOCK_SKEW_S + 1, False)):
        assert stamping.is_timely(midnight // DAY_MS - 1, midnight - 1000 + off_s * 1000) is is_right


def test_after_a_month_without_a_word_or_a_restart_of_the_server_work_is_wanted_again():
    async def story():
        clock = TurnedClock()
        async with serving(stamp_bits=1, clock=clock) as served:
            host = Host()
            stamp = await make_stamp(host.peer, authority(served.url), 1, clock=clock)
            assert (await publish(served, host.signed(), stamp)).accepted
            clock.turn((limits.KEY_REMEMBERED_DAYS - 1) * 86_400)
            assert (await publish(served, host.signed(clock.ms, now_ms=clock.ms))).accepted
            clock.turn((limits.KEY_REMEMBERED_DAYS + 1) * 86_400)
            assert (await publish(served, host.signed(clock.ms, now_ms=clock.ms))).code == Refusal.STAMP
        async with serving(stamp_bits=1) as served:
            assert (await publish(served, host.signed())).code == Refusal.STAMP

    run(story())


def test_a_server_that_asks_for_none_takes_a_listing_with_and_without():
    async def story():
        async with serving(stamp_bits=0) as served:
            assert (await publish(served, Host().signed())).accepted
            assert (await publish(served, Host().signed(), bytes(STAMP_BYTES))).accepted
            pool, proving = publishing(served)
            async with pool:
                await pool.publish(Host().signed())
            assert proving == []

    run(story())


def test_a_server_that_asks_for_years_gets_nothing_and_the_person_is_told():
    async def story():
        async with serving(stamp_bits=limits.STAMP_BITS_MOST + 1) as served:
            pool, proving = publishing(served)
            async with pool:
                with pytest.raises(NoSignaling, match="more work of a new key than this program does"):
                    await pool.publish(Host().signed())
            assert proving == []

    run(story())


def test_an_offer_that_is_taken_back_is_worth_no_work():
    async def story():
        async with serving(stamp_bits=1) as served:
            pool, proving = publishing(served)
            async with pool:
                (outcome,) = await pool.withdraw(Host().tombstone(NOW_MS))
            assert not outcome.accepted
            assert proving == []

    run(story())


def test_a_publication_waits_for_its_work_beyond_the_time_of_a_silent_server(monkeypatch):
    async def story():
        monkeypatch.setattr(limits, "SERVER_CONNECT_S", 0.2)
        slow = asyncio.Event()
        real = stamping.make_stamp

        async def work(*given, **named):
            await slow.wait()
            return await real(*given, **named)

        monkeypatch.setattr("backuppeer.signaling.client.make_stamp", work)
        async with serving(stamp_bits=1) as served:
            pool, _ = publishing(served)
            async with pool:
                publication = asyncio.create_task(pool.publish(Host().signed(), within_s=0.0))
                board_wait = pool_module.Board._wait
                waits = []

                async def wait(self, timeout_s, *, is_enough):
                    waits.append(timeout_s)
                    if timeout_s == limits.STAMP_S:
                        slow.set()
                    return await board_wait(self, timeout_s, is_enough=is_enough)

                monkeypatch.setattr(pool_module.Board, "_wait", wait)
                (taken,) = await publication
                assert taken.accepted
                assert waits[-1] == limits.STAMP_S

    run(story())


def test_work_that_is_called_off_leaves_its_threads_free():
    async def story():
        task = asyncio.create_task(make_stamp(b"p" * 32, "one.example", 60, clock=TurnedClock()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # The two threads are needed for this: it ends only if they are free.
        await make_stamp(b"p" * 32, "one.example", 1, clock=TurnedClock())

    run(story())


def test_a_server_that_hangs_up_or_asks_for_more_has_the_work_done_only_once(monkeypatch):
    asked, tried, over = iter((1, 1, 9, 9, 5)), [], asyncio.Event()
    real = stamping.solve_puzzle

    def solve(context, number, bits, **named):
        tried.append(bits)
        return real(context, number, bits, **named)

    async def demand(socket):
        async for data in socket:
            stamp, bits = decode_request(data).stamp, next(asked, 0)
            if not bits:
                over.set()
            await socket.send(encode(Published(accepted=not bits, code=Refusal.STAMP if bits else "", bits=bits)))
            if stamp and bits:
                await socket.close()

    monkeypatch.setattr(stamping, "solve_puzzle", solve)

    async def story():
        async with serve(demand, "127.0.0.1", 0, subprotocols=[SUBPROTOCOL], compression=None) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            host = Host()
            async with Pool([url], clock=TurnedClock(), randomness=NoJitter()) as pool:
                with suppress(NoSignaling):
                    await pool.publish(host.signed())
                for number in range(4):
                    if not over.is_set():
                        with suppress(NoSignaling):
                            await pool.publish(host.signed(NOW_MS + 1 + number))
                await over.wait()
        assert sorted(tried) == [1] * 8 + [9] * 8

    run(story())


def test_who_does_not_take_the_work_that_it_asked_for_is_told_of_and_not_worked_for_again():
    async def story():
        async with serving(stamp_bits=1) as served:
            served.clock.turn(2 * 86_400)  # its day is another one
            host, pool, proving = Host(), *publishing(served, TurnedClock())
            listing = host.signed(now_ms=NOW_MS + 2 * DAY_MS)
            async with pool:
                for _ in range(3):
                    with pytest.raises(NoSignaling, match="does not take the work that it asked for"):
                        await pool.publish(listing)
            assert proving == [(served.url, True), (served.url, False)]

    run(story())


def test_work_that_was_broken_off_goes_on_where_it_stopped(monkeypatch):
    real, starts = stamping.solve_puzzle, []

    async def story():
        clock, work = TurnedClock(), Work()
        loop, is_under_way = asyncio.get_running_loop(), asyncio.Event()

        def solve(context, number, bits, *, is_wanted, start):
            def is_still_wanted(at):
                wanted = is_wanted(at)  # which notes how far it is
                if at:
                    loop.call_soon_threadsafe(is_under_way.set)
                return wanted

            starts.append(start)
            return real(context, number, bits, is_wanted=is_still_wanted, start=start)

        monkeypatch.setattr(stamping, "solve_puzzle", solve)
        begun = asyncio.create_task(make_stamp(b"p" * 32, "one.example", 60, clock=clock, work=work))
        await is_under_way.wait()
        begun.cancel()
        with pytest.raises(asyncio.CancelledError):
            await begun
        starts.clear()
        stamp = await make_stamp(b"p" * 32, "one.example", 1, clock=clock, work=work)
        assert holds(stamp, b"p" * 32, "one.example", 1)
        assert max(starts) >= 256, "what was tried is not tried again"
        starts.clear()
        clock.turn(86_400)
        await make_stamp(b"p" * 32, "one.example", 1, clock=clock, work=work)
        assert starts == [0] * 8, "another day is other work"

    run(story())


def test_a_publication_that_was_not_taken_does_not_start_the_backoff_anew(monkeypatch):
    answers = iter((False, True, False, False))
    attempts = []

    class Gone:
        async def ask(self, _request, _kind):
            await asyncio.sleep(limits.RECONNECT_SETTLED_S + 1)  # virtual
            return Published(accepted=next(answers), code=Refusal.FULL)

        async def receive(self, _kind):
            await asyncio.sleep(limits.RECONNECT_SETTLED_S + 1)
            raise Unavailable("dropped")

    @asynccontextmanager
    async def dial(_url):
        yield Gone()

    def note(attempt, _randomness):
        attempts.append(attempt)
        if len(attempts) == 4:
            raise EOFError
        return 0.0

    monkeypatch.setattr(client, "open_link", dial)
    monkeypatch.setattr(client, "backoff_s", note)

    async def story():
        shown = Publication(
            "ws://a", lambda _up, _error: None, randomness=NoJitter(), clock=TurnedClock(), on_proving=print
        )
        shown.replace(Host().signed())
        with pytest.raises(EOFError):
            await shown.run()

    play(story())
    assert attempts == [1, 0, 1, 2]


def test_seen_keys_are_bounded_and_each_counts_once():
    clock = TurnedClock()
    seen = SeenKeys(4, clock=clock)
    keys = [bytes([number]) * 32 for number in range(9)]
    for key in keys[:3]:
        seen.add(key)
    clock.turn(86_400)
    seen.add(keys[0])
    assert len(seen) == 3
    seen.add(keys[3])
    seen.add(keys[4])
    assert [key in seen for key in keys[:5]] == [True, False, False, True, True], "the oldest day makes room"
    seen.add(keys[5])
    seen.add(keys[6])
    assert len(seen) == 4, "a flood of one day drives nobody out of it"
    assert keys[0] in seen
    assert keys[6] not in seen
    clock.turn(limits.KEY_REMEMBERED_DAYS * 86_400)
    assert keys[0] not in seen
    seen.sweep()
    assert len(seen) == 0


def test_servers_ask_for_work_unless_they_are_told_otherwise():
    assert Caps().stamp_bits == limits.STAMP_BITS > 0
    assert replace(Caps(), stamp_bits=0).stamp_bits == 0
