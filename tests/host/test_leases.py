"""Agreements: both signatures, the chain, the parties, and what is left after damage."""

import pytest

from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import AuthenticationFault, NotFoundError, PeerFault, ProtocolViolation, RefusedError
from backuppeer.host.store import open_store
from backuppeer.ids import PeerId
from backuppeer.limits import AGREEMENTS_PER_OWNER, KIB, MIB, STATEMENT_BYTES
from backuppeer.proof import revisions
from backuppeer.proof.statements import Agreement, peek_statement, sign_statement
from host.host_world import agreement_id, put_pack

A = agreement_id()


def test_a_chain_of_revisions_is_kept_and_the_newest_is_in_force(store, world) -> None:
    first = world.agree()
    second = world.agree(after=first, revision=2, size_bytes=16 * MIB)
    third = world.agree(after=second, revision=3, size_bytes=12 * MIB)
    for signed in (first, second, third):
        assert store.leases.put(signed).signed == signed
    assert store.leases.get(A).terms.revision == 3
    assert store.leases.history(A) == [first, second, third]
    assert store.usage(A).size_bytes == 12 * MIB


def test_the_revision_in_force_may_come_again(store, world) -> None:
    first = world.agree()
    assert store.leases.put(first) == store.leases.put(first)
    assert store.leases.history(A) == [first]


def test_revisions_that_do_not_continue_the_chain_are_refused(store, world) -> None:
    first = world.agree()
    other = world.agree(size_bytes=9 * MIB)
    with pytest.raises(ProtocolViolation):
        store.leases.put(world.agree(after=first, revision=2))
    store.leases.put(first)
    second = world.agree(after=first, revision=2)
    for signed in (world.agree(after=other, revision=2), world.agree(after=first, revision=3)):
        with pytest.raises(ProtocolViolation):
            store.leases.put(signed)
    store.leases.put(second)
    for signed in (first, world.agree(after=first, revision=2, size_bytes=20 * MIB)):
        with pytest.raises(RefusedError, match="revision 2"):
            store.leases.put(signed)
    assert store.leases.get(A).signed == second


def test_parties_authority_and_repository_never_change(store, world) -> None:
    first = world.agree()
    store.leases.put(first)
    stranger = SigningKey.from_seed(b"s" * 32)
    for changed in ({"owner": stranger}, {"authority": stranger}):
        with pytest.raises(ProtocolViolation, match="may not change"):
            store.leases.put(world.agree(after=first, revision=2, **changed))


def test_a_lock_is_not_lowered_by_a_revision(store, world) -> None:
    first = world.agree(lock_s=100)
    store.leases.put(first)
    with pytest.raises(RefusedError, match="lower the lock"):
        store.leases.put(world.agree(after=first, revision=2, lock_s=99))
    store.leases.put(world.agree(after=first, revision=2, lock_s=101))


def test_an_agreement_with_another_host_or_about_nothing_is_refused(store, world) -> None:
    with pytest.raises(ProtocolViolation, match="another host"):
        store.leases.put(world.agree(host=SigningKey.from_seed(b"s" * 32)))
    with pytest.raises(ProtocolViolation, match="no storage"):
        store.leases.put(world.agree(size_bytes=0))
    assert store.leases.list_all() == []


def test_a_missing_or_wrong_signature_is_refused(store, world) -> None:
    signed = world.agree()
    half = sign_statement(peek_statement(Agreement, signed), world.owner)
    flipped = bytearray(signed)
    flipped[-1] ^= 1
    for bad in (half, bytes(flipped)):
        with pytest.raises(AuthenticationFault):
            store.leases.put(bad)
    for bad in (b"", signed[:-64] + b"x", signed + b"x", b"\xff" * 3 * STATEMENT_BYTES):
        with pytest.raises(PeerFault):
            store.leases.put(bad)


def test_a_shrink_below_what_is_stored_is_refused_and_changes_nothing(store, world) -> None:
    first = world.agree()
    store.leases.put(first)
    put_pack(store, b"x" * 100 * KIB)
    with pytest.raises(RefusedError, match="are stored"):
        store.leases.put(world.agree(after=first, revision=2, size_bytes=99 * KIB))
    assert store.leases.get(A).signed == first
    assert store.usage(A).size_bytes == 8 * MIB


def test_an_owner_has_only_so_many_agreements(store, world) -> None:
    for number in range(AGREEMENTS_PER_OWNER):
        store.leases.put(world.agree(number + 1))
    with pytest.raises(RefusedError, match="agreements with this owner"):
        store.leases.put(world.agree(AGREEMENTS_PER_OWNER + 1))
    other = SigningKey.from_seed(b"s" * 32)
    store.leases.put(world.agree(AGREEMENTS_PER_OWNER + 2, owner=other))
    assert len(store.leases.list_by_owner(PeerId(world.owner.public))) == AGREEMENTS_PER_OWNER
    assert [lease.owner for lease in store.leases.list_by_owner(PeerId(other.public))] == [other.public]


def test_an_agreement_is_revised_only_so_often(store, world, monkeypatch) -> None:
    monkeypatch.setattr(revisions, "AGREEMENT_REVISIONS", 3)
    signed = b""
    for revision in (1, 2, 3):
        signed = world.agree(after=signed, revision=revision)
        store.leases.put(signed)
    with pytest.raises(RefusedError, match="revised too often"):
        store.leases.put(world.agree(after=signed, revision=4))
    assert store.leases.get(A).signed == signed


def test_more_than_the_store_offers_is_not_agreed(store, world) -> None:
    store.quota.set_offered(10 * MIB)
    store.leases.put(world.agree())
    with pytest.raises(RefusedError, match=r"2\.09 MB free now"):
        store.leases.put(world.agree(2, size_bytes=3 * MIB))
    assert store.leases.find(agreement_id(2)) is None
    assert store.totals().agreed_bytes == 8 * MIB


def test_agreements_survive_a_restart_and_a_lost_file(store, world, directory) -> None:
    first = world.agree()
    second = world.agree(after=first, revision=2)
    store.leases.put(first)
    store.leases.put(second)
    put_pack(store, b"x" * 10)
    store.close()
    (directory / "agreements" / A.hex() / "agreement").write_bytes(b"rubbish")
    again = open_store(directory, world.peer, floor_bytes=0)
    try:
        assert again.leases.history(A) == [first, second]
        assert any("restored from the catalogue" in note for note in again.notes)
        assert (directory / "agreements" / A.hex() / "agreement").read_bytes() == second
        assert again.usage(A).used_bytes == 10
    finally:
        again.close()


def test_packs_of_a_lost_agreement_are_kept_noted_and_not_served(store, world, directory) -> None:
    store.leases.put(world.agree())
    stored = put_pack(store, b"x" * 10)
    store.close()
    (directory / "agreements" / A.hex() / "agreement").unlink()
    (directory / "catalogue.db").unlink()
    again = open_store(directory, world.peer, floor_bytes=0)
    try:
        assert any("kept but not served" in note for note in again.notes)
        with pytest.raises(NotFoundError):
            again.list_packs(A)
        assert next(directory.rglob(stored.hex())).read_bytes() == b"x" * 10
        assert again.totals().used_bytes == 10
    finally:
        again.close()
