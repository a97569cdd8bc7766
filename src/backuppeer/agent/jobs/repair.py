"""`check --repair`: what this machine lost is built again, and hosts are brought level (ADR 24).

Knows: the order of these steps, and which of them a person agreed to. Must not know: how hosts are reached, what is
damaged where: each step looks for itself, so that what was found before may be mended meanwhile. It deletes nothing: a
database is moved aside, a copy that came back wrong stays with its host, and a snapshot that can't be whole stays in
the list. Killed anywhere, what is left is what a lost database leaves: the next job that asks hosts goes on.
"""

import asyncio
from collections.abc import Collection, Sequence
from functools import partial
from itertools import islice
from typing import Final

from backuppeer.agent.audits.auditing import Scope
from backuppeer.agent.audits.auditor import Auditor
from backuppeer.agent.home.aside import set_aside
from backuppeer.agent.owner.admission import Purpose
from backuppeer.agent.owner.gathering import Gathering
from backuppeer.agent.owner.meeting import Meeting
from backuppeer.agent.owner.salvage import resend_metadata
from backuppeer.agent.owner.selfcheck import find_wrong_bodies
from backuppeer.agent.owner.upload import Upload
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.reporter import Reporter
from backuppeer.backup.amending import Amended, Amendment, amend
from backuppeer.control.checking import RepairRequest, RepairResult
from backuppeer.errors import BackupPeerError, PeerUnreachable, UserError

_LEVEL: Final = 3
_DROPPED_AT_ONCE: Final = 4096
_ACTIONS: Final = frozenset({"index", "ledger", "trees", "copies"})
_REBUILT: Final = frozenset({"index", "ledger"})


