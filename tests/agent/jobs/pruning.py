"""Fixtures of tests about prune, to be given a name each: hosts with room for many packs, folders to back up."""

from pathlib import Path

import pytest

from agent.houses import HostHouse
from backuppeer.limits import MIB
from noise import noise

LARGE = (128 * MIB, 3600, 60)


def host_fixture(folder: str, seed: bytes):
    @pytest.fixture
    def roomy(tmp_path):
        made = HostHouse(tmp_path / folder, seed, offered_bytes=1024 * MIB)
        yield made
        made.close()

    return roomy


def tree_at(folder: Path):
    """A folder of large random files; called with names it writes those that are new and removes all others."""
    folder.mkdir()

    def be(*names: str):
        for path in folder.iterdir():
            if path.name not in names:
                path.unlink()
        for name in names:
            if not (folder / name).exists():
                (folder / name).write_bytes(noise(name, 600_000))
        return folder

    return be


def tree_fixture(folder_name: str):
    @pytest.fixture
    def tree(tmp_path):
        return tree_at(tmp_path / folder_name)

    return tree


@pytest.fixture(autouse=True)
def _large(monkeypatch):
    monkeypatch.setattr(HostHouse, "wish", LARGE)
