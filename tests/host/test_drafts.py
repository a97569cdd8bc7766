"""Drafts: packs that no head can name, and that go at once on their owner's word; whatever a head may name does not."""

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backuppeer.errors import AuthenticationFault, LocalError, ProtocolViolation, RefusedError, StoreUnavailable
from backuppeer.host import removals as removals_module
from backuppeer.host.graveyard import Graveyard
from backuppeer.host.store import Store, create_store, open_store
from backuppeer.ids import StoredId
from backuppeer.proof.merkle import compute_stored_id
from backuppeer.proof.removals import NO_HEAD, PackDelete, PackWithdraw, sign_removal
from backuppeer.proof.statements import statement_hash
from host.host_world import NOW_MS, World, put_pack
from host.test_removals import A, Deeds, Killed


class Draftsman(Deeds):
    """Deeds with drafts."""

    def draft(self, *seeds: int, size: int = 1000) -> list[StoredId]:
        made = []
        for seed in seeds:
            data = bytes([seed]) * size
            stored = compute_stored_id(data)
            with self.store.receive(A, stored, size, is_draft=True) as incoming:
                incoming.write(data)
                incoming.commit()
            made.append(stored)
        return made

    def sign_withdraw(self, packs, *, head: int | None = None, key=None) -> bytes:
        number = len(self.heads) if head is None else head
        named = (statement_hash(self.heads[number - 1]), number) if number else NO_HEAD
        return sign_removal(PackWithdraw, packs, key or self.world.owner, agreement=A, head=named, time_ms=NOW_MS)

    def withdraw(self, packs, **changes) -> list[StoredId]:
        foretold = self.store.removals.find_drafts(A, packs)
        done = self.store.removals.withdraw(A, self.sign_withdraw(packs, **changes), packs)
        assert foretold == done, "what an owner is told before is what it gets"
        return done


@pytest.fixture
def deeds(store: Store, world: World):
    made = Draftsman(store, world)
    yield made
    made.store.close()


def test_drafts_are_gone_at_once_and_their_room_is_free_before_there_is_any_head(deeds: Draftsman):
    one, two = deeds.draft(1, 2)
    assert deeds.withdraw([one]) == [one]
    assert deeds.listed() == [two]
    assert deeds.store.sweep.run().packs == 1, "no time has to pass"
    assert deeds.store.usage(A).used_bytes == 1000
    assert deeds.store.removals.last_number(A) == 1
    assert [kind for kind, _ in deeds.store.removals.signed(A)] == ["withdraw"]
    deeds.reopen()
    assert (deeds.listed(), deeds.store.notes) == ([two], [])
    assert deeds.draft(1) == [one], "and may come again"


def test_requests_that_are_kept_for_good_take_a_bounded_part_of_the_disk(deeds: Draftsman, monkeypatch):
    monkeypatch.setattr(removals_module, "REMOVALS_LEAST_BYTES", 100_000)
    monkeypatch.setattr(removals_module, "REMOVALS_SHARE", 10**12)
    nothing = [StoredId(number.to_bytes(32, "big")) for number in range(1, 1024)]
    for seed in range(3):
        deeds.withdraw([*deeds.draft(seed), *nothing])
    late = deeds.draft(3)
    with pytest.raises(RefusedError, match="too many requests"):
        deeds.withdraw([*late, *nothing])
    kept = sum(path.stat().st_size for path in deeds.store.directory.glob("agreements/*/removals/*"))
    assert 60_000 < kept <= 100_000
    number = deeds.store.removals.last_number(A)
    deeds.reopen()
    assert deeds.store.removals.last_number(A) == number
    with pytest.raises(RefusedError, match="too many requests"):
        deeds.withdraw([*late, *nothing])


def test_the_next_head_whatever_it_names_ends_what_can_be_withdrawn(deeds: Draftsman):
    deeds.advance()
    packs = deeds.draft(1, 2)
    before = deeds.sign_withdraw(packs)
    deeds.advance()
    with pytest.raises(RefusedError, match="names head 1, and head 2 is held"):
        deeds.store.removals.withdraw(A, before, packs)
    assert deeds.withdraw(packs) == []
    (late,) = deeds.draft(3)
    assert deeds.withdraw([*packs, late]) == [late]
    assert set(deeds.listed()) == set(packs)
    assert deeds.delete(packs) == packs
    assert deeds.store.sweep.run().packs == 1, "those wait for their lock"


def keep(deeds: Draftsman, packs, *, number: int | None = None) -> None:
    """Leave the next head, or head `number` again, which does not name these drafts."""
    if number is None:
        deeds.heads.append(deeds.world.head(len(deeds.heads) + 1, deeds.heads[-1] if deeds.heads else b""))
    signed = deeds.heads[(number or len(deeds.heads)) - 1]
    deeds.store.heads.put_head(
        A, signed, deeds.world.grant(), signer=deeds.world.host, now_ms=NOW_MS, drafts=tuple(packs)
    )


