"""Whom a recovery dials and asks: hosts that left word first, strangers only where no host of ours was met."""

import asyncio
from types import SimpleNamespace

import msgspec
import pytest

from agent.hosted import hosted
from agent.recovery.test_inboxes import write
from agent.successors import follow
from backuppeer.agent.home.handover import Opener, follow_succession
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.keyring import load_keys, recover_identity
from backuppeer.agent.home.state import State
from backuppeer.agent.owner.announcing import Announcing
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.partners import remembered
from backuppeer.agent.peers.whereabouts import Whereabouts
from backuppeer.agent.recovery import recovery as recovery_module
from backuppeer.agent.recovery.finding import Finding, Ways
from backuppeer.agent.recovery.inboxes import Inboxes, check_note
from backuppeer.agent.recovery.recovery import Recovery
from backuppeer.agent.recovery.slots import Slots
from backuppeer.agent.reporter import Reporter
from backuppeer.clock import SystemClock
from backuppeer.control.recovering import Place, RecoverRequest
from backuppeer.crypto.keys import derive_authority, derive_identity, derive_working
from backuppeer.errors import NoSignaling, PeerUnreachable, RefusedError, Unavailable
from backuppeer.ids import PeerId, format_peer_id
from backuppeer.proof.statements import sign_statement
from backuppeer.proof.succession import Succession
from backuppeer.wire.messages import Hello

STRANGER = PeerId(b"s" * 32)
ELSEWHERE = Place(peer_id="", transport="ab" * 32, addresses=["198.51.100.1:9"])


class World:
    """A home made from the owner's words, hosts at places, and listings of who is on offer."""

    def __init__(self, folder):
        self.home = Home(folder)
        recover_identity(self.home, b"o" * 32)
        self.keys, self.state = load_keys(self.home), State(self.home.state)
        self.vault = Vault(self.home, self.keys, self.state, SystemClock(), reach=None, standing=SimpleNamespace())
        self.there: dict[tuple[PeerId, bytes], tuple[bytes, ...]] = {}
        self.on_offer: tuple[PeerId, ...] = ()
        self.asked: list[PeerId] = []
        self.dialled: list[tuple[PeerId, bytes]] = []
        self.servers_are_up = True

    async def dial(self, peer, where):
        self.dialled.append((peer, where.transport))
        if (peer, where.transport) not in self.there:
            raise PeerUnreachable("no answer")
        return SimpleNamespace(peer=peer, hello=Hello(agreements=self.there[peer, where.transport]))

    async def everybody(self, _servers):
        if not self.servers_are_up:
            raise NoSignaling("no signaling server answered")
        return [SimpleNamespace(peer=peer) for peer in self.on_offer]

    def empty_wish(self, _peer):
        return None

    async def knock_at(self, listing, _wish, _servers):
        self.asked.append(listing.peer)
        known = [where for peer, where in self.there if peer == listing.peer]
        if not known:
            raise RefusedError("I do not know you")
        return None, Whereabouts(known[0], ("192.0.2.1:1",))

    @property
    def ways(self):
        return Ways(self, self, self)

    def finding(self, **wishes):
        async def emit(_event):
            return

        return Finding(self.keys, self.state, ways=self.ways, request=RecoverRequest(**wishes), reporter=Reporter(emit))

    def look(self, notes=(), **wishes):
        """Dial, and ask the market if need be."""

        async def story():
            finding = self.finding(**wishes)
            await finding.dial(notes)
            if finding.is_wanting():
                await finding.ask_market([])
            return finding

        return asyncio.run(story())

    def recover(self, monkeypatch, *notes, succession=b"", failed=None, **wishes):
        async def found(*_):
            by_agreement = {note.agreement: note for note in notes}
            return Inboxes(notes=by_agreement, succession=succession, failed=failed or {})

        async def emit(_event):
            return

        async def story():
            recovery = Recovery(
                self.keys, self.state, self.vault, ways=self.ways, slots=Slots(self.state, self.keys, SystemClock())
            )
            return await recovery.run(RecoverRequest(**wishes), [], Reporter(emit))

        monkeypatch.setattr(recovery_module, "open_inboxes", found)
        return asyncio.run(story())


@pytest.fixture
def heir(tmp_path):
    made = World(tmp_path / "heir")
    yield made
    made.vault.close()
    made.state.close()


@pytest.fixture
def note(owner, house):
    return note_of(owner, house)


def note_of(owner, house, slot=3):
    note, _ = write(owner, house)
    return check_note(owner.keys, slot, note)


def test_a_host_that_left_word_is_dialled_there_and_no_stranger_is_asked(heir, house, owner):
    note = note_of(owner, house)
    heir.there[house.peer, note.where.transport] = (note.signed,)
    heir.on_offer = (STRANGER, house.peer)
    finding = heir.look([note])
    assert finding.met == {house.peer}
    assert heir.asked == []
    assert heir.look([note], all=True).met == {house.peer}
    assert heir.asked == [STRANGER], "--all asks the others too"


def test_a_host_that_moved_is_asked_for_on_the_market_and_strangers_are_not(heir, house, other, owner):
    note = note_of(owner, house)
    heir.state.put_agreement(note.agreement, house.peer, note.signed)
    far, _ = write(owner, other, number=2)
    second = check_note(owner.keys, 4, far)
    heir.state.put_agreement(second.agreement, other.peer, second.signed)
    heir.there[house.peer, note.where.transport] = (note.signed,)
    heir.there[other.peer, b"new" * 8] = (second.signed,)
    heir.on_offer = (STRANGER, other.peer)
    finding = heir.look([note, second])
    assert finding.met == {house.peer, other.peer}
    assert heir.asked == [other.peer]


