"""Work that nobody waits for gives way to what people do at the machine (ADR 88).

Knows: the system's priorities of processes, and of the disk for one thread. Must not know: what is worked.

The processor's priority is a whole process's alone: a thread that has little of it keeps the interpreter's lock from
all others while it waits for its turn. Measured beside other work: a thread that slept 5 ms was late by 16 ms (99 %:
132) beside two busy ones, by 90 (677) when these had nice 10. The disk's priority is set by thread: calls that wait
for a disk have let go of that lock. It is the lowest of the usual class, which never starves, and has no name in any
library for a thread, hence two calls of the system by number. Where the system has none nothing is set: the service
that `service install` writes has it for the whole agent, on macOS too.
"""

import ctypes
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_CALLS: Final = {"x86_64": (251, 252), "aarch64": (30, 31)}
"""ioprio_set and ioprio_get (Linux, syscalls(2))."""
_WHO_PROCESS: Final = 1
_LOWEST: Final = (2 << 13) | 7
"""Class best-effort, the last of its eight levels (linux/ioprio.h)."""
_NICER: Final = 10
_NICEST: Final = 19


@cache
def _calls() -> tuple[Callable[..., int], int, int] | None:
    numbers = _CALLS.get(platform.machine()) if sys.platform == "linux" else None
    return None if numbers is None else (ctypes.CDLL(None, use_errno=True).syscall, *numbers)


def lower_disk(process: int = 0) -> int | None:
    """Give a process, or with 0 the calling thread, the disk's lowest priority; return the one before, if known."""
    if (calls := _calls()) is None:
        return None
    call, set_number, get_number = calls
    before = call(get_number, _WHO_PROCESS, process)
    call(set_number, _WHO_PROCESS, process, _LOWEST)
    return before if before >= 0 else None


@contextmanager
def giving_way() -> Iterator[None]:
    """Let the calling thread come last at the disk while the block runs."""
    before = lower_disk()
    try:
        yield
    finally:
        calls = _calls()
        if calls is not None and before is not None:
            calls[0](calls[1], _WHO_PROCESS, 0, before)


def give_way(work: Callable[P, T], *given: P.args, **options: P.kwargs) -> T:
    """Return what `work` does, in the calling thread, while it gives way."""
    with giving_way():
        return work(*given, **options)


def lower_process(process: int) -> None:
    """Let a process of ours come after others at processor and disk; one that has ended is left alone."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process, min(os.getpriority(os.PRIO_PROCESS, process) + _NICER, _NICEST))
    lower_disk(process)
