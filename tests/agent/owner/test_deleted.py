"""What a host says it holds as deleted: taken page by page, believed within bounds."""

import asyncio

import pytest

from backuppeer.agent.owner import deleted as module
from backuppeer.agent.owner.deleted import Deleted, list_deleted
from backuppeer.clock import SystemClock
from backuppeer.errors import ProtocolViolation
from backuppeer.ids import StoredId
from backuppeer.wire.messages import DeletedList, DeletedRow


def rows(start, count):
    return tuple(DeletedRow(StoredId(bytes([start + n]) * 32), 10, 5) for n in range(count))


def answer_with(monkeypatch, pages):
    asked, left = [], iter(pages)

    async def page(_, after):
        asked.append(after)
        return next(left)

    monkeypatch.setattr(module, "_list_page", page)
    return asked


def collect():
    async def run():
        return [row async for page in list_deleted(None, SystemClock()) for row in page]

    return asyncio.run(run())


def test_pages_are_joined_until_the_host_says_that_was_all(monkeypatch):
    pages = [DeletedList(packs=rows(1, 3), more=True), DeletedList(packs=rows(4, 2)), DeletedList(packs=rows(9, 1))]
    asked = answer_with(monkeypatch, pages)
    assert collect() == [*rows(1, 3), *rows(4, 2)]
    assert asked == [b"", bytes([3]) * 32]


@pytest.mark.parametrize("second", [rows(3, 2), rows(2, 1), rows(5, 1) + rows(4, 1), rows(4, 1) * 2])
def test_a_list_that_does_not_ascend_is_refused(monkeypatch, second):
    answer_with(monkeypatch, [DeletedList(packs=rows(1, 3), more=True), DeletedList(packs=second)])
    with pytest.raises(ProtocolViolation, match="out of order"):
        collect()


def test_a_list_without_end_is_refused_at_the_cap(monkeypatch):
    monkeypatch.setattr(module, "PACKS_LISTED", 10)
    asked = answer_with(monkeypatch, (DeletedList(packs=rows(1 + 4 * n, 4), more=True) for n in range(100)))
    with pytest.raises(ProtocolViolation, match="does not end"):
        collect()
    assert len(asked) == 3


def test_an_empty_page_that_says_more_is_the_end(monkeypatch):
    asked = answer_with(monkeypatch, [DeletedList(packs=(), more=True)])
    assert collect() == []
    assert len(asked) == 1


def test_the_first_and_the_last_end_are_kept():
    found = Deleted()
    for until_ms in (50, 20, 90):
        found.add(7, until_ms)
    assert (found.packs, found.size_bytes, found.first_ms, found.last_ms) == (3, 21, 20, 90)
