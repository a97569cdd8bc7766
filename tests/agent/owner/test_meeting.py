"""Hosts heard side by side: a slow one holds up nobody, and what it costs to be slow is bounded."""

import asyncio
import math
from types import SimpleNamespace

import pytest

from agent.estates import estate_of
from agent.loops import VirtualClock, play
from backuppeer.agent.brake import Brake, use_brake
from backuppeer.agent.owner import rebuild
from backuppeer.agent.owner.lagging import describe_lacking
from backuppeer.agent.owner.meeting import Meeting
from backuppeer.agent.owner.rebuild import rebuild_from
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.reporter import Reporter
from backuppeer.errors import PeerUnreachable, RefusedError
from backuppeer.ids import AgreementId, StoredId
from backuppeer.limits import (
    HEAR_S,
    HERALD_FIRST_S,
    PAUSE_GRACE_S,
    REFRESH_PACK_S,
    REFRESH_ROW_S,
    REFRESH_S,
    RETRY_BUDGET_S,
    SILENT_LEAST_S,
    WITNESS_S,
)
from backuppeer.shares.ledger import Copy
from backuppeer.wire.messages import HeadIs, PackList, PackRow


class Rows:
    """A host whose pages come one by one, each after a while, and whose packs open or don't."""

    agreement = b"a" * 16

    def __init__(self, monkeypatch, *, pause_s, rows=1, opens=True, pages=10**6):
        self.pause_s, self.rows, self.opens, self.pages, self.asked = pause_s, rows, opens, pages, 0
        monkeypatch.setattr(rebuild, "_list_page", self.list_page)
        monkeypatch.setattr(rebuild, "read_directory", self.read_directory)
        monkeypatch.setattr(rebuild.asyncio, "to_thread", self.at_once)  # virtual time does not wait for threads
        self.ledger = self.index = self

    async def list_page(self, _partner, after):
        await asyncio.sleep(self.pause_s)
        self.asked += 1
        first = int.from_bytes(after, "big") + 1
        ids = (StoredId((first + n).to_bytes(32, "big")) for n in range(self.rows))
        return PackList(packs=tuple(PackRow(stored, 1 << 18) for stored in ids), more=self.asked < self.pages)

    async def read_directory(self, _partner, _repository, row):
        if not self.opens:
            raise RefusedError("no")
        return Copy(bytes(16), self.agreement, row.stored, row.size, bytes(64)), ()

    def register_found(self, contents):
        pass

    async def at_once(self, call, *args):
        return call(*args)

    def register_copies(self, copies):
        self.registered += len(copies)

    known = registered = 0

    def copies_at(self, agreement):
        ids = (StoredId(n.to_bytes(32, "big")) for n in range(1, self.known + 1))
        return [Copy(bytes(16), agreement, stored, 1, bytes(64)) for stored in ids]

    def doomed_at(self, _):
        return []

    def has_read(self, _):
        return True

    def spoiled_at(self, _):
        return {}


def read(rows):
    async def run():
        await rebuild_from(rows, rows, lambda _: None, VirtualClock())

    async def timed():
        try:
            await run()
        except PeerUnreachable as exc:
            return asyncio.get_running_loop().time(), exc.message
        return asyncio.get_running_loop().time(), ""

    return play(timed())


def test_rows_that_drip_are_given_up_when_the_patience_for_one_host_is_over(monkeypatch):
    ended_s, told = read(Rows(monkeypatch, pause_s=20, opens=False))
    assert (ended_s, told) == (REFRESH_S, "it tells too slowly what it holds")


def test_packs_that_open_earn_a_host_the_time_that_they_are_worth(monkeypatch):
    ended_s, told = read(Rows(monkeypatch, pause_s=20, rows=4))
    assert told
    assert ended_s == REFRESH_S + 4 * REFRESH_PACK_S * (ended_s // 20)
    assert read(Rows(monkeypatch, pause_s=20, rows=10, pages=50)) == (1000, "")


def test_what_was_opened_before_a_host_is_given_up_is_kept(monkeypatch):
    rows = Rows(monkeypatch, pause_s=0, rows=3, pages=1)
    read_one, opened = rows.read_directory, []

    async def stall_at_the_last(partner, repository, row):
        if row.stored == StoredId((3).to_bytes(32, "big")):
            await asyncio.Event().wait()
        opened.append(row.stored)
        return await read_one(partner, repository, row)

    monkeypatch.setattr(rebuild, "read_directory", stall_at_the_last)
    assert read(rows)[1] == "it tells too slowly what it holds"
    assert rows.registered == len(opened) == 2


def test_rows_known_before_earn_a_little(monkeypatch):
    rows = Rows(monkeypatch, pause_s=10, rows=1000, pages=50, opens=False)
    rows.known = 50_000
    assert 1000 * REFRESH_ROW_S >= 10
    assert read(rows) == (500, "")


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "1").write_text("1" * 1000)
    return folder


