"""Another list of snapshots: what is stored for it, and what tags become."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.memory_engine import MemorySink
from backuppeer.backup.amending import ORIGINAL, Amendment, Retagging, amend, read_rows, relist
from backuppeer.backup.packer import Packer
from backuppeer.backup.publisher import Publisher
from backuppeer.errors import LocalError, Unavailable, UserError
from backuppeer.ids import LogicalId, SnapshotId
from backuppeer.limits import SNAPSHOT_TAGS, SNAPSHOT_TEXT_CHARS
from backuppeer.repo.blob import BlobKind
from backuppeer.repo.head import load_inventory
from backuppeer.repo.pack import PackOpener, parse_header
from backuppeer.repo.snapshot import Snapshot, decode_snapshot

NAME = SnapshotId(b"n" * 32)
MADE = Snapshot(
    tree=bytes(32),
    time_ns=7,
    paths=[b"/a"],
    host="h",
    user="u",
    tags=["a", "b"],
    set="",
    files=1,
    dirs=0,
    bytes=1,
    program="",
)


@pytest.fixture
def three(repository, source):
    """Three snapshots of a folder that grows."""
    made = []
    for number in range(3):
        (source / str(number)).write_bytes(b"%d" % number)
        made.append(repository.backup(source, now_ns=lambda at=number: at, tags=(f"t{number}",)))
    return made


def run(repository, amendment, sink=None):
    return amend(
        amendment, sink or repository.sink, keys=repository.keys, index=repository.index, cache=repository.cache
    )


def inventory_of(repository, amended):
    def fetch(blob):
        location = repository.index.find(blob)
        header, (sealed,) = repository.source.fetch(location.pack, [(location.offset, location.sealed_bytes)])
        return open_blob(repository, location, header, sealed)

    return load_inventory(amended.published.index, fetch)


def open_blob(repository, location, header, sealed):
    return PackOpener(repository.keys, parse_header(header)).open_entry(location.entry, sealed)


def test_the_list_without_some_is_stored_in_one_small_pack_and_the_index_keeps_the_old_one(repository, three):
    before, packs = read_rows(repository.index), list(repository.index.packs())
    amended = run(repository, Amendment(forgotten=frozenset({three[1].snapshot_id})))
    kept = [three[0].snapshot_id, three[2].snapshot_id]
    assert list(amended.rows) == kept
    assert amended.renamed == {}
    assert read_rows(repository.index) == before, "it is for the caller to say when it stands"
    stored = inventory_of(repository, amended)
    assert stored == amended.published.inventory
    assert list(stored.snapshots) == kept
    assert list(stored.packs) == list(repository.index.packs())
    assert stored.packs[:-1] == tuple(packs), "packs stay, and the new one follows"


def test_a_rewritten_snapshot_takes_the_place_of_the_old_one_and_can_be_read_back(repository, three):
    old = three[1]
    fresh = Retagging(add=("x",)).apply(old.snapshot_id, old.snapshot)
    amended = run(repository, Amendment(rewritten={old.snapshot_id: fresh}))
    new = amended.renamed[old.snapshot_id]
    assert list(amended.rows) == [three[0].snapshot_id, new, three[2].snapshot_id]
    assert decode_snapshot(amended.rows[new]) == fresh
    repository.lose_cache()
    location = repository.index.find(new)
    header, (sealed,) = repository.source.fetch(location.pack, [(location.offset, location.sealed_bytes)])
    assert open_blob(repository, location, header, sealed) == amended.rows[new]
    assert location.kind is BlobKind.SNAPSHOT
    repository.index.set_snapshots(amended.rows.items())
    again = run(repository, Amendment(rewritten={new: Retagging(replace=()).apply(new, fresh)}))
    (third,) = again.renamed.values()
    snapshot = decode_snapshot(again.rows[third])
    assert snapshot.ext == {ORIGINAL: bytes(old.snapshot_id)}, "the first id, however often it is changed"
    assert (snapshot.tags, snapshot.tree, snapshot.time_ns) == ([], old.snapshot.tree, old.snapshot.time_ns)


def test_snapshots_known_by_name_only_stay_in_the_list_or_go_by_name(repository, three):
    rows = read_rows(repository.index)
    rows[three[0].snapshot_id] = b""
    repository.index.set_snapshots(rows.items())
    amended = run(repository, Amendment(forgotten=frozenset({three[2].snapshot_id})))
    assert amended.rows[three[0].snapshot_id] == b""
    amended = run(repository, Amendment(forgotten=frozenset({three[0].snapshot_id})))
    assert list(amended.rows) == [three[1].snapshot_id, three[2].snapshot_id]


def test_all_can_go_and_a_backup_goes_on_from_an_empty_list(repository, source, three):
    amended = run(repository, Amendment(forgotten=frozenset(made.snapshot_id for made in three)))
    assert amended.published.inventory.snapshots == ()
    repository.index.set_snapshots(())
    assert repository.backup(source).inventory.snapshots != ()


def test_two_snapshots_that_become_the_same_one_are_in_the_list_once(repository, three):
    fresh = Retagging(add=("x",)).apply(three[0].snapshot_id, three[0].snapshot)
    both = {three[0].snapshot_id: fresh, three[1].snapshot_id: fresh}
    amended = run(repository, Amendment(rewritten=both))
    assert len(amended.rows) == 2
    assert len(set(amended.renamed.values())) == 1


def test_when_no_host_takes_the_pack_nothing_is_changed(repository, three):
    before = read_rows(repository.index)
    sink = MemorySink(repository.keys, repository.index, repository.vault, fail_after=0)
    with pytest.raises(Unavailable):
        run(repository, Amendment(forgotten=frozenset({three[0].snapshot_id})), sink)
    assert read_rows(repository.index) == before


def put_back(repository, chosen, again=()):
    return relist(chosen, again, repository.sink, keys=repository.keys, index=repository.index, cache=repository.cache)


def test_what_is_put_back_stands_in_its_place_of_time_and_names_its_packs_again(repository, three):
    rows = read_rows(repository.index)
    names = list(rows)
    for number, name in enumerate(names):
        left = [other for other in names if other != name]
        repository.index.set_snapshots((other, rows[other]) for other in left)
        pack = LogicalId(bytes([number]) * 16)
        relisted = put_back(repository, {name: rows[name]}, [pack])
        assert list(relisted.rows) == names
        assert inventory_of(repository, relisted).snapshots == tuple(names)
        assert pack in inventory_of(repository, relisted).packs
        assert list(read_rows(repository.index)) == left, "the index follows when the head stands"


def test_one_of_which_only_the_name_is_known_stays_where_it_is_when_others_come_back(repository, three):
    rows = read_rows(repository.index)
    first, second, third = rows
    nameless = SnapshotId(b"?" * 32)
    repository.index.set_snapshots([(nameless, b""), (first, rows[first]), (third, rows[third])])
    relisted = put_back(repository, {second: rows[second]})
    assert list(relisted.rows) == [nameless, first, second, third]
    assert relisted.rows[nameless] == b""


def test_an_empty_amendment_is_none():
    assert not Amendment()
    assert Amendment(forgotten=frozenset({NAME}))
    assert Amendment(rewritten={NAME: MADE})


# --- tags
@pytest.mark.parametrize(
    ("wish", "tags"),
    [
        (Retagging(add=("c", "a", "c")), ["a", "b", "c"]),
        (Retagging(remove=("a", "z")), ["b"]),
        (Retagging(add=("c",), remove=("a", "b")), ["c"]),
        (Retagging(replace=("z", "y", "z")), ["z", "y"]),
        (Retagging(replace=()), []),
    ],
)
def test_tags_are_replaced_added_and_removed(wish, tags):
    wish.check()
    changed = wish.apply(NAME, MADE)
    assert changed == msgspec.structs.replace(MADE, tags=tags, ext={ORIGINAL: bytes(NAME)})


@pytest.mark.parametrize("wish", [Retagging(add=("a",)), Retagging(remove=("z",)), Retagging(replace=("a", "b"))])
def test_what_changes_no_tag_leaves_the_very_same_snapshot(wish):
    assert wish.apply(NAME, MADE) is MADE


@pytest.mark.parametrize(
    "wish",
    [
        Retagging(),
        Retagging(replace=("a",), add=("b",)),
        Retagging(replace=("a",), remove=("b",)),
        Retagging(add=("",)),
        Retagging(remove=("",)),
        Retagging(add=(" ",)),
        Retagging(add=("a b,c",)),
        Retagging(replace=("a,b",)),
        Retagging(replace=("x" * (SNAPSHOT_TEXT_CHARS + 1),)),
    ],
)
def test_a_wish_that_says_nothing_or_too_much_is_refused(wish):
    with pytest.raises(UserError):
        wish.check()


def test_a_tag_of_former_times_can_be_removed_whatever_it_is():
    wish = Retagging(remove=("a b,c",))
    wish.check()
    assert wish.apply(NAME, msgspec.structs.replace(MADE, tags=["a b,c"])).tags == []


def test_more_tags_than_a_snapshot_may_have_are_refused():
    Retagging(replace=tuple(map(str, range(SNAPSHOT_TAGS)))).apply(NAME, MADE)
    with pytest.raises(UserError, match=str(SNAPSHOT_TAGS + 1)):
        Retagging(add=tuple(map(str, range(SNAPSHOT_TAGS - 1)))).apply(NAME, MADE)


@given(st.lists(st.text(min_size=1, max_size=9), max_size=9), st.sets(st.text(min_size=1, max_size=9), max_size=9))
def test_adding_and_removing_again_leaves_the_tags_as_they_were(tags, more):
    before = msgspec.structs.replace(MADE, tags=list(dict.fromkeys(tags)))
    fresh = tuple(more.difference(tags))
    added = Retagging(add=fresh).apply(NAME, before)
    assert Retagging(remove=fresh).apply(NAME, added).tags == before.tags


def test_an_inventory_never_names_a_snapshot_twice(repository, three):
    publisher = Publisher(repository.keys, repository.index, cache=repository.cache, level=3)
    with pytest.raises(LocalError, match="twice"):
        publisher.publish(Packer(repository.index, repository.sink), [three[0].snapshot_id] * 2, [])
