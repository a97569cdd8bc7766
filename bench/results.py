"""What was measured, kept in one JSON file, so that a benchmark of hours can be taken in pieces.

Knows: samples, the file, which rounds are finished. Must not know: how a sample was taken, how it is shown.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from machine import MUST_MATCH

FORMAT = 1


class Sample(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One program did one piece of work once. Sizes in bytes; groups are `owner` and `host`."""

    row: str
    work: str
    peer: str
    round: int
    scale: float
    seconds: float
    cpu_s: dict[str, float] = {}
    peak_bytes: dict[str, int] = {}
    others_cpu_s: float = 0.0
    """Processor time that neither the program nor the benchmark took: how busy the machine was otherwise."""
    files: int = 0
    size_bytes: int = 0
    """Of the data set at that time, files as long as they say."""
    sent_bytes: int | None = None
    plain_bytes: int | None = None
    """New to the program, before compression, sealing and padding; restic counts its trees, too."""
    stored_bytes: int | None = None
    """At the far end, all that is there after the work."""
    new_bytes: int | None = None
    """By how much that has grown."""
    allocated_bytes: int | None = None
    """Of a restore: what it takes on the disk."""
    differences: int = 0
    """Of a restore: files and folders that are not as in the original."""
    synced: str = ""
    figures: dict[str, float] = {}
    when: str = ""
    version: str = ""


class Results(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """All samples of one machine."""

    format: int = FORMAT
    machine: dict[str, str] = {}
    samples: list[Sample] = []


@dataclass(frozen=True, slots=True)
class Turn:
    """One program's part of one round of one row: kept whole or not at all."""

    row: str
    peer: str
    round: int
    scale: float


def load_results(path: Path, machine: dict[str, str]) -> Results:
    """Return what the file has, or nothing yet; the machine is described as it is now.

    Raises:
        SystemExit: the file is of another machine, or is no such file.

    """
    if not path.exists():
        return Results(machine=machine)
    found = read_results(path)
    other = [name for name in MUST_MATCH if found.machine.get(name) != machine.get(name)]
    if other and found.samples:
        raise SystemExit(f"{path} has figures of another machine ({', '.join(other)}): name another file, --json")
    found.machine = machine
    return found


def read_results(path: Path) -> Results:
    """Return what the file has.

    Raises:
        SystemExit: it is no such file, or of another version.

    """
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Results)
    except (OSError, msgspec.DecodeError) as exc:
        raise SystemExit(f"{path} can't be read as results: {exc}") from exc
    if found.format != FORMAT:
        raise SystemExit(f"{path} has format {found.format}, this benchmark knows {FORMAT}")
    return found


def save_results(path: Path, results: Results) -> None:
    """Replace the file, all or nothing: hours of work must not end in half a file."""
    aside = path.with_name(f".{path.name}.part")
    with aside.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def turn_of(sample: Sample) -> Turn:
    """Return the turn that a sample belongs to."""
    return Turn(sample.row, sample.peer, sample.round, sample.scale)


def drop_turns(results: Results, turns: Iterable[Turn]) -> None:
    """Forget these turns: they are taken again."""
    gone = set(turns)
    results.samples = [sample for sample in results.samples if turn_of(sample) not in gone]


def find_missing(results: Results, turns: Iterable[Turn]) -> list[Turn]:
    """Return those turns that have no samples yet, in their order."""
    done = {turn_of(sample) for sample in results.samples}
    return [turn for turn in turns if turn not in done]
