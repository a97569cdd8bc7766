"""An owner and a host in one process, with a network in memory and everything else real: the scene of the crash tests.

The scene is made once and copied for each point. `perform` is what is interrupted; `examine` is what must hold after.
"""

import os
import pickle
import random
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

from agent.estates import Estate
from agent.hosted import hosted
from agent.houses import HostHouse, OwnerHouse
from backuppeer.agent.commands.amend import AmendCommands
from backuppeer.agent.commands.prune import PruneCommands
from backuppeer.agent.home.config import read_config
from backuppeer.agent.jobs.check import CheckJob
from backuppeer.agent.peers import retry
from backuppeer.agent.reporter import Reporter
from backuppeer.backup.amending import ORIGINAL
from backuppeer.control.amendments import ForgetRequest, TagRequest
from backuppeer.control.checking import CheckRequest, CheckResult
from backuppeer.control.pruning import PruneRequest, PruneResult
from backuppeer.crypto.words import encode_words
from backuppeer.limits import MIB, RETRY_FIRST_S
from backuppeer.repo.snapshot import decode_snapshot
from e2e.harness import below, describe_tree

READER = Path(__file__).resolve().parents[2] / "tools" / "read_backup.py"
OFFERED_BYTES = 256 * MIB
LOCK_S = 60
Say = Callable[[str], None]


def hurry() -> Callable[[], None]:
    """Let nobody wait for a host that is away: the second pause of `retry` is longer than its patience.

    Returns how to undo that.
    """
    usual = retry.random

    def relax() -> None:
        retry.random = usual

    retry.random = SimpleNamespace(uniform=lambda _, most: 1e9 if most > RETRY_FIRST_S else 0.0)
    return relax


