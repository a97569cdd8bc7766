"""A host that was caught gets no new data, is named with the way out, and is read and heard all the same."""

import asyncio
from dataclasses import replace

import pytest

from agent.estates import estate_of
from agent.houses import head_of, packs_at
from backuppeer.agent.home.identity_alarms import Sort
from backuppeer.agent.jobs.check import CheckJob
from backuppeer.agent.jobs.repair import RepairJob
from backuppeer.agent.jobs.replace_plan import choose_hosts
from backuppeer.agent.owner.admission import Purpose, find_refusal
from backuppeer.agent.owner.lagging import describe_lacking
from backuppeer.agent.peers import misbinding
from backuppeer.agent.reporter import Reporter
from backuppeer.control.checking import CheckRequest, RepairRequest
from backuppeer.errors import AuthenticationFault, RefusedError
from backuppeer.host.layout import LEAVES_SUFFIX
from backuppeer.ids import format_peer_id
from backuppeer.trust.conduct import Bar
from backuppeer.trust.evidence import Kind
from backuppeer.wire.messages import GetRange


def files_of(house):
    return [path for path in house.premises.directory.rglob("packs/*/*") if path.suffix != LEAVES_SUFFIX]


def lose_all(house):
    for path in files_of(house):
        path.unlink()
    house.premises.close()


def play(owner, tmp_path, houses, scenario):
    async def run():
        async with estate_of(owner, tmp_path / "estate", *houses) as estate:
            await scenario(estate)

    asyncio.run(run())


def test_a_host_that_a_proof_convicts_gets_nothing_new_and_the_others_get_it(house, other, owner, tree, tmp_path):
    async def scenario(estate):
        await estate.back_up(tree())
        held, head = len(packs_at(house)), head_of(house).number
        estate.vault.standing.saw(house.peer, Kind.MISBEHAVED)
        done = await estate.back_up(tree())
        assert done.peers == [format_peer_id(other.peer)]
        [left] = done.left_out
        assert left.peer_id == format_peer_id(house.peer)
        assert "it broke its signed word" in left.reason
        assert f"peers forgive {left.name}" in left.hint
        assert (len(packs_at(house)), head_of(house).number) == (held, head)
        assert len(packs_at(other)) == held + 1
        estate.forgive(house)
        assert (await estate.back_up(tree())).left_out == []
        assert len(packs_at(house)) == len(packs_at(other)), "and it has all that went by it"

    play(owner, tmp_path, (house, other), scenario)


def test_the_only_host_being_barred_nothing_is_written_and_the_way_out_is_told(house, owner, tree, tmp_path):
    async def scenario(estate):
        await estate.back_up(tree())
        held = len(packs_at(house))
        estate.vault.standing.saw(house.peer, Kind.MISBEHAVED)
        with pytest.raises(RefusedError, match="gets no new data") as caught:
            await estate.back_up(tree())
        assert "browse" in caught.value.hint
        assert "forgive" in caught.value.hint
        assert len(packs_at(house)) == held
        restored = await estate.restore("latest", tmp_path / "out")
        assert restored.errors == 0, "what it holds is read all the same"

    play(owner, tmp_path, (house,), scenario)


def test_a_host_that_is_caught_by_this_very_backup_gets_nothing_of_it(house, other, owner, tree, tmp_path):
    async def scenario(estate):
        await estate.back_up(tree())
        lose_all(house)
        done = await estate.back_up(tree())
        assert done.peers == [format_peer_id(other.peer)]
        assert "lost or withheld 100 %" in done.left_out[0].reason
        assert [peer for peer, _ in estate.faults] == [format_peer_id(house.peer)]
        assert packs_at(house) == []
        assert estate.vault.standing.bar(other.peer) is None

    play(owner, tmp_path, (house, other), scenario)


def test_a_repair_heals_who_lost_something_and_its_audit_ends_it_but_not_a_lie(house, other, owner, tree, tmp_path):
    async def scenario(estate):
        await estate.back_up(tree())
        lose_all(house)
        await estate.back_up(tree())
        standing = estate.vault.standing
        assert standing.bar(house.peer) is Bar.LOST
        account = estate.auditor.account(estate.vault.partners()[0].agreement)
        now_ms = estate.vault.clock.now_ms()
        estate.vault.repository.proven.write(replace(account, fault="it was caught", fault_ms=now_ms))
        assert [record.is_caught for record in estate.auditor.records()] == [True, False]

        async def repair():
            """As the advice has it: a check plans, and what it planned is done."""
            found = await CheckJob(estate.vault, CheckRequest(), Reporter(estate._emit)).run()
            assert [problem.peer_id for problem in found.problems] == [format_peer_id(house.peer)][: not is_lie]
            request = RepairRequest(actions=[one.action for one in found.repairs] or ["copies"])
            return await RepairJob(estate.vault, estate.auditor, request, Reporter(estate._emit)).run()

        is_lie = False

        done = await repair()
        assert done.left_out == []
        assert any("was audited and is whole" in text for text in done.done)
        assert standing.caps(house.peer) == []
        assert not any(record.is_caught for record in estate.auditor.records()), (
            "and its person, who was told, sees it so"
        )
        assert len(packs_at(house)) == len(packs_at(other))
        assert (await estate.back_up(tree())).left_out == []
        held = len(packs_at(house))
        standing.saw(house.peer, Kind.MISBEHAVED)
        is_lie = True
        await estate.back_up(tree())
        [left] = (await repair()).left_out
        assert left.peer_id == format_peer_id(house.peer)
        assert len(packs_at(house)) == held

    play(owner, tmp_path, (house, other), scenario)


