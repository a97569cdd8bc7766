"""Deletes and revives as owners sign them, locks that end, and everything that must not delete."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import (
    AuthenticationFault,
    NotFoundError,
    ProtocolViolation,
    RefusedError,
    StoreUnavailable,
)
from backuppeer.host import hold
from backuppeer.host import removals as removals_module
from backuppeer.host import sweep as sweep_module
from backuppeer.host.graveyard import Graveyard
from backuppeer.host.kept import Kept, join_kept
from backuppeer.host.store import Store, create_store, open_store
from backuppeer.host.sweep import Look, count_passed
from backuppeer.ids import StoredId
from backuppeer.limits import CLOCK_JUMP_S, KIB, LIST_RESERVE_BYTES, LIST_RESERVE_PACKS, MIB
from backuppeer.proof.removals import (
    PackDelete,
    PackRevive,
    PackWithdraw,
    check_countersigned,
    open_removal,
    sign_removal,
)
from backuppeer.proof.statements import sign_beside, statement_hash
from host.host_world import NOW_MS, World, agreement_id, put_pack

A, B = agreement_id(), agreement_id(2)
LOCK_S = 100


class Deeds:
    """An owner's deeds on one store: heads in a row, packs, signed requests."""

    def __init__(self, store: Store, world: World, *, size_bytes: int = 8 * MIB, lock_s: int = LOCK_S) -> None:
        self.store, self.world, self.heads = store, world, []
        self.signed = world.agree(size_bytes=size_bytes, lock_s=lock_s)
        store.leases.put(self.signed)

    def put(self, *seeds: int, size: int = 1000) -> list[StoredId]:
        return [put_pack(self.store, bytes([seed]) * size) for seed in seeds]

    def advance(self) -> None:
        """Leave the next head."""
        head = self.world.head(len(self.heads) + 1, self.heads[-1] if self.heads else b"")
        self.store.heads.put_head(A, head, self.world.grant(), signer=self.world.host, now_ms=NOW_MS)
        self.heads.append(head)

    def sign(self, kind, packs, *, key: SigningKey | None = None, head: int = -1, agreement=A) -> bytes:
        number = range(1, len(self.heads) + 1)[head]
        named = (statement_hash(self.heads[head]), number)
        return sign_removal(kind, packs, key or self.world.owner, agreement=agreement, head=named, time_ms=NOW_MS)

    def delete(self, packs, **changes) -> list[StoredId]:
        return self.store.removals.delete(A, self.sign(PackDelete, packs, **changes), packs)[0]

    def revive(self, packs, **changes) -> list[StoredId]:
        return self.store.removals.revive(A, self.sign(PackRevive, packs, **changes), packs)

    def listed(self) -> list[StoredId]:
        return [row.stored for row in self.store.list_packs(A)]

    def deleted(self) -> list[tuple[StoredId, int]]:
        rows = self.store.removals.list_deleted(A, after=b"", limit=100)
        return [(row.stored, row.left_s) for row in rows]

    def reopen(self, **options) -> None:
        directory = self.store.directory
        self.store.close()
        self.store = open_store(directory, self.world.peer, floor_bytes=0, **options)


