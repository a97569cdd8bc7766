"""What is surely absent is said without the database, and nothing that is there is ever called absent."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.ids import BlobId, LogicalId
from backuppeer.repo import index as index_module
from backuppeer.repo.absence import Absence
from backuppeer.repo.blob import BlobKind, Codec
from backuppeer.repo.index import Index
from backuppeer.repo.layout import Entry

IDS = st.lists(st.binary(min_size=32, max_size=32).map(BlobId), max_size=30)


@given(IDS, IDS)
def test_what_was_added_is_possible_and_what_begins_otherwise_is_not(added, others):
    absence = Absence()
    absence.add(added)
    beginnings = {blob[:3] for blob in added}
    assert absence.keep_possible([*added, *others]) == [
        *added,
        *(blob for blob in others if blob[:3] in beginnings),
    ]


def entries(blobs):
    return [Entry(blob, BlobKind.DATA, Codec.RAW, slot, 64 + 17 * slot, 17, 1) for slot, blob in enumerate(blobs)]


@pytest.fixture
def index(tmp_path):
    index = Index(tmp_path / "index.db")
    yield index
    index.close()


@pytest.mark.parametrize("is_large", [False, True])
def test_the_index_knows_the_same_whether_it_learns_what_is_absent_or_not(index, monkeypatch, is_large):
    monkeypatch.setattr(index_module, "ABSENCE_BLOBS", 0 if is_large else 100)
    before, later, never = ([BlobId(os.urandom(32)) for _ in range(20)] for _ in range(3))
    index.register(LogicalId(b"1" * 16), entries(before))
    assert index.known([*before, *later, *never]) == set(before)
    index.register(LogicalId(b"2" * 16), entries(later))
    assert index.known([*before, *later, *never]) == {*before, *later}
    assert (index._absence is None) == is_large


def test_of_what_is_new_the_database_is_not_asked(index, monkeypatch):
    index.known([])
    asked = []
    monkeypatch.setattr(index._db, "run", asked.append)
    assert index.known([BlobId(os.urandom(32)) for _ in range(50)]) == set()
    assert not asked
