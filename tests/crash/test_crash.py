"""Backups interrupted at sampled points: killed, without power, on a full disk. `make crash` plays hundreds."""

import subprocess
import sys
from pathlib import Path

import pytest

POINTS = 15
"""For each side."""


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("side", ["owner", "host"])
def test_wherever_a_backup_is_interrupted_nothing_acknowledged_is_lost_and_the_next_completes(side):
    command = [sys.executable, "-m", "crash.run", "--side", side, "--points", str(POINTS)]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{POINTS} played" in done.stdout
    assert "killed" in done.stdout
    assert "0 wrong" in done.stdout
