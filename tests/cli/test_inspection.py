"""find, diff, stats and dump as people and programs see them; the agent is scripted."""

import io
import json
import os
import stat
import threading

import msgspec
import pytest

from backuppeer.cli import find as find_verb
from backuppeer.cli.main import main
from backuppeer.control import inspection as api
from backuppeer.errors import IntegrityFault, NotFoundError, PeerUnreachable
from backuppeer.limits import CONTROL_PIECE_BYTES
from cli.rows import ERROR_FILE, PROGRESS, ask, event, run
from cli.terminal import check_output
from control.dummy import PEER, telling

ONE, TWO = "3fa9c1d2" * 8, "77aa1b2c" * 8


def found(path, snapshot=ONE, **changes):
    row = api.FindRow(
        snapshot=snapshot,
        time="2026-11-22T21:30:00Z",
        path=path,
        kind="file",
        mode=0o644,
        uid=1,
        gid=2,
        size=1500,
        mtime="2026-11-22T21:30:00Z",
    )
    return msgspec.structs.replace(row, **changes)


def rows_of(*rows):
    return event("rows", api.Rows(rows=list(rows)))


FOUND = api.FindResult(snapshots=2, matches=3, unreadable=0)


# --- find
def test_find_sends_what_is_looked_for(capsys, agent, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dummy = agent({"find": telling([], FOUND)})
    words = ["*.jpg", "b", "-i", "--snapshot", "latest", "--snapshot", "3fa9", "--tag", "t", "--path", "docs/"]
    words += [
        "--type",
        "file",
        "--type",
        "symlink",
        "--newer",
        "2026-11-22 21:30+00:00",
        "--older",
        "2027-01-01T00:00Z",
    ]
    words += ["--min-size", "1kB", "--max-size", "2MiB", "--server", "ws://x"]
    assert run(capsys, "find", *words)[0] == 0
    assert dummy.requests == [
        (
            "find",
            api.FindRequest(
                servers=["ws://x"],
                patterns=["*.jpg", "b"],
                ignore_case=True,
                snapshots=["latest", "3fa9"],
                tag="t",
                path=str(tmp_path / "docs"),
                kinds=["file", "symlink"],
                newer_ns=1_795_383_000 * 10**9,
                older_ns=1_798_761_600 * 10**9,
                min_bytes=1000,
                max_bytes=2 * 1024**2,
            ),
        )
    ]


def test_find_shows_matches_under_their_snapshots(capsys, agent):
    events = [rows_of(found("/a"), found("/b\udcff\x1b[31m")), PROGRESS, rows_of(found("/a", TWO))]
    agent({"find": telling(events, FOUND)})
    code, out, _ = run(capsys, "find", "x")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].startswith("snapshot 3fa9c1d2 of 2026-11-22 ")
    assert lines[1:4] == ["  /a", r"  /b\xff\u001b[31m", ""]
    assert lines[4].startswith("snapshot 77aa1b2c of ")
    assert lines[5:] == ["  /a"]


def test_find_shows_more_of_each_match_if_asked(capsys, agent):
    rows = [found("/a"), found("/l", kind="symlink", target="t"), found("/p", kind="fifo"), found("/?", kind="door")]
    agent({"find": telling([rows_of(*rows)], FOUND)})
    lines = run(capsys, "find", "x", "-l")[1].splitlines()
    assert lines[1].startswith("  -rw-r--r--     1     2  1.5 kB 2026-11-22 ")
    assert lines[2].endswith(" /l -> t")
    assert lines[3].startswith("  prw-r--r-- ")
    assert lines[4].startswith("  ?rw-r--r-- ")


def test_find_prints_one_array_for_programs_whatever_came_in_between(capsys, agent):
    events = [rows_of(found("/a"), found("/b\udcff")), PROGRESS, rows_of(found("/a", TWO))]
    agent({"find": telling(events, FOUND)})
    code, lines = ask(capsys, "find", "x")
    assert code == 0
    assert [[row["path"] for row in line] for line in lines] == [["/a", "/b\udcff", "/a"]]
    assert lines[0][0] == msgspec.to_builtins(found("/a"))


def test_nothing_found_is_an_empty_array_or_a_sentence(capsys, agent):
    agent({"find": telling([], msgspec.structs.replace(FOUND, matches=0))})
    assert ask(capsys, "find", "x") == (0, [[]])
    assert run(capsys, "find", "x")[:2] == (0, "nothing like that in 2 snapshots\n")


