"""The authority's word that gives up a protection of the owner's data: a lock, deleted packs, a notice (ADR 52).

Knows: the three statements, what each is bound to, for how long one may be told. Must not know: stores, sessions, where
the words are typed. The key exists only while words are typed (DESIGN 3), so a thief of everything on the owner's disk
can make none. None can be told twice: each names one host and the revision in force there, is told within a day, later
than the one before; and a lock's is part of just that revision which lowers it, packs are named by the root of their
set, an end by the number of the notice.
"""

from typing import Annotated, ClassVar, Final, TypeVar

from msgspec import Meta

from backuppeer.crypto.digest import Buffer
from backuppeer.crypto.identity import Purpose
from backuppeer.errors import ProtocolViolation, RefusedError
from backuppeer.ids import AgreementId, PeerId
from backuppeer.limits import WAIVER_WINDOW_S
from backuppeer.proof.statements import (
    Agreement,
    Count,
    Extensions,
    Hash,
    Ordinal,
    Statement,
    open_statement,
    statement_hash,
)
from backuppeer.proof.succession import IN_REVISION as SUCCESSION

IN_REVISION: Final = "waiver"
"""Name among a revision's extensions of the waiver that lets it lower the lock."""


class Waiver(Statement, frozen=True, kw_only=True):
    """Base of all; signed by the agreement's authority. terms: `statement_hash` of the revision in force at `host`."""

    agreement: Annotated[AgreementId, Meta(min_length=16, max_length=16)]
    host: Annotated[PeerId, Meta(min_length=32, max_length=32)]
    terms: Hash
    time_ms: Count


class LockWaiver(Waiver, frozen=True, kw_only=True, tag="lock-waiver"):
    """The next revision may lower the lock to `lock_s` seconds, of what was deleted before, too."""

    purpose: ClassVar[Purpose] = Purpose.LOCK_WAIVER

    lock_s: Count
    v: int = 1
    ext: Extensions = {}  # noqa: RUF012 - msgspec copies it


class PurgeWaiver(Waiver, frozen=True, kw_only=True, tag="purge-waiver"):
    """What is deleted may be erased now: just these `packs`; packs_root: `root_of_set` of their stored ids."""

    purpose: ClassVar[Purpose] = Purpose.PURGE_WAIVER

    packs: Ordinal
    packs_root: Hash
    v: int = 1
    ext: Extensions = {}  # noqa: RUF012 - msgspec copies it


class EndWaiver(Waiver, frozen=True, kw_only=True, tag="end-waiver"):
    """The agreement may end now, and all of it be erased. notice: number of the owner's notice that stands."""

    purpose: ClassVar[Purpose] = Purpose.END_WAIVER

    notice: Ordinal
    v: int = 1
    ext: Extensions = {}  # noqa: RUF012 - msgspec copies it


W = TypeVar("W", bound=Waiver)


def open_waiver(kind: type[W], signed: Buffer, current: Buffer, terms: Agreement) -> W:
    """Return a waiver, having checked that it is the authority's, of this agreement with this host, as it stands.

    current: the co-signed revision in force; terms: what it says.

    Raises:
        AuthenticationFault: another signer.
        ProtocolViolation: malformed, or of another agreement or host.
        RefusedError: the agreement was changed since it was signed.

    """
    waiver = open_statement(kind, signed, terms.authority)
    if (waiver.agreement, waiver.host) != (terms.agreement, terms.host):
        raise ProtocolViolation("a waiver is of another agreement, or for another host")
    if waiver.terms != statement_hash(current):
        raise RefusedError("the agreement was changed since this was signed", hint="run the same command again")
    return waiver


def check_fresh(waiver: Waiver, now_ms: int, *, after_ms: int = 0) -> None:
    """Return if a waiver may be told now. after_ms: time of the one before it.

    Raises:
        RefusedError: signed more than a day ago or ahead, or not later than the one before.

    """
    if abs(now_ms - waiver.time_ms) > WAIVER_WINDOW_S * 1000:
        raise RefusedError(
            "this was signed more than a day ago, by the host's clock",
            hint="run the same command again; check the clocks of both computers",
        )
    if waiver.time_ms <= after_ms:
        raise RefusedError("a later word of this kind is known", hint="check the clock of your computer, and try again")


def check_lowered(current: Buffer, old: Agreement, new: Agreement) -> LockWaiver | None:
    """Return the waiver by which a revision lowers the lock, None of one that does not lower it.

    When it was signed is not looked at: a chain is read years later.

    Raises:
        RefusedError: it lowers the lock without one.
        AuthenticationFault, ProtocolViolation: it has one that does not hold, or none is needed.

    """
    signed = new.ext.get(IN_REVISION)
    if new.lock_s >= old.lock_s:
        if signed is not None:
            raise ProtocolViolation("a revision has a waiver and lowers nothing")
        return None
    if signed is None:
        raise RefusedError(
            "a revision may not lower the lock", hint="only the 24 words can: `backup-peer peers lock PEER 7d`"
        )
    waiver = open_waiver(LockWaiver, signed, current, old)
    if waiver.lock_s != new.lock_s:
        raise ProtocolViolation("a revision lowers the lock to something else than its waiver says")
    return waiver


def lasting_fields(terms: Agreement) -> dict[str, bytes]:
    """Return what a revision has beside its fields, without the words of an authority that were for it alone."""
    return {name: value for name, value in terms.ext.items() if name not in {IN_REVISION, SUCCESSION}}
