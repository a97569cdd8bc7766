"""A host that erased what somebody with the owner's keys had it delete is not barred; nobody else gets by with that."""

import asyncio

import pytest

from agent.estates import estate_of
from agent.jobs.test_take_over import job, machine
from agent.watches import DAY_MS, watching
from backuppeer.agent.audits.stocktaking import excuse, take_stock
from backuppeer.agent.jobs.check import CheckJob
from backuppeer.agent.owner import erased as module
from backuppeer.agent.peers.retry import Herald
from backuppeer.agent.reporter import Reporter
from backuppeer.control.checking import CheckRequest
from backuppeer.errors import RefusedError
from backuppeer.host.layout import LEAVES_SUFFIX
from backuppeer.proof.removals import PackDelete, sign_removal
from backuppeer.proof.statements import statement_hash
from backuppeer.trust.conduct import Bar
from backuppeer.trust.evidence import Kind
from backuppeer.wire.auditing import DeleteIs, GetDelete
from backuppeer.wire.messages import (
    Deleted,
    DeletedList,
    DeletedRow,
    DeletePacks,
    ListDeleted,
    ListPacks,
    PackList,
    Unsupported,
)

WISH = (60 * 2**20, 365 * 86_400, 86_400)
LOCK_DAYS = 1


def play(owner, tmp_path, house, scenario):
    async def run():
        async with watching(owner, tmp_path / "watch", house, wish=WISH) as watch:
            await scenario(watch)

    asyncio.run(run())


def copies_at(watch, house):
    return list(watch.vault.repository.ledger.copies_at(watch.partner(house).agreement))


async def delete_all(watch, house, copies=None):
    """Have a host delete everything, as a thief of the keys can without any head of his own."""
    copies = copies or copies_at(watch, house)
    _, signed_head = watch.vault.heads.newest()
    head = (statement_hash(signed_head), watch.vault.heads.newest()[0].number)
    signed, device_sig = watch.vault.sign_removal(PackDelete, copies, head)
    packs = tuple(copy.stored for copy in copies)
    request = DeletePacks(agreement=copies[0].agreement, signed=signed, packs=packs, device_sig=device_sig)
    async with watch.sight.sessions[house.peer].request(request) as channel:
        assert (await channel.receive(Deleted)).packs == len(copies)


def let_erase(watch, house):
    """Let the longest hold pass, and the host erase what is due."""
    watch.pass_days(2 * LOCK_DAYS + 0.1)
    store = house.premises.open()
    store.removals.graveyard.add_age(int((2 * LOCK_DAYS + 0.1) * DAY_MS / 1000))
    while store.sweep.run().packs:
        pass


def lose_all(house):
    for path in house.premises.directory.rglob("packs/*/*"):
        if path.suffix != LEAVES_SUFFIX:
            path.unlink()
    house.premises.close()


def test_what_a_thief_had_deleted_is_sent_again_by_the_next_backup_and_its_host_is_not_barred(
    house, owner, tree, tmp_path
):
    async def scenario(watch):
        await watch.back_up(tree())
        await watch.back_up(tree())
        packs = len(copies_at(watch, house))
        await delete_all(watch, house)
        let_erase(watch, house)
        done = await watch.back_up(tree())
        assert done.left_out == []
        assert watch.faults == []
        assert not {Kind.LOST, Kind.INTEGRITY_FAULT} & watch.seen(house)
        (note,) = [text for text in watch.notes if "not to blame" in text]
        assert packs > 1
        assert f"{packs} packs of your backups were deleted by somebody with your keys" in note
        assert "recover --take-over" in note
        assert (await watch.restore("latest", tmp_path / "out")).errors == 0

    play(owner, tmp_path, house, scenario)


@pytest.mark.parametrize("erases", [True, False])
def test_a_check_and_an_audit_do_not_blame_it_either_while_the_lock_runs_or_after(house, owner, tree, tmp_path, erases):
    async def scenario(watch):
        await watch.back_up(tree())
        await watch.audit(house)
        await delete_all(watch, house)
        if erases:
            let_erase(watch, house)
        herald = Herald(lambda *_: None, watch.vault.clock)
        stock = await take_stock(watch.vault, watch.partner(house), lambda _: None, herald)
        assert stock.excused == len(stock.missing) == len(copies_at(watch, house))
        result = await CheckJob(watch.vault, CheckRequest(servers=[]), Reporter(watch._emit)).run()
        texts = [problem.text for problem in result.problems]
        assert any("not to blame" in text for text in texts)
        assert not any("lost" in text and "acknowledged" in text for text in texts)
        for _ in range(4):
            watch.pass_days(0.6)
            await watch.audit(house)
        assert not {Kind.LOST, Kind.INTEGRITY_FAULT} & watch.seen(house)
        assert watch.vault.standing.bar(house.peer) is None

    play(owner, tmp_path, house, scenario)


