"""The tree cache keeps what was put in last or asked for last, within its cap."""

import pytest

from backuppeer.errors import DamagedStateError
from backuppeer.ids import BlobId
from backuppeer.repo.cache import TreeCache
from repo.building import noise


def _id(number: int) -> BlobId:
    return BlobId(noise(("cache", number), 32))


@pytest.fixture
def cache(tmp_path):
    made = TreeCache(tmp_path / "trees.db", 10_000)
    yield made
    made.close()


def test_what_was_put_is_there_and_what_was_not_is_not(cache):
    cache.put_many([(_id(1), b"one"), (_id(2), b""), (_id(1), b"one")])
    assert cache.get(_id(1)) == b"one"
    assert cache.get(_id(2)) == b""
    assert cache.get(_id(3)) is None
    assert cache.size_bytes() == 3


def test_the_cap_holds_and_the_oldest_go_first(cache):
    for number in range(30):
        cache.put_many([(_id(number), bytes(1000))])
    assert cache.size_bytes() == 10_000
    assert [n for n in range(30) if cache.get(_id(n)) is not None] == list(range(20, 30))


def test_what_was_read_lately_outlives_what_was_not(cache):
    for number in range(10):
        cache.put_many([(_id(number), bytes(1000))])
    assert cache.get(_id(0)) is not None
    cache.put_many([(_id(100), bytes(1000))])
    assert cache.get(_id(0)) is not None
    assert cache.get(_id(1)) is None


def test_a_body_over_the_cap_is_not_kept(cache):
    cache.put_many([(_id(1), bytes(10_001))])
    assert cache.get(_id(1)) is None
    assert cache.size_bytes() == 0


def test_it_is_there_after_opening_again_and_gone_after_clear(tmp_path):
    first = TreeCache(tmp_path / "trees.db", 10_000)
    first.put_many([(_id(1), b"one")])
    first.close()
    second = TreeCache(tmp_path / "trees.db", 10_000)
    assert (second.get(_id(1)), second.size_bytes()) == (b"one", 3)
    second.clear()
    assert (second.get(_id(1)), second.size_bytes()) == (None, 0)
    second.put_many([(_id(1), b"one")])
    assert second.size_bytes() == 3
    second.close()


def test_a_smaller_cap_takes_effect_at_the_next_put(tmp_path):
    first = TreeCache(tmp_path / "trees.db", 10_000)
    first.put_many([(_id(n), bytes(1000)) for n in range(10)])
    first.close()
    second = TreeCache(tmp_path / "trees.db", 3000)
    second.put_many([(_id(50), bytes(1000))])
    assert second.size_bytes() == 3000
    assert second.get(_id(50)) is not None
    second.close()


def test_a_damaged_cache_is_named(tmp_path):
    path = tmp_path / "trees.db"
    path.write_bytes(b"garbage " * 2000)
    with pytest.raises(DamagedStateError, match=str(path)):
        TreeCache(path, 100)


def test_all_bodies_are_walked_page_by_page_and_dropped_ones_give_their_room_back(cache, monkeypatch):
    monkeypatch.setattr("backuppeer.repo.cache._PAGE_ROWS", 3)
    cache.put_many((_id(number), bytes(100)) for number in range(20))
    assert dict(cache.bodies()) == {_id(number): bytes(100) for number in range(20)}
    cache.drop([_id(3), _id(4), _id(999)])
    assert cache.size_bytes() == 1800
    assert cache.get(_id(3)) is None
    assert len(list(cache.bodies())) == 18
    assert cache.find_fault() == ""
