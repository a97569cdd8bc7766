"""A home that thinks something of peers: its state, its evidence, and the parts over them; no keys, no network."""

from pathlib import Path

from agent.loops import SetClock
from backuppeer.agent.home.state import State
from backuppeer.agent.repute.standing import Standing
from backuppeer.agent.repute.views import make_views
from backuppeer.ids import PeerId
from backuppeer.limits import GIB
from backuppeer.trust.evidence import EvidenceLog, Kind, Observation

DAY_MS = 86_400_000


class Viewer:
    """Databases in `folder`, which is made if it is not there. places: the addresses that hosts signed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.state, self.log = State(folder / "state.db"), EvidenceLog(folder / "evidence.db")
        self.clock = SetClock()
        self.places: dict[PeerId, list[str]] = {}
        self.standing = Standing(self.state, self.log, self.clock)
        self.views = make_views(
            self.state, self.standing, self.log, self.clock, addresses=lambda peer: self.places.get(peer, ())
        )

    def saw(self, peer: PeerId, kind: Kind, *, days_ago: int = 0, days: int = 1, size_bytes: int = GIB) -> None:
        """See something of a peer: once, or on each of so many days up to `days_ago`."""
        for day in range(days):
            time_ms = self.clock.now_ms() - (days_ago + day) * DAY_MS
            self.log.record(Observation(peer, kind, time_ms, size_bytes))

    def close(self) -> None:
        self.state.close()
        self.log.close()