def test_folders_that_could_not_be_searched_are_named_and_the_code_is_15(capsys, agent):
    agent({"find": telling([ERROR_FILE, rows_of(found("/a"))], msgspec.structs.replace(FOUND, unreadable=1))})
    code, out, err = run(capsys, "find", "x")
    assert (code, "  /a\n" in out) == (15, True)
    assert r"/a\xff\u001b[2J: permission denied" in err
    assert "error: 1 folder could not be searched" in err
    code, lines = ask(capsys, "find", "x")
    assert (code, lines[0][0]["path"], lines[1]["code"]) == (15, "/a", 15)


def test_more_matches_than_a_program_is_told_at_once_are_refused(capsys, agent, monkeypatch):
    monkeypatch.setattr(find_verb, "LS_ROWS", 2)
    agent({"find": telling([rows_of(found("/a"), found("/b"), found("/c"))], FOUND)})
    code, lines = ask(capsys, "find", "x")
    assert (code, lines[-1]["event"]) == (2, "error")
    assert run(capsys, "find", "x")[0] == 0


@pytest.mark.parametrize(
    "words", [[], ["x", "--newer", "soon"], ["x", "--older", "2026-13-01"], ["x", "--min-size", "big"], ["x", "--type"]]
)
def test_find_refuses_what_makes_no_sense(capsys, agent, words):
    dummy = agent({})
    code, _, err = run(capsys, "find", *words)
    assert (code, err.startswith("error: "), "\nhint: " in err) == (2, True, True)
    assert dummy.requests == []


# --- diff
DIFFERS = api.DiffResult(
    old=ONE,
    new=TWO,
    files_added=1234,
    files_removed=0,
    files_changed=1,
    dirs_added=0,
    dirs_removed=1,
    others_added=0,
    others_removed=0,
    others_changed=0,
    metadata_changed=0,
    added_bytes=1_500_000,
    removed_bytes=20,
)
SAME = msgspec.structs.replace(DIFFERS, files_added=0, files_changed=0, dirs_removed=0, added_bytes=0, removed_bytes=0)
CHANGES = [
    api.DiffRow(change="+", path="/new\x1b", kind="file", size=5),
    api.DiffRow(change="-", path="/old", kind="dir", size=0, old_kind="dir"),
    api.DiffRow(change="T", path="/t", kind="file", size=5, old_kind="symlink"),
]


def test_diff_shows_changes_and_sums_them_up(capsys, agent):
    dummy = agent({"diff": telling([rows_of(*CHANGES)], DIFFERS)})
    code, out, _ = run(capsys, "diff", "3fa9:/a b:c", "latest", "--metadata", "--server", "ws://x")
    assert code == 0
    assert out.splitlines() == [
        r"+    /new\u001b",
        "-    /old/",
        "T    /t  (was: symlink, is: file)",
        "",
        "files:    1,234 new, 0 removed, 1 changed",
        "folders:  0 new, 1 removed",
        "bytes:    1.5 MB added, 20 B removed",
    ]
    request = api.DiffRequest(servers=["ws://x"], old="3fa9", old_path="/a b:c", new="latest", metadata=True)
    assert dummy.requests == [("diff", request)]


def test_diff_prints_a_line_per_change_for_programs(capsys, agent):
    agent({"diff": telling([PROGRESS, rows_of(*CHANGES)], DIFFERS)})
    code, lines = ask(capsys, "diff", "3fa9", "latest")
    assert (code, [line["event"] for line in lines]) == (0, ["progress", "change", "change", "change", "done"])
    assert lines[1] == {"event": "change", **msgspec.to_builtins(CHANGES[0])}
    assert lines[-1]["added_bytes"] == 1_500_000


def test_no_difference_is_a_sentence(capsys, agent):
    agent({"diff": telling([], SAME)})
    assert run(capsys, "diff", "3fa9", "latest")[:2] == (0, "no differences\n")


def test_changed_metadata_alone_is_not_told_as_no_difference(capsys, agent):
    agent({"diff": telling([], msgspec.structs.replace(SAME, metadata_changed=3))})
    told = "no differences but in the metadata of 3 entries: --metadata names them\n"
    assert run(capsys, "diff", "3fa9", "latest")[:2] == (0, told)
    assert "metadata: 3 changed\n" in run(capsys, "diff", "3fa9", "latest", "--metadata")[1]


