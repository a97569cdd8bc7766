"""The slow half of a check: which copies are read, in which order, and what is told of it meanwhile (ADR 24).

Knows: shares, the ledger's memory of what was read when. Must not know: what a copy is, how it is verified.
"""

import threading
from collections.abc import Callable, Iterator, Mapping

from backuppeer.agent.audits.proofreading import Proofreader, State, Verdict
from backuppeer.agent.jobs.findings import Findings
from backuppeer.agent.jobs.pulling import for_each
from backuppeer.agent.owner.fetch import Fetch
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.reporter import Reporter
from backuppeer.control.checking import CheckRequest
from backuppeer.errors import UserError
from backuppeer.ids import AgreementId
from backuppeer.limits import CHECK_AT_ONCE
from backuppeer.shares.ledger import Copy
from backuppeer.trust.evidence import Kind


class Reading:
    """Reads the share of one request, in a thread and threads of its own; ends after the copies under way at `stop`."""

    def __init__(
        self, vault: Vault, request: CheckRequest, found: Findings, reporter: Reporter, *, stop: threading.Event
    ) -> None:
        self._vault, self._request, self._found, self._reporter = vault, request, found, reporter
        self._stop = stop

    def run(self, sources: Mapping[AgreementId, Fetch]) -> None:
        """Read; verdicts go to the findings, and to the evidence about each host. `sources`: one for each host.

        Raises:
            LocalError: the ledger can't be written.

        """
        reader = Proofreader(self._vault.repository, sources, self._vault.clock)
        copies, size_bytes = self._measure(sources)
        self._reporter.begin("reading packs", unit="pack", files_total=copies, bytes_total=size_bytes)

        def read(copy: Copy) -> None:
            verdict = reader.read(copy)
            self._found.take(verdict)
            if verdict.state is State.SPOILED:
                self._tell(verdict)
            self._reporter.update(files=self._found.read_copies, bytes=self._found.read_bytes)

        for_each(self._pick(size_bytes), read, self._stop, at_once=CHECK_AT_ONCE)
        self._read_siblings(read)
        for agreement, lost_bytes in self._found.lost_by_host().items():
            if lost_bytes:
                self._vault.saw(self._found.stocks[agreement].partner, Kind.LOST, size_bytes=lost_bytes)
        for agreement, read_bytes in self._found.by_host.items():
            # One for each host: a unit of evidence is a day, not a pack.
            self._vault.saw(self._found.stocks[agreement].partner, Kind.RESTORED, size_bytes=read_bytes)

    def _tell(self, verdict: Verdict) -> None:
        name = self._found.stocks[verdict.copy.agreement].partner.name
        reason = f": {verdict.error.message}" if verdict.error else ""
        self._reporter.note(f"{name} returned pack {verdict.copy.logical.hex()[:8]} wrong{reason}")

    def _read_siblings(self, read: Callable[[Copy], None]) -> None:
        """Read the other copies of what came back wrong: the share asked for must not decide whether files are lost."""
        done = {(verdict.copy.logical, verdict.copy.agreement) for verdict in self._found.spoiled}
        others = [
            copy
            for logical in {logical for logical, _ in done}
            for copy in self._vault.repository.ledger.copies_of(logical)
            if (copy.logical, copy.agreement) not in done and self._found.is_readable(copy)
        ]
        for_each(others, read, self._stop, at_once=CHECK_AT_ONCE)

    def _is_wanted(self, copy: Copy) -> bool:
        is_of_snapshots = not self._request.snapshots or copy.logical in self._found.needed
        return is_of_snapshots and is_in_part(copy, self._request)

    def _measure(self, sources: Mapping[AgreementId, Fetch]) -> tuple[int, int]:
        """Return how many copies will be read, 0 where that is not known, and how many bytes."""
        ledger, count, size_bytes = self._vault.repository.ledger, 0, 0
        for agreement in sources:
            for copy in ledger.copies_at(agreement):
                if self._is_wanted(copy):
                    count, size_bytes = count + 1, size_bytes + copy.size
        if self._request.percent:
            return 0, round(size_bytes * self._request.percent / 100)
        if self._request.most_bytes:
            return 0, min(size_bytes, self._request.most_bytes)
        return count, size_bytes

    def _pick(self, size_bytes: int) -> Iterator[Copy]:
        """Yield the copies to read, those first that were not read for longest, until there are enough bytes."""
        left = size_bytes
        for copy, _ in self._vault.repository.ledger.oldest_first(self._vault.clock.now_ms()):
            if left <= 0 and (self._request.percent or self._request.most_bytes):
                return
            if self._is_wanted(copy) and self._found.is_readable(copy):
                left -= copy.size
                yield copy


def is_in_part(copy: Copy, request: CheckRequest) -> bool:
    """Say whether a copy belongs to the part asked for: by its id, so that all parts together are all copies."""
    return not request.parts or int.from_bytes(copy.stored[:8], "big") % request.parts == request.part - 1


def check_share(request: CheckRequest) -> None:
    """Check that a request asks for at most one share, and one that there can be.

    Raises:
        UserError: it does not.

    """
    asked = [bool(request.percent), bool(request.most_bytes), bool(request.part or request.parts)]
    is_share = 0 <= request.percent <= 100 and request.most_bytes >= 0
    if (
        sum(asked) + request.read_data > 1
        or not is_share
        or not 0 <= bool(request.parts) <= request.part <= request.parts
    ):
        raise UserError(
            "that is no share of the data to read", hint="name 5%, 1/10 or 500MB, or read all of it: --read-data"
        )
