"""Which authority each partner is known by, from the agreements of either direction."""

from agent.host.test_succeeding import AUTHORITY, HEIR, play, say, word
from backuppeer.agent.home.state import State
from backuppeer.agent.host.authorities import follow_again, list_authorities
from backuppeer.agent.repute.heirs import Heirs
from backuppeer.errors import StoreUnavailable
from backuppeer.ids import AgreementId, PeerId
from backuppeer.proof.succession import HOST_AUTHORITY, IN_REVISION
from backuppeer.trust.evidence import EvidenceLog
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
