"""Heads: compare-and-set, verification, receipts, durability."""

import threading

import pytest

from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import AuthenticationFault, DamagedStateError, NotFoundError, PeerFault, ProtocolViolation
from backuppeer.host.heads import HeadAccepted, HeadConflict
from backuppeer.host.store import open_store
from backuppeer.ids import RepositoryId
from backuppeer.proof.statements import HeadReceipt, open_statement, statement_hash
from host.host_world import NOW_MS, World, agreement_id

A = agreement_id()


@pytest.fixture
def put(store, lease, world):
    def put_head(head: bytes, grant: bytes = b"") -> HeadAccepted | HeadConflict:
        return store.heads.put_head(A, head, grant or world.grant(), signer=world.host, now_ms=NOW_MS)

    return put_head


def test_a_chain_of_heads_is_accepted_and_countersigned(store, put, world) -> None:
    assert store.heads.get(A) is None
    head = b""
    for number in range(1, 4):
        head = world.head(number, head)
        answer = put(head)
        assert isinstance(answer, HeadAccepted)
        receipt = open_statement(HeadReceipt, answer.receipt, world.host.public)
        assert (receipt.agreement, receipt.number, receipt.head_hash) == (A, number, statement_hash(head))
        assert receipt.time_ms == NOW_MS
    assert store.heads.get(A).signed_head == head


def test_the_same_head_again_gets_the_same_answer(put, world) -> None:
    head = world.head(1)
    assert put(head) == put(head)


@pytest.mark.parametrize("case", ["rollback", "fork", "gap", "wrong previous"])
def test_a_head_that_does_not_follow_is_answered_with_the_current_one(store, put, world, case) -> None:
    one = world.head(1)
    two = world.head(2, one)
    put(one)
    put(two)
    bad = {
        "rollback": one,
        "fork": world.head(2, one, mark=b"f"),
        "gap": world.head(4, two),
        "wrong previous": world.head(3, one),
    }[case]
    answer = put(bad)
    assert isinstance(answer, HeadConflict)
    assert (answer.current.signed_head, answer.current.signed_grant) == (two, world.grant())
    assert store.heads.get(A).signed_head == two


def test_a_host_without_a_head_takes_any_valid_one(put, world) -> None:
    assert isinstance(put(world.head(57)), HeadAccepted)


def test_a_take_over_wins_with_a_higher_number_and_stops_the_old_writer(store, put, world) -> None:
    one = world.head(1)
    put(one)
    put(world.head(2, one))
    device = SigningKey.from_seed(b"n" * 32)
    grant = world.grant(2, device=device)
    behind = world.head(2, one, epoch=2, device=device)
    assert isinstance(put(behind, grant), HeadConflict)
    taken = world.head(7, one, epoch=2, device=device)
    assert isinstance(put(taken, grant), HeadAccepted)
    for late in (world.head(3, one), world.head(8, taken)):
        answer = put(late)
        assert isinstance(answer, HeadConflict)
        assert answer.current.head.epoch == 2
    assert store.heads.get(A).signed_grant == grant


def test_of_two_devices_that_were_granted_one_epoch_only_the_first_is_taken(store, put, world) -> None:
    one, two = SigningKey.from_seed(b"n" * 32), SigningKey.from_seed(b"m" * 32)
    first = world.head(7, epoch=2, device=one)
    assert isinstance(put(first, world.grant(2, device=one)), HeadAccepted)
    follows = world.head(8, first, epoch=2, device=two)
    answer = put(follows, world.grant(2, device=two))
    assert isinstance(answer, HeadConflict), "it says that it follows, and is another history all the same"
    assert answer.current.head.device == one.public


def test_heads_without_a_valid_grant_or_of_another_repository_are_refused(store, put, world) -> None:
    stranger = SigningKey.from_seed(b"s" * 32)
    other = World()
    other.repository = RepositoryId(b"X" * 16)
    with pytest.raises(AuthenticationFault):
        put(world.head(1), world.grant(by=stranger))
    with pytest.raises(AuthenticationFault):
        put(world.head(1, device=stranger))
    with pytest.raises(ProtocolViolation, match="another repository"):
        put(other.head(1), other.grant())
    for rubbish in (b"", b"\0" * 100, b"\xff" * 100_000):
        with pytest.raises(PeerFault):
            put(rubbish)
    assert store.heads.get(A) is None


def test_no_agreement_no_head(store, world) -> None:
    with pytest.raises(NotFoundError):
        store.heads.get(A)
    with pytest.raises(NotFoundError):
        store.heads.put_head(A, world.head(1), world.grant(), signer=world.host, now_ms=NOW_MS)


def test_of_many_heads_at_once_exactly_one_wins(store, put, world) -> None:
    one = world.head(1)
    put(one)
    rivals = [world.head(2, one, mark=bytes([n])) for n in range(8)]
    answers: list[HeadAccepted | HeadConflict] = []
    start = threading.Barrier(len(rivals))

    def race(head: bytes) -> None:
        start.wait()
        answers.append(put(head))

    threads = [threading.Thread(target=race, args=(head,)) for head in rivals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [a for a in answers if isinstance(a, HeadAccepted)]
    losers = [a for a in answers if isinstance(a, HeadConflict)]
    assert (len(winners), len(losers)) == (1, len(rivals) - 1)
    assert {a.current.signed_head for a in losers} == {winners[0].stored.signed_head}
    assert store.heads.get(A).signed_head == winners[0].stored.signed_head


def test_the_head_survives_a_restart(store, put, world, directory) -> None:
    head = world.head(1)
    put(head)
    store.close()
    again = open_store(directory, world.peer, floor_bytes=0)
    try:
        found = again.heads.get(A)
        assert (found.signed_head, found.signed_grant) == (head, world.grant())
        assert found.head.number == 1
    finally:
        again.close()


@pytest.mark.parametrize("damage", [b"", b"BPHEAD1\n", b"BPHEAD1\n\xff\xff\xff\xff", b"BPHEAD2\n" + bytes(200)])
def test_a_damaged_head_is_named_and_healed_by_the_next_one(store, put, world, directory, damage) -> None:
    one = world.head(1)
    put(one)
    store.close()
    (directory / "agreements" / A.hex() / "head").write_bytes(damage)
    again = open_store(directory, world.peer, floor_bytes=0)
    try:
        with pytest.raises(DamagedStateError):
            again.heads.get(A)
        two = world.head(2, one)
        answer = again.heads.put_head(A, two, world.grant(), signer=world.host, now_ms=NOW_MS)
        assert isinstance(answer, HeadAccepted)
        assert again.heads.get(A).signed_head == two
    finally:
        again.close()
