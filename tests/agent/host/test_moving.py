"""`host --move-store`: owners are served meanwhile, the place written down is the truth, and a kill is no loss."""

import asyncio
import errno
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from agent.host.test_removals_over_the_wire import DATA, STORED, leave_head
from agent.hosted import hosted
from backuppeer.agent.agent import default_store
from backuppeer.agent.commands import moving as commands_module
from backuppeer.agent.commands.moving import MoveCommands
from backuppeer.agent.home.home import Home
from backuppeer.agent.host import place as place_module
from backuppeer.agent.host.moving import Moving
from backuppeer.agent.host.occupancy import Occupancy
from backuppeer.agent.host.premises import Premises
from backuppeer.control.api import Nothing
from backuppeer.control.ending import MovePlace, MoveRequest
from backuppeer.errors import NotFoundError, PeerUnreachable, StoreUnavailable
from backuppeer.host import relocation
from backuppeer.host.layout import Layout
from backuppeer.limits import LEAF_BYTES
from backuppeer.proof.merkle import compute_stored_id
from backuppeer.wire.codes import RefusalCode
from backuppeer.wire.messages import GetRange, GetUsage, Proceed, PutPack, Range, Stored


class Yard:
    """A host with one owner in session, whose store is moved."""

    def __init__(self, house, owner, link, agreement) -> None:
        self.house, self.owner, self.link, self.agreement = house, owner, link, agreement
        self.old = house.premises.directory
        self.new = self.old.parent / "disk"
        self.events = []
        self.moving = Moving(house.premises)
        host = SimpleNamespace(moving=self.moving, premises=house.premises, sweeping=house.sweeping)
        self.commands = MoveCommands(SimpleNamespace(host=host, parts=SimpleNamespace(sessions=link.far.sessions)))

    async def move(self, target=None):
        async def emit(event):
            self.events.append(event)

        return await self.commands.move(MoveRequest(directory=str(target or self.new)), emit)

    async def read(self) -> bytes:
        question = GetRange(agreement=self.agreement, stored=STORED, first_leaf=0, leaves=1)
        async with self.link.session.request(question) as channel:
            found = await channel.receive(Range)
            data = bytearray()
            await channel.receive_through(found.size, data.extend)
            return bytes(data)

    def restart(self) -> Premises:
        """What a new agent of this home finds."""
        self.house.premises.close()
        self.house.premises = Premises(self.house.state, self.house.identity, self.house.clock)
        return self.house.premises


@pytest.fixture
def far(monkeypatch):
    """Let the new place be on another disk."""
    monkeypatch.setattr(relocation, "is_one_disk", lambda *_: False)


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(commands_module, "MOVE_WAIT_S", 0.2)


def play(house, owner, scenario):
    agreement = owner.agree_with(house)

    async def run():
        async with hosted(house, owner) as link:
            await link.put(agreement, DATA)
            await leave_head(link, owner, agreement)
            await scenario(Yard(house, owner, link, agreement))

    asyncio.run(run())


def places(yard) -> tuple[bool, bool]:
    return Layout(yard.old).marker.exists(), Layout(yard.new).marker.exists()


def test_within_one_disk_it_is_renamed_and_served_from_there_also_after_a_restart(house, owner):
    async def scenario(yard):
        done = await yard.move()
        assert (done.renamed, done.cleared, done.files) == (True, True, 0)
        assert places(yard) == (False, True)
        assert await yard.read() == DATA[:LEAF_BYTES]
        assert yard.house.premises.directory == yard.new
        again = await yard.move()
        assert (again.source, again.target, again.files) == (str(yard.new), str(yard.new), 0), "it lies there already"
        assert yard.restart().open().directory == yard.new

    play(house, owner, scenario)


@pytest.mark.usefixtures("far")
def test_to_another_disk_it_is_copied_while_owners_store_and_read(house, owner, monkeypatch):
    late = b"late" * 5000

    async def scenario(yard):
        loop, whole = asyncio.get_running_loop(), relocation.copy

        def copy(source, target, *, tell, check):
            whole(source, target, tell=tell, check=check)
            # In the thread of the copy, the store being in use: an owner stores and reads.
            asyncio.run_coroutine_threadsafe(yard.link.put(yard.agreement, late), loop).result(30)
            assert asyncio.run_coroutine_threadsafe(yard.read(), loop).result(30) == DATA[:LEAF_BYTES]

        monkeypatch.setattr(relocation, "copy", copy)
        done = await yard.move()
        assert (done.renamed, done.cleared) == (False, True)
        assert done.bytes > len(DATA)
        assert not yard.old.exists()
        store = yard.house.premises.open()
        assert store.directory == yard.new
        assert store.has(yard.agreement, compute_stored_id(late))
        assert await yard.read() == DATA[:LEAF_BYTES]
        assert {event.event for event in yard.events} == {"state", "progress"}
        assert yard.restart().open().usage(yard.agreement).packs == 2

    play(house, owner, scenario)


