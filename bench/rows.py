"""The rows of the benchmark: which data set, which pieces of work, which programs.

Knows: data sets and programs, by name. Must not know: how a row is run, what was measured.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from browsing import Browsing
from catalogue import SimulatedCatalogue
from chunks import SimulatedIndex
from datasets import (
    Dataset,
    MakeDataset,
    make_half,
    make_image,
    make_large,
    make_linear,
    make_many,
    make_small,
    make_thousand,
)
from engine import EngineAlone
from idling import IDLE_S, Idling
from link import LANES, MBIT_S, QUIC, ROUND_TRIP_MS, LinkedPair
from others import Borg, Restic
from ours import Pair
from peer import Make
from raw_quic import RawQuic
from recovery import Recovery
from relay import PAIRS, RelayAlone
from scores import SimulatedScores
from signaling_load import SignalingLoad
from source import VERSIONS, make_source
from starting import Starting

OURS: Final = "backup-peer"
REST: Final = "restic-rest"
RESTORE: Final = "restore"
USUAL: Final = (OURS, REST, "borg-local")
INDEX_CHUNKS: Final = 2_000_000
CATALOGUE_PACKS: Final = 10_000_000
SCORED_PEERS: Final = 10_000
IDLE_HOSTS: Final = 10_000
LINEAR: Final = {"linear-10k": 10_000, "linear-100k": 100_000, "linear-1m": 1_000_000}


@dataclass(frozen=True, slots=True)
class Row:
    """`works` in order: `restore` is one, all others are backups. `says`: one line for people."""

    says: str
    make: MakeDataset
    works: tuple[str, ...]
    peers: tuple[str, ...] = USUAL
    data: str = ""
    """Folder of the data set, if another row has the same."""
    has_many_files: bool = False
    """Removed at the very end: ext4 looks for free inodes far longer where many were deleted in the last minutes."""


def _nothing(_: Path, __: float) -> Dataset:
    return Dataset([])


_TWICE: Final = ("first", "unchanged", RESTORE)
ROWS: Final[Mapping[str, Row]] = {
    "small": Row("trees of this machine", make_small, _TWICE, has_many_files=True),
    "large": Row("2 GiB of random bytes in 4 files", make_large, _TWICE),
    "vm": Row(
        "a sparse image of 8 GiB, 2 GiB of it allocated; a tenth of those rewritten",
        make_image,
        ("first", "changed", RESTORE),
    ),
    "src": Row("a source tree in 4 successive versions", make_source, (*VERSIONS, RESTORE)),
    "thousand": Row("1,000 files of 1 to 64 KiB", make_thousand, ("first", *["unchanged"] * 5, RESTORE)),
    "quic": Row(
        "`large` without lanes, beside QUIC with nothing on it",
        make_large,
        ("first", RESTORE),
        ("backup-peer-quic", "raw-quic"),
        data="large",
    ),
    "recovery": Row("2 GB in 50,000 files found again from the words", make_many, ("recover",), ("recovery",)),
    "engine": Row("the engine alone on `large`, packs dropped", make_large, ("first",), ("engine",), data="large"),
    "index": Row(f"{INDEX_CHUNKS:,} simulated chunks looked up", _nothing, ("look up",), ("index",)),
    "catalogue": Row(f"a host's list of {CATALOGUE_PACKS:,} simulated packs", _nothing, ("look up",), ("catalogue",)),
    "scores": Row(f"{SCORED_PEERS:,} known peers by ten receipts of each", _nothing, ("score",), ("scores",)),
    "relay": Row(f"a server's relay, by 1 pair of peers and by {PAIRS}", _nothing, ("relay",), ("relay",)),
    "browse": Row("three servers, one dead, one hanging", _nothing, ("browse",), ("browse",)),
    "start": Row("commands that do nothing, an agent that starts", _nothing, ("start",), ("start",)),
    "idle": Row(f"two agents with a session, {IDLE_S:.0f} s left alone", _nothing, ("idle",), ("idle",)),
    "link": Row(
        f"512 MiB over a line of {MBIT_S} Mbit/s and {ROUND_TRIP_MS} ms, with and without lanes",
        make_half,
        ("first", RESTORE),
        (LANES, QUIC),
    ),
    "signaling": Row(f"a signaling server with {IDLE_HOSTS:,} hosts", _nothing, ("serve",), ("signaling",)),
} | {
    name: Row(f"{count:,} files of 200 to 3,000 bytes", make_linear(count), _TWICE, (OURS,), has_many_files=True)
    for name, count in LINEAR.items()
}
GROUPS: Final = {"linear": tuple(LINEAR), "all": tuple(ROWS)}


def expand_rows(words: str) -> list[str]:
    """Return the names of rows in a comma list that may name groups.

    Raises:
        SystemExit: one is neither row nor group.

    """
    found: list[str] = []
    for word in words.split(","):
        if word not in GROUPS and word not in ROWS:
            raise SystemExit(f"no row {word!r}; rows: {', '.join(ROWS)}; groups: {', '.join(GROUPS)}")
        found += GROUPS.get(word, (word,))
    return list(dict.fromkeys(found))


def find_makers(scale: float) -> dict[str, Make]:
    """Return how each program that is installed here is set up."""
    makers: dict[str, Make] = {
        OURS: Pair,
        "backup-peer-quic": partial(Pair, is_quic_only=True),
        "raw-quic": RawQuic,
        "recovery": Recovery,
        "engine": EngineAlone,
        "index": partial(SimulatedIndex, count=round(INDEX_CHUNKS * scale)),
        "catalogue": partial(SimulatedCatalogue, count=round(CATALOGUE_PACKS * scale)),
        "relay": partial(RelayAlone, scale=scale),
        "browse": Browsing,
        "start": Starting,
        "idle": partial(Idling, scale=scale),
        LANES: LinkedPair,
        QUIC: partial(LinkedPair, is_quic_only=True),
        "scores": partial(SimulatedScores, count=round(SCORED_PEERS * scale)),
        "signaling": partial(SignalingLoad, hosts=round(IDLE_HOSTS * scale)),
    }
    rclone = shutil.which("rclone")
    if shutil.which("restic"):
        makers["restic-local"] = Restic
        if rclone:
            makers[REST] = partial(Restic, rclone=rclone)
    if shutil.which("borg"):
        makers["borg-local"] = Borg
    return makers
