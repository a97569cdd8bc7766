"""What a host signs of a real store: never what is not true."""

import os

import pytest

from backuppeer.errors import AuthenticationFault, ProtocolViolation, RefusedError, StoreUnavailable
from backuppeer.host.budget import day_budget
from backuppeer.host.prove import Answer, Denial, answer_challenge, say_held
from backuppeer.host.store import open_store
from backuppeer.limits import AUDIT_ANSWER_BYTES, AUDIT_SAMPLE_LEAVES, LEAF_BYTES, MIB
from backuppeer.proof.audits import UNANSWERED, Sample, check_shown, hash_shown, open_answer
from backuppeer.proof.custody import HeadHeld, LossCause, StoreAck, hash_signed, open_packs
from backuppeer.proof.merkle import compute_stored_id
from backuppeer.proof.promises import Promises
from backuppeer.proof.removals import PackDelete, PackRevive, PackWithdraw
from backuppeer.proof.revisions import Wish, revise, wish_of
from backuppeer.proof.statements import ZERO_HASH, open_statement, sign_statement
from host.host_world import NOW_MS, agreement_id, put_pack
from host.losing import DAY_MS, A, ack, audit, challenge, change, flip, pack_path, put_head, reports, settle


# --- acknowledgements
def test_packs_that_are_here_are_acknowledged_upon_the_revision_and_head_in_force(store, world, kept):
    signed, packs = ack(store, world, *kept, b"?" * 32, next(iter(kept)))
    assert packs == list(kept), "each once, and none that is not here"
    said = open_packs(StoreAck, signed, packs, host=world.host.public, agreement=A)
    assert said.standing == store.heads.name_standing(A)
    assert said.number == 1


def test_nothing_is_signed_for_packs_that_are_not_here(store, world, kept):
    assert ack(store, world, b"?" * 32) == (b"", [])


def test_a_deleted_pack_is_not_acknowledged_though_it_is_kept_and_a_revived_one_is(store, world, kept):
    first = next(iter(kept))
    change(store, world, PackDelete, "delete", first)
    put_head(store, world, 2)
    assert first not in ack(store, world, *kept)[1], "the delete upon head 1 would not excuse its loss"
    assert store.find_size(A, first), "it is kept until the lock is over"
    change(store, world, PackRevive, "revive", first)
    assert first in ack(store, world, *kept)[1]


def test_a_draft_is_acknowledged_upon_the_head_whose_withdrawal_excuses_its_loss(store, world, kept, rng):
    data = rng.randbytes(1000)
    draft = compute_stored_id(data)
    with store.receive(A, draft, len(data), is_draft=True) as incoming:
        incoming.write(data)
        incoming.commit()
    signed, packs = ack(store, world, draft)
    said = open_packs(StoreAck, signed, packs, host=world.host.public, agreement=A)
    assert change(store, world, PackWithdraw, "withdraw", draft) == [draft]
    assert said.number <= store.heads.get(A).head.number, "a withdrawal upon this head is no older than the word"
    assert ack(store, world, draft)[1] == []


@pytest.mark.parametrize("harm", ["gone", "shorter"])
def test_a_pack_whose_file_is_gone_or_cut_is_not_acknowledged_but_reported(store, world, kept, harm):
    first = next(iter(kept))
    path = pack_path(store, first)
    path.unlink() if harm == "gone" else os.truncate(path, 10)
    _, packs = ack(store, world, *kept)
    assert packs == [stored for stored in kept if stored != first]
    assert settle(store, world) == [first]
    cause = LossCause.MISSING if harm == "gone" else LossCause.DAMAGED
    assert reports(store, world) == [(cause, {first})]


def test_a_store_that_is_away_signs_nothing_and_loses_nothing(store, world, kept, directory):
    asked = challenge(store, world, Sample(next(iter(kept)), 0, 1))
    directory.rename(directory.with_name("unplugged"))
    with pytest.raises(StoreUnavailable):
        ack(store, world, *kept)
    with pytest.raises(StoreUnavailable):
        answer_challenge(store, store.leases.get(A), asked, signer=world.host, now_ms=NOW_MS)
    directory.with_name("unplugged").rename(directory)
    assert (settle(store, world), reports(store, world)) == ([], [])


# --- audits
def test_the_leaves_asked_for_are_shown_and_signed(store, world, kept):
    small, large, tiny = kept
    samples = [Sample(large, 5, 3), Sample(small, 5, 1), Sample(tiny, 0, 1), Sample(large, 127, 1)]
    asked, answer = audit(store, world, *samples)
    for sample, shown in zip(samples, answer.shown, strict=True):
        check_shown(sample, shown)
        start = sample.first_leaf * LEAF_BYTES
        assert shown.data == kept[sample.stored][start : start + sample.leaves * LEAF_BYTES]
    said, _ = open_answer(answer.signed, asked, host=world.host.public, owner=world.owner.public)
    assert said.answers == [hash_shown(one) for one in answer.shown]