def test_a_host_that_lost_all_and_shows_nothing_is_barred_as_before(house, owner, tree, tmp_path):
    async def scenario(watch):
        await watch.back_up(tree())
        watch.pass_days(9)
        lose_all(house)
        with pytest.raises(RefusedError, match="gets no new data"):
            await watch.back_up(tree())
        assert watch.vault.standing.bar(house.peer) is Bar.LOST

    play(owner, tmp_path, house, scenario)


async def list_as_deleted(watch, house):
    """Have a host call everything deleted, and list it no more; return what there was."""
    rows = tuple(DeletedRow(copy.stored, copy.size, 9) for copy in copies_at(watch, house))

    async def list_deleted(channel, _):
        await channel.send(DeletedList(packs=tuple(sorted(rows, key=lambda row: row.stored))))

    async def list_none(channel, _):
        await channel.send(PackList(packs=()))

    watch.crooks[house.peer].handlers |= {ListDeleted: list_deleted, ListPacks: list_none}
    return rows


@pytest.mark.parametrize("shows", ["nothing", "no question known", "an older head's"])
def test_a_backup_wants_the_signed_request_and_not_a_bare_list_of_what_was_deleted(house, owner, tree, tmp_path, shows):
    async def scenario(watch):
        await watch.back_up(tree())
        rows = await list_as_deleted(watch, house)
        older = watch.vault.heads.newest()

        async def answer(channel, request):
            if shows == "no question known":
                await channel.send(Unsupported(type=62))
            elif shows == "an older head's" and not request.before:
                packs = tuple(sorted(row.stored for row in rows))
                signed = sign(watch, packs, request.agreement, head=older)
                await channel.send(DeleteIs(number=1, signed=signed, packs=packs))
            else:
                await channel.send(DeleteIs())

        watch.crooks[house.peer].handlers[GetDelete] = answer
        if shows == "an older head's":
            watch.crooks[house.peer].handlers.pop(ListPacks)
            await watch.move_head(house)
            await list_as_deleted(watch, house)
        with pytest.raises(RefusedError, match="gets no new data"):
            await watch.back_up(tree())
        assert watch.vault.standing.bar(house.peer) is Bar.LOST
        assert [text for _, text in watch.faults if "packs that it had acknowledged are gone" in text]
        assert not [note for note in watch.notes if "had it delete" in note]

    play(owner, tmp_path, house, scenario)


def test_what_no_head_is_known_to_name_goes_by_any_signed_request_also_of_before_the_home_was_set_back(
    house, owner, tree, tmp_path
):
    async def scenario(watch):
        await watch.back_up(tree())
        await delete_all(watch, house)
        await watch.stock(house, 100_000)
        await watch.move_head(house)
        watch.vault.heads.disclaim(watch.partner(house))
        done = await watch.back_up(tree())
        assert done.left_out == []
        assert watch.faults == []
        assert [note for note in watch.notes if "had it delete" in note]

    play(owner, tmp_path, house, scenario)


async def shown(watch, house, answers):
    """Return which packs are excused when a host answers thus, and what there is."""
    left = iter(answers)

    async def answer(channel, _):
        await channel.send(next(left, DeleteIs()))

    watch.crooks[house.peer].handlers[GetDelete] = answer
    packs = {copy.stored for copy in copies_at(watch, house)}
    return await excuse(watch.vault, watch.partner(house), packs), packs


def sign(watch, packs, agreement, *, by=None, head=None):
    newest, signed_head = head or watch.vault.heads.newest()
    signer = by or watch.vault._keys.identity
    named = (statement_hash(signed_head), newest.number)
    return sign_removal(PackDelete, packs, signer, agreement=agreement, head=named, time_ms=1)


