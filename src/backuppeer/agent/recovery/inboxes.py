"""Recovery inboxes opened: who keeps packs of ours, as the hosts themselves left word of it (ADR 46).

Knows: slots, servers, which signatures make a note count. Must not know: the words; how a host is reached, what is
done with its head. What lies in an inbox may be anything: only a note that opens with our key, is signed by its host
and holds an agreement that both signed counts, and each statement in it must be what it should be.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from backuppeer.agent.home.keyring import HomeKeys
from backuppeer.agent.peers.whereabouts import Whereabouts, read_binding
from backuppeer.crypto.envelope import EnvelopeKey
from backuppeer.crypto.recovery import Slot, derive_inbox, derive_slot, quarter_of
from backuppeer.errors import BackupPeerError, IntegrityFault, PeerFault, ProtocolViolation, Unavailable
from backuppeer.ids import AgreementId, PeerId
from backuppeer.limits import CLOCK_SKEW_S, NOTE_KEPT_S, RECOVERY_SLOTS, SERVERS
from backuppeer.proof.statements import (
    Agreement,
    Head,
    HeadReceipt,
    is_newer,
    open_statement,
    peek_statement,
    statement_hash,
)
from backuppeer.proof.succession import IN_REVISION, open_succession
from backuppeer.proof.writer import verify_head
from backuppeer.signaling.note import Note, open_note
from backuppeer.signaling.postbox import find_notes
from backuppeer.signaling.servers import authority, is_safe_foreign

_log = structlog.get_logger()
_SKEW_MS: Final = CLOCK_SKEW_S * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundNote:
    """A note that counts, its statements checked. `head`: None when the host held none."""

    slot: int
    host: PeerId
    agreement: AgreementId
    signed: bytes
    """The agreement, as both signed it."""
    revision: int
    head: Head | None
    signed_head: bytes
    grant: bytes
    receipt: bytes
    where: Whereabouts
    servers: tuple[str, ...]
    time_ms: int


@dataclass(slots=True)
class Inboxes:
    """What was found: the newest note of each agreement. `failed`: servers that could not be asked, with the reason."""

    notes: dict[AgreementId, FoundNote] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    failed: dict[str, BackupPeerError] = field(default_factory=dict)
    succession: bytes = b""
    """Signed: this identity goes on as another, says the agreement of a note."""

    def add(self, note: FoundNote) -> None:
        """Keep a note unless a later one of its agreement is known."""
        known = self.notes.get(note.agreement)
        if known is None or (note.time_ms, note.revision) > (known.time_ms, known.revision):
            self.notes[note.agreement] = note


async def open_inboxes(keys: HomeKeys, servers: Sequence[str], now_ms: int) -> Inboxes:
    """Look for notes at `servers`, then at those that the notes name, side by side.

    Servers that only a note names are the word of a peer: dialled if they are `wss://` and public.
    """
    slots = await asyncio.to_thread(_derive_slots, keys)
    found, wanted = Inboxes(), list(dict.fromkeys(servers))
    while wanted:
        found.asked += wanted
        await asyncio.gather(*(_look(keys, slots, url, now_ms, found) for url in wanted))
        named = dict.fromkeys(url for note in found.notes.values() for url in note.servers)
        room = max(0, SERVERS - len(found.asked))
        wanted = [url for url in named if url not in found.asked and is_safe_foreign(url)][:room]
    return found


def _derive_slots(keys: HomeKeys) -> list[Slot]:
    return [derive_slot(keys.working, number) for number in range(RECOVERY_SLOTS)]


def quarters_to_open(now_ms: int) -> list[int]:
    """Return the quarters in which a note that is still kept may have been left, by a clock that may be a bit wrong."""
    oldest_ms = now_ms - NOTE_KEPT_S * 1000 - _SKEW_MS
    return sorted({quarter_of(time_ms) for time_ms in (oldest_ms, now_ms, now_ms + _SKEW_MS)})


async def _look(keys: HomeKeys, slots: Sequence[Slot], url: str, now_ms: int, found: Inboxes) -> None:
    """Look into all slots' inboxes at one server."""
    quarters = quarters_to_open(now_ms)
    inboxes = {
        (number, quarter): derive_inbox(slot.seed, authority(url), quarter)
        for number, slot in enumerate(slots)
        for quarter in quarters
    }
    try:
        lying = await find_notes(url, list(inboxes.values()))
    except (Unavailable, PeerFault) as exc:
        found.failed[url] = exc
        return
    for (number, _), inbox in inboxes.items():
        sealed = lying.get(inbox.public)
        read = _read(number, slots[number].opener, inbox.public, sealed) if sealed else None
        if read is not None and (succession := find_succession(keys, read)):
            found.succession = succession
            continue
        note = _check(keys, number, read) if read is not None else None
        if note is not None and note.time_ms > now_ms + _SKEW_MS:
            # It would outlast all that its host leaves from now on, and no calendar may have its time.
            _log.warning("a note is of the future: is this clock right?", slot=number)
            continue
        if note is not None:
            found.add(note)


