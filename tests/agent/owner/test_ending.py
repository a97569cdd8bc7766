"""Owner and host end an agreement over a network in memory, each with its real state and store."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from agent.estates import Estate
from agent.hosted import hosted
from agent.houses import WISH, FixedReach
from backuppeer.agent.commands.room import ended_room, storing_state
from backuppeer.agent.home.deeds import Heard
from backuppeer.agent.home.identity_alarms import Sort
from backuppeer.agent.owner.ending import Ending, describe_endings, ending_hosts
from backuppeer.agent.owner.revising import Revising
from backuppeer.agent.peers.misbinding import raise_alarm
from backuppeer.agent.repute.exposing import Exposing, Lying
from backuppeer.agent.repute.standing import Standing
from backuppeer.errors import NotFoundError, PeerFault, PeerUnreachable, RefusedError, UserError
from backuppeer.host.store import Store
from backuppeer.proof.notices import Notice, sign_notice
from backuppeer.proof.revisions import SECOND_MS, Wish
from backuppeer.proof.statements import peek_statement
from backuppeer.trust.evidence import EvidenceLog
from backuppeer.trust.exposure import TRIAL_BYTES
from backuppeer.trust.tenants import Deed
from backuppeer.wire.messages import Unsupported
from backuppeer.wire.terms import GiveNotice, NoticeTaken

LOCK_S = 60
OWNERS_S, HOSTS_S = 2 * LOCK_S, LOCK_S


class Sides:
    """Both sides of one agreement."""

    def __init__(self, house, owner, link) -> None:
        self.house, self.owner, self.link = house, owner, link
        reach = FixedReach(link.session if link else PeerUnreachable("away"))
        self.mine = Ending(owner.state, owner.keys, owner.clock, reach=reach)
        self.revising = Revising(owner.state, owner.keys, owner.clock, reach=reach, blame=self.blame)
        self.revising.hear = self.mine.hear
        self.blames = []
        ((self.agreement, _, _),) = owner.state.agreements()

    def blame(self, peer, error):
        self.blames.append((peer, type(error)))

    @property
    def store(self) -> Store:
        return self.house.premises.open()

    def left(self) -> int | None:
        """What the owner believes, in seconds."""
        found = self.owner.state.deeds.ending(self.agreement)
        return None if found is None else (found.until_ms - self.owner.clock.now_ms()) // SECOND_MS

    async def meet(self):
        await self.revising.settle(self.link.session)
        await self.mine.tell(self.link.session)


def play(house, owner, scenario, **options):
    owner.agree_with(house)

    async def run():
        async with hosted(house, owner, **options) as link:
            await scenario(Sides(house, owner, link))

    asyncio.run(run())


def number_of(sides):
    """Return the number of the owner's last notice at the host."""
    return next(given.notice.number for given in sides.store.notices.list_given(sides.agreement))


def test_an_owner_ends_it_and_both_know_until_when_all_is_kept(house, owner):
    told = []
    house.ending.on_notice = lambda peer, left_s: told.append((peer, left_s))

    async def scenario(sides):
        assert sides.mine.plan(house.peer) == owner.clock.now_ms() + OWNERS_S * SECOND_MS
        ended = await sides.mine.end(house.peer)
        assert ended == (owner.clock.now_ms() + OWNERS_S * SECOND_MS, True)
        assert sides.store.notices.left_s(sides.agreement) == OWNERS_S
        assert told == [(owner.peer, OWNERS_S)], "the host's person is told"
        assert "is kept until" in house.ending.describe()[0]
        assert "you ended" in describe_endings(owner.state)[0]
        with pytest.raises(UserError, match="already"):
            await sides.mine.end(house.peer)
        back = await sides.mine.take_back(house.peer)
        assert house.standing.tenancy(owner.peer)[Deed.NOTICED] == 1, "its person may see it in the owner's record"
        assert back == (0, True)
        assert sides.store.notices.left_s(sides.agreement) is sides.left() is None
        assert describe_endings(owner.state) == house.ending.describe() == []
        with pytest.raises(UserError, match="nothing"):
            await sides.mine.take_back(house.peer)

    play(house, owner, scenario)


def test_a_host_that_is_away_is_told_when_it_is_met_and_counts_from_then_on(house, owner):
    async def scenario(sides):
        away = Ending(owner.state, owner.keys, owner.clock, reach=FixedReach(PeerUnreachable("away")))
        assert await away.end(house.peer) == (owner.clock.now_ms() + OWNERS_S * SECOND_MS, False)
        assert "could not be told" in describe_endings(owner.state)[0]
        assert sides.store.notices.left_s(sides.agreement) is None
        owner.clock.ms += 50 * SECOND_MS
        await sides.meet()
        assert sides.store.notices.left_s(sides.agreement) == OWNERS_S
        assert sides.left() == OWNERS_S
        assert "could not be told" not in describe_endings(owner.state)[0]
        await sides.meet()
        assert number_of(sides) == 1, "told once"

    play(house, owner, scenario)


