"""Proofs of misbehaviour by whoever found them: kept, shown on, and believed only after this home judged them itself.

Knows: bundles, the judge (`proof.misbehaviour`), what the log of evidence says of a host then. Must not know: sessions.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import structlog

from backuppeer.agent.repute.shelf import Shelf
from backuppeer.clock import Clock
from backuppeer.crypto.digest import Domain, hash_bytes
from backuppeer.errors import PeerFault, ProtocolViolation
from backuppeer.ids import PeerId, shorten_peer_id
from backuppeer.limits import PROOF_BYTES, PROOFS_KEPT
from backuppeer.proof.charges import unpack_charge
from backuppeer.proof.misbehaviour import Crime, judge
from backuppeer.trust.evidence import EvidenceLog, Kind, Observation

_log = structlog.get_logger()
_PER_DELIVERER = PROOFS_KEPT // 4
_PROVEN_ELSEWHERE = "proven by another peer"


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof that is kept: a file of this home, or by its hash on the shelf."""

    path: Path | None = None
    mark: bytes = b""


class Convicts:
    """Proofs that others brought, and own ones, which lie in a folder of the home."""

    def __init__(self, shelf: Shelf, evidence: EvidenceLog, folder: Path, clock: Clock) -> None:
        self._shelf, self._evidence, self._folder, self._clock = shelf, evidence, folder, clock
        self._judged: dict[tuple[Path, int], PeerId | None] = {}

    def convict(self, bundle: bytes, *, deliverer: PeerId, hosts: Collection[PeerId]) -> bool:
        """Judge a proof about one of `hosts`, keep it and note what it proves; False: it was known.

        What counts is when the host lied, not when this home heard of it, and each proof once.

        Raises:
            ProtocolViolation: it proves nothing, or is about another host.

        """
        mark = hash_bytes(Domain.SIGNED, bundle)
        known = self._shelf.proofs()
        if any(mark == other for other, _, _ in known):
            return False
        host, broken_ms = _judge(bundle)
        told_ms = min(broken_ms, self._clock.now_ms())
        if host not in hosts:
            raise ProtocolViolation("it showed a proof about a host that was not asked for")
        mine = sum(who == deliverer for _, _, who in known)
        if len(known) >= PROOFS_KEPT or mine >= _PER_DELIVERER:
            _log.warning("no room for a proof of misbehaviour", host=shorten_peer_id(host))
            return False
        # Noted before it is kept: cut off between, it is noted twice on one day, which counts once.
        self._evidence.record(Observation(host, Kind.MISBEHAVED, told_ms, detail=_PROVEN_ELSEWHERE))
        self._shelf.put_proof(mark, host, deliverer, bundle)
        _log.warning("a host was proven to have lied to another peer", host=shorten_peer_id(host))
        return True

    def known(self, *, is_own_shown: bool) -> list[tuple[PeerId, Proof]]:
        """Return the proofs that there are, each with the host that it convicts; own ones only if they may be shown."""
        found: list[tuple[PeerId, Proof]] = []
        if is_own_shown and self._folder.is_dir():
            for path in sorted(self._folder.glob("*.proof"))[:PROOFS_KEPT]:
                host = self._judge_file(path)
                found += [(host, Proof(path=path))] if host is not None else []
        return (found + [(host, Proof(mark=mark)) for mark, host, _ in self._shelf.proofs()])[:PROOFS_KEPT]

    def load(self, proofs: Iterable[Proof]) -> list[bytes]:
        """Return the bundles of proofs; b"" of one that is gone."""
        return [_read(proof.path) if proof.path else self._shelf.proof(proof.mark) for proof in proofs]

    def _judge_file(self, path: Path) -> PeerId | None:
        """Return whom a file convicts of a lie; None: nobody, as it is about an admitted loss, or somebody's own."""
        try:
            key = (path, path.stat().st_mtime_ns)
        except OSError:
            return None
        if key not in self._judged:
            try:
                self._judged[key] = _judge(_read(path))[0]
            except PeerFault:
                self._judged[key] = None
        return self._judged[key]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes() if path.stat().st_size <= PROOF_BYTES else b""
    except OSError:
        return b""


def _judge(bundle: bytes) -> tuple[PeerId, int]:
    """Return who lied, and when it broke its word, in ms.

    Raises:
        ProtocolViolation: it proves nothing, or only what its host said itself: that it lost something.

    """
    verdict = judge(unpack_charge(bundle))
    if not verdict.is_proven or verdict.host is None or verdict.crime is Crime.LOST_PACK:
        raise ProtocolViolation(f"a proof of misbehaviour proves nothing: {verdict.reason}")
    return verdict.host, verdict.broken_ms
