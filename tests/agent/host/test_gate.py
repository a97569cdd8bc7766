"""A flood of knocks: what each one costs a host, and who is still heard."""

import asyncio
import sqlite3
from types import SimpleNamespace

import msgspec
import pytest

from agent.host.test_hosting import SLOT
from agent.houses import OwnerHouse, offer
from agent.loops import SetClock
from backuppeer.agent.commands import host as host_commands
from backuppeer.agent.commands.host import HostCommands
from backuppeer.agent.home.state import State
from backuppeer.agent.host.gate import Gate
from backuppeer.agent.host.hosting import Hosting
from backuppeer.agent.host.sweeping import Sweeping
from backuppeer.agent.repute.views import make_views
from backuppeer.crypto.envelope import EnvelopeKey
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import PeerFault, ProtocolViolation, RefusedError
from backuppeer.ids import PeerId
from backuppeer.limits import CLOCK_SKEW_S, PARTNER_KNOCKS_PER_MINUTE, STRANGER_KNOCKS_PER_MINUTE
from backuppeer.signaling.knock import seal_knock
from backuppeer.signaling.listing import open_listing


@pytest.fixture
def hosting(house):
    return open_hosting(house)


def open_hosting(house, state=None):
    made = Hosting(
        state or house.state,
        house.identity,
        house.clock,
        requests=house.requests,
        binding=lambda: b"",
        free=lambda slot: slot.storage_bytes,
    )
    house.state.put_setting("host.offer", msgspec.msgpack.encode(SLOT))
    return made


class Street:
    """Knocks for a host, each sealed as its sender would."""

    def __init__(self, house, hosting):
        self.house = house
        self.listing = open_listing(hosting._make_listing(SLOT), house.clock.now_ms()).listing
        self.reply = EnvelopeKey.generate().public

    def knock(self, owner: OwnerHouse, key: SigningKey | None = None) -> bytes:
        key = key or owner.keys.identity
        made = msgspec.structs.replace(
            owner.knock(self.house),
            owner=key.public,
            envelope_id=self.listing.envelope_id,
            listing_seq=self.listing.seq,
            reply_key=self.reply,
        )
        return seal_knock(made, key, envelope_key=self.listing.envelope_key)

    def strangers(self, owner, count):
        return [self.knock(owner, SigningKey.generate()) for _ in range(count)]


def test_strangers_share_a_number_of_knocks_a_minute_and_each_partner_has_its_own():
    clock = SetClock()
    gate = Gate(clock)
    crowd = [PeerId(bytes([number]) * 32) for number in range(STRANGER_KNOCKS_PER_MINUTE)]
    assert all(gate.admits(stranger, is_partner=False) for stranger in crowd)
    assert not gate.admits(crowd[0], is_partner=False)
    for partner in (b"p" * 32, b"q" * 32):
        assert all(gate.admits(partner, is_partner=True) for _ in range(PARTNER_KNOCKS_PER_MINUTE))
        assert not gate.admits(partner, is_partner=True)
    clock.ms += 60_000 // STRANGER_KNOCKS_PER_MINUTE + 1
    assert gate.admits(crowd[0], is_partner=False)
    assert not gate.admits(crowd[0], is_partner=False)
    clock.ms += 3600_000
    assert [gate.admits(stranger, is_partner=False) for stranger in [*crowd, crowd[0]]] == [True] * len(crowd) + [False]


def test_a_partner_is_heard_beside_a_flood_of_strangers(house, owner, hosting, tmp_path):
    owner.agree_with(house)
    street = Street(house, hosting)
    stranger = OwnerHouse(tmp_path / "stranger", b"s")
    for sealed in street.strangers(stranger, STRANGER_KNOCKS_PER_MINUTE):
        hosting._open_knock(sealed)
    late = street.knock(stranger)
    with pytest.raises(RefusedError, match="too many"):
        hosting._open_knock(late)
    assert hosting._open_knock(street.knock(owner)).owner == owner.peer
    house.clock.ms += 60_000
    assert hosting._open_knock(late).owner == stranger.peer, "what was not heard may be sent again"
    stranger.close()


def test_a_knock_that_is_replayed_costs_its_sender_nothing(house, owner, hosting, tmp_path):
    owner.agree_with(house)
    street = Street(house, hosting)
    stranger = OwnerHouse(tmp_path / "stranger", b"s")
    for sender, most in ((owner, PARTNER_KNOCKS_PER_MINUTE), (stranger, STRANGER_KNOCKS_PER_MINUTE)):
        sealed = street.knock(sender)
        hosting._open_knock(sealed)
        for _ in range(most):
            with pytest.raises(ProtocolViolation, match="replayed"):
                hosting._open_knock(sealed)
        assert hosting._open_knock(street.knock(sender)).owner == sender.peer
    stranger.close()


