"""Packs on their way in and out of an index: marks, reliance, drops, and what a rebuild makes of them."""

import random
import secrets
import sqlite3
from functools import partial

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from backuppeer.ids import BlobId, LogicalId
from backuppeer.repo import turnover
from backuppeer.repo.blob import BlobKind, Codec
from backuppeer.repo.index import Index
from backuppeer.repo.layout import Entry


def pack(number: int) -> LogicalId:
    return LogicalId(number.to_bytes(16, "big"))


def blob(number: int) -> BlobId:
    return BlobId(number.to_bytes(32, "big"))


def entries(*numbers: int) -> list[Entry]:
    return [
        Entry(blob(number), BlobKind.DATA, Codec.RAW, slot, 64 + 100 * slot, 100, 84)
        for slot, number in enumerate(numbers)
    ]


@pytest.fixture
def index(tmp_path):
    made = Index(tmp_path / "index.db")
    yield made
    made.close()


def where(index: Index, number: int) -> LogicalId | None:
    found = index.find(blob(number))
    return found.pack if found else None


def test_a_pack_met_as_deleted_is_for_readers_alone_until_a_head_names_it_again(index: Index):
    index.register_found([(pack(1), entries(1))])
    index.register_dropped(pack(2), entries(1, 2))
    assert (where(index, 1), where(index, 2)) == (pack(1), pack(2)), "what lives elsewhere is found there"
    assert index.known([blob(1), blob(2)]) == {blob(1)}
    assert list(index.packs()) == [pack(1)]
    assert index.dropped_packs() == {pack(2)}
    index.turnover.take_back([pack(2), pack(1), pack(9)])
    assert index.known([blob(1), blob(2)]) == {blob(1), blob(2)}
    assert list(index.packs()) == [pack(1), pack(2)]
    assert index.dropped_packs() == set()
    index.register_dropped(pack(1), entries(3))
    assert index.has_pack(pack(1)), "one that is alive stays so"
    assert where(index, 3) is None


def test_what_was_found_in_a_dropped_pack_is_found_in_one_that_is_there_for_sure(index: Index):
    index.register(pack(1), entries(1, 2))
    index.turnover.drop([pack(1)], [])
    index.register_dropped(pack(2), entries(1))
    assert (where(index, 1), where(index, 2)) == (pack(2), pack(1))


def test_a_pack_taken_back_stays_absent_after_a_restart_only_if_it_was_not(tmp_path):
    index = Index(tmp_path / "index.db")
    index.register_dropped(pack(1), entries(1))
    index.register_dropped(pack(2), entries(2))
    index.turnover.take_back([pack(1)])
    index.close()
    index = Index(tmp_path / "index.db")
    assert index.known([blob(1), blob(2)]) == {blob(1)}
    index.close()


def test_blobs_of_leaving_packs_are_absent_for_writers_and_found_by_readers(index: Index):
    index.register(pack(1), entries(1, 2))
    index.register(pack(2), entries(3))
    assert index.turnover.mark_leaving([pack(1), pack(7)]) == {pack(1)}
    assert index.known([blob(1), blob(2), blob(3)]) == {blob(3)}
    assert where(index, 1) == pack(1)
    assert list(index.packs()) == [pack(1), pack(2)]
    index.turnover.stay()
    assert index.known([blob(1), blob(3)]) == {blob(1), blob(3)}


def test_what_a_writer_relies_on_can_not_be_marked_until_the_last_one_is_done(index: Index):
    index.register(pack(1), entries(1))
    index.register(pack(2), entries(2))
    with index.turnover.relying():
        with index.turnover.relying():
            index.known([blob(1)])
            index.register(pack(3), entries(3))
        assert index.turnover.mark_leaving([pack(1), pack(2), pack(3)]) == {pack(2)}
        index.turnover.stay()
    index.known([blob(1)])
    assert index.turnover.mark_leaving([pack(1), pack(3)]) == {pack(1), pack(3)}, "nobody writes now"


