"""A real owner that commits crimes against its host, one after the other, beside an honest one (docs/crimes.md).

Of each: the host answers as the table says and blames the right peer and nobody else, its disk and memory stay bounded,
not a byte of the honest owner's changes, and the honest owner backs up meanwhile and restores afterwards.
"""

import hashlib
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from backuppeer.agent.home.home import Home as Folder
from backuppeer.agent.home.keyring import load_keys
from backuppeer.agent.home.state import State
from backuppeer.ids import StoredId, parse_peer_id
from backuppeer.limits import AGREEMENT_PACKS_MIN, LIST_RESERVE_BYTES, MIB
from backuppeer.proof.removals import PackDelete, sign_removal
from backuppeer.proof.statements import statement_hash
from backuppeer.trust.evidence import Kind
from crimes.thefts import Loot, Overheard, Theft
from e2e.harness import Home, World, below, describe_tree, wait_until
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
TESTS = Path(__file__).resolve().parents[1]
DOCUMENT = TESTS.parent / "docs" / "crimes.md"
SIZE_BYTES = 64 * MIB
"""What the thief has agreed on: the least there is."""
GROWTH_BYTES = 160 * MIB
"""What the host's process may take more at its peak: its pieces, and what iroh buffers of a hundred streams."""


@dataclass(frozen=True)
class Row:
    """What is to be seen.

    answers: beginnings of what the host says, each at least once, and nothing else is said; closed: the code by which
    it ends the session, None = it goes on; kind: what is written down of the thief.
    """

    answers: tuple[str, ...]
    closed: int | None = None
    kind: Kind | None = None


GONE = ("PeerUnreachable",)
BROKEN = Row(GONE, closed=2, kind=Kind.PROTOCOL_VIOLATION)
NOT_YOURS = "Refused 5: no such agreement with you"
TABLE = {
    Theft.RACES: Row(("Stored", "Refused 2: the agreement is full")),
    Theft.CRUMBS: Row(("Stored", "Refused 2: the agreement holds 256 packs, its most")),
    Theft.PATHS: Row(
        (NOT_YOURS, "Refused 6: the bytes sent are not those of pack", "Refused 5: "), kind=Kind.PROTOCOL_VIOLATION
    ),
    Theft.SHORT_ID: BROKEN,
    Theft.WRONG_BYTES: Row(("Refused 6: the bytes sent are not those of pack",), kind=Kind.PROTOCOL_VIOLATION),
    Theft.SILENT_PUTS: Row(("held",)),
    Theft.REDIALS: Row(("held",)),
    Theft.NEVER_READS: Row(("PackList", "held")),
    Theft.DELETES_OTHERS: Row(("HeadIs", "Deleted", NOT_YOURS)),
    Theft.TOO_MANY: BROKEN,
    Theft.OLD_DELETE: Row(("PackList", "Refused 1: the request names head ")),
    Theft.REPLAYED_DELETE: Row((NOT_YOURS, *GONE), closed=2, kind=Kind.PROTOCOL_VIOLATION),
    Theft.OLD_HEAD: Row(("HeadIs",)),
    Theft.FOREIGN_HEAD: BROKEN,
    Theft.OTHER_REPOSITORY: BROKEN,
    Theft.NAMES_ANOTHER: BROKEN,
    Theft.TAKES_AN_ID: Row(("Refused 1: no request of yours was accepted",)),
    Theft.ACKS_ABSENT: Row(("Acked",)),
    Theft.AUDITS: Row(("PackList", "HeadIs", "Audited", "Refused 9: ")),
    Theft.ABSURD_SAMPLES: Row(("PackList", "HeadIs", "Audited")),
    Theft.FORGED_CHALLENGE: Row(("HeadIs", *GONE), closed=2, kind=Kind.PROTOCOL_VIOLATION),
    Theft.OVERSIZED: BROKEN,
    Theft.MALFORMED: BROKEN,
    Theft.LEAVES_LANES: Row(("Usage",)),
    Theft.PAGES: Row(("PackList",)),
}
USUAL = (Theft.PATHS, Theft.REDIALS, Theft.DELETES_OTHERS, Theft.REPLAYED_DELETE, Theft.FOREIGN_HEAD, Theft.RACES)
"""Part of every run; `make crimes` commits all of them."""
SOME = [
    pytest.param(USUAL, id="usual"),
    *(pytest.param(tuple(Theft)[part::3], id=f"all-{part}", marks=pytest.mark.long) for part in range(3)),
]


