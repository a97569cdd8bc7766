"""An agent ends by itself when its home is removed, moved away or made anew."""

import asyncio
import shutil

import pytest

from backuppeer.agent.home.home import Home
from backuppeer.agent.home.tenancy import end_without_home


@pytest.fixture
def home(tmp_path):
    made = Home(tmp_path / "home")
    made.prepare()
    return made


def remove(home):
    shutil.rmtree(home.path)


def move_away(home):
    home.path.rename(home.path.with_name("elsewhere"))


def make_anew(home):
    home.path.rename(home.path.with_name("old"))  # kept, so that its number isn't given out again
    home.prepare()
    home.lock_file.touch()


@pytest.mark.parametrize("happen", [remove, move_away, make_anew])
def test_an_agent_without_its_home_is_told_to_stop(home, happen):
    async def story():
        stopping = asyncio.Event()
        with home.lock():
            watch = asyncio.create_task(end_without_home(home, stopping, every_s=0))
            for _ in range(3):
                await asyncio.sleep(0)
            assert not stopping.is_set()
            happen(home)
            await asyncio.wait_for(watch, 10)
            assert stopping.is_set()

    asyncio.run(story())


def test_a_disk_too_ill_to_answer_ends_nothing(home, monkeypatch):
    async def story():
        stopping = asyncio.Event()
        with home.lock():
            watch = asyncio.create_task(end_without_home(home, stopping, every_s=0))
            await asyncio.sleep(0)

            def fail(*_, **__):
                raise OSError(5, "Input/output error")

            with monkeypatch.context() as patch:
                patch.setattr("pathlib.Path.stat", fail)
                for _ in range(3):
                    await asyncio.sleep(0)
            assert not watch.done()
            watch.cancel()

    asyncio.run(story())
