"""The catalogue is only a list: lost, damaged or wrong, it is made right from the files."""

import os
import sqlite3
from contextlib import closing

import pytest

from backuppeer.errors import DamagedStateError, LocalError
from backuppeer.host import rebuild
from backuppeer.host.layout import parse_hex_name
from backuppeer.host.store import open_store
from backuppeer.limits import LEAF_BYTES, PACK_TARGET_BYTES
from backuppeer.proof.merkle import compute_stored_id
from host.host_world import agreement_id, put_pack

A = agreement_id()


@pytest.fixture
def filled(store, lease, directory):
    """A closed store with five packs; their ids."""
    ids = sorted(put_pack(store, os.urandom(2 * LEAF_BYTES + n)) for n in range(5))
    store.close()
    return ids


@pytest.fixture
def reopen(directory, world, filled):
    opened = []

    def open_again():
        opened.append(open_store(directory, world.peer, floor_bytes=0))
        return opened[-1]

    yield open_again
    for store in opened:
        store.close()


def ids_of(store) -> list[bytes]:
    return [row.stored for row in store.list_packs(A)]


def file_of(directory, stored: bytes):
    return directory / "agreements" / A.hex() / "packs" / stored.hex()[:2] / stored.hex()


def test_a_lost_catalogue_is_rebuilt_with_a_note(filled, reopen, directory) -> None:
    (directory / "catalogue.db").unlink()
    store = reopen()
    assert ids_of(store) == filled
    assert store.notes == ["the catalogue was missing or damaged; it was rebuilt from 5 packs"]
    assert store.usage(A).packs == 5


@pytest.mark.parametrize("damage", ["rubbish", "empty", "torn page", "wrong tables"])
def test_a_damaged_catalogue_is_rebuilt_with_a_note(filled, reopen, directory, damage) -> None:
    path = directory / "catalogue.db"
    if damage == "wrong tables":
        connection = sqlite3.connect(path)
        connection.execute("DROP TABLE packs")
        connection.close()
    elif damage == "torn page":
        data = bytearray(path.read_bytes())
        data[4096:] = os.urandom(len(data) - 4096)
        path.write_bytes(data)
    else:
        path.write_bytes(b"" if damage == "empty" else b"rubbish" * 1000)
    store = reopen()
    assert ids_of(store) == filled
    assert store.notes


def test_a_catalogue_of_a_newer_version_is_not_touched(filled, reopen, directory) -> None:
    path = directory / "catalogue.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(DamagedStateError, match="newer version"):
        reopen()
    assert path.read_bytes() == before


def test_rows_without_files_and_files_without_rows_are_put_right(filled, reopen, directory) -> None:
    file_of(directory, filled[0]).unlink()
    connection = sqlite3.connect(directory / "catalogue.db")
    connection.execute("DELETE FROM packs WHERE stored = ?", (filled[1],))
    connection.commit()
    connection.close()
    store = reopen()
    assert ids_of(store) == filled[1:]
    assert store.notes == ["1 pack was on the disk but not in the catalogue: listed again"]
    assert store.missing == {A: 1}
    assert store.usage(A).packs == 4
    assert not file_of(directory, filled[0]).with_suffix(".leaves").exists()


def test_what_is_listed_again_is_durable_before_as_it_may_be_acknowledged_at_once(
    filled, reopen, directory, monkeypatch
) -> None:
    listed_before = []
    with closing(sqlite3.connect(directory / "catalogue.db")) as connection, connection:
        connection.execute("DELETE FROM packs WHERE stored = ?", (filled[1],))

    def sync(folder):
        with closing(sqlite3.connect(directory / "catalogue.db")) as connection:
            rows = connection.execute("SELECT stored FROM packs").fetchall()
        listed_before.append((folder, sorted(row[0] for row in rows)))

    monkeypatch.setattr(rebuild, "sync_directory", sync)
    assert ids_of(reopen()) == filled
    others = [stored for stored in filled if stored != filled[1]]
    assert listed_before == [(file_of(directory, filled[1]).parent, others)]


def test_names_are_not_trusted_without_their_leaf_hashes(filled, reopen, directory) -> None:
    (directory / "catalogue.db").unlink()
    planted = file_of(directory, filled[0]).parent / (filled[0].hex()[:2] + "0" * 62)
    planted.write_bytes(b"planted")
    os.truncate(file_of(directory, filled[1]), LEAF_BYTES)
    link = file_of(directory, filled[0]).parent / (filled[0].hex()[:2] + "1" * 62)
    link.symlink_to("/etc/passwd")
    (file_of(directory, filled[0]).parent / "README").write_bytes(b"not a pack")
    store = reopen()
    assert ids_of(store) == [filled[0], *filled[2:]]
    assert any("2 packs are damaged" in note for note in store.notes)
    assert planted.read_bytes() == b"planted"


def test_a_pack_without_leaf_hashes_is_trusted_only_by_its_bytes(filled, reopen, directory) -> None:
    (directory / "catalogue.db").unlink()
    for stored in filled[:2]:
        file_of(directory, stored).with_suffix(".leaves").unlink()
    with file_of(directory, filled[1]).open("r+b") as file:
        file.write(b"\0\0\0\0")
    store = reopen()
    assert ids_of(store) == [filled[0], *filled[2:]]
    assert file_of(directory, filled[0]).with_suffix(".leaves").exists()


def test_rot_that_lengths_cannot_show_is_found_by_verifying(filled, reopen, directory) -> None:
    with file_of(directory, filled[3]).open("r+b") as file:
        file.seek(LEAF_BYTES + 5)
        byte = file.read(1)
        file.seek(LEAF_BYTES + 5)
        file.write(bytes([byte[0] ^ 1]))
    store = reopen()
    assert ids_of(store) == filled
    assert store.rebuild_catalogue().damaged == []
    assert store.rebuild_catalogue(verify=True).damaged == [filled[3].hex()]
    assert ids_of(store) == [*filled[:3], filled[4]]
    assert store.usage(A).packs == 4


def test_a_damaged_pack_is_healed_by_storing_it_again(filled, reopen, directory) -> None:
    data = file_of(directory, filled[2]).read_bytes()
    os.truncate(file_of(directory, filled[2]), 3)
    store = reopen()
    assert not store.has(A, filled[2])
    assert put_pack(store, data) == filled[2]
    assert store.read(A, filled[2], offset=0, length=len(data)) == data
    assert store.usage(A).packs == 5


def test_a_file_longer_than_a_pack_may_be_is_never_listed(filled, reopen, directory) -> None:
    for size in (PACK_TARGET_BYTES, PACK_TARGET_BYTES + 1):
        path = file_of(directory, compute_stored_id(bytes(size)))
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.truncate(path, size)
    store = reopen()
    longest = compute_stored_id(bytes(PACK_TARGET_BYTES))
    assert ids_of(store) == sorted([*filled, longest])
    assert any("1 pack is damaged" in note for note in store.notes)


def test_the_catalogue_is_not_rebuilt_under_an_arriving_pack(filled, reopen) -> None:
    store = reopen()
    with store.receive(A, filled[0], 10), pytest.raises(LocalError, match="while packs arrive"):
        store.rebuild_catalogue()
    store.rebuild_catalogue()


@pytest.mark.parametrize("name", ["", "AB" * 16, "ab" * 15, "ab" * 17, "zz" * 16, "..", "ab" * 15 + "a/", "१" * 32])
def test_only_exact_lower_case_hex_is_an_id(name: str) -> None:
    assert parse_hex_name(name, 16) is None
    assert parse_hex_name("0f" * 16, 16) == b"\x0f" * 16
