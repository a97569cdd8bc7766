"""Commands that change agreements: peers/resize, peers/renew, requests/offer (control.api routes).

Knows: what a change asks for, how terms look to a person. Must not know: HTTP, how both sides come to agree.
"""

import asyncio
import shlex

from backuppeer.agent.agent import Agent
from backuppeer.agent.commands.ending import HOST, EndCommands
from backuppeer.agent.commands.host import HostCommands
from backuppeer.agent.commands.wishes import terms_with
from backuppeer.agent.peers.names import alias_of, name_of, resolve_peer
from backuppeer.agent.peers.offers import check_storage, choose_promises, describe_promises
from backuppeer.agent.reporter import Emit, Reporter
from backuppeer.clock import format_time
from backuppeer.control.api import PendingRequest
from backuppeer.control.promises import NO_WISH
from backuppeer.control.terms import OfferRequest, RenewRequest, ResizeRequest, TermsResult
from backuppeer.errors import UserError
from backuppeer.ids import PeerId, format_peer_id
from backuppeer.limits import STORAGE_MIN_BYTES, TERM_DEFAULT_S, TERM_ROUND_S
from backuppeer.proof.revisions import SECOND_MS, Wish, end_ms, promises_of, wish_of
from backuppeer.proof.statements import Agreement


class TermsCommands:
    """peers/resize, peers/renew, requests/offer."""

    def __init__(self, agent: Agent, host: HostCommands, ends: EndCommands) -> None:
        self._agent, self._parts, self._host, self._ends = agent, agent.parts, host, ends

    async def resize(self, request: ResizeRequest, emit: Emit) -> TermsResult:
        """Have another size agreed on."""
        if request.storage:
            example = f"backup-peer peers resize {shlex.quote(request.peer)} 10GB"
            check_storage(request.storage, example=example, what="the size")
        host = resolve_peer(self._parts.state, request.peer)

        def want(terms: Agreement) -> Wish:
            now = wish_of(terms)
            promises = choose_promises(request.promises, now.promises)
            return now._replace(size_bytes=request.storage or now.size_bytes, promises=promises)

        terms = await self._agent.owner.revising.change(host, want, Reporter(emit).state, wait_s=request.wait_s)
        return self._describe(host, terms)

    async def renew(self, request: RenewRequest, emit: Emit) -> TermsResult:
        """Have the agreement run for longer; a notice of our own is taken back, which needs nobody's yes."""
        host = resolve_peer(self._parts.state, request.peer)
        if self._ends.find_side(host, request.side) == HOST:
            return await self._take_back_as_host(host)
        if self._agent.owner.ending.is_ended_by_us(host):
            ended = await self._agent.owner.ending.take_back(host)
            terms = terms_with(self._agent, host)
            if terms is not None and (request.term_s is None or not ended.told):
                return self._describe(host, terms, taken_back=True, told=ended.told)
        term_s = TERM_DEFAULT_S if request.term_s is None else request.term_s
        terms = await self._agent.owner.revising.change(
            host, lambda terms: self._longer(terms, term_s), Reporter(emit).state, wait_s=request.wait_s
        )
        return self._describe(host, terms)

    async def offer(self, request: OfferRequest, _: Emit) -> PendingRequest:
        """Offer other terms to somebody who asks for space."""
        if (request.storage, request.term_s, request.lock_s, request.promises) == (None, None, None, NO_WISH):
            raise UserError("nothing else is offered", hint="name what: --storage, --term, --lock or --availability")
        if request.storage is not None and request.storage < STORAGE_MIN_BYTES:
            check_storage(request.storage, example="backup-peer requests offer REQUEST --storage 5GB")
        record = await asyncio.to_thread(
            self._agent.host.revising.offer,
            request.request,
            size_bytes=request.storage,
            term_s=request.term_s,
            lock_s=request.lock_s,
            promises=request.promises,
        )
        return await self._host.describe(record)

    async def _take_back_as_host(self, owner: PeerId) -> TermsResult:
        agreements = await asyncio.to_thread(self._agent.host.ending.take_back, owner)
        told = await self._ends.tell_owner(owner, agreements)
        lease = self._agent.host.premises.leases_of(owner)[0]
        return self._describe(owner, lease.terms, taken_back=True, told=told)

    def _longer(self, terms: Agreement, term_s: int) -> Wish:
        """Return the wish for a term that runs for `term_s` from now on.

        Raises:
            UserError: it runs for longer already.

        """
        passed_s = max(0, self._parts.clock.now_ms() - terms.start_ms) // SECOND_MS
        # Whole days: asked for again on the same day, it is the same request.
        wanted_s = -(-(passed_s + term_s) // TERM_ROUND_S) * TERM_ROUND_S
        if wanted_s < terms.term_s:
            name = name_of(self._parts.state, PeerId(terms.host))
            raise UserError(
                f"the agreement with {name} runs until {format_time(end_ms(terms))[:10]} already",
                hint="give a longer --term",
            )
        return wish_of(terms)._replace(term_s=wanted_s)

    def _describe(self, host: PeerId, terms: Agreement, *, taken_back: bool = False, told: bool = True) -> TermsResult:
        return describe_terms(self._agent, host, terms, taken_back=taken_back, told=told)


def describe_terms(
    agent: Agent, host: PeerId, terms: Agreement, *, taken_back: bool = False, told: bool = True
) -> TermsResult:
    """Return terms as people are shown them; as `TermsResult`."""
    return TermsResult(
        peer_id=format_peer_id(host),
        alias=alias_of(agent.parts.state, host),
        revision=terms.revision,
        quota_bytes=terms.size_bytes,
        term_s=terms.term_s,
        lock_s=terms.lock_s,
        until=format_time(end_ms(terms)),
        promises=describe_promises(promises_of(terms)),
        taken_back=taken_back,
        told=told,
    )
