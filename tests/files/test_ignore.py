"""Patterns decide as git does; those of a command fit at every depth."""

import os
import re
import shutil
import subprocess
from functools import partial

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from backuppeer.errors import UserError
from backuppeer.files.ignore import Patterns, anywhere, read_lines
from backuppeer.limits import IGNORE_LINE_CHARS, IGNORE_RULES_AT_ONCE

LINES = [
    "*.o", "!keep.o", "/build", "node_modules/", "a/b", "**/x/y", "doc/**/*.txt", "# comment", "", "trailing  ",
    "\\#odd", "\\!odd", "[a-c]?.log", "deep/**", "!deep/kept", "sp ace", "caf\u00e9",
]  # fmt: skip
PATHS = [
    "a.o", "d/a.o", "keep.o", "d/keep.o", "build", "d/build", "node_modules/f", "d/node_modules/f", "a/b", "c/a/b",
    "x/y", "q/x/y", "q/r/x/y", "doc/1.txt", "doc/p/q/2.txt", "other/doc/3.txt", "trailing", "#odd", "!odd",
    "a1.log", "d1.log",
    "deep/kept", "deep/other", "sp ace", "caf\u00e9", "plain", "# comment", "O.O",
]  # fmt: skip


@pytest.mark.skipif(shutil.which("git") is None, reason="git is the judge")
def test_the_decisions_are_those_of_git(tmp_path):
    for path in PATHS:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / ".gitignore").write_text("\n".join(LINES))
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True, env=environment)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--others", "--exclude-standard"],
        cwd=tmp_path, check=True, env=environment, capture_output=True,
    ).stdout.decode().split("\0")  # fmt: skip
    patterns = Patterns(LINES, b"/base")

    def is_kept(path):
        parts = path.split("/")
        above = ["/".join(parts[:n]) for n in range(1, len(parts))]
        return not any(patterns.decide(b"/base/" + part.encode(), is_directory=True) for part in above) and not (
            patterns.decide(b"/base/" + path.encode(), is_directory=False)
        )

    assert {path for path in PATHS if is_kept(path)} == {path for path in listed if path and path != ".gitignore"}


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("*.tmp", "/home/me/x.tmp", True),
        ("/home/me/tmp", "/home/me/tmp", True),
        ("/home/me/tmp", "/mnt/home/me/tmp", None),
        (".cache/pip", "/home/me/.cache/pip", True),
        ("!.cache/pip", "/home/me/.cache/pip", False),
        ("# a/b", "/# a/b", None),
        ("node_modules/", "/srv/node_modules", None),
    ],
)
def test_a_pattern_of_a_command_fits_at_every_depth_unless_it_begins_with_a_slash(pattern, path, fits):
    assert Patterns([anywhere(pattern)], b"/").decide(path.encode(), is_directory=False) is fits


def test_a_pattern_for_folders_fits_folders_only():
    assert Patterns(["cache/"], b"/a").decide(b"/a/b/cache", is_directory=True)


def test_names_with_any_bytes_fit_wildcards_and_themselves():
    assert Patterns(["*.o"], b"/").decide(b"/\xff\n.o", is_directory=False)
    assert Patterns(["\udcff"], b"/").decide(b"/\xff", is_directory=False)


def test_the_case_of_letters_counts_unless_told():
    assert Patterns(["*.JPG"], b"/").decide(b"/a.jpg", is_directory=False) is None
    assert Patterns(["*.JPG"], b"/", ignore_case=True).decide(b"/A.jpG", is_directory=False)


@pytest.mark.parametrize(
    "line", ["!", "a\\", "[a", "[]", "[[:no:]]", "[z-a]", "x[\udcff-a].o", "x" * (IGNORE_LINE_CHARS + 1)]
)
def test_what_is_no_pattern_is_named(line):
    with pytest.raises(UserError, match="pattern"):
        Patterns([line], b"/")


@pytest.mark.timeout(30)
def test_stars_in_a_row_are_one_star_and_cost_no_more():
    patterns = Patterns(["/a" + "*" * 40 + "j" + "*" * 40 + "k"], b"/")
    assert patterns.decide(b"/a" + b"x" * 200, is_directory=False) is None
    assert patterns.decide(b"/a" + b"x" * 200 + b"jk", is_directory=False)
    assert Patterns(["a***b"], b"/").decide(b"/a/b", is_directory=False) is None