def test_a_mark_ends_with_the_process_and_a_drop_does_not(tmp_path):
    index = Index(tmp_path / "index.db")
    index.register(pack(1), entries(1))
    index.register(pack(2), entries(2))
    index.turnover.mark_leaving([pack(1)])
    index.close()
    index = Index(tmp_path / "index.db")
    assert index.known([blob(1)]) == {blob(1)}
    index.turnover.drop([pack(1)], [pack(2)])
    index.close()
    index = Index(tmp_path / "index.db")
    assert index.known([blob(1), blob(2)]) == {blob(2)}
    assert where(index, 1) == pack(1), "readers under way still find it"
    assert list(index.packs()) == [pack(2)]
    assert (index.has_pack(pack(1)), index.has_read(pack(1))) == (False, True)
    assert index.counts().packs == 1
    index.turnover.drop([], [])
    assert where(index, 1) is None
    index.close()


def test_a_blob_in_two_packs_is_found_in_the_one_that_stays(index: Index):
    index.register(pack(1), entries(1, 2))
    index.register(pack(2), entries(1))
    assert where(index, 1) == pack(2)
    index.turnover.drop([pack(2)], [])
    assert where(index, 1) == pack(1)
    assert index.known([blob(1)]) == {blob(1)}
    index.register(pack(3), entries(1, 2))
    index.turnover.forget([pack(3)])
    assert (where(index, 1), where(index, 2)) == (pack(1), pack(1))
    index.turnover.forget([pack(1)])
    assert where(index, 1) is None


def test_the_directory_of_a_dropped_pack_met_at_a_host_changes_nothing(index: Index):
    index.register(pack(1), entries(1))
    index.register(pack(2), entries(1))
    index.turnover.drop([pack(1)], [])
    index.register_found([(pack(1), entries(1))])
    assert where(index, 1) == pack(2)
    assert not index.has_pack(pack(1))
    index.register(pack(1), entries(1))
    assert index.has_pack(pack(1)), "stored anew it is a pack as any other"
    assert index.turnover.fresh() == {pack(1), pack(2)}


def test_a_head_that_is_followed_drops_what_it_names_no_more_and_leaves_unfinished_work(index: Index):
    index.register_found([(pack(1), entries(1))])
    index.register(pack(2), entries(2))
    index.register_found([(pack(3), entries(3))])
    index.turnover.follow([pack(1), pack(9)])
    assert set(index.packs()) == {pack(1), pack(2), pack(9)}
    assert index.turnover.is_dropped(pack(3))
    assert index.turnover.fresh() == {pack(2)}
    index.turnover.follow([pack(1), pack(2), pack(3)])
    assert set(index.packs()) == {pack(1), pack(2), pack(3)}
    assert index.known([blob(3)]) == {blob(3)}


def test_a_head_that_is_followed_beside_a_writer_takes_nothing_from_it(index: Index):
    index.register_found([(pack(1), entries(1))])
    with index.turnover.relying():
        index.known([blob(1)])
        index.turnover.follow([])
        assert index.has_pack(pack(1))
    index.turnover.follow([])
    assert not index.has_pack(pack(1))


def test_packs_are_weighed_with_what_is_found_elsewhere(index: Index):
    index.register(pack(1), entries(1, 2))
    index.register(pack(2), entries(1))
    index.turnover.follow([pack(1), pack(2), pack(3)])
    assert dict(index.weigh_packs()) == {pack(1): 200, pack(2): 100, pack(3): 0}


def test_an_index_of_the_version_before_is_taken_over(tmp_path, monkeypatch):
    from backuppeer.repo import index as module  # noqa: PLC0415 - its schema is set back for a moment

    path = tmp_path / "index.db"
    db = module.LocalDatabase(path, module._SCHEMA[:1], what="index", probe="SELECT 1", cache_kib=100)
    db.transact(lambda c: c.execute("INSERT INTO packs (logical) VALUES (?)", (pack(1),)))
    db.close()
    index = Index(path)
    assert list(index.packs()) == [pack(1)]
    assert index.turnover.fresh() == set()
    index.close()
    copies = list(tmp_path.glob("index.db.v1.bak"))
    assert len(copies) == 1
    with sqlite3.connect(copies[0]) as old:
        assert old.execute("PRAGMA user_version").fetchone() == (1,)
    old.close()


