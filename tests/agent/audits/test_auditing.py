"""Audits of real hosts, and of crooks: what is proven, what is owed, who is convicted of what."""

import asyncio
import random
from dataclasses import replace

import msgspec
import pytest

from agent.houses import HostHouse
from agent.watches import DAY_MS, watching
from backuppeer.agent.audits import auditing
from backuppeer.agent.audits.auditing import Scope
from backuppeer.agent.audits.custody import Custody
from backuppeer.agent.reporter import Reporter
from backuppeer.errors import PeerUnreachable, Refusal, StoreUnavailable
from backuppeer.host.prove import _show_all
from backuppeer.limits import AUDIT_CYCLE_DAYS, GIB, KIB, LEAF_BYTES, MIB
from backuppeer.proof.audits import AuditAnswer, AuditChallenge, Shown, hash_shown, sign_answer
from backuppeer.proof.charges import unpack_charge
from backuppeer.proof.misbehaviour import judge
from backuppeer.proof.statements import HeadReceipt, open_statement, sign_statement, statement_hash
from backuppeer.shares.accounts import KeptHead
from backuppeer.trust import exposure, score
from backuppeer.trust.conduct import LIE_DAYS, Bar
from backuppeer.trust.evidence import Kind
from backuppeer.wire.auditing import AckPacks, AskAudit, Audited, GetLosses, ShownRow
from backuppeer.wire.codes import RefusalCode
from backuppeer.wire.messages import GetHead, HeadIs, Refused, Unsupported


@pytest.fixture
def play(house, owner, tree, tmp_path):
    """Run a scenario with an owner and one host that has a backup of it."""

    def run(scenario):
        async def whole():
            async with watching(owner, tmp_path / "watch", house) as watch:
                await watch.back_up(tree())
                await scenario(watch)

        asyncio.run(whole())

    return run


def test_a_host_that_keeps_everything_proves_it_day_by_day(house, play):
    async def scenario(watch):
        packs = await watch.stock(house, *[2 * MIB] * 8)
        partner = watch.partner(house)
        seen = []
        for _ in range(60):
            done = await watch.audit(house, Scope.DUE)
            assert (done.error, done.faults, done.shown) == (None, [], done.asked)
            seen.append(done.asked)
            watch.pass_days(1)
        now_ms = watch.days.now_ms()
        proven = [watch.proven.proven_ms(partner.agreement, stored) for stored in packs]
        assert all(at > now_ms - 60 * 86_400_000 for at in proven), "each pack got its turn within two cycles"
        [record] = watch.auditor.records()
        assert record.account.good_ms == record.account.heard_ms > now_ms - 2 * 86_400_000
        assert record.coverage.acked == record.coverage.packs == 9
        assert record.coverage.proven_bytes > 0.5 * record.coverage.size_bytes
        last = watch.evidence.days(house.peer, now_ms=now_ms)[-1]
        assert last.fault is None
        assert last.gib * GIB >= record.coverage.proven_bytes, "an audit speaks for what it was drawn from (ADR 59)"
        assert Kind.AUDITED in watch.seen(house)
        assert not watch.proofs()
        assert sum(seen) < 60 * 3

    play(scenario)


def test_a_sample_costs_17_kib_on_the_wire_at_most(house, play):
    async def scenario(watch):
        await watch.stock(house, *[16 * MIB] * 3)
        await watch.audit(house)  # acknowledges
        session = watch.links[house.peer].session
        for days in (1, 40):
            watch.pass_days(days)
            crook = watch.crooks[house.peer]
            crook.asked.clear()
            partner = watch.partner(house)
            ledger, account = watch.vault.repository.ledger, watch.proven.account(partner.agreement)
            before = session.sent_bytes + session.received_bytes
            await watch.vault.heads.ask(partner)
            rest = session.sent_bytes + session.received_bytes - before
            done = await watch.audit(house)
            spent = session.sent_bytes + session.received_bytes - before - rest
            assert done.shown == done.asked > 0
            assert ledger.count(partner.agreement) == 4
            assert account is not None
            # Losses asked for, head and word on it: what an audit costs beside its samples.
            assert spent <= 17 * KIB * done.shown + 3000, (spent / done.shown, done.shown)

    play(scenario)


