"""Work that nobody waits for comes after others at processor and disk, and nothing else does (ADR 88)."""

import os
import platform
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from backuppeer import giving_way as module
from backuppeer.backup.jobs import Jobs
from backuppeer.giving_way import give_way, giving_way, lower_disk, lower_process

KNOWN = sys.platform == "linux" and platform.machine() in module._CALLS
linux = pytest.mark.skipif(not KNOWN, reason="the disk's priority has no known call here")


def level(process=0):
    call, _, get = module._calls()
    return call(get, 1, process)


@linux
def test_a_thread_gives_way_at_the_disk_as_long_as_it_is_told_to():
    def scenario():
        before = level()
        with giving_way():
            within = level()
        return before, within, level()

    with ThreadPoolExecutor(1) as pool:
        before, within, after = pool.submit(scenario).result()
    assert within == module._LOWEST != before
    assert after == before


@linux
def test_what_a_thread_does_afterwards_does_not_give_way_whatever_became_of_the_work():
    def fail():
        assert level() == module._LOWEST
        raise ValueError("no")

    with ThreadPoolExecutor(1) as pool:
        before = pool.submit(level).result()
        with pytest.raises(ValueError, match="no"):
            pool.submit(give_way, fail).result()
        assert pool.submit(level).result() == before
        assert pool.submit(give_way, lambda number: number + 1, 2).result() == 3


@linux
def test_the_threads_of_a_backup_that_nobody_waits_for_give_way_and_no_others():
    found = []
    for gives_way in (True, False):
        with Jobs(1, 1, gives_way=gives_way) as jobs:
            jobs.submit(level, found.append)
            jobs.collect(most=0)
    assert found[0] == module._LOWEST != found[1]


def test_a_process_gives_way_and_one_that_has_ended_is_left_alone():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        lower_process(child.pid)
        own = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == min(own + 10, 19)
        assert not KNOWN or level(child.pid) == module._LOWEST
    finally:
        child.communicate(b"\n", timeout=20)
    lower_process(child.pid)


def test_where_the_system_has_no_such_call_the_work_is_done_all_the_same(monkeypatch):
    monkeypatch.setattr(module, "_calls", lambda: None)
    assert lower_disk() is None
    assert give_way(threading.get_ident) == threading.get_ident()
