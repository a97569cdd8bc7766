"""Commands of invites, with a real slot at a real server: sizes, refusals, and a code said by another home."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from agent.host.test_inviting import Guest, Side
from backuppeer.agent.commands.inviting import InviteCommands
from backuppeer.agent.home.identity_alarms import Sort
from backuppeer.agent.peers.misbinding import raise_alarm
from backuppeer.control.api import Nothing
from backuppeer.control.events import EventName
from backuppeer.control.inviting import InviteNamed, InviteRequest, InviteText
from backuppeer.errors import NotFoundError, PeerUnreachable, UserError
from backuppeer.ids import format_peer_id
from backuppeer.limits import INVITE_LIFE_S, MIB, SPOKEN_LEFT_S, SPOKEN_S, STORAGE_MIN_BYTES
from backuppeer.signaling.invite import parse_invite
from signaling.kit import TurnedClock, run, serving

GB = 10**9


def commands_of(house, *, side=None, guest=None, servers=()):
    parts = SimpleNamespace(state=house.state, clock=house.clock, keys=SimpleNamespace(peer=house.peer))
    host = side and SimpleNamespace(
        requests=house.requests, hosting=side.hosting, inviting=side.inviting, premises=house.premises
    )
    empty = SimpleNamespace(requests=SimpleNamespace(invites=None))
    owner = guest and SimpleNamespace(knocking=guest.knocking)
    return InviteCommands(
        SimpleNamespace(parts=parts, host=host or empty, owner=owner, servers=lambda given: given or list(servers))
    )


@asynccontextmanager
async def two_homes(house, owner, *, free_bytes=100 * GB):
    async with serving(clock=TurnedClock(house.clock.now_ms())) as served:
        side = Side(house)
        await side.offer(served.url)
        side.hosting.free_bytes = lambda _: free_bytes
        host = commands_of(house, side=side)
        guest = commands_of(owner, guest=Guest(owner, house.clock), servers=[served.url])
        try:
            yield host, guest
        finally:
            await side.hosting.close()


async def quietly(_event):
    pass


def test_an_invite_gives_what_is_usual_or_left_for_a_day(house, owner):
    async def story():
        async with two_homes(house, owner) as (host, guest):
            made = await host.create(InviteRequest(), quietly)
            assert (made.storage_bytes, made.uses, made.unlisted, made.note) == (20 * GB, 1, True, "")
            assert parse_invite(made.invite).expires_s == house.clock.now_ms() // 1000 + INVITE_LIFE_S
            opened = await guest.open(InviteText(text=made.invite), quietly)
            assert (opened.peer_id, opened.storage_bytes, opened.verified) == (made.peer_id, 20 * GB, False)
            assert owner.state.peer(house.peer) is None or not owner.state.peer(house.peer).is_verified
        async with two_homes(house, owner, free_bytes=5 * GB) as (host, _):
            made = await host.create(InviteRequest(uses=3), quietly)
            assert made.storage_bytes == 5 * GB
            assert "3 times 5 GB is more than the 5 GB that are left" in made.note
            assert [row.uses for row in await host.list_all(Nothing(), quietly)] == [1, 3]
            assert (await host.revoke(InviteNamed(invite=made.invite_id), quietly)).state == "revoked"

    run(story())


@pytest.mark.parametrize(
    ("asked", "free_bytes", "why"),
    [
        (STORAGE_MIN_BYTES - 1, GB, "the least is"),
        (2 * GB, GB, r"1 GB are left of the slot, and an invite is for 2 GB"),
        (0, STORAGE_MIN_BYTES - 1, "too little for an invite"),
    ],
)
def test_what_the_slot_can_not_give_is_in_no_invite(house, owner, asked, free_bytes, why):
    async def story():
        async with two_homes(house, owner, free_bytes=free_bytes) as (host, _):
            with pytest.raises(UserError, match=why):
                await host.create(InviteRequest(storage=asked), quietly)
            assert await host.list_all(Nothing(), quietly) == []

    run(story())


def test_where_nothing_is_on_offer_an_invite_leads_nowhere(house):
    side = Side(house)
    with pytest.raises(NotFoundError, match="nothing is on offer here") as told:
        asyncio.run(commands_of(house, side=side).create(InviteRequest(storage=64 * MIB), quietly))
    assert "--unlisted" in told.value.hint


def test_ones_own_invite_and_one_that_is_over_are_not_followed(house, owner):
    async def story():
        async with two_homes(house, owner) as (host, guest):
            made = await host.create(InviteRequest(expires_s=60), quietly)
            own = commands_of(house, guest=Guest(owner, house.clock))
            with pytest.raises(UserError, match="your own slot"):
                await own.open(InviteText(text=made.invite), quietly)
            house.clock.ms += 3 * 3600 * 1000
            with pytest.raises(UserError, match="was good until"):
                await guest.open(InviteText(text=made.invite), quietly)

    run(story())


async def speak(host, guest, *, words=None):
    """Have one home show a code and the other say it; return what both ended with, errors as they are."""
    shown = asyncio.get_running_loop().create_future()

    async def emit(event):
        assert event.event == EventName.CODE
        shown.set_result(event.data["code"])

    speaking = asyncio.create_task(host.speak(InviteRequest(storage=GB, name="alice"), emit))
    await asyncio.wait({speaking, shown}, return_when=asyncio.FIRST_COMPLETED)
    said = guest.open(InviteText(text=words or await shown), quietly)
    return await asyncio.gather(speaking, said, return_exceptions=True)


def test_who_says_the_code_is_a_friend_on_both_sides_and_holds_the_invite(house, owner):
    async def story():
        async with two_homes(house, owner) as (host, guest):
            spoken, opened = await speak(host, guest)
            assert (spoken.peer_id, spoken.alias) == (format_peer_id(owner.peer), "alice")
            assert (opened.peer_id, opened.storage_bytes) == (format_peer_id(house.peer), GB)
            assert (opened.verified, opened.agreed) == (True, False)
            assert house.state.peer(owner.peer).is_verified
            assert owner.state.peer(house.peer).is_verified
            (row,) = await host.list_all(Nothing(), quietly)
            assert row.state == "live"
            kept = guest._agent.owner.knocking.invited.find(house.peer)
            assert kept.expires_s == house.clock.now_ms() // 1000 + SPOKEN_S + SPOKEN_LEFT_S

    run(story())


def test_the_code_of_one_who_has_space_already_is_used_up(house, owner):
    async def story():
        owner.agree_with(house)
        async with two_homes(house, owner) as (host, guest):
            spoken, opened = await speak(host, guest)
            assert opened.agreed
            assert spoken.agreed_bytes == sum(lease.terms.size_bytes for lease in house.premises.leases_of(owner.peer))
            (row,) = await host.list_all(Nothing(), quietly)
            assert (row.state, [use.agreed for use in row.used]) == ("used up", [True])

    run(story())


def test_an_alarm_that_stands_is_ended_by_no_code(house, owner):
    async def story():
        raise_alarm(owner.state, house.peer, Sort.WORDS, now_ms=1)
        raise_alarm(house.state, owner.peer, Sort.WORDS, now_ms=1)
        async with two_homes(house, owner) as (host, guest):
            await speak(host, guest)
            for state, peer in ((house.state, owner.peer), (owner.state, house.peer)):
                known = state.peer(peer)
                assert known is None or not known.is_verified

    run(story())


def test_a_code_that_was_left_takes_its_invite_back(house, owner):
    async def story():
        async with two_homes(house, owner) as (host, guest):
            shown = asyncio.Event()

            async def emit(_event):
                shown.set()

            task = asyncio.create_task(host.speak(InviteRequest(storage=GB), emit))
            await shown.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert [row.state for row in await host.list_all(Nothing(), quietly)] == ["revoked"]
            with pytest.raises(PeerUnreachable):
                await guest.open(InviteText(text="7-abandon-ability"), quietly)

    run(story())


def test_a_code_is_for_one_person(house, owner):
    async def story():
        async with two_homes(house, owner) as (host, _):
            with pytest.raises(UserError, match="for one person"):
                await host.speak(InviteRequest(uses=2), quietly)

    run(story())