class Scene:
    """A host with two owners, of which one is robbed of all its keys, or was never honest."""

    def __init__(self, world: World) -> None:
        world.start_server()
        self.world = world
        self.host, _ = world.peer("host")
        self.thief, _ = world.peer("thief")
        self.honest, _ = world.peer("honest")
        self.host.do("host", "--storage", "1GB", "--lock", "30d", "--accept", "all", "--detach", "--yes")
        name = self.host.peer_id()
        for home in (self.thief, self.honest):
            home.do("connect", name, "--storage", f"{SIZE_BYTES}B", "--name", "alice", "--yes", "--wait", "60s")
        self.tree, small = world.path / "files", world.path / "small"
        make_random_files(self.tree, count=3, size_bytes=700_000, seed=78)
        make_random_files(small, count=2, size_bytes=700_000, seed=79)
        for number in range(2):
            (small / "again").write_text(str(number))
            self.thief.do("backup", str(small))
        self.honest.do("backup", str(self.tree))
        self.thief.do("agent", "stop")
        self.agreements = {home.path: _agreement(home) for home in (self.thief, self.honest)}
        self.names = {path.name for path in self.host.path.iterdir()}
        (self.pid,) = self.host.agent_pids()

    def folder(self, home: Home) -> Path:
        return self.host.path / "store" / "agreements" / self.agreements[home.path].hex()

    def packs(self, home: Home) -> dict[Path, bytes]:
        """Each file of an owner's packs with the hash of its bytes."""
        found = (path for path in (self.folder(home) / "packs").rglob("*") if path.is_file())
        return {path: hashlib.sha256(path.read_bytes()).digest() for path in found}

    def overheard(self) -> Path:
        """Write down what the thief knows of the honest owner: all that the host has, and a request it signed."""
        keys, state = load_keys(Folder(self.honest.path)), State(self.honest.path / "state.db")
        number, head, grant = state.last_head(keys.repository)
        state.close()
        agreement = self.agreements[self.honest.path]
        packs = [StoredId(bytes.fromhex(path.name)) for path in self.packs(self.honest) if "." not in path.name]
        request = sign_removal(
            PackDelete, packs, keys.identity, agreement=agreement, head=(statement_hash(head), number), time_ms=1
        )
        path = self.world.path / "overheard"
        path.write_bytes(msgspec.msgpack.encode(Overheard(agreement, keys.peer, packs, head, grant, request)))
        return path

    @contextmanager
    def crime(self, theft: Theft) -> Iterator[Path]:
        """Let the thief commit a crime while the block runs; gives the file in which its loot will be."""
        out = self.world.path / f"loot-{theft}"
        words = (str(theft), str(self.overheard()), str(out), str(self.thief.path))
        said = self.world.path / f"said-{theft}"
        with said.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "crimes.thief", *words],
                env={**self.thief.environment(), "PYTHONPATH": str(TESTS)},
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        try:
            yield out
            wait_until(lambda: out.exists() or process.poll() is not None, f"{theft} to be done", timeout_s=120)
            assert out.exists(), said.read_text()[-3000:]
        finally:
            process.stdin.close()
            try:
                process.wait(20)
            finally:
                process.kill()
                process.wait()

    def back_up(self, theft: Theft) -> None:
        (self.tree / f"new {theft}").write_text(theft)
        done = self.honest.run("backup", str(self.tree))
        assert done.code == 0, (theft, done)

    def restore(self, name: str) -> None:
        target = self.world.path / f"restored {name}"
        self.honest.do("restore", "latest", "--target", str(target))
        assert describe_tree(below(target, self.tree)) == describe_tree(self.tree)

    def evidence(self) -> list[tuple[bytes, Kind]]:
        with closing(sqlite3.connect(f"file:{self.host.path / 'evidence.db'}?mode=ro", uri=True)) as db:
            rows = db.execute("SELECT peer, kind FROM observations ORDER BY number").fetchall()
        return [(peer, Kind(kind)) for peer, kind in rows]

    def peak_bytes(self, *, anew: bool = False) -> int:
        """The most memory that the host's process had, since it was last asked `anew`."""
        said = Path(f"/proc/{self.pid}/status").read_text()
        if anew:
            Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        return int(re.search(r"VmHWM:\s+(\d+) kB", said)[1]) * 1024

    def check_bounds(self, theft: Theft) -> None:
        """The store holds of the thief what was agreed, and no file lies where none belongs."""
        sizes = [path.stat().st_size for path in self.packs(self.thief) if path.suffix != ".leaves"]
        assert sum(sizes) <= SIZE_BYTES + LIST_RESERVE_BYTES, theft
        assert len(sizes) <= max(AGREEMENT_PACKS_MIN, SIZE_BYTES * 4096 // 2**30) + 16, theft
        store = self.host.path / "store"
        assert {path.name for path in (store / "agreements").iterdir()} == {i.hex() for i in self.agreements.values()}
        assert {path.name for path in self.host.path.iterdir()} == self.names, theft
        odd = [p.name for p in self.packs(self.thief) if not re.fullmatch(r"[0-9a-f]{64}(\.leaves)?", p.name)]
        assert odd == [], theft
        wait_until(lambda: not list((store / "incoming").iterdir()), f"{theft}: what was not finished to be dropped")


def _agreement(home: Home) -> bytes:
    with closing(sqlite3.connect(f"file:{home.path / 'state.db'}?mode=ro", uri=True)) as db:
        ((agreement,),) = db.execute("SELECT agreement FROM agreements").fetchall()
    return bytes(agreement)


def check_loot(theft: Theft, loot: Loot) -> None:
    row = TABLE[theft]
    assert loot.closed == row.closed, (theft, loot)
    said = sorted(loot.answers)
    assert all(any(name.startswith(start) for name in said) for start in row.answers), (theft, loot)
    assert all(name.startswith(row.answers) for name in said), (theft, loot)


@pytest.mark.parametrize("thefts", SOME)
def test_each_crime_of_an_owner_is_refused_and_harms_nobody(world: World, thefts: tuple[Theft, ...]):
    scene = Scene(world)
    thief, honest = (parse_peer_id(home.peer_id()) for home in (scene.thief, scene.honest))
    for theft in thefts:
        before, seen, memory = scene.packs(scene.honest), len(scene.evidence()), scene.peak_bytes(anew=True)
        with scene.crime(theft) as out:
            scene.back_up(theft)
            wait_until(out.exists, f"{theft} to be done", timeout_s=120)
            # Now that the thief holds whatever it could get hold of.
            scene.back_up(theft)
        check_loot(theft, msgspec.json.decode(out.read_bytes(), type=Loot))
        new = scene.evidence()[seen:]
        faults = {kind for peer, kind in new if peer == thief} - {Kind.CONNECTED}
        assert faults == ({TABLE[theft].kind} if TABLE[theft].kind else set()), (theft, new)
        assert {kind for peer, kind in new if peer != thief} <= {Kind.CONNECTED}, (theft, new)
        after = scene.packs(scene.honest)
        assert {path: after.get(path) for path in before} == before, f"{theft}: what is another's was touched"
        scene.check_bounds(theft)
        assert scene.peak_bytes() < memory + GROWTH_BYTES, theft
        assert scene.host.do("status").code == 0
        assert scene.host.agent_pids() == [scene.pid], f"{theft}: the host's agent began anew"
    scene.restore("at the end")
    assert honest not in {peer for peer, kind in scene.evidence() if kind is not Kind.CONNECTED}


def test_the_document_has_a_row_for_each_crime_of_an_owner():
    text = DOCUMENT.read_text().partition("# Crimes of an owner")[2].partition("# Crimes of a signaling server")[0]
    rows = {
        cells[1].strip("` "): cells
        for line in text.splitlines()
        if len(cells := [cell.strip() for cell in line.split("|")]) > 6 and re.fullmatch(r"`[a-z-]+`", cells[1])
    }
    assert set(rows) == {str(theft) for theft in Theft} == {str(theft) for theft in TABLE}
    for theft, row in TABLE.items():
        said, written = rows[theft][4], rows[theft][5]
        assert [int(code) for code in re.findall(r"closes the session \((\d)\)", said)] == [row.closed] * bool(
            row.closed
        )
        assert written.startswith("broken protocol" if row.kind else "nothing"), theft
        codes = {answer[: len("Refused 0")] for answer in row.answers if answer.startswith("Refused")}
        assert codes <= set(re.findall(r"Refused \d", said)), theft
