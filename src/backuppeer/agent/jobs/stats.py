"""One `stats`: snapshots counted, and what each host stores of them (DESIGN 10).

Knows: ledger, index, hosts. Must not know: how blobs are counted.
"""

from collections.abc import Sequence

from backuppeer.agent.brake import Halt
from backuppeer.agent.jobs.lookup import Chosen, Lookup
from backuppeer.agent.jobs.pulling import run_aside
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.reporter import Reporter, beating
from backuppeer.backup.browse import SnapshotFilter
from backuppeer.backup.census import Census, Usage
from backuppeer.backup.trees import TreeReader
from backuppeer.control.inspection import HostVolume, StatsRequest, StatsResult
from backuppeer.errors import InterruptedByUserError
from backuppeer.ids import format_peer_id


class StatsJob:
    """One run of `stats`."""

    def __init__(self, vault: Vault, request: StatsRequest, reporter: Reporter) -> None:
        self._vault, self._request, self._reporter = vault, request, reporter
        reporter.traffic_bytes = vault.traffic_bytes
        self._stop = Halt()

    async def run(self) -> StatsResult:
        """Count.

        Raises:
            NotFoundError: no such snapshot.
            IntegrityFault: a folder is wrong or missing.
            PeerUnreachable: a folder lies only with hosts that can't be reached.

        """
        lookup = Lookup(self._vault, self._reporter)
        await lookup.mend(copies=False)
        chosen = lookup.choose_all(self._request.snapshots, SnapshotFilter(set_name=self._request.set))
        repository = self._vault.repository
        source = self._vault.source(self._reporter)
        trees = TreeReader(repository.keys, repository.index, cache=repository.cache, source=source)
        self._reporter.begin("counting", unit="folder")

        def count() -> StatsResult:
            with Census(trees, repository.index, check=self._check) as census:
                for snapshot_id, snapshot in chosen:
                    census.add(snapshot_id, snapshot)
                return self._report(chosen, census.usage())

        async with beating(self._reporter):
            return await run_aside(count, self._stop)

    def _check(self, pieces: int) -> None:
        if self._stop.is_set():
            raise InterruptedByUserError("the count was cancelled")
        self._reporter.update(files=pieces)

    def _report(self, chosen: Sequence[Chosen], usage: Usage) -> StatsResult:
        snapshots = [snapshot for _, snapshot in chosen]
        restored_bytes = sum(snapshot.bytes for snapshot in snapshots)
        return StatsResult(
            snapshots=[snapshot_id.hex() for snapshot_id, _ in chosen],
            files=sum(snapshot.files for snapshot in snapshots),
            dirs=sum(snapshot.dirs for snapshot in snapshots),
            bytes=restored_bytes,
            unique_bytes=usage.plain_bytes,
            stored_bytes=usage.sealed_bytes,
            blobs=usage.blobs,
            data_blobs=usage.data_blobs,
            packs=len(usage.packs),
            compression_ratio=round(usage.compression_ratio, 3),
            dedup_ratio=round(usage.dedup_ratio(restored_bytes), 3),
            missing_blobs=usage.missing,
            hosts=self._weigh_hosts(usage),
        )

    def _weigh_hosts(self, usage: Usage) -> list[HostVolume]:
        """Return what hosts store: of chosen snapshots the packs that these need, else all that they have."""
        is_part = bool(self._request.snapshots or self._request.set)
        volumes = []
        for partner in self._vault.partners():
            copies = self._vault.repository.ledger.copies_at(partner.agreement)
            wanted = [copy.size for copy in copies if not is_part or copy.logical in usage.packs]
            volumes.append(
                HostVolume(
                    peer_id=format_peer_id(partner.peer),
                    alias=self._vault.alias(partner.peer),
                    packs=len(wanted),
                    stored_bytes=sum(wanted),
                )
            )
        return volumes
