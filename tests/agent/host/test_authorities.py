"""Which authority each partner is known by, from the agreements of either direction."""

import asyncio

import pytest

from agent.host.test_succeeding import AUTHORITY, HEIR, STRANGER, play, say, word
from agent.hosted import hosted
from agent.houses import WISH, FixedReach, HostHouse, OwnerHouse, offer
from agent.owner.test_connecting import WHERE, Door, connecting, quiet, wanting
from backuppeer.agent.home.state import State
from backuppeer.agent.host.authorities import choose_authority, find_authority, follow_again, list_authorities
from backuppeer.agent.owner.revising import Revising
from backuppeer.agent.repute.heirs import Heirs
from backuppeer.clock import SystemClock
from backuppeer.crypto.keys import derive_authority
from backuppeer.errors import AuthenticationFault, RefusedError, StoreUnavailable
from backuppeer.ids import AgreementId, PeerId
from backuppeer.limits import MIB
from backuppeer.proof.succession import HOST_AUTHORITY, IN_REVISION
from backuppeer.signaling.knock import Verdict
from backuppeer.trust.evidence import EvidenceLog
from backuppeer.wire.messages import Hello
from backuppeer.wire.succeeding import Succeeded


def test_owners_are_known_by_the_authority_of_their_agreements(house, owner):
    assert list(list_authorities(house.state, house.premises)) == []
    owner.agree_with(house)
    assert list(list_authorities(house.state, house.premises)) == [(owner.peer, PeerId(owner.keys.authority))]


def test_hosts_are_known_by_an_authority_only_where_they_named_one(house, owner):
    for number, ext in ((1, {}), (2, {HOST_AUTHORITY: b"A" * 32}), (3, {HOST_AUTHORITY: b"short"})):
        signed = owner.propose(house.peer, number=number, ext=ext) + bytes(64)
        owner.state.put_agreement(AgreementId(bytes([number]) * 16), house.peer, signed)
    assert list(list_authorities(owner.state, house.premises)) == [(house.peer, PeerId(b"A" * 32))]


def test_a_disk_that_is_away_names_no_owners_and_refuses_nothing(house, owner, monkeypatch):
    owner.agree_with(house)

    def gone():
        raise StoreUnavailable("away")

    monkeypatch.setattr(house.premises, "open", gone)
    assert list(list_authorities(house.state, house.premises)) == []


def test_a_home_that_lost_its_state_follows_again_whom_its_agreements_name(house, owner, tmp_path):
    owner.agree_with(house)
    play(house, owner, lambda link: link.ask(word(house, owner), Succeeded))
    followed = house.heirs.heir_of(owner.peer)
    anew, log = State(tmp_path / "anew.db"), EvidenceLog(tmp_path / "anew-evidence.db")
    heirs = Heirs(anew, log.lines, house.clock)
    assert follow_again(heirs, anew, house.premises) == follow_again(heirs, anew, house.premises) == 1
    assert heirs.heir_of(owner.peer)[:5] == followed[:5]
    assert log.lines.newest(owner.peer) == PeerId(HEIR.public)
    anew.close()
    log.close()


def test_an_owner_follows_a_host_by_the_authority_that_the_host_had_put_in_and_by_no_other(house, owner, tmp_path):
    log = EvidenceLog(tmp_path / "evidence.db")
    heirs = Heirs(owner.state, log.lines, house.clock)
    succession = say(house.peer, by=AUTHORITY)
    for number, authority in ((1, b"A" * 32), (2, AUTHORITY.public)):
        ext = {HOST_AUTHORITY: authority, IN_REVISION: succession}
        signed = owner.propose(PeerId(HEIR.public), number=number, ext=ext) + bytes(64)
        owner.state.put_agreement(AgreementId(bytes([number]) * 16), PeerId(HEIR.public), signed)
        assert follow_again(heirs, owner.state, house.premises) == number - 1
    assert heirs.newest(house.peer) == PeerId(HEIR.public)
    log.close()


def naming(owner, host, authority, *, number=9, **fields):
    """Put an agreement into force in which this home is the owner, and the host has this authority."""
    signed = owner.propose(host, number=number, ext={HOST_AUTHORITY: authority}, **fields) + bytes(64)
    owner.state.put_agreement(AgreementId(bytes([number]) * 16), host, signed)


@pytest.fixture
def partner(tmp_path):
    """Another home; its thief has its identity, and the authority `STRANGER`."""
    made = OwnerHouse(tmp_path / "partner", b"p")
    yield made
    made.close()


@pytest.fixture
def both(tmp_path, owner):
    """The host's side of the home of `owner`."""
    made = HostHouse(tmp_path / "both", b"b", identity=owner.keys.identity, state=owner.state)
    yield made
    made.premises.close()
    made.evidence.close()


def test_of_both_directions_the_authority_that_was_named_first_is_the_only_one(both, owner, partner):
    naming(owner, partner.peer, STRANGER.public, start_ms=owner.clock.now_ms() + 5000)
    partner.agree_with(both)
    assert list(list_authorities(both.state, both.premises)) == [(partner.peer, PeerId(partner.keys.authority))]
    naming(owner, partner.peer, STRANGER.public, start_ms=0)
    assert list(list_authorities(both.state, both.premises)) == [(partner.peer, PeerId(STRANGER.public))]