def test_a_flipped_bit_in_the_leaf_asked_for_is_no_answer_and_a_report(store, world, kept):
    small, large, _ = kept
    flip(store, large, 7 * LEAF_BYTES + 3)
    asked, answer = audit(store, world, Sample(large, 7, 1), Sample(small, 0, 1), Sample(large, 8, 1))
    assert answer.shown[0] is None
    said, _ = open_answer(answer.signed, asked, host=world.host.public, owner=world.owner.public)
    assert said.answers[0] == UNANSWERED
    check_shown(Sample(large, 8, 1), answer.shown[2])
    assert settle(store, world) == [large]
    assert reports(store, world) == [(LossCause.DAMAGED, {large})]
    assert pack_path(store, large).exists(), "most of it is good, and may be asked for"
    assert store.read(A, large, offset=0, length=100) == kept[large][:100]


def test_a_damaged_pack_is_listed_no_more_and_taken_again_and_then_acknowledged_again(store, world, kept):
    _, large, _ = kept
    used = store.usage(A)
    flip(store, large)
    audit(store, world, Sample(large, 0, 1))
    settle(store, world)
    assert large not in [row.stored for row in store.list_packs(A)]
    assert not store.has(A, large)
    assert large not in ack(store, world, large)[1]
    put_pack(store, kept[large])
    assert store.usage(A) == used, "it takes its room once"
    assert large in [row.stored for row in store.list_packs(A)]
    assert ack(store, world, large)[1] == [large]
    assert audit(store, world, Sample(large, 0, 1))[1].shown[0] is not None


def test_two_packs_that_were_swapped_on_the_disk_are_both_lost(store, world, rng, lease):
    one, two = put_pack(store, rng.randbytes(50_000)), put_pack(store, rng.randbytes(50_000))
    store.heads.put_head(A, world.head(1), world.grant(), signer=world.host, now_ms=NOW_MS)
    paths = [pack_path(store, one), pack_path(store, two)]
    contents = [path.read_bytes() for path in paths]
    paths[0].write_bytes(contents[1])
    paths[1].write_bytes(contents[0])
    _, answer = audit(store, world, Sample(one, 0, 1), Sample(two, 1, 2))
    assert answer.shown == (None, None)
    assert set(settle(store, world)) == {one, two}


def test_a_torn_file_of_leaf_hashes_is_no_loss(store, world, kept):
    _, large, _ = kept
    path = pack_path(store, large)
    path.with_name(path.name + ".leaves").write_bytes(b"torn")
    _, answer = audit(store, world, Sample(large, 3, 2))
    check_shown(Sample(large, 3, 2), answer.shown[0])


def test_what_no_such_pack_has_or_was_never_here_stays_unanswered_without_a_report(store, world, kept):
    small, _, tiny = kept
    samples = (Sample(b"?" * 32, 0, 1), Sample(small, 6, 1), Sample(tiny, 0, 2), Sample(small, 2**40, 1))
    _, answer = audit(store, world, *samples)
    assert answer.shown == (None,) * 4
    assert (settle(store, world), reports(store, world)) == ([], [])


def test_no_more_is_shown_than_fits_into_memory(store, world, kept):
    _, large, _ = kept
    whole = AUDIT_ANSWER_BYTES // LEAF_BYTES
    assert whole == AUDIT_SAMPLE_LEAVES
    _, answer = audit(store, world, Sample(large, 0, whole - 1), Sample(large, 64, 2), Sample(large, 70, 1))
    assert [one is not None for one in answer.shown] == [True, False, True], "what still fits is shown"
    assert sum(len(one.data) for one in answer.shown if one) == AUDIT_ANSWER_BYTES


def test_a_challenge_of_another_head_or_revision_is_stale(store, world, kept, lease):
    first = next(iter(kept))
    before = store.heads.name_standing(A)
    put_head(store, world, 2)
    assert audit(store, world, Sample(first, 0, 1), standing=before)[1] is Denial.STALE
    before = store.heads.name_standing(A)
    store.leases.put(world.agree(size_bytes=65 * MIB, revision=2, after=lease.signed))
    assert audit(store, world, Sample(first, 0, 1), standing=before)[1] is Denial.STALE
    assert isinstance(audit(store, world, Sample(first, 0, 1))[1], Answer)


def test_a_challenge_by_another_key_is_no_challenge(store, world, kept):
    with pytest.raises(AuthenticationFault):
        audit(store, world, Sample(next(iter(kept)), 0, 1), by=world.device)


@pytest.mark.parametrize("signed", [b"", b"x", bytes(500), b"\x00\x00\x00\x01\x80" + bytes(64)])
def test_bytes_that_are_no_challenge_break_the_protocol(store, world, kept, signed):
    with pytest.raises(ProtocolViolation):
        answer_challenge(store, store.leases.get(A), signed, signer=world.host, now_ms=NOW_MS)