def stall(monkeypatch, estate, house, name):
    """Let one step with a host never end."""
    step = getattr(estate.vault, name)

    async def stalled(partner, *args):
        if partner.peer == house.peer:
            await asyncio.Event().wait()
        return await step(partner, *args)

    monkeypatch.setattr(estate.vault, name, stalled)


@pytest.fixture
def run(owner, house, other, tmp_path):
    """Run a scenario with an owner's estate and its two hosts."""

    def run(scenario):
        async def begin():
            async with estate_of(owner, tmp_path / "estate", house, other) as estate:
                await scenario(estate)

        asyncio.run(begin())

    return run


@pytest.mark.parametrize("step", ["refresh", "ask_head"])
@pytest.mark.parametrize("slow", ["house", "other"])
def test_a_restore_goes_on_as_soon_as_one_host_has_told_all(run, tree, monkeypatch, request, step, slow):  # noqa: PLR0917
    monkeypatch.setattr("backuppeer.agent.owner.meeting.WITNESS_S", 0.01)

    async def scenario(estate):
        await estate.back_up(tree)
        estate.lose_repository()
        stall(monkeypatch, estate, request.getfixturevalue(slow), step)
        assert (await estate.restore("latest", tree.parent / "out")).files == 1

    run(scenario)


def test_a_host_that_is_late_is_waited_for_when_the_others_do_not_have_all(run, other, tree, monkeypatch):
    monkeypatch.setattr("backuppeer.agent.owner.meeting.WITNESS_S", 0.0)

    async def scenario(estate):
        await estate.back_up(tree, other)
        estate.lose_repository()
        ask = estate.vault.ask_head

        async def late(partner, waiting):
            if partner.peer == other.peer:
                await asyncio.sleep(0.01)
            return await ask(partner, waiting)

        monkeypatch.setattr(estate.vault, "ask_head", late)
        assert (await estate.restore("latest", tree.parent / "out")).files == 1

    run(scenario)


def nobody(name):
    return Partner(AgreementId(name.encode() * 16), None, name, SimpleNamespace(absent_since_ms=lambda _: 0))


class Listener:
    """A reporter that keeps what a person is told."""

    def __init__(self):
        self.said = []

    def begin(self, *_, **__):
        pass

    def say_state(self, state, text, _retry_s=0.0):
        self.said.append((state, text))


class Hushed:
    """A vault whose hosts never show their heads, but those named."""

    def __init__(self, *there):
        self.there, self.taken = there, []
        self.heads, self.clock = SimpleNamespace(promise_of=lambda _: None), VirtualClock()

    async def ask_head(self, partner, waiting):
        if partner.name not in self.there:
            await asyncio.Event().wait()
        return HeadIs()

    def take_head(self, partner, *_):
        self.taken.append(partner.name)

    def lacks(self):
        """Lack something that nobody who is there can give; `waited`: how long it was waited for in the end."""
        self.waited, self.unread = [], set()
        self.repository = SimpleNamespace(ledger=SimpleNamespace(count=lambda: 1))

    def is_whole(self):
        return False

    async def refresh(self, *_):
        return True

    async def ensure_whole(self, *, patient=True, wait_s=None):
        if patient:
            self.waited.append(wait_s)
        return ["something"]


@pytest.mark.parametrize(
    ("rest_s", "wait_s", "ends_s", "told"),
    [
        (None, None, HEAR_S, ["a", "c"]),
        (WITNESS_S, None, WITNESS_S, []),
        (None, 4.0, 4.0, ["a", "c"]),
        (None, 1.0, SILENT_LEAST_S, ["a", "c"]),
        (None, 2 * HEAR_S, HEAR_S, ["a", "c"]),
    ],
)
def test_hosts_that_do_not_show_their_heads_are_waited_for_side_by_side(rest_s, wait_s, ends_s, told):
    failed, vault = [], Hushed("b")
    partners, listener = [nobody(name) for name in "abc"], Listener()

    async def scenario():
        meeting = Meeting(vault, listener, lambda partner, _: failed.append(partner.name), wait_s=wait_s)
        heard = await meeting.hear(partners, rest_s=rest_s)
        return asyncio.get_running_loop().time(), heard

    assert play(scenario()) == (ends_s, [partners[1]])
    assert vault.taken == ["b"]
    assert failed == told
    if ends_s > HERALD_FIRST_S:
        assert listener.said == [
            ("waiting", "a does not answer yet"),
            ("waiting", "c does not answer yet"),
            ("waiting", "waiting for c"),
            ("working", "going on without c"),
        ]


