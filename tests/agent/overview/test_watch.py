"""All trouble together: one look that fails hides nothing of the others."""

import asyncio
import shutil
from types import SimpleNamespace

import pytest

from backuppeer.agent.home.home import Home
from backuppeer.agent.notifications.trouble import Trouble
from backuppeer.agent.overview.owned import find_home_disk
from backuppeer.agent.overview.watch import gather
from backuppeer.errors import DamagedStateError
from backuppeer.limits import HOME_FULL_BYTES, HOME_LOW_BYTES


def test_a_look_that_fails_is_a_trouble_itself_and_the_others_are_told():
    first, last = Trouble(key="a", text="a"), Trouble(key="b", text="b")

    def fail():
        yield first
        raise DamagedStateError("/home/me/index.db is damaged")

    found = asyncio.run(gather(fail, lambda: [last]))
    assert [trouble.key for trouble in found] == ["a", "unreadable", "b"]
    assert "/home" not in "".join(f"{trouble.text}{trouble.fix}" for trouble in found)


def test_a_fault_of_the_program_in_one_look_hides_nothing_of_the_others_either():
    def fail():
        raise RuntimeError("a fault of this program")

    found = asyncio.run(gather(fail, lambda: [Trouble(key="b", text="b")]))
    assert [trouble.key for trouble in found] == ["unreadable", "b"]


@pytest.mark.parametrize(
    ("free", "stages"), [(HOME_LOW_BYTES, []), (HOME_LOW_BYTES - 1, ["low"]), (HOME_FULL_BYTES - 1, ["full"])]
)
def test_a_home_whose_disk_gets_full_is_told(tmp_path, monkeypatch, free, stages):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert [found.stage for found in find_home_disk(Home(tmp_path))] == stages
