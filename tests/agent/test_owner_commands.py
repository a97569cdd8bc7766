"""What a command of the owner answers at most."""

from types import SimpleNamespace

import pytest

from backuppeer.agent import owner_commands
from backuppeer.agent.owner_commands import OwnerCommands
from backuppeer.backup.trees import Visit
from backuppeer.control.api import LsRequest
from backuppeer.errors import UserError
from backuppeer.limits import LS_ROWS
from backuppeer.repo.tree import EntryKind, TreeEntry

VISIT = Visit(b"f", TreeEntry(EntryKind.FILE, b"f", mode=0, uid=0, gid=0, mtime_ns=0, ctime_ns=0, inode=1, size=0))


@pytest.fixture
def commands():
    repository = SimpleNamespace(keys=None, index=None, cache=None)
    agent = SimpleNamespace(parts=None, owner=SimpleNamespace(vault=SimpleNamespace(repository=repository)))
    return OwnerCommands(agent)


def test_a_listing_has_only_so_many_rows(commands, monkeypatch):
    found = [VISIT] * LS_ROWS
    monkeypatch.setattr(owner_commands, "find_snapshot", lambda _index, _text: (None, None))
    monkeypatch.setattr(owner_commands, "list_entries", lambda *_, **_named: iter(found))
    monkeypatch.setattr(owner_commands, "_entry_row", lambda visit: visit)
    wanted = LsRequest(snapshot="latest", recursive=True)
    assert len(commands._entries(wanted, None)) == LS_ROWS
    found.append(VISIT)
    with pytest.raises(UserError, match=f"more than {LS_ROWS} entries"):
        commands._entries(wanted, None)
