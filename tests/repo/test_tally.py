"""Counts and marks of packs' rows: the same for the same rows in any order, another for any difference."""

import dataclasses

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.ids import BlobId, LogicalId
from backuppeer.repo.blob import BlobKind, Codec
from backuppeer.repo.index import Index, Location
from backuppeer.repo.layout import Entry
from backuppeer.repo.tally import Tally, tally_entries, tally_packs

ONE, TWO = LogicalId(b"1" * 16), LogicalId(b"2" * 16)


def entry(number: int, **changes) -> Entry:
    made = Entry(BlobId(number.to_bytes(32, "big")), BlobKind.DATA, Codec.ZSTD, number, 64 + number, 100, 200)
    return msgspec.structs.replace(made, **changes)


@given(st.lists(st.integers(0, 1000), unique=True), st.randoms())
def test_order_and_mixing_with_other_packs_change_nothing(numbers, random):
    rows = [Location(ONE, entry(n)) for n in numbers] + [Location(TWO, entry(n)) for n in numbers[::2]]
    random.shuffle(rows)
    tallies = tally_packs(rows)
    assert tallies.get(ONE, Tally(0, 0)) == tally_entries(entry(n) for n in numbers)
    assert tallies.get(TWO, Tally(0, 0)) == tally_entries(entry(n) for n in numbers[::2])
    assert all(0 <= tally.mark < 2**63 for tally in tallies.values())


@pytest.mark.parametrize(
    "change",
    [
        {"blob": BlobId(b"x" * 32)},
        {"kind": BlobKind.TREE},
        {"codec": Codec.RAW},
        {"slot": 9},
        {"offset": 9},
        {"sealed_bytes": 9},
        {"plain_bytes": 9},
    ],
)
def test_any_change_of_a_row_changes_the_mark(change):
    rows = [entry(1), entry(2)]
    assert tally_entries([*rows, entry(3)]) != tally_entries([*rows, entry(3, **change)])
    assert tally_entries(rows) != tally_entries([*rows, entry(3)])


def test_the_rows_of_an_index_tally_as_the_directories_do(tmp_path):
    index = Index(tmp_path / "index.db")
    index.register(ONE, [entry(n) for n in range(5000)])
    index.register(TWO, [entry(n) for n in range(100)])
    assert tally_packs(index.locations()) == {
        ONE: tally_entries(entry(n) for n in range(100, 5000)),
        TWO: tally_entries(entry(n) for n in range(100)),
    }
    assert {place.entry for place in index.locations_in(TWO)} == {entry(n) for n in range(100)}
    assert dataclasses.asdict(index.counts())["blobs"] == 5000
    index.close()
