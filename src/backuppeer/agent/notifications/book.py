"""What was told of which trouble, and when: each once, again when it changes or after a week, and when it is over.

Knows: troubles, times. Must not know: what a trouble is about, how it is told. Pure but for `read_book`, `keep_book`:
the book lies in the state of the home, so a restart neither forgets nor repeats anything.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec
import structlog

from backuppeer.agent.home.state import State
from backuppeer.agent.notifications.trouble import Trouble
from backuppeer.limits import (
    NOTIFY_AGAIN_S,
    NOTIFY_CALM_S,
    NOTIFY_KNOWN,
    NOTIFY_LATEST_S,
    NOTIFY_PER_DAY,
    NOTIFY_PER_TROUBLE,
)

_KEPT: Final = "notify.told"
_DAY_MS: Final = 86_400_000
_log = structlog.get_logger()


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One trouble: since when it stands, when it was told last (0: not yet) and how, and since when it is gone.

    seen, seen_ms: the stage it has now, told or not, and since when. day_ms: when it was told within the last day. What
    is over is remembered for that alone; since_ms is 0 then.
    """

    key: str
    since_ms: int
    told_ms: int = 0
    stage: str = ""
    text: str = ""
    gone_ms: int = 0
    seen: str = ""
    seen_ms: int = 0
    day_ms: list[int] = []


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """All troubles that stand or were told and not taken back, and when notifications of the last day went out."""

    entries: list[Entry] = []
    sent_ms: list[int] = []


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be told now, and the book as it is once that was taken on."""

    book: Book
    new: list[Trouble]
    solved: list[str]
    """The texts of what was told and is over."""


def plan_telling(found: Iterable[Trouble], book: Book, now_ms: int) -> Plan:
    """Return what is to be told of the troubles that stand now.

    Beyond NOTIFY_PER_DAY it waits for NOTIFY_LATEST_S after the one before, and nothing is lost. One that changes again
    and again, or comes and goes, is told NOTIFY_PER_TROUBLE times a day: an owner who is no friend decides how often.
    """
    sent_ms = _keep_day(book.sent_ms, now_ms)
    may_tell = len(sent_ms) < NOTIFY_PER_DAY or now_ms - max(sent_ms) >= 1000 * NOTIFY_LATEST_S
    # A clock that was ahead and is put right must not silence anything until that time comes.
    known = {entry.key: _bring_back(entry, now_ms) for entry in book.entries}
    standing = {trouble.key: trouble for trouble in found}
    entries, new = list[Entry](), list[Trouble]()
    for key, trouble in standing.items():
        entry = _meet(trouble, known.get(key), now_ms)
        if may_tell and _is_due(trouble, entry, now_ms):
            new.append(trouble)
            entry = _note(trouble, entry, now_ms)
        entries.append(entry)
    left = [entry for key, entry in known.items() if key not in standing]
    gone = [_leave(entry, now_ms) for entry in left if entry.told_ms]
    over = [entry for entry in gone if may_tell and now_ms - entry.gone_ms >= 1000 * NOTIFY_CALM_S]
    untold = [entry for entry in left if not entry.told_ms]
    past = [_forget(entry) for entry in (*over, *untold) if entry.day_ms]
    solved = [entry.text for entry in over]
    if new or solved:
        sent_ms.append(now_ms)
    kept = [*past, *entries, *(entry for entry in gone if entry not in over)]
    return Plan(Book(entries=kept[-NOTIFY_KNOWN:], sent_ms=sent_ms), new, solved)


def read_book(state: State) -> Book:
    """Return what was told so far; of a book that is damaged nothing, so what stands is told again."""
    kept = state.setting(_KEPT)
    try:
        return msgspec.msgpack.decode(kept, type=Book) if kept else Book()
    except msgspec.DecodeError:
        _log.warning("the book of what was told is damaged: what stands is told again")
        return Book()


def keep_book(state: State, book: Book) -> None:
    """Keep what was told, if it changed."""
    kept = msgspec.msgpack.encode(book)
    if kept != state.setting(_KEPT):
        state.put_setting(_KEPT, kept)


def _meet(trouble: Trouble, known: Entry | None, now_ms: int) -> Entry:
    """Return what is known of a trouble that stands."""
    entry = known or Entry(key=trouble.key, since_ms=now_ms)
    changed_ms = entry.seen_ms if entry.seen == trouble.stage else now_ms
    return msgspec.structs.replace(
        entry, since_ms=entry.since_ms or now_ms, gone_ms=0, seen=trouble.stage, seen_ms=changed_ms
    )


def _note(trouble: Trouble, entry: Entry, now_ms: int) -> Entry:
    """Return what is known of a trouble once it is told."""
    told = [*entry.day_ms, now_ms]
    return msgspec.structs.replace(entry, told_ms=now_ms, stage=trouble.stage, text=trouble.text, day_ms=told)


def _is_due(trouble: Trouble, entry: Entry, now_ms: int) -> bool:
    if len(entry.day_ms) >= NOTIFY_PER_TROUBLE:
        return False
    if not entry.told_ms:
        return now_ms - entry.since_ms >= 1000 * trouble.grace_s
    has_changed = trouble.stage != entry.stage and now_ms - entry.seen_ms >= 1000 * trouble.grace_s
    return has_changed or now_ms - entry.told_ms >= 1000 * NOTIFY_AGAIN_S


def _leave(entry: Entry, now_ms: int) -> Entry:
    return msgspec.structs.replace(entry, gone_ms=min(entry.gone_ms or now_ms, now_ms))


def _forget(entry: Entry) -> Entry:
    return Entry(key=entry.key, since_ms=0, day_ms=entry.day_ms)


def _keep_day(times_ms: Iterable[int], now_ms: int) -> list[int]:
    return [time_ms for time_ms in times_ms if now_ms - _DAY_MS < time_ms <= now_ms]


def _bring_back(entry: Entry, now_ms: int) -> Entry:
    return msgspec.structs.replace(
        entry,
        since_ms=min(entry.since_ms, now_ms),
        told_ms=min(entry.told_ms, now_ms) if entry.told_ms else 0,
        seen_ms=min(entry.seen_ms, now_ms),
        day_ms=_keep_day(entry.day_ms, now_ms),
    )
