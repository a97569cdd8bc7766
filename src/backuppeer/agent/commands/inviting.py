"""Commands of invites: make, list and revoke own ones, follow somebody else's (control.api routes).

Knows: the slot, invites, the store's room. Must not know: HTTP, terminals, cards.
"""

import asyncio
from typing import Final

import msgspec

from backuppeer.agent.agent import Agent
from backuppeer.agent.home.identity_alarms import doubts_about
from backuppeer.agent.home.records import RequestState
from backuppeer.agent.host.invites import IssuedInvite
from backuppeer.agent.peers.names import alias_of, check_alias
from backuppeer.agent.peers.offers import Offer, check_storage
from backuppeer.agent.reporter import Emit
from backuppeer.clock import format_time
from backuppeer.control.api import Nothing
from backuppeer.control.events import Event, EventName
from backuppeer.control.inviting import (
    CodeToSay,
    InviteMade,
    InviteNamed,
    InviteOpened,
    InviteRequest,
    InviteRow,
    InviteSpoken,
    InviteText,
    InviteUse,
)
from backuppeer.errors import BackupPeerError, NotFoundError, UserError
from backuppeer.ids import PeerId, format_peer_id
from backuppeer.limits import INVITE_LIFE_S, SPOKEN_LEFT_S, SPOKEN_S, STORAGE_MIN_BYTES
from backuppeer.signaling.card import read_gift
from backuppeer.signaling.invite import Invite, format_invite, parse_invite
from backuppeer.signaling.nameplate import SpokenCode, is_spoken, parse_code
from backuppeer.sizes import format_size

_USUAL_BYTES: Final = 20 * 10**9
_REVOKED: Final = "the invite was taken back"