def test_ended_and_taken_back_while_the_host_was_away_is_as_if_nothing_had_been(house, owner):
    async def scenario(sides):
        away = Ending(owner.state, owner.keys, owner.clock, reach=FixedReach(PeerUnreachable("away")))
        for number in (1, 3):
            assert (await away.end(house.peer)).told is False
            assert await away.take_back(house.peer) == (0, True)
            await sides.meet()
            assert sides.left() is None
            assert sides.store.notices.left_s(sides.agreement) is None
            await sides.mine.end(house.peer)
            assert number_of(sides) == number
            await sides.mine.take_back(house.peer)

    play(house, owner, scenario)


async def serve_as_before(_, channel):
    await channel.receive_any()
    await channel.send(Unsupported(type=51))
    await channel.finish()
    await channel.wait_end()


def lose_answers(sides, *, taken):
    """Return an `Ending` whose connection breaks before the host's answer, which has taken what it was told or not."""

    @asynccontextmanager
    async def request(message):
        if taken:
            sides.house.ending.take(sides.owner.peer, message.agreement, message.signed, message.device_sig)
        yield SimpleNamespace(receive=gone)

    async def gone(*_):
        raise PeerUnreachable("cut off")

    cut = SimpleNamespace(peer=sides.house.peer, request=request)
    return Ending(sides.owner.state, sides.owner.keys, sides.owner.clock, reach=FixedReach(cut))


@pytest.mark.parametrize("taken", [True, False])
def test_what_was_sent_and_not_answered_is_sent_again_before_it_is_taken_back(house, owner, taken):
    async def scenario(sides):
        cut = lose_answers(sides, taken=taken)
        away = Ending(owner.state, owner.keys, owner.clock, reach=FixedReach(PeerUnreachable("away")))
        for ends in (True, False, True, False):
            assert (await (cut.end if ends else cut.take_back)(house.peer)).told is False
            with pytest.raises(PeerUnreachable, match="answer was lost"):
                await (away.take_back if ends else away.end)(house.peer)
            assert cut.is_ended_by_us(house.peer) is ends, "nothing is claimed that its host may not know"
            ended = await (sides.mine.take_back if ends else sides.mine.end)(house.peer)
            assert ended.told
            assert (sides.store.notices.left_s(sides.agreement) is None) is ends
            assert (sides.left() is None) is ends
            await (sides.mine.end if ends else sides.mine.take_back)(house.peer)

    play(house, owner, scenario)


def test_a_notice_that_its_host_shows_only_while_it_is_taken_back_is_taken_back_too(house, owner):
    async def scenario(sides):
        away = Ending(owner.state, owner.keys, owner.clock, reach=FixedReach(PeerUnreachable("away")))
        await away.end(house.peer)  # and then sent by what kept no note of it
        (heard,) = owner.state.deeds.notices(sides.agreement)
        house.ending.take(owner.peer, sides.agreement, heard.signed, b"")

        async def meet(_):
            await sides.meet()
            return sides.link.session

        mine = Ending(owner.state, owner.keys, owner.clock, reach=SimpleNamespace(session=meet))
        assert await mine.take_back(house.peer) == (0, True)
        assert sides.store.notices.left_s(sides.agreement) is sides.left() is None

    play(house, owner, scenario)


def test_what_was_not_sent_leaves_no_gap_in_the_numbers(house, owner):
    async def scenario(sides):
        away = Ending(owner.state, owner.keys, owner.clock, reach=FixedReach(PeerUnreachable("away")))
        await sides.mine.end(house.peer)
        assert await away.take_back(house.peer) == (0, False)
        assert (await away.end(house.peer)).told, "as it was"
        assert (await sides.mine.take_back(house.peer)).told
        assert number_of(sides) == 2

    play(house, owner, scenario)


def test_a_refusal_of_what_was_sent_before_leaves_it_open_whether_it_was_heard(house, owner):
    async def scenario(sides):
        await lose_answers(sides, taken=True).end(house.peer)
        with pytest.raises(RefusedError):
            await sides.mine.take_back(house.peer)
        assert sides.mine.is_ended_by_us(house.peer)

    play(house, owner, scenario, serve=serve_as_before)


