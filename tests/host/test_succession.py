"""An owner goes on as another: the lease is filed under the heir, and all that is kept by agreement stays."""

import pytest

from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import AuthenticationFault, ProtocolViolation, RefusedError
from backuppeer.host.store import open_store
from backuppeer.ids import PeerId
from backuppeer.limits import AGREEMENTS_PER_OWNER, MIB
from backuppeer.proof.notices import sign_notice
from backuppeer.proof.removals import PackDelete, sign_removal
from backuppeer.proof.revisions import revise, succeed, wish_of
from backuppeer.proof.statements import Agreement, peek_statement, sign_statement, statement_hash
from backuppeer.proof.succession import Succession
from host.host_world import NOW_MS, agreement_id, put_pack

A = agreement_id()
HEIR, NEXT, STRANGER = (SigningKey.from_seed(seed * 32) for seed in (b"n", b"m", b"s"))


def say(world, *, old=None, new=HEIR, by=None, generation=2):
    by = by or world.authority
    said = Succession(
        authority=by.public,
        old=PeerId((old or world.owner).public),
        new=PeerId(new.public),
        generation=generation,
        time_ms=NOW_MS,
    )
    return sign_statement(said, by, new)


def pass_on(world, signed, **fields):
    """Return the revision by which the owner changes, signed by both."""
    return sign_statement(succeed(signed, say(world, **fields)), fields.get("new", HEIR), world.host)


def reopen(store, world):
    directory = store.directory
    store.close()
    return open_store(directory, world.peer)


def test_the_lease_is_the_heirs_and_no_more_the_old_ones_also_after_a_restart(store, world):
    first = world.agree()
    store.leases.put(first)
    pack = put_pack(store, b"x" * 70_000)
    second = pass_on(world, first)
    assert store.leases.put(second).owner == HEIR.public
    for opened in (store, None):
        opened = opened or reopen(store, world)  # noqa: PLW2901 - once as it is, once opened anew
        assert opened.leases.list_by_owner(PeerId(world.owner.public)) == []
        (lease,) = opened.leases.list_by_owner(PeerId(HEIR.public))
        assert (lease.agreement, lease.signed) == (A, second)
        assert opened.leases.history(A) == [first, second]
        assert opened.leases.line(lease) == (HEIR.public, world.owner.public)
        assert opened.leases.find_step(A, PeerId(world.owner.public)) == second
        assert opened.leases.find_step(A, PeerId(HEIR.public)) is None
        assert opened.has(A, pack)
        assert opened.usage(A).packs == 1
    opened.close()


def test_the_owner_goes_on_several_times_and_the_terms_change_between(store, world):
    first = world.agree()
    second = pass_on(world, first)
    terms = peek_statement(Agreement, second)
    third = sign_statement(revise(second, wish_of(terms)._replace(size_bytes=9 * MIB)), HEIR, world.host)
    fourth = pass_on(world, third, old=HEIR, new=NEXT, generation=3)
    for signed in (first, second, third, fourth):
        lease = store.leases.put(signed)
    assert store.leases.line(lease) == (NEXT.public, HEIR.public, world.owner.public)
    assert store.leases.find_step(A, PeerId(world.owner.public)) == second
    assert store.leases.find_step(A, PeerId(HEIR.public)) == fourth


def test_a_foreign_authority_or_the_old_owner_alone_changes_nothing(store, world):
    first = world.agree()
    store.leases.put(first)
    with pytest.raises(AuthenticationFault):
        store.leases.put(pass_on(world, first, by=STRANGER))
    terms = peek_statement(Agreement, first)
    with pytest.raises(ProtocolViolation):
        store.leases.put(world.agree(after=first, revision=2, owner=HEIR))
    assert store.leases.get(A).terms == terms


