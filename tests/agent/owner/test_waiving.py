"""Locks lowered, packs purged, agreements ended early, over a network in memory: by the words, and by no thief."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from agent.host.test_removals_over_the_wire import DATA, HELD_S, STORED, leave_head, sign
from agent.hosted import hosted
from agent.houses import WISH, FixedReach
from backuppeer.agent.commands.waiving import WaiveCommands
from backuppeer.agent.home.records import Direction, RequestState
from backuppeer.agent.owner import waiving as module
from backuppeer.agent.owner.ending import Ending
from backuppeer.agent.owner.revising import Revising
from backuppeer.agent.owner.waiving import Waiving, check_purgeable
from backuppeer.control.waiving import PurgeRequest
from backuppeer.crypto.keys import derive_authority
from backuppeer.errors import PeerFault, PeerUnreachable, RefusedError
from backuppeer.ids import PeerId, format_peer_id
from backuppeer.proof.merkle import root_of_set
from backuppeer.proof.removals import PackDelete
from backuppeer.proof.revisions import revise, wish_of
from backuppeer.proof.statements import Agreement, peek_statement, sign_statement, statement_hash
from backuppeer.proof.waivers import EndWaiver, LockWaiver, PurgeWaiver
from backuppeer.wire.codes import RefusalCode
from backuppeer.wire.messages import Agreed, Deleted, DeletePacks, ProposeAgreement, Unsupported
from backuppeer.wire.terms import GiveWaiver, WaiverTaken

AUTHORITY = derive_authority(b"o" * 32)
"""What the 24 words of the owner stand for."""
LOWER_S = 20


async def quiet(state, text):
    del state, text


class Sides:
    """Both sides of one agreement, with a pack that is deleted at the host."""

    def __init__(self, house, owner, link, agreement) -> None:
        self.house, self.owner, self.link, self.agreement = house, owner, link, agreement
        self.told, self.blames = [], []
        house.waiving.on_waived = self.told.append
        self.mine = self.reaching(link.session)

    def reaching(self, session) -> Waiving:
        owner, reach = self.owner, FixedReach(session)
        revising = Revising(owner.state, owner.keys, owner.clock, reach=reach, blame=lambda *_: self.blames.append(1))
        ending = Ending(owner.state, owner.keys, owner.clock, reach=reach)
        revising.hear = ending.hear
        return Waiving(owner.state, owner.keys, owner.clock, reach=reach, revising=revising, ending=ending)

    @property
    def store(self):
        return self.house.premises.open()

    def bound(self):
        ((_, _, signed),) = self.owner.state.agreements()
        now_ms = self.owner.clock.now_ms()
        return {
            "agreement": self.agreement, "host": self.house.peer, "terms": statement_hash(signed), "time_ms": now_ms
        }  # fmt: skip

    def lock_waiver(self, lock_s=LOWER_S, by=AUTHORITY) -> bytes:
        return sign_statement(LockWaiver(**self.bound(), lock_s=lock_s), by)

    def purge_waiver(self, by=AUTHORITY) -> bytes:
        return sign_statement(PurgeWaiver(**self.bound(), packs=1, packs_root=root_of_set([STORED])), by)

    async def delete(self) -> None:
        head = await leave_head(self.link, self.owner, self.agreement)
        signed = sign(PackDelete, self.owner, self.agreement, head)
        await self.link.ask(DeletePacks(agreement=self.agreement, signed=signed, packs=(STORED,)), Deleted)


def play(house, owner, scenario, **options):
    agreement = owner.agree_with(house)

    async def run():
        async with hosted(house, owner, **options) as link:
            sides = Sides(house, owner, link, agreement)
            if not options:
                await link.put(agreement, DATA)
                await sides.delete()
            await scenario(sides)

    asyncio.run(run())


def test_the_words_lower_the_lock_on_both_sides_and_of_what_was_deleted_before_and_the_hosts_person_is_told(
    house, owner
):
    async def scenario(sides):
        found = await sides.mine.revising.lower(house.peer, sides.lock_waiver())
        assert (found.revision, found.lock_s) == (2, LOWER_S)
        ((_, _, mine),) = owner.state.agreements()
        assert mine == sides.store.leases.get(sides.agreement).signed
        (row,) = sides.store.removals.list_deleted(sides.agreement, after=b"", limit=9)
        assert row.left_s == 2 * LOWER_S, "all that there is: held twice"
        assert "lowered its lock from 1 m to 20 s, with its 24 words" in sides.told[0]
        assert sides.told == house.waiving.waived.list_new()
        assert house.shown == [], "nobody was asked"
        assert len(owner.state.deeds.after(sides.agreement, 0)) == 2

    play(house, owner, scenario)


def test_a_later_revision_of_a_lowered_lock_follows_as_any_and_a_wish_that_waits_does_not_raise_it_again(house, owner):
    async def scenario(sides):
        way = sides.mine.revising
        more = WISH[0] * 2
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):  # the host's person has not answered
                await way.change(house.peer, lambda t: wish_of(t)._replace(size_bytes=more), quiet, wait_s=60)
        await way.lower(house.peer, sides.lock_waiver())
        waiting = owner.state.find_request(Direction.OUT, house.peer)
        assert (waiting.lock_s, waiting.state) == (LOWER_S, RequestState.WAITING)
        less = await way.change(house.peer, lambda t: wish_of(t)._replace(size_bytes=2**20), quiet, wait_s=5)
        assert (less.revision, less.lock_s, less.ext) == (3, LOWER_S, {})

    play(house, owner, scenario)


def test_when_the_answer_was_lost_the_owner_catches_up_and_the_same_word_again_changes_nothing(house, owner):
    async def scenario(sides):
        waiver = sides.lock_waiver()
        ((_, _, signed),) = owner.state.agreements()
        revision = revise(signed, wish_of(peek_statement(Agreement, signed))._replace(lock_s=LOWER_S), waiver)
        proposal = sign_statement(revision, owner.keys.identity)
        async with sides.link.session.request(ProposeAgreement(signed=proposal)) as channel:
            await channel.receive_any()  # and the owner was killed here
        found = await sides.mine.revising.lower(house.peer, waiver)
        assert (found.revision, found.lock_s) == (2, LOWER_S)
        assert sides.blames == []

    play(house, owner, scenario)


@pytest.mark.parametrize("key", ["identity", "device"])
def test_a_thief_of_all_keys_on_the_owners_disk_can_do_none_of_it_and_it_is_evidence(house, owner, key):
    async def scenario(sides):
        thiefs = getattr(owner.keys, key)
        ((_, _, signed),) = owner.state.agreements()
        lower = wish_of(peek_statement(Agreement, signed))._replace(lock_s=1)
        with pytest.raises(PeerFault):
            await sides.mine.revising.lower(house.peer, sides.lock_waiver(1, by=thiefs))
        for waiver in (b"", sides.lock_waiver(1, by=thiefs)):
            proposal = sign_statement(revise(signed, lower, waiver), owner.keys.identity)
            with pytest.raises((RefusedError, PeerUnreachable)):
                await sides.link.ask(ProposeAgreement(signed=proposal), Agreed)
        assert [peer for peer, _ in sides.link.far.faults] == [owner.peer]
        assert sides.store.leases.get(sides.agreement).terms.lock_s == WISH[2]
        (row,) = sides.store.removals.list_deleted(sides.agreement, after=b"", limit=9)
        assert row.left_s == HELD_S
        assert sides.told == []

    play(house, owner, scenario)


@pytest.mark.parametrize("key", ["identity", "device"])
def test_a_thief_purges_nothing_and_his_session_ends(house, owner, key):
    async def scenario(sides):
        message = GiveWaiver(agreement=sides.agreement, signed=sides.purge_waiver(getattr(owner.keys, key)))
        with pytest.raises(PeerUnreachable):
            await sides.link.ask(message, WaiverTaken)
        assert [peer for peer, _ in sides.link.far.faults] == [owner.peer]
        assert len(sides.store.removals.list_deleted(sides.agreement, after=b"", limit=9)) == 1
        assert sides.told == []

    play(house, owner, scenario)


def test_what_the_owner_is_shown_is_what_it_signs_and_what_goes(house, owner):
    async def scenario(sides):
        (found,) = await sides.mine.look(house.peer)
        assert (found.packs, found.size_bytes, found.last_s) == (1, len(DATA), HELD_S)
        assert (found.root, found.notice, found.is_mass) == (root_of_set([STORED]), 0, True)
        assert check_purgeable([found], is_end=False, name="x") == [found]
        with pytest.raises(RefusedError, match="goes on"):
            check_purgeable([found], is_end=True, name="x")
        signed = sides.purge_waiver()
        taken = await sides.mine.give(house.peer, sides.agreement, signed)
        assert taken == WaiverTaken(packs=1, size_bytes=len(DATA))
        assert "had its deleted data (4 kB) erased at once, with its 24 words" in sides.told[0]
        house.sweeping.look()
        assert sides.store.find_size(sides.agreement, STORED) is None
        assert await sides.mine.give(house.peer, sides.agreement, signed) == WaiverTaken()
        assert len(sides.told) == 1
        (found,) = await sides.mine.look(house.peer)
        with pytest.raises(RefusedError, match="nothing is deleted"):
            check_purgeable([found], is_end=False, name="x")

    play(house, owner, scenario)


def test_after_a_notice_the_words_end_it_at_once_on_both_sides(house, owner):
    async def scenario(sides):
        await sides.mine.ending.end(house.peer)
        (found,) = await sides.mine.look(house.peer)
        assert (found.notice, found.used_bytes) == (1, len(DATA))
        signed = sign_statement(EndWaiver(**sides.bound(), notice=1), AUTHORITY)
        await sides.mine.give(house.peer, sides.agreement, signed)
        sides.mine.ending.hasten(sides.agreement)
        house.sweeping.look()
        assert sides.store.leases.list_all() == []
        assert sides.mine.ending.settle() == [sides.agreement]
        assert owner.state.agreements() == []
        assert "had all of its data here (4 kB) erased at once" in sides.told[0]

    play(house, owner, scenario)


def test_an_early_end_whose_answer_was_lost_is_answered_again_when_all_is_gone(house, owner):
    async def scenario(sides):
        await sides.mine.ending.end(house.peer)
        signed = sign_statement(EndWaiver(**sides.bound(), notice=1), AUTHORITY)
        async with sides.link.session.request(GiveWaiver(agreement=sides.agreement, signed=signed)) as channel:
            await channel.receive_any()  # and the connection was gone before it was read
        house.sweeping.look()
        assert sides.store.leases.list_all() == []
        assert await sides.link.ask(GiveWaiver(agreement=sides.agreement, signed=signed), WaiverTaken) == WaiverTaken()
        assert await sides.mine.give(house.peer, sides.agreement, signed) == WaiverTaken()
        assert len(sides.told) == 1

    play(house, owner, scenario)


class Deaf:
    """A session whose far end does what it is asked, and is gone before its answer is read."""

    def __init__(self, session) -> None:
        self._session = session

    @asynccontextmanager
    async def request(self, message):
        async with self._session.request(message) as channel:
            await channel.receive_any()
            raise PeerUnreachable("gone before it answered")
            yield


def test_an_owner_that_missed_the_end_is_still_answered_and_the_same_again_finds_out(house, owner, monkeypatch):
    monkeypatch.setattr(module, "WAIVER_RETRY_S", 0)

    async def scenario(sides):
        await sides.mine.ending.end(house.peer)
        assert await sides.mine.finish(house.peer) == [], "nothing was sent yet"
        signed = sign_statement(EndWaiver(**sides.bound(), notice=1), AUTHORITY)
        with pytest.raises(PeerUnreachable):
            await sides.reaching(Deaf(sides.link.session)).give(house.peer, sides.agreement, signed)
        house.sweeping.look()
        assert sides.store.leases.list_all() == []
        assert not house.requests.is_partner(owner.peer)
        assert house.requests.may_answer(owner.peer), "who may not have heard is no stranger yet"
        assert not house.requests.may_answer(PeerId(b"s" * 32))
        assert await sides.mine.finish(house.peer) == [sides.agreement]
        assert await sides.mine.finish(house.peer) == []
        assert sides.mine.ending.settle() == [sides.agreement]
        assert not sides.mine.is_host(house.peer)
        assert len(sides.told) == 1

    play(house, owner, scenario)


def test_the_plan_of_a_purge_that_was_done_before_says_so_and_lets_go_without_words(house, owner, monkeypatch):
    monkeypatch.setattr(module, "WAIVER_RETRY_S", 0)

    async def scenario(sides):
        vault = SimpleNamespace(check_idle=lambda: None, pruning=asyncio.Lock(), busy=asyncio.Lock())
        agent = SimpleNamespace(
            parts=owner, owner=SimpleNamespace(waiving=sides.mine, vault=vault), let_go=sides.mine.ending.settle
        )
        commands, request = WaiveCommands(agent), PurgeRequest(servers=[], peer=format_peer_id(house.peer))
        with pytest.raises(RefusedError, match="goes on"):
            await commands.plan_purge(request, quiet)
        await sides.mine.ending.end(house.peer)
        plan = await commands.plan_purge(request, quiet)
        assert (plan.is_over, len(plan.parts)) == (False, 1)
        signed = sign_statement(EndWaiver(**sides.bound(), notice=1), AUTHORITY)
        with pytest.raises(PeerUnreachable):
            await sides.reaching(Deaf(sides.link.session)).give(house.peer, sides.agreement, signed)
        house.sweeping.look()
        plan = await commands.plan_purge(request, quiet)
        assert (plan.is_over, plan.parts, plan.bytes) == (True, [], 0)
        assert owner.state.agreements() == []

    play(house, owner, scenario)


def test_words_that_never_arrived_are_void_when_the_notice_was_taken_back_meanwhile(house, owner, monkeypatch):
    monkeypatch.setattr(module, "WAIVER_RETRY_S", 0)

    async def scenario(sides):
        await sides.mine.ending.end(house.peer)
        signed = sign_statement(EndWaiver(**sides.bound(), notice=1), AUTHORITY)
        away = FixedReach(sides.link.session)
        away.session = unreachable
        waiving = sides.reaching(sides.link.session)
        waiving._reach = away
        with pytest.raises(PeerUnreachable):
            await waiving.give(house.peer, sides.agreement, signed)
        await sides.mine.ending.take_back(house.peer)
        assert await sides.mine.finish(house.peer) == []
        await sides.mine.ending.end(house.peer)
        assert await sides.mine.finish(house.peer) == [], "a further notice is another"
        assert len(sides.store.leases.list_all()) == 1

    play(house, owner, scenario)


async def unreachable(peer):
    raise PeerUnreachable("away")


def test_a_host_that_knows_no_such_agreement_has_let_go_of_it_but_a_purge_is_not_done_by_that(house, owner):
    async def scenario(sides):
        end, gone = sign_statement(EndWaiver(**sides.bound(), notice=1), AUTHORITY), b"x" * 16
        assert await sides.mine.give(house.peer, gone, end) == WaiverTaken()
        with pytest.raises(RefusedError, match="no such agreement"):
            await sides.mine.give(house.peer, gone, sides.purge_waiver())
        with pytest.raises(RefusedError, match="no notice of yours"):
            await sides.mine.give(house.peer, sides.agreement, end)

    play(house, owner, scenario)


def test_a_word_about_an_agreement_of_somebody_else_is_answered_as_one_that_does_not_exist(house, owner):
    async def scenario(sides):
        message = GiveWaiver(agreement=b"x" * 16, signed=sides.purge_waiver())
        async with sides.link.session.request(message) as channel:
            assert (await channel.receive_any()).code == RefusalCode.NOT_FOUND

    play(house, owner, scenario)


async def serve_as_before(_, channel):
    await channel.receive_any()
    await channel.send(Unsupported(type=60))
    await channel.finish()
    await channel.wait_end()


def test_a_host_of_before_says_that_it_knows_no_such_word(house, owner):
    async def scenario(sides):
        with pytest.raises(RefusedError):
            await sides.mine.give(house.peer, sides.agreement, sides.purge_waiver())

    play(house, owner, scenario, serve=serve_as_before)