def test_a_knock_writes_its_own_nonce_and_drops_those_that_matter_no_more(house, owner, hosting, tmp_path):
    street = Street(house, hosting)
    first = street.knock(owner)
    knock = hosting._open_knock(first)
    assert house.state.nonces() == {knock.nonce: knock.expires_ms + CLOCK_SKEW_S * 1000}
    with pytest.raises(ProtocolViolation, match="replayed"):
        open_hosting(house)._open_knock(first)  # also after a restart
    house.clock.ms += CLOCK_SKEW_S * 1000 + 1001
    again = hosting._open_knock(street.knock(owner))
    assert set(house.state.nonces()) == {again.nonce}


def test_the_database_of_an_older_version_comes_along_without_the_keys_of_its_knocks(tmp_path):
    state = State(tmp_path / "state.db")
    state.put_envelope_key(b"k" * 8, b"secret of knocks", 1)
    state.put_setting("host.seq", b"7")
    state.close()
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.executescript(
            "DROP TABLE nonces; DROP INDEX requests_by_peer; DROP TABLE revisions; PRAGMA user_version=2;"
            "DROP TABLE notices; DROP TABLE blocks; DROP TABLE successions;"
            "ALTER TABLE requests DROP COLUMN offer_bytes; ALTER TABLE requests DROP COLUMN offer_term_s;"
            "ALTER TABLE requests DROP COLUMN offer_lock_s; ALTER TABLE requests DROP COLUMN revises;"
            "ALTER TABLE requests DROP COLUMN reciprocity; ALTER TABLE requests DROP COLUMN audit_bytes;"
            "ALTER TABLE requests DROP COLUMN egress_bytes; ALTER TABLE requests DROP COLUMN offer_reciprocity;"
            "ALTER TABLE requests DROP COLUMN offer_audit_bytes; ALTER TABLE requests DROP COLUMN offer_egress_bytes;"
            "ALTER TABLE requests DROP COLUMN availability; ALTER TABLE requests DROP COLUMN offer_availability;"
            "INSERT INTO settings(key,value) VALUES('host.nonces', x'00')"
        )
    db.close()
    state = State(tmp_path / "state.db")
    assert state.envelope_keys() == []
    assert state.setting("host.nonces") is None
    assert state.setting("host.seq") == b"7"
    (copy,) = tmp_path.glob("state.db.v*")
    assert b"secret of knocks" not in copy.read_bytes(), "a copy would keep the keys that the upgrade erased"
    state.close()


@pytest.fixture
def spelt(monkeypatch):
    """The peers whose safety words were computed."""
    found = []

    async def spell(own, peer):
        found.append(peer)
        return "eight words"

    monkeypatch.setattr(host_commands, "spell_safety_words", spell)
    return found


def view_of(house):
    """The commands of a host; `tasks` is what they left to be done."""
    tasks = []
    views = make_views(house.state, house.standing, house.evidence, house.clock, addresses=lambda _: ())
    parts = SimpleNamespace(
        keys=SimpleNamespace(peer=house.peer),
        state=house.state,
        standing=house.standing,
        views=views,
        clock=house.clock,
    )
    agent = SimpleNamespace(
        parts=parts,
        host=SimpleNamespace(
            requests=house.requests,
            hosting=SimpleNamespace(),
            sweeping=Sweeping(house.premises, house.clock),
            scrubbing=SimpleNamespace(proving=SimpleNamespace()),
            ending=house.ending,
            waiving=house.waiving,
        ),
        spawn=tasks.append,
    )
    return HostCommands(agent), tasks


def test_nothing_is_computed_of_a_request_that_nobody_watches(house, owner, spelt):
    async def scenario():
        _, tasks = view_of(house)
        house.requests.consider_knock(owner.knock(house), offer("ask"))
        assert tasks == []

    asyncio.run(scenario())
    assert spelt == []


def test_who_watches_is_shown_a_request_that_still_stands(house, owner, spelt):
    async def scenario():
        commands, tasks = view_of(house)
        queue = asyncio.Queue()
        commands._watchers.add(queue)
        house.requests.consider_knock(owner.knock(house), offer("ask"))
        house.requests.consider_knock(owner.knock(house, (1, 1, 1)), offer("ask"))
        for task in tasks:
            await task
        assert queue.get_nowait().data["storage_bytes"] == 1
        assert queue.empty(), "the wish before has gone"

    asyncio.run(scenario())
    assert spelt == [owner.peer]


def test_a_knock_for_a_key_that_is_not_ours_is_told_as_before(house, owner, hosting):
    sealed = Street(house, hosting).knock(owner)
    house.state.erase_envelope_keys(house.clock.now_ms() + 1)
    with pytest.raises(PeerFault, match="erased"):
        hosting._open_knock(sealed)
