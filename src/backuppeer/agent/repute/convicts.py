"""Proofs of misbehaviour by whoever found them: kept, shown on, and believed only after this home judged them itself.

Knows: bundles, the judge (`proof.misbehaviour`), what the log of evidence says of a host then. Must not know: sessions.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import structlog

from backuppeer.agent.repute.shelf import Lie, Shelf
from backuppeer.clock import DAY_S, Clock
from backuppeer.crypto.digest import Domain, hash_bytes
from backuppeer.errors import PeerFault, ProtocolViolation
from backuppeer.ids import PeerId, shorten_peer_id
from backuppeer.limits import CLOCK_SKEW_S, PROOF_BYTES, PROOFS_KEPT
from backuppeer.proof.audits import AuditChallenge
from backuppeer.proof.charges import AnyCharge, LostPack, TwoHeads, WrongAnswer, unpack_charge
from backuppeer.proof.misbehaviour import judge
from backuppeer.proof.statements import Agreement, Head, peek_statement
from backuppeer.trust.conduct import LIE_DAYS
from backuppeer.trust.evidence import EvidenceLog, Kind, Observation

_log = structlog.get_logger()
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
        self._judged: dict[tuple[Path, int], Lie | None] = {}

    def convict(self, bundle: bytes, *, deliverer: PeerId, hosts: Collection[PeerId]) -> bool:
        """Judge a proof about one of `hosts`, keep it and note what it proves; False: it says nothing new.

        What counts is when the host lied, not when this home heard of it, and of each host its latest lie.

        Raises:
            ProtocolViolation: it proves nothing, or is about another host.

        """
        known = [*self._own().values(), *self._shelf.proofs()]
        if _mark(bundle) in {lie.mark for lie in known}:
            return False
        lie = _judge(bundle, self._clock.now_ms())
        if lie.host not in hosts:
            raise ProtocolViolation("it showed a proof about a host that was not asked for")
        if any(lie.host == one.host and lie.told_ms <= one.told_ms for one in known):
            return False
        # Noted before it is kept: cut off between, it is heard again and noted once. So is one that had to make way.
        is_new = not self._evidence.has_noted(lie.host, Kind.MISBEHAVED, lie.told_ms)
        if is_new:
            self._evidence.record(Observation(lie.host, Kind.MISBEHAVED, lie.told_ms, detail=_PROVEN_ELSEWHERE))
            _log.warning("a host was proven to have lied to another peer", host=shorten_peer_id(lie.host))
        self._shelf.put_proof(lie, deliverer, bundle)
        return is_new

    def known(self, *, is_own_shown: bool) -> list[tuple[PeerId, Proof]]:
        """Return a proof for each host that lied within LIE_DAYS, the latest first, with the host that it convicts.

        is_own_shown: own ones, too, and before those of others: nobody pushes them out.
        """
        found = {lie.host: Proof(path=path) for path, lie in self._own().items()} if is_own_shown else {}
        for lie in self._shelf.proofs():
            if self._counts(lie):
                found.setdefault(lie.host, Proof(mark=lie.mark))
        return list(found.items())[:PROOFS_KEPT]

    def hosts(self) -> set[PeerId]:
        """Return the hosts that a proof here bars: of them no other is needed. Who was forgiven may lie anew."""
        now_ms = self._clock.now_ms()
        found = {lie.host for lie in (*self._own().values(), *self._shelf.proofs()) if self._counts(lie)}
        newest = self._evidence.lines.newest
        return {host for host in found if self._evidence.conduct(newest(host), now_ms=now_ms).lied_ms}

    def load(self, proofs: Iterable[Proof]) -> list[bytes]:
        """Return the bundles of proofs; b"" of one that is gone."""
        return [_read(proof.path) if proof.path else self._shelf.proof(proof.mark) for proof in proofs]

    def _counts(self, lie: Lie) -> bool:
        return lie.told_ms > self._clock.now_ms() - 1000 * DAY_S * LIE_DAYS

    def _own(self) -> dict[Path, Lie]:
        """Return the latest lie of each host of which a file is here and that still counts, the latest first."""
        judged = ((path, self._judge_file(path)) for path in self._folder.glob("*.proof"))
        lies = [(path, lie) for path, lie in judged if lie is not None and self._counts(lie)]
        lies.sort(key=lambda one: (one[1].told_ms, one[0]))
        latest = {lie.host: (path, lie) for path, lie in lies}
        return dict(sorted(latest.values(), key=lambda one: one[1].told_ms, reverse=True))

    def _judge_file(self, path: Path) -> Lie | None:
        """Return of which lie a file convicts; None: of none, as it is about an admitted loss, or somebody's own."""
        try:
            key = (path, path.stat().st_mtime_ns)
        except OSError:
            return None
        if key not in self._judged:
            try:
                self._judged[key] = _judge(_read(path), self._clock.now_ms())
            except PeerFault:
                self._judged[key] = None
        return self._judged[key]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes() if path.stat().st_size <= PROOF_BYTES else b""
    except OSError:
        return b""


def _mark(bundle: bytes) -> bytes:
    return hash_bytes(Domain.SIGNED, bundle)


def _judge(bundle: bytes, now_ms: int) -> Lie:
    """Return which lie a proof proves.

    Raises:
        ProtocolViolation: it proves nothing, or only what its host said itself: that it lost something.

    """
    charge = unpack_charge(bundle)
    if isinstance(charge, LostPack):
        raise ProtocolViolation("a proof of misbehaviour proves nothing: the host said itself that it lost something")
    verdict = judge(charge)
    if not verdict.is_proven or verdict.host is None:
        raise ProtocolViolation(f"a proof of misbehaviour proves nothing: {verdict.reason}")
    # A liar lies about the time, too: what it signed came after what others had signed, which it names.
    latest_ms = now_ms + CLOCK_SKEW_S * 1000
    before = [told_ms for told_ms in _find_times(charge) if told_ms <= latest_ms]
    return Lie(_mark(bundle), verdict.host, min(now_ms, max(verdict.broken_ms, *before, 0)))


def _find_times(charge: AnyCharge) -> list[int]:
    """Return when owner, device and both signed what the lie came after, in ms by their clocks; all was verified."""
    times = [peek_statement(Agreement, charge.agreements[0]).start_ms, peek_statement(Head, charge.head).time_ms]
    if isinstance(charge, WrongAnswer):
        times.append(peek_statement(AuditChallenge, charge.challenge).time_ms)
    if isinstance(charge, TwoHeads):
        times.append(peek_statement(Head, charge.other_head).time_ms)
    return times
