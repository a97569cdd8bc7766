"""Where nobody can stop it, no command waits for ever."""

import pytest

from backuppeer.limits import RETRY_BUDGET_S
from cli.rows import run


@pytest.mark.parametrize(("words", "seconds"), [((), RETRY_BUDGET_S), (("--wait", "2h"), 7200), (("--wait", "0s"), 1)])
def test_a_script_waits_for_hosts_as_long_as_said_or_a_little(capsys, agent, tmp_path, words, seconds):
    dummy = agent({})
    run(capsys, "restore", "latest", "--target", str(tmp_path / "x"), *words)
    run(capsys, "dump", "latest:/a", "--target", str(tmp_path / "y"), *words)
    assert [request.wait_s for _, request in dummy.requests] == [seconds, seconds]


def test_a_person_at_a_terminal_sees_the_waiting_and_ends_it(capsys, agent, tmp_path, terminal):
    dummy = agent({})
    terminal("")
    run(capsys, "restore", "latest", "--target", str(tmp_path / "x"))
    assert [request.wait_s for _, request in dummy.requests] == [None]


def test_a_wrong_time_is_told(capsys, agent, tmp_path):
    agent({})
    code, _, err = run(capsys, "restore", "latest", "--target", str(tmp_path / "x"), "--wait", "soon")
    assert code == 2
    assert "not a duration" in err
