"""The messages by which both sides keep one and the same agreement, and end it (docs/protocol.md, "Terms").

Knows: shapes and sizes. Must not know: who may say what when (wire.table), what the statements say (`proof`). `signed`,
`revisions` and `notices` are the exact signed bytes of statements.
"""

from typing import Annotated

from msgspec import Meta

from backuppeer.limits import TERMS_PAGE
from backuppeer.wire.fields import Agreement, Message, Signed, Size


class GetTerms(Message, frozen=True, kw_only=True):
    """Opener: asks for the revisions of an agreement above number `after`, and for the notices that stand."""

    agreement: Agreement
    after: Size = 0


class TermsAre(Message, frozen=True, kw_only=True):
    """Answer to GetTerms: co-signed revisions in ascending order, and the newest notice of each side that gave one."""

    revisions: Annotated[tuple[Signed, ...], Meta(max_length=TERMS_PAGE)] = ()
    more: bool = False
    notices: Annotated[tuple[Signed, ...], Meta(max_length=2)] = ()
    left_s: Size = 0
    """If a notice ends the agreement: for how many seconds of the host's uptime all of it is still kept."""


class PutTerms(Message, frozen=True, kw_only=True):
    """Opener: the next co-signed revision, for a side that lost it."""

    agreement: Agreement
    signed: Signed


class TermsPut(Message, frozen=True, kw_only=True):
    """Answer to PutTerms: number of the revision in force now."""

    revision: Size = 0


class GiveNotice(Message, frozen=True, kw_only=True):
    """Opener: a signed Notice of the sender; `device_sig` of the writing device over it, as in DeletePacks."""

    agreement: Agreement
    signed: Signed
    device_sig: Annotated[bytes, Meta(max_length=64)] = b""
    left_s: Size = 0
    """Of a host's notice: for how many seconds of its uptime all of it is still kept."""


class NoticeTaken(Message, frozen=True, kw_only=True):
    """Answer to GiveNotice: for how many seconds of the host's uptime all of it is kept; 0 of a notice taken back."""

    left_s: Size = 0


class GiveWaiver(Message, frozen=True, kw_only=True):
    """Opener: a signed PurgeWaiver or EndWaiver; a LockWaiver is part of the revision that it is for."""

    agreement: Agreement
    signed: Signed


class WaiverTaken(Message, frozen=True, kw_only=True):
    """Answer to GiveWaiver: how many packs go now, and their bytes; 0 of one that was done before."""

    packs: Size = 0
    size_bytes: Size = 0
