"""The program on Windows, played by a Python that says it is one and lacks what Windows lacks."""

import json
import subprocess
import sys

import pytest

AS_WINDOWS = """
import sys
sys.platform = "win32"
for name in ("fcntl", "grp", "pwd", "pty", "resource", "termios", "tty"):
    sys.modules[name] = None
from backuppeer.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def run_as_windows(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", AS_WINDOWS, *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("words", [("status",), ("--json", "backup", "C:\\")])
def test_on_windows_it_says_that_it_does_not_run_there_and_what_to_do(words):
    done = run_as_windows(*words)
    assert done.returncode == 1
    assert done.stderr.startswith("error: this program does not run on Windows")
    assert "hint: run it on Linux" in done.stderr
    if "--json" in words:
        said = json.loads(done.stdout)
        assert (said["event"], said["code"]) == ("error", 1)
    else:
        assert done.stdout == ""


def test_on_windows_it_still_tells_its_version():
    assert run_as_windows("--version").stdout.startswith("backup-peer ")
