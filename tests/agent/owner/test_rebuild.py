"""A host's list of packs: what it may say, and how much of it."""

import asyncio

import pytest

from backuppeer.agent.owner import rebuild
from backuppeer.agent.owner.rebuild import Found, list_packs
from backuppeer.clock import SystemClock
from backuppeer.errors import IntegrityFault, ProtocolViolation, RefusedError
from backuppeer.ids import StoredId
from backuppeer.wire.messages import PackList, PackRow


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
    counts = ("read_packs", "read_bytes")
    assert Found.__slots__ == ("stored", "expected", "failed", "failure", *counts, "is_conclusive"), "no list of them"
