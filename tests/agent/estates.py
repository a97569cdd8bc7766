"""An owner with its vault, and hosts in session with it: whole backups over a network in memory, in real time."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from agent.hosted import Link, hosted
from agent.houses import HostHouse, OwnerHouse
from backuppeer.agent.audits.auditor import Auditor
from backuppeer.agent.home.keyring import load_keys
from backuppeer.agent.home.state import State
from backuppeer.agent.jobs.backup import BackupJob, Paths
from backuppeer.agent.jobs.restore import RestoreJob
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.session import Session
from backuppeer.agent.reporter import Reporter, reporting
from backuppeer.agent.repute.standing import Standing
from backuppeer.clock import SystemClock
from backuppeer.control.restoring import RestoreRequest, RestoreResult
from backuppeer.control.saving import BackupRequest, BackupResult
from backuppeer.errors import PeerUnreachable
from backuppeer.ids import PeerId, format_peer_id
from backuppeer.trust.evidence import EvidenceLog, Kind


class Sight:
    """Stands where Reach would find hosts: those in `sessions` are there, all others away.

    `redial`: how to get another session with a host whose last one has ended, for those that are dialled again.
    """

    def __init__(self) -> None:
        self.sessions = {}
        self.redial: dict[PeerId, Callable[[], Awaitable[Session]]] = {}
        self.away: set[PeerId] = set()

    def traffic_bytes(self, peers):
        sessions = [session for peer, session in self.sessions.items() if peer in peers]
        return sum(session.sent_bytes + session.received_bytes for session in sessions)

    def absent_since_ms(self, peer: PeerId) -> int:
        return 0

    async def session(self, peer: PeerId):
        if peer in self.away or peer not in self.sessions:
            raise PeerUnreachable("away")
        if not self.sessions[peer].is_open and peer in self.redial:
            self.sessions[peer] = await self.redial[peer]()
        return self.sessions[peer]


class Estate:
    """An owner's home that can be set back to what it was; what it saw of hosts is kept outside of it."""

    def __init__(self, owner: OwnerHouse, folder: Path) -> None:
        owner.close()
        folder.mkdir(exist_ok=True)
        self.home, self.folder = owner.home, folder
        self.sight, self.progress, self.notes, self.states = Sight(), [], [], []
        self._emitted = asyncio.Event()
        self.links: dict[PeerId, Link] = {}
        self.faults: list[tuple[str, str]] = []
        """Who was caught at what."""
        self.evidence = EvidenceLog(folder / "evidence.db")
        self._open()

    def _open(self) -> None:
        self.state, clock = State(self.home.state), SystemClock()
        standing = Standing(self.state, self.evidence, clock)
        keys = load_keys(self.home)
        self.vault = Vault(self.home, keys, self.state, clock, reach=self.sight, standing=standing)
        self.auditor = Auditor(self.home, keys, self.state, self.vault)

    def close(self) -> None:
        self._close_home()
        self.evidence.close()

    def _close_home(self) -> None:
        self.vault.close()
        self.state.close()

    def restart(self) -> None:
        """Load keys and databases anew, as an agent that starts does."""
        self._close_home()
        self._open()

    def photograph(self) -> Path:
        """Keep an image of the home as it is now."""
        self._close_home()
        image = self.folder / f"image{len(list(self.folder.iterdir()))}"
        shutil.copytree(self.home.path, image)
        self._open()
        return image

    def set_back(self, image: Path) -> None:
        self._close_home()
        shutil.rmtree(self.home.path)
        shutil.copytree(image, self.home.path)
        self._open()

    def lose_repository(self, *names: str) -> None:
        """Let the home lose its index, tree cache and ledger, or only those named."""
        self._close_home()
        for path in self.home.repository.rglob("*.db*"):
            if not names or path.name.split(".")[0] in names:
                path.unlink()
        self._open()

    async def back_up(self, path: Path, *to: HostHouse, is_watched: bool = False) -> BackupResult:
        self.progress = []
        names = [format_peer_id(house.peer) for house in to]
        request = BackupRequest(servers=[], paths=[str(path)], to=names, is_watched=is_watched)
        async with reporting(self._emit) as reporter:
            return await BackupJob(self.vault, request, reporter, Paths(request)).run()

    async def restore(self, snapshot: str, target: Path) -> RestoreResult:
        request = RestoreRequest(servers=[], snapshot=snapshot, target=str(target))
        return await RestoreJob(self.vault, request, Reporter(self._emit), self._emit).run()

    async def _emit(self, event) -> None:
        if event.event == "progress":
            self.progress.append(event.data)
        if event.event == "note":
            self.notes.append(event.data["text"])
        if event.event == "fault":
            self.faults.append((event.data["peer_id"], event.data["message"]))
        if event.event == "state":
            self.states.append(event.data["text"])
        self._emitted.set()

    async def hear(self, words: str, work: asyncio.Task) -> None:
        """Wait until the job that is at work says that it is at something."""
        while not any(words in text for text in self.states):
            assert not work.done(), work
            self._emitted.clear()
            emitted = asyncio.ensure_future(self._emitted.wait())
            await asyncio.wait({emitted, work}, return_when=asyncio.FIRST_COMPLETED)
            emitted.cancel()

    async def back_up_then_forget(self, grow: Callable[[], Path], *rounds: Sequence[HostHouse]) -> list[bytes]:
        """Back up to all hosts, then once to those of each round, and set the home back to before the rounds.

        grow: adds a file to the folder that is backed up. Returns the snapshots that there were at the end.
        """
        await self.back_up(grow())
        image = self.photograph()
        for houses in rounds:
            await self.back_up(grow(), *houses)
        made = self.snapshots()
        self.set_back(image)
        return made

    def dial_again(self, house: HostHouse) -> None:
        """Let a session with a host that has ended be followed by another."""
        link = self.links[house.peer]
        self.sight.redial[house.peer] = partial(link.near.dial, link.far)

    def snapshots(self) -> list[bytes]:
        return [snapshot for snapshot, _ in self.vault.repository.index.snapshots()]

    def forgive(self, house: HostHouse) -> None:
        """What `peers forgive` does: nothing stands against the host any more."""
        self.vault.standing.saw(house.peer, Kind.FORGIVEN)

    def seen(self, house: HostHouse) -> set[Kind]:
        return {observation.kind for observation in self.evidence.latest(house.peer)}


@asynccontextmanager
async def estate_of(owner: OwnerHouse, folder: Path, *houses: HostHouse) -> AsyncIterator[Estate]:
    """Agree with hosts, and be in session with each of them."""
    for number, house in enumerate(houses, 1):
        owner.agree_with(house, house.wish, number=number)
    estate = Estate(owner, folder)
    async with AsyncExitStack() as stack:
        stack.callback(estate.close)
        for house in houses:
            link = await stack.enter_async_context(hosted(house, owner))
            estate.sight.sessions[house.peer] = link.session
            estate.links[house.peer] = link
        yield estate