class Turnovers(RuleBasedStateMachine):
    """An index against a model of dictionaries: packs of blobs, marks, writers."""

    def __init__(self):
        super().__init__()
        import tempfile  # noqa: PLC0415 - one folder per run of the machine
        from pathlib import Path  # noqa: PLC0415

        self.folder = tempfile.TemporaryDirectory()
        self.index = Index(Path(self.folder.name) / f"{secrets.token_hex(4)}.db")
        self.packs: dict[int, set[int]] = {}
        self.dropped: set[int] = set()
        self.leaving: set[int] = set()
        self.relied: set[int] = set()
        self.writer = None

    @rule(number=st.integers(1, 6), blobs=st.sets(st.integers(1, 8), min_size=1))
    def store(self, number, blobs):
        if number in self.leaving:
            return  # what is stored anew has an id of its own
        if number in self.packs:
            blobs = self.packs[number]
        self.index.register(pack(number), entries(*sorted(blobs)))
        self.packs[number] = blobs
        self.dropped.discard(number)
        if self.writer:
            self.relied.add(number)

    @rule()
    def write(self):
        if self.writer is None:
            self.writer = self.index.turnover.relying()
            self.writer.__enter__()

    @rule()
    def end_writing(self):
        if self.writer is not None:
            self.writer.__exit__(None, None, None)
            self.writer = None
            self.relied.clear()

    @rule(number=st.integers(1, 8))
    def look(self, number):
        if self.index.known([blob(number)]) and self.writer:
            # Where it is found, or when that pack leaves, in its spare place.
            homes = {p for p in self.packs if number in self.packs[p]} - self.dropped - self.leaving
            rows = self.index._db.run(lambda db: db.execute("SELECT number, logical FROM packs").fetchall())
            numbers = {int.from_bytes(logical, "big"): row for row, logical in rows}
            relied = {p for p in homes if numbers[p] in self.index.turnover._relied}
            assert relied
            self.relied |= relied

    @rule(number=st.integers(1, 6))
    def mark(self, number):
        marked = self.index.turnover.mark_leaving([pack(number)])
        may = number in self.packs and number not in self.dropped and number not in self.relied
        assert marked == ({pack(number)} if may else set())
        self.leaving |= {number} if may else set()

    @rule()
    def drop(self):
        gone = self.leaving
        self.index.turnover.drop([pack(number) for number in gone], [])
        for number in self.dropped:
            self.packs.pop(number, None)
        self.dropped = set(gone)
        self.leaving = set()
        self.index.turnover.stay()

    @rule()
    def stay(self):
        self.index.turnover.stay()
        self.leaving.clear()

    @invariant()
    def what_writers_and_readers_find_is_right(self):
        alive = set(self.packs) - self.dropped
        assert set(self.index.packs()) == {pack(number) for number in alive}
        for number in range(1, 9):
            homes = {p for p in self.packs if number in self.packs[p]}
            found = where(self.index, number)
            if homes & alive:
                assert found in {pack(p) for p in homes & alive}, "never in a dropped pack while another has it"
            known = bool(self.index.known([blob(number)])) if self.writer is None else None
            if known is not None and not (homes & alive - self.leaving):
                assert not known, "nothing that only goes is relied on"
        assert not self.relied & self.dropped

    def teardown(self):
        self.index.close()
        self.folder.cleanup()


Turnovers.TestCase.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
TestTurnovers = Turnovers.TestCase


_MISPLACED = """
    SELECT count(*) FROM spares s JOIN blobs b ON b.blob = s.blob
    WHERE s.pack IN (SELECT number FROM packs WHERE state = 1)
    AND b.pack NOT IN (SELECT number FROM packs WHERE state = 1)
"""


@pytest.mark.parametrize("seed", [*range(8), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(8, 40))])
def test_whatever_happened_an_opened_index_finds_no_blob_in_a_draft_that_a_named_pack_has(tmp_path, seed):
    dice, path = random.Random(seed), tmp_path / "index.db"
    index, contents = Index(path), {number: dice.sample(range(12), dice.randint(1, 6)) for number in range(8)}

    def some(most=3):
        return [pack(number) for number in dice.sample(range(8), dice.randint(0, most))]

    for _ in range(300):
        number, states = dice.randrange(8), index.turnover
        content = entries(*contents[number])
        steps = [
            partial(index.register, pack(number), content),
            partial(index.register_found, [(pack(number), content)]),
            partial(index.register_dropped, pack(number), content),
            partial(states.name, some()),
            partial(states.mark_leaving, some()),
            states.stay,
            partial(states.stay, some()),
            partial(states.drop, some(), some()),
            partial(states.take_back, some()),
            partial(states.follow, some(8)),
            partial(states.forget, some(2)),
        ]
        dice.choice(steps)()
        if dice.random() < 0.2:
            index.close()
            index = Index(path)
            assert index._db.run(lambda db: db.execute(_MISPLACED).fetchone()[0]) == 0
    index.close()


