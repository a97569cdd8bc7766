"""Which authority each partner is known by, from the agreements of either direction."""

from backuppeer.agent.host.authorities import list_authorities
from backuppeer.errors import StoreUnavailable
from backuppeer.ids import AgreementId, PeerId
from backuppeer.proof.succession import HOST_AUTHORITY


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
