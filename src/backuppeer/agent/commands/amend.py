"""Commands that change the list of snapshots: forget/plan, forget, tag (control.api routes).

Knows: what a request asks of the list. Must not know: HTTP, how hosts are told. What a person agreed to is what is
done: a plan has a digest, and `forget` refuses when it would now be another one.
"""

import asyncio
from collections.abc import Callable

from backuppeer.agent.agent import Agent
from backuppeer.agent.heap import returning_memory
from backuppeer.agent.jobs.amend import AmendJob, Outcome
from backuppeer.agent.jobs.forgetting import apply_retention, find_named, plan_forgetting
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.reporter import Emit, reporting
from backuppeer.backup.amending import Amendment, Retagging
from backuppeer.backup.browse import list_snapshots
from backuppeer.control.amendments import ForgetPlan, ForgetRequest, ForgetResult, Tagged, TagRequest, TagResult
from backuppeer.errors import IntegrityFault, UserError
from backuppeer.ids import format_peer_id


class AmendCommands:
    """forget/plan, forget, tag."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    @property
    def _vault(self) -> Vault:
        return self._agent.owner.vault

    async def plan_forget(self, request: ForgetRequest, _: Emit) -> ForgetPlan:
        """Say what a `forget` would do; nothing is changed and nobody asked."""
        self._vault.check_writable()
        ruled = apply_retention(request, self._agent.config().sets)
        return await asyncio.to_thread(lambda: plan_forgetting(self._vault, ruled).describe())

    async def forget(self, request: ForgetRequest, emit: Emit) -> ForgetResult:
        """Take snapshots out of the list."""
        ruled = apply_retention(request, self._agent.config().sets)

        def decide() -> Amendment:
            plan = plan_forgetting(self._vault, ruled)
            if plan.digest != request.agreed:
                raise UserError(
                    "the snapshots have changed since the plan was shown: nothing was forgotten",
                    hint="look at the plan again: run the same command once more",
                )
            return Amendment(forgotten=frozenset(plan.victims))

        self._vault.check_writable()
        if not request.agreed:
            raise UserError("forgetting snapshots needs a yes", hint="answer the question, or give --yes")
        done = await self._amend(decide, emit)
        return ForgetResult(
            forgotten=sorted(name.hex() for name in done.amendment.forgotten),
            kept=done.kept,
            peers=[format_peer_id(peer) for peer in done.told],
            left_out=done.left_out,
        )

    async def tag(self, request: TagRequest, emit: Emit) -> TagResult:
        """Change the tags of snapshots."""
        wish = Retagging(
            replace=None if request.replace is None else tuple(request.replace),
            add=tuple(request.add),
            remove=tuple(request.remove),
        )
        self._vault.check_writable()
        wish.check()
        if not request.snapshots:
            raise UserError("no snapshot is named", hint="`backup-peer snapshots` lists them")
        # Ids once and for all: what `latest` or a prefix means may change while hosts are heard.
        names = dict.fromkeys(find_named(self._vault, text) for text in request.snapshots)

        def decide() -> Amendment:
            known = dict(list_snapshots(self._vault.repository.index))
            for name in names:
                find_named(self._vault, name.hex())  # hosts may know of a newer list
                if name not in known:
                    raise IntegrityFault(
                        f"snapshot {name.hex()[:8]} is missing: its tags can't be changed",
                        hint="`backup-peer check` says who may have it, `backup-peer repair` mends what can be mended",
                    )
            after = {name: wish.apply(name, known[name]) for name in names}
            return Amendment(rewritten={name: made for name, made in after.items() if made is not known[name]})

        done = await self._amend(decide, emit)
        changed = [
            Tagged(snapshot=fresh.hex(), before=name.hex(), tags=list(done.amendment.rewritten[name].tags))
            for name, fresh in done.renamed.items()
        ]
        return TagResult(
            changed=changed,
            unchanged=len(names) - len(changed),
            peers=[format_peer_id(peer) for peer in done.told],
            left_out=done.left_out,
        )

    async def _amend(self, decide: Callable[[], Amendment], emit: Emit) -> Outcome:
        self._vault.check_idle()
        async with self._vault.busy, returning_memory(), reporting(emit) as reporter:
            return await AmendJob(self._vault, reporter).run(decide)