def test_a_challenge_shown_twice_gets_the_same_words_and_counts_twice(store, world, kept):
    small, *_ = kept
    asked, first = audit(store, world, Sample(small, 1, 1))
    again = answer_challenge(store, store.leases.get(A), asked, signer=world.host, now_ms=NOW_MS)
    assert again == first


def test_beyond_the_budget_of_the_day_nothing_is_read_and_the_next_day_all_is_well(directory, store, world, kept):
    small, *_ = kept
    most = day_budget(store.leases.get(A).terms.size_bytes)
    store.budget.take(A, most - 1000, most_bytes=most, day=NOW_MS // DAY_MS)
    assert audit(store, world, Sample(small, 0, 1))[1] is Denial.OVER_BUDGET
    store.close()
    again = open_store(directory, world.peer, floor_bytes=0)
    try:
        assert audit(again, world, Sample(small, 0, 1))[1] is Denial.OVER_BUDGET, "a restart gives nothing away"
        assert again.read(A, small, offset=0, length=10), "a restore is not limited"
        assert isinstance(audit(again, world, Sample(small, 0, 1), now_ms=NOW_MS + DAY_MS)[1], Answer)
    finally:
        again.close()


def test_a_disk_with_a_bad_sector_answers_what_it_can_and_reports_nothing(store, world, kept, monkeypatch):
    small, large, _ = kept
    bad = pack_path(store, large).stat().st_ino
    read = os.preadv

    def fail(descriptor, buffers, offset):
        if os.fstat(descriptor).st_ino == bad:
            raise OSError(5, "Input/output error")
        return read(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", fail)
    _, answer = audit(store, world, Sample(large, 0, 1), Sample(small, 0, 1))
    assert [one is not None for one in answer.shown] == [False, True]
    assert (settle(store, world), reports(store, world)) == ([], [])


# --- which head is held
def held(store, world, *, receipt=b"", nonce=b"m" * 16):
    lease = store.leases.get(A)
    return say_held(lease, store.heads.get(A), receipt=receipt, nonce=nonce, signer=world.host, now_ms=NOW_MS)


def test_a_host_says_which_head_it_holds_upon_its_own_countersignature(store, world, kept):
    receipt = store.heads.put_head(
        A, store.heads.get(A).signed_head, world.grant(), signer=world.host, now_ms=NOW_MS
    ).receipt
    said = open_statement(HeadHeld, held(store, world, receipt=receipt), world.host.public)
    assert (said.standing, said.receipt, said.nonce) == (
        store.heads.name_standing(A),
        hash_signed(receipt),
        b"m" * 16,
    )
    assert open_statement(HeadHeld, held(store, world), world.host.public).receipt == ZERO_HASH


def test_a_host_without_a_head_says_so(store, world, lease):
    assert open_statement(HeadHeld, held(store, world), world.host.public).number == 0


def test_no_word_is_given_upon_the_countersignature_of_somebody_else_or_of_another_agreement(store, world, kept):
    head, grant = store.heads.get(A).signed_head, world.grant()
    store.leases.put(world.agree(2, size_bytes=8 * MIB))
    foreign = store.heads.put_head(A, head, grant, signer=world.device, now_ms=NOW_MS).receipt
    other = store.heads.put_head(agreement_id(2), head, grant, signer=world.host, now_ms=NOW_MS).receipt
    for receipt in (foreign, other, b"nonsense"):
        with pytest.raises(RefusedError):
            held(store, world, receipt=receipt)


def test_an_agreement_says_how_much_is_read_a_day_but_never_less_than_a_days_plan_and_one_bulk_read(store, world, kept):
    small, *_ = kept
    lease = store.leases.get(A)
    usual = day_budget(lease.terms.size_bytes)
    promised = Wish(*wish_of(lease.terms)[:3], Promises(audit_bytes=usual + 10**6))
    terms = revise(lease.signed, promised)
    store.leases.put(sign_statement(terms, world.owner, world.host))
    store.budget.take(A, usual, most_bytes=usual, day=NOW_MS // DAY_MS)
    assert isinstance(audit(store, world, Sample(small, 0, 1))[1], Answer), "more than is usual was promised"
    store.budget.take(A, 10**6, most_bytes=10**12, day=NOW_MS // DAY_MS)
    assert audit(store, world, Sample(small, 0, 1))[1] is Denial.OVER_BUDGET
    for size_bytes in (64 * MIB, 10**11, 10**13):
        usual = day_budget(size_bytes)
        assert day_budget(size_bytes, 1) < usual
        assert day_budget(size_bytes, 1) >= size_bytes * 5 // 1000 + min(2**30, size_bytes // 100)
        assert day_budget(size_bytes, usual * 3) == usual * 3
