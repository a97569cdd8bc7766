"""Which snapshots a command means, once the index knows what the newest head names.

Knows: what is missing and who may have it. Must not know: what is done with a snapshot. Never an older one in place
of one that is missing (E6).
"""

from backuppeer.agent.owner.losses import Losses, check_choice
from backuppeer.agent.owner.meeting import Meeting
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.names import say_named
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.reporter import Reporter
from backuppeer.backup.browse import LATEST, SnapshotFilter, find_snapshot, list_snapshots
from backuppeer.errors import BackupPeerError, NotFoundError, PeerUnreachable
from backuppeer.ids import AgreementId, SnapshotId
from backuppeer.repo.snapshot import Snapshot

Chosen = tuple[SnapshotId, Snapshot]


class Lookup:
    """The snapshots of a home, for one job."""

    def __init__(self, vault: Vault, reporter: Reporter, *, wait_s: float | None = None) -> None:
        """`wait_s`: how long hosts are waited for that are away; None: as everywhere."""
        self._vault, self._reporter = vault, reporter
        self._meeting = Meeting(vault, reporter, self._tell, wait_s=wait_s)
        self._losses = Losses()

    async def mend(self, *, copies: bool) -> None:
        """Bring the index back from the hosts where this machine lost it; `copies`: also who holds which pack."""
        is_awaited = self._vault.heads.is_awaited
        if not is_awaited and self._vault.is_whole() and (not copies or self._knows_copies()):
            return
        self._losses = await self._meeting.mend(self._vault.partners(), copies=copies)
        if is_awaited:
            self._end_wait()
        if self._losses:
            self._reporter.note(self._meeting.witnesses().explain(self._losses).message)

    @property
    def gone(self) -> set[AgreementId]:
        """Hosts that were waited for as long as a person wants to, in vain, as something lacks; others were not."""
        return set(self._meeting.away) if self._losses else set()

    def _knows_copies(self) -> bool:
        """Whether this home knows of every copy that there is; one that only reads hears nothing of later ones."""
        vault = self._vault
        return (
            vault.writer.may_write
            and bool(vault.complete_hosts())
            and not any(partner.agreement in vault.unread for partner in vault.partners())
        )

    def _end_wait(self) -> None:
        """See that a home which came in a file has heard its hosts.

        Raises:
            PeerUnreachable: it has not, and one of them is away.

        """
        heads, away = self._vault.heads, self._meeting.witnesses().away
        if heads.newest() is None and away:
            names = ", ".join(sorted(away))
            raise PeerUnreachable(
                f"this home was imported, and has not heard yet what its hosts keep: {names} can't be reached",
                hint="run it again when they are there",
            )
        if heads.newest() is None:
            heads.await_no_more()

    def choose(self, text: str, wanted: SnapshotFilter | None = None) -> Chosen:
        """Return the snapshot that `latest`, an id or a prefix names.

        Raises:
            NotFoundError: there is none, or the text is no id.
            UserError: a filter beside an id.
            IntegrityFault: it is missing, or with `latest` a later one is: lost or withheld.
            PeerUnreachable: a host that may have it is away.

        """
        try:
            found = find_snapshot(self._vault.repository.index, text, wanted)
        except NotFoundError:
            if self._losses:
                check_choice(text, None, self._losses, self._meeting.witnesses())
            raise
        if self._losses:
            check_choice(text, found[0], self._losses, self._meeting.witnesses())
        return found

    def choose_all(self, texts: list[str], wanted: SnapshotFilter) -> list[Chosen]:
        """Return the snapshots named, or without names all that the filter lets through, newest first.

        Raises:
            NotFoundError: there is none.
            BackupPeerError: as `choose`.

        """
        if texts:
            found = dict(self.choose(text, wanted) for text in texts)
        else:
            found = dict(list_snapshots(self._vault.repository.index, wanted)) or dict([self.choose(LATEST, wanted)])
        return sorted(found.items(), key=lambda pair: pair[1].time_ns, reverse=True)

    def _tell(self, partner: Partner, error: BackupPeerError) -> None:
        """Tell of a host that could not be asked; it is simply left out."""
        self._reporter.note(say_named(partner.name, error))
