"""The writing device's word on where its owner wants notes left: which slot, sealed to which key (ADR 46, 51).

Knows: the statement. Must not know: how slots are derived, what a note says. It is never kept: a host compares it with
what it is given, so that no home which was taken over can point the notes elsewhere.
"""

from typing import Annotated, ClassVar

from msgspec import Meta

from backuppeer.crypto.identity import Purpose
from backuppeer.ids import AgreementId
from backuppeer.limits import NOTE_KEY_BYTES, NOTE_SERVERS, SERVER_URL_CHARS
from backuppeer.proof.statements import Count, Extensions, Hash, Statement


class SlotGift(Statement, frozen=True, tag="recovery-slot"):
    """What GiveSlot says, and when; signed by the device that writes the repository of the agreement."""

    purpose: ClassVar[Purpose] = Purpose.RECOVERY_SLOT

    agreement: Annotated[AgreementId, Meta(min_length=16, max_length=16)]
    seed: Hash
    key: Annotated[bytes, Meta(min_length=NOTE_KEY_BYTES, max_length=NOTE_KEY_BYTES)]
    servers: Annotated[list[Annotated[str, Meta(max_length=SERVER_URL_CHARS)]], Meta(max_length=NOTE_SERVERS)]
    time_ms: Count
    v: int = 1
    ext: Extensions = {}  # noqa: RUF012 - msgspec copies it