def test_a_deleted_pack_file_is_found_named_and_convicts_the_host(house, play):
    async def scenario(watch):
        packs = await watch.stock(house, *[2 * MIB] * 3)
        assert (await watch.audit(house)).acked == 4
        await watch.move_head(house)
        watch.pass_days(59)
        watch.find_file(house, packs[1]).unlink()
        done = await watch.audit(house)
        assert done.lost == 1
        assert done.faults == ["it reports that it lost packs of yours: 1 (missing)"]
        assert [text for _, text in watch.faults] == done.faults
        [proof] = watch.proofs()
        assert done.proofs == [proof]
        verdict = judge(unpack_charge(proof.read_bytes()))
        assert (verdict.is_proven, verdict.crime, verdict.host) == (True, "lost-pack", house.peer)
        assert verdict.stored == packs[1]
        assert watch.vault.repository.ledger.count() == 3, "it counts no more"
        assert Kind.REPORTED_LOSS in watch.seen(house)
        assert Kind.INTEGRITY_FAULT not in watch.seen(house), "what a host tells by itself weighs less"
        standing = watch.vault.standing
        assert standing.bar(house.peer) is None, "who admits a loss is no liar, and gets data again"
        assert standing.evidence(house.peer).standing.reported_loss_share == pytest.approx(0.32)
        assert score.find_caps(standing.evidence(house.peer).standing) == [0.5, 0.3], "more than a hundredth"
        [reason] = standing.caps(house.peer)
        assert reason.startswith("it lost 32 % of your data, as it said itself on ")
        again = await watch.audit(house)
        assert again.faults == []

    play(scenario)


def test_many_reports_are_compared_with_the_ledger_in_few_walks_and_each_pack_is_lost_once(house, play, monkeypatch):
    async def scenario(watch):
        packs = await watch.stock(house, *[20_000] * 70)
        await watch.audit(house)
        for number, stored in enumerate(packs):
            watch.find_file(house, stored).unlink()
            if number % 2:  # two at a time, hence a report for each two
                report(house, watch, packs[number - 1 : number + 1])
        ledger, walks = watch.vault.repository.ledger, []
        walk = ledger.copies_at

        def count(agreement):
            walks.append(agreement)
            return walk(agreement)

        custody = Custody(watch.auditor._open(watch.partner(house), Reporter(watch._emit)))
        monkeypatch.setattr(ledger, "copies_at", count)
        size_bytes = ledger.held_bytes(watch.partner(house).agreement)
        await custody.hear_losses()
        assert len(walks) == 1, "35 reports"
        left_bytes = ledger.held_bytes(watch.partner(house).agreement)
        assert watch.vault.standing.conduct(house.peer).told_bytes == size_bytes - left_bytes, "all reports together"
        assert custody._dossier.outcome.lost == 70
        assert len(custody._dossier.outcome.faults) == 35
        await custody.hear_losses()
        assert custody._dossier.outcome.lost == 70

    def report(house, watch, packs):
        losses = house.premises.open().losses
        agreement = watch.partner(house).agreement
        losses.suspect(agreement, packs)
        assert losses.settle(agreement, signer=house.identity, now_ms=house.clock.now_ms())

    play(scenario)


def lie_about(watch, house, stored):
    """Let a host sign and show other bytes of one pack, as one would that lost it and hopes that nobody looks."""
    crook, agreement = watch.crooks[house.peer], watch.partner(house).agreement

    async def answer(channel, message):
        store = house.premises.open()
        said = open_statement(AuditChallenge, message.signed, watch.vault._keys.peer)
        shown = []
        for sample in said.samples:
            with store.open_pack(agreement, sample.stored) as reader:
                data = bytearray(reader.read(sample.first_leaf * LEAF_BYTES, sample.leaves * LEAF_BYTES))
                if sample.stored == stored:
                    data[77] ^= 4
                shown.append(Shown(reader.size, data, tuple(reader.path(sample.first_leaf, sample.leaves))))
        lie = AuditAnswer(
            agreement=agreement,
            terms=said.terms,
            challenge=statement_hash(message.signed),
            answers=[hash_shown(one) for one in shown],
            time_ms=watch.days.now_ms(),
        )
        rows = tuple(ShownRow(one.length, one.path) for one in shown)
        await channel.send(Audited(signed=sign_statement(lie, house.identity), shown=rows))
        for one in shown:
            await channel.send_raw(one.data)

    crook.handlers[AskAudit] = answer


