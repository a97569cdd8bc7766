"""What one audit of a host works with, and what came of it.

Knows: where a deed of a host is to be told, written down and remembered. Must not know: how any deed is found.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from backuppeer.agent.audits.accusing import Accuser
from backuppeer.agent.home.keyring import HomeKeys
from backuppeer.agent.owner.repository import Repository
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.reporter import Reporter
from backuppeer.errors import BackupPeerError, IntegrityFault
from backuppeer.shares.accounts import Account
from backuppeer.shares.copies import Copy
from backuppeer.trust.evidence import Kind


@dataclass(slots=True)
class Outcome:
    """What came of one audit. Counts are of samples but `lost` and `wrong`, which are of packs.

    skipped: why nothing was asked. is_mute: its version knows no audits. error: why it ended early. faults: sentences
    of what it was caught at. proofs: files written.
    """

    partner: Partner
    asked: int = 0
    shown: int = 0
    shown_bytes: int = 0
    late: int = 0
    lost: int = 0
    wrong: int = 0
    acked: int = 0
    skipped: str = ""
    is_mute: bool = False
    is_over_budget: bool = False
    error: BackupPeerError | None = None
    faults: list[str] = field(default_factory=list)
    proofs: list[Path] = field(default_factory=list)


@dataclass(slots=True)
class Dossier:
    """One host's, open for one audit. `terms`: the co-signed revision in force, signed bytes."""

    partner: Partner
    vault: Vault
    keys: HomeKeys
    terms: bytes
    repository: Repository
    reporter: Reporter
    accuser: Accuser
    account: Account
    outcome: Outcome

    def now_ms(self) -> int:
        """Return the time."""
        return self.vault.clock.now_ms()

    def save(self, account: Account) -> None:
        """Note how the account stands now.

        Raises:
            LocalError: a disk that refuses.

        """
        self.account = account
        self.repository.proven.write(account)

    def convict(self, error: IntegrityFault, *, hint: str, copies: Sequence[Copy] = (), is_blamed: bool = True) -> None:
        """Tell what the host was caught at, and count these copies no more. `is_blamed`: no other evidence is written.

        Raises:
            LocalError: a disk that refuses.

        """
        for copy in copies:
            # It stays known, as parts of it may be whole: asked last, and its pack is sent again (ADR 24).
            self.repository.ledger.note_spoiled(copy, self.now_ms())
        self.repository.proven.disown(self.partner.agreement, [copy.stored for copy in copies])
        if is_blamed:
            self.vault.blame(self.partner, error)
        if self.accuser.has_lied:
            self.accuser.has_lied = False  # once for what this conviction is about
            self.vault.saw(self.partner, Kind.MISBEHAVED)
        self.outcome.faults.append(error.message)
        self.save(replace(self.account, fault=error.message, fault_ms=self.now_ms()))
        self.reporter.fault(self.partner.peer, self.partner.name, error, hint=self._with_proof(hint))

    def _with_proof(self, hint: str) -> str:
        new = [path for path in self.accuser.written if path not in self.outcome.proofs]
        self.outcome.proofs += new
        if not new:
            return hint
        return f"{hint}; a proof for anybody to judge is in {new[0]}: `backup-peer audit verify-proof FILE`"
