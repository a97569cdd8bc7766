"""What is remembered of audits: kept, bounded, and gone with what it was about."""

import random

import pytest

from backuppeer.errors import DamagedStateError, LocalError
from backuppeer.ids import AgreementId, LogicalId, StoredId
from backuppeer.limits import AUDIT_PENDING, AUDIT_RECEIPTS, PROOF_AGREEMENTS
from backuppeer.proof.audits import Sample
from backuppeer.shares.accounts import Account, Ack, Coverage, KeptHead, Owed
from backuppeer.shares.copies import Copy
from backuppeer.shares.proven import Proven

ALICE, BOB = AgreementId(b"A" * 16), AgreementId(b"B" * 16)


def account(agreement=ALICE, **changes) -> Account:
    return Account(**{"agreement": agreement, "seed": b"s" * 32, "day": 20_000, **changes})


def copies(count: int, agreement=ALICE, seed=0) -> list[Copy]:
    noise = random.Random(seed)
    return [
        Copy(LogicalId(noise.randbytes(16)), agreement, StoredId(noise.randbytes(32)), 1000 + n, bytes(64))
        for n in range(count)
    ]


def owed(number: int, **changes) -> Owed:
    fields = {"challenge": b"c", "first_ms": number, "last_ms": number, "times": 1}
    return Owed(LogicalId(bytes(16)), Sample(StoredId(number.to_bytes(32, "big")), 3, 1), **{**fields, **changes})


@pytest.fixture
def proven(tmp_path):
    made = Proven(tmp_path / "proven.db")
    made.write(account())
    made.write(account(BOB, day=7))
    yield made
    made.close()


def test_accounts_survive_and_a_seed_is_never_replaced(proven, tmp_path):
    changed = account(
        day=20_001, bulk_cycle=600, due_ms=5, failures=2, heard_ms=6, good_ms=7, reports=3, fault="f", fault_ms=8
    )
    proven.write(changed)
    proven.write(account(seed=b"t" * 32, day=20_002, is_mute=True))
    proven.close()
    again = Proven(tmp_path / "proven.db")
    assert again.account(ALICE) == account(day=20_002, is_mute=True)
    assert again.account(BOB) == account(BOB, day=7)
    assert again.account(AgreementId(b"C" * 16)) is None
    again.close()


def test_packs_are_taken_in_acknowledged_proven_and_swept(proven):
    mine, theirs = copies(5), copies(2, BOB, seed=9)
    ids = [copy.stored for copy in mine]
    assert proven.take_in(ALICE, mine, 1) == ids
    assert proven.take_in(BOB, theirs, 1) == [copy.stored for copy in theirs]
    proven.keep_ack(ALICE, Ack(4, b"first", tuple(ids[:3])))
    proven.keep_ack(ALICE, Ack(5, b"second", (ids[3],)))
    assert proven.take_in(ALICE, mine[1:], 2) == [ids[4]]
    assert proven.ack_of(ALICE, ids[0]) == Ack(4, b"first", tuple(ids[:3]))
    assert proven.ack_of(ALICE, ids[4]) is None
    assert proven.ack_of(BOB, ids[0]) is None
    proven.note_proven(ALICE, ids[:2], 50)
    assert proven.cover(ALICE, 50) == Coverage(5010, 2001, 5, 4)
    assert proven.cover(ALICE, 51) == Coverage(5010, 0, 5, 4)

    proven.disown(ALICE, [ids[3]])
    assert (proven.ack_of(ALICE, ids[3]), proven.cover(ALICE, 50).acked) == (None, 3)
    proven.keep_ack(ALICE, Ack(6, b"third", (ids[3],)))

    proven.sweep(ALICE, 2)
    assert proven.ack_of(ALICE, ids[0]) is None, "its pack is gone"
    assert proven.ack_of(ALICE, ids[1]) == Ack(4, b"first", tuple(ids[:3])), "others of its packs are there"
    assert proven.cover(ALICE, 50) == Coverage(4010, 1001, 4, 3)
    assert proven.cover(BOB, 50) == Coverage(2001, 0, 2, 0), "the sweep of one host touches no other"
    proven.take_in(ALICE, mine[4:], 3)
    proven.sweep(ALICE, 3)
    (count,) = proven._fetch("SELECT COUNT(*) FROM acks")[0]
    assert count == 0, "no acknowledgement stays without a pack"


def test_what_is_owed_is_bounded_and_the_longest_owed_stays(proven):
    proven.owe(ALICE, [owed(n) for n in reversed(range(AUDIT_PENDING + 10))])
    kept = proven.owed(ALICE)
    assert [one.first_ms for one in kept] == list(range(AUDIT_PENDING))
    assert kept[0] == owed(0)
    proven.owe(ALICE, [owed(0, times=2, last_ms=9, is_alone=True)])
    assert proven.owed(ALICE)[0] == owed(0, times=2, last_ms=9, is_alone=True)
    proven.settle(ALICE, [one.sample for one in kept[1:]])
    assert len(proven.owed(ALICE)) == 1
    assert proven.owed(BOB) == []


def test_heads_and_terms_are_bounded_and_the_newest_stay(proven):
    for number in range(1, AUDIT_RECEIPTS + 4):
        proven.keep_head(ALICE, KeptHead(number, b"receipt", b"head", b"grant"))
        proven.keep_head(ALICE, KeptHead(number, b"again", b"head", b"grant"))
    proven.keep_head(ALICE, KeptHead(number, b"other", b"another head", b"grant"))
    numbers = [kept.number for kept in proven.heads(ALICE)]
    assert numbers == [*range(5, number + 1), number]
    assert {kept.receipt for kept in proven.heads(ALICE)} == {b"receipt", b"other"}
    for name in b"abcdef":
        proven.keep_terms(ALICE, bytes([name]), b"signed")
    assert list(proven.terms(ALICE)) == [bytes([name]) for name in b"abcdef"[-PROOF_AGREEMENTS:]]


def test_agreements_that_are_over_are_forgotten_with_all_that_is_about_them(proven):
    proven.take_in(ALICE, copies(3), 1)
    proven.keep_ack(ALICE, Ack(1, b"a", tuple(copy.stored for copy in copies(3))))
    proven.owe(ALICE, [owed(1)])
    proven.keep_head(ALICE, KeptHead(1, b"r", b"h", b"g"))
    proven.keep_terms(ALICE, b"n", b"s")
    proven.drop_agreements([BOB])
    assert proven.account(ALICE) is None
    assert proven.account(BOB) is not None
    proven.write(account())
    assert (proven.cover(ALICE, 0), proven.owed(ALICE), proven.heads(ALICE)) == (Coverage(), [], [])
    assert proven.terms(ALICE) == {}
    assert proven._fetch("SELECT COUNT(*) FROM acks") == [(0,)]
    proven.drop_agreements([BOB])
    with pytest.raises(LocalError, match="never audited"):
        proven.owe(ALICE, [owed(1)])


def test_a_damaged_file_is_told_and_not_read(tmp_path):
    (tmp_path / "proven.db").write_bytes(b"not a database at all" * 500)
    with pytest.raises(DamagedStateError):
        Proven(tmp_path / "proven.db")
