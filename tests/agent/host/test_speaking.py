"""A spoken code between two agents at a real server: one guess, then it is over, and both know who the other is."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from agent.host.test_inviting import SeenNotes
from backuppeer.agent.host import speaking
from backuppeer.agent.host.speaking import Speaking
from backuppeer.agent.peers import spoken
from backuppeer.agent.peers.spoken import Saying
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import AuthenticationFault, NoSignaling, PeerUnreachable, Unavailable
from backuppeer.ids import PeerId
from backuppeer.limits import KNOCK_BYTES, LOAD_WINDOW_S, NAMEPLATE_TRIES, NAMEPLATES, NOTE_BYTES, SPOKEN_S
from backuppeer.signaling.depositing import deposit_at
from backuppeer.signaling.invite import Invite, format_invite
from backuppeer.signaling.nameplate import Plate, SpokenCode, seal_plate
from backuppeer.signaling.postbox import leave_note
from backuppeer.signaling.server.caps import Caps
from backuppeer.signaling.server.notes import MemoryNotes
from backuppeer.signaling.servers import authority
from signaling.kit import TurnedClock, dead_url, run, serving

HOST, GUEST = SigningKey.generate(), SigningKey.generate()
CLOCK = TurnedClock()
INVITE = Invite(PeerId(HOST.public), b"s" * 16, 2_000_000_000, ("wss://one.example",))


@asynccontextmanager
async def waiting(url, invite=INVITE):
    """A host that waits; give the code, and the task that ends with who said it."""
    shown = asyncio.get_running_loop().create_future()

    async def show(code):
        shown.set_result(code)

    task = asyncio.create_task(Speaking(HOST, CLOCK).hand_over(format_invite(invite), [url], show))
    await asyncio.wait({task, shown}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    try:
        yield shown.result(), task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def say(code, *urls, key=GUEST):
    return Saying(key, CLOCK).say(code, list(urls))


def other(code):
    return SpokenCode(code.number, "zoo-zoo" if code.words != "zoo-zoo" else "zoo-zone")


def test_who_says_the_words_is_handed_the_invite_and_both_know_who_the_other_is():
    async def story():
        async with serving(notes=SeenNotes()) as served, waiting(served.url) as (code, host):
            assert code.number <= 9, "short while short ones are free"
            assert await say(code, served.url) == INVITE
            assert await host == GUEST.public
            sealed = [record[1] for record in served.engine.record if isinstance(record, tuple)]
            assert [len(message) for message in sealed] == [KNOCK_BYTES] * 2
            assert {len(part) for part in served.notes.seen} == {32, NOTE_BYTES}
            everything = b"".join([*sealed, *served.notes.seen])
            for name in (HOST.public, GUEST.public, code.words.encode(), INVITE.secret):
                assert name not in everything

    run(story())


def test_a_wrong_word_burns_the_code_for_both_and_gives_nothing():
    async def story():
        async with serving() as served, waiting(served.url) as (code, host):
            with pytest.raises(AuthenticationFault, match="burnt") as told:
                await say(other(code), served.url)
            assert told.value.exit_code == 12
            with pytest.raises(AuthenticationFault, match="burnt, and nothing was given"):
                await host
            with pytest.raises(PeerUnreachable, match="nobody waits"):
                await say(code, served.url)

    run(story())


def test_of_two_guesses_at_once_the_first_one_counts_and_no_other_is_looked_at():
    async def story():
        async with serving() as served, waiting(served.url) as (code, host):
            results = await asyncio.gather(
                say(other(code), served.url),
                *(say(other(code), served.url, key=SigningKey.generate()) for _ in range(2)),
                return_exceptions=True,
            )
            burnt = [str(result) for result in results if isinstance(result, AuthenticationFault)]
            assert len(burnt) == 1, "one was answered at all"
            with pytest.raises(AuthenticationFault):
                await host

    run_with_short_replies(story)


def run_with_short_replies(story):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spoken, "SPOKEN_REPLY_S", 0.5)
        run(story())


def test_the_number_is_free_again_when_the_host_leaves_and_the_code_is_over():
    async def story():
        async with serving() as served:
            async with waiting(served.url) as (code, _):
                pass
            with pytest.raises(PeerUnreachable, match="nobody waits under the number"):
                await say(code, served.url)

    run(story())


def test_a_code_that_nobody_says_is_over_in_time(monkeypatch):
    monkeypatch.setattr(speaking, "SPOKEN_S", 0.05)

    async def story():
        async with serving() as served, waiting(served.url) as (_, host):
            with pytest.raises(PeerUnreachable, match="nobody said the code"):
                await host

    run(story())


def test_junk_in_the_hosts_inbox_is_no_guess():
    async def story():
        async with serving() as served, waiting(served.url) as (code, host):
            inbox = [record for record in served.engine.record if isinstance(record, bytes)][-1]
            await deposit_at(served.url, inbox, bytes(KNOCK_BYTES))
            assert await say(code, served.url) == INVITE
            assert await host == GUEST.public

    run(story())


def test_who_fills_the_inbox_of_a_code_makes_its_guest_work_and_keeps_nobody_out():
    async def story():
        caps = Caps(load_messages_per_s=1 / LOAD_WINDOW_S)
        async with serving(caps) as served, waiting(served.url) as (code, host):
            inbox = [record for record in served.engine.record if isinstance(record, bytes)][-1]
            assert await deposit_at(served.url, inbox, bytes(KNOCK_BYTES))
            assert not await deposit_at(served.url, inbox, bytes(KNOCK_BYTES))
            assert await say(code, served.url) == INVITE
            assert await host == GUEST.public

    run(story())


async def squat(served, number, *, ahead_ms=0):
    """Keep a number as anybody can."""
    place = SpokenCode(number, "").place
    inbox = place.inbox(authority(served.url))
    plate = Plate(message=b"A" * 33, inbox=b"i" * 32, key=bytes(1216), expires_ms=CLOCK.now_ms() + SPOKEN_S * 1000)
    await leave_note(served.url, inbox, CLOCK.now_ms() + ahead_ms, seal_plate(plate, place, inbox.public))


def test_a_number_at_which_somebody_waits_is_not_taken(monkeypatch):
    picked = iter([4, 4, 4, *range(100, 100 + NAMEPLATE_TRIES)])
    monkeypatch.setattr(speaking.secrets, "randbelow", lambda most: next(picked) % most)

    async def story():
        async with serving() as served:
            await squat(served, 5)
            async with waiting(served.url) as (code, _):
                assert code.number not in {0, 5}

    run(story())


def test_where_every_number_is_taken_it_says_so(monkeypatch):
    asked = []

    def pick(most):
        asked.append(most)
        return 4

    monkeypatch.setattr(speaking.secrets, "randbelow", pick)

    async def story():
        async with serving() as served:
            await squat(served, 5)
            with pytest.raises(NoSignaling, match="no signaling server has a place"):
                async with waiting(served.url):
                    pass

    run(story())
    assert len(asked) == NAMEPLATE_TRIES
    assert (asked[0], asked[-1]) == (9, NAMEPLATES)


def test_a_plate_that_the_server_did_not_keep_is_not_shown_to_anybody(monkeypatch):
    async def story():
        class Dropping(MemoryNotes):
            async def put(self, *_, **__):
                return False

        async with serving(notes=Dropping(9)) as served:
            with pytest.raises(Unavailable, match="did not keep the number"):
                async with waiting(served.url):
                    pass

    run(story())


def test_a_man_in_the_middle_who_hangs_up_his_own_plate_learns_and_gets_nothing():
    async def story():
        async with serving() as served, waiting(served.url) as (code, host):
            await squat(served, code.number, ahead_ms=5000)
            with pytest.raises(AuthenticationFault):
                await say(code, served.url)
            assert not host.done(), "the host was not even asked"

    run(story())


def test_an_invite_to_another_slot_than_that_of_who_signed_is_refused():
    async def story():
        foreign = Invite(PeerId(b"x" * 32), INVITE.secret, INVITE.expires_s, INVITE.servers)
        async with serving() as served, waiting(served.url, foreign) as (code, _):
            with pytest.raises(AuthenticationFault):
                await say(code, served.url)

    run(story())


def test_a_server_that_is_away_is_passed_over():
    async def story():
        async with serving() as served, waiting(served.url) as (code, host):
            assert await say(code, dead_url(), served.url) == INVITE
            assert await host == GUEST.public
        with pytest.raises(PeerUnreachable, match="refused"):
            await say(code, dead_url())

    run(story())
