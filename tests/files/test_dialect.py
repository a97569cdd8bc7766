r"""Names and paths of three systems: what is written can stand there, and two names stay two."""

import os
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from backuppeer.errors import UserError
from backuppeer.files.dialect import (
    Platform,
    choose_name,
    fold_name,
    mark_name,
    store_path,
    this_platform,
    write_name,
    write_path,
)
from backuppeer.limits import NAME_UNITS

LINUX, MACOS, WINDOWS = Platform.LINUX, Platform.MACOS, Platform.WINDOWS
NAMES = st.one_of(
    st.binary(min_size=1, max_size=300),
    st.text(min_size=1, max_size=120).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.text(st.sampled_from("aAß%2E5.: conulprt1²\u0301é\\"), min_size=1, max_size=12).map(str.encode),
).filter(lambda name: name not in {b".", b".."} and not {0, 47} & set(name))


@pytest.mark.parametrize(
    ("path", "stored"),
    [
        (r"C:\Users\me", b"/C/Users/me"),
        (r"c:/Users//me/", b"/C/Users/me"),
        ("d:\\", b"/D"),
        (r"\\?\C:\a. \b", b"/C/a. /b"),
        (r"C:\a. \b...", b"/C/a/b"),
        (r"\\server\share\a", b"/UNC/server/share/a"),
        (r"\\?\UNC\server\share\a", b"/UNC/server/share/a"),
        (r"\\server\share", b"/UNC/server/share"),
        ("C:\\Gr\u00fc\u00dfe\\\ud800", b"/C/Gr\xc3\xbc\xc3\x9fe/\xed\xa0\x80"),
    ],
)
def test_a_path_of_windows_is_stored_from_its_drive_or_server_on(path, stored):
    assert store_path(path, WINDOWS) == stored


@pytest.mark.parametrize(
    "path",
    [
        "",
        "a",
        "C:",
        "C:a",
        r"\a",
        "/a",
        r"\\server",
        "\\\\",
        r"\\.\PhysicalDrive0",
        r"\\?\GLOBALROOT\x",
        r"C:\a\..\b",
        r"C:\a:stream",
        'C:\\a"b',
        "C:\\a\nb",
        "CC:\\a",
    ],
)
def test_what_is_no_whole_path_of_windows_is_refused(path):
    with pytest.raises(UserError):
        store_path(path, WINDOWS)


@given(st.binary(max_size=50))
def test_elsewhere_a_path_is_stored_as_it_is(path):
    assert store_path(os.fsdecode(path), LINUX) == store_path(os.fsdecode(path), MACOS) == path


@pytest.mark.parametrize(
    ("name", "written"),
    [
        (b"notes.txt", b"notes.txt"),
        ("Grüße 東京 🗾".encode(), "Grüße 東京 🗾".encode()),
        (b"a:b*c?", b"a%3Ab%2Ac%3F"),
        (b'<>"|\\\x01', b"%3C%3E%22%7C%5C%01"),
        (b"100%", b"100%"),
        (b"a%3Ab", b"a%253Ab"),
        (b"end.", b"end%2E"),
        (b"end ", b"end%20"),
        (b"...", b"..%2E"),
        (b"CON", b"CO%4E"),
        (b"nul.tar.gz", b"nu%6C.tar.gz"),
        (b"aux .c", b"au%78 .c"),
        ("com²".encode(), b"com%C2%B2"),
        (b"COM0", b"COM0"),
        (b"console", b"console"),
        (b"\xff\xfe", b"%FF%FE"),
        (b"\xed\xa0\x80", b"\xed\xa0\x80"),
    ],
)
def test_a_name_is_written_so_that_windows_takes_it(name, written):
    assert write_name(name, WINDOWS) == written


def test_a_name_is_written_so_that_macos_takes_it():
    assert write_name(b"a:b?", MACOS) == b"a:b?"
    assert write_name(b"\xff", MACOS) == b"%FF"
    assert write_name(b"\xed\xa0\x80", MACOS) == b"%ED%A0%80"
    assert write_name(b"%FF", MACOS) == b"%25FF"


@given(NAMES)
def test_on_linux_everything_is_as_it_is(name):
    assert write_name(name, LINUX) == fold_name(name, LINUX) == choose_name(name, (), LINUX) == name
    assert write_path(b"a/" + name, LINUX) == b"a/" + name


@given(NAMES)
def test_what_is_written_can_stand_on_windows(name):
    for written in (write_name(name, WINDOWS), mark_name(name, WINDOWS)):
        text = written.decode("utf-8", "surrogatepass")
        assert 0 < len(text.encode("utf-16-le", "surrogatepass")) // 2 <= NAME_UNITS
        assert not re.search(r'[<>:"/\\|?*\x00-\x1f]', text)
        assert text[-1] not in ". "
        stem = text.partition(".")[0].rstrip(" ").upper()
        assert not re.fullmatch("CON|PRN|AUX|NUL|CONIN\\$|CONOUT\\$|(COM|LPT)[1-9¹²³]", stem)


@given(NAMES)
def test_what_is_written_can_stand_on_macos(name):
    for written in (write_name(name, MACOS), mark_name(name, MACOS)):
        assert written.decode()
        assert 0 < len(written) <= NAME_UNITS
        assert not {0, 47} & set(written)


@given(NAMES, NAMES, st.sampled_from([MACOS, WINDOWS]))
def test_two_names_stay_two(one, other, platform):
    assume(one != other and max(len(one), len(other)) < 60)
    assert write_name(one, platform) != write_name(other, platform)


@pytest.mark.parametrize(
    ("one", "other", "same_on"),
    [
        ("README", "readme", {MACOS, WINDOWS}),
        ("é", "e\u0301", {MACOS}),
        ("É", "e\u0301", {MACOS}),
        ("straße", "STRASSE", {MACOS}),
        ("Ω", "ω", {MACOS, WINDOWS}),
        ("a", "b", set()),
    ],
)
def test_names_that_are_one_to_a_system_are_known(one, other, same_on):
    for platform in Platform:
        is_same = fold_name(one.encode(), platform) == fold_name(other.encode(), platform)
        assert is_same == (platform in same_on), platform


@given(st.lists(NAMES, unique=True, max_size=8), st.sampled_from([MACOS, WINDOWS]))
def test_all_names_of_a_folder_get_names_of_their_own(names, platform):
    taken = set()
    for name in names:
        chosen = choose_name(name, taken, platform)
        if chosen is None:
            continue  # a name that looks like another's mark; the restore tells of it
        assert fold_name(chosen, platform) not in taken
        taken.add(fold_name(chosen, platform))


def test_a_name_that_is_taken_gets_a_mark_that_does_not_depend_on_the_others():
    taken = {fold_name(b"readme", WINDOWS)}
    marked = choose_name(b"README", taken, WINDOWS)
    assert marked == mark_name(b"README", WINDOWS) != b"README"
    assert choose_name(b"README", {*taken, fold_name(marked, WINDOWS)}, WINDOWS) is None


def test_the_platform_is_that_of_the_interpreter_and_an_unknown_one_is_as_linux():
    assert [this_platform(name) for name in ("linux", "darwin", "win32", "freebsd14")] == [LINUX, MACOS, WINDOWS, LINUX]
