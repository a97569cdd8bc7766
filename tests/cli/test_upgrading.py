"""What a terminal says when this version takes over the home, or the agent, of another one."""

import sqlite3
from contextlib import closing
from pathlib import Path

from backuppeer import __version__
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.state import State
from backuppeer.cli.upgrading import telling_upgrade

VECTORS = Path(__file__).parents[1] / "vectors"


def lay_state(home: Path, script: str) -> None:
    home.mkdir(exist_ok=True)
    with closing(sqlite3.connect(home / "state.db")) as db:
        db.executescript((VECTORS / script).read_text())


def test_an_upgrade_of_a_home_is_told_with_the_restore_point_that_it_made(tmp_path):
    lay_state(tmp_path, "state-v5.sql")
    said = []
    with telling_upgrade(Home(tmp_path), said.append):
        State(tmp_path / "state.db").close()
    (told,) = said
    assert f"upgraded to version {__version__}" in told
    assert f"kept in {tmp_path}: state.db.v5.bak (going back: docs/upgrades.md)" in told


def test_what_an_earlier_upgrade_left_is_not_told_again(tmp_path):
    lay_state(tmp_path, "state-v5.sql")
    State(tmp_path / "state.db").close()
    said = []
    with telling_upgrade(Home(tmp_path), said.append):
        State(tmp_path / "state.db").close()
    assert said == []