@pytest.mark.parametrize("words", [[], ["latest"], [":/a", "latest"], ["latest", ":"], ["a", "b", "c"]])
def test_diff_needs_two_snapshots(capsys, agent, words):
    agent({})
    assert run(capsys, "diff", *words)[0] == 2


# --- stats
STATS = api.StatsResult(
    snapshots=[ONE, TWO],
    files=1234,
    dirs=56,
    bytes=3_000_000,
    unique_bytes=1_500_000,
    stored_bytes=1_000_000,
    blobs=1300,
    data_blobs=1200,
    packs=1,
    compression_ratio=1.5,
    dedup_ratio=2.01,
    missing_blobs=0,
    hosts=[
        api.HostVolume(peer_id=PEER, alias="alice", packs=1, stored_bytes=1_048_576),
        api.HostVolume(peer_id=PEER, alias="", packs=0, stored_bytes=0),
    ],
)


def test_stats_are_shown_in_words_or_as_one_object(capsys, agent):
    dummy = agent({"stats": telling([PROGRESS], STATS)})
    code, out, _ = run(capsys, "stats", "latest", "3fa9")
    assert code == 0
    assert out.splitlines() == [
        "2 snapshots",
        "  restored                  1,234 files, 56 folders, 3 MB",
        "  unique                    1,300 blobs, 1.5 MB (deduplication 2.01 x)",
        "  stored                    1 MB in 1 pack (compression 1.50 x)",
        "  at alice (bp1qqqsyqcyq5)  1.05 MB in 1 pack",
        "  at bp1qqqsyqcyq5          0 B in 0 packs",
        "  at hosts: the whole packs that have any of it; packs are padded",
    ]
    assert "at hosts: the whole packs that have any of it" in run(capsys, "stats", "--set", "odd")[1]
    assert "at hosts: all packs, also what no snapshot needs any more" in run(capsys, "stats")[1]
    assert dummy.requests[0][1].snapshots == ["latest", "3fa9"]
    assert ask(capsys, "stats") == (0, [msgspec.to_builtins(STATS)])


def test_stats_with_missing_blobs_end_with_15_after_the_numbers(capsys, agent):
    agent({"stats": telling([], msgspec.structs.replace(STATS, missing_blobs=2))})
    code, lines = ask(capsys, "stats")
    assert (code, lines[0]["missing_blobs"], lines[1]["code"]) == (15, 2, 15)


# --- dump
DUMPED = api.DumpResult(snapshot=ONE, path="/f", format="file", files=1, bytes=4, seconds=0.5, errors=0)
START = event("start", api.DumpStart(snapshot=ONE, time="2026-11-22T21:30:00Z", path="/f", format="file"))
TAR = event("start", api.DumpStart(snapshot=ONE, time="2026-11-22T21:30:00Z", path="/f", format="tar"))


def dump(capsysbinary, *words):
    code = main(["dump", *words])
    out, err = capsysbinary.readouterr()
    return code, out, err.decode()


def test_dump_writes_the_bytes_and_nothing_else_to_standard_output(capsysbinary, agent):
    dummy = agent({"dump": telling([PROGRESS, TAR, b"\0\xff", PROGRESS, b"\r\n"], DUMPED)})
    code, out, _ = dump(capsysbinary, "latest:/f:g", "--archive", "tar", "--server", "ws://x")
    assert (code, out) == (0, b"\0\xff\r\n")
    request = api.DumpRequest(servers=["ws://x"], snapshot="latest", path="/f:g", archive="tar")
    assert dummy.requests == [("dump", request)]


@pytest.mark.parametrize(("error", "code"), [(IntegrityFault, 15), (PeerUnreachable, 11)])
def test_a_dump_that_breaks_off_says_that_it_is_not_all(capsysbinary, agent, error, code):
    agent({"dump": telling([START, b"half"], error("/f: gone", hint="mend it"))})
    seen, out, err = dump(capsysbinary, "latest:/f")
    assert (seen, out) == (code, b"half")
    assert "error: /f: gone; the output is incomplete: it ends after 4 B\nhint: mend it\n" in err