class Scene:
    """Folders of one scene: `files` are backed up; `truth` keeps what they were at each backup.

    `first_version`: of the files in the snapshot that `establish` returns.
    """

    first_version = 1

    def __init__(self, base: Path) -> None:
        self.base = base
        self.host, self.home, self.estate = base / "host", base / "home", base / "estate"
        self.files, self.truth, self.out = base / "files", base / "truth", base / "out"
        self.aside = base / "aside"

    def roots(self, side: str) -> tuple[Path, ...]:
        return (self.host,) if side == "host" else (self.home, self.estate)

    def write(self, version: int) -> None:
        """Change the files to those of a version: enough for several packs, and some that stay."""
        self.files.mkdir(exist_ok=True)
        source = random.Random(version)
        if version == 2:
            (self.files / "large").write_bytes(source.randbytes(17 * MIB))
        for number in range(4):
            (self.files / f"v{version}-{number}").write_bytes(source.randbytes(30_000))
        (self.files / "changing").write_text(f"version {version}\n" * version)
        self._remember(version)

    def _remember(self, version: int) -> None:
        self.truth.mkdir(exist_ok=True)
        with (self.truth / str(version)).open("wb") as file:
            pickle.dump(describe_tree(self.files), file)

    def recall(self, version: int) -> dict[bytes, tuple[object, ...]]:
        with (self.truth / str(version)).open("rb") as file:
            return pickle.load(file)  # noqa: S301 - our own

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[Estate, HostHouse]]:
        """Open both homes as they lie there, and let them be in session."""
        house = HostHouse(self.host, b"h", offered_bytes=OFFERED_BYTES)
        try:
            owner = OwnerHouse(self.home, b"o")
            estate = Estate(owner, self.estate)
            try:
                async with hosted(house, owner) as link:
                    estate.sight.sessions[house.peer] = link.session
                    yield estate, house
            finally:
                estate.close()
        finally:
            house.close()

    async def establish(self) -> str:
        """Make the two homes, let them agree, and make a first backup; return its snapshot."""
        self._agree()
        self.write(1)
        async with self.open() as (estate, _):
            return (await estate.back_up(self.files)).snapshot

    def _agree(self) -> None:
        house = HostHouse(self.host, b"h", offered_bytes=OFFERED_BYTES)
        owner = OwnerHouse(self.home, b"o")
        owner.agree_with(house, (OFFERED_BYTES, 3600, LOCK_S))
        owner.close()
        house.close()

    async def perform(self, first: str, say: Say) -> None:
        """Back up, tag, forget, back up; say what was acknowledged as soon as it was."""
        async with self.open() as (estate, _):
            self.write(2)
            second = await self._back_up(estate)
            say(f"made {second} 2")
            tagged = await tag(estate, second)
            say(f"tagged {second} {tagged}")
            say(f"forgetting {first}")
            await forget(estate, first)
            say(f"forgot {first}")
            self.write(3)
            say(f"made {await self._back_up(estate)} 3")

    async def _back_up(self, estate: Estate) -> str:
        made = await estate.back_up(self.files)
        assert made.errors == 0, "a file is blamed for what the disk did"
        return made.snapshot

    async def examine(self, acknowledged: "Acknowledged", *, thorough: bool) -> None:
        """Check that nothing acknowledged is lost, that the next backup completes, and that the store is whole."""
        async with self.open() as (estate, house):
            await self._check_latest(estate, max(acknowledged.made.values()))
            self.write(4)
            made = await estate.back_up(self.files)
            assert (made.errors, made.left_out) == (0, [])
            found = acknowledged.find(estate)
            await self._check(estate, [*found, (made.snapshot, 4)])
            again = await estate.back_up(self.files)
            assert again.new_bytes < 300_000, f"an unchanged backup sent {again.new_bytes} bytes anew"
            if thorough:
                estate.lose_repository()
                await self._check(estate, [*found, (again.snapshot, 4)])
            check_store(house)
            await self._examine_more(estate, house)
            await self._check_latest(estate, 4)
        if thorough:
            self._read_independently(again.snapshot)

    async def _examine_more(self, estate: Estate, house: HostHouse) -> None:
        """Check what else must hold."""

    async def _check_latest(self, estate: Estate, acknowledged: int) -> None:
        """Restore what is newest now: the last acknowledged version, or one that came true and nobody was told."""
        shutil.rmtree(self.out, ignore_errors=True)
        assert (await estate.restore("latest", self.out)).errors == 0
        found = describe_tree(below(self.out, self.files))
        versions = [int(path.name) for path in self.truth.iterdir() if int(path.name) >= acknowledged]
        assert found in [self.recall(version) for version in versions], f"latest is older than {acknowledged}"

    async def _check(self, estate: Estate, snapshots: Sequence[tuple[str, int]]) -> None:
        """Restore snapshots and compare them with the files of their version; what can't be found is lost."""
        for snapshot, version in snapshots:
            shutil.rmtree(self.out, ignore_errors=True)
            done = await estate.restore(snapshot, self.out)
            assert done.errors == 0, f"version {version}: {done.errors} errors"
            assert describe_tree(below(self.out, self.files)) == self.recall(version), f"version {version} differs"

    def _read_independently(self, snapshot: str) -> None:
        """Let the reader that shares no code with the program read every pack and restore."""
        shutil.rmtree(self.out, ignore_errors=True)
        command = [sys.executable, "-I", os.fspath(READER), os.fspath(self.host / "store"), "--check"]
        done = subprocess.run(
            [*command, "--snapshot", snapshot[:16], "--target", os.fspath(self.out)],
            input=encode_words(b"o" * 32) + "\n",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"the independent reader: {done.stdout} {done.stderr}"
        assert describe_tree(below(self.out, self.files)) == self.recall(4)


def check_store(house: HostHouse) -> None:
    """Hash every byte that the host keeps; nothing may be left over of what was under way."""
    store = house.premises.open()
    found = store.rebuild_catalogue(verify=True)
    assert (found.added, found.missing.total(), found.damaged) == (0, 0, []), found
    assert not list((store.directory / "incoming").iterdir())


class Acknowledged:
    """What the interrupted process was told is done: snapshots by the version of the files they are of."""

    def __init__(self, first: str, version: int) -> None:
        self.made: dict[str, int] = {first: version}
        self.tagged: dict[str, str] = {}
        self.forgetting: set[str] = set()
        self.forgotten: set[str] = set()

    def hear(self, line: str) -> None:
        match line.split():
            case ["made", snapshot, version]:
                self.made[snapshot] = int(version)
            case ["tagged", before, after]:
                self.tagged[before] = after
            case ["forgetting", snapshot]:
                self.forgetting.add(snapshot)
            case ["forgot", snapshot]:
                self.forgotten.add(snapshot)

    def find(self, estate: Estate) -> list[tuple[str, int]]:
        """Return the snapshots that must be there, as they are named now, and their versions."""
        listed = {name.hex(): decode_snapshot(body) for name, body in estate.vault.repository.index.snapshots()}
        by_original = {body.ext.get(ORIGINAL, b"").hex(): name for name, body in listed.items()}
        found = []
        for snapshot, version in self.made.items():
            # A change that nobody was told of may have come true, whole.
            now = snapshot if snapshot in listed else by_original.get(snapshot)
            assert now or snapshot in self.forgetting, f"the snapshot of version {version} is lost"
            assert not now or snapshot not in self.forgotten, "what was forgotten is back"
            assert self.tagged.get(snapshot, now) == now, "tags are lost"
            if now:
                found.append((now, version))
        return found


def _commands(estate: Estate, kind: type = AmendCommands):
    config = partial(read_config, estate.home)
    return kind(SimpleNamespace(owner=SimpleNamespace(vault=estate.vault), parts=None, config=config))


async def forget(estate: Estate, *snapshots: str) -> None:
    request = ForgetRequest(snapshots=list(snapshots))
    request.agreed = (await _commands(estate).plan_forget(request, None)).digest
    await _commands(estate).forget(request, estate._emit)


async def tag(estate: Estate, snapshot: str) -> str:
    done = await _commands(estate).tag(TagRequest(snapshots=[snapshot], add=["kept"]), estate._emit)
    return done.changed[0].snapshot


async def prune(estate: Estate, **wishes) -> PruneResult:
    return await _commands(estate, PruneCommands).prune(PruneRequest(agreed=True, **wishes), estate._emit)


async def check(estate: Estate, **wishes) -> CheckResult:
    return await CheckJob(estate.vault, CheckRequest(**wishes), Reporter(estate._emit)).run()


def pass_time(house: HostHouse, seconds: int) -> int:
    """Let a host's agent see time pass, as much as it would count of it; return how many packs it erased."""
    sweep, packs = house.premises.open().sweep, 0
    sweep.add_age(seconds)
    while erased := sweep.run().packs:
        packs += erased
    return packs