@pytest.mark.parametrize("fails_after_s", [4.0, PAUSE_GRACE_S + 1])
def test_who_is_away_while_a_job_is_paused_ends_nothing_and_is_asked_anew_when_it_goes_on(fails_after_s):
    failed, asked, brake = [], [], Brake()

    class Back(Hushed):
        async def ask_head(self, partner, waiting=None):
            asked.append(asyncio.get_running_loop().time())
            if len(asked) == 1:
                await asyncio.sleep(fails_after_s)
                raise PeerUnreachable("away")
            return await super().ask_head(partner, waiting)

    async def scenario():
        use_brake(brake)
        meeting = Meeting(Back("a"), Listener(), lambda partner, _: failed.append(partner.name))
        hearing = asyncio.create_task(meeting.hear([nobody("a")]))
        await asyncio.sleep(1)
        brake.pull()
        await asyncio.sleep(10 * HEAR_S)
        assert brake.is_settled
        assert not hearing.done()
        brake.release()
        return [partner.name for partner in await hearing], meeting._waited_s < HEAR_S

    assert play(scenario()) == (["a"], True)
    assert (failed, asked) == ([], [0, 1 + 10 * HEAR_S])


@pytest.mark.parametrize(
    ("wait_s", "left_s"),
    [
        (None, RETRY_BUDGET_S - WITNESS_S - HEAR_S),
        (10.0, 0.0),
        (3600.0, 3600 - WITNESS_S - HEAR_S),
        (math.inf, math.inf),
    ],
)
def test_who_was_waited_for_while_heads_were_asked_for_is_not_waited_for_all_over_again(wait_s, left_s):
    vault = Hushed("b")
    vault.lacks()
    partners = [nobody(name) for name in "ab"]

    async def scenario():
        meeting = Meeting(vault, Listener(), lambda *_: None, wait_s=wait_s)
        await meeting.mend(partners)
        return meeting.away

    assert play(scenario()) == {partners[0].agreement}
    assert vault.waited == [pytest.approx(left_s)]


def test_a_host_whose_list_was_not_read_to_its_end_is_read_before_its_packs_are_given_up(
    run, tree, monkeypatch, house, other
):
    async def scenario(estate):
        await estate.back_up(tree)
        estate.lose_repository()
        stall(monkeypatch, estate, house, "refresh")
        await estate.restore("latest", tree.parent / "one")
        assert describe_lacking(estate.vault, estate.state) == [], "nobody knows what it lacks"
        monkeypatch.undo()
        estate.sight.away = {other.peer}
        assert (await estate.restore("latest", tree.parent / "two")).files == 1
        estate.sight.away = {house.peer}
        assert (await estate.restore("latest", tree.parent / "three")).files == 1

    run(scenario)


def test_a_home_that_may_only_read_hears_hosts_before_it_gives_up_packs(run, tree, monkeypatch, house, other):
    async def scenario(estate):
        await estate.back_up(tree)
        # What the machine that writes brought to a host later, this one has not heard.
        agreement = next(a for a, host, _ in estate.state.agreements() if host == house.peer)
        estate.vault.repository.ledger.drop_agreement(agreement)
        monkeypatch.setattr(type(estate.vault.writer), "may_write", False)
        estate.sight.away = {other.peer}
        assert (await estate.restore("latest", tree.parent / "out")).files == 1

    run(scenario)


def mend_all(estate, **how):
    meeting = Meeting(estate.vault, Reporter(estate._emit), lambda *_: None)
    return meeting.mend(estate.vault.partners(), **how)


def test_a_recovery_reads_what_every_host_holds_and_not_of_the_first_alone(run, tree, monkeypatch, house, other):
    async def scenario(estate):
        await estate.back_up(tree)
        estate.lose_repository()
        refresh, done = estate.vault.refresh, asyncio.Event()

        async def in_turn(partner, *args):
            if partner.peer == house.peer:
                await done.wait()
            try:
                return await refresh(partner, *args)
            finally:
                done.set()

        monkeypatch.setattr(estate.vault, "refresh", in_turn)
        await mend_all(estate, on_s=60.0)
        assert estate.vault.complete_hosts() == [house.peer, other.peer]
        assert not any(partner.agreement in estate.vault.unread for partner in estate.vault.partners())

    run(scenario)


def test_a_recovery_goes_on_without_a_host_that_is_slow_and_remembers_that_it_was_not_read(
    run, tree, monkeypatch, house, other
):
    async def scenario(estate):
        await estate.back_up(tree)
        estate.lose_repository()
        stall(monkeypatch, estate, house, "refresh")
        await mend_all(estate, on_s=0.01)
        unread = {partner.peer for partner in estate.vault.partners() if partner.agreement in estate.vault.unread}
        assert unread == {house.peer}

    run(scenario)