def test_a_host_that_signs_wrong_bytes_is_convicted_by_them(house, play):
    async def scenario(watch):
        packs = await watch.stock(house, *[2 * MIB] * 3)
        await watch.audit(house)
        await watch.move_head(house)
        watch.pass_days(59)
        lie_about(watch, house, packs[0])
        done = await watch.audit(house)
        assert done.wrong == 1
        assert done.faults == ["it signed wrong bytes as those of packs that it keeps: 1"]
        [proof] = watch.proofs()
        verdict = judge(unpack_charge(proof.read_bytes()))
        assert (verdict.is_proven, verdict.crime, verdict.stored) == (True, "wrong-answer", packs[0])
        assert Kind.INTEGRITY_FAULT in watch.seen(house)
        assert watch.vault.standing.bar(house.peer) is Bar.LIED
        ledger, agreement = watch.vault.repository.ledger, watch.partner(house).agreement
        assert set(ledger.spoiled_at(agreement)) == {packs[0]}
        watch.pass_days(59)
        again = await watch.audit(house)
        assert (again.faults, again.shown) == ([], again.asked), "what is known to be spoiled is not asked for again"
        assert watch.proofs() == [proof]
        assert watch.vault.standing.bar(house.peer) is Bar.LIED, "59 good days don't wash it off"
        watch.pass_days(LIE_DAYS)
        standing = watch.vault.standing
        assert standing.bar(house.peer) is None
        assert standing.caps(house.peer), "what it lost, it was not sent again"
        # A backup does that, and the next audit ends it.
        watch.vault.repository.ledger.forget_stored(agreement, set(packs))
        await watch.back_up(watch.home.path.parent / "files")
        assert Kind.HEALED in watch.seen(house)
        watch.crooks[house.peer].handlers.clear()
        await watch.audit(house)
        [left] = standing.caps(house.peer)
        assert left.startswith("it failed twice within a year"), "it lied to the backup, too, months after the audit"
        standing.forgive(house.peer)
        assert standing.caps(house.peer) == []

    play(scenario)


def test_before_a_head_covers_what_was_acknowledged_a_lie_is_told_and_nothing_is_written(house, play):
    async def scenario(watch):
        [pack] = await watch.stock(house, 2 * MIB)
        await watch.audit(house)
        watch.pass_days(59)
        lie_about(watch, house, pack)
        done = await watch.audit(house)
        assert (done.wrong, len(done.faults), watch.proofs()) == (1, 1, [])

    play(scenario)


def leave_out(house, watch, *stored, drop=False):
    """Let a host sign answers without these packs, reporting nothing; or cut off whoever asks for them."""

    async def answer(channel, message):
        said = open_statement(AuditChallenge, message.signed, watch.vault._keys.peer)
        if drop and any(sample.stored in stored for sample in said.samples):
            raise PeerUnreachable("gone")
        whole = _show_all(house.premises.open(), said.agreement, said.samples)
        shown = [None if sample.stored in stored else one for sample, one in zip(said.samples, whole, strict=True)]
        standing = house.premises.open().heads.name_standing(said.agreement)
        signed = sign_answer(
            message.signed,
            shown,
            house.identity,
            owner=watch.vault._keys.peer,
            standing=standing,
            time_ms=watch.days.now_ms(),
        )
        rows = tuple(ShownRow(0, ()) if one is None else ShownRow(one.length, one.path) for one in shown)
        await channel.send(Audited(signed=signed, shown=rows))
        for one in shown:
            if one is not None:
                await channel.send_raw(one.data)

    watch.crooks[house.peer].handlers[AskAudit] = answer


