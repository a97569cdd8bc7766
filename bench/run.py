"""The benchmark: the same work by BackupPeer and by what users have, in one run on one machine.

    make bench [ROW=small,large] [PEERS=backup-peer,restic-rest] [ROUNDS=3] [SCALE=0.1] [JSON=FILE] [AGAIN=1]

Prints a table and keeps JSON beside it. Rounds that are finished stand in the JSON and are not taken again, so rows
can be run one by one, and after an interruption the same command goes on. Knows: what was asked for, where things lie.
Must not know: how a round goes, how a program is driven.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from machine import describe_machine
from peer import Make
from results import Results, Sample, Turn, drop_turns, find_missing, load_results, save_results
from rounds import Round, run_round
from rows import ROWS, expand_rows, find_makers
from table import format_line, format_text


@dataclass(frozen=True, slots=True)
class Bench:
    """One run of the benchmark. `root`: data sets in `data`, all else in `run`, which is new and removed at the end."""

    results: Results
    json: Path
    makers: Mapping[str, Make]
    root: Path
    run: Path
    scale: float

    def take(self, name: str, turns: Sequence[Turn]) -> None:
        """Take the turns of one row, round by round, keeping each round when it is finished."""
        row = ROWS[name]
        for number in sorted({turn.round for turn in turns}):
            folder = self.run / f"{name}-{number}"
            peers = [turn.peer for turn in turns if turn.round == number]
            data = self.root / "data" / f"{row.data or name}-{self.scale:g}"
            this = Round(name, row, number, self.scale, folder, data, self.results.machine["backup-peer"])
            taken: list[Sample] = []
            for sample in run_round(this, self.makers, peers):
                taken.append(sample)
                print(format_line(sample), flush=True)
            self.results.samples += taken
            save_results(self.json, self.results)
            if not row.has_many_files:
                shutil.rmtree(folder, ignore_errors=True)


def plan_turns(names: Sequence[str], peers: Sequence[str], *, rounds: int, scale: float) -> list[Turn]:
    """Return all turns of these rows; `peers` empty: those that each row has by itself."""
    return [
        Turn(name, peer, number, scale)
        for name in names
        for number in range(rounds)
        for peer in (peers or ROWS[name].peers)
    ]


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return what was asked for."""
    rows = "\n".join(f"  {name:<12} {row.says}" for name, row in ROWS.items())
    parser = argparse.ArgumentParser(
        description="Measure BackupPeer beside restic and borg.",
        epilog=f"rows:\n{rows}\n  linear       the three above; all: everything",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--row", default="small,large,thousand", help="rows, comma separated (default: %(default)s)")
    parser.add_argument("--peers", default="", help="programs, comma separated (default: those of the row)")
    parser.add_argument("--rounds", type=int, default=1, help="how often, programs taking turns; the median is shown")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the data sets, 0.1 is a tenth: for a trial")
    parser.add_argument(
        "--root", type=Path, help="folder on the disk to test, for data sets that stay (default: temporary)"
    )
    parser.add_argument("--json", type=Path, default=Path("bench-result.json"), help="file of results")
    parser.add_argument("--again", action="store_true", help="take finished rounds of these rows again")
    parser.add_argument("--keep", action="store_true", help="with --root: leave what was stored and restored")
    return parser.parse_args(words)


def main() -> int:
    """Run the rows asked for; 1 if anything restored differs from the original, 130 when interrupted."""
    options = parse_arguments()
    try:
        return _run(options)
    except KeyboardInterrupt:
        print(f"interrupted; finished rounds are in {options.json}, the same command goes on", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    names, makers = expand_rows(options.row), find_makers(options.scale)
    peers = options.peers.split(",") if options.peers else []
    turns = plan_turns(names, peers, rounds=options.rounds, scale=options.scale)
    for peer in dict.fromkeys(turn.peer for turn in turns if turn.peer not in makers):
        print(f"{peer} is not installed here, or no such program: left out", file=sys.stderr)
    turns = [turn for turn in turns if turn.peer in makers]
    results = load_results(options.json, describe_machine(options.root or Path(tempfile.gettempdir())))
    if options.again:
        drop_turns(results, turns)
    root = (options.root or Path(tempfile.mkdtemp(prefix="bpb-"))).resolve()
    root.mkdir(parents=True, exist_ok=True)
    run = Path(tempfile.mkdtemp(prefix="run-", dir=root))
    try:
        _take_rows(Bench(results, options.json, makers, root, run, options.scale), names, turns)
    finally:
        if not (options.root and options.keep):
            shutil.rmtree(run if options.root else root, ignore_errors=True)
    shown = [sample for sample in results.samples if sample.row in names]
    print("\n" + format_text(shown, cores=os.cpu_count() or 1))
    return 1 if any(sample.differences for sample in shown) else 0


def _take_rows(bench: Bench, names: Sequence[str], turns: Sequence[Turn]) -> None:
    for name in names:
        missing = [turn for turn in find_missing(bench.results, turns) if turn.row == name]
        scale = "" if bench.scale == 1 else f" x {bench.scale:g}"
        print(f"{name}: {ROWS[name].says}{scale}{'' if missing else ': finished before'}", flush=True)
        bench.take(name, missing)


if __name__ == "__main__":
    sys.exit(main())
