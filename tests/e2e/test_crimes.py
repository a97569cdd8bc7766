"""A real host that commits one crime after the other, beside an honest one: docs/crimes.md is the table of these.

Of each: nothing wrong reaches a file, the other copy is used, the criminal is named and nobody else, the command ends
with the code that the table says, a host that lost or withheld data gets none until its owner's person forgives it, and
once it is honest again all is well.
"""

import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from backuppeer.ids import parse_peer_id
from backuppeer.trust.evidence import Kind
from crimes.kit import Crime
from e2e.harness import Home, Result, World, agree, below, describe_tree, wait_until
from e2e.seen import note
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
TESTS = Path(__file__).resolve().parents[1]
DOCUMENT = TESTS.parent / "docs" / "crimes.md"


@dataclass(frozen=True)
class Row:
    """What is to be seen. backup, check: their codes with the honest host there; alone: of a restore without it.

    A restore with the honest host there is whole, and ends with 0. says: what the person reads of the criminal. kind:
    what is written down of it, if anything new is. is_barred: it gets no new data after that.
    """

    backup: int = 0
    check: int = 0
    alone: int = 15
    says: str = ""
    kind: Kind | None = None
    is_barred: bool = False


WRONG = Row(check=15, says="returned wrong bytes", kind=Kind.INTEGRITY_FAULT, is_barred=True)
NONSENSE = Row(check=15, says="broke the protocol", kind=Kind.PROTOCOL_VIOLATION, is_barred=True)
SET_BACK = Row(backup=15, check=15, alone=0, says="had countersigned head", kind=Kind.INTEGRITY_FAULT)
SLOW = Row(check=3, alone=11, says="no answer within")
TABLE = {
    Crime.FLIPS: WRONG,
    Crime.TRUNCATES: WRONG,
    Crime.SWAPS: WRONG,
    Crime.OLD_HEAD: SET_BACK,
    Crime.NO_HEAD: SET_BACK,
    Crime.FALSE_RECEIPT: Row(backup=15, alone=0, says="countersigned another head", kind=Kind.INTEGRITY_FAULT),
    Crime.WITHHOLDS: Row(
        backup=15, check=15, says="that it had acknowledged", kind=Kind.INTEGRITY_FAULT, is_barred=True
    ),
    Crime.DENIES: Row(check=15, says="does not give pack", kind=Kind.REFUSED, is_barred=True),
    Crime.STALLS: SLOW,
    Crime.DRIPS: SLOW,
    Crime.DROPS: Row(
        check=15, alone=0, says="that it had acknowledged are gone", kind=Kind.INTEGRITY_FAULT, is_barred=True
    ),
    Crime.LIES_ABOUT_ROOM: Row(alone=0, says="the agreement is full"),
    Crime.HANGS_UP: Row(alone=0, says="reset the stream"),
    Crime.OVERSIZED: NONSENSE,
    Crime.MALFORMED: NONSENSE,
    Crime.WRONG_TYPE: NONSENSE,
    Crime.BABBLES: NONSENSE,
    Crime.PAINTS: Row(check=15, says="does not give pack", kind=Kind.REFUSED, is_barred=True),
}
USUAL = (Crime.FLIPS, Crime.WITHHOLDS, Crime.OLD_HEAD, Crime.DROPS, Crime.MALFORMED)
"""Part of every run; `make crimes` commits all of them."""
_FORGIVEN = "another host gave what was asked for; `peers forgive` once it is honest again, and all is whole at both"
SEEN = {
    Crime.FLIPS: ("E6", "one of two hosts returns packs with flipped bits", _FORGIVEN),
    Crime.DROPS: ("E6", "one of two hosts deleted packs, and says so when asked", _FORGIVEN),
    Crime.MALFORMED: ("E9", "one of two hosts answers with messages that are no messages", _FORGIVEN),
}
"""What is part of docs/errors-seen.md."""
SOME = [
    pytest.param(USUAL, id="usual", marks=pytest.mark.seen),
    *(pytest.param(tuple(Crime)[part::3], id=f"all-{part}", marks=pytest.mark.long) for part in range(3)),
]