def test_a_doubted_host_is_read_after_the_others(house, other, owner, tree, tmp_path):
    async def scenario(estate):
        for _ in range(3):
            await estate.back_up(tree())
        asked = {house.peer: 0, other.peer: 0}
        for peer, session in estate.sight.sessions.items():
            request = session.request

            def count(message, *given, _peer=peer, _request=request, **more):
                asked[_peer] += isinstance(message, GetRange)
                return _request(message, *given, **more)

            session.request = count
        for doubted in (house, other):
            estate.forgive(house)
            estate.forgive(other)
            estate.vault.standing.saw(doubted.peer, Kind.MISBEHAVED)
            asked |= dict.fromkeys(asked, 0)
            await estate.restore("latest", tmp_path / f"out{doubted.peer.hex()[:4]}")
            assert asked.pop(doubted.peer) == 0
            assert all(asked.values())
            asked[doubted.peer] = 0

    play(owner, tmp_path, (house, other), scenario)


def test_a_home_set_back_does_not_take_what_was_deleted_since_for_a_loss(house, owner, tree, tmp_path):
    async def scenario(estate):
        await estate.back_up(tree())
        image = estate.photograph()
        await estate.back_up(tree())
        estate.set_back(image)
        files_of(house)[0].unlink()
        house.premises.close()
        await estate.back_up(tree())
        assert Kind.LOST not in estate.seen(house), "the index here is not that of the newest head: who can tell?"

    play(owner, tmp_path, (house,), scenario)


def find_words_differ(estate, house):
    """What a "no" to `peers verify` does."""
    misbinding.raise_alarm(estate.state, house.peer, Sort.WORDS, now_ms=estate.vault.clock.now_ms())


def test_whose_safety_words_differ_gets_nothing_new_until_they_were_compared(house, other, owner, tree, tmp_path):
    async def scenario(estate):
        await estate.back_up(tree())
        held = len(packs_at(house))
        find_words_differ(estate, house)
        misbinding.see(estate.state)
        done = await estate.back_up(tree())
        assert done.peers == [format_peer_id(other.peer)]
        [left] = done.left_out
        assert "its safety words differed from yours on " in left.reason
        assert f"`backup-peer peers verify {left.name}`" in left.hint
        assert len(packs_at(house)) == held
        misbinding.settle(estate.state, house.peer, now_ms=1)
        assert (await estate.back_up(tree())).left_out == []
        assert len(packs_at(house)) == len(packs_at(other))

    play(owner, tmp_path, (house, other), scenario)


def test_the_only_host_being_in_doubt_the_backup_ends_as_unproven_and_what_lies_there_is_read(
    house, owner, tree, tmp_path
):
    async def scenario(estate):
        await estate.back_up(tree())
        find_words_differ(estate, house)
        with pytest.raises(AuthenticationFault, match="its safety words differed") as caught:
            await estate.back_up(tree())
        assert caught.value.exit_code == 12
        assert "peers verify" in caught.value.hint
        assert (await estate.restore("latest", tmp_path / "out")).errors == 0
        assert estate.vault.standing.forgive(house.peer)
        assert (await estate.back_up(tree())).left_out == []
        find_words_differ(estate, house)
        assert estate.vault.standing.differs(house.peer), "what was forgiven is not forgiven for ever"

    play(owner, tmp_path, (house,), scenario)


def test_in_doubt_a_host_is_sent_nothing_to_heal_it_or_by_replace_and_may_undo(house, other, owner, tmp_path):
    async def scenario(estate):
        partner = next(each for each in estate.vault.partners() if each.peer == house.peer)
        find_words_differ(estate, house)
        estate.vault.standing.saw(house.peer, Kind.LOST, size_bytes=1)
        refused = {purpose: find_refusal(estate.vault, partner, purpose) for purpose in Purpose}
        assert [purpose for purpose, why in refused.items() if why is None] == [Purpose.UNDO]
        assert all(isinstance(why, AuthenticationFault) for why in refused.values() if why)
        with pytest.raises(AuthenticationFault, match=r"differed from yours .*; nothing is moved there"):
            choose_hosts(estate.vault, other.peer, house.peer)

    play(owner, tmp_path, (house, other), scenario)


def test_status_sends_nobody_to_a_backup_that_goes_past_the_host(house, other, owner, tree, tmp_path):
    async def scenario(estate):
        await estate.back_up(tree())
        await estate.back_up(tree(), other)
        [line] = describe_lacking(estate.vault, estate.state)
        assert line.endswith("`backup-peer backup` brings it up")
        find_words_differ(estate, house)
        [line] = describe_lacking(estate.vault, estate.state)
        assert "and gets no new data: compare the words" in line
        assert "backup-peer backup`" not in line
        misbinding.settle(estate.state, house.peer, now_ms=1)
        estate.vault.exposing.find_refusal = lambda *_, **__: RefusedError("it has its fill", hint="wait")
        assert describe_lacking(estate.vault, estate.state) == ["it has its fill: wait"]

    play(owner, tmp_path, (house, other), scenario)
