"""Invites of this host: who was promised space without a question, how much, how often, until when (ADR 75).

Knows: what is kept of each, and the counting. Must not know: knocks, servers, what a slot says.

A use is taken by an owner, once, before anything else comes of its knock, and durably: so a crash between use and
answer costs nobody anything (the same owner asks again and has its use already), and no number of knocks at once takes
more uses than there are. A use is for one agreement: `settle` closes it before that is signed.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Final

import msgspec

from backuppeer.agent.home.state import State
from backuppeer.clock import Clock
from backuppeer.crypto.invitation import INVITE_NAME_BYTES, Invitation, derive_invitation, make_secret
from backuppeer.errors import BackupPeerError, NotFoundError, RefusedError, UserError
from backuppeer.ids import PeerId
from backuppeer.limits import (
    INVITE_LABEL_CHARS,
    INVITE_LIFE_MOST_S,
    INVITE_USES_MOST,
    INVITES_KEPT,
    REQUEST_PREFIX_CHARS,
)

_KEPT: Final = "host.invites"
_SEE: Final = "`backup-peer invite list` shows them"


class InviteState(StrEnum):
    """Where an invite stands, as its host's person is told."""

    LIVE = "live"
    USED_UP = "used up"
    EXPIRED = "expired"
    REVOKED = "revoked"


class InviteRefused(RefusedError):  # noqa: N818 - errors.py's own way of naming a no
    """An invite that gives nothing, or not that much."""


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """One owner that came with an invite. is_settled: an agreement came of it."""

    owner: PeerId
    time_ms: int
    is_settled: bool = False


class IssuedInvite(msgspec.Struct, frozen=True, kw_only=True):
    """One invite. storage_bytes: to each that comes. revoked_ms: 0 = it is not."""

    secret: bytes
    label: str
    uses: int
    storage_bytes: int
    created_ms: int
    expires_ms: int
    revoked_ms: int = 0
    used: tuple[Use, ...] = ()

    def __repr__(self) -> str:
        """Show nothing of the secret."""
        return f"IssuedInvite({self.label!r}, {len(self.used)} of {self.uses})"

    def state(self, now_ms: int) -> InviteState:
        """Return where it stands; what its person did themselves is said first."""
        if self.revoked_ms:
            return InviteState.REVOKED
        if len(self.used) >= self.uses:
            return InviteState.USED_UP
        return InviteState.LIVE if now_ms < self.expires_ms else InviteState.EXPIRED

    def use_of(self, owner: PeerId) -> Use | None:
        """Return the use that an owner has taken."""
        return next((use for use in self.used if use.owner == owner), None)


_DECODER: Final = msgspec.msgpack.Decoder(list[IssuedInvite])


