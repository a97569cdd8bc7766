"""A new identity: what a person is to know before it, and hosts told of it (ADR 69).

Knows: the order of these steps. Must not know: the words; the command signed the succession, and this agent was started
with it. This agent is the identity of before to its end: once a host has followed, the home's keys are those of the
heir, and the agent that is started next is the heir.
"""

import asyncio
import secrets
from typing import Final, NamedTuple

from backuppeer.agent.home.heir import FormerSelf, Heir, is_begun, take_place
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.keyring import HomeKeys
from backuppeer.agent.home.state import State
from backuppeer.agent.jobs.take_over import TakeOverJob
from backuppeer.agent.owner.announcing import Announcing
from backuppeer.agent.owner.telling import tell_host
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.channel import SucceededError
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.reporter import Reporter
from backuppeer.control.saving import LeftOut
from backuppeer.control.succeeding import SuccessionPlan, SuccessionTold
from backuppeer.errors import AuthenticationFault, BackupPeerError, ExitCode, PeerUnreachable, RefusedError, UserError
from backuppeer.ids import AgreementId, PeerId, RepositoryId, format_peer_id
from backuppeer.proof.writer import FIRST_EPOCH

_REPOSITORY_BYTES: Final = 16
_LATER = "it is told whenever it is met, and serves the old identity until then"


class OwnersPlan(NamedTuple):
    """Names of peers that keep backups here: who can follow, who of them is away, who can't."""

    able: list[str]
    absent: list[str]
    stuck: list[str]
    has_slot: bool = False


NO_OWNERS: Final = OwnersPlan([], [], [])


class SuccessionJob:
    """One plan, or one round of telling."""

    def __init__(
        self, home: Home, keys: HomeKeys, state: State, vault: Vault, *, announcing: Announcing, reporter: Reporter
    ) -> None:
        self._home, self._keys, self._state, self._vault = home, keys, state, vault
        self._announcing, self._reporter = announcing, reporter

    async def plan(self, owners: OwnersPlan = NO_OWNERS) -> SuccessionPlan:
        """Hear all hosts, unless there is nothing more to ask; nothing is changed. owners: whose packs are kept here.

        A machine that keeps packs of others and has no host of its own has nobody to hear.

        Raises:
            as `TakeOverJob.plan`.

        """
        plan = SuccessionPlan(
            peer_id=format_peer_id(self._keys.peer),
            is_recovered=not self._vault.is_unrecovered,
            is_begun=is_begun(self._home),
            has_heir=self._keys.heir is not None,
            waiting=[self._vault.name(peer) for peer in self._announcing.waiting()],
            owners=owners.able,
            absent=owners.absent,
            stuck=owners.stuck,
            has_slot=owners.has_slot,
        )
        if not plan.is_recovered or plan.is_begun:
            return plan
        if self._has_hosts() or (self._vault.repository_id is None and not (owners.able or owners.stuck)):
            heard = await TakeOverJob(self._vault, self._keys.peer, self._reporter).plan()
            for name in ("is_writer", "repository", "epoch", "snapshots", "host", "time", "heard", "left_out"):
                setattr(plan, name, getattr(heard, name))
        else:
            # A home of the words alone knows of none that it began; had it one, a host would have named it.
            found = self._vault.repository_id or RepositoryId(secrets.token_bytes(_REPOSITORY_BYTES))
            plan.repository = found.hex()
            plan.epoch = max(FIRST_EPOCH, self._vault.writer.highest_epoch)
            plan.is_alone = self._vault.repository_id is None
        return plan

    def _has_hosts(self) -> bool:
        return bool(self._state.agreements())

    async def tell(self) -> SuccessionTold:
        """Tell all hosts of the heir, side by side, and let it take this home's place once one has followed.

        Who has no host of its own has nobody to wait for: owners are told by the heir, who is met under both names.

        Raises:
            UserError: there is no heir.
            PeerUnreachable: no host has followed, and all is as it was; the same again goes on. With code 12: a host
                follows another heir, or none of two.

        """
        heir = self._keys.heir
        if heir is None:
            raise UserError("no new identity is on its way here", hint="`backup-peer recover --new-identity` makes one")
        partners = self._vault.partners() if self._has_hosts() else []
        self._reporter.begin("telling hosts", unit="host", files_total=len(partners))
        answers = await asyncio.gather(*(self._tell(partner, heir) for partner in partners))
        failed = {partner.peer: error for partner, error in zip(partners, answers, strict=True) if error is not None}
        followed = dict.fromkeys(partner.peer for partner in partners if partner.peer not in failed)
        if not followed and failed:
            raise _explain(next(iter(failed.values()))) from next(iter(failed.values()))
        take_place(self._home, heir, (*self._keys.former, FormerSelf(self._keys.identity, heir.succession)))
        return SuccessionTold(
            peer_id=format_peer_id(heir.peer),
            former=format_peer_id(self._keys.peer),
            peers=[format_peer_id(peer) for peer in followed],
            left_out=[self._describe(peer, error) for peer, error in failed.items()],
        )

    async def _tell(self, partner: Partner, heir: Heir) -> BackupPeerError | None:
        try:
            if not await self._say(partner, heir):
                return PeerUnreachable("it signed nothing of ours for the new identity")
        except BackupPeerError as exc:
            return exc
        await self._reporter.state("connected", f"{partner.name} follows")
        return None

    async def _say(self, partner: Partner, heir: Heir) -> list[AgreementId]:
        session = await partner.session()
        try:
            return await tell_host(session, self._state, heir.succession, heir.identity)
        except SucceededError:
            raise
        except RefusedError:
            # A thief may have agreed on more with it than it showed when the session began.
            await session.end()
            await session.ended.wait()
            return await tell_host(await partner.session(), self._state, heir.succession, heir.identity)

    def _describe(self, peer: PeerId, error: BackupPeerError) -> LeftOut:
        name = self._vault.name(peer)
        return LeftOut(peer_id=format_peer_id(peer), name=name, reason=error.message, hint=_LATER)


def _explain(first: BackupPeerError) -> PeerUnreachable:
    """Return what to tell when no host has followed; first: why the first one has not."""
    if isinstance(first, (SucceededError, AuthenticationFault)):
        error = PeerUnreachable(
            f"a host was told of another heir of this identity, and follows no two: {first.message}",
            hint="somebody else has your words, or you did this elsewhere: talk to the people who keep your backups",
        )
        error.exit_code = ExitCode.AUTHENTICATION
        return error
    return PeerUnreachable(
        f"no host could be told of the new identity: {first.message}",
        hint="the old one stays until one has: `backup-peer recover --new-identity` goes on, without words",
    )