class RepairJob:
    """One run of the actions that were agreed to."""

    def __init__(self, vault: Vault, auditor: Auditor, request: RepairRequest, reporter: Reporter) -> None:
        self._vault, self._auditor, self._reporter = vault, auditor, reporter
        self._actions: Collection[str] = request.actions
        self._hosts = Gathering(vault, reporter, purpose=Purpose.HEAL)
        self._done: list[str] = []
        self._resent = 0

    async def run(self) -> RepairResult:
        """Mend.

        Raises:
            UserError: nothing was agreed to, or something that there is not.
            NotFoundError: no host is agreed.
            PeerUnreachable: the index is to be built again, and a host that is needed for it can't be reached.
            LocalError: a database can't be moved aside.

        """
        if unknown := set(self._actions) - _ACTIONS:
            raise UserError(
                f"there is no such repair: {min(unknown)[:40]!r}", hint=f"one of: {', '.join(sorted(_ACTIONS))}"
            )
        if not self._actions:
            raise UserError("there is nothing to repair", hint="`backup-peer check` says what is wrong")
        partners = self._vault.partners()
        if "trees" in self._actions:
            await asyncio.to_thread(self._drop_wrong_bodies)
        if rebuilt := sorted(_REBUILT.intersection(self._actions)):
            await self._check_there(partners)
            await asyncio.to_thread(self._begin_anew, rebuilt)
        if not self._vault.heads.may_write:
            await self._read_again(partners)
        elif "copies" in self._actions or rebuilt:
            await self._level(partners)
        self._hosts.note_failures()
        return RepairResult(
            done=self._done,
            resent=self._resent,
            left_out=self._hosts.describe_left_out(hint="run `backup-peer check --repair` again when it is back"),
        )

    def _drop_wrong_bodies(self) -> None:
        """Drop what the tree cache holds and its ids don't name; a cache that can't be read is moved aside."""
        repository = self._vault.repository
        if repository.cache.find_fault():
            self._begin_anew(["trees"])
            return
        wrong, count = find_wrong_bodies(repository), 0
        while page := list(islice(wrong, _DROPPED_AT_ONCE)):
            repository.cache.drop(page)
            count += len(page)
        self._done.append(f"dropped wrong entries of the tree cache: {count}")

    async def _check_there(self, partners: Sequence[Partner]) -> None:
        """Refuse to begin an index anew that hosts which are away may be needed for: what only they hold would be lost.

        Raises:
            PeerUnreachable: one of them is away.

        """
        await self._reporter.state("connecting", f"connecting to {', '.join(p.name for p in partners)}")
        for partner in partners:
            try:
                await partner.session()
            except BackupPeerError as exc:
                raise PeerUnreachable(
                    f"nothing was changed: {partner.name}, from which this is built again, can't be reached: "
                    f"{exc.message}",
                    hint="run `backup-peer check --repair` again when it is back",
                ) from exc

    def _begin_anew(self, names: Sequence[str]) -> None:
        """Move databases aside; the next use makes them anew, and what asks hosts fills them."""
        paths = {name: self._vault.repository.database(name) for name in names}
        # Closed first: a database must not be renamed under a connection, whose log would go to the new one.
        self._vault.close()
        for name, path in paths.items():
            kept = set_aside(path)
            self._done.append(f"began the {'tree cache' if name == 'trees' else name} anew; the old one is {kept}")
        self._vault.repository  # noqa: B018 - made anew here, not in the event loop

    async def _read_again(self, partners: Sequence[Partner]) -> None:
        """Fill the databases from hosts, in a home that may only read."""

        def tell(partner: Partner, error: BackupPeerError) -> None:
            self._hosts.failures[partner.peer] = error

        meeting = Meeting(self._vault, self._reporter, tell)
        losses = await meeting.mend(partners)
        if losses:
            self._reporter.note(meeting.witnesses().explain(losses).message)

    async def _level(self, partners: Sequence[Partner]) -> None:
        """Give every host what it lacks: copies of packs from other hosts, then trees and snapshots from here."""
        met = await self._hosts.meet(partners)
        self._reporter.begin("sending what is still here", unit="pack")
        upload = self._hosts.make_upload(met)
        turnover = self._vault.repository.index.turnover
        # What is stored here is not for a prune beside this, until the head names it.
        with turnover.relying():
            amended = await self._hosts.in_thread(upload, partial(self._resend, upload))
            if amended is not None:
                await self._hosts.complete(met, amended.published.inventory)
                self._vault.heads.extend(amended.published.index, amended.published.inventory)
                # Before it is told: no earlier head is signed any more, and this one goes to whoever is met next.
                await asyncio.to_thread(turnover.name, amended.published.inventory.packs)
            if self._vault.heads.newest() is not None:
                await self._hosts.leave_head(met, lambda _: None)
        for partner in met:
            if partner.peer not in self._hosts.failures:
                self._done.append(f"{partner.name} holds every pack that can be had")
                await self._audit_healed(partner)

    async def _audit_healed(self, partner: Partner) -> None:
        """Audit a host that was sent again what it lost: only what it shows ends what stands against it."""
        standing = self._vault.standing
        if not standing.conduct(partner.peer).is_healed:
            return
        outcome = await self._auditor.audit(partner, self._reporter, Scope.NOW)
        if not standing.conduct(partner.peer).failed_ms:
            self._auditor.close_case(partner.peer)
            self._done.append(f"{partner.name} was audited and is whole: what it lost stands against it no more")
        elif not outcome.faults:
            why = (
                outcome.error.message if outcome.error else outcome.skipped or "it did not show all that was asked for"
            )
            self._reporter.note(f"{partner.name}: no audit has found it whole yet ({why}); the next one may")

    def _resend(self, upload: Upload) -> Amended | None:
        """Send trees and snapshots that no host has, and a list that names their packs; None if there are none."""
        repository = self._vault.repository
        self._resent = resend_metadata(repository, upload, level=_LEVEL)
        if not self._resent:
            return None
        return amend(Amendment(), upload, keys=repository.keys, index=repository.index, cache=repository.cache)