def test_whose_packs_are_kept_is_taken_as_a_host_under_no_other_authority(both, owner, partner, tmp_path):
    partner.agree_with(both)
    far = HostHouse(tmp_path / "far", b"f", identity=partner.keys.identity)
    made = connecting(owner, Door((Verdict.ACCEPTED, WHERE)))
    made.choose_authority = both.succeeding.choose_authority

    async def run():
        async with hosted(far, owner) as link:
            made._reach.found = link.session
            for told in (STRANGER.public, partner.keys.authority):
                far.revising._authority = told
                far.requests.consider_knock(owner.knock(far), offer("all"))
                link.session.hello = Hello(authority=told)
                if told == STRANGER.public:
                    with pytest.raises(RefusedError, match="another authority"):
                        await made.connect(far.peer, wanting(far), [], quiet)
                    assert owner.state.agreements() == []
                else:
                    await made.connect(far.peer, wanting(far), [], quiet)

    asyncio.run(run())
    assert made.agreement_with(far.peer).ext[HOST_AUTHORITY] == partner.keys.authority
    far.close()


def test_who_is_a_host_is_taken_as_an_owner_under_no_other_authority(both, owner, partner):
    naming(owner, partner.peer, partner.keys.authority)
    for number, authority in ((1, STRANGER.public), (2, partner.keys.authority)):
        both.requests.consider_knock(partner.knock(both), offer("all"))
        proposal = partner.propose(both.peer, number=number, authority=authority)
        if authority == STRANGER.public:
            with pytest.raises(RefusedError, match="another authority"):
                both.revising.consider(partner.peer, proposal)
            assert both.premises.leases_of(partner.peer) == []
        else:
            assert both.revising.consider(partner.peer, proposal)


def test_in_a_store_of_before_a_thiefs_agreement_lets_no_heir_of_its_own_be_followed(both, owner, partner):
    naming(owner, partner.peer, partner.keys.authority, start_ms=0)
    both.requests.consider_knock(partner.knock(both), offer("all"))
    both.requests.consider_proposal(partner.peer, partner.propose(both.peer, authority=STRANGER.public))
    with pytest.raises(AuthenticationFault):
        both.succeeding.take(partner.peer, word(both, partner, by=STRANGER))
    assert both.heirs.heir_of(partner.peer) is None
    both.succeeding.take(partner.peer, word(both, partner, by=derive_authority(b"p" * 32)))
    assert both.heirs.newest(partner.peer) == PeerId(HEIR.public)


def test_an_heir_that_is_known_by_another_authority_is_not_followed_and_one_of_a_line_is_known_by_that_of_all(
    both, owner, partner
):
    owner_of_words = derive_authority(b"p" * 32)
    partner.agree_with(both)
    both.succeeding.take(partner.peer, word(both, partner, by=owner_of_words))
    for one in (partner.peer, PeerId(HEIR.public)):
        assert find_authority(both.state, both.premises, one) == owner_of_words.public
        with pytest.raises(RefusedError, match="another authority"):
            choose_authority(both.state, both.premises, one, STRANGER.public)
    thief = OwnerHouse(partner.home.path.parent / "thief", b"t")
    thief.agree_with(both, number=5)
    with pytest.raises(RefusedError, match="another authority"):
        both.succeeding.take(thief.peer, word(both, thief, by=derive_authority(b"t" * 32)))
    assert both.heirs.heir_of(thief.peer) is None
    thief.close()


def test_while_the_disk_is_away_no_authority_is_named_for_who_has_packs_there(both, partner, monkeypatch):
    partner.agree_with(both)

    def gone():
        raise StoreUnavailable("away")

    monkeypatch.setattr(both.premises, "open", gone)
    assert choose_authority(both.state, both.premises, partner.peer, STRANGER.public) == b""
    assert choose_authority(both.state, both.premises, PeerId(HEIR.public), STRANGER.public) == STRANGER.public


def test_a_revision_names_no_other_authority_of_a_host_than_that_of_its_packs_here(both, owner, partner, tmp_path):
    far = HostHouse(tmp_path / "far", b"f", identity=partner.keys.identity)
    agreement = owner.agree_with(far)
    partner.agree_with(both)
    far.revising._authority = STRANGER.public

    async def run():
        async with hosted(far, owner) as link:
            link.session.hello = Hello(authority=STRANGER.public)
            made = Revising(owner.state, owner.keys, SystemClock(), reach=FixedReach(link.session), blame=print)
            made.choose_authority = both.succeeding.choose_authority
            with pytest.raises(RefusedError, match="another authority"):
                await made.change(far.peer, lambda _: WISH._replace(size_bytes=MIB), quiet, wait_s=5)
            assert not made.is_waiting(far.peer)

    asyncio.run(run())
    assert far.premises.open().leases.get(agreement).terms.revision == 1
    far.close()
