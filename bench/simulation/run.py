"""Run the simulator: `python -m simulation.run --seeds 20` in bench/, or `make simulate`.

Knows: the command line, processes, the file of results. Must not know: what is simulated.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from simulation.relation import RULES, Rules
from simulation.series import TRACES
from simulation.table import format_table, format_verdict
from simulation.targets import SCENARIOS, Metrics, find_missed, gather_seeds
from simulation.world import Size, World


def simulate(seed: int, *, size: Size, scenarios: Sequence[str], rules: Rules = RULES) -> dict[str, Metrics]:
    """Return {scenario: {metric: value}} of one world; points of series are metrics, too."""
    world = World(seed, size, rules)
    return {name: SCENARIOS[name](world) | (TRACES[name](world) if name in TRACES else {}) for name in scenarios}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all seeds, print the table, write the file; return 1 if a target was missed."""
    options = _parse(arguments)
    scenarios = list(SCENARIOS) if options.scenario == "all" else options.scenario.split(",")
    size = Size(options.peers, options.days)
    start = time.monotonic()
    one = partial(simulate, size=size, scenarios=scenarios)
    runs = []
    with ProcessPoolExecutor(min(os.cpu_count() or 1, options.seeds)) as pool:
        for run in pool.map(one, range(1, options.seeds + 1)):
            runs.append(run)
            print(f"world {len(runs)} of {options.seeds}, {time.monotonic() - start:.0f} s", file=sys.stderr)
    results = gather_seeds(runs)
    print(format_table(results, worlds=options.seeds))
    _write(options.json, results)
    took = f"{options.seeds} seeds, {time.monotonic() - start:.0f} s; {options.json}"
    print(f"\n{format_verdict(results, worlds=options.seeds)} ({took})")
    return 1 if find_missed(results, worlds=options.seeds) else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make simulate", description="attacks upon trust, over a year of days")
    parser.add_argument("--seeds", type=_positive, default=20)
    parser.add_argument("--scenario", type=_scenarios, default="all", help=f"all, or of {', '.join(SCENARIOS)}")
    parser.add_argument("--peers", type=_positive, default=Size().peers)
    parser.add_argument("--days", type=_positive, default=Size().days)
    parser.add_argument("--json", type=Path, default=Path("build/simulation.json"))
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _scenarios(text: str) -> str:
    unknown = [name for name in text.split(",") if name != "all" and name not in SCENARIOS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no scenario {', '.join(unknown)}: there are {', '.join(SCENARIOS)}")
    return text


def _write(path: Path, results: dict[str, Metrics]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=2, sort_keys=True, allow_nan=False) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