def test_what_is_left_out_three_times_over_a_day_counts_as_lost(house, play):
    async def scenario(watch):
        packs = await watch.stock(house, *[2 * MIB] * 4)
        await watch.audit(house)
        leave_out(house, watch, packs[2])
        watch.pass_days(59)
        before = len(watch.evidence.latest(house.peer))
        first = await watch.audit(house)
        agreement = watch.partner(house).agreement
        owed = watch.proven.owed(agreement)
        assert {one.sample.stored for one in owed} == {packs[2]}
        assert (first.faults, first.lost) == ([], 0), "once is no evidence"
        assert first.shown > 0
        assert len(watch.evidence.latest(house.peer)) == before, "but no audit that was passed, and no higher cap"
        for _ in range(3):
            assert (await watch.audit(house)).faults == [], "nor is often on one day"
        first_asked = {one.sample: one.challenge for one in watch.proven.owed(agreement)}
        assert all(first_asked[one.sample] == one.challenge for one in owed)
        watch.pass_days(1.01)
        last = await watch.audit(house)
        assert (last.lost, last.faults) == (1, ["packs that it keeps are not shown any more: 1"])
        assert watch.proven.owed(agreement) == []
        assert set(watch.vault.repository.ledger.spoiled_at(agreement)) == {packs[2]}
        assert Kind.INTEGRITY_FAULT in watch.seen(house)
        assert watch.proofs() == [], "silence is no proof to others"

    play(scenario)


def test_a_host_that_cuts_off_whoever_asks_for_one_pack_is_found_by_asking_for_it_alone(house, play):
    async def scenario(watch):
        packs = await watch.stock(house, *[2 * MIB] * 4)
        await watch.audit(house)
        leave_out(house, watch, packs[1], drop=True)
        watch.pass_days(59)
        lost = []
        for _ in range(6):
            lost += [(await watch.audit(house)).lost]
            watch.pass_days(0.4)
        agreement = watch.partner(house).agreement
        assert sum(lost) == 1
        assert set(watch.vault.repository.ledger.spoiled_at(agreement)) == {packs[1]}

    play(scenario)


def test_what_is_shown_late_is_late_and_not_lost(house, play):
    async def scenario(watch):
        packs = await watch.stock(house, *[2 * MIB] * 3)
        await watch.audit(house)
        leave_out(house, watch, packs[0])
        watch.pass_days(59)
        await watch.audit(house)
        watch.crooks[house.peer].handlers.clear()
        watch.pass_days(2)
        done = await watch.audit(house)
        assert (done.faults, done.shown == done.asked, done.late > 0) == ([], True, True)
        assert watch.proven.owed(watch.partner(house).agreement) == []
        assert Kind.LATE in watch.seen(house)
        assert watch.auditor.records()[0].account.good_ms == pytest.approx(watch.days.now_ms(), abs=60_000)

    play(scenario)


@pytest.mark.parametrize("code", [RefusalCode.OVER_BUDGET, RefusalCode.STORE_UNAVAILABLE])
def test_over_budget_and_a_disk_that_is_away_are_no_evidence(house, play, code):
    async def scenario(watch):
        await watch.stock(house, *[2 * MIB] * 3)
        await watch.audit(house)
        seen = watch.seen(house)

        async def refuse(channel, _):
            await channel.send(Refused(code=code, message="not now"))

        watch.crooks[house.peer].handlers[AskAudit] = refuse
        for _ in range(4):
            watch.pass_days(20)
            done = await watch.audit(house)
            assert (done.shown, done.faults) == (0, [])
        assert done.is_over_budget == (code is RefusalCode.OVER_BUDGET)
        assert isinstance(done.error, StoreUnavailable) == (code is RefusalCode.STORE_UNAVAILABLE)
        assert watch.proven.owed(watch.partner(house).agreement) == []
        assert watch.seen(house) == seen
        watch.crooks[house.peer].handlers.clear()
        assert (await watch.audit(house)).shown > 0

    play(scenario)