def test_drafts_that_further_heads_do_not_name_go_at_once_all_the_same(deeds: Draftsman):
    one, two, three = deeds.draft(1, 2, 3)
    keep(deeds, [one, two])
    deeds.reopen()
    keep(deeds, [one])
    assert deeds.withdraw([one, two, three]) == [one]
    assert set(deeds.listed()) == {two, three}


def written(deeds: Draftsman) -> int:
    """How many rows of the catalogue were written so far."""
    return deeds.store._catalogue.run(lambda db: db.total_changes)


def test_a_head_that_comes_again_writes_only_what_it_changes(deeds: Draftsman):
    deeds.advance()
    packs = deeds.draft(*range(1, 9))
    before = written(deeds)
    keep(deeds, packs)
    assert written(deeds) - before == 8, "each is a draft upon the new head"
    before = written(deeds)
    for _ in range(3):
        keep(deeds, packs, number=2)
    assert written(deeds) == before
    keep(deeds, packs[1:], number=2)
    assert written(deeds) == before + 1
    keep(deeds, [], number=2)
    keep(deeds, [], number=2)
    keep(deeds, packs, number=2)
    assert written(deeds) == before + 8
    assert deeds.withdraw(packs) == []


def test_what_a_head_named_once_is_never_called_a_draft_again(deeds: Draftsman):
    (before,) = deeds.put(1)
    packs = deeds.draft(2, 3)
    deeds.advance()
    keep(deeds, [before, *packs], number=1)
    assert deeds.withdraw([before, *packs]) == []
    keep(deeds, [before, *packs])
    assert deeds.withdraw([before, *packs]) == []
    assert set(deeds.listed()) == {before, *packs}


def test_a_thief_who_brings_the_head_first_and_calls_what_it_names_drafts_is_corrected_by_its_owner(
    deeds: Draftsman,
):
    packs = deeds.draft(1, 2)
    keep(deeds, packs)
    keep(deeds, [], number=1)  # the owner's own, which the host has already
    assert deeds.withdraw(packs) == []
    assert set(deeds.listed()) == set(packs)


def test_packs_that_their_owner_did_not_call_drafts_keep_their_lock(deeds: Draftsman):
    deeds.advance()
    packs = deeds.put(1, 2)
    assert deeds.withdraw(packs) == []
    assert not list(deeds.store.directory.rglob("removals/*")), "nothing happened that would have to be shown"


def test_a_pack_that_was_here_before_does_not_become_a_draft(deeds: Draftsman):
    deeds.advance()
    (one,) = deeds.put(1)
    assert deeds.draft(1) == [one]
    assert deeds.withdraw([one]) == []


def test_a_head_that_comes_while_a_draft_is_on_its_way_counts(deeds: Draftsman):
    data = b"x" * 1000
    stored = compute_stored_id(data)
    with deeds.store.receive(A, stored, len(data), is_draft=True) as incoming:
        incoming.write(data)
        deeds.advance()
        incoming.commit()
    assert deeds.withdraw([stored]) == []


@pytest.mark.parametrize("key", ["host", "device", "authority"])
def test_only_the_owner_withdraws(deeds: Draftsman, key):
    packs = deeds.draft(1)
    with pytest.raises(AuthenticationFault):
        deeds.withdraw(packs, key=getattr(deeds.world, key))
    with pytest.raises(ProtocolViolation):
        deeds.store.removals.delete(A, deeds.sign_withdraw(packs), packs)
    deeds.advance()
    with pytest.raises(ProtocolViolation):
        deeds.store.removals.withdraw(A, deeds.sign(PackDelete, packs), packs)
    assert deeds.listed() == packs


def test_only_a_withdrawal_may_name_no_head(deeds: Draftsman):
    packs = deeds.draft(1)
    for head in (NO_HEAD, (b"\1" * 32, 0), (bytes(32), 1)):
        with pytest.raises(LocalError, match="refused to sign"):
            sign_removal(PackDelete, packs, deeds.world.owner, agreement=A, head=head, time_ms=NOW_MS)
    with pytest.raises(LocalError, match="refused to sign"):
        sign_removal(PackWithdraw, packs, deeds.world.owner, agreement=A, head=(b"\1" * 32, 0), time_ms=NOW_MS)


