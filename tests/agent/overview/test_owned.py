"""What an owner is told of: found in real homes where something is wrong, and silence where nothing is."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from agent.owner.test_writer import grant, keys_of
from agent.watches import watching
from backuppeer.agent.home.deeds import Heard
from backuppeer.agent.home.identity_alarms import Sort
from backuppeer.agent.home.sets import BackupSet
from backuppeer.agent.home.state import State
from backuppeer.agent.overview import owned
from backuppeer.agent.owner.writer import Writer
from backuppeer.agent.peers.misbinding import raise_alarm, see
from backuppeer.control.scheduling import ScheduledSet
from backuppeer.errors import ExitCode
from backuppeer.limits import NOTIFY_AWAY_S, NOTIFY_FAILURES
from backuppeer.proof.notices import Notice, sign_notice
from backuppeer.proof.revisions import end_ms
from backuppeer.proof.statements import Agreement, peek_statement

SETS = {"default": BackupSet(paths=["/p"], copies=2)}


def failing(failures, code=ExitCode.UNREACHABLE):
    return ScheduledSet(set="my photos", next="", failed="2026-11-29T03:00:00Z", failures=failures, code=int(code))


def test_a_backup_that_fails_is_told_after_so_many_tries_and_a_wrong_host_at_once():
    assert list(owned.find_failing([failing(NOTIFY_FAILURES - 1)])) == []
    (found,) = owned.find_failing([failing(NOTIFY_FAILURES)])
    assert found.text == (
        "the backup of my photos failed 3 times in a row, last at 2026-11-29T03:00:00Z: no host was reached"
    )
    assert found.fix == "`backup-peer backup --set 'my photos'` shows what stands in the way"
    (wrong,) = owned.find_failing([failing(1, ExitCode.INTEGRITY)])
    assert wrong.stage != found.stage
    assert "failed once" in wrong.text


def test_copies_below_what_is_wanted_and_hosts_without_room_are_told(house, owner, tree, tmp_path, monkeypatch):
    async def scenario():
        async with watching(owner, tmp_path / "watch", house) as watch:

            def lacking(sets):
                return {each.key: each for each in owned.find_lacking(watch.vault, watch.state, sets)}

            assert lacking(SETS) == {}
            await watch.back_up(tree())
            assert lacking({}) == {}
            short = lacking(SETS)["copies"]
            assert (short.text, short.stage) == ("the backups are whole only at 1 of 2 hosts", "1")
            assert short.grace_s > 0
            assert short.fix == "`backup-peer browse` finds another host", "one host is never two"
            monkeypatch.setattr(owned, "_NEARLY_FULL_PERCENT", 0)
            assert [key.partition(":")[0] for key in lacking({})] == ["room"]
            monkeypatch.undo()
            agreement, ledger = watch.state.agreements()[0][0], watch.vault.repository.ledger
            ledger.drop_agreement(agreement)
            none = lacking({})["copies"]
            assert none.text == "the backups are whole at no host"
            assert none.fix.startswith("`backup-peer backup` brings hosts up")
            monkeypatch.setattr(owned, "ending_hosts", lambda _: {house.peer})
            assert lacking({})["copies"].fix == "`backup-peer browse` finds another host"

    asyncio.run(scenario())


def test_a_host_that_was_caught_or_lost_something_is_told_by_name(house, owner, tree, tmp_path):
    async def scenario():
        async with watching(owner, tmp_path / "watch", house) as watch:
            await watch.back_up(tree())
            watch.state.call(house.peer, "alice", 1)

            def liars():
                return list(owned.find_liars(watch.auditor.records(), watch.state))

            assert liars() == []
            agreement = watch.state.agreements()[0][0]
            (record,) = watch.auditor.records()
            lost = replace(record, spoiled=3)
            (found,) = owned.find_liars([lost], watch.state)
            assert found.text == "alice has lost or damaged 3 packs"
            caught = replace(
                watch.auditor.account(agreement), fault="it signed a wrong answer", fault_ms=watch.days.now_ms()
            )
            watch.proven.write(caught)
            (found,) = liars()
            assert found.text.startswith("alice was caught on 20")
            assert found.text.endswith(": it signed a wrong answer")

    asyncio.run(scenario())


@pytest.mark.parametrize("is_ours", [True, False])
def test_a_host_that_leaves_is_told_and_what_this_person_ended_is_not(house, owner, is_ours):
    agreement, now_ms = owner.agree_with(house), owner.clock.now_ms()
    signed = sign_notice(agreement, owner.keys.identity if is_ours else house.identity, last=0, time_ms=now_ms)
    owner.state.deeds.put_notice(agreement, Heard(peek_statement(Notice, signed), signed, now_ms + 10**9, told=True))
    found = [each.key for each in owned.find_endings(owner.state, now_ms)]
    assert found == ([] if is_ours else [f"ending:{agreement.hex()}"])


def test_an_agreement_whose_term_is_nearly_over_is_told_and_no_other(house, owner):
    agreement, now_ms = owner.agree_with(house), owner.clock.now_ms()
    (found,) = owned.find_endings(owner.state, now_ms + 10**12)
    assert found.key == f"term:{agreement.hex()}"
    assert found.fix.startswith("`backup-peer peers renew ")
    assert (
        list(owned.find_endings(owner.state, end_ms(peek_statement(Agreement, owner.state.agreements()[0][2])) - 10**9))
        == []
    )


def test_a_host_that_was_not_met_for_days_is_told_unless_it_is_there_now(house, owner):
    owner.agree_with(house)
    now_ms = 1_800_000_000_000
    assert list(owned.find_away(owner.state, (), now_ms)) == [], "it was never met, as far as is known"
    owner.state.meet(house.peer, now_ms)
    assert list(owned.find_away(owner.state, (), now_ms + 1000 * NOTIFY_AWAY_S - 1)) == []
    (found,) = owned.find_away(owner.state, (), now_ms + 1000 * NOTIFY_AWAY_S)
    assert "was not there since 2027-01-15" in found.text
    assert found.grace_s > 0
    assert list(owned.find_away(owner.state, {house.peer}, now_ms + 1000 * NOTIFY_AWAY_S)) == []


def test_a_host_that_was_met_when_the_clock_was_ahead_is_told_after_as_many_days(house, owner):
    owner.agree_with(house)
    now_ms = 1_800_000_000_000
    owner.state.meet(house.peer, now_ms + 400 * 86_400_000)
    (found,) = owned.find_away(owner.state, (), now_ms)
    assert found.grace_s == NOTIFY_AWAY_S
    assert "was not there for days: " in found.text
    assert list(owned.find_away(owner.state, {house.peer}, now_ms)) == []


def test_an_alarm_about_who_is_who_is_told_until_it_was_seen_on_the_machine(house, owner):
    raise_alarm(owner.state, house.peer, Sort.WORDS, now_ms=1_795_000_000_000)
    (found,) = owned.find_doubts(owner.state)
    assert "safety words" in found.text
    assert not found.text.startswith("ALARM")
    see(owner.state)
    assert list(owned.find_doubts(owner.state)) == []


@pytest.mark.parametrize("is_newer", [True, False])
def test_hosts_that_know_newer_backups_than_this_home_are_told(house, owner, tree, tmp_path, is_newer):
    async def scenario():
        async with watching(owner, tmp_path / "watch", house) as watch:
            await watch.back_up(tree())
            image = watch.photograph()
            await watch.back_up(tree())
            if is_newer:
                watch.set_back(image)
            session = watch.sight.sessions[house.peer]
            shown = [house.heirship.make_hello(owner.peer, house.peer)]
            session.hello = shown[0]
            found = [each.key for each in owned.find_successors(watch.vault, watch.state, [session])]
            assert found == (["newer-head"] if is_newer else [])

    asyncio.run(scenario())


def test_a_home_that_was_taken_over_is_told_and_one_that_never_wrote_is_not(tmp_path):
    state = State(tmp_path / "state.db")

    def find(own):
        vault = SimpleNamespace(writer=Writer(state, keys_of(own)), exists_repository=False)
        return [found.text for found in owned.find_successors(vault, state, [])]

    assert find(grant(1, 0)) == []
    Writer(state, keys_of(grant(1, 0))).see(grant(2, 1))
    (said,) = find(grant(1, 0))
    assert said.startswith("taken over: since 1970-01-02 another machine with your words makes these backups")
    assert find(b"") == []
    state.close()