def test_an_owner_hears_of_its_hosts_notice_in_the_next_session_and_from_then_on_it_counts_as_usual(house, owner):
    async def scenario(sides):
        assert house.ending.plan(owner.peer) == HOSTS_S
        assert house.ending.end(owner.peer) == [sides.agreement]
        assert house.ending.left_for(owner.peer) == 2 * HOSTS_S, "nobody has told the owner yet"
        await sides.meet()
        assert house.ending.left_for(owner.peer) == sides.left() == HOSTS_S
        assert "ends its agreement with you" in describe_endings(owner.state)[0]
        assert ending_hosts(owner.state) == {house.peer}
        with pytest.raises(RefusedError, match="the agreement ends"):
            await sides.revising.change(house.peer, lambda _: Wish(8 << 20, 3600, 60), quiet, wait_s=5)
        house.ending.take_back(owner.peer)
        await sides.meet()
        assert sides.left() is house.ending.left_for(owner.peer) is None

    play(house, owner, scenario)


async def quiet(state, text):
    del state, text


def test_an_owner_in_session_is_told_at_once_by_the_hosts_own_request(house, owner):
    async def scenario(sides):
        signed = sign_notice(sides.agreement, house.identity, last=0, time_ms=owner.clock.now_ms())
        sides.mine.hear(house.peer, sides.agreement, signed, HOSTS_S)
        assert sides.left() == HOSTS_S
        with pytest.raises(NotFoundError):
            sides.mine.hear(owner.peer, sides.agreement, signed, HOSTS_S)
        forged = sign_notice(sides.agreement, owner.keys.device, last=0, time_ms=1)
        with pytest.raises(PeerFault):
            sides.mine.hear(house.peer, sides.agreement, forged, HOSTS_S)

    play(house, owner, scenario)


@pytest.mark.parametrize("said_s", [0, 1, 2**63 - 1])
def test_a_host_that_lies_about_the_time_left_makes_it_no_shorter_than_agreed(house, owner, said_s):
    async def scenario(sides):
        signed = sign_notice(sides.agreement, house.identity, last=0, time_ms=owner.clock.now_ms())
        sides.mine.hear(house.peer, sides.agreement, signed, said_s)
        assert sides.left() >= HOSTS_S
        sides.mine.hear(house.peer, sides.agreement, signed, 0)
        assert sides.left() >= HOSTS_S
        assert sides.mine.settle() == []

    play(house, owner, scenario)


@pytest.mark.parametrize("time_ms", [0, 1, 2**62])
def test_a_host_that_lies_about_when_it_gave_notice_makes_it_no_shorter_than_agreed(house, owner, time_ms):
    async def scenario(sides):
        signed = sign_notice(sides.agreement, house.identity, last=0, time_ms=time_ms)
        sides.mine.hear(house.peer, sides.agreement, signed, 0)
        assert sides.left() == HOSTS_S, "from when the owner first heard of it"
        owner.clock.ms += (HOSTS_S - 1) * SECOND_MS
        sides.mine.hear(house.peer, sides.agreement, signed, 0)
        assert (sides.left(), sides.mine.settle()) == (1, [])
        owner.clock.ms += SECOND_MS
        assert sides.mine.settle() == [sides.agreement]

    play(house, owner, scenario)


def test_an_owner_that_comes_late_has_the_time_that_was_agreed_from_then_on(house, owner):
    async def scenario(sides):
        house.ending.end(owner.peer)
        house.sweeping.look()
        for clock in (house.clock, owner.clock):
            clock.ms += (2 * HOSTS_S - 1) * SECOND_MS
        house.sweeping.look()
        assert house.ending.left_for(owner.peer) == 1
        await sides.meet()
        assert house.ending.left_for(owner.peer) == sides.left() == HOSTS_S
        house.clock.ms += 5 * SECOND_MS
        house.sweeping.look()
        await sides.meet()
        assert house.ending.left_for(owner.peer) == HOSTS_S - 5, "once"

    play(house, owner, scenario)


def test_what_is_over_is_let_go_of_and_nothing_sooner(house, owner):
    async def scenario(sides):
        await sides.mine.end(house.peer)
        owner.clock.ms += OWNERS_S * SECOND_MS - 1
        assert sides.mine.settle() == []
        owner.clock.ms += 1
        assert sides.mine.settle() == [sides.agreement]
        assert owner.state.agreements() == []
        assert sides.owner.state.deeds.after(sides.agreement, 0), "what was signed is kept"

    play(house, owner, scenario)


def test_the_host_erases_when_it_is_over_and_forgets_the_owner(house, owner):
    async def scenario(sides):
        await sides.link.put(sides.agreement, bytes(100_000))
        await sides.mine.end(house.peer)
        sweeping = house.sweeping
        sweeping.look()
        house.clock.ms += (OWNERS_S - 1) * SECOND_MS
        sweeping.look()
        assert house.premises.leases_of(owner.peer)
        assert house.requests.is_partner(owner.peer)
        house.clock.ms += SECOND_MS
        assert sweeping.look() > 0
        assert house.premises.leases_of(owner.peer) == []
        assert not house.requests.is_partner(owner.peer)
        assert not list((sides.store.directory / "agreements").rglob("*.leaves"))
        with pytest.raises(RefusedError, match="no such agreement"):
            await sides.link.ask(GiveNotice(agreement=sides.agreement, signed=b"s"), NoticeTaken)

    play(house, owner, scenario)