def test_without_its_catalogue_a_store_takes_drafts_for_packs_as_any_other(deeds: Draftsman, directory: Path):
    one, two = deeds.draft(1, 2)
    deeds.withdraw([one])
    deeds.store.close()
    for name in ("catalogue.db", "catalogue.db-wal", "catalogue.db-shm"):
        (directory / name).unlink(missing_ok=True)
    deeds.store = open_store(directory, deeds.world.peer, floor_bytes=0)
    assert set(deeds.listed()) == {one, two}, "nobody can tell any more: kept"
    assert deeds.withdraw([two]) == []


def test_a_damaged_head_makes_no_drafts_and_brings_none_back(deeds: Draftsman, directory: Path):
    deeds.advance()
    packs = deeds.draft(1)
    early = deeds.sign_withdraw(packs)
    deeds.advance()
    deeds.store.close()
    (head,) = directory.rglob("head")
    head.write_bytes(b"BPHEAD1\n rubbish")
    deeds.store = open_store(directory, deeds.world.peer, floor_bytes=0)
    (late,) = deeds.draft(2)
    # An earlier head is taken in place of one that can't be read: what the lost one named is no draft for all that.
    deeds.store.heads.put_head(A, deeds.heads[0], deeds.world.grant(), signer=deeds.world.host, now_ms=NOW_MS)
    assert deeds.store.removals.withdraw(A, early, packs) == []
    assert deeds.withdraw([late], head=1) == []


def test_killed_between_file_and_rows_a_withdrawal_is_done_when_the_store_is_opened(deeds: Draftsman, monkeypatch):
    (one,) = deeds.draft(1)

    def die(*_arguments, **_options):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(type(deeds.store.removals.graveyard), "withdraw", die)
        with pytest.raises(Killed):
            deeds.withdraw([one])
    deeds.reopen()
    assert deeds.listed() == []
    assert deeds.store.sweep.run().packs == 1


def test_a_disk_that_refuses_withdraws_nothing(deeds: Draftsman, monkeypatch):
    (one,) = deeds.draft(1)

    def refuse(*_arguments):
        raise OSError(28, "full")

    with monkeypatch.context() as patch:
        patch.setattr(removals_module, "replace_file", refuse)
        with pytest.raises(StoreUnavailable):
            deeds.withdraw([one])
    assert deeds.listed() == [one]
    assert deeds.withdraw([one]) == [one]


def test_a_catalogue_of_the_version_before_has_no_drafts(world: World, directory: Path, monkeypatch):
    from backuppeer.host import catalogue  # noqa: PLC0415 - its schema is set back for a moment

    path = directory.with_name("old.db")
    with monkeypatch.context() as patch:
        patch.setattr(catalogue, "_SCHEMA", catalogue._SCHEMA[:2])
        connection = catalogue.open_database(path, catalogue._SCHEMA, synchronous="NORMAL")
        connection.execute("INSERT INTO packs (agreement, stored, size) VALUES (?, ?, ?)", (A, b"s" * 32, 5))
        connection.close()
    opened, _ = catalogue.open_catalogue(path)
    assert not any(Graveyard(opened).is_draft(A, StoredId(b"s" * 32), number) for number in range(3))
    opened.close()
    with sqlite3.connect(path) as plain:
        assert plain.execute("PRAGMA user_version").fetchone() == (len(catalogue._SCHEMA),)
    plain.close()


STEPS = st.lists(st.sampled_from(["put", "draft", "head", "withdraw", "reopen"]), max_size=20)


@given(steps=STEPS)
@settings(max_examples=25, deadline=None)
def test_whatever_comes_before_only_drafts_since_the_last_head_go(tmp_path_factory, steps):
    directory = tmp_path_factory.mktemp("drafts") / "store"
    world = World()
    deeds = Draftsman(create_store(directory, world.peer, floor_bytes=0), world)
    kept: set[StoredId] = set()
    drafts: set[StoredId] = set()
    try:
        for number, step in enumerate(steps):
            match step:
                case "put":
                    kept.add(put_pack(deeds.store, bytes([number]) * 100))
                case "draft":
                    drafts.update(deeds.draft(number, size=100))
                case "head":
                    deeds.advance()
                    kept, drafts = kept | drafts, set()
                case "withdraw" if kept | drafts:
                    assert set(deeds.withdraw(sorted(kept | drafts))) == drafts
                    drafts = set()
                    deeds.store.sweep.run()
                case "reopen":
                    deeds.reopen()
            assert set(deeds.listed()) == kept | drafts
    finally:
        deeds.store.close()


def test_a_disk_that_fails_before_a_draft_arrives_costs_no_room(deeds: Draftsman, monkeypatch):
    def fail(*_):
        raise StoreUnavailable("disk read failed")

    monkeypatch.setattr(type(deeds.store.heads), "get", fail)
    with pytest.raises(StoreUnavailable):
        deeds.store.receive(A, StoredId(b"1" * 32), 1 << 16, is_draft=True)
    assert deeds.store.totals().reserved_bytes == 0