def test_where_no_host_of_ours_is_met_everybody_is_asked_as_before(heir, house, owner):
    note = note_of(owner, house)
    heir.there[house.peer, b"new" * 8] = (note.signed,)
    heir.on_offer = (STRANGER, house.peer)
    assert heir.look().met == {house.peer}
    assert set(heir.asked) == {STRANGER, house.peer}


def test_a_host_is_dialled_first_where_the_person_says_it_is_and_then_where_it_left_word(heir, house, owner):
    note = note_of(owner, house)
    place = Place(peer_id=format_peer_id(house.peer), transport=ELSEWHERE.transport, addresses=ELSEWHERE.addresses)
    heir.there[house.peer, note.where.transport] = (note.signed,)
    heir.servers_are_up = False
    finding = heir.look([note], places=[place], peers=[place.peer_id])
    assert heir.dialled == [(house.peer, bytes.fromhex(place.transport)), (house.peer, note.where.transport)]
    assert finding.met == {house.peer}
    assert finding.explain(house.peer) == ""


def test_somebody_who_answers_and_has_no_agreement_with_us_is_not_met_and_it_is_said(heir, house, owner):
    note = note_of(owner, house)
    heir.there[house.peer, note.where.transport] = ()
    finding = heir.look([note])
    assert finding.met == set()
    assert finding.explain(house.peer) == "it is there, and keeps no backups of yours"


def test_hosts_that_are_known_by_their_notes_and_away_are_named_and_kept_for_the_next_time(
    heir, house, owner, monkeypatch
):
    note = note_of(owner, house, slot=7)

    async def no_session(*_):
        raise PeerUnreachable("no answer")

    monkeypatch.setattr("backuppeer.agent.peers.partners.Partner.session", no_session)
    monkeypatch.setattr(heir.vault, "blame", lambda *_: None)
    with pytest.raises(PeerUnreachable, match="none of your hosts could be heard") as told:
        heir.recover(monkeypatch, note)
    assert "`backup-peer recover` again" in told.value.hint
    assert heir.vault.is_unrecovered, "nothing was found yet"
    assert [host for _, host, _ in heir.state.agreements()] == [house.peer]
    assert remembered(heir.state, house.peer) == note.where
    assert heir.state.peer(house.peer).last_seen_ms == note.time_ms, "it was there then, not now"
    slots = Slots(heir.state, heir.keys, SystemClock())
    assert slots.number_of(note.agreement) == 7
    newest = heir.vault.heads.newest()
    assert newest is not None
    assert newest[1] == note.signed_head, "a head in a note is as good as one that a host shows"
    assert heir.vault.heads.promise_of(SimpleNamespace(agreement=note.agreement)) == note.receipt


def test_without_servers_and_hosts_it_is_said_that_no_server_answered(heir, monkeypatch):
    heir.servers_are_up = False
    with pytest.raises(NoSignaling):
        heir.recover(monkeypatch)


# --- an identity that went on as another
@pytest.fixture
def signed(owner):
    authority, new = derive_authority(b"o" * 32), derive_identity(derive_working(b"o" * 32, 2))
    said = Succession(
        authority=authority.public,
        old=owner.peer,
        new=PeerId(new.public),
        generation=2,
        time_ms=5,
        ext={"repository": bytes(owner.keys.repository)},
    )
    return sign_statement(said, authority, new)


def test_hosts_that_have_not_heard_of_the_heir_are_taken_from_their_notes_before_the_words_lead_on(
    heir, house, owner, signed, monkeypatch
):
    note = note_of(owner, house)
    failed = {"wss://away": Unavailable("wss://away did not answer in time")}
    led = heir.recover(monkeypatch, note, succession=signed, failed=failed)
    (said,) = led.notes
    assert "wss://away did not answer" in said
    assert "`backup-peer recover --peer ID --home DIR`" in said
    assert (led.succession, heir.dialled, heir.asked) == (signed.hex(), [], [])
    assert [(agreement, host) for agreement, host, _ in heir.state.agreements()] == [(note.agreement, house.peer)]
    assert remembered(heir.state, house.peer).transport == note.where.transport
    follow_succession(heir.home, b"o" * 32, signed, Opener())
    keys = load_keys(heir.home)

    async def story():
        async with hosted(house, owner) as link:
            made = Announcing(heir.state, keys, link.near.transport, SystemClock())
            assert made.waiting() == [house.peer]
            await follow(made, link)
            assert made.waiting() == []

    asyncio.run(story())
    (lease,) = house.premises.open().leases.list_all()
    assert lease.terms.owner == keys.peer


@pytest.mark.parametrize("way", ["at a place", "on offer", "nowhere", "no server"])
def test_a_host_that_the_person_names_is_asked_as_who_it_knows_before_the_words_lead_on(
    heir, note, signed, monkeypatch, way
):
    host = note.host
    heir.on_offer = (host, STRANGER)
    heir.servers_are_up = way != "no server"
    if way in {"at a place", "on offer"}:
        heir.there[host, bytes.fromhex(ELSEWHERE.transport)] = (note.signed,)
    named = format_peer_id(host)
    places = [msgspec.structs.replace(ELSEWHERE, peer_id=named)] if way == "at a place" else []
    led = heir.recover(monkeypatch, succession=signed, peers=[named], places=places)
    assert led.succession == signed.hex()
    assert len(heir.state.agreements()) == (way in {"at a place", "on offer"})
    assert heir.asked == ([host] if way in {"on offer", "nowhere"} else [])
