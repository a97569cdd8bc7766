"""A host goes on as another: its store becomes the heir's, agreements stay under the old name until owners sign."""

import pytest

from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import AuthenticationFault, ProtocolViolation, StoreUnavailable
from backuppeer.host.store import create_store, open_store
from backuppeer.ids import PeerId
from backuppeer.proof.notices import sign_notice
from backuppeer.proof.revisions import succeed
from backuppeer.proof.statements import sign_statement
from backuppeer.proof.succession import HOST_AUTHORITY, Succession
from host.host_world import NOW_MS, agreement_id, put_pack

A = agreement_id()
HEIR, STRANGER = (SigningKey.from_seed(seed * 32) for seed in (b"n", b"s"))
WORDS = SigningKey.from_seed(b"w" * 32)
NEW = PeerId(HEIR.public)


def say(world, *, by=WORDS):
    said = Succession(
        authority=by.public, old=PeerId(world.host.public), new=NEW, generation=2, time_ms=NOW_MS
    )  # fmt: skip
    return sign_statement(said, by, HEIR)


def go_on(store, world, *, peer=NEW):
    directory = store.directory
    store.close()
    return open_store(directory, peer, former=(world.peer,))


def test_the_store_is_the_heirs_from_its_first_opening_on_and_a_copy_of_the_old_home_finds_a_foreign_one(store, world):
    store_id, directory = store.store_id, store.directory
    for opener in (open_store, create_store):
        store.close()
        store = opener(directory, NEW, former=(world.peer,))
        assert (store.store_id, store.peer) == (store_id, NEW)
        with pytest.raises(StoreUnavailable, match="in use"):
            open_store(directory, NEW, former=(world.peer,))
    store.close()
    with pytest.raises(StoreUnavailable, match="belongs to another peer"):
        open_store(directory, world.peer)
    open_store(directory, NEW).close()


def test_a_store_in_use_by_the_old_identity_is_not_taken_from_under_it(store, world):
    marker = store.directory / "backup-peer-store"
    before = marker.read_text()
    with pytest.raises(StoreUnavailable, match="in use"):
        open_store(store.directory, NEW, former=(world.peer,))
    assert marker.read_text() == before


def test_what_is_under_the_old_name_is_kept_and_served_until_its_owner_signed_the_next_revision(store, world):
    first = world.agree(ext={HOST_AUTHORITY: WORDS.public})
    store.leases.put(first)
    pack = put_pack(store, b"x" * 70_000)
    store.notices.give(A, sign_notice(A, world.host, last=0, time_ms=NOW_MS))
    store = go_on(store, world)
    (lease,) = store.leases.list_all()
    assert (lease.host, store.leases.names(lease)) == (world.peer, (world.peer,))
    foreign = sign_statement(succeed(first, say(world, by=STRANGER)), world.owner, HEIR)
    with pytest.raises(AuthenticationFault):
        store.leases.put(foreign)
    second = sign_statement(succeed(first, say(world)), world.owner, HEIR)
    store.leases.put(second)
    for opened in (store, None):
        opened = opened or go_on(store, world)  # noqa: PLW2901 - once as it is, once opened anew
        (lease,) = opened.leases.list_all()
        assert (lease.host, opened.leases.names(lease)) == (NEW, (NEW, world.peer))
        assert opened.leases.line(lease) == (world.owner.public,)
        assert opened.leases.find_step(A, world.peer) == second
        assert (opened.has(A, pack), opened.usage(A).packs) == (True, 1)
        assert opened.notices.is_ended_by_host(A), "what it said before it says still"
        assert opened.notices.last_of_host(A).notice.number == 1
        back = sign_notice(A, HEIR, last=1, time_ms=NOW_MS)
        store = opened
    opened.notices.give(A, back)
    assert not opened.notices.is_ended_by_host(A)
    opened.close()


def test_an_agreement_with_a_name_that_is_none_of_this_hosts_is_none(store, world):
    first = world.agree(ext={HOST_AUTHORITY: WORDS.public})
    store.leases.put(first)
    directory = store.directory
    store.close()
    # As somebody who forgot who it was: the name of before is nobody's, and its packs are not given out.
    marker = directory / "backup-peer-store"
    heirs = open_store(directory, NEW, former=(world.peer,))
    heirs.close()
    again = open_store(directory, NEW)
    assert again.leases.list_all() == []
    assert marker.exists()
    with pytest.raises(ProtocolViolation, match="another host"):
        again.leases.put(first)
    again.close()