@pytest.mark.parametrize("code", [RefusalCode.POLICY, RefusalCode.STALE, RefusalCode.OVER_BUDGET])
def test_a_host_that_does_not_show_its_head_withholds_what_it_keeps(house, play, code):
    async def scenario(watch):
        await watch.stock(house, 2 * MIB)
        crook = watch.crooks[house.peer]

        async def refuse(channel, _):
            await channel.send(Refused(code=code, message="no"))

        crook.handlers[GetHead] = refuse
        watch.pass_days(2)
        crook.asked.clear()
        done = await watch.audit(house)
        assert (done.shown, done.error.refusal) == (0, Refusal.FAULT)
        assert Kind.REFUSED in watch.seen(house)
        assert [bool(message.receipt) for message in crook.asked] == [True, False]

    play(scenario)


def test_a_host_that_only_refuses_the_receipt_is_audited_without_one(house, play):
    async def scenario(watch):
        await watch.stock(house, 2 * MIB)
        crook = watch.crooks[house.peer]

        async def refuse_the_receipt(channel, message):
            if message.receipt:
                await channel.send(Refused(code=RefusalCode.POLICY, message="none of mine"))
            else:
                await crook.honest._answer(watch.vault._keys.peer, channel, message)

        crook.handlers[GetHead] = refuse_the_receipt
        watch.pass_days(2)
        done = await watch.audit(house)
        assert (done.error, done.faults, done.shown > 0) == (None, [], True)
        assert Kind.REFUSED not in watch.seen(house)

    play(scenario)


def test_a_host_of_before_is_told_once_and_not_blamed(house, play):
    async def scenario(watch):
        seen = watch.seen(house)

        async def not_known(channel, _):
            await channel.send(Unsupported(type=41))

        held = house.premises.open().heads.get(watch.partner(house).agreement)

        async def show_head(channel, _):
            await channel.send(HeadIs(head=held.signed_head, grant=held.signed_grant))

        watch.crooks[house.peer].handlers[GetHead] = show_head
        for kind in (AckPacks, AskAudit, GetLosses):
            watch.crooks[house.peer].handlers[kind] = not_known
        done = await watch.audit(house)
        assert (done.is_mute, done.error, done.faults) == (True, None, [])
        assert watch.auditor.records()[0].account.is_mute
        assert watch.seen(house) == seen
        watch.crooks[house.peer].handlers.clear()
        assert (await watch.audit(house)).shown > 0
        assert not watch.auditor.records()[0].account.is_mute

    play(scenario)


def test_a_host_that_went_back_to_an_older_head_is_convicted_of_it(house, play):
    async def scenario(watch):
        store = house.premises.open()
        folder = next(store.directory.rglob("head"))
        older = folder.read_bytes()
        await watch.move_head(house)
        await watch.audit(house)
        folder.write_bytes(older)
        store.heads._cache.clear()  # a restart, with the disk of yesterday
        done = await watch.audit(house)
        assert done.faults == ["it shows head 1, and had countersigned head 2"]
        [proof] = watch.proofs()
        verdict = judge(unpack_charge(proof.read_bytes()))
        assert (verdict.is_proven, verdict.crime) == (True, "older-head")

    play(scenario)


@pytest.mark.parametrize("times", [1, 9])
def test_a_head_that_moves_meanwhile_is_asked_for_again_and_is_nobodys_fault(house, play, times):
    async def scenario(watch):
        await watch.stock(house, *[2 * MIB] * 2)
        crook, seen, left = watch.crooks[house.peer], watch.seen(house), [times]

        async def say_stale(channel, message):
            if left[0]:
                left[0] -= 1
                await channel.send(Refused(code=RefusalCode.STALE, message="another head"))
            else:
                await crook.honest._answer(watch.vault._keys.peer, channel, message)

        crook.handlers[AskAudit] = say_stale
        watch.pass_days(59)
        done = await watch.audit(house)
        assert (done.error is None, done.shown > 0) == (times == 1, times == 1)
        assert done.faults == []
        assert watch.proven.owed(watch.partner(house).agreement) == []
        assert watch.seen(house) - seen <= {Kind.AUDITED}

    play(scenario)


