"""What a host kept to answer an owner's charge with: rebut (control.api route).

Knows: where requests to remove packs are kept, also of agreements that have ended (ADR 45). Must not know: HTTP,
charges; the command judges them.
"""

import asyncio

from backuppeer.agent.agent import Agent
from backuppeer.agent.reporter import Emit
from backuppeer.control.rebutting import KeptRemoval, RebutRequest
from backuppeer.errors import NotFoundError, UserError
from backuppeer.host.store import Store
from backuppeer.ids import AgreementId


class RebutCommands:
    """rebut."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    async def rebut(self, request: RebutRequest, _: Emit) -> KeptRemoval:
        """Return the next request of an owner to remove a pack."""
        return await asyncio.to_thread(self._find_next, request)

    def _find_next(self, request: RebutRequest) -> KeptRemoval:
        agreement, stored = AgreementId(_parse(request.agreement)), _parse(request.stored)
        store = self._agent.host.premises.open()
        lease = store.leases.recall(agreement)
        if lease is None:
            raise NotFoundError(
                "the store of this home has no such agreement",
                hint="a proof is answered by the host that it accuses: is this its home?",
            )
        found = _find_removal(store, agreement, stored, request.after) if stored else KeptRemoval()
        if not request.after:
            found.agreements = [signed.hex() for signed in store.leases.history(agreement)]
            endings = [store.notices.recall(lease), store.waivers.recall_end(lease)]
            found.endings = [signed.hex() for signed in endings if signed]
        return found


def _find_removal(store: Store, agreement: AgreementId, stored: bytes, after: int) -> KeptRemoval:
    for name, kept in store.removals.each_signed(agreement):
        if name.number > after and name.kind != "revive" and stored in kept.packs:
            return KeptRemoval(number=name.number, signed=kept.signed.hex(), packs=[one.hex() for one in kept.packs])
    return KeptRemoval()


def _parse(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as exc:
        raise UserError("an id is not in hex", hint="the command that asks is of another version") from exc
