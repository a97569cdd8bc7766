"""What a command of the owner answers at most."""

import asyncio
from types import SimpleNamespace

import pytest

from backuppeer.agent.commands import owner as owner_commands
from backuppeer.agent.commands.owner import OwnerCommands
from backuppeer.agent.owner.losses import Losses
from backuppeer.backup.trees import Visit
from backuppeer.control.api import LsRequest, SnapshotsRequest
from backuppeer.control.choosing import ConnectPlanRequest
from backuppeer.errors import IntegrityFault, UserError
from backuppeer.ids import format_peer_id
from backuppeer.limits import LS_ROWS
from backuppeer.repo.tree import EntryKind, TreeEntry

VISIT = Visit(b"f", TreeEntry(EntryKind.FILE, b"f", mode=0, uid=0, gid=0, mtime_ns=0, ctime_ns=0, inode=1, size=0))


@pytest.fixture
def commands():
    repository = SimpleNamespace(keys=None, index=None, cache=None)
    agent = SimpleNamespace(
        parts=None, owner=SimpleNamespace(vault=SimpleNamespace(repository=repository, named_losses=Losses))
    )
    return OwnerCommands(agent)


@pytest.mark.parametrize("name", ["../x", "bp1foo", " "])
def test_a_name_that_can_not_be_is_refused_before_the_person_is_asked_anything(owner, house, name):
    agent = SimpleNamespace(parts=SimpleNamespace(state=owner.state, keys=owner.keys), owner=None)
    with pytest.raises(UserError, match="can't be a name"):
        asyncio.run(OwnerCommands(agent).plan(ConnectPlanRequest(peer=format_peer_id(house.peer), name=name), None))


def test_a_listing_has_only_so_many_rows(commands, monkeypatch):
    found = [VISIT] * LS_ROWS
    monkeypatch.setattr(owner_commands, "find_snapshot", lambda *_: (None, None))
    monkeypatch.setattr(owner_commands, "list_entries", lambda *_, **_named: iter(found))
    monkeypatch.setattr(owner_commands, "make_entry_row", lambda visit: visit)
    wanted = LsRequest(snapshot="latest", path="/", recursive=True)
    assert len(commands._entries(wanted, None)) == LS_ROWS
    found.append(VISIT)
    with pytest.raises(UserError, match=f"more than {LS_ROWS} entries"):
        commands._entries(wanted, None)


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_lost_index_is_not_told_as_no_snapshots(is_lost):
    index = SimpleNamespace(packs=lambda: iter(()), snapshot_names=dict, snapshots=list)
    vault = SimpleNamespace(
        is_unrecovered=False,
        heads=SimpleNamespace(newest=lambda: object() if is_lost else None, is_awaited=False),
        repository=SimpleNamespace(index=index),
        complete_hosts=list,
        incomplete=frozenset(),
    )
    auditor = SimpleNamespace(proven_ms=lambda _: 0)
    commands = OwnerCommands(SimpleNamespace(parts=None, owner=SimpleNamespace(vault=vault, auditor=auditor)))
    if is_lost:
        with pytest.raises(IntegrityFault, match="lost its list") as caught:
            asyncio.run(commands.snapshots(SnapshotsRequest(), None))
        assert "check --repair" in caught.value.hint
    else:
        assert asyncio.run(commands.snapshots(SnapshotsRequest(), None)) == []
