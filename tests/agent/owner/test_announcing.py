"""An owner goes on as another identity: its hosts are told, in any order, whatever breaks off, and a thief is not."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from agent.estates import estate_of
from agent.hosted import hosted
from agent.parties import Party
from agent.successors import MASTER, announcing, begin, follow, go_on, job, terms_at
from backuppeer.agent.home.deeds import Heard
from backuppeer.agent.home.heir import is_begun, settle_succession
from backuppeer.agent.home.keyring import load_keys
from backuppeer.agent.jobs.succession import OwnersPlan
from backuppeer.agent.owner.announcing import (
    SEEN,
    Announcing,
    describe_seen,
    describe_waiting,
    find_successor,
)
from backuppeer.agent.owner.ending import describe_endings
from backuppeer.agent.owner.telling import tell_host
from backuppeer.clock import SystemClock
from backuppeer.crypto.keys import derive_authority, derive_identity, derive_working
from backuppeer.errors import AuthenticationFault, ExitCode, PeerFault, PeerUnreachable, RefusedError, UserError
from backuppeer.ids import PeerId, format_peer_id
from backuppeer.proof.notices import Notice, sign_notice
from backuppeer.proof.statements import Agreement, open_statement, peek_statement, sign_statement
from backuppeer.proof.succession import Succession
from backuppeer.wire.messages import GetUsage, Hello, Unsupported, Usage
from backuppeer.wire.succeeding import Succeed
from backuppeer.wire.terms import GetTerms, TermsAre


def test_a_host_that_is_told_has_the_heir_for_its_owner_and_the_old_identity_gets_nothing(house, owner):
    agreement = owner.agree_with(house)
    keys = begin(owner.home)
    heir = keys.heir

    async def scene():
        async with hosted(house, owner) as link:
            for _ in range(2):  # the same again is the same
                assert await tell_host(link.session, owner.state, heir.succession, heir.identity) == [agreement]
                ((_, host, signed),) = owner.state.agreements()
                said = open_statement(Agreement, signed, keys.heir.peer, house.peer)
                assert (host, said.revision, said.owner) == (house.peer, 2, keys.heir.peer)
            assert terms_at(house).owner == keys.heir.peer
            with pytest.raises(RefusedError, match="another identity goes on"):
                await link.ask(GetUsage(agreement=agreement), Usage)
            party = Party(link.near.network, 3, identity=heir.identity, clock=SystemClock())
            async with (await party.dial(link.far)).request(GetUsage(agreement=agreement)) as channel:
                assert (await channel.receive(Usage)).size_bytes == terms_at(house).size_bytes
            await party.sessions.close_all()

    asyncio.run(scene())


def test_a_host_whose_answer_was_lost_is_told_again_whenever_it_is_met(house, owner):
    owner.agree_with(house)
    before = owner.state.agreements()
    keys = begin(owner.home)

    async def scene():
        async with hosted(house, owner) as link:
            await tell_host(link.session, owner.state, keys.heir.succession, keys.heir.identity)
            for row in before:
                owner.state.put_agreement(*row)  # killed before it was kept
            now = go_on(owner.home)
            made = announcing(owner, now, link)
            assert made.waiting() == [house.peer]
            assert "has not heard" in describe_waiting(owner.state, made, now)[0]
            await follow(made, link)
            assert made.waiting() == describe_waiting(owner.state, made, now) == []
            assert peek_statement(Agreement, owner.state.agreements()[0][2]).owner == now.peer
            await follow(made, link)

    asyncio.run(scene())


def test_a_host_that_missed_two_steps_is_told_of_both_when_it_is_met(house, owner):
    owner.agree_with(house)
    begin(owner.home)
    go_on(owner.home)
    begin(owner.home, epoch=3)
    keys = go_on(owner.home)

    async def scene():
        async with hosted(house, owner) as link:
            await follow(announcing(owner, keys, link), link)
        assert terms_at(house).owner == keys.peer
        assert terms_at(house).revision == 3

    asyncio.run(scene())


def test_a_host_of_before_can_not_follow_and_is_away_until_it_can(house, owner):
    owner.agree_with(house)
    begin(owner.home)
    keys = go_on(owner.home)

    async def know_nothing(_, channel):
        said = await channel.receive(Succeed, GetTerms)
        await channel.send(Unsupported(type=66) if isinstance(said, Succeed) else TermsAre())
        await channel.finish()
        await channel.wait_end()

    async def scene():
        async with hosted(house, owner, serve=know_nothing) as link:
            made = announcing(owner, keys, link)
            with pytest.raises(PeerUnreachable, match="does not follow") as caught:
                await follow(made, link)
            assert "update" in caught.value.hint
            assert made.waiting() == [house.peer]

    asyncio.run(scene())


def second_heir(keys):
    """What somebody else with the words signs: the same old identity goes on as yet another."""
    authority, other = derive_authority(MASTER), derive_identity(derive_working(MASTER, 5))
    said = Succession(
        authority=authority.public, old=keys.peer, new=PeerId(other.public), generation=5, time_ms=7
    )  # fmt: skip
    return sign_statement(said, authority, other), other


def test_of_two_heirs_the_second_is_told_by_the_host_that_it_is_not_followed(house, owner):
    owner.agree_with(house)
    keys = begin(owner.home)
    signed, other = second_heir(keys)

    async def scene():
        async with hosted(house, owner) as link:
            await tell_host(link.session, owner.state, keys.heir.succession, keys.heir.identity)
            with pytest.raises((RefusedError, AuthenticationFault)):
                await tell_host(link.session, owner.state, signed, other)
            assert terms_at(house).owner == keys.heir.peer

    asyncio.run(scene())


def test_a_notice_given_before_is_taken_back_as_the_heir_with_the_next_number(house, owner):
    agreement = owner.agree_with(house)
    keys = begin(owner.home)
    deeds = owner.state.deeds
    given = sign_notice(agreement, owner.keys.identity, last=0, time_ms=5)
    deeds.put_notice(agreement, Heard(peek_statement(Notice, given), given, 9, told=True))

    async def scene():
        async with hosted(house, owner) as link:
            await tell_host(link.session, owner.state, keys.heir.succession, keys.heir.identity)

    asyncio.run(scene())
    assert "you ended" in describe_endings(owner.state)[0]
    back = sign_notice(agreement, keys.heir.identity, last=1, time_ms=6)
    deeds.put_notice(agreement, Heard(peek_statement(Notice, back), back, 0, told=True))
    assert (deeds.ending(agreement), len(deeds.notices(agreement)), describe_endings(owner.state)) == (None, 1, [])


def test_a_host_that_has_not_heard_is_knocked_at_and_dialled_as_who_it_knows(house, owner):
    owner.agree_with(house)
    old = begin(owner.home).peer
    keys = go_on(owner.home)

    async def scene():
        async with hosted(house, owner) as link:
            made = announcing(owner, keys, link)
            assert PeerId(made.identity_at(house.peer).public) == old
            assert PeerId(made.identity_at(PeerId(bytes(32))).public) == keys.peer
            await follow(made, link)
            assert PeerId(made.identity_at(house.peer).public) == keys.peer

    asyncio.run(scene())


# --- a home in whose place another goes on
def test_a_home_in_whose_place_another_goes_on_says_so_with_code_12_and_waits_for_nobody(house, owner):
    owner.agree_with(house)
    keys, heir = owner.keys, begin(owner.home)
    shown = Hello(succeeded=heir.heir.succession)

    async def scene():
        async with hosted(house, owner) as link:
            made = Announcing(owner.state, keys, link.near.transport, SystemClock())
            made.check(link.session)
            link.session.hello = shown
            with pytest.raises(UserError, match="in place of this home") as caught:
                made.check(link.session)
            assert caught.value.exit_code is ExitCode.AUTHENTICATION
            assert "`backup-peer recover`" in caught.value.hint
            Announcing(owner.state, heir, link.near.transport, SystemClock()).check(link.session)  # its own doing

    asyncio.run(scene())
    assert describe_seen(owner.state) == []
    owner.state.put_setting(SEEN, heir.heir.succession)
    assert "goes on as" in describe_seen(owner.state)[0]


def test_a_host_that_says_so_in_the_middle_of_a_session_is_dialled_anew_once_to_prove_it(house, owner):
    agreement = owner.agree_with(house)
    thief, keys = owner.keys, begin(owner.home)

    async def scene():
        async with hosted(house, owner) as link:
            await tell_host(link.session, owner.state, keys.heir.succession, keys.heir.identity)
            made = Announcing(owner.state, thief, link.near.transport, SystemClock())
            made.check(link.session)  # its Hello was said before
            with pytest.raises(PeerUnreachable, match="is asked anew"):
                await link.ask(GetUsage(agreement=agreement), Usage)
            await link.session.ended.wait()
            again = await link.near.dial(link.far)
            made.check(again)
            with pytest.raises(RefusedError, match="another identity goes on"):  # whoever only says so is not followed
                async with again.request(GetUsage(agreement=agreement)) as channel:
                    await channel.receive(Usage)
            assert again.is_open

    asyncio.run(scene())


def test_a_succession_that_our_words_did_not_sign_is_no_reason_to_stop(owner):
    authority, stranger = derive_authority(bytes(32)), derive_identity(derive_working(bytes(32), 2))
    said = Succession(
        authority=authority.public, old=owner.peer, new=PeerId(stranger.public), generation=2, time_ms=7
    )  # fmt: skip
    for hello in (
        Hello(succeeded=sign_statement(said, authority, stranger)),
        Hello(succeeded=b"nonsense"),
    ):
        with pytest.raises(PeerFault):
            find_successor(owner.keys, hello)
    assert find_successor(owner.keys, Hello()) is None


# --- the job: a whole owner
@asynccontextmanager
async def as_heir(estate, *houses):
    """Load the home anew as an agent that starts does, and be in session with hosts as whoever it is now."""
    estate.restart()
    keys = load_keys(estate.home)
    async with AsyncExitStack() as stack:
        for house in houses:
            link = estate.links[house.peer]
            party = Party(link.near.network, 3, identity=keys.identity, clock=SystemClock())
            stack.push_async_callback(party.transport.close)
            stack.push_async_callback(party.sessions.close_all)
            estate.sight.sessions[house.peer] = await party.dial(link.far)
        yield keys


def test_backups_go_on_after_a_succession_nothing_is_sent_again_and_all_comes_back(house, other, owner, tree, tmp_path):
    async def scene():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            first = await estate.back_up(tree())
            plan = await job(estate).plan()
            assert (plan.is_begun, plan.has_heir, plan.epoch, len(plan.heard)) == (False, False, 1, 2)
            estate._close_home()
            keys = begin(estate.home, epoch=plan.epoch + 1)
            estate._open()
            told = await job(estate).tell()
            assert (told.peer_id, told.former) == (format_peer_id(keys.heir.peer), format_peer_id(keys.peer))
            assert set(told.peers) == {format_peer_id(house.peer), format_peer_id(other.peer)}
            settle_succession(estate.home)
            async with as_heir(estate, house, other):
                assert estate.faults == []
                second = await estate.back_up(tree())
                assert second.new_bytes < 2000
                for snapshot, files in ((first.snapshot, 1), (second.snapshot, 2)):
                    target = tmp_path / snapshot
                    assert (await estate.restore(snapshot, target)).files == files
                estate.lose_repository()
                keys_now = load_keys(estate.home)
                assert (await estate.restore(second.snapshot, tmp_path / "anew")).files == 2
                assert keys_now.peer == terms_at(house).owner == terms_at(other).owner
                (tmp_path / "files" / "0").unlink()
                third = await estate.back_up(tmp_path / "files")
                assert (await estate.restore(third.snapshot, tmp_path / "third")).files == 1

    asyncio.run(scene())


def test_a_machine_that_only_keeps_backups_of_others_hears_nobody_and_goes_on_at_once(owner, tmp_path):
    async def scene():
        async with estate_of(owner, tmp_path / "estate") as estate:
            plan = await job(estate).plan(OwnersPlan(["alice"], ["alice"], ["carol"]))
            assert (plan.owners, plan.absent, plan.stuck) == (["alice"], ["alice"], ["carol"])
            repository = load_keys(estate.home).repository.hex()
            assert (plan.is_recovered, plan.heard, plan.epoch, plan.repository) == (True, [], 1, repository)
            estate._close_home()
            keys = begin(estate.home, epoch=plan.epoch + 1)
            estate._open()
            told = await job(estate).tell()
            assert (told.peer_id, told.peers, told.left_out) == (format_peer_id(keys.heir.peer), [], [])
            now = load_keys(estate.home)
            assert (now.peer, now.former_identities[0].public) == (keys.heir.peer, keys.peer)

    asyncio.run(scene())


def test_when_a_host_follows_another_heir_the_home_stays_who_it_is_and_says_that_words_are_in_two_hands(
    house, owner, tree, tmp_path
):
    async def scene():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            await estate.back_up(tree())
            rows = estate.state.agreements()
            signed, other = second_heir(load_keys(estate.home))
            await tell_host(estate.sight.sessions[house.peer], estate.state, signed, other)
            for row in rows:
                estate.state.put_agreement(*row)  # it was somebody else who did that
            estate._close_home()
            before = begin(estate.home)
            estate._open()
            with pytest.raises(PeerUnreachable, match="another heir") as caught:
                await job(estate).tell()
            assert caught.value.exit_code is ExitCode.AUTHENTICATION
            assert load_keys(estate.home).peer == before.peer

    asyncio.run(scene())


def test_with_no_host_there_nothing_changes_and_the_same_again_goes_on_with_one_away(
    house, other, owner, tree, tmp_path
):
    async def scene():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            await estate.back_up(tree())
            estate._close_home()
            before = begin(estate.home)
            estate._open()
            estate.sight.away |= {house.peer, other.peer}
            with pytest.raises(PeerUnreachable, match="no host could be told") as caught:
                await job(estate).tell()
            assert "recover --new-identity" in caught.value.hint
            assert load_keys(estate.home).peer == before.peer
            estate.sight.away.remove(house.peer)
            told = await job(estate).tell()
            assert told.peers == [format_peer_id(house.peer)]
            assert [row.peer_id for row in told.left_out] == [format_peer_id(other.peer)]
            settle_succession(estate.home)
            async with as_heir(estate, house):
                keys = load_keys(estate.home)
                assert (keys.peer, is_begun(estate.home)) == (before.heir.peer, True)
                with pytest.raises(UserError, match="no new identity"):
                    await job(estate).tell()
                plan = await job(estate).plan()
                assert (plan.is_begun, plan.has_heir, len(plan.waiting)) == (True, False, 1)
                # The other is a host that is away: nothing of it is lost, and it is told when it is met.
                result = await estate.back_up(tree(), house)
                assert result.peers == [format_peer_id(house.peer)]
                link = estate.links[other.peer]
                made = Announcing(estate.state, keys, link.near.transport, SystemClock())
                await follow(made, link)
                assert (made.waiting(), terms_at(other).owner) == ([], keys.peer)

    asyncio.run(scene())