class Scene:
    """An owner with a host that becomes a criminal, and, if wished, one that never does."""

    def __init__(self, world: World, *, is_alone: bool = False) -> None:
        pair = agree(world)
        self.world, self.owner, self.criminal = world, pair.owner, pair.host
        self._started: dict[Path, subprocess.Popen[bytes]] = {}
        self.honest, _ = world.peer("bob")
        if not is_alone:
            self.honest.do("host", "--storage", "1GB", "--accept", "all", "--detach", "--yes")
            bob = ("connect", self.honest.peer_id(), "--storage", "400MB", "--name", "bob", "--yes", "--wait", "30s")
            self.owner.do(*bob)
        self.tree = world.path / "files"
        make_random_files(self.tree, count=6, size_bytes=1_500_000, seed=77)
        self._start(self.owner, "crimes.hasty")
        # Two backups, so that there is another pack to swap one for.
        self.back_up("first")
        self.back_up("second")

    def back_up(self, name: str) -> Result:
        (self.tree / name).write_text(name)
        done = self.owner.run("backup", str(self.tree))
        self.truth = describe_tree(self.tree)
        return done

    def restore(self, name: str) -> Result:
        target = self.world.path / name
        done = self.owner.run("restore", "latest", "--target", str(target))
        found = describe_tree(below(target, self.tree)) if below(target, self.tree).exists() else {}
        wrong = [entry for entry, seen in found.items() if entry != b"." and self.truth.get(entry) != seen]
        assert wrong == [], f"{name}: bytes that nobody vouched for reached files"
        assert done.code or found == self.truth, f"{name} ended with 0, and is not whole"
        return done

    def evidence(self, home: Home) -> list[Kind]:
        path = self.owner.path / "evidence.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            rows = db.execute(
                "SELECT kind FROM observations WHERE peer=? ORDER BY number", (parse_peer_id(home.peer_id()),)
            )
            return [Kind(kind) for (kind,) in rows]

    def turn(self, crime: Crime) -> Path:
        done = self.world.path / f"done-{crime}"
        self._start(self.criminal, "crimes.criminal", crime, str(done))
        return done

    def repent(self) -> None:
        self._stop(self.criminal)
        self.criminal.do("status")

    def end(self) -> None:
        self._stop(self.owner)
        self._stop(self.criminal)

    def forgive(self, name: str) -> list[Result]:
        """Forgive the criminal and back up; once more if that shows only now what it had lost."""
        done: list[Result] = []
        while not done or (done[-1].code == 15 and len(done) < 2):
            assert self.owner.run("peers", "forgive", "alice").code in {0, 2}
            done.append(self.back_up(f"{name} {len(done)}"))
        return done

    def is_barred(self) -> bool:
        told = " ".join(self.owner.do("status").last["notes"])
        assert "\x1b[31m" not in told
        [row] = [row for row in self.owner.do("peers").rows if row["alias"] == "alice"]
        assert bool(row["capped"]) is ("alice: it" in told)
        return "gets no new data" in told

    def _stop(self, home: Home) -> None:
        home.do("agent", "stop")
        if started := self._started.pop(home.path, None):
            started.wait(60)

    def _start(self, home: Home, *words: str) -> None:
        """Start the agent of a home by one of the programs of `crimes`, and wait until it answers."""
        self._stop(home)
        self._started[home.path] = subprocess.Popen(
            [sys.executable, "-m", *words, str(home.path)],
            env={**home.environment(), "PYTHONPATH": str(TESTS)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(lambda: home.run("agent", "status").last.get("running") is True, "the agent to answer")


def told_of(results: list[Result]) -> str:
    """All that a person read in these results, in one text."""
    return "\n".join(result.stdout + result.stderr for result in results)


@pytest.mark.parametrize("crimes", SOME)
def test_each_crime_is_seen_named_and_harms_no_file(world: World, crimes: tuple[Crime, ...]):
    scene = Scene(world)
    for crime in crimes:
        row = TABLE[crime]
        before = scene.evidence(scene.criminal), scene.evidence(scene.honest)
        done = scene.turn(crime)
        restored, backed_up = scene.restore(f"both-{crime}"), scene.back_up(f"one {crime}")
        again = scene.back_up(f"two {crime}")
        checked = scene.owner.run("check", "--read-data")
        assert restored.code == 0, (crime, restored)
        assert row.backup in {backed_up.code, again.code} <= {0, row.backup}, (crime, backed_up, again)
        assert checked.code == row.check, (crime, checked)
        assert scene.is_barred() is row.is_barred, crime
        scene.repent()
        healed = scene.forgive(f"after {crime}")
        assert healed[-1].code == 0, (crime, healed)
        assert len(healed[-1].last["peers"]) == 2, (crime, healed)
        said = told_of([restored, backed_up, again, checked, *healed])
        assert row.says in said, (crime, said)
        assert "\x1b[31m" not in said, "a peer may not paint our terminal"
        assert done.exists(), f"{crime} was never committed: the test proves nothing"
        new = scene.evidence(scene.criminal)[len(before[0]) :]
        assert row.kind is None or row.kind in new, (crime, new)
        assert set(scene.evidence(scene.honest)[len(before[1]) :]) <= {Kind.CONNECTED, Kind.STORED, Kind.RESTORED}
        assert scene.owner.run("check").code == 0, crime
        if crime in SEEN:
            case, how, way_out = SEEN[crime]
            note(world, case, how, checked, verb="check --read-data", code=15, way_out=way_out, hinted="")
    scene.end()


@pytest.mark.parametrize("crimes", [pytest.param((Crime.FLIPS, Crime.DENIES), id="usual"), *SOME[1:]])
def test_without_another_copy_the_restore_says_what_is_missing_and_why(world: World, crimes: tuple[Crime, ...]):
    scene = Scene(world, is_alone=True)
    for crime in crimes:
        done = scene.turn(crime)
        restored = scene.restore(f"alone-{crime}")
        assert restored.code == TABLE[crime].alone, (crime, restored)
        assert done.exists() or not restored.code, f"{crime} was never committed: the test proves nothing"
        assert not restored.code or restored.last["hint"], crime
        scene.repent()
    scene.end()


def test_the_document_has_a_row_for_each_crime_with_its_codes():
    rows = {
        cells[1].strip("` "): cells
        for line in DOCUMENT.read_text().partition("# Crimes of an owner")[0].splitlines()
        if len(cells := [cell.strip() for cell in line.split("|")]) > 6 and re.fullmatch(r"`[a-z-]+`", cells[1])
    }
    assert set(rows) == {str(crime) for crime in Crime} == {str(crime) for crime in TABLE}
    for crime, row in TABLE.items():
        codes = [int(code) for code in re.findall(r"\b(0|3|11|15)\b", rows[str(crime)][5])]
        assert codes == [row.backup, row.check, row.alone], crime
        assert row.says in rows[str(crime)][4]
