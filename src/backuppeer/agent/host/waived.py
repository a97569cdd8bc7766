"""What this host's person is yet to see of the owners' 24 words: a lock lowered, packs erased early (ADR 52).

Knows: the state, where it is kept until a person has seen it; the store, which says what a lock is now. Must not know:
statements, sessions. One note for each agreement and kind of deed; of too many the one goes that erased least, so
that owners who agree and end with nothing stored push out no note of others.
"""

import threading
from collections.abc import Iterable
from contextlib import suppress
from enum import StrEnum
from typing import Final

import msgspec
import structlog

from backuppeer.agent.home.state import State
from backuppeer.agent.host.alarms import TO_SEE
from backuppeer.agent.host.premises import Premises
from backuppeer.agent.peers.names import name_of
from backuppeer.agent.peers.room import say_date, say_span
from backuppeer.errors import BackupPeerError, LocalError
from backuppeer.ids import AgreementId, PeerId
from backuppeer.limits import PREMISES_NOTES
from backuppeer.sizes import format_size

_TOLD: Final = "waived.told"
_ASK: Final = "Unless you know why, ask them by another way"
_UNREADABLE: Final = "which owners erased data early with their 24 words can't be read any more: the note is damaged"
_log = structlog.get_logger()


class Deed(StrEnum):
    """What the words did."""

    LOWERED = "lowered"
    PURGED = "purged"
    ENDED = "ended"


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """One deed: whose, in which agreement, when; bytes that went early, or the lock before and after in seconds."""

    owner: bytes
    agreement: bytes
    deed: Deed
    time_ms: int
    size_bytes: int = 0
    before_s: int = 0
    after_s: int = 0


class Waived:
    """The deeds that nobody has seen. Thread-safe."""

    def __init__(self, state: State, premises: Premises) -> None:
        self._state, self._premises = state, premises
        self._lock = threading.Lock()
        self._words, self._is_damaged = _read(state.setting(_TOLD))

    def add(self, word: Word) -> None:
        """Keep a deed until it is seen, together with what was kept of the same kind.

        What was done is done: on a disk that takes no note it is told as long as the agent runs.
        """
        with self._lock:
            same = [kept for kept in self._words if _key(kept) == _key(word)]
            others = [kept for kept in self._words if _key(kept) != _key(word)]
            self._words = _keep_heaviest([*others, _join(same, word)])
            try:
                self._write()
            except LocalError as exc:
                _log.warning("what an owner's words did can't be written down", reason=exc.message)

    def describe(self) -> list[str]:
        """Return a sentence for each, for `status`."""
        notes = [f"{_UNREADABLE}. {TO_SEE}"] if self._is_damaged else []
        return [*notes, *(f"{self.say(word)}. {TO_SEE}" for word in self.list_words())]

    def list_new(self) -> list[str]:
        """Return a sentence for each, for who watches."""
        return [self.say(word) for word in self.list_words()]

    def list_words(self) -> list[Word]:
        """Return those that are not over."""
        with self._lock:
            words = list(self._words)
        return [word for word in words if not self._is_over(word)]

    def see(self) -> list[str]:
        """Note that a person has seen all of them, and return them.

        Raises:
            LocalError: that can't be written down.

        """
        seen = [*([_UNREADABLE] if self._is_damaged else []), *self.list_new()]
        with self._lock:
            # Nothing may be forgotten that came since: whoever is told of it has not seen it yet.
            self._words = [word for word in self._words if self.say(word) not in seen]
            self._write()
            self._is_damaged = False
        return seen

    def say(self, word: Word) -> str:
        """Return what a person should know and do."""
        name, size = name_of(self._state, PeerId(word.owner)), format_size(word.size_bytes)
        when = f"with its 24 words, on {say_date(word.time_ms, 0)}"
        if word.deed is Deed.LOWERED:
            before, after = say_span(word.before_s), say_span(self._lock_of(word) or word.after_s)
            return f"{name} lowered its lock from {before} to {after}, {when}: what it deletes goes sooner. {_ASK}"
        what = "all of its data here" if word.deed is Deed.ENDED else "its deleted data"
        return f"{name} had {what} ({size}) erased at once, {when}. {_ASK}"

    def _is_over(self, word: Word) -> bool:
        """Return whether a lock is as high again as it was."""
        return word.deed is Deed.LOWERED and (self._lock_of(word) or 0) >= word.before_s

    def _lock_of(self, word: Word) -> int | None:
        """Return the lock in force in seconds; None when its agreement is over, or the store away."""
        with suppress(BackupPeerError):
            lease = self._premises.open().leases.find(AgreementId(word.agreement))
            return lease.terms.lock_s if lease is not None else None
        return None

    def _write(self) -> None:
        self._state.put_setting(_TOLD, msgspec.msgpack.encode(self._words))


def _read(kept: bytes | None) -> tuple[list[Word], bool]:
    """Return what was kept, and whether it is damaged."""
    try:
        return (msgspec.msgpack.decode(kept, type=list[Word])[-PREMISES_NOTES:] if kept else []), False
    except msgspec.DecodeError:
        return [], True


def _keep_heaviest(words: list[Word]) -> list[Word]:
    """Return the words but for one of too many: of those that erased data the smallest, the oldest of equal ones."""
    if len(words) <= PREMISES_NOTES:
        return words
    lightest = min(words, key=lambda word: (word.deed is Deed.LOWERED, word.size_bytes, word.time_ms))
    return [word for word in words if word is not lightest]


def _key(word: Word) -> tuple[bytes, Deed]:
    return word.agreement, word.deed


def _join(same: Iterable[Word], word: Word) -> Word:
    """Return the deed with those before it that nobody has seen: bytes in sum, the lock from the highest."""
    for before in same:
        word = msgspec.structs.replace(
            word,
            size_bytes=before.size_bytes + word.size_bytes,
            before_s=max(before.before_s, word.before_s),
        )
    return word
