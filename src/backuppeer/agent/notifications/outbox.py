"""Notifications that wait to be sent, each until every place has it: tried again with growing pauses, for a week.

Knows: messages, places by a digest, times. Must not know: what a message is about, how it is brought. It lies in the
state of the home, so a restart loses none. What an address is stays in the settings alone.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import structlog

from backuppeer.agent.home.notify import name_service
from backuppeer.agent.home.state import State
from backuppeer.agent.notifications.courier import Answer
from backuppeer.agent.notifications.message import Message
from backuppeer.clock import format_time
from backuppeer.limits import NOTIFY_KEPT_S, NOTIFY_PENDING, NOTIFY_RETRY_MOST_S, NOTIFY_RETRY_S

_KEPT: Final = "notify.pending"
_MOST_TRIES: Final = 32
_log = structlog.get_logger()


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A message for one place: since when, how often it was tried in vain, when it is next, and what came of it."""

    message: Message
    place: bytes
    since_ms: int
    is_trouble: bool = True
    tries: int = 0
    next_ms: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Round:
    """What waits for one place, the oldest first."""

    url: str
    waiting: list[Waiting]


def digest_place(url: str) -> bytes:
    """Return what stands for an address in the state; 8 bytes."""
    return hashlib.blake2b(url.encode(), digest_size=8, person=b"bp notify").digest()


def read_outbox(state: State) -> list[Waiting]:
    """Return all that waits, the oldest first; nothing where what was kept is damaged."""
    kept = state.setting(_KEPT)
    try:
        return msgspec.msgpack.decode(kept, type=list[Waiting]) if kept else []
    except msgspec.DecodeError:
        _log.warning("the notifications that waited to be sent are damaged, and dropped")
        return []


def keep_outbox(state: State, waiting: Sequence[Waiting]) -> None:
    """Keep what waits, if it changed; the oldest goes beyond NOTIFY_PENDING."""
    kept = msgspec.msgpack.encode(list(waiting)[-NOTIFY_PENDING:])
    if kept != (state.setting(_KEPT) or msgspec.msgpack.encode([])):
        state.put_setting(_KEPT, kept)


def address(message: Message, urls: Sequence[str], now_ms: int, *, is_trouble: bool) -> list[Waiting]:
    """Return a message for each place, due at once."""
    return [
        Waiting(message=message, place=digest_place(url), since_ms=now_ms, is_trouble=is_trouble)
        for url in dict.fromkeys(urls)
    ]


def plan_round(waiting: Sequence[Waiting], urls: Sequence[str], now_ms: int) -> tuple[list[Waiting], list[Round]]:
    """Return what is still worth sending, and all of each place where something is due; the rest is dropped."""
    places = {digest_place(url): url for url in urls}
    kept = [each for each in waiting if each.place in places and now_ms - each.since_ms < 1000 * NOTIFY_KEPT_S]
    rounds = [Round(url, [each for each in kept if each.place == place]) for place, url in places.items()]
    return kept, [found for found in rounds if any(_is_due(each, now_ms) for each in found.waiting)]


def settle(each: Waiting, answer: Answer, now_ms: int) -> Waiting | None:
    """Return what is left to do of a message once a place has answered; None: nothing."""
    if answer.is_sent:
        return None
    wait_s = min(NOTIFY_RETRY_S * 2**each.tries, NOTIFY_RETRY_MOST_S)
    return msgspec.structs.replace(
        each,
        tries=min(each.tries + 1, _MOST_TRIES),
        next_ms=now_ms + int(1000 * wait_s),
        reason=answer.reason,
    )


def put_off(waiting: Sequence[Waiting], until_ms: int) -> list[Waiting]:
    """Return messages that a place is not asked to take before that."""
    return [msgspec.structs.replace(each, next_ms=until_ms) for each in waiting]


def describe_outbox(waiting: Sequence[Waiting], urls: Sequence[str]) -> list[str]:
    """Return a sentence for each place that could not be told, for `status`."""
    names: Mapping[bytes, str] = {digest_place(url): name_service(url) for url in urls}
    said = []
    for place, name in names.items():
        late = [each for each in waiting if each.place == place and each.tries]
        if late:
            count = f"{len(late)} notifications" if len(late) > 1 else "a notification"
            said.append(
                f"{count} could not be sent to {name} since {_write_minute(late[0].since_ms)}: {late[-1].reason}; it "
                "is tried again. `backup-peer notify test` tries now"
            )
    return said


def _write_minute(time_ms: int) -> str:
    return f"{format_time(time_ms)[:16].replace('T', ' ')} UTC"


def _is_due(each: Waiting, now_ms: int) -> bool:
    # A clock that was put back is no reason to wait for longer than the longest pause.
    return each.next_ms <= now_ms or each.next_ms > now_ms + int(1000 * NOTIFY_RETRY_MOST_S)