def test_only_the_owners_own_word_upon_the_newest_head_excuses_and_only_what_it_names(house, owner, tree, tmp_path):
    async def scenario(watch):
        await watch.back_up(tree())
        older = watch.vault.heads.newest()
        await watch.back_up(tree())
        watch.pass_days(9)
        agreement = watch.partner(house).agreement
        first, *rest = sorted(copy.stored for copy in copies_at(watch, house))
        assert rest
        packs = (first, *rest)
        good = DeleteIs(number=3, signed=sign(watch, (first,), agreement), packs=(first,))
        assert (await shown(watch, house, [good]))[0] == {first}, "what it names, and no more"
        forged = sign(watch, packs, agreement, by=house.identity)
        bad = {
            "its own signature": [DeleteIs(number=3, signed=forged, packs=packs)],
            "another list": [DeleteIs(number=3, signed=good.signed, packs=packs)],
            "an older head": [DeleteIs(number=3, signed=sign(watch, packs, agreement, head=older), packs=packs)],
            "another agreement": [DeleteIs(number=3, signed=sign(watch, packs, b"x" * 16), packs=packs)],
            "nothing": [],
        }
        for name, answers in bad.items():
            assert (await shown(watch, house, answers))[0] == set(), name
        again = DeleteIs(number=3, signed=sign(watch, packs, agreement), packs=packs)
        assert (await shown(watch, house, [good, again]))[0] == {first}, "numbers fall, or there is no end"
        assert (await shown(watch, house, [again]))[0] == set(packs)

    play(owner, tmp_path, house, scenario)


def test_a_host_of_before_that_knows_no_such_question_is_barred_as_it_was(house, owner, tree, tmp_path):
    async def scenario(watch):
        async def not_known(channel, _):
            await channel.send(Unsupported(type=62))

        watch.crooks[house.peer].handlers[GetDelete] = not_known
        await watch.back_up(tree())
        await delete_all(watch, house)
        let_erase(watch, house)
        with pytest.raises(RefusedError, match="gets no new data"):
            await watch.back_up(tree())
        assert watch.vault.standing.bar(house.peer) is Bar.LOST

    play(owner, tmp_path, house, scenario)


def test_who_erases_before_the_lock_can_be_over_is_not_excused(house, owner, tree, tmp_path):
    async def scenario(watch):
        await watch.back_up(tree())
        await delete_all(watch, house)
        partner = watch.partner(house)
        packs = {copy.stored for copy in copies_at(watch, house)}
        assert await excuse(watch.vault, partner, packs) == packs, "it still lists them"
        store = house.premises.open()
        store.removals.graveyard.add_age(9 * 86_400)
        while store.sweep.run().packs:
            pass
        assert await excuse(watch.vault, partner, packs) == set()
        watch.pass_days(LOCK_DAYS - 0.1)
        assert await excuse(watch.vault, partner, packs) == set()
        watch.pass_days(0.2)
        assert await excuse(watch.vault, partner, packs) == packs

    play(owner, tmp_path, house, scenario)


def test_since_a_take_over_only_what_the_new_writers_device_signed_too_excuses(
    house, owner, tree, tmp_path, monkeypatch
):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as first:
            await first.back_up(tree())
            second = machine(first, tmp_path / "second", epoch=2)
            await job(second, owner).announce()
            await second.back_up(tree())
            (partner,) = second.vault.partners()
            vouched = second.vault.heads.vouched(partner)
            assert vouched.head.epoch == 2
            copies = list(second.vault.repository.ledger.copies_at(partner.agreement))
            packs = tuple(copy.stored for copy in copies)

            async def shown(by, *, is_beside):
                signed, device_sig = by.vault.sign_removal(PackDelete, copies, (vouched.name, vouched.head.number))
                answers = iter([DeleteIs(number=1, signed=signed, packs=packs, device_sig=device_sig * is_beside)])

                async def ask(*_):
                    return next(answers, DeleteIs())

                monkeypatch.setattr(module, "_ask", ask)
                return await module.hear_deletes(partner, set(packs), vouched, clock=second.vault.clock, lock_s=0)

            assert await shown(second, is_beside=True) == set(packs)
            assert await shown(second, is_beside=False) == set(), "the identity alone, which the old home has too"
            assert await shown(first, is_beside=True) == set(), "the device of the home that was taken over"
            second.close()

    asyncio.run(scenario())
