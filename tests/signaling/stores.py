"""A real Valkey, or Redis, for tests: without persistence unless asked, on a socket in a temporary folder."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest

PROGRAM = shutil.which("valkey-server") or shutil.which("redis-server")


def require_store() -> None:
    """Skip where there is none, which CI never lets happen."""
    if PROGRAM is None and not os.environ.get("BACKUPPEER_TESTS_NEED_STORE"):
        pytest.skip("neither valkey-server nor redis-server is installed (Debian: apt-get install redis-server)")
    assert PROGRAM is not None, "CI has to have a redis-server: see .ci/run"


class StoreProcess:
    """One, that can be ended and started again."""

    def __init__(self, folder: Path, *, keeps: bool) -> None:
        self._folder, self._keeps = folder, keeps
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._folder / 's'}"

    def start(self) -> Self:
        require_store()
        append = ("--appendonly", "yes", "--appendfsync", "always") if self._keeps else ("--appendonly", "no")
        command = (PROGRAM, "--port", "0", "--unixsocket", self._folder / "s", "--dir", self._folder, "--save", "")
        self._process = subprocess.Popen([*map(str, command), *append], stdout=subprocess.PIPE, bufsize=0)
        for line in self._process.stdout:
            if b"eady to accept connections" in line:
                return self
        raise AssertionError("the store ended")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process.stdout.close()
            self._process = None
            (self._folder / "s").unlink(missing_ok=True)


@contextmanager
def storing(folder: Path, *, keeps: bool = False) -> Iterator[StoreProcess]:
    store = StoreProcess(folder, keeps=keeps)
    try:
        yield store.start()
    finally:
        store.kill()