def _read(slot: int, opener: EnvelopeKey, inbox: bytes, sealed: bytes) -> Note | None:
    try:
        return open_note(sealed, opener, inbox=inbox)
    except IntegrityFault:
        return None  # nothing lies there: a server answers with as many random bytes then
    except PeerFault as exc:
        _log.warning("a note can't be read", slot=slot, reason=exc.message[:200])
        return None


def _check(keys: HomeKeys, slot: int, note: Note) -> FoundNote | None:
    try:
        return check_note(keys, slot, note)
    except PeerFault as exc:
        _log.warning("a note does not count", slot=slot, reason=exc.message[:200])
        return None


def find_succession(keys: HomeKeys, note: Note) -> bytes:
    """Return the signed succession that the agreement of a note carries, if it leads on from this identity; else b"".

    Its authority is that of the words, so no host can make one up.
    """
    try:
        agreement = peek_statement(Agreement, note.agreement)
        signed = agreement.ext.get(IN_REVISION, b"")
        if not signed or agreement.authority != keys.authority:
            return b""
        said = open_succession(signed, keys.authority)
    except PeerFault:
        return b""
    return signed if said.old == keys.peer else b""


def check_note(keys: HomeKeys, slot: int, note: Note) -> FoundNote:
    """Return what a note says if all of it is signed by whom it should be.

    Raises:
        PeerFault: it is not, or the agreement is not ours, or the head is of another repository.

    """
    host = PeerId(note.host)
    agreement = keys.open_terms(note.agreement, host)
    if agreement.authority != keys.authority:
        raise ProtocolViolation("its agreement is under another authority")
    # One of a newer version is not looked at: the host is found all the same, and then the person is told.
    is_readable = bool(note.head) and not (is_newer(note.head) or is_newer(note.grant))
    head = _check_head(keys, note, agreement) if is_readable else None
    return FoundNote(
        slot=slot,
        host=host,
        agreement=AgreementId(agreement.agreement),
        signed=note.agreement,
        revision=agreement.revision,
        head=head,
        signed_head=note.head,
        grant=note.grant,
        receipt=note.receipt,
        where=read_binding(note.binding, host),
        servers=tuple(note.servers),
        time_ms=note.time_ms,
    )


def _check_head(keys: HomeKeys, note: Note, agreement: Agreement) -> Head:
    """Check that a writer of ours made the head, for this repository, and that the host signed to hold just that."""
    head = verify_head(note.head, note.grant, keys.authority)
    receipt = open_statement(HeadReceipt, note.receipt, PeerId(note.host))
    if head.repository != agreement.repository:
        raise ProtocolViolation("its head is of another repository")
    if (receipt.agreement, receipt.head_hash, receipt.number) != (
        agreement.agreement,
        statement_hash(note.head),
        head.number,
    ):
        raise ProtocolViolation("its receipt is for another head")
    return head