def test_what_the_owner_of_before_asked_for_is_followed_after_a_restart_too(store, world):
    first = world.agree(lock_s=1000)
    store.leases.put(first)
    pack, other = put_pack(store, b"x" * 70_000), put_pack(store, b"y" * 70_000)
    head = world.head(1)
    store.heads.put_head(A, head, world.grant(), signer=world.host, now_ms=NOW_MS)
    on_head = {"agreement": A, "head": (statement_hash(head), 1), "time_ms": NOW_MS}
    store.removals.delete(A, sign_removal(PackDelete, [pack], world.owner, **on_head), [pack])
    store.notices.give(A, sign_notice(A, world.owner, last=0, time_ms=NOW_MS))
    left_s = store.notices.left_s(A)
    store.leases.put(pass_on(world, first))
    assert [row.stored for row in store.removals.list_deleted(A, after=b"", limit=9)] == [pack]
    with pytest.raises(AuthenticationFault):
        store.removals.delete(A, sign_removal(PackDelete, [other], world.owner, **on_head), [other])
    store.close()
    (store.directory / "catalogue.db").unlink()  # so that every request is read, and done, again
    opened = open_store(store.directory, world.peer)
    assert [row.stored for row in opened.removals.list_deleted(A, after=b"", limit=9)] == [pack]
    assert opened.notices.left_s(A) == left_s
    assert not [note for note in opened.notes if "can't be read" in note]
    # Numbers go on over the line: the heir takes back what a thief may have given.
    with pytest.raises(RefusedError, match="notice 2"):
        opened.notices.give(A, sign_notice(A, HEIR, last=0, time_ms=NOW_MS))
    assert opened.notices.give(A, sign_notice(A, HEIR, last=1, time_ms=NOW_MS)) == 0
    assert opened.notices.left_s(A) is None
    opened.close()


def test_an_owner_of_before_whose_revision_is_gone_is_left_out_of_the_line_and_the_store_opens(store, world):
    first = world.agree()
    store.leases.put(first)
    store.leases.put(pass_on(world, first))
    store.notices.give(A, sign_notice(A, HEIR, last=0, time_ms=NOW_MS))
    next(store.directory.rglob("agreement.1")).unlink()
    opened = reopen(store, world)
    assert opened.leases.line(opened.leases.get(A)) == (HEIR.public,)
    opened.close()


def test_no_further_agreement_of_an_owner_names_another_authority(store, world):
    store.leases.put(world.agree())
    store.leases.put(world.agree(2))
    with pytest.raises(RefusedError, match="another authority"):
        store.leases.put(world.agree(3, authority=STRANGER))
    store.leases.put(world.agree(3, authority=STRANGER, owner=STRANGER))


def test_no_heir_has_more_agreements_than_anybody(store, world):
    first = world.agree()
    store.leases.put(first)
    for number in range(2, AGREEMENTS_PER_OWNER + 2):
        store.leases.put(world.agree(number, size_bytes=MIB // 4, owner=HEIR))
    with pytest.raises(RefusedError, match="already"):
        store.leases.put(pass_on(world, first))
    assert store.leases.get(A).signed == first


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_notice_dated_after_the_succession_is_void_and_the_heir_gives_its_own_by_any_number(store, world, number):
    first = world.agree(lock_s=100)
    store.leases.put(first)
    pack = put_pack(store, b"x" * 70_000)
    notice = sign_notice(A, world.owner, last=0, time_ms=NOW_MS + 1)
    assert store.notices.give(A, notice) == 200, "nothing was heard of an heir"
    store.leases.put(pass_on(world, first))
    opened = store
    for _ in range(2):
        assert (opened.notices.left_s(A), opened.notices.list_given(A)) == (None, [])
        opened.sweep.add_age(1000)
        assert (opened.notices.is_over(A), opened.notices.list_over()) == (False, [])
        assert opened.has(A, pack)
        opened = reopen(opened, world)
    left_s = opened.notices.give(A, sign_notice(A, HEIR, last=number - 1, time_ms=NOW_MS))
    assert left_s == (200 if number % 2 else 0)
    with pytest.raises(RefusedError, match=f"notice {number + 1} of this side"):
        opened.notices.give(A, sign_notice(A, HEIR, last=number + 1, time_ms=NOW_MS))
    opened.close()


def test_a_notice_whose_succession_is_gone_from_the_disk_ends_nothing(store, world):
    first = world.agree(lock_s=100)
    store.leases.put(first)
    store.notices.give(A, sign_notice(A, world.owner, last=0, time_ms=NOW_MS))
    second = pass_on(world, first)
    store.leases.put(second)
    terms = peek_statement(Agreement, second)
    store.leases.put(sign_statement(revise(second, wish_of(terms)), HEIR, world.host))
    next(store.directory.rglob("agreement.2")).unlink()
    assert store.notices.left_s(A) is None
