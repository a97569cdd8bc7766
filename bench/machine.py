"""On what figures were taken: processor, memory, system, file system, versions of all programs.

Knows: /proc, the programs' own words. Must not know: rows.
"""

import os
import platform
import subprocess
from pathlib import Path

MUST_MATCH = ("processor", "cores", "memory", "kernel", "file system")
"""Figures of machines that differ in one of these don't stand in one table."""


def describe_machine(root: Path) -> dict[str, str]:
    """Return what the machine is, in words; `root` tells which file system is meant."""
    return {
        "processor": _line("/proc/cpuinfo", "model name"),
        "cores": str(os.cpu_count()),
        "memory": f"{int(_line('/proc/meminfo', 'MemTotal').split()[0]) / 2**20:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "file system": find_file_system(root),
        "Python": platform.python_version(),
        "backup-peer": f"{_say('git', 'describe', '--always', '--dirty', cwd=Path(__file__).parent)}",
        "restic": _say("restic", "version"),
        "borg": _say("borg", "--version"),
        "rclone": _say("rclone", "version"),
    }


def find_file_system(path: Path) -> str:
    """Return type and options of the file system that `path` lies on (proc(5), /proc/self/mounts)."""
    best, found = "", "unknown"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, at, kind, options, *_ = line.split()
        if len(at) >= len(best) and path.resolve().is_relative_to(at):
            best, found = at, f"{kind} ({options})"
    return found


def _line(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return "unknown"


def _say(*words: str, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(words, cwd=cwd, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        return "not installed"
    return done.stdout.partition("\n")[0].strip() or "unknown"