def test_a_dump_that_never_began_is_told_plainly(capsysbinary, agent):
    agent({"dump": telling([], NotFoundError("the snapshot has no '/f'"))})
    code, out, err = dump(capsysbinary, "latest:/f")
    assert (code, out) == (10, b"")
    assert "incomplete" not in err


def test_entries_left_out_of_an_archive_are_named_and_the_code_is_3(capsysbinary, agent):
    agent({"dump": telling([TAR, ERROR_FILE, b"tar"], msgspec.structs.replace(DUMPED, errors=1))})
    code, out, err = dump(capsysbinary, "latest:/f")
    assert (code, out) == (3, b"tar")
    assert "1 entry left out" in err


class Screen(io.StringIO):
    """A terminal that bytes can be written to."""

    def __init__(self):
        super().__init__()
        self.buffer = io.BytesIO()

    def isatty(self):
        return True


@pytest.mark.parametrize(
    "told",
    [
        [TAR, b"tar"],
        [START, b"a\0b"],
        [START, b"\xff\xfe"],
        [START, b"\x1b[2J"],
        [START, "\u202egpj.exe".encode()],
        [START, b"text\n", b"\x9b1m"],
    ],
)
def test_a_terminal_gets_neither_an_archive_nor_what_could_paint_it(capsysbinary, agent, monkeypatch, told):
    shown = Screen()
    monkeypatch.setattr("sys.stdout", shown)
    agent({"dump": telling(told, DUMPED)})
    code, _, err = dump(capsysbinary, "latest:/f")
    assert code == 2
    assert shown.buffer.getvalue() == b"".join(part for part in told[1:-1])
    assert "terminal" in err
    assert "--target FILE" in err


def test_a_terminal_gets_text_though_a_character_is_cut_between_two_pieces(capsysbinary, agent, monkeypatch):
    shown = Screen()
    monkeypatch.setattr("sys.stdout", shown)
    agent({"dump": telling([START, b"gr\xc3", b"\xbc\xc3\x9fe\n\t"], DUMPED)})
    assert dump(capsysbinary, "latest:/f")[0] == 0
    assert shown.buffer.getvalue().decode() == "grüße\n\t"


def test_standard_output_can_not_take_json_and_the_bytes(capsys, agent):
    dummy = agent({})
    code, out, _ = run(capsys, "dump", "latest:/f", "--json")
    assert code == 2
    assert check_output("dump", out)[0]["event"] == "error"
    assert dummy.requests == []


def test_a_reader_who_has_had_enough_ends_the_dump(agent, monkeypatch, tmp_path):
    class Closed(io.BytesIO):
        def write(self, data):
            raise BrokenPipeError

    ended = threading.Event()

    async def endless(request, emit):
        try:
            await emit(START)
            while True:
                await emit(bytes(CONTROL_PIECE_BYTES))
        finally:
            ended.set()

    agent({"dump": endless})
    shown = Screen()
    shown.buffer = Closed()
    shown.isatty = lambda: False
    monkeypatch.setattr("sys.stdout", shown)
    assert main(["dump", "latest:/f"]) == 141
    assert ended.wait(10)


def test_a_full_disk_behind_standard_output_is_told(capsysbinary, agent, monkeypatch):
    shown = Screen()
    shown.buffer = FullDisk()
    shown.isatty = lambda: False
    monkeypatch.setattr("sys.stdout", shown)
    agent({"dump": telling([START, b"x"], DUMPED)})
    code, _, err = dump(capsysbinary, "latest:/f")
    assert code == 13
    assert "a disk of this machine is full: standard output can't be written" in err
    assert "the output is incomplete: nothing was written" in err


class FullDisk(io.BytesIO):
    def write(self, data):
        raise OSError(28, "No space left on device")


# --- dump --target
def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_target_file_holds_the_bytes_and_is_for_its_owner_alone(capsys, agent, tmp_path):
    agent({"dump": telling([TAR, b"by", b"tes"], DUMPED)})
    target = tmp_path / "out.tar"
    code, lines = ask(capsys, "dump", "latest:/f", "--target", str(target))
    assert (code, [line["event"] for line in lines]) == (0, ["start", "done"])
    assert target.read_bytes() == b"bytes"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert names_in(tmp_path) == ["h", "out.tar"]
    target.unlink()
    code, out, _ = run(capsys, "dump", "latest:/f", "--target", str(target))
    assert code == 0
    assert out.startswith("✓ wrote /f (1 file, 4 B) of snapshot 3fa9c1d2 of 2026-11-22 ")


