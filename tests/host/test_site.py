"""Which folders become a store: empty or new ones; what is something else stays untouched."""

from pathlib import Path

import pytest

from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import StoreUnavailable, UserError
from backuppeer.host.store import create_store
from backuppeer.ids import PeerId

PEER = PeerId(SigningKey.from_seed(b"p" * 32).public)


def test_a_new_name_and_an_empty_folder_become_stores(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "mounted" / "lost+found").mkdir(parents=True)
    for name in ("new", "empty", "mounted"):
        create_store(tmp_path / name, PEER).close()
        assert (tmp_path / name / "backup-peer-store").exists()


def test_a_folder_with_something_else_in_it_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="not empty") as caught:
        create_store(tmp_path, PEER)
    assert "an empty folder" in caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_file_is_called_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("root")
    with pytest.raises(UserError, match="is no folder"):
        create_store(tmp_path / "passwd", PEER)


def test_a_folder_whose_parent_is_missing_is_an_unplugged_disk(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="is not there"):
        create_store(tmp_path / "usb" / "store", PEER)
