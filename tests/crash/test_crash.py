"""Jobs interrupted at sampled points: killed, without power, on a full disk. `make crash` plays hundreds."""

import subprocess
import sys
from pathlib import Path

import pytest

POINTS = {"backup": 8, "prune": 6}
"""For each side."""


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("side", ["owner", "host"])
@pytest.mark.parametrize("job", POINTS)
def test_wherever_a_job_is_interrupted_nothing_acknowledged_is_lost_and_the_next_completes(job, side):
    command = [sys.executable, "-m", "crash.run", "--job", job, "--side", side, "--points", str(POINTS[job])]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{POINTS[job]} played" in done.stdout
    assert "killed" in done.stdout
    assert "0 wrong" in done.stdout