def test_an_existing_file_is_replaced_only_if_that_was_said(capsys, agent, tmp_path):
    dummy = agent({"dump": telling([START, b"new"], DUMPED)})
    target = tmp_path / "out"
    target.write_text("old")
    code, _, err = run(capsys, "dump", "latest:/f", "--target", str(target))
    assert (code, target.read_text(), dummy.requests) == (2, "old", [])
    assert "--yes" in err
    assert run(capsys, "dump", "latest:/f", "--target", str(target), "--yes")[0] == 0
    assert target.read_text() == "new"


def test_a_link_to_a_file_stays_a_link(capsys, agent, tmp_path):
    agent({"dump": telling([START, b"new"], DUMPED)})
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    assert run(capsys, "dump", "latest:/f", "--target", str(tmp_path / "link"), "--yes")[0] == 0
    assert ((tmp_path / "link").is_symlink(), (tmp_path / "file").read_text()) == (True, "new")


def test_a_file_that_came_meanwhile_is_not_replaced(capsys, agent, tmp_path):
    target = tmp_path / "out"

    async def handler(request, emit):
        await emit(START)
        target.write_text("theirs")
        return DUMPED

    agent({"dump": handler})
    code, _, err = run(capsys, "dump", "latest:/f", "--target", str(target))
    assert (code, target.read_text()) == (2, "theirs")
    assert "exists now" in err


def test_a_dump_that_breaks_off_leaves_no_target_and_no_rest_of_one(capsys, agent, tmp_path):
    agent({"dump": telling([START, b"half"], IntegrityFault("/f: gone"))})
    target = tmp_path / "out"
    code, _, err = run(capsys, "dump", "latest:/f", "--target", str(target))
    assert (code, names_in(tmp_path)) == (15, ["h"])
    assert f"/f: gone; {target} was not written" in err
    target.write_text("old")
    assert run(capsys, "dump", "latest:/f", "--target", str(target), "--yes")[0] == 15
    assert target.read_text() == "old"


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_a_target_that_is_no_file_is_refused_even_with_a_yes(capsys, agent, tmp_path, make):
    make(tmp_path / "out")
    dummy = agent({})
    assert run(capsys, "dump", "latest:/f", "--target", str(tmp_path / "out"), "--yes")[0] == 2
    assert dummy.requests == []


def test_a_target_in_a_folder_that_is_not_there_is_refused(capsys, agent, tmp_path):
    dummy = agent({})
    assert run(capsys, "dump", "latest:/f", "--target", str(tmp_path / "no" / "out"))[0] == 2
    assert dummy.requests == []


def test_where_links_can_not_be_made_a_target_takes_its_name_all_the_same(capsys, agent, tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    agent({"dump": telling([START, b"bytes"], DUMPED)})
    assert run(capsys, "dump", "latest:/f", "--target", str(tmp_path / "out"))[0] == 0
    assert (tmp_path / "out").read_bytes() == b"bytes"


@pytest.mark.parametrize("words", [[], [":/f"], ["latest", "more"], ["latest", "--archive"]])
def test_dump_needs_a_snapshot(capsys, agent, words):
    agent({})
    assert run(capsys, "dump", *words)[0] == 2


def test_ctrl_c_in_a_dump_ends_with_130_and_says_that_it_is_not_all(capsysbinary, agent, monkeypatch):
    agent({"dump": telling([START, b"half"], DUMPED)})

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("backuppeer.cli.outlet.StandardOutput.write", interrupt)
    code, _, err = dump(capsysbinary, "latest:/f")
    assert code == 130
    assert "incomplete" in err


def test_events_of_a_dump_into_a_file_fit_the_schema(capsys, agent, tmp_path):
    agent({"dump": telling([PROGRESS, TAR, ERROR_FILE, b"x"], msgspec.structs.replace(DUMPED, errors=1))})
    code, out, _ = run(capsys, "dump", "latest", "--json", "--target", str(tmp_path / "out"))
    assert code == 3
    assert [json.loads(line)["event"] for line in out.splitlines()] == ["progress", "start", "error-file", "done"]
    check_output("dump", out)
