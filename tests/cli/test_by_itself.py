"""What `status` and `backup sets` say of what the agent does by itself, in lines that fit a terminal."""

import msgspec
import pytest

from backuppeer.control import api
from backuppeer.control.bandwidth import CapState
from backuppeer.control.scheduling import Pruned, ScheduledSet
from cli.rows import ask, run
from cli.terminal import FakeTerminal
from control.dummy import PEER, given

KEPT = ScheduledSet(
    set="default",
    next="2026-11-30T02:00:00Z",
    last="2026-11-29T02:04:00Z",
    window="01:00-06:00",
    forgot=3,
    forgot_time="2026-11-29T02:05:00Z",
)
STAYS = msgspec.structs.replace(
    KEPT, set="photos", forgot=0, forgot_time="", kept_why="the newest backup has too few copies: all stay"
)
STATUS = api.StatusResult(
    peer_id=PEER,
    agent="running",
    servers=[],
    sessions=0,
    hosting=api.HostingState(),
    snapshots=3,
    scheduled=[KEPT, STAYS],
    pruned=Pruned(time="2026-11-29T02:06:00Z", freed_bytes=1_230_000_000),
    caps=[
        CapState(direction="up", role="all", bytes_per_s=2_000_000, until="2026-11-29T07:00:00Z"),
        CapState(direction="down", role="host", bytes_per_s=500_000, until="2026-11-29T07:00:00Z"),
    ],
)


@pytest.fixture
def shown(capsys, agent, monkeypatch):
    def show(status: api.StatusResult) -> list[str]:
        on = FakeTerminal()
        monkeypatch.setattr("sys.stdout", on)
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setenv("NO_COLOR", "1")
        agent({"status": given(status)})
        assert run(capsys, "status")[0] == 0
        return on.getvalue().splitlines()

    return show


def test_status_says_of_a_set_without_any_host_that_nothing_is_next(shown):
    idle = msgspec.structs.replace(KEPT, idle="you ended the agreements with all your hosts")
    text = " ".join(" ".join(shown(msgspec.structs.replace(STATUS, scheduled=[idle]))).split())
    assert "nothing new is backed up: you ended the agreements with all your hosts" in text
    assert "next" not in text


def test_status_says_what_ran_and_runs_next_what_was_forgotten_and_what_stays_and_why(shown):
    lines = shown(STATUS)
    text = " ".join(" ".join(lines).split())
    assert max(len(line) for line in lines if "--home" not in line) <= 80, "a command stays whole"
    assert "default: last backed up 2026-11-29" in text
    assert "within 01:00-06:00" in text
    assert "its rules let go of 3 snapshots 2026-11-29" in text
    assert "! old snapshots: the newest backup has too few copies: all stay; `backup-peer forget --set photos" in text
    assert "pruning ✓ 1.23 GB 2026-11-29" in text
    assert "bandwidth capped at 2 MB/s up, 500 kB/s down for those you keep until" in text


def test_a_reason_that_says_what_to_do_is_told_without_another_way(shown):
    why = "snapshot 61628921 is to come: all stay. `backup-peer forget 61628921` lets go of that one"
    row = msgspec.structs.replace(STAYS, kept_why=why)
    text = " ".join(" ".join(shown(msgspec.structs.replace(STATUS, scheduled=[row]))).split())
    assert "! old snapshots: snapshot 61628921 is to come: all stay. `backup-peer forget 61628921" in text
    assert "lets go of that one" in text
    assert "forget --set" not in text


def test_a_prune_that_failed_is_told_with_when_and_why(shown):
    failed = Pruned(failed="2026-11-29T02:06:00Z", failure="nothing was pruned: alice is away")
    text = " ".join(" ".join(shown(msgspec.structs.replace(STATUS, pruned=failed))).split())
    assert "pruning ! nothing yet; the try at 2026-11-29" in text
    assert "failed: nothing was pruned: alice is away" in text


def test_programs_get_all_of_it(capsys, agent):
    agent({"status": given(STATUS)})
    assert ask(capsys, "status") == (0, [msgspec.to_builtins(STATUS)])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ('window = "01:00-06:00"', "daily 03:00, begun within 01:00-06:00 (by the agent"),
        ("[sets.default.retention]\nlast = 3", "daily 03:00; forgets by itself (by the agent"),
        ("auto_forget = false\n[sets.default.retention]\nlast = 3", "daily 03:00 (by the agent"),
    ],
)
def test_a_set_says_when_it_begins_and_whether_it_forgets(capsys, home, more, words):
    (home / "config.toml").write_text(f'[sets.default]\npaths = ["/a"]\nschedule = "daily 03:00"\n{more}\n')
    assert words in run(capsys, "backup", "sets")[1]


def test_a_window_that_is_none_is_told_by_the_key_it_stands_at(capsys, home):
    (home / "config.toml").write_text('[sets.default]\npaths = ["/a"]\nwindow = "at night"\n')
    code, _, err = run(capsys, "backup", "sets")
    assert code == 2
    assert "line 3: sets.default: window: not hours of a day: 'at night'" in err
    assert "22:00-07:00" in err
