"""`peers replace`: one host has all that another should, answers for it, and only then is the other given notice.

Knows: the order of these steps. Must not know: how packs are copied, how a notice counts down. Killed or stopped
anywhere, nothing is lost: what was copied stays, and the next run goes on from there; the notice comes last.
"""

import asyncio
from functools import partial
from itertools import count

from backuppeer.agent.audits.proofreading import read_directory
from backuppeer.agent.audits.vouching import hear_word, show_samples
from backuppeer.agent.jobs.pulling import for_each, run_aside
from backuppeer.agent.jobs.replace_plan import choose_hosts
from backuppeer.agent.owner.ending import Ended, Ending
from backuppeer.agent.owner.gathering import Gathering
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.reporter import Reporter
from backuppeer.errors import PeerFault, RefusedError
from backuppeer.ids import PeerId
from backuppeer.limits import CHECK_AT_ONCE, REPLACE_SAMPLE_SHARE, REPLACE_SAMPLES_LEAST
from backuppeer.shares.copies import Copy


class ReplaceJob:
    """One run."""

    def __init__(self, vault: Vault, ending: Ending, reporter: Reporter) -> None:
        self._vault, self._ending, self._reporter = vault, ending, reporter
        self._hosts = Gathering(vault, reporter)

    async def run(self, old: PeerId, new: PeerId) -> tuple[int, int, Ended]:
        """Copy, verify, end; return packs and bytes at the new host, and what became of the notice.

        Raises:
            as `choose_hosts`; RefusedError: there is no room for all of it, or a part can't be had from anybody now.
            PeerUnreachable: the new host can't be reached.
            IntegrityFault: the new host does not answer for what it was given.

        """
        leaving, staying = choose_hosts(self._vault, old, new)
        self._vault.check_writable()
        met = await self._hosts.meet([staying])
        await self._hosts.leave_head(met, lambda _: None)
        copies = await asyncio.to_thread(self._list_copies, staying, leaving)
        await self._verify(staying, copies)
        await self._have_vouched(staying, copies)
        ended = await self._ending.end_once(old)
        return len(copies), sum(copy.size for copy in copies), ended

    def _list_copies(self, staying: Partner, leaving: Partner) -> list[Copy]:
        """Return the copies at the new host, which must be of every pack there is."""
        lacking = len(self._vault.owed.lacking_at(staying.agreement))
        if lacking:
            raise RefusedError(
                f"{staying.name} lacks {lacking} packs still, which nobody gave; nothing was ended",
                hint=f"run the same again when {leaving.name} is back; `backup-peer check` says what is missing",
            )
        return list(self._vault.repository.ledger.copies_at(staying.agreement))

    async def _have_vouched(self, staying: Partner, copies: list[Copy]) -> None:
        """Have the new host sign for every pack, and show random leaves: the old copies go for its word."""
        drawn = max(REPLACE_SAMPLES_LEAST, len(copies) // REPLACE_SAMPLE_SHARE)
        self._reporter.begin(f"asking {staying.name} for its word", unit="pack", files_total=min(len(copies), drawn))
        try:
            await hear_word(self._vault, staying, copies)
            await show_samples(self._vault, staying, copies, lambda shown: self._reporter.update(files=shown))
        except PeerFault as exc:
            self._vault.blame(staying, exc)
            raise type(exc)(f"{exc.message}; nothing was ended", hint=exc.hint) from exc

    async def _verify(self, staying: Partner, copies: list[Copy]) -> None:
        """Have the new host show the directory of every pack, each with its proof: so it has them, and gives them."""
        self._reporter.begin(f"asking {staying.name} for each pack", unit="pack", files_total=len(copies))
        source = self._vault.source_of({staying.agreement: staying}, wait_s=0)

        done = count(1)

        def read(copy: Copy) -> None:
            read_directory(self._vault.repository, source, copy)
            self._reporter.update(files=next(done))

        work = partial(for_each, copies, read, self._hosts.stop, at_once=CHECK_AT_ONCE)
        await run_aside(work, self._hosts.stop)
