"""The whole way of an invite, with real servers in this process: card, knock, answer; and what a server sees of it."""

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import msgspec
import pytest

from agent.houses import WISH, OwnerHouse, offer
from backuppeer import limits
from backuppeer.agent.home.identity_alarms import Sort, list_alarms
from backuppeer.agent.home.records import Direction
from backuppeer.agent.host.hosting import Hosting
from backuppeer.agent.host.inviting import Inviting
from backuppeer.agent.peers import delivering
from backuppeer.agent.peers.knocking import Knocking
from backuppeer.agent.peers.partners import Whereabouts
from backuppeer.errors import AuthenticationFault, NoSignaling, PeerUnreachable, RefusedError
from backuppeer.limits import CARD_AGAIN_S, CARD_LIFE_S, CARD_REFRESH_S, CLOCK_SKEW_S, KNOCK_BYTES, NOTE_BYTES
from backuppeer.proof.statements import TransportBinding, sign_statement
from backuppeer.signaling.card import read_gift, seal_card, write_gift
from backuppeer.signaling.health import HealthBook
from backuppeer.signaling.invite import Invite, format_invite, parse_invite
from backuppeer.signaling.knock import Verdict
from backuppeer.signaling.pool import Pool
from backuppeer.signaling.postbox import leave_note
from backuppeer.signaling.server.engine import Shown
from backuppeer.signaling.server.notes import MemoryNotes
from backuppeer.signaling.servers import authority
from signaling.kit import Host, TurnedClock, dead_url, run, serving


class SeenNotes(MemoryNotes):
    """The real ones; `left` is set with each note."""

    def __init__(self):
        super().__init__(100)
        self.seen, self.left = [], asyncio.Event()

    async def put(self, inbox, number, sealed, **said):
        self.seen += [inbox, sealed]
        self.left.set()
        return await super().put(inbox, number, sealed, **said)


class NoMarket:
    """Stands where Market is: no server lists anybody."""

    def __init__(self):
        self.health = HealthBook()

    async def find(self, _servers, _peer):
        return None


