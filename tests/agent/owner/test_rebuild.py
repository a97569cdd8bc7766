"""A host's list of packs: what it may say, and how much of it."""

import asyncio
from types import SimpleNamespace

import pytest

from agent.houses import OwnerHouse
from backuppeer.agent.owner import rebuild
from backuppeer.agent.owner.rebuild import Found, list_packs
from backuppeer.clock import SystemClock
from backuppeer.errors import IntegrityFault, PeerUnreachable, ProtocolViolation, RefusedError
from backuppeer.ids import BlobId, LogicalId, StoredId
from backuppeer.repo.blob import BlobKind, Codec
from backuppeer.repo.layout import Entry
from backuppeer.shares.ledger import Copy
from backuppeer.wire.messages import PackList, PackRow
from repo.building import AGREEMENT, noise


def rows(first: int, count: int) -> tuple[PackRow, ...]:
    return tuple(PackRow(StoredId(number.to_bytes(32, "big")), 1 << 20) for number in range(first, first + count))


def answer_with(monkeypatch, pages):
    """Let a host answer with these pages, one for each question, and remember how many were asked for."""
    asked, left = [], iter(pages)

    async def page(_, after):
        asked.append(after)
        return next(left)

    monkeypatch.setattr(rebuild, "_list_page", page)
    return asked


def collect() -> list[PackRow]:
    async def run():
        return [row async for page in list_packs(None, SystemClock()) for row in page]

    return asyncio.run(run())


def test_pages_are_joined_until_the_host_says_that_was_all(monkeypatch):
    asked = answer_with(monkeypatch, [PackList(packs=rows(1, 3), more=True), PackList(packs=rows(4, 2), more=False)])
    assert collect() == [*rows(1, 3), *rows(4, 2)]
    assert asked == [b"", rows(3, 1)[0].stored]


@pytest.mark.parametrize("second", [rows(3, 2), rows(2, 1), rows(5, 1) + rows(4, 1), rows(4, 1) * 2])
def test_a_list_that_does_not_ascend_is_refused(monkeypatch, second):
    answer_with(monkeypatch, [PackList(packs=rows(1, 3), more=True), PackList(packs=second, more=False)])
    with pytest.raises(ProtocolViolation, match="out of order"):
        collect()


def test_a_list_without_end_is_refused_at_the_cap(monkeypatch):
    monkeypatch.setattr(rebuild, "PACKS_LISTED", 10)
    asked = answer_with(monkeypatch, (PackList(packs=rows(1 + 4 * n, 4), more=True) for n in range(100)))
    with pytest.raises(ProtocolViolation, match="more than 10 packs"):
        collect()
    assert len(asked) == 3


def test_exactly_as_many_packs_as_allowed_are_taken(monkeypatch):
    monkeypatch.setattr(rebuild, "PACKS_LISTED", 8)
    answer_with(monkeypatch, [PackList(packs=rows(1, 4), more=True), PackList(packs=rows(5, 4), more=False)])
    assert len(collect()) == 8


def refuse(number):
    raise RefusedError(f"lost {number}")


def test_of_a_million_packs_that_can_not_be_opened_only_their_number_is_kept():
    found = Found()
    for number in range(3):
        with pytest.raises(RefusedError) as told:
            refuse(number)
        assert told.value.__traceback__ is not None
        found.note(told.value)
    assert (found.failed, found.failure.message, found.failure.__traceback__) == (3, "lost 0", None)
    assert not found.is_conclusive
    found = Found()
    found.note(IntegrityFault("wrong"))
    assert found.is_conclusive
    counts = ("read_packs", "read_bytes", "read_entries")
    assert Found.__slots__ == ("stored", "expected", "failed", "failure", *counts, "is_conclusive"), "no list of them"


@pytest.fixture
def repository(tmp_path):
    house = OwnerHouse(tmp_path / "owner", b"o")
    yield house.repository
    house.close()


def directory(number: int, entries: int) -> tuple[Copy, list[Entry]]:
    logical = LogicalId(noise(("pack", number), 16))
    copy = Copy(logical, AGREEMENT, StoredId(noise(("stored", number), 32)), 1 << 20, noise(number, 64))
    blobs = (BlobId(noise((number, slot), 32)) for slot in range(entries))
    return copy, [Entry(b, BlobKind.DATA, Codec.RAW, slot, 64 + slot, 100, 84) for slot, b in enumerate(blobs)]


def test_directories_read_side_by_side_are_registered_many_at_once_and_each_of_them(repository, monkeypatch):
    monkeypatch.setattr(rebuild, "REBUILD_ENTRIES", 10)
    found, written = [directory(number, number % 4) for number in range(30)], []
    register = repository.index.register_found

    def count(contents):
        written.append(sum(len(entries) for _, entries in contents))
        register(contents)

    monkeypatch.setattr(repository.index, "register_found", count)

    async def run():
        shelf = rebuild._Shelf(repository)
        await asyncio.gather(*(shelf.add(copy, entries) for copy, entries in found))
        await shelf.empty()

    asyncio.run(run())
    assert all(repository.index.find(entry.blob) for _, entries in found for entry in entries)
    assert all(repository.index.has_read(copy.logical) for copy, _ in found)
    assert sorted(repository.ledger.copies_at(AGREEMENT), key=repr) == sorted((copy for copy, _ in found), key=repr)
    assert len(written) > 1
    assert sum(written) == sum(len(entries) for _, entries in found)


def test_what_was_read_before_a_rebuild_ends_early_need_not_be_read_again(repository, monkeypatch):
    async def tell(*_):
        return PackList(packs=rows(1, 3), more=False)

    async def read(_, repository, row):
        number = int.from_bytes(row.stored, "big")
        if number == 2:
            await asyncio.Event().wait()
        return directory(number, 2)

    monkeypatch.setattr(rebuild, "_list_page", tell)
    monkeypatch.setattr(rebuild, "read_directory", read)
    monkeypatch.setattr(rebuild, "REFRESH_S", 0.2)
    partner = SimpleNamespace(agreement=AGREEMENT)
    with pytest.raises(PeerUnreachable, match="too slowly"):
        asyncio.run(rebuild.rebuild_from(partner, repository, lambda _: None, SystemClock()))
    kept = {copy.logical for copy in repository.ledger.copies_at(AGREEMENT)}
    assert kept == {directory(number, 2)[0].logical for number in (1, 3)}
    assert all(repository.index.has_read(logical) for logical in kept)
