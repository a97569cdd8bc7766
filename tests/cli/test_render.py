import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.cli.render import (
    Column,
    draw_table,
    encode_line,
    escape_line,
    escape_name,
    format_moment,
    format_until,
    name_peer,
    strip_color,
    wrap_line,
)

any_text = st.text(st.characters(codec=None)) | st.binary().map(lambda b: b.decode("utf-8", "surrogateescape"))


@given(any_text)
def test_nothing_that_is_not_printable_reaches_a_terminal(text):
    assert escape_name(text).isprintable()
    assert escape_line(text).isprintable()


@given(any_text, any_text)
def test_two_names_never_look_the_same(one, other):
    assert (escape_name(one) == escape_name(other)) == (one == other)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain Ünïcode 文件", "plain Ünïcode 文件"),
        ("\udcff", r"\xff"),
        (r"\xff", r"\\xff"),
        ("a\x1b[31mred", r"a\u001b[31mred"),
        ("a\nb\rc\td", r"a\u000ab\u000dc\u0009d"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("\x9b31m", r"\u009b31m"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_hostile_names_are_shown_harmless(name, shown):
    assert escape_name(name) == shown


@given(any_text)
def test_json_lines_are_ascii_and_give_the_name_back(text):
    line = encode_line({"path": text})
    assert line.isascii()
    assert "\n" not in line
    assert json.loads(line) == {"path": text}


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8", categories=["L", "N"])), min_size=3, max_size=3)))
def test_a_table_never_exceeds_its_width(rows):
    from rich.cells import cell_len  # noqa: PLC0415 - what a terminal draws

    columns = (Column("one"), Column("two", "right"), Column("three"))
    for line in draw_table(columns, rows, width=40, color=False).splitlines():
        assert cell_len(line) <= 40


def test_a_kept_column_is_never_cut_and_a_pipe_gets_everything():
    rows = [["x" * 30, "y" * 60]]
    columns = (Column("id", keep=True), Column("name"))
    narrow = draw_table(columns, rows, width=50, color=False)
    assert "x" * 30 in narrow
    assert "…" in narrow
    assert "y" * 60 in draw_table(columns, rows, width=4096, color=False)


def test_where_there_is_no_room_the_last_columns_are_left_out_before_a_kept_one_is_broken():
    columns = (Column("peer", keep=True), Column("name"), Column("trust", keep=True), Column("listed for", keep=True))
    rows = [["bp1papvcw7xzx", "alice of the attic", "0.12 unproven", "1 h 59 m"]]
    for width, line in (
        (80, "bp1papvcw7xzx  alice of the attic  0.12 unproven  1 h 59 m"),
        (50, "bp1papvcw7xzx  alice o…  0.12 unproven  1 h 59 m"),
        (40, "bp1papvcw7xzx  alice of…  0.12 unproven"),
        (30, "bp1papvcw7xzx  alice of the a…"),
        (10, "bp1papvcw7xzx"),
    ):
        drawn = draw_table(columns, rows, width=width, color=False).splitlines()
        assert drawn[1] == line
        assert len(drawn[0]) <= max(width, len(line))


words = st.lists(st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1, max_size=20))


@given(words, st.integers(30, 100), st.integers(0, 8))
def test_a_wrapped_line_fits_keeps_every_word_and_indents(parts, width, hang):
    lines = wrap_line(" ".join(parts), width, indent=" " * hang).split("\n")
    assert [word for line in lines for word in line.split()] == parts
    assert all(len(line) <= width for line in lines)
    assert all(line.startswith(" " * hang) for line in lines[1:])


def test_a_wrapped_line_keeps_long_words_columns_and_colours():
    url = "wss://" + "x" * 60
    assert wrap_line(f"tried {url} twice", 30, indent="  ") == f"tried\n  {url}\n  twice"
    assert wrap_line("full id       bp1", 40) == "full id       bp1"
    assert wrap_line("\x1b[31merror:\x1b[0m 1234 6789", 16) == "\x1b[31merror:\x1b[0m 1234 6789"
    assert wrap_line("\x1b[31merror:\x1b[0m 1234 6789", 15) == "\x1b[31merror:\x1b[0m 1234\n6789"


def test_a_hostile_alias_can_not_paint_the_terminal():
    assert "\x1b" not in name_peer("bp1\x1b[2J", "a\x1b[2J")


@pytest.mark.parametrize("text", ["", "nonsense", "9999-99-99", "\x1b[2J"])
def test_a_time_that_is_none_is_shown_harmless(text):
    assert "\x1b" not in format_moment(text)
    assert "\x1b" not in format_until(text, 0)


def test_time_left():
    assert format_until("1970-01-01T01:16:05Z", 0) == "1 h 16 m"
    assert format_until("1970-01-01T00:00:30Z", 0) == "< 1 m"
    assert format_until("1970-01-01T00:00:30Z", 31) == "over"


@pytest.mark.parametrize("width", [60, 72, 80, 100, 120])
def test_times_and_ids_are_whole_or_not_there_and_what_matters_least_goes_first(width):
    from backuppeer.cli import auditing, snapshots  # noqa: PLC0415 - their columns

    moment, day = "2026-11-28 10:00", "2026-11-28"
    rows = {
        snapshots._COLUMNS: ["3fa9c1d2", moment, "123,456", "99.9 GB", day, "3", "/home/bob/" + "x" * 60],
        auditing._COLUMNS: ["an old friend", moment, moment, "100 %", "99.9 GB", "3", moment],
    }
    for columns, cells in rows.items():
        drawn = draw_table(columns, [cells], width=width, color=False)
        assert all(len(line) <= width for line in drawn.splitlines())
        shown = [word for word in drawn.splitlines()[1].split("  ") if word]
        assert all(cell.strip() in cells or "x…" in cell for cell in shown), shown
        assert shown[1].strip() == moment
    listed = draw_table(snapshots._COLUMNS, [rows[snapshots._COLUMNS]], width=width, color=False)
    assert ("/home/bob/xxxx" in listed) == (width >= 72), "where it lies matters more than who has it"


REASONED = (Column("peer", keep=True), Column("name"), Column("avail", spare=True), Column("because", below=True))
LONG = "it lost or withheld 12 % of your data, found on 2026-11-02, and gets no new data"


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_reason_that_does_not_fit_beside_stands_whole_below_its_row(width):
    rows = [("bp1abcdefghij", "alice", "95 %", LONG), ("bp1klmnopqrst", "bob", "-", "nothing known")]
    lines = draw_table(REASONED, rows, width=width, color=False).splitlines()
    assert max(map(len, lines)) <= width
    assert "because" not in lines[0]
    first, last = lines.index(next(line for line in lines if "alice" in line)), lines[-2:]
    assert " ".join(" ".join(lines[first + 1 : -2]).split()) == LONG
    assert all(line.startswith("    ") for line in lines[first + 1 : -2])
    assert ("bob" in last[0], last[1]) == (True, "    nothing known")


def test_where_it_fits_a_reason_has_its_column(capsys):
    rows = [("bp1abcdefghij", "alice", "95 %", LONG)]
    header, row = draw_table(REASONED, rows, width=120, color=False).splitlines()
    assert header.endswith("because")
    assert row.endswith(LONG)


@pytest.mark.parametrize("width", [80, 30])
def test_colours_take_no_room_in_a_table(width):
    columns = [Column("n", keep=True), Column("mark", keep=True), Column("what")]
    plain = [["1", "·", "cancelled"], ["2", "✓", "a backup of many and long words"]]
    colored = [plain[0], ["2", "\x1b[32m✓\x1b[0m", "\x1b[1ma backup of many and long words\x1b[0m"]]
    drawn = draw_table(columns, colored, width=width, color=False)
    assert strip_color(drawn) == draw_table(columns, plain, width=width, color=False)
    assert "\x1b[32m✓\x1b[0m" in drawn
