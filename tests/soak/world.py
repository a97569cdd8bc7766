"""An owner and two hosts that stay open from step to step, each of which can be cut off as by a power cut at any send.

A process that dies leaves what is on the disk at that moment. So that is what is kept: at the chosen send, the folders
of those who die are copied as they lie there, open databases included, and the network is gone. When the job has
noticed, they are opened again from the copies.
"""

import asyncio
import os
import random
import shutil
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

from agent.estates import Estate
from agent.hosted import hosted
from agent.houses import HostHouse, OwnerHouse
from backuppeer.ids import StoredId
from backuppeer.limits import MIB, PACK_LIST_PAGE
from backuppeer.transport.memory.link import LOST_CODE, Link
from crash.world import hurry

T = TypeVar("T")
OWNER = "owner"
HOSTS = ("first", "second")
OFFERED_BYTES = 256 * MIB
LOCK_S = 60
"""How long hosts keep what the owner deleted."""
REBUILT = ("index.db", "ledger.db", "trees.db", "catalogue.db")
"""Databases with `synchronous=NORMAL`: a power cut may take all that stands in their logs."""
_carry = Link.carry


class Cut:
    """A power cut at one send: who dies, and where what they leave is kept."""

    def __init__(self, at: int, who: Sequence[str], world: "World") -> None:
        self._left, self._who, self._world = at, who, world
        self._links: set[Link] = set()
        self.has_come = False

    def __enter__(self) -> Self:
        def carry(link, pipe, piece):
            self._links.add(link)
            self._left -= 1
            if self._left == 0:
                self._come()
            if self.has_come:
                link.end(None, LOST_CODE, "power cut")
            _carry(link, pipe, piece)

        Link.carry = carry
        return self

    def __exit__(self, *_: object) -> None:
        Link.carry = _carry

    def _come(self) -> None:
        self.has_come = True
        for name in self._who:
            shutil.copytree(self._world.folder(name), self._world.image(name), copy_function=_copy_if_there)
        for link in self._links:
            link.end(None, LOST_CODE, "power cut")


class World:
    """Everything of one example, in one folder."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.files = base / "files"
        self.files.mkdir()
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self.houses = {name: self._open_house(name) for name in HOSTS}
        owner = OwnerHouse(self.folder(OWNER) / "home", b"o")
        for number, house in enumerate(self.houses.values(), 1):
            owner.agree_with(house, (OFFERED_BYTES, 3600, LOCK_S), number=number)
        owner.close()
        self._relax = hurry()
        self._open()

    def folder(self, name: str) -> Path:
        made = self.base / name
        made.mkdir(exist_ok=True)
        return made

    def image(self, name: str) -> Path:
        return self.base / f"{name}.image"

    def _open_house(self, name: str) -> HostHouse:
        return HostHouse(self.folder(name), name[0].encode(), offered_bytes=OFFERED_BYTES)

    def keeps(self, name: str) -> tuple[set[StoredId], set[StoredId]]:
        """Return what a host keeps: packs as any other, and those that wait for the end of their lock."""
        store = self.houses[name].premises.open()
        (lease,) = store.leases.list_all()
        alive = store.list_packs(lease.agreement, limit=PACK_LIST_PAGE)
        deleted = store.removals.list_deleted(lease.agreement, after=b"", limit=PACK_LIST_PAGE)
        assert max(len(alive), len(deleted)) < PACK_LIST_PAGE
        return {row.stored for row in alive}, {row.stored for row in deleted}

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(step)

    def _open(self) -> None:
        self.owner = OwnerHouse(self.folder(OWNER) / "home", b"o")
        self.estate = Estate(self.owner, self.folder(OWNER) / "estate")
        self.run(self._meet())

    async def _meet(self) -> None:
        for house in self.houses.values():
            link = await self._stack.enter_async_context(hosted(house, self.owner))
            self.estate.sight.sessions[house.peer] = link.session

    def _close(self) -> None:
        self.run(self._stack.aclose())
        self._stack = AsyncExitStack()
        self.estate.close()

    def close(self) -> None:
        self._close()
        for house in self.houses.values():
            house.close()
        self._runner.close()
        self._relax()

    def reopen(self, cut: Cut | None = None, who: Sequence[str] = (), *, seed: int | None = None) -> None:
        """End and open again: from what was left, if a cut came. `seed`: the logs of databases are lost, too."""
        self._close()
        for name in who if cut is not None and cut.has_come else ():
            if name in self.houses:
                self.houses[name].close()
            shutil.rmtree(self.folder(name))
            self.image(name).rename(self.folder(name))
            if seed is not None:
                _lose_logs(self.folder(name), random.Random(seed))
            if name in self.houses:
                self.houses[name] = self._open_house(name)
        self._open()


def _copy_if_there(source: str, target: str) -> None:
    # A thread may be renaming what it received: nobody was told of it yet.
    with suppress(FileNotFoundError):
        shutil.copy2(source, target)


def _lose_logs(folder: Path, rng: random.Random) -> None:
    for path in folder.rglob("*.db-shm"):
        path.unlink()
    for path in folder.rglob("*.db-wal"):
        if path.name.removesuffix("-wal") in REBUILT and rng.random() < 0.7:
            os.truncate(path, 0)
