"""Fuzzes the targets one after the other and tells what came of it: `make fuzz [TARGET=tree] [SECONDS=300]`.

Inputs grow in `.fuzz/corpus`, which git ignores, from those in `tests/fuzz/corpus`; what breaks a target is kept in
`.fuzz/findings`, and belongs into `tests/fuzz/corpus` once it is mended.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
SEEDS = TESTS / "fuzz" / "corpus"
WORK = ROOT / ".fuzz"
NAMES = sorted(path.name for path in SEEDS.iterdir())
RSS_MB = 2048
STUCK_S = 20
_FAULT = r"^(?:[\w.]*(?:Error|error|Exception|Fault)\b.*|.*ERROR: libFuzzer.*)$"


def fuzz(name: str, seconds: int) -> bool:
    """Fuzz one target; say how fast and how far it went, and return whether nothing was found."""
    corpus, findings = WORK / "corpus" / name, WORK / "findings"
    corpus.mkdir(parents=True, exist_ok=True)
    findings.mkdir(exist_ok=True)
    log = WORK / f"{name}.log"
    options = [
        f"-max_total_time={seconds}",
        f"-rss_limit_mb={RSS_MB}",
        f"-timeout={STUCK_S}",
        "-print_final_stats=1",
        f"-artifact_prefix={findings}/{name}-",
    ]
    command = [sys.executable, "-m", "fuzz.fuzzer", name, *options, str(corpus), str(SEEDS / name)]
    # The folder where atheris lies comes with PYTHONPATH from make.
    path = os.pathsep.join(
        [str(TESTS), str(ROOT / "tools" / "statements"), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    with log.open("wb") as file:
        code = subprocess.run(
            command, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, "PYTHONPATH": path}, check=False
        ).returncode
    print(_summarise(name, log.read_text(errors="replace"), code), flush=True)
    return code == 0


def _summarise(name: str, log: str, code: int) -> str:
    runs = _last(r"number_of_executed_units: (\d+)", log)
    edges, features = _last(r"cov: (\d+)", log), _last(r"ft: (\d+)", log)
    found = "nothing found" if code == 0 else "FOUND: " + _last(_FAULT, log, whole=True)
    rate, peak = _last(r"average_exec_per_sec: +(\d+)", log), _last(r"peak_rss_mb: +(\d+)", log)
    return f"{name:10} {runs:>11} runs {rate:>7}/s  {edges:>4} edges {features:>5} features {peak:>5} MB  {found}"


def _last(pattern: str, text: str, *, whole: bool = False) -> str:
    found = list(re.finditer(pattern, text, re.MULTILINE))
    return found[-1][0 if whole else 1] if found else "?"


def main() -> int:
    """Fuzz one target or all; 1 when something was found."""
    parser = argparse.ArgumentParser(prog="make fuzz", description="Fuzz the decoders.")
    parser.add_argument("--target", choices=NAMES)
    parser.add_argument("--seconds", type=int, default=300)
    given = parser.parse_args()
    results = [fuzz(name, given.seconds) for name in ([given.target] if given.target else NAMES)]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
