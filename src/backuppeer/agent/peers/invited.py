"""Invites of others that this home was given: kept, followed to the slot, proven in a knock (ADR 75).

Knows: what an invite leads to, and that anybody else there is an alarm. Must not know: what is asked for.

An invite is kept as long as it may let us in, and then as long as we have an agreement with its host: of a slot that no
server lists it is the only way to ask the host where it is now.
"""

import structlog
from msgspec import Struct, msgpack, structs

from backuppeer.agent.home.identity_alarms import Sort
from backuppeer.agent.home.state import State
from backuppeer.agent.peers.misbinding import raise_alarm
from backuppeer.agent.peers.names import name_of
from backuppeer.clock import Clock, format_time
from backuppeer.errors import (
    AuthenticationFault,
    IntegrityFault,
    PeerFault,
    PeerUnreachable,
    ProtocolViolation,
    Unavailable,
    UserError,
)
from backuppeer.ids import PeerId
from backuppeer.limits import CARD_LIFE_S, CLOCK_SKEW_S, INVITES_OPENED, SERVERS
from backuppeer.signaling.card import open_card
from backuppeer.signaling.invite import Invite
from backuppeer.signaling.listing import VerifiedListing
from backuppeer.signaling.postbox import find_note
from backuppeer.signaling.servers import authority, is_safe_foreign

_log = structlog.get_logger()
_KEPT = "peers.invites"


class _Kept(Struct, frozen=True):
    """One invite of a host."""

    host: PeerId
    secret: bytes
    expires_s: int
    servers: tuple[str, ...]

    def __repr__(self) -> str:
        """Show nothing of the secret."""
        return f"_Kept({self.host.hex()[:8]})"


_DECODER = msgpack.Decoder(list[_Kept])


class Invited:
    """All invites that this home was given; of each host the last."""

    def __init__(self, state: State, clock: Clock) -> None:
        self._state, self._clock = state, clock

    def keep(self, invite: Invite) -> None:
        """Keep an invite in place of another to the same host; beyond INVITES_OPENED the oldest that is no use goes."""
        others = [kept for kept in self._list() if kept.host != invite.host]
        for kept in list(others):
            if len(others) < INVITES_OPENED:
                break
            if not self._is_host(kept.host):
                others.remove(kept)
        mine = _Kept(invite.host, invite.secret, invite.expires_s, invite.servers)
        self._write([*others[max(0, len(others) - INVITES_OPENED + 1) :], mine])

    def find(self, host: PeerId) -> Invite | None:
        """Return the invite of a host, if it may still let us in or tell where a host of ours is."""
        kept = next((kept for kept in self._list() if kept.host == host), None)
        if kept is None or (self._is_over(kept.expires_s) and not self._is_host(host)):
            return None
        return Invite(kept.host, kept.secret, kept.expires_s, kept.servers)

    def forget(self, host: PeerId) -> None:
        """Forget an invite that its host gives nothing for, unless it leads to a host of ours."""
        if not self._is_host(host):
            self._write([kept for kept in self._list() if kept.host != host])

    def check_time(self, invite: Invite) -> None:
        """Refuse an invite that is over, by this clock with 2 h of skew in its favour.

        Raises:
            UserError: it is.

        """
        if self._is_over(invite.expires_s):
            until = format_time(invite.expires_s * 1000)
            raise UserError(f"this invite was good until {until}", hint="ask its person for another one")

    async def look(self, invite: Invite, servers: list[str]) -> VerifiedListing:
        """Return the slot that an invite leads to; `servers`: those of this home, which may be dialled as they are.

        Raises:
            AuthenticationFault: somebody who bears the invite shows another peer in the host's place. It is an alarm,
                and stays one where the invite led to the host before.
            PeerUnreachable: nothing lies there, or only what the host left too long ago; or none of its servers may be
                dialled, or none answered.

        """
        places = [url for url in invite.servers if url in servers or is_safe_foreign(url)][:SERVERS]
        if not places:
            raise PeerUnreachable(
                f"the invite names {', '.join(invite.servers)}, which this home doesn't use",
                hint="if you know this server, add it to the same command: --server URL",
            )
        found, failures = list[VerifiedListing](), list[Unavailable | PeerFault]()
        for url in places:
            try:
                if (card := await self._look_at(url, invite)) is not None:
                    found.append(structs.replace(card, servers=(url,)))
            except AuthenticationFault as exc:
                # Not of one that was never followed before: anybody can write an invite with somebody else's id.
                if self.find(invite.host) == invite:
                    raise_alarm(self._state, invite.host, Sort.ANSWERED, now_ms=self._clock.now_ms())
                raise AuthenticationFault(
                    f"{exc.message}, which should be that of {name_of(self._state, invite.host)}",
                    hint="somebody else has this invite: tell its person by another way, and ask for a new one",
                ) from exc
            except (Unavailable, PeerFault) as exc:
                failures.append(exc)
        if found:
            newest = max(found, key=lambda card: card.listing.seq)
            return structs.replace(newest, servers=tuple(url for card in found for url in card.servers))
        raise self._explain(places, failures)

    async def _look_at(self, url: str, invite: Invite) -> VerifiedListing | None:
        """Return what lies at one server; None: nothing that counts."""
        keys = invite.keys
        inbox = keys.inbox(authority(url))
        sealed = await find_note(url, inbox)
        try:
            return open_card(sealed, keys.opener(), inbox=inbox.public, host=invite.host, now_ms=self._clock.now_ms())
        except (IntegrityFault, ProtocolViolation) as exc:
            _log.info("no card of an invite", server=url, reason=exc.message[:200])
            return None

    def _explain(self, places: list[str], failures: "list[Unavailable | PeerFault]") -> PeerUnreachable:
        if len(failures) == len(places):
            return PeerUnreachable(failures[0].message, hint="check the network, and try again in a minute")
        return PeerUnreachable(
            "nothing was found under this invite: it was used up or taken back, or its host was away for more than "
            f"{CARD_LIFE_S // 3600} hours",
            hint="ask its person whether the host runs, or for another invite",
        )

    def _is_over(self, expires_s: int) -> bool:
        return self._clock.now_ms() > (expires_s + CLOCK_SKEW_S) * 1000

    def _is_host(self, peer: PeerId) -> bool:
        return any(host == peer for _, host, _ in self._state.agreements())

    def _list(self) -> list[_Kept]:
        raw = self._state.setting(_KEPT)
        return _DECODER.decode(raw) if raw else []

    def _write(self, kept: list[_Kept]) -> None:
        self._state.put_setting(_KEPT, msgpack.encode(kept))