@pytest.mark.parametrize(
    ("line", "path", "fits"),
    [
        (r"\**", b"/*x", True),
        (r"\**", b"/x", None),
        (r"\\**", b"/\\x", True),
        ("a/**/b", b"/a/c/d/b", True),
        ("**/b", b"/a/c/b", True),
        ("!**/b", b"/a/c/b", False),
        ("a/***/b", b"/a/c/b", True),
        ("a/***/b", b"/a/c/d/b", True),
        ("a/**", b"/a", None),
        ("a/**", b"/a/b\n", True),
        ("a/**/**/b", b"/a/b", True),
        ("/**", b"/a/b", True),
        ("ab*ba", b"/aba", None),
        ("a*b", b"/a\n/b", None),
        ("foo", b"/foo\n", None),
    ],
)
def test_stars_mean_what_they_meant(line, path, fits):
    assert Patterns([line], b"/").decide(path, is_directory=False) is fits


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("line", "path", "fits"),
    [
        ("*a" * 1000 + "b", b"a" * 255, None),
        ("*a" * 127 + "b", b"a" * 254 + b"b", True),
        ("?*" * 2000, b"a" * 255, None),
        ("**/a/" * 800 + "b", b"a/" * 2000 + b"c", None),
        ("**/a/" * 800 + "b", b"a/" * 2000 + b"b", True),
        ("**/" + "*/" * 1000 + "x", b"a/" * 2000 + b"c", None),
        ("**/" + "*a*a*a*a/" * 300 + "x", (b"a" * 255 + b"/") * 16 + b"c", None),
    ],
)
def test_lines_made_to_cost_time_do_not(line, path, fits):
    assert Patterns([line], b"/").decide(b"/" + path, is_directory=False) is fits


PARTS = [
    "a", "b", "ab", "x", "*", "**/", "/", "/**", "?", "[ab]", "[!a]", "[^b-c]", "[]a]", "[[:alpha:]]", "[a/b]", "[a-]",
    "[\\]]", "\\", "!", "#", " ", "-", "]",
]  # fmt: skip
TREE = [
    "a", "ab", "aab", "b/", "b/a", "b/x", "b/ab/", "b/ab/a", "b/ab/b", "x/", "x/a/", "x/a/b/", "x/a/b/a", "x/]",
    "x/a b", "#a", "!a", "\\a", "-", "c/", "c/a/", "c/a/ab", "c/[a", "c/a\nb",
]  # fmt: skip


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    """Return what says which entries of TREE git leaves out by some lines."""
    place = tmp_path_factory.mktemp("judge")
    for path in TREE:
        (place / path).mkdir() if path.endswith("/") else (place / path).touch()
    run = partial(
        subprocess.run, cwd=place, env={"PATH": os.environ["PATH"], "HOME": str(place), "GIT_CONFIG_NOSYSTEM": "1"}
    )
    run(["git", "init", "-q"], check=True)
    asked = "\0".join(path.rstrip("/") for path in TREE).encode()

    def judged(lines):
        (place / ".gitignore").write_text("\n".join(lines), newline="")
        done = run(
            ["git", "check-ignore", "-z", "--stdin", "--no-index"], input=asked, capture_output=True, check=False
        )
        return set(done.stdout.decode().split("\0")) - {""}

    return judged


@pytest.mark.skipif(shutil.which("git") is None, reason="git is the judge")
@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(PARTS), min_size=1, max_size=6).map("".join), min_size=1, max_size=3))
def test_whatever_the_lines_the_decisions_are_those_of_git(judge, lines):
    # A name before two stars is no part of the pattern to git, which then takes them for folders: not as documented.
    assume(not any(re.search(r"[^/]\*\*|\*\*[^/]", line) for line in lines))
    try:
        patterns = Patterns(lines, b"/")
    except UserError:
        assume(False)

    def leaves_out(path):
        parts = path.rstrip("/").split("/")
        places = [("/" + "/".join(parts[:n]), n < len(parts) or path.endswith("/")) for n in range(1, len(parts) + 1)]
        return any(patterns.decide(place.encode(), is_directory=is_directory) for place, is_directory in places)

    assert {path.rstrip("/") for path in TREE if leaves_out(path)} == judge(lines)


def test_of_many_lines_the_last_that_fits_decides():
    many = [f"/f{n}" for n in range(2 * IGNORE_RULES_AT_ONCE)]
    patterns = Patterns(["x", *many, "!x", "y", *many, "!y", "y"], b"/")
    assert patterns.decide(b"/x", is_directory=False) is False
    assert patterns.decide(b"/y", is_directory=False) is True
    assert patterns.decide(b"/f1", is_directory=False) is True
    assert patterns.decide(b"/z", is_directory=False) is None


def test_what_lies_in_a_folder_that_fits_is_within_it():
    patterns = Patterns(["docs/", "!docs/old"], b"/")
    assert patterns.leaves_out_within(b"/me/docs/a/b")
    assert not patterns.leaves_out_within(b"/docs/old/b")
    assert not patterns.leaves_out_within(b"/me/docs")


def test_a_mark_of_byte_order_and_foreign_line_ends_are_passed_over():
    assert read_lines(b"\xef\xbb\xbf*.o\r\n\xff\n") == ["*.o", "\udcff"]
    assert read_lines(b"") == []


def test_what_only_looks_like_a_line_end_is_part_of_a_pattern():
    assert read_lines("a\u2028*\nb\x0c\x85c".encode()) == ["a\u2028*", "b\x0c\x85c"]