def test_a_blob_of_a_named_pack_is_not_found_in_a_draft_until_a_head_names_that(index: Index):
    index.register(pack(1), entries(1, 2))
    index.turnover.name([pack(1)])
    index.register(pack(2), entries(2, 3))
    assert (where(index, 2), where(index, 3)) == (pack(1), pack(2))
    index.conceal([pack(1)])
    assert index.known([blob(1), blob(2), blob(3)]) == {blob(2), blob(3)}, "a writer goes on from the draft"
    index.turnover.name([pack(2)])
    assert where(index, 2) == pack(2)
    index.turnover.forget([pack(2)])
    assert where(index, 2) == pack(1)


def test_what_a_prune_moved_in_vain_is_found_where_it_was(index: Index):
    index.register(pack(1), entries(1))
    index.turnover.name([pack(1)])
    index.turnover.mark_leaving([pack(1)])
    index.register(pack(2), entries(1))
    assert where(index, 1) == pack(2)
    index.turnover.stay()
    assert where(index, 1) == pack(1)


def test_an_index_that_finds_blobs_in_drafts_is_mended_when_it_is_opened(tmp_path):
    path = tmp_path / "drafts.db"
    index = Index(path)
    index.register(pack(1), entries(1))
    index.turnover.name([pack(1)])
    index.turnover.mark_leaving([pack(1)])
    index.register(pack(2), entries(1))
    index.close()
    index = Index(path)
    assert where(index, 1) == pack(1)
    index.close()


def test_an_index_with_nothing_out_of_place_is_opened_without_a_look_through_its_spare_places(tmp_path, monkeypatch):
    path = tmp_path / "twice.db"
    index = Index(path)
    index.register_found([(pack(1), entries(1, 2)), (pack(2), entries(1, 2))])
    assert index.find_spares([blob(1)])
    index.turnover.drop([pack(3)], [])
    index.close()
    looked: list[object] = []
    monkeypatch.setattr(turnover, "_run_all", lambda _, statements: looked.append(statements))
    Index(path).close()
    assert looked == []
    index = Index(path)
    index.register(pack(4), entries(4))
    index.close()
    Index(path).close()
    assert looked == [], "nor for drafts with nothing that lies elsewhere"
    index = Index(path)
    index.turnover.name([pack(4)])
    index.turnover.mark_leaving([pack(4)])
    index.register(pack(5), entries(4))
    index.close()
    looked.clear()
    Index(path).close()
    assert looked == [turnover._FIND_IN_NAMED]


def test_a_pack_taken_back_has_all_its_blobs_when_others_go(index: Index):
    index.register_dropped(pack(1), entries(1, 2))
    index.register_dropped(pack(2), entries(2, 3))
    index.turnover.take_back([pack(1), pack(2)])
    index.register_found([(pack(1), entries(1, 2)), (pack(2), entries(2, 3))])
    index.turnover.forget([pack(2)])
    assert (where(index, 1), where(index, 2), where(index, 3)) == (pack(1), pack(1), None)


def test_a_pack_that_went_and_came_back_has_its_blobs_when_the_other_one_goes(index: Index):
    index.register_found([(pack(1), entries(1, 2)), (pack(2), entries(2, 3))])
    index.turnover.drop([pack(2)], [])
    assert where(index, 2) == pack(1)
    index.turnover.take_back([pack(2)])
    index.turnover.forget([pack(1)])
    assert (where(index, 1), where(index, 2), where(index, 3)) == (None, pack(2), pack(2))


def test_a_pack_recorded_in_part_is_recorded_whole_when_it_is_met(index: Index):
    index.register_found([(pack(1), entries(*range(100)))])
    index._db.transact(lambda db: db.execute("DELETE FROM blobs WHERE blob = ?", (blob(77),)))
    index.register_found([(pack(1), entries(*range(100)))])
    assert where(index, 77) == pack(1)


def test_a_writer_relies_on_all_drafts_once_packs_are_lost(index: Index):
    index.register(pack(1), entries(1))
    index.turnover.name([pack(1)])
    index.register(pack(2), entries(1))
    index.register(pack(3), entries(3))
    with index.turnover.relying():
        assert index.turnover.unneeded(has_head=True) == {pack(2), pack(3)}
        index.turnover.forget([pack(1)])
        assert index.turnover.unneeded(has_head=True) == set()