@pytest.mark.usefixtures("far", "hasty")
def test_an_owner_in_the_middle_of_a_pack_is_let_go_of_and_can_send_it_again(house, owner):
    data = b"slow" * 100_000

    async def scenario(yard):
        async def send_slowly():
            message = PutPack(agreement=yard.agreement, stored=compute_stored_id(data), size=len(data))
            async with yard.link.session.request(message) as channel:
                await channel.receive(Proceed)
                await channel.send_raw(data[:1000])
                await yard.move()
                await channel.send_raw(data[1000:])
                await channel.receive(Stored)

        with pytest.raises(PeerUnreachable):
            await send_slowly()
        store = yard.house.premises.open()
        assert (store.directory, store.usage(yard.agreement).packs) == (yard.new, 1)
        assert store.usage(yard.agreement).reserved_bytes == 0

    play(house, owner, scenario)


def test_whoever_asks_within_the_switch_is_told_to_try_again(house, owner):
    async def scenario(yard):
        assert yard.house.premises.occupancy.hold(0)
        async with yard.link.session.request(GetUsage(agreement=yard.agreement)) as channel:
            refused = await channel.receive_any()
        assert refused.code == RefusalCode.STORE_UNAVAILABLE
        yard.house.premises.leave()
        for wish in (yard.house.premises.open, lambda: yard.house.premises.establish(yard.old, 2**26)):
            with pytest.raises(StoreUnavailable, match="being moved"):
                wish()
        yard.house.premises.come_back()
        yard.house.premises.occupancy.release()
        assert await yard.read() == DATA[:LEAF_BYTES]

    play(house, owner, scenario)


# --- killed
class Killed(BaseException):
    """As kill -9 is: nothing of ours runs after it."""


def kill_at(monkeypatch, module, name):
    def killed(*args, **options):
        del args, options
        raise Killed

    monkeypatch.setattr(module, name, killed)


def switch(yard, *, by_rename):
    if not by_rename:
        yard.moving.copy(yard.old, yard.new, tell=lambda *_: None, check=lambda: None)
    return yard.moving.switch(yard.old, yard.new, by_rename=by_rename)


@pytest.mark.parametrize(
    ("module", "name", "by_rename", "moves"),
    [
        (relocation, "finish", False, False),
        (place_module.Place, "settle", False, False),
        (place_module, "take_over", False, True),
        (relocation, "rename_store", True, False),
        (place_module.Place, "settle", True, True),
        (place_module, "take_over", True, True),
    ],
)
def test_killed_at_any_step_of_the_switch_there_is_one_truth_and_all_of_it(
    house, owner, monkeypatch, *, module, name, by_rename, moves
):
    async def scenario(yard):
        with monkeypatch.context() as patch:
            kill_at(patch, module, name)
            with pytest.raises(Killed):
                switch(yard, by_rename=by_rename)
            assert sum(places(yard)) == 1
        premises = yard.restart()
        store = premises.open()
        assert store.directory == premises.directory == (yard.new if moves else yard.old)
        assert places(yard) == (not moves, moves)
        assert store.usage(yard.agreement).packs == 1
        moving = Moving(premises)
        assert moving.clear()
        assert yard.old.exists() is not moves
        if not moves:
            # The same again goes on.
            if not by_rename:
                moving.copy(yard.old, yard.new, tell=lambda *_: None, check=lambda: None)
            assert moving.switch(yard.old, yard.new, by_rename=by_rename)
            assert premises.open().usage(yard.agreement).packs == 1
            assert places(yard) == (False, True)

    play(house, owner, scenario)


def test_an_old_disk_that_is_pulled_out_within_the_switch_does_not_hold_up_the_new_place(house, owner, monkeypatch):
    async def scenario(yard):
        with monkeypatch.context() as patch:
            kill_at(patch, place_module, "take_over")
            with pytest.raises(Killed):
                switch(yard, by_rename=False)
        pulled = yard.old.rename(yard.old.parent / "pulled")
        assert yard.restart().open().directory == yard.new
        pulled.rename(yard.old)
        assert yard.restart().open().directory == yard.new
        assert places(yard) == (False, True), "back again, it is no store any more"

    play(house, owner, scenario)


def test_an_unplugged_store_is_not_taken_for_one_that_was_renamed(house, owner):
    async def scenario(yard):
        yard.house.premises.place.begin_move(yard.old, yard.new)
        yard.house.premises.close()
        yard.old.rename(yard.old.parent / "unplugged")
        with pytest.raises(StoreUnavailable):
            yard.restart().open()
        assert yard.house.premises.directory == yard.old

    play(house, owner, scenario)