@pytest.mark.slow
def test_one_hundredth_of_the_packs_gone_is_found_within_30_days(owner, tree, tmp_path):
    """A real store that loses one of a hundred packs, audited once on each of 30 days that are a cycle."""
    big = HostHouse(tmp_path / "big", b"g", offered_bytes=400 * MIB)

    async def scenario():
        async with watching(owner, tmp_path / "watch", big, wish=(300 * MIB, 365 * 86_400, 86_400)) as watch:
            await watch.back_up(tree())
            packs = await watch.stock(big, *[2 * MIB] * 100)
            watch.pass_days(AUDIT_CYCLE_DAYS - watch.days.now_ms() // DAY_MS % AUDIT_CYCLE_DAYS)
            done = await watch.audit(big, Scope.DUE)
            assert done.acked == 101
            watch.proven.write(replace(watch.auditor.records()[0].account, day=watch.days.now_ms() // DAY_MS - 1))
            lost = random.Random().choice(packs)
            watch.find_file(big, lost).unlink()
            found, bytes_shown = 0, 0
            for _ in range(AUDIT_CYCLE_DAYS):
                done = await watch.audit(big, Scope.DUE)
                found, bytes_shown = found + done.lost, bytes_shown + done.shown_bytes
                watch.pass_days(1)
            assert found == 1
            assert bytes_shown <= 0.015 * 100 * 2 * MIB

    try:
        asyncio.run(scenario())
    finally:
        big.close()


def test_a_host_that_countersigned_two_heads_of_one_number_is_convicted_of_it(house, play):
    async def scenario(watch):
        agreement, keys = watch.partner(house).agreement, watch.vault._keys
        newest, _ = watch.vault.heads.newest()
        other = sign_statement(msgspec.structs.replace(newest, time_ms=newest.time_ms + 1), keys.device)
        said = HeadReceipt(
            agreement=agreement, head_hash=statement_hash(other), number=newest.number, time_ms=watch.days.now_ms()
        )
        watch.auditor.account(agreement)
        kept = KeptHead(newest.number, sign_statement(said, house.identity), other, keys.grant)
        watch.proven.keep_head(agreement, kept)
        done = await watch.audit(house)
        assert done.faults == ["it countersigned two different heads as number 1"]
        [proof] = watch.proofs()
        verdict = judge(unpack_charge(proof.read_bytes()))
        assert (verdict.is_proven, verdict.crime, verdict.host) == (True, "two-heads", house.peer)
        assert (await watch.audit(house)).faults == [], "it is told once"

    play(scenario)


def test_an_audit_at_once_looks_at_each_pack_where_a_cap_holds_so_that_four_times_of_it_may_follow(
    house, play, monkeypatch
):
    monkeypatch.setattr(exposure, "TRIAL_BYTES", 4 * MIB)
    monkeypatch.setattr(auditing, "AUDIT_SOUNDED", 8)

    async def scenario(watch):
        packs = await watch.stock(house, *[2 * MIB] * 10)
        exposing, agreement = watch.vault.exposing, watch.partner(house).agreement
        await watch.audit(house, Scope.DUE)
        assert exposing.may_grow(house.peer), "a day's audit sees the packs whose turn it is"
        done = await watch.audit(house)
        assert (done.error, done.is_over_budget, done.shown) == (None, False, done.asked)
        assert 8 <= done.asked <= 16, "not more than the bound, beside what was due"
        await watch.audit(house)
        assert all(watch.proven.proven_ms(agreement, stored) for stored in packs), "the next goes on with the rest"
        whole = watch.vault.repository.ledger.held_bytes(agreement)
        assert exposing.verified(house.peer) >= 20 * MIB
        assert exposing.cap(house.peer) <= 4 * whole
        watch.pass_days(1)
        assert (await watch.audit(house)).asked < 8, "what was shown within a month is not asked for again"

    play(scenario)