class InviteCommands:
    """invite, invite/create, invite/speak, invite/revoke, invite/open."""

    def __init__(self, agent: Agent) -> None:
        self._agent, self._parts = agent, agent.parts
        self._invites = agent.host.requests.invites

    async def create(self, request: InviteRequest, _: Emit) -> InviteMade:
        """Make an invite, and return it once it leads to the slot."""
        offer, free = await self._look_at_slot()
        made, servers = await self._make(request, request.expires_s or INVITE_LIFE_S, free)
        return self._describe_made(made, offer, servers, free)

    async def speak(self, request: InviteRequest, emit: Emit) -> InviteSpoken:
        """Make an invite, and hand it to who says a code that is shown here; who does is a friend by that."""
        if request.uses != 1:
            raise UserError("a spoken code is for one person", hint="leave --uses out")
        offer, free = await self._look_at_slot()
        made, servers = await self._make(request, SPOKEN_S + SPOKEN_LEFT_S, free)
        expires = format_time(self._parts.clock.now_ms() + SPOKEN_S * 1000)

        async def show(code: SpokenCode) -> None:
            said = CodeToSay(code=str(code), expires=expires)
            await emit(Event(event=EventName.CODE, data=msgspec.to_builtins(said)))

        try:
            text = self._write(made, servers)
            guest = await self._agent.host.inviting.speaking.hand_over(text, list(offer.servers), show)
        except BaseException:  # a person who left before it was said as well
            self._invites.revoke(self._invites.name_of(made))
            raise
        self._befriend(guest)
        leases = await asyncio.to_thread(self._agent.host.premises.leases_of, guest)
        if leases:
            self._invites.spend(self._invites.name_of(made), guest)
        return InviteSpoken(
            invite_id=self._invites.name_of(made),
            peer_id=format_peer_id(guest),
            alias=alias_of(self._parts.state, guest) or made.label,
            storage_bytes=made.storage_bytes,
            agreed_bytes=sum(lease.terms.size_bytes for lease in leases),
        )

    def _befriend(self, peer: PeerId) -> None:
        """Count a peer as a friend who said the same words; while an alarm stands, only words compared end it."""
        if not doubts_about(self._parts.state, peer):
            self._parts.state.befriend(peer, self._parts.clock.now_ms())

    async def _look_at_slot(self) -> tuple[Offer, int]:
        """Return what is on offer, and how much of it is left."""
        offer = self._agent.host.hosting.offer
        if offer is None:
            raise NotFoundError(
                "nothing is on offer here, so an invite would lead nowhere",
                hint="offer space to invited peers alone: `backup-peer host --storage 50GB --unlisted --detach`",
            )
        return offer, await asyncio.to_thread(self._agent.host.hosting.free_bytes, offer)

    async def _make(self, request: InviteRequest, life_s: int, free_bytes: int) -> tuple[IssuedInvite, list[str]]:
        size_bytes = _choose_size(request.storage, free_bytes)
        check_alias(self._parts.state, request.name if request.uses == 1 else "", self._parts.keys.peer)
        made = self._invites.create(label=request.name, uses=request.uses, storage_bytes=size_bytes, life_s=life_s)
        try:
            return made, await self._agent.host.inviting.deliver(made)
        except BackupPeerError:
            self._invites.revoke(self._invites.name_of(made))
            raise

    async def list_all(self, _: Nothing, __: Emit) -> list[InviteRow]:
        """Return all invites that are kept, oldest first."""
        return [self._row(invite) for invite in self._invites.list_all()]

    async def revoke(self, request: InviteNamed, _: Emit) -> InviteRow:
        """Take an invite back, and what it gave to whoever has no agreement yet."""
        revoked = self._invites.revoke(request.invite)
        for use in revoked.used:
            waiting = None if use.is_settled else self._agent.host.requests.open_request(use.owner)
            if waiting is not None and waiting.state is RequestState.ACCEPTED:
                self._agent.host.requests.turn_down(waiting, _REVOKED)
        return self._row(revoked)

    async def open(self, request: InviteText, _: Emit) -> InviteOpened:
        """Keep an invite, and return where it leads."""
        invited, servers = self._agent.owner.knocking.invited, self._agent.servers(request.servers)
        is_said = is_spoken(request.text)
        if is_said:
            invite = await self._agent.owner.knocking.saying.say(parse_code(request.text), servers)
            invited.keep(invite)  # at once: the code is burnt by now, and what comes next may fail
        else:
            invite = parse_invite(request.text)
        if invite.host == self._parts.keys.peer:
            raise UserError("that is an invite to your own slot", hint="it is for somebody else")
        invited.check_time(invite)
        found = await invited.look(invite, servers)
        invited.keep(invite)
        if is_said:
            self._befriend(invite.host)
        peer_id = format_peer_id(invite.host)
        agreed = any(host == invite.host for _, host, _ in self._parts.state.agreements())
        return InviteOpened(peer_id=peer_id, storage_bytes=read_gift(found.listing), verified=is_said, agreed=agreed)

    def _write(self, made: IssuedInvite, servers: list[str]) -> str:
        return format_invite(Invite(self._parts.keys.peer, made.secret, -(-made.expires_ms // 1000), tuple(servers)))

    def _describe_made(self, made: IssuedInvite, offer: Offer, servers: list[str], free_bytes: int) -> InviteMade:
        note = ""
        if made.uses * made.storage_bytes > free_bytes:
            note = (
                f"{made.uses} times {format_size(made.storage_bytes)} is more than the {format_size(free_bytes)} that "
                "are left: who comes when it is full is refused, and may come again"
            )
        return InviteMade(
            invite_id=self._invites.name_of(made),
            invite=self._write(made, servers),
            peer_id=format_peer_id(self._parts.keys.peer),
            name=made.label,
            uses=made.uses,
            storage_bytes=made.storage_bytes,
            expires=format_time(made.expires_ms),
            servers=servers,
            unlisted=offer.unlisted,
            note=note,
        )

    def _row(self, invite: IssuedInvite) -> InviteRow:
        return InviteRow(
            invite_id=self._invites.name_of(invite),
            name=invite.label,
            state=invite.state(self._parts.clock.now_ms()).value,
            uses=invite.uses,
            used=[
                InviteUse(
                    peer_id=format_peer_id(use.owner),
                    alias=alias_of(self._parts.state, use.owner),
                    time=format_time(use.time_ms),
                    agreed=use.is_settled,
                )
                for use in invite.used
            ],
            storage_bytes=invite.storage_bytes,
            created=format_time(invite.created_ms),
            expires=format_time(invite.expires_ms),
        )


def _choose_size(wanted_bytes: int, free_bytes: int) -> int:
    """Return what an invite gives: as wanted, else what is usual, or left if that is less.

    Raises:
        UserError: less than a backup needs, or more than is left.

    """
    if wanted_bytes:
        check_storage(wanted_bytes, example="backup-peer invite create --storage 20GB")
    if max(wanted_bytes, STORAGE_MIN_BYTES) > free_bytes:
        raise UserError(
            f"{format_size(free_bytes)} are left of the slot, and an invite is for {format_size(wanted_bytes)}"
            if wanted_bytes
            else f"{format_size(free_bytes)} are left of the slot, which is too little for an invite",
            hint="offer more: `backup-peer host --storage 100GB`, in all",
        )
    return wanted_bytes or min(_USUAL_BYTES, free_bytes)


def name_invite(agent: Agent, owner: PeerId) -> str:
    """Return the name, else the id, of the invite by which an owner came last; "" = by none."""
    invites = agent.host.requests.invites
    brought = invites.brought(owner)
    return (brought.label or invites.name_of(brought)) if brought is not None else ""
