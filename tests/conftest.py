"""What all tests share: how many examples properties have, and where temporary files lie.

`make check` takes the profile `gate`; `PROPERTIES=thorough make test-fast` (or any other run of pytest) twenty times as
many examples. Neither measures time: a test that fails because the machine is busy says nothing about the program.
"""

import gc
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from backuppeer.limits import GIB

PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("gate", max_examples=50, **PATIENT)
settings.register_profile("thorough", max_examples=1000, **PATIENT)
settings.load_profile(os.environ.get("PROPERTIES", "gate"))

MEMORY = Path("/dev/shm")
DISK = "BACKUPPEER_TESTS_DISK"
"""Tells `e2e.harness` where worlds lie, if not where all temporary files do."""
ROOM_BYTES = 8 * GIB


def pytest_configure(config: pytest.Config) -> None:
    """Put temporary files into memory, unless TMPDIR says where: thousands of fsyncs took most of the time of a run.

    What a power cut takes is decided by `crash.injector`, not by a disk. Worlds of real processes (`-m slow`) keep the
    disk: they may be large, and are to wait for it as people do.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # Of a shell that runs us in the background: what the tests start would be deaf to Ctrl-C, too.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.disable()  # nothing of what is imported and collected is garbage
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK):
        return
    if shutil.disk_usage(MEMORY).free > ROOM_BYTES:
        if config.option.markexpr.startswith("slow"):
            os.environ[DISK] = tempfile.gettempdir()
        os.environ["TMPDIR"] = str(MEMORY)
        tempfile.tempdir = None  # asked before, it keeps what it was told


def pytest_collection_finish() -> None:
    """Take what pytest keeps of five thousand tests out of the collector's sight.

    Jobs collect garbage at their end (`agent.heap`), and each of them looked at all of that again.
    """
    gc.collect()
    gc.freeze()
    gc.enable()