class Invites:
    """All invites of this home, kept as one setting. From any thread."""

    def __init__(self, state: State, own: PeerId, clock: Clock) -> None:
        self._state, self._own, self._clock = state, own, clock
        self._lock = threading.Lock()
        self.on_change: Callable[[], None] = lambda: None
        """Called after an invite was made, used or revoked; from the thread that did so."""

    def create(self, *, label: str, uses: int, storage_bytes: int, life_s: int) -> IssuedInvite:
        """Make an invite and keep it.

        Raises:
            UserError: a number is out of its range.
            RefusedError: too many are live.

        """
        _check(label, uses, life_s)
        now_ms = self._clock.now_ms()
        made = IssuedInvite(
            secret=make_secret(),
            label=label,
            uses=uses,
            storage_bytes=storage_bytes,
            created_ms=now_ms,
            expires_ms=now_ms + life_s * 1000,
        )
        with self._lock:
            self._write([*self._make_place(self.list_all(), now_ms), made])
        self.on_change()
        return made

    def list_all(self) -> list[IssuedInvite]:
        """Return all that are kept, oldest first."""
        raw = self._state.setting(_KEPT)
        return _DECODER.decode(raw) if raw else []

    def count_live(self) -> int:
        """Return how many let somebody in."""
        now_ms = self._clock.now_ms()
        return sum(invite.state(now_ms) is InviteState.LIVE for invite in self.list_all())

    def keys_of(self, invite: IssuedInvite) -> Invitation:
        """Return what follows from an invite's secret."""
        return derive_invitation(invite.secret, self._own)

    def name_of(self, invite: IssuedInvite) -> str:
        """Return what an invite is called in lists: 16 hex digits."""
        return self.keys_of(invite).name.hex()

    def find(self, text: str) -> IssuedInvite:
        """Return the invite whose id begins with `text`, or whose label it is.

        Raises:
            NotFoundError: none.
            UserError: several, or too short an id.

        """
        rows = [(self.name_of(invite), invite) for invite in self.list_all()]
        named = [invite for _, invite in rows if text and invite.label == text]
        if not named and len(text) < REQUEST_PREFIX_CHARS:
            raise UserError(f"{text!r} is too short for an invite's id", hint=_SEE)
        found = named or [invite for name, invite in rows if name.startswith(text.lower())]
        if not found:
            raise NotFoundError(f"there is no invite {text[:40]!r}", hint=_SEE)
        if len(found) > 1:
            raise UserError(f"{text!r} fits {len(found)} invites", hint=f"give more of the id; {_SEE}")
        return found[0]

    def revoke(self, text: str) -> IssuedInvite:
        """Take an invite back; agreements that came of it stand.

        Raises:
            as `find`.

        """
        with self._lock:
            known = self.find(text)
            revoked = msgspec.structs.replace(known, revoked_ms=known.revoked_ms or self._clock.now_ms())
            self._replace(revoked)
        self.on_change()
        return revoked

    def take(self, name: bytes, proof: bytes, *, owner: PeerId, nonce: bytes, size_bytes: int) -> IssuedInvite:
        """Have an owner take a use of the invite that its knock proves; the same owner has it again.

        Raises:
            InviteRefused: no such invite, a wrong proof, or it gives nothing any more, or not that much. Who doesn't
                prove to bear it is told the same, whether there is one or not.

        """
        with self._lock:
            known = next((invite for invite in self.list_all() if self.keys_of(invite).name == name), None)
            if known is None or not self.keys_of(known).is_proof(proof, owner, nonce):
                raise InviteRefused("this invite is not valid")
            used = known.use_of(owner)
            self._check_use(known, used)
            if size_bytes > known.storage_bytes:
                raise InviteRefused("this invite gives less than that much space", hint="ask for less")
            if used is None:
                known = msgspec.structs.replace(
                    known, used=(*known.used, Use(owner=owner, time_ms=self._clock.now_ms()))
                )
                # Kept before the caller gives anything for it: whatever fails afterwards, it is counted.
                self._replace(known)
        self.on_change()
        return known

    @contextmanager
    def spending(self, invite: IssuedInvite, owner: PeerId, *, is_first: bool) -> Iterator[None]:
        """Give a use back if what it was taken for fails: there was no room. is_first: nothing else came of it yet."""
        try:
            yield
        except BackupPeerError:
            if is_first:
                self._give_back(invite, owner)
            raise

    def _give_back(self, invite: IssuedInvite, owner: PeerId) -> None:
        with self._lock:
            known = self._again(invite)
            kept = tuple(use for use in known.used if use.owner != owner or use.is_settled)
            self._replace(msgspec.structs.replace(known, used=kept))

    def settle(self, owner: PeerId) -> None:
        """Close the uses of an owner with whom an agreement is about to be signed: it can't have another for them."""
        with self._lock:
            for invite in self.list_all():
                if (use := invite.use_of(owner)) is not None and not use.is_settled:
                    settled = msgspec.structs.replace(use, is_settled=True)
                    used = tuple(settled if other is use else other for other in invite.used)
                    self._replace(msgspec.structs.replace(invite, used=used))

    def spend(self, text: str, owner: PeerId) -> None:
        """Count an invite as used by an owner that has its agreement already: it asks for no other.

        Raises:
            as `find`.

        """
        with self._lock:
            known = self.find(text)
            if known.use_of(owner) is None:
                use = Use(owner=owner, time_ms=self._clock.now_ms(), is_settled=True)
                self._replace(msgspec.structs.replace(known, used=(*known.used, use)))
        self.on_change()

    def gives(self, owner: PeerId, size_bytes: int) -> bool:
        """Tell whether an owner has an open use of an invite that gives this much."""
        for invite in self.list_all():
            use = invite.use_of(owner)
            if use is not None and not use.is_settled and not invite.revoked_ms and size_bytes <= invite.storage_bytes:
                return True
        return False

    def brought(self, owner: PeerId) -> IssuedInvite | None:
        """Return the invite by which an owner came last, if any."""
        came = [(use.time_ms, invite) for invite in self.list_all() if (use := invite.use_of(owner)) is not None]
        return max(came, key=lambda pair: pair[0])[1] if came else None

    def _check_use(self, invite: IssuedInvite, used: Use | None) -> None:
        """Refuse an invite that gives nothing to whoever proves to bear it; an owner's own use outlives its end."""
        state = invite.state(self._clock.now_ms())
        if state is InviteState.REVOKED or (state is InviteState.EXPIRED and used is None):
            raise InviteRefused("this invite is not valid any more")
        if used is not None and used.is_settled:
            raise InviteRefused("you have used this invite already")
        if used is None and state is InviteState.USED_UP:
            raise InviteRefused("this invite was used already: if not by you, then by somebody else who has seen it")

    def _make_place(self, invites: list[IssuedInvite], now_ms: int) -> list[IssuedInvite]:
        """Return the invites without the oldest that is over, where there are too many."""
        if len(invites) < INVITES_KEPT:
            return invites
        over = next((invite for invite in invites if invite.state(now_ms) is not InviteState.LIVE), None)
        if over is None:
            raise RefusedError(f"{INVITES_KEPT} invites are live", hint="take one back: `backup-peer invite revoke ID`")
        return [invite for invite in invites if invite is not over]

    def _again(self, invite: IssuedInvite) -> IssuedInvite:
        return next((known for known in self.list_all() if known.secret == invite.secret), invite)

    def _replace(self, changed: IssuedInvite) -> None:
        self._write([changed if known.secret == changed.secret else known for known in self.list_all()])

    def _write(self, invites: list[IssuedInvite]) -> None:
        self._state.put_setting(_KEPT, msgspec.msgpack.encode(invites))


def read_claim(raw: bytes) -> tuple[bytes, bytes]:
    """Return (name, proof) of what a knock says of an invite; what is cut short proves nothing."""
    return raw[:INVITE_NAME_BYTES], raw[INVITE_NAME_BYTES:]


def _check(label: str, uses: int, life_s: int) -> None:
    if not 1 <= uses <= INVITE_USES_MOST:
        raise UserError(f"--uses is 1 to {INVITE_USES_MOST}", hint="make several invites for more people")
    if not 60 <= life_s <= INVITE_LIFE_MOST_S:
        raise UserError(
            f"--expires is a minute to {INVITE_LIFE_MOST_S // 86400} days", hint="for example: --expires 24h"
        )
    if len(label) > INVITE_LABEL_CHARS or not label.isprintable() or label != label.strip():
        raise UserError(f"--name is up to {INVITE_LABEL_CHARS} printable characters", hint="for example: --name alice")