class Side:
    """A host's slot and its cards, driven by hand."""

    def __init__(self, house):
        self.house = house
        where = TransportBinding(peer=house.peer, transport=b"t" * 32, addresses=["192.0.2.7:4433"], time_ms=1)
        self.hosting = Hosting(
            house.state,
            house.identity,
            house.clock,
            requests=house.requests,
            binding=lambda: sign_statement(where, house.identity),
            free=lambda slot: slot.storage_bytes,
        )
        self.invites = house.requests.invites
        self.inviting = Inviting(house.identity, house.clock, hosting=self.hosting, invites=self.invites)
        self.inviting.is_partner = house.requests.is_partner

    async def offer(self, *urls, unlisted=True):
        slot = msgspec.structs.replace(offer("ask"), servers=urls, unlisted=unlisted)
        return await self.hosting.start(slot)

    async def invite(self, **said):
        made = self.invites.create(**{"label": "", "uses": 1, "storage_bytes": WISH.size_bytes, "life_s": 3600, **said})
        places = await self.inviting.deliver(made)
        return format_invite(Invite(self.house.peer, made.secret, made.expires_ms // 1000, tuple(places))), made

    async def renew(self):
        """Leave whatever card is due, as the loop of the agent does."""
        for invite in self.inviting._due_invites():
            await self.inviting._leave(invite)


class Guest:
    """An owner who was given an invite."""

    def __init__(self, owner, clock):
        ends = Whereabouts(b"o" * 32, ("192.0.2.9:4433",))
        identity = owner.keys.identity
        self.owner, self.clock = owner, clock
        self.knocking = Knocking(owner.state, identity, clock, market=NoMarket(), ends=lambda: ends)

    async def come(self, text, servers, wish=WISH):
        """Follow an invite, then knock: as `connect` does."""
        invite = parse_invite(text)
        self.knocking.invited.keep(invite)
        record = wanting(self.knocking.empty_wish(invite.host), wish)
        return await self.knocking.knock(record, servers)


def wanting(record, wish=WISH):
    return replace(record, request="00" * 16, **wish._asdict())


@asynccontextmanager
async def street(house, owner, **options):
    """A server, a host with an unlisted slot there, and a guest."""
    async with serving(clock=TurnedClock(house.clock.now_ms()), **options) as served:
        side = Side(house)
        await side.offer(served.url)
        try:
            yield served, side, Guest(owner, house.clock)
        finally:
            await side.hosting.close()


def test_an_invite_leads_to_an_unlisted_slot_and_lets_its_bearer_in(house, owner):
    async def story():
        async with street(house, owner) as (served, side, guest):
            text, made = await side.invite(storage_bytes=5 * 10**9)
            seen = await guest.knocking.invited.look(parse_invite(text), [served.url])
            assert read_gift(seen.listing) == 5 * 10**9
            verdict, where = await guest.come(text, [served.url])
            assert verdict is Verdict.ACCEPTED
            assert where.addresses == ("192.0.2.7:4433",)
            assert [use.owner for use in side.invites.list_all()[0].used] == [owner.peer]
            assert house.requests.may_answer(owner.peer)
            assert made.secret not in b"".join(r[1] for r in served.engine.record if isinstance(r, tuple))

    run(story())


def test_no_server_lists_it_and_all_that_one_sees_has_a_fixed_size_and_no_name(house, owner):
    async def story():
        async with street(house, owner, notes=SeenNotes()) as (served, side, guest):
            text, _ = await side.invite()
            await guest.come(text, [served.url])
            async with Pool([served.url], clock=house.clock) as pool:
                assert (await pool.browse()).listings == []
            assert not any(isinstance(record, Shown) for record in served.engine.record)
            sealed = [record[1] for record in served.engine.record if isinstance(record, tuple)]
            assert {len(message) for message in sealed} == {KNOCK_BYTES}
            assert [len(part) for part in served.notes.seen] == [32, NOTE_BYTES]
            everything = b"".join(
                [*sealed, *served.notes.seen, *(r for r in served.engine.record if isinstance(r, bytes))]
            )
            names = [house.peer, owner.peer, house.state.setting("host.inbox") or house.peer, b"192.0.2"]
            assert not any(name in everything for name in names)

    run(story())


def test_the_unlisted_slot_and_the_listed_one_of_a_host_have_nothing_in_common(house, owner):
    async def story():
        async with street(house, owner) as (served, side, _):
            hidden = side.hosting.describe(side.hosting.offer, 60)
            await side.offer(served.url, unlisted=False)
            shown = side.hosting.describe(side.hosting.offer, 60)
            await side.offer(served.url)
            again = side.hosting.describe(side.hosting.offer, 60)
            assert len({slot.inbox for slot in (hidden, shown, again)}) == 2
            assert hidden.inbox == again.inbox
            assert len({slot.envelope_id for slot in (hidden, shown, again)}) == 3
            tombs = [record for record in served.engine.record if isinstance(record, Shown) and not record.is_slot]
            assert len(tombs) == 1, "the listing is taken down at once, and not after a minute"
            await side.hosting.withdraw()
            await side.offer(served.url)
            assert side.hosting.describe(side.hosting.offer, 60).inbox not in {hidden.inbox, shown.inbox}

    run(story())


def test_who_has_no_invite_is_told_that_nothing_is_on_offer(house, owner):
    async def story():
        async with street(house, owner) as (served, side, guest):
            text, _ = await side.invite()
            found = await guest.knocking.invited.look(parse_invite(text), [served.url])
            record = wanting(guest.knocking.empty_wish(house.peer))
            with pytest.raises(RefusedError, match="nothing is on offer here"):
                await guest.knocking.knock_at(found, record, [served.url])

    run(story())


@pytest.mark.parametrize("over", ["revoked", "expired", "used"])
def test_a_bearer_too_late_is_refused_and_forgets_the_invite(house, owner, tmp_path, over):
    async def story():
        async with street(house, owner) as (served, side, guest):
            text, made = await side.invite(life_s=60)
            if over == "revoked":
                side.invites.revoke(side.invites.name_of(made))
            elif over == "expired":
                house.clock.ms += 61_000
            else:
                other = OwnerHouse(tmp_path / "other", b"2")
                await Guest(other, house.clock).come(text, [served.url])
                other.close()
            with pytest.raises(RefusedError, match="this invite") as told:
                await guest.come(text, [served.url])
            assert "`backup-peer invite list` there" in told.value.hint
            assert guest.knocking.invited.find(house.peer) is None

    run(story())


async def forge(text, served, *, host=None):
    """Do what a bearer can: leave another card in the place of the host's."""
    invite, other = parse_invite(text), host or Host()
    inbox = invite.keys.inbox(authority(served.url))
    now_ms = served.clock.now_ms()
    listing = other.listing(now_ms, now_ms=now_ms, ext=write_gift(1))
    sealed = seal_card(listing, other.key, key=invite.keys.opener().public, inbox=inbox.public)
    await leave_note(served.url, inbox, now_ms + 7_000_000, sealed)


def test_another_id_at_the_slot_is_an_alarm_and_nothing_is_sent(house, owner):
    async def story():
        async with street(house, owner) as (served, side, guest):
            text, _ = await side.invite()
            await forge(text, served)
            before = len(served.engine.record)
            with pytest.raises(AuthenticationFault, match="another peer shows itself"):
                await guest.knocking.invited.look(parse_invite(text), [served.url])
            assert list_alarms(owner.state) == [], "anybody can write an invite with somebody else's id"
            with pytest.raises(AuthenticationFault, match="another peer shows itself") as told:
                await guest.come(text, [served.url])
            assert told.value.exit_code == 12
            assert len(served.engine.record) == before
            assert [(alarm.peer, alarm.sort) for alarm in list_alarms(owner.state)] == [(house.peer, Sort.ANSWERED)]

    run(story())


def test_a_server_that_answers_with_junk_is_no_alarm_and_the_next_one_is_asked(house, owner):
    async def story():
        async with street(house, owner) as (served, side, guest):
            clock = TurnedClock(house.clock.now_ms())
            async with serving(clock=clock) as empty:
                _, made = await side.invite()
                both = format_invite(Invite(house.peer, made.secret, made.expires_ms // 1000, (empty.url, served.url)))
                verdict, _ = await guest.come(both, [empty.url, served.url])
                assert verdict is Verdict.ACCEPTED
                assert list_alarms(owner.state) == []

    run(story())


def test_servers_that_a_stranger_named_are_dialled_only_where_that_probes_nothing(house, owner):
    async def story():
        async with street(house, owner) as (_, side, guest):
            text, _ = await side.invite()
            with pytest.raises(PeerUnreachable, match="which this home doesn't use") as told:
                await guest.come(text, ["wss://one.example"])
            assert "--server URL" in told.value.hint

    run(story())


def test_the_same_slot_offered_again_has_new_keys_and_its_invites_lead_there(house, owner):
    async def story():
        async with street(house, owner) as (served, side, guest):
            text, _ = await side.invite()
            await side.hosting.withdraw()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(delivering, "KNOCK_REPLY_S", 0.2)
                with pytest.raises(PeerUnreachable, match="did not answer"):
                    await guest.come(text, [served.url])
            await side.offer(served.url)
            house.clock.ms += 1000
            served.clock.ms = house.clock.ms
            await side.renew()
            verdict, _ = await guest.come(text, [served.url])
            assert verdict is Verdict.ACCEPTED

    run(story())


def test_an_invite_that_no_server_took_is_not_given_away(house, owner):
    async def story():
        async with street(house, owner) as (served, side, _):
            await served.stop()
            with pytest.raises(NoSignaling, match="took the card"):
                await side.invite()

    run(story())


def test_a_card_is_left_anew_in_time_and_for_as_long_as_it_leads_somewhere(house, owner):
    async def story():
        async with street(house, owner) as (served, side, guest):
            text, made = await side.invite(life_s=2 * CARD_LIFE_S)
            first = (await guest.knocking.invited.look(parse_invite(text), [served.url])).listing
            await side.renew()
            assert (await guest.knocking.invited.look(parse_invite(text), [served.url])).listing == first
            house.clock.ms += int(CARD_REFRESH_S) * 1000
            served.clock.ms = house.clock.ms
            await side.renew()
            second = (await guest.knocking.invited.look(parse_invite(text), [served.url])).listing
            assert second.seq > first.seq
            side.invites.revoke(side.invites.name_of(made))
            house.clock.ms += (CARD_LIFE_S + CLOCK_SKEW_S) * 1000
            served.clock.ms = house.clock.ms
            await side.renew()
            with pytest.raises(PeerUnreachable, match="nothing was found under this invite"):
                await guest.knocking.invited.look(parse_invite(text), [served.url])

    run(story())


def test_an_owner_finds_its_unlisted_host_by_the_card_when_the_invite_is_long_over(house, owner):
    async def story():
        async with street(house, owner) as (served, side, guest):
            text, _ = await side.invite()
            await guest.come(text, [served.url])
            signed = house.requests.consider_proposal(owner.peer, owner.propose(house.peer))
            owner.state.put_agreement(b"\1" * 16, house.peer, signed)
            house.clock.ms += 30 * 86400 * 1000
            served.clock.ms = house.clock.ms
            await side.renew()
            where = await guest.knocking.locate(house.peer, [served.url])
            assert where.addresses == ("192.0.2.7:4433",)
            known = house.state.find_request(Direction.IN, owner.peer)
            assert known.state.value == "agreed"

    run(story())


def test_cards_are_left_again_at_a_server_that_came_back_with_an_empty_memory(house, owner, monkeypatch):
    monkeypatch.setattr(limits, "RECONNECT_MAX_S", 0.01)

    async def story():
        async with street(house, owner) as (served, side, guest):
            text, _ = await side.invite()
            working = asyncio.create_task(side.inviting.run())
            house.clock.ms += int(CARD_AGAIN_S) * 1000
            await asyncio.sleep(0)
            await served.stop()
            async with serving(clock=TurnedClock(house.clock.now_ms()), port=served.port, notes=SeenNotes()) as again:
                await again.notes.left.wait()
                verdict, _ = await guest.come(text, [again.url])
                assert verdict is Verdict.ACCEPTED
            working.cancel()
            with suppress(asyncio.CancelledError):
                await working

    run(story())


def test_an_unlisted_slot_that_no_server_opened_is_not_on_offer(house):
    async def story():
        side = Side(house)
        with pytest.raises(NoSignaling, match="nothing is on offer"):
            await side.offer(dead_url())
        assert side.hosting.offer is None

    run(story())


def test_a_restarted_agent_goes_on_with_its_unlisted_slot_and_does_not_list_it(house, owner):
    async def story():
        async with street(house, owner) as (served, side, guest):
            text, _ = await side.invite()
            await side.hosting.close()
            again = Side(house)
            await again.hosting.resume()
            verdict, _ = await guest.come(text, [served.url])
            assert verdict is Verdict.ACCEPTED
            assert not any(isinstance(record, Shown) for record in served.engine.record)
            await again.hosting.close()

    run(story())
