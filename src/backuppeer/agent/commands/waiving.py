"""Commands that let things go early: peers/lock/plan, peers/lock, peers/purge/plan, peers/purge (control.api routes).

Knows: what a person is to be shown before the words are typed. Must not know: HTTP, the words; the command signs.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from backuppeer.agent.agent import Agent
from backuppeer.agent.commands.terms import describe_terms
from backuppeer.agent.owner.set_hosts import find_naming, read_sets
from backuppeer.agent.owner.waiving import Standing, check_purgeable
from backuppeer.agent.peers.names import alias_of, name_of, resolve_peer
from backuppeer.agent.reporter import Emit, Reporter
from backuppeer.clock import format_time
from backuppeer.control.terms import TermsResult
from backuppeer.control.waiving import LockPlan, LockRequest, PurgePart, PurgePlan, PurgeRequest, PurgeResult
from backuppeer.errors import UserError
from backuppeer.ids import PeerId, format_peer_id
from backuppeer.proof.revisions import SECOND_MS, wish_of
from backuppeer.proof.statements import peek_statement
from backuppeer.proof.waivers import EndWaiver, PurgeWaiver, Waiver


class WaiveCommands:
    """peers/lock/plan, peers/lock, peers/purge/plan, peers/purge."""

    def __init__(self, agent: Agent) -> None:
        self._agent, self._parts, self._waiving = agent, agent.parts, agent.owner.waiving

    async def plan_lock(self, request: LockRequest, _: Emit) -> LockPlan:
        """Say what another lock would mean."""
        host = resolve_peer(self._parts.state, request.peer)
        first = (await self._waiving.look(host, wait_s=request.wait_s))[0]
        return LockPlan(
            peer_id=format_peer_id(host),
            name=name_of(self._parts.state, host),
            now_s=first.lock_s,
            lock_s=request.lock_s,
            deleted_bytes=first.size_bytes,
            agreement=first.agreement.hex(),
            host=host.hex(),
            terms=first.terms.hex(),
        )

    async def lock(self, request: LockRequest, emit: Emit) -> TermsResult:
        """Have another lock: a higher one is asked for, a lower one is put into force by what the authority signed."""
        host = resolve_peer(self._parts.state, request.peer)
        if request.waiver:
            terms = await self._waiving.lower(host, request.waiver)
            await self._note(host)
        else:
            terms = await self._waiving.revising.change(
                host,
                lambda terms: wish_of(terms)._replace(lock_s=request.lock_s),
                Reporter(emit).state,
                wait_s=request.wait_s,
            )
        return describe_terms(self._agent, host, terms)

    async def plan_purge(self, request: PurgeRequest, _: Emit) -> PurgePlan:
        """Say what would be erased."""
        host = resolve_peer(self._parts.state, request.peer)
        name = name_of(self._parts.state, host)
        if not request.deleted and await self._has_finished(host):
            return PurgePlan(
                peer_id=format_peer_id(host), name=name, deleted=False, packs=0, bytes=0,
                until=format_time(self._parts.clock.now_ms()), is_mass=False, parts=[], is_over=True,
                sets=self._find_sets(host),
            )  # fmt: skip
        found = await self._waiving.look(host)
        if request.deleted and not any(each.packs for each in found):
            await self._note(host)  # erased before, and the answer was lost
        parts = check_purgeable(found, is_end=not request.deleted, name=name)
        return PurgePlan(
            peer_id=format_peer_id(host),
            name=name,
            deleted=request.deleted,
            packs=sum(each.packs for each in parts),
            bytes=sum(each.size_bytes if request.deleted else each.used_bytes for each in parts),
            until=self._until(parts, is_end=not request.deleted),
            is_mass=any(each.is_mass for each in parts),
            parts=[
                PurgePart(
                    agreement=each.agreement.hex(),
                    host=host.hex(),
                    terms=each.terms.hex(),
                    packs=each.packs,
                    packs_root=each.root.hex(),
                    notice=each.notice,
                )
                for each in parts
            ],
            sets=[] if request.deleted else self._find_sets(host),
        )

    async def purge(self, request: PurgeRequest, _: Emit) -> PurgeResult:
        """Have a host erase at once what the authority signed."""
        host = resolve_peer(self._parts.state, request.peer)
        kind: type[Waiver] = PurgeWaiver if request.deleted else EndWaiver
        if not request.waivers:
            raise UserError("erasing at once needs your 24 words", hint="`backup-peer peers purge` asks for them")
        said = [(peek_statement(kind, signed), signed) for signed in request.waivers]
        packs, size_bytes = 0, 0
        async with self._alone():
            for waiver, signed in said:
                taken = await self._waiving.give(host, waiver.agreement, signed)
                packs, size_bytes = packs + taken.packs, size_bytes + taken.size_bytes
                if not request.deleted:
                    self._waiving.ending.hasten(waiver.agreement)
            self._agent.let_go()
            if request.deleted:
                await self._note(host)
        return PurgeResult(
            peer_id=format_peer_id(host),
            alias=alias_of(self._parts.state, host),
            packs=packs,
            bytes=size_bytes,
            ended=not request.deleted,
        )

    async def _has_finished(self, host: PeerId) -> bool:
        """Whether every agreement with a host turns out to be over by words that it did not answer before."""
        async with self._alone():
            if await self._waiving.finish(host):
                self._agent.let_go()
                return not self._waiving.is_host(host)
        return False

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Let nothing be deleted, revived or written meanwhile."""
        vault = self._agent.owner.vault
        vault.check_idle()
        if vault.pruning.locked():
            raise UserError("a prune is running in this home", hint="wait for it, or cancel it with Ctrl-C")
        async with vault.pruning, vault.busy:
            yield

    async def _note(self, host: PeerId) -> None:
        vault = self._agent.owner.vault
        if vault.repository_id is not None:
            await self._waiving.note_purged(host, vault.repository)

    def _find_sets(self, host: PeerId) -> list[str]:
        return find_naming(read_sets(self._parts.home), self._parts.state, host)

    def _until(self, parts: list[Standing], *, is_end: bool) -> str:
        if not is_end:
            now_ms = self._parts.clock.now_ms()
            return format_time(now_ms + max(each.last_s for each in parts) * SECOND_MS)
        endings = [self._parts.state.deeds.ending(each.agreement) for each in parts]
        return format_time(max(ending.until_ms for ending in endings if ending is not None))