def test_a_clock_that_jumps_ends_nothing(house, owner):
    async def scenario(sides):
        await sides.mine.end(house.peer)
        house.sweeping.look()
        clock = house.clock
        clock.monotonic_s = lambda: clock.ms / 1000 - 10**8
        clock.ms += 10**11
        house.sweeping.look()
        assert sides.store.notices.left_s(sides.agreement) == OWNERS_S

    play(house, owner, scenario)


def test_a_stranger_ends_nothing(house, owner, tmp_path):
    stranger = type(owner)(tmp_path / "stranger", b"s")
    agreement = owner.agree_with(house)

    async def run():
        async with hosted(house, stranger) as link:
            signed = sign_notice(agreement, stranger.keys.identity, last=0, time_ms=1)
            with pytest.raises(RefusedError, match="no such agreement"):
                await link.ask(GiveNotice(agreement=agreement, signed=signed), NoticeTaken)

    asyncio.run(run())
    assert house.standing.tenancy(stranger.peer) == {}
    assert house.ending.left_for(owner.peer) is None
    stranger.close()


def test_a_host_of_before_can_not_be_told_and_nothing_is_ended(house, owner):
    async def scenario(sides):
        with pytest.raises(RefusedError, match="does not know"):
            await sides.mine.end(house.peer)
        assert sides.owner.state.deeds.notices(sides.agreement) == []

    play(house, owner, scenario, serve=serve_as_before)


# --- backups
async def backing_up(estate, house, tree, link):
    estate.sight.sessions[house.peer] = link.session
    return await estate.back_up(tree(), house)


def test_a_backup_goes_to_a_host_that_leaves_but_its_copy_is_named_as_one_that_does_not_count(
    house, owner, tree, tmp_path
):
    agreement = owner.agree_with(house)
    estate = Estate(owner, tmp_path / "estate")

    async def run():
        async with hosted(house, owner) as link:
            result = await backing_up(estate, house, tree, link)
            assert result.ending == []
            signed = sign_notice(agreement, house.identity, last=0, time_ms=1)
            heard = Heard(peek_statement(Notice, signed), signed, 10**13, told=True)
            estate.state.deeds.put_notice(agreement, heard)
            result = await backing_up(estate, house, tree, link)
            assert [each.peer_id for each in result.ending] == result.peers
            assert "ends its agreement" in result.ending[0].reason

    asyncio.run(run())
    estate.close()


def test_no_new_backup_goes_where_our_person_ended_it(house, owner, tree, tmp_path):
    agreement = owner.agree_with(house)
    signed = sign_notice(agreement, owner.keys.identity, last=0, time_ms=1)
    owner.state.deeds.put_notice(agreement, Heard(peek_statement(Notice, signed), signed, 10**13, told=True))
    estate = Estate(owner, tmp_path / "estate")

    async def run():
        async with hosted(house, owner) as link:
            with pytest.raises(RefusedError, match="you ended the agreement"):
                await backing_up(estate, house, tree, link)

    asyncio.run(run())
    estate.close()


def test_room_under_an_agreement_that_ends_is_free_for_nothing(house, owner, tmp_path):
    log = EvidenceLog(tmp_path / "seen.db")
    standing = Standing(owner.state, log, owner.clock)
    exposing = Exposing(owner.state, standing, owner.clock, lambda _: Lying())
    agent = SimpleNamespace(
        parts=SimpleNamespace(state=owner.state, clock=owner.clock, keys=owner.keys, standing=standing),
        owner=SimpleNamespace(vault=SimpleNamespace(repository=owner.repository, exposing=exposing)),
        host=SimpleNamespace(premises=house.premises),
    )

    async def scenario(sides):
        size = WISH[0]
        assert (storing_state(agent).agreed_bytes, storing_state(agent).ended_bytes, ended_room(agent)) == (size, 0, 0)
        await sides.mine.end(house.peer)
        assert (storing_state(agent).ended_bytes, ended_room(agent)) == (size, size)
        await sides.mine.take_back(house.peer)
        assert (storing_state(agent).ended_bytes, ended_room(agent)) == (0, 0)
        assert storing_state(agent).withheld_bytes == max(0, size - TRIAL_BYTES), "a stranger"
        raise_alarm(owner.state, house.peer, Sort.WORDS, now_ms=1)
        assert storing_state(agent).withheld_bytes == size

    play(house, owner, scenario)
    log.close()
