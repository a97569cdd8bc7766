"""Scenario of hosts that go on as another identity, some of them to shed what they did: stores and signatures are real.

Knows: `agent.repute`, courses of an honest host and of one that lost a tenth. Must not know: which values are good
enough. Each host lives three times in the home of an owner: whole, cut by a succession, and cut without a word of it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from structlog.testing import capture_logs

from backuppeer.agent.home.state import State
from backuppeer.agent.repute.heirs import Heirs
from backuppeer.agent.repute.standing import Standing
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import PeerFault
from backuppeer.ids import PeerId
from backuppeer.limits import GIB
from backuppeer.proof.statements import sign_statement
from backuppeer.proof.succession import Succession
from backuppeer.trust.evidence import EvidenceLog, Kind, Observation
from backuppeer.trust.exposure import cap_bytes
from backuppeer.trust.score import Fault
from simulation.courses import Course, Guise, run_courses
from simulation.hosts import GOOD_DAYS, REPAIR_DAYS, WATCHED_DAYS, Metrics, lose_at
from simulation.relation import Day
from simulation.world import World

CHANGES: Final = (GOOD_DAYS + 2, GOOD_DAYS + REPAIR_DAYS + 3)
"""Days on which a host takes another name: while something stands against it, and once it was made good."""
_OWNERS: Final = 2
_DAY_MS: Final = 86_400_000
_FAULTS: Final = {Fault.PROVEN_LOSS: Kind.LOST, Fault.REFUSED_ONLINE: Kind.REFUSED}


class _Days:
    """The day that it is, as a Clock."""

    def __init__(self) -> None:
        self.number = 1

    def now_ms(self) -> int:
        return self.number * _DAY_MS

    def monotonic_s(self) -> float:
        return self.now_ms() / 1000


class _Owner:
    """The home of an owner, as far as it judges."""

    def __init__(self, folder: Path) -> None:
        self.days = _Days()
        self.state, self.log = State(folder / "state.db"), EvidenceLog(folder / "evidence.db")
        self.heirs = Heirs(self.state, self.log.lines, self.days)
        self.standing = Standing(self.state, self.log, self.days)

    def see(self, peer: PeerId, day: Day, stored_gib: float) -> None:
        """Write down what a day with a host brought."""
        size_bytes = int(stored_gib * GIB)
        conduct = self.standing.conduct(peer)
        if day.fault is not None:
            self._note(peer, _FAULTS[day.fault], int(day.lost * GIB))
        elif day.audited:
            self._note(peer, Kind.AUDITED, size_bytes)
            if conduct.is_healed:
                self._note(peer, Kind.CLEARED)
        if day.is_mended and conduct.failed_ms and not conduct.is_healed:
            self._note(peer, Kind.HEALED)

    def trust(self, peer: PeerId) -> float:
        """Return T."""
        return self.standing.trust(peer)[0]

    def _note(self, peer: PeerId, kind: Kind, size_bytes: int = 0) -> None:
        self.log.record(Observation(peer, kind, self.days.now_ms(), size_bytes))


def run_succession(world: World) -> Metrics:
    """Measure what a host gains by going on as another, announced or not, and what an honest one loses by it."""
    guise = Guise(owners=_OWNERS, last_day=GOOD_DAYS + WATCHED_DAYS)
    found: Metrics = {
        "most gained by announcing": -1.0,
        "most gained by not announcing": -1.0,
        "most an honest one loses by announcing": -1.0,
        "foreign words followed": 0.0,
    }
    bad, honest = run_courses(world, guise, lose_at(GOOD_DAYS)), run_courses(world, guise, lambda _n, day, _r: day)
    follows = world.rules.follows_heirs
    for course in bad:
        for change in CHANGES:
            told, untold = _live(course, change, follows=follows)
            found["most gained by announcing"] = max(found["most gained by announcing"], *told)
            found["most gained by not announcing"] = max(found["most gained by not announcing"], *untold)
    for course in honest:
        told, _ = _live(course, CHANGES[0], follows=follows)
        lost = max(0.0, *(-gained for gained in told))
        found["most an honest one loses by announcing"] = max(found["most an honest one loses by announcing"], lost)
    found["foreign words followed"] = float(_count_foreign())
    found["exposure of a name without a past, GiB"] = (cap_bytes(0) or 0) / GIB
    return found


def _live(course: Course, change: int, *, follows: bool) -> tuple[list[float], list[float]]:
    """Return by how much T is above that of the same host under one name, from a change on: announced, and not."""
    whole, old, new, silent = (_id_of(number) for number in range(4))
    told, untold = list[float](), list[float]()
    with _owner() as owner:
        for number, day in enumerate(course.days, start=1):
            owner.days.number = number
            if number == change and follows:
                owner.heirs.take(_announce(1, 2), _WORDS.public)
            is_over = number >= change
            before = owner.trust(silent)
            for peer in (whole, new if is_over else old):
                owner.see(peer, day, course.stored[number - 1])
            if is_over:
                told.append(owner.trust(new) - owner.trust(whole))
                untold.append(before - owner.trust(whole))
    return told, untold


def _count_foreign() -> int:
    """Return how many successions are followed by which a stranger makes itself the heir of a host of good name."""
    foreign, own = SigningKey.from_seed(b"f" * 32), _announce(1, 2)
    made_up = sign_statement(_succession(1, 2, foreign.public), foreign, _key_of(2))
    with _owner() as owner:
        for forged in (made_up, own[:-1] + bytes([own[-1] ^ 1]), own[:-96] + made_up[-96:]):
            try:
                owner.heirs.take(forged, _WORDS.public)
            except PeerFault:
                continue
        return len(owner.heirs.list_all())


_WORDS: Final = SigningKey.from_seed(b"w" * 32)


def _announce(old: int, new: int) -> bytes:
    return sign_statement(_succession(old, new, _WORDS.public), _WORDS, _key_of(new))


def _succession(old: int, new: int, authority: bytes) -> Succession:
    return Succession(authority=authority, old=_id_of(old), new=_id_of(new), generation=new, time_ms=1)


def _key_of(number: int) -> SigningKey:
    return SigningKey.from_seed(bytes([number]) * 32)


def _id_of(number: int) -> PeerId:
    return PeerId(_key_of(number).public)


@contextmanager
def _owner() -> Iterator[_Owner]:
    with TemporaryDirectory() as folder, capture_logs():
        owner = _Owner(Path(folder))
        try:
            yield owner
        finally:
            owner.log.close()
            owner.state.close()
