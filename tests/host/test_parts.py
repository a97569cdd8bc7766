"""What came of a pack before a cut is gone on from, and is worth nothing in any other way."""

import os
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backuppeer.errors import IntegrityFault
from backuppeer.host.leases import Lease
from backuppeer.host.parts import Part, Parts
from backuppeer.host.store import Store
from backuppeer.ids import AgreementId, StoredId
from backuppeer.limits import PACKS_IN_FLIGHT, PART_KEPT_S, PARTS, PARTS_PER_AGREEMENT
from backuppeer.proof.merkle import IncrementalLeaves, compute_stored_id
from host.host_world import agreement_id

A = agreement_id()


class Clock:
    now_s = 0.0

    def monotonic_s(self):
        return self.now_s

    def now_ms(self):
        return 0


def files(store: Store) -> list[str]:
    return [path.name for path in (store.directory / "incoming").iterdir()]


def cut_off(store: Store, data: bytes, after: int, *, size: int = 0, stored: StoredId | None = None) -> Part:
    incoming = store.receive(A, stored or compute_stored_id(data), size or len(data))
    incoming.write(data[:after])
    part = incoming.suspend()
    assert part is not None
    assert (part.received, store.usage(A).reserved_bytes) == (after, 0)
    return part


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 99_999), max_size=6, unique=True), seed=st.integers(0, 2**32))
def test_a_pack_cut_at_any_points_is_gone_on_from_and_stored(store: Store, lease: Lease, cuts: list[int], seed: int):
    data = random.Random(seed).randbytes(100_000)
    stored, part = compute_stored_id(data), None
    for until in [*sorted(cuts), len(data)]:
        incoming = store.receive(A, stored, len(data))
        if part is not None:
            incoming.go_on(part)
        incoming.write(data[incoming.received : until])
        part = incoming.suspend() if until < len(data) else None
    incoming.commit()
    assert store.read(A, stored, offset=0, length=len(data)) == data
    assert files(store) == []


def test_a_part_that_is_not_as_it_was_left_is_not_gone_on_from(store: Store, lease: Lease):
    data = bytes(range(256)) * 500
    for spoil in (
        lambda path: path.unlink(),
        lambda path: os.truncate(path, 5),
        lambda path: path.rename(store.directory / "x"),
    ):
        part = cut_off(store, data, 70_000)
        spoil(part.path)
        with store.receive(A, compute_stored_id(data), len(data)) as incoming:
            incoming.go_on(part)
            assert incoming.received == 0


def test_a_part_of_more_than_the_pack_has_is_not_gone_on_from(store: Store, lease: Lease):
    part = cut_off(store, bytes(50_000), 40_000)
    with store.receive(A, compute_stored_id(bytes(30_000)), 30_000) as incoming:
        incoming.go_on(part)
        assert incoming.received == 0


def test_a_pack_that_was_cut_after_its_last_byte_lacks_nothing(store: Store, lease: Lease):
    data = bytes(range(256)) * 500
    part = cut_off(store, data, len(data))
    incoming = store.receive(A, compute_stored_id(data), len(data))
    incoming.go_on(part)
    incoming.commit()
    assert store.has(A, compute_stored_id(data))


def test_other_bytes_after_the_cut_are_refused_as_any_wrong_pack(store: Store, lease: Lease):
    data = bytes(range(256)) * 500
    part = cut_off(store, data, 70_000)
    incoming = store.receive(A, compute_stored_id(data), len(data))
    incoming.go_on(part)
    incoming.write(bytes(len(data) - 70_000))
    with pytest.raises(IntegrityFault):
        incoming.commit()
    assert not store.has(A, compute_stored_id(data))
    assert files(store) == []


def test_nothing_is_kept_of_a_pack_without_a_byte_or_of_one_that_ended(store: Store, lease: Lease):
    incoming = store.receive(A, compute_stored_id(b"ab"), 2)
    assert incoming.suspend() is None
    assert incoming.suspend() is None
    assert store.usage(A).reserved_bytes == 0


def keep(parts: Parts, folder, number: int, agreement: AgreementId = A) -> Part:
    path = folder / f"{agreement.hex()[:4]}-{number}"
    path.write_bytes(b"x")
    part = Part(path, IncrementalLeaves(), 1, None)
    parts.keep(agreement, StoredId(number.to_bytes(32, "big")), part)
    return part


def test_a_part_is_given_once_and_gone_when_its_time_is_over(tmp_path):
    clock = Clock()
    parts = Parts(clock)
    part = keep(parts, tmp_path, 1)
    stored = StoredId((1).to_bytes(32, "big"))
    assert parts.take(A, stored) == part
    assert parts.take(A, stored) is None
    part = keep(parts, tmp_path, 1)
    clock.now_s = PART_KEPT_S
    assert parts.take(A, stored) is None
    assert not part.path.exists()


def test_the_oldest_parts_go_when_there_are_too_many_of_an_agreement_or_of_all(tmp_path):
    assert PARTS_PER_AGREEMENT >= PACKS_IN_FLIGHT
    parts = Parts(Clock())
    mine = [keep(parts, tmp_path, number) for number in range(PARTS_PER_AGREEMENT + 1)]
    assert [part.path.exists() for part in mine] == [False, *[True] * PARTS_PER_AGREEMENT]
    others = [keep(parts, tmp_path, number, AgreementId(number.to_bytes(16, "big"))) for number in range(1, PARTS)]
    assert sum(part.path.exists() for part in [*mine, *others]) == PARTS
    assert all(part.path.exists() for part in others)
