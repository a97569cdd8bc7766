"""The folders above the snapshots: each snapshot is a folder once and a link everywhere else."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.cli.mounted.layout import IGNORED, LATEST, Pointer, Root, Shelf, Text, build_layout, find_node
from backuppeer.control.api import SnapshotRow
from backuppeer.repo.snapshot import REPLACED


def row(number, *, time="2026-11-22T21:30:00Z", host="pc", tags=(), set_name="", missing=False):
    return SnapshotRow(
        snapshot=f"{number:064x}"[::-1],
        time=time,
        paths=["/home"],
        files=1,
        bytes=1,
        peers=[],
        host=host,
        tags=list(tags),
        missing=missing,
        set=set_name,
    )


def follow(top, path):
    """Return the node that a path leads to, links followed as the kernel does."""
    parts = []
    for part in path.split("/"):
        if part == "..":
            parts.pop()
            continue
        parts.append(part)
        found = find_node(top, parts)
        assert found is not None, (path, parts)
        if isinstance(found[0], Pointer):
            parts = "/".join([*parts[:-1], found[0].target]).split("/")
            return follow(top, "/".join(parts))
    return find_node(top, parts)[0]


def test_what_a_thief_may_have_made_is_the_latest_of_nothing_but_its_own_tag():
    rows = [row(1, tags=["a"]), row(2, time="2026-11-23T21:30:00Z", tags=[REPLACED, "a"])]
    top = build_layout(rows, UTC)
    mine, other = (find_node(top, ["snapshots", name])[0] for name in list(top.entries["snapshots"].entries)[:2])
    for path in ("snapshots/latest", "hosts/pc/latest", "tags/a/latest"):
        assert follow(top, path) == mine
    assert follow(top, f"tags/{REPLACED}/latest") == other
    assert LATEST not in build_layout(rows[1:], UTC).entries["snapshots"].entries


def test_snapshots_lie_by_time_and_are_linked_by_id_host_tag_and_set():
    rows = [row(1, tags=["a"], set_name="s"), row(2, time="2026-11-23T21:30:00Z", host="nas", tags=["a", "b"])]
    top = build_layout(rows, UTC)
    assert list(top.entries) == ["ids", "snapshots", "hosts", "sets", "tags", IGNORED]
    assert list(top.entries["snapshots"].entries) == ["2026-11-22T21:30:00Z", "2026-11-23T21:30:00Z", LATEST]
    first, second = Root(rows[0].snapshot, 1_795_383_000 * 10**9), Root(rows[1].snapshot, 1_795_469_400 * 10**9)
    for path, root in {
        "snapshots/latest": second,
        "snapshots/2026-11-22T21:30:00Z": first,
        f"ids/{rows[0].snapshot[:8]}": first,
        "hosts/pc/latest": first,
        "hosts/nas/2026-11-23T21:30:00Z": second,
        "sets/s/latest": first,
        "tags/a/latest": second,
        "tags/b/latest": second,
    }.items():
        assert follow(top, path) == root


def test_snapshots_of_one_second_and_ids_with_one_beginning_have_names_of_their_own():
    rows = [row(number) for number in (16**56, 2 * 16**56, 3 * 16**56)]
    assert len({one.snapshot[:7] for one in rows}) == 1
    top = build_layout(rows, UTC)
    ids = list(top.entries["ids"].entries)
    names = [f"2026-11-22T21:30:00Z-{short}" for short in ids]
    assert list(top.entries["snapshots"].entries) == [*names, LATEST]
    assert top.entries["snapshots"].entries[LATEST].target == names[-1]
    assert [follow(top, f"ids/{short}").snapshot for short in ids] == [one.snapshot for one in rows]
    assert len(top.entries["ids"].entries) == 3


def test_times_are_those_of_the_zone():
    top = build_layout([row(1)], timezone(timedelta(hours=5, minutes=30)))
    assert "2026-11-23T03:00:00+05:30" in top.entries["snapshots"].entries
    local = datetime(2026, 11, 22, 21, 30, tzinfo=UTC).astimezone()
    (name, _) = build_layout([row(1)]).entries["snapshots"].entries
    assert datetime.fromisoformat(name) == local


def test_a_backup_that_comes_by_is_told_to_leave_all_of_it_out():
    top = build_layout([row(1)], UTC)
    assert find_node(top, [IGNORED]) == (Text(b"*\n", 1_795_383_000 * 10**9), [])
    assert find_node(top, [IGNORED, "x"]) is None


def test_lost_snapshots_are_left_out_and_without_any_the_folders_are_there_and_empty():
    top = build_layout([row(1, missing=True, time="")], UTC)
    assert [len(shelf.entries) for shelf in top.entries.values() if isinstance(shelf, Shelf)] == [0] * 5


def test_what_lies_in_a_snapshot_is_told_apart():
    top = build_layout([row(1)], UTC)
    path = ["snapshots", "2026-11-22T21:30:00Z", "home", "me"]
    assert find_node(top, path) == (Root(row(1).snapshot, 1_795_383_000 * 10**9), ["home", "me"])
    assert find_node(top, path[:2])[1] == []
    for wrong in (["no"], ["snapshots", "no"], ["snapshots", LATEST, "home"], ["hosts", "pc", LATEST, "x"]):
        assert find_node(top, wrong) is None


LABEL = st.one_of(st.text(max_size=5), st.sampled_from([".", "..", "a/b", "latest", "/", "\0"]))


@pytest.mark.slow
@given(st.lists(st.tuples(LABEL, st.lists(LABEL, max_size=3), LABEL, st.integers(0, 3)), max_size=6))
def test_whatever_hosts_tags_and_sets_are_called_names_are_names_and_links_lead_to_snapshots(given_rows):
    rows = [
        row(number, host=host, tags=tags, set_name=set_name, time=f"2026-11-22T21:30:0{second}Z")
        for number, (host, tags, set_name, second) in enumerate(given_rows, 1)
    ]
    top = build_layout(rows, UTC)
    pending = [("", top)]
    while pending:
        path, node = pending.pop()
        for name, child in node.entries.items():
            assert name not in {"", ".", ".."}
            assert "/" not in name
            assert "\0" not in name
            below = f"{path}/{name}".lstrip("/")
            if isinstance(child, Shelf):
                pending.append((below, child))
            if below != IGNORED:
                assert isinstance(follow(top, below), Shelf if isinstance(child, Shelf) else Root)


@pytest.mark.parametrize("count", [1, 5])
def test_the_age_of_a_folder_is_that_of_the_newest_in_it(count):
    rows = [row(number, time=f"2026-11-22T21:30:0{number}Z") for number in range(count)]
    top = build_layout(rows, UTC)
    newest = (1_795_383_000 + count - 1) * 10**9
    assert {top.time_ns, *(shelf.time_ns for shelf in top.entries.values())} == {newest}
