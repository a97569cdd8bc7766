"""What the demo refuses before it starts anything, and what it makes of a comparison."""

import io
import os
import tempfile
from pathlib import Path

import pytest

from backuppeer.cli.compare import Comparison
from backuppeer.cli.demo import Teller, _judge, _sum_up, check_source, run_demo
from backuppeer.cli.screen import Screen
from backuppeer.errors import IncompleteError, IntegrityFault, UserError
from cli.terminal import FakeTerminal


@pytest.fixture
def screen() -> Screen:
    return Screen((io.StringIO(), io.StringIO(), io.StringIO()), json=False, yes=False)


def test_a_missing_folder_or_a_file_is_refused(screen: Screen, tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(UserError, match="not a folder"):
            run_demo(path, screen)


def test_a_folder_that_holds_the_temporary_folder_is_refused(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", os.fspath(tmp_path))
    with pytest.raises(UserError, match="temporary folder"):
        check_source(tmp_path.parent)


def test_a_link_to_a_folder_is_followed_to_the_folder_itself(tmp_path: Path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.setattr(tempfile, "tempdir", os.fspath(tmp_path))
    assert check_source(tmp_path / "link") == (tmp_path / "real").resolve()


def test_a_difference_that_the_backup_did_not_name_is_an_integrity_fault(screen: Screen):
    with pytest.raises(IntegrityFault, match="1 path came back different"):
        _judge(Teller(screen), Comparison(differences={b"a": "other bytes", b"b": "gone"}), {b"b"})


def test_files_that_could_not_be_read_leave_the_demo_incomplete(screen: Screen):
    with pytest.raises(IncompleteError):
        _judge(Teller(screen), Comparison(differences={b"b": "gone"}), {b"b"})


def test_no_difference_at_all_is_the_only_success(screen: Screen):
    _judge(Teller(screen), Comparison(), set())


def test_progress_off_a_terminal_is_a_line_now_and_then():
    out = io.StringIO()
    teller = Teller(Screen((io.StringIO(), out, io.StringIO()), json=False, yes=False))
    for number in range(50):
        teller.show({"event": "progress", "phase": "sending", "bytes": number, "bytes_total": 100, "seconds": number})
    assert out.getvalue().count("sending") == 1


def test_progress_is_no_live_line_where_the_story_goes_into_a_pipe():
    out, err = io.StringIO(), FakeTerminal()
    teller = Teller(Screen((io.StringIO(), out, err), json=False, yes=False))
    teller.show({"event": "progress", "phase": "backup", "bytes": 5, "bytes_total": 10})
    assert err.getvalue() == ""
    assert "backup" in out.getvalue()


def test_counts_agree_with_what_they_count():
    out = io.StringIO()
    done = {"bytes": 1, "seconds": 1.0}
    compared = Comparison(files=1, folders=1, links=0)
    _sum_up(Teller(Screen((out, out, out), json=False, yes=False)), done, done, compared, stored_bytes=1, seconds=1)
    assert "the same: 1 file, 1 folder, 0 links" in out.getvalue()


def test_a_comparison_that_takes_its_time_shows_where_it_is():
    out = io.StringIO()
    on_entry = Teller(Screen((io.StringIO(), out, io.StringIO()), json=False, yes=False)).follow("comparing", 100)
    on_entry(Comparison(files=1, size_bytes=50))
    assert "comparing   50 % " in out.getvalue()


def test_the_story_breaks_its_lines_between_words_on_a_narrow_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    out = FakeTerminal()
    teller = Teller(Screen((io.StringIO(), out, io.StringIO()), json=False, yes=False))
    teller.step("word " * 30)
    teller.say("word " * 30)
    assert all(set(line.split()) <= {"1.", "word"} for line in out.getvalue().splitlines())
    assert max(map(len, out.getvalue().splitlines())) <= 60


def test_what_a_verb_notes_is_told_without_control_characters():
    out = io.StringIO()
    Teller(Screen((io.StringIO(), out, io.StringIO()), json=False, yes=False)).show(
        {"event": "note", "text": "only \x1b[31mcopy"}
    )
    assert "\x1b" not in out.getvalue()
    assert "copy" in out.getvalue()