@pytest.fixture(scope="module", autouse=True)
def one_lock():
    """Let nothing be a mass deletion: what is held longer has tests of its own (test_hold.py)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hold, "HOLD_PERMILLE", 10**9)
        yield


@pytest.fixture
def deeds(store: Store, world: World):
    made = Deeds(store, world)
    made.advance()
    yield made
    made.store.close()


def files_of(store: Store) -> set[str]:
    return {path.name for path in (store.directory / "agreements" / A.hex() / "packs").rglob("*") if path.is_file()}


# --- the way of a pack
def test_a_deleted_pack_is_not_listed_takes_its_room_and_is_read_until_its_lock_is_over(deeds: Deeds):
    one, two = sorted(deeds.put(1, 2))
    deleted, lock_s = deeds.store.removals.delete(A, deeds.sign(PackDelete, [one]), [one])
    assert (deleted, lock_s) == ([one], LOCK_S)
    assert deeds.listed() == [two]
    assert not deeds.store.has(A, one)
    assert deeds.deleted() == [(one, LOCK_S)]
    assert deeds.store.read(A, one, offset=0, length=3) in (b"\1\1\1", b"\2\2\2")
    assert (deeds.store.usage(A).used_bytes, deeds.store.removals.deleted_bytes(A)) == (2000, 1000)
    deeds.store.sweep.add_age(LOCK_S - 1)
    assert deeds.store.sweep.run().packs == 0
    assert deeds.store.sweep.next_due_s() == 1
    deeds.store.sweep.add_age(1)
    assert deeds.store.sweep.run() == sweep_module.Erased(1, 1000)
    assert files_of(deeds.store) == {two.hex(), f"{two.hex()}.leaves"}
    assert (deeds.store.usage(A).used_bytes, deeds.store.usage(A).packs) == (1000, 1)
    assert deeds.store.sweep.next_due_s() is None
    with pytest.raises(NotFoundError):
        deeds.store.open_pack(A, one)
    assert put_pack(deeds.store, b"\1" * 1000) in (one, two), "what was erased can be stored again"


def test_a_request_may_come_twice_and_what_is_not_here_is_passed_over(deeds: Deeds):
    (one,) = deeds.put(1)
    unknown = StoredId(b"?" * 32)
    assert deeds.delete([one, unknown]) == [one]
    deeds.store.sweep.add_age(50)
    assert deeds.delete([one, unknown]) == []
    assert deeds.deleted() == [(one, 50)], "asking again does not begin the lock anew"
    assert len(deeds.store.removals.signed(A)) == 1


def test_a_later_head_revives_and_an_equal_one_does_not(deeds: Deeds):
    one, two = deeds.put(1, 2)
    deeds.delete([one, two])
    assert deeds.revive([one]) == [], "the head that dropped it can't name it"
    deeds.advance()
    assert deeds.revive([one, StoredId(b"?" * 32)]) == [one]
    assert deeds.listed() == [one]
    assert deeds.revive([one]) == [one]
    deeds.store.sweep.add_age(LOCK_S)
    assert deeds.store.sweep.run().packs == 1
    assert deeds.revive([one, two]) == [one], "too late for the other"
    assert deeds.store.read(A, one, offset=0, length=1) == b"\1"


def test_what_was_asked_is_kept_as_it_was_signed_for_good(deeds: Deeds):
    packs = deeds.put(1, 2)
    delete = deeds.sign(PackDelete, packs)
    deeds.store.removals.delete(A, delete, packs)
    deeds.advance()
    revive = deeds.sign(PackRevive, packs[:1])
    deeds.store.removals.revive(A, revive, packs[:1])
    deeds.store.sweep.add_age(LOCK_S)
    deeds.store.sweep.run()
    deeds.reopen()
    assert deeds.store.removals.signed(A) == [
        ("delete", Kept(delete, tuple(packs))),
        ("revive", Kept(revive, tuple(packs[:1]))),
    ]


# --- what must not delete
def test_requests_that_are_forged_foreign_swapped_or_old_delete_nothing(deeds: Deeds):
    one, two = deeds.put(1, 2)
    deeds.store.leases.put(deeds.world.agree(2, size_bytes=8 * MIB))
    other = put_pack(deeds.store, b"other", B)
    removals = deeds.store.removals
    with pytest.raises(AuthenticationFault):
        deeds.delete([one], key=deeds.world.host)
    with pytest.raises(AuthenticationFault):
        deeds.delete([one], key=deeds.world.device)
    with pytest.raises(ProtocolViolation, match="others than"):
        removals.delete(A, deeds.sign(PackDelete, [one]), [two])
    with pytest.raises(ProtocolViolation, match="others than"):
        removals.delete(A, deeds.sign(PackDelete, [one]), [one, one])
    with pytest.raises(ProtocolViolation):
        removals.delete(A, deeds.sign(PackRevive, [one]), [one])
    with pytest.raises(ProtocolViolation, match="another agreement"):
        removals.delete(A, deeds.sign(PackDelete, [one], agreement=B), [one])
    with pytest.raises(RefusedError, match="none is held"):
        removals.delete(B, deeds.sign(PackDelete, [other], agreement=B), [other])
    with pytest.raises(NotFoundError):
        removals.delete(agreement_id(9), deeds.sign(PackDelete, [one], agreement=agreement_id(9)), [one])
    assert deeds.delete([other]) == [], "another agreement's pack"
    old = deeds.sign(PackDelete, [one])
    deeds.advance()
    with pytest.raises(RefusedError, match="names head 1, and head 2 is held"):
        removals.delete(A, old, [one])
    assert set(deeds.listed()) == {one, two}
    assert [row.stored for row in deeds.store.list_packs(B)] == [other]
    assert not list(deeds.store.directory.rglob("removals/*"))


def test_a_delete_shown_again_after_a_revive_deletes_nothing(deeds: Deeds):
    (one,) = deeds.put(1)
    old = deeds.sign(PackDelete, [one])
    deeds.store.removals.delete(A, old, [one])
    deeds.advance()
    deeds.revive([one])
    with pytest.raises(RefusedError):
        deeds.store.removals.delete(A, old, [one])
    assert deeds.listed() == [one]


def test_a_pack_that_was_deleted_is_not_taken_in_again_by_the_back_door(deeds: Deeds):
    (one,) = deeds.put(1)
    deeds.delete([one])
    with pytest.raises(RefusedError, match="was deleted"):
        deeds.store.receive(A, one, 1000)
    assert deeds.store.quota.totals().reserved_bytes == 0


def test_requests_of_one_agreement_are_capped(deeds: Deeds, monkeypatch):
    one, two = deeds.put(1, 2)
    monkeypatch.setattr(removals_module, "REMOVALS_PER_AGREEMENT", 1)
    deeds.delete([one])
    with pytest.raises(RefusedError, match="too many"):
        deeds.delete([two])
    assert deeds.delete([one]) == []


# --- after a take-over
@pytest.fixture
def granted(deeds: Deeds):
    """The deeds of an owner whose second device took over: head 9, of epoch 2; and the key of that device."""
    device = SigningKey.from_seed(b"n" * 32)
    head = deeds.world.head(9, deeds.heads[-1], epoch=2, device=device)
    grant = deeds.world.grant(2, device=device)
    deeds.store.heads.put_head(A, head, grant, signer=deeds.world.host, now_ms=NOW_MS)
    deeds.named, deeds.device, deeds.grant = (statement_hash(head), 9), device, grant
    return deeds


def ask_granted(deeds, kind, packs, device_sig=None, *, by: SigningKey | None = None):
    signed = sign_removal(kind, packs, deeds.world.owner, agreement=A, head=deeds.named, time_ms=NOW_MS)
    beside = sign_beside(kind, signed, by or deeds.device) if device_sig is None else device_sig
    ask = {PackDelete: deeds.store.removals.delete, PackRevive: deeds.store.removals.revive}
    return ask.get(kind, deeds.store.removals.withdraw)(A, signed, packs, beside)


@pytest.mark.parametrize("kind", [PackDelete, PackRevive, PackWithdraw])
def test_after_a_take_over_the_identity_alone_has_nothing_deleted_revived_or_withdrawn(granted: Deeds, kind):
    packs = granted.put(1)
    with pytest.raises(RefusedError, match="another machine"):
        ask_granted(granted, kind, packs, b"")
    for key in (granted.world.device, granted.world.owner, granted.world.authority):
        with pytest.raises(AuthenticationFault):
            ask_granted(granted, kind, packs, by=key)
    other = sign_removal(kind, packs, granted.world.owner, agreement=A, head=granted.named, time_ms=NOW_MS + 1)
    for wrong in (b"x", bytes(64), bytes(65), sign_beside(kind, other, granted.device)):
        with pytest.raises(AuthenticationFault):
            ask_granted(granted, kind, packs, wrong)
    assert granted.listed() == packs
    assert granted.store.removals.signed(A) == []


def test_the_device_that_took_over_deletes_and_what_it_signed_is_kept_to_be_verified_by_anybody(
    granted: Deeds, directory: Path
):
    one, two = granted.put(1, 2)
    assert ask_granted(granted, PackDelete, [one])[0] == [one]
    ((kind, kept),) = granted.store.removals.signed(A)
    assert (kind, kept.packs, kept.grant) == ("delete", (one,), granted.grant)
    authority, owner = granted.world.authority.public, granted.world.owner.public
    open_removal(PackDelete, kept.signed, kept.packs, owner=owner, agreement=A)
    check_countersigned(PackDelete, kept.signed, kept.device_sig, grant=kept.grant, authority=authority)
    with pytest.raises(AuthenticationFault):
        check_countersigned(PackDelete, kept.signed, kept.device_sig, grant=kept.grant, authority=owner)
    for damage in ({}, {"device_sig": bytes(64)}):
        granted.store.close()
        for name in ("catalogue.db", "catalogue.db-wal", "catalogue.db-shm"):
            (directory / name).unlink(missing_ok=True)
        (path,) = directory.rglob("removals/*.delete")
        path.write_bytes(join_kept(replace(kept, **damage)))
        granted.store = open_store(directory, granted.world.peer, floor_bytes=0)
        assert (one in granted.listed()) is bool(damage), "not followed unless the device signed it"
        assert two in granted.listed()


def test_while_the_first_device_writes_the_identity_is_enough_and_more_is_not_kept(deeds: Deeds):
    (one,) = deeds.put(1)
    signed = deeds.sign(PackDelete, [one])
    beside = sign_beside(PackDelete, signed, deeds.world.device)
    assert deeds.store.removals.delete(A, signed, [one], beside)[0] == [one]
    assert deeds.store.removals.signed(A) == [("delete", Kept(signed, (one,)))]


# --- crashes, lost catalogues, disks that are away
def test_what_was_answered_stands_when_the_rows_are_lost_and_locks_begin_anew(deeds: Deeds, directory: Path):
    one, two, three = deeds.put(1, 2, 3)
    deeds.delete([one, two])
    deeds.advance()
    deeds.revive([two])
    deeds.store.sweep.add_age(60)
    deeds.store.close()
    for name in ("catalogue.db", "catalogue.db-wal", "catalogue.db-shm"):
        (directory / name).unlink(missing_ok=True)
    deeds.store = open_store(directory, deeds.world.peer, floor_bytes=0)
    assert set(deeds.listed()) == {two, three}
    assert deeds.deleted() == [(one, LOCK_S)]
    assert deeds.store.usage(A).used_bytes == 3000
    deeds.reopen()
    assert deeds.deleted() == [(one, LOCK_S)]


class Killed(BaseException):
    """Stands for the process that ends."""


@pytest.mark.parametrize("where", ["delete", "revive"])
def test_killed_between_file_and_rows_it_is_done_when_the_store_is_opened(deeds: Deeds, monkeypatch, where):
    (one,) = deeds.put(1)

    def die(*_arguments, **_options):
        raise Killed

    if where == "revive":
        deeds.delete([one])
        deeds.advance()
    with monkeypatch.context() as patch:
        patch.setattr(type(deeds.store.removals.graveyard), where, die)
        with pytest.raises(Killed):
            getattr(deeds, where)([one])
    deeds.reopen()
    assert deeds.listed() == ([] if where == "delete" else [one])
    assert len(deeds.store.removals.signed(A)) == (1 if where == "delete" else 2)


def test_killed_while_erasing_nothing_comes_back_and_nothing_is_called_missing(deeds: Deeds, monkeypatch):
    one, two = deeds.put(1, 2)
    deeds.delete([one])
    deeds.store.sweep.add_age(LOCK_S)

    def die(*_arguments, **_options):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(sweep_module, "sync_directory", die)
        with pytest.raises(Killed):
            deeds.store.sweep.run()
    deeds.reopen()
    assert deeds.store.notes == []
    assert deeds.store.sweep.run().packs == 0
    assert deeds.listed() == [two]
    assert deeds.store.usage(A).used_bytes == 1000


def test_a_damaged_request_file_deletes_nothing_and_is_told(deeds: Deeds, directory: Path):
    (one,) = deeds.put(1)
    deeds.delete([one])
    deeds.store.close()
    (path,) = directory.rglob("removals/*.delete")
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    for name in ("catalogue.db", "catalogue.db-wal", "catalogue.db-shm"):
        (directory / name).unlink(missing_ok=True)
    deeds.store = open_store(directory, deeds.world.peer, floor_bytes=0)
    assert deeds.listed() == [one]
    assert any("can't be read" in note for note in deeds.store.notes)


def test_without_its_disk_a_store_erases_nothing_and_no_time_passes(deeds: Deeds, directory: Path):
    (one,) = deeds.put(1)
    deeds.delete([one])
    directory.rename(directory.with_name("unplugged"))
    for step in (lambda: deeds.store.sweep.add_age(LOCK_S), deeds.store.sweep.run, lambda: deeds.delete([one])):
        with pytest.raises(StoreUnavailable):
            step()
    directory.with_name("unplugged").rename(directory)
    assert deeds.deleted() == [(one, LOCK_S)]


def test_a_revive_beside_a_sweep_is_before_or_after_it(deeds: Deeds, monkeypatch):
    (one,) = deeds.put(1)
    deeds.delete([one])
    deeds.advance()
    deeds.store.sweep.add_age(LOCK_S)
    began, kept = threading.Event(), []
    erase = type(deeds.store.sweep)._erase

    def erase_slowly(sweep, agreement, packs):
        began.set()
        erase(sweep, agreement, packs)

    monkeypatch.setattr(type(deeds.store.sweep), "_erase", erase_slowly)
    thread = threading.Thread(target=lambda: (began.wait(), kept.extend(deeds.revive([one]))))
    thread.start()
    assert deeds.store.sweep.run().packs == 1
    thread.join()
    assert kept == []


def test_a_store_of_the_version_before_is_taken_over_with_all_its_packs(world: World, directory: Path, monkeypatch):
    from backuppeer.host import catalogue  # noqa: PLC0415 - its schema is set back for a moment

    with monkeypatch.context() as patch:
        patch.setattr(catalogue, "_SCHEMA", catalogue._SCHEMA[:1])
        connection = catalogue.open_database(directory.with_name("old.db"), catalogue._SCHEMA, synchronous="NORMAL")
        connection.execute("INSERT INTO packs VALUES (?, ?, ?)", (A, b"s" * 32, 5))
        connection.close()
    opened, is_new = catalogue.open_catalogue(directory.with_name("old.db"))
    assert not is_new
    assert opened.list_packs(A, b"", 9) == [(b"s" * 32, 5)]
    assert Graveyard(opened).age_s() == 0
    opened.close()


# --- time
@given(wall=st.floats(-1e6, 1e6), own=st.floats(0, 1e6))
def test_no_clock_makes_more_time_pass_than_both_clocks_saw(wall, own):
    passed = count_passed(Look(5e8, 100.0), Look(5e8 + wall, 100.0 + own))
    assert 0 <= passed.seconds <= max(0.0, min(wall + 1e-3, own))
    assert 0 <= passed.rest_s < 1
    assert passed.has_jumped == (abs((5e8 + wall - 5e8) - (100.0 + own - 100.0)) > CLOCK_JUMP_S)
    if passed.has_jumped:
        assert passed.seconds == 0


@settings(max_examples=20, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from("dra"), st.integers(0, 3)), max_size=14))
def test_any_row_of_deletes_revives_and_time_does_what_a_dictionary_does(tmp_path_factory, steps):
    world = World()
    deeds = Deeds(create_store(tmp_path_factory.mktemp("m") / "store", world.peer, floor_bytes=0), world)
    packs = deeds.put(1, 2, 3, 4)
    alive, due, age = set(packs), {}, 0
    for what, which in steps:
        deeds.advance()
        pack = packs[which]
        if what == "d":
            assert set(deeds.delete([pack])) == alive & {pack}
            if pack in alive:
                alive.discard(pack)
                due[pack] = age + LOCK_S
        elif what == "r":
            assert bool(deeds.revive([pack])) == (pack in alive or pack in due)
            if due.pop(pack, None) is not None:
                alive.add(pack)
        else:
            age += 40
            deeds.store.sweep.add_age(40)
            deeds.store.sweep.run()
            due = {stored: at for stored, at in due.items() if at > age}
        assert set(deeds.listed()) == alive
        assert dict(deeds.deleted()) == {stored: at - age for stored, at in due.items()}
        assert deeds.store.usage(A).used_bytes == 1000 * (len(alive) + len(due))
        deeds.reopen()
    deeds.store.close()


# --- the reserve for lists
def test_a_full_agreement_takes_lists_from_its_reserve_and_no_more(deeds: Deeds):
    quota = deeds.store.quota
    for _ in range(8):
        quota.reserve(A, MIB).commit()
    with pytest.raises(RefusedError, match="full"):
        quota.reserve(A, 1)
    for _ in range(LIST_RESERVE_BYTES // (256 * KIB)):
        quota.reserve(A, 256 * KIB, is_list=True).commit()
    with pytest.raises(RefusedError, match="full"):
        quota.reserve(A, 1, is_list=True)
    assert deeds.store.usage(A).free_bytes == 0


def test_an_agreement_with_all_its_packs_takes_a_few_lists_more(deeds: Deeds):
    quota = deeds.store.quota
    taken = 0
    while True:
        try:
            quota.reserve(A, 1).commit()
        except RefusedError:
            break
        taken += 1
    for _ in range(LIST_RESERVE_PACKS):
        quota.reserve(A, 1, is_list=True).commit()
    with pytest.raises(RefusedError, match="packs"):
        quota.reserve(A, 1, is_list=True)
    assert quota.usage(A).packs == taken + LIST_RESERVE_PACKS


def test_a_store_that_is_full_in_all_or_at_its_floor_takes_lists_too(world: World, directory: Path):
    store = create_store(directory, world.peer, floor_bytes=0, offered_bytes=8 * MIB)
    store.leases.put(world.agree(size_bytes=8 * MIB))
    store.quota.reserve(A, 8 * MIB).commit()
    store.quota.reserve(A, MIB, is_list=True).commit()
    store.quota.offered_bytes = None
    store.quota.restore_limit(A, 16 * MIB)
    store.quota.free_disk = lambda: 64 * MIB
    store.quota.floor_bytes = 64 * MIB
    with pytest.raises(RefusedError, match="disk"):
        store.quota.reserve(A, MIB)
    store.quota.reserve(A, MIB, is_list=True).release()
    store.quota.floor_bytes = 0
    store.quota.free_disk = lambda: 0
    with pytest.raises(RefusedError, match="disk"):
        store.quota.reserve(A, MIB, is_list=True)
    store.close()