def test_a_store_behind_a_link_moves_itself_and_not_the_link(house, owner):
    async def scenario(yard):
        link = yard.old.parent / "link"
        link.symlink_to(yard.old)
        yard.house.premises.close()
        yard.house.premises.place.settle(link)
        premises = yard.restart()
        moving = Moving(premises)
        source, target, is_near = moving.prepare(yard.new)
        assert (source, target, is_near) == (yard.old, yard.new, True)
        assert moving.switch(source, target, by_rename=True)
        assert premises.directory == yard.new
        assert places(yard) == (False, True)
        assert premises.open().usage(yard.agreement).packs == 1

    play(house, owner, scenario)


def test_a_switch_that_could_not_be_finished_is_no_move_any_more(house, owner, monkeypatch):
    async def scenario(yard):
        def full(*_):
            raise StoreUnavailable("no space left")

        with monkeypatch.context() as patch:
            patch.setattr(relocation, "finish", full)
            with pytest.raises(StoreUnavailable, match="no space"):
                switch(yard, by_rename=False)
        yard.house.premises.close()
        yard.old.rename(yard.old.parent / "unplugged")
        (yard.new / "backup-peer-moving").rename(yard.new / "backup-peer-store")  # whatever stands there
        with pytest.raises(StoreUnavailable):
            yard.restart().open()
        assert yard.house.premises.directory == yard.old

    play(house, owner, scenario)


@pytest.mark.usefixtures("far")
def test_leaving_it_while_it_is_copied_leaves_the_store_in_use_where_it_was(house, owner, monkeypatch):
    async def scenario(yard):
        loop, begun, whole = asyncio.get_running_loop(), asyncio.Event(), relocation.copy

        def copy(source, target, *, tell, check):
            loop.call_soon_threadsafe(begun.set)
            while True:  # a large store
                whole(source, target, tell=tell, check=check)

        monkeypatch.setattr(relocation, "copy", copy)
        task = asyncio.create_task(yard.move())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert places(yard) == (True, False)
        assert await yard.read() == DATA[:LEAF_BYTES]

    play(house, owner, scenario)


def test_who_left_within_the_switch_hears_that_it_was_done_and_the_old_place_is_cleared(house, owner, monkeypatch):
    async def scenario(yard):
        monkeypatch.setattr(relocation, "is_one_disk", lambda *_: False)
        loop, switching, may_end = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
        whole = relocation.finish

        def finish(source, target):
            loop.call_soon_threadsafe(switching.set)
            assert may_end.wait(30)
            whole(source, target)

        monkeypatch.setattr(relocation, "finish", finish)
        task = asyncio.create_task(yard.move())
        await switching.wait()
        task.cancel()
        asking = asyncio.create_task(yard.commands.place(Nothing(), None))
        await asyncio.sleep(0)
        assert not asking.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asking == MovePlace(directory=str(yard.new), cleared=True)
        assert not yard.old.exists()
        assert await yard.read() == DATA[:LEAF_BYTES]

    play(house, owner, scenario)


@pytest.mark.usefixtures("far")
@pytest.mark.parametrize("step", ["copy", "finish"])
def test_a_full_disk_is_told_with_where_the_store_is_and_nothing_half_written_is_left(house, owner, monkeypatch, step):
    async def scenario(yard):
        def full(*_):
            raise OSError(errno.ENOSPC, "no space left on device")

        with monkeypatch.context() as patch:
            if step == "copy":
                patch.setattr(relocation, "write_all", full)
            else:
                patch.setattr(relocation, "sync_directory", full)
            with pytest.raises(StoreUnavailable) as caught:
                await yard.move()
        assert caught.value.message == (
            f"the disk of {yard.new} is full; nothing was moved: the store is in {yard.old} as before, and is served "
            "from there"
        )
        assert f"or remove {yard.new}" in caught.value.hint
        assert list((yard.new / "incoming").iterdir()) == []
        assert await yard.read() == DATA[:LEAF_BYTES]
        assert (await yard.move()).renamed is False
        assert await yard.read() == DATA[:LEAF_BYTES]

    play(house, owner, scenario)


def test_a_home_that_hosts_nothing_has_nothing_to_move(house, tmp_path):
    house.state.put_setting("store.directory", b"")
    with pytest.raises(NotFoundError, match="hosts nothing") as told:
        Moving(house.premises).prepare(tmp_path / "x")
    assert "host --storage" in str(told.value.hint)


def test_a_user_that_stays_is_waited_for_and_no_other_comes_in():
    occupancy = Occupancy()
    with occupancy.using():
        assert not occupancy.hold(0.01)
        with pytest.raises(StoreUnavailable, match="being moved"), occupancy.using():
            pass
    assert occupancy.hold(0)
    occupancy.release()
    with occupancy.using():
        pass


def test_a_slot_without_a_place_is_offered_where_the_store_lies(tmp_path):
    home = Home(tmp_path)
    assert default_store(home, "", tmp_path / "disk") == tmp_path / "disk"
    assert default_store(home, "/mnt/x", tmp_path / "disk") == Path("/mnt/x")
    assert default_store(home, "") == home.default_store
