"""The last look into a store, by its folders alone."""

import pytest

from backuppeer.errors import StoreUnavailable
from backuppeer.host.vacancy import count_running


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / "store"
    (folder / "agreements").mkdir(parents=True)
    (folder / "backup-peer-store").write_text("")
    return folder


def agreement(store, name, *, ended, pack=False):
    folder = store / "agreements" / (name * 32)
    (folder / "packs" / "00").mkdir(parents=True)
    if ended:
        (folder / "ended").touch()
    if pack:
        (folder / "packs" / "00" / ("0" * 64)).write_bytes(b"pack")


def test_a_store_whose_agreements_have_all_ended_is_empty(store):
    assert count_running(store) == 0
    agreement(store, "a", ended=True)
    assert count_running(store) == 0


def test_one_that_runs_and_one_with_a_pack_left_both_count(store):
    agreement(store, "a", ended=True)
    agreement(store, "b", ended=False)
    agreement(store, "c", ended=True, pack=True)
    assert count_running(store) == 2


def test_an_empty_folder_holds_nothing_of_others(store):
    (store / "agreements" / ("a" * 32)).mkdir()
    assert count_running(store) == 0


def test_a_store_that_is_not_there_is_never_taken_for_empty(store, tmp_path):
    with pytest.raises(StoreUnavailable):
        count_running(tmp_path / "unplugged")
    (store / "backup-peer-store").unlink()
    with pytest.raises(StoreUnavailable):
        count_running(store)
