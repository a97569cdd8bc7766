"""Audits between an owner and a host in session, over the memory transport and a real store."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from agent.host.test_serving import UNKNOWN, noise, read_range, refusal
from agent.hosted import hosted
from agent.houses import OwnerHouse
from agent.owner.test_heads import INDEX, chain_of, inventory, rows
from backuppeer.agent.host.answering import NONCE_BYTES
from backuppeer.errors import BackupPeerError
from backuppeer.host.budget import day_budget
from backuppeer.limits import AUDIT_SAMPLES, FRAME_BYTES, LEAF_BYTES, MIB
from backuppeer.proof.audits import Sample, Shown, check_shown, open_answer, sign_challenge
from backuppeer.proof.charges import LostPack
from backuppeer.proof.custody import HeadHeld, LossReport, StoreAck, hash_signed, open_packs
from backuppeer.proof.misbehaviour import judge
from backuppeer.proof.statements import open_statement
from backuppeer.wire.auditing import Acked, AckPacks, AskAudit, Audited, GetDelete, GetLosses, Losses
from backuppeer.wire.codec import encode
from backuppeer.wire.codes import RefusalCode
from backuppeer.wire.messages import GetHead, HeadIs, HeadStored, PutHead, Refused

NONCE = b"n" * NONCE_BYTES


class Dealings:
    """What an owner does with a host in one session."""

    def __init__(self, house, owner, link) -> None:
        self.house, self.owner, self.link = house, owner, link
        self.store = house.premises.open()
        (self.lease,) = self.store.leases.list_by_owner(owner.peer)
        self.agreement = self.lease.agreement
        self.chain = chain_of(owner)

    async def leave_head(self) -> bytes:
        self.chain.extend(INDEX, inventory(1))
        _, head, grant = rows(self.chain)[-1]
        return (await self.link.ask(PutHead(agreement=self.agreement, head=head, grant=grant), HeadStored)).receipt

    async def ack(self, *packs):
        return await self.link.ask(AckPacks(agreement=self.agreement, packs=packs), Acked)

    async def losses(self, after=0):
        return await self.link.ask(GetLosses(agreement=self.agreement, after=after), Losses)

    def challenge(self, *samples, standing=None) -> AskAudit:
        standing = standing or self.store.heads.name_standing(self.agreement)
        signed = sign_challenge(samples, self.owner.keys.identity, standing=standing, nonce=NONCE, time_ms=1)
        return AskAudit(agreement=self.agreement, signed=signed)

    async def audit(self, *samples):
        """Return the answer and what it shows, whose signature holds."""
        asked = self.challenge(*samples)
        async with self.link.session.request(asked) as channel:
            answer = await channel.receive(Audited)
            shown = []
            for sample, row in zip(samples, answer.shown, strict=True):
                size = min(sample.leaves * LEAF_BYTES, max(0, row.length - sample.first_leaf * LEAF_BYTES))
                data = b"".join([bytes(piece) async for piece in channel.receive_raw(size)])
                shown.append(Shown(row.length, data, row.path) if row.length else None)
        open_answer(answer.signed, asked.signed, host=self.house.peer, owner=self.owner.peer)
        return answer, shown

    def damage(self, stored) -> None:
        (path,) = self.store.directory.rglob(stored.hex())
        with path.open("r+b") as file:
            file.write(b"damaged!")


@asynccontextmanager
async def dealing(house, owner):
    async with hosted(house, owner) as link:
        yield Dealings(house, owner, link)


def test_an_owner_learns_that_its_packs_are_kept_and_gets_their_leaves(house, owner):
    agreement = owner.agree_with(house)
    data = noise("pack", 2 * MIB + 5000)

    async def scenario():
        async with dealing(house, owner) as deal:
            await deal.link.put(agreement, data)
            await deal.leave_head()
            stored = next(row.stored for row in deal.store.list_packs(agreement))
            acked = await deal.ack(stored, UNKNOWN * 2)
            said = open_packs(StoreAck, acked.signed, acked.packs, host=house.peer, agreement=agreement)
            assert (acked.packs, said.number) == ((stored,), 1)
            leaves = -(-len(data) // LEAF_BYTES)
            samples = [Sample(stored, first, count) for first, count in ((0, 1), (leaves - 1, 1), (3, 40))]
            _, shown = await deal.audit(*samples)
            for sample, one in zip(samples, shown, strict=True):
                check_shown(sample, one)
            assert await deal.losses() == Losses()

    asyncio.run(scenario())


def test_a_day_s_samples_of_the_largest_packs_fit_into_one_frame(house, owner):
    agreement = owner.agree_with(house, (40 * MIB, 3600, 60))

    async def scenario():
        async with dealing(house, owner) as deal:
            await deal.link.put(agreement, noise("large", 16 * MIB))
            await deal.leave_head()
            ((stored, _),) = deal.store.list_packs(agreement)
            answer, shown = await deal.audit(*(Sample(stored, 33 * number, 1) for number in range(AUDIT_SAMPLES)))
            assert None not in shown
            assert len(encode(answer)) < FRAME_BYTES // 4

    asyncio.run(scenario())


def test_what_the_disk_spoiled_is_reported_before_the_answer_and_convicts_whoever_acknowledged_it(house, owner):
    agreement = owner.agree_with(house)

    async def scenario():
        async with dealing(house, owner) as deal:
            await deal.link.put(agreement, noise("pack", 100_000))
            ((stored, _),) = deal.store.list_packs(agreement)
            acked = await deal.ack(stored)
            receipt = await deal.leave_head()
            deal.damage(stored)
            _, shown = await deal.audit(Sample(stored, 0, 1), Sample(stored, 3, 1))
            assert shown[0] is None
            check_shown(Sample(stored, 3, 1), shown[1])
            (report,) = (await deal.losses()).reports
            open_packs(LossReport, report.signed, report.packs, host=house.peer, agreement=agreement)
            assert (report.number, report.packs) == (1, (stored,))
            assert (await deal.losses(after=1)).reports == ()
            _, head, grant = rows(deal.chain)[-1]
            charge = LostPack(
                agreements=[deal.lease.signed],
                head=head,
                grant=grant,
                receipt=receipt,
                ack=acked.signed,
                acked=list(acked.packs),
                report=report.signed,
                lost=list(report.packs),
                stored=stored,
            )
            assert judge(charge).is_proven
            assert (await deal.ack(stored)).packs == ()

    asyncio.run(scenario())


def test_a_pack_found_gone_when_a_range_is_asked_for_is_reported(house, owner):
    agreement = owner.agree_with(house)

    async def scenario():
        async with dealing(house, owner) as deal:
            await deal.link.put(agreement, noise("pack", 100_000))
            ((stored, _),) = deal.store.list_packs(agreement)
            next(deal.store.directory.rglob(stored.hex())).unlink()
            with pytest.raises(BackupPeerError):
                await read_range(deal.link, agreement, stored, 0, 1)
            (report,) = (await deal.losses()).reports
            assert report.packs == (stored,)

    asyncio.run(scenario())


def test_a_challenge_upon_an_earlier_head_is_stale_and_the_owner_asks_which_head_is_held(house, owner):
    agreement = owner.agree_with(house)

    async def scenario():
        async with dealing(house, owner) as deal:
            await deal.link.put(agreement, noise("pack", 100_000))
            ((stored, _),) = deal.store.list_packs(agreement)
            await deal.leave_head()
            old = deal.store.heads.name_standing(agreement)
            receipt = await deal.leave_head()
            answer = await refusal(deal.link, deal.challenge(Sample(stored, 0, 1), standing=old))
            assert (type(answer), answer.code) == (Refused, RefusalCode.STALE)
            held = await deal.link.ask(GetHead(agreement=agreement, receipt=receipt, nonce=NONCE), HeadIs)
            said = open_statement(HeadHeld, held.held, house.peer)
            assert (said.number, said.receipt, said.nonce) == (2, hash_signed(receipt), NONCE)

    asyncio.run(scenario())


def test_an_owner_of_before_asks_for_the_head_and_gets_no_word_with_it(house, owner):
    agreement = owner.agree_with(house)

    async def scenario():
        async with dealing(house, owner) as deal:
            await deal.leave_head()
            assert (await deal.link.ask(GetHead(agreement=agreement), HeadIs)).held == b""

    asyncio.run(scenario())


def test_no_word_on_the_head_is_given_upon_a_foreign_countersignature(house, owner):
    agreement = owner.agree_with(house)

    async def scenario():
        async with dealing(house, owner) as deal:
            await deal.leave_head()
            for receipt in (b"nonsense", deal.lease.signed):
                answer = await refusal(deal.link, GetHead(agreement=agreement, receipt=receipt, nonce=NONCE))
                assert (type(answer), answer.code) == (Refused, RefusalCode.POLICY)
            assert (await deal.link.ask(GetHead(agreement=agreement, nonce=NONCE), HeadIs)).held, (
                "nothing is held against it"
            )

    asyncio.run(scenario())


def test_beyond_the_budget_audits_are_refused_and_restores_go_on(house, owner):
    agreement = owner.agree_with(house)
    data = noise("pack", 100_000)

    async def scenario():
        async with dealing(house, owner) as deal:
            await deal.link.put(agreement, data)
            ((stored, _),) = deal.store.list_packs(agreement)
            await deal.leave_head()
            most = day_budget(deal.lease.terms.size_bytes)
            deal.store.budget.take(agreement, most, most_bytes=most, day=house.clock.now_ms() // 86_400_000)
            answer = await refusal(deal.link, deal.challenge(Sample(stored, 0, 1)))
            assert (type(answer), answer.code) == (Refused, RefusalCode.OVER_BUDGET)
            assert "tomorrow" in answer.hint
            _, got = await read_range(deal.link, agreement, stored, 0, 7)
            assert got == data

    asyncio.run(scenario())


def test_a_store_that_is_unplugged_is_away_and_nothing_of_it_is_lost(house, owner):
    agreement = owner.agree_with(house)

    async def scenario():
        async with dealing(house, owner) as deal:
            await deal.link.put(agreement, noise("pack", 100_000))
            ((stored, _),) = deal.store.list_packs(agreement)
            await deal.leave_head()
            asked = deal.challenge(Sample(stored, 0, 1))
            place = house.premises.directory
            place.rename(place.with_name("unplugged"))
            questions = (asked, AckPacks(agreement=agreement, packs=(stored,)), GetLosses(agreement=agreement))
            for question in (*questions, GetDelete(agreement=agreement), GetHead(agreement=agreement, nonce=NONCE)):
                answer = await refusal(deal.link, question)
                assert (type(answer), answer.code) == (Refused, RefusalCode.STORE_UNAVAILABLE)
            place.with_name("unplugged").rename(place)
            assert (await deal.losses()).reports == ()
            assert (await deal.ack(stored)).packs == (stored,)
            deal.store = house.premises.open()  # another one than before
            assert None not in (await deal.audit(Sample(stored, 0, 1)))[1]

    asyncio.run(scenario())


def test_the_questions_about_somebody_elses_agreement_are_answered_as_about_none(house, owner, tmp_path):
    own = owner.agree_with(house)
    thief = OwnerHouse(tmp_path / "thief", b"t")
    thief.agree_with(house, number=7)

    async def scenario():
        async with dealing(house, owner) as deal:
            await deal.leave_head()
            asked = deal.challenge(Sample(b"s" * 32, 0, 1)).signed
        async with hosted(house, thief) as link:
            for make in (
                lambda agreement: AckPacks(agreement=agreement, packs=(b"s" * 32,)),
                lambda agreement: AskAudit(agreement=agreement, signed=asked),
                lambda agreement: GetLosses(agreement=agreement),
                lambda agreement: GetDelete(agreement=agreement),
                lambda agreement: GetHead(agreement=agreement, nonce=NONCE),
            ):
                foreign, unknown = await refusal(link, make(own)), await refusal(link, make(UNKNOWN))
                assert isinstance(foreign, Refused)
                assert foreign == unknown

    asyncio.run(scenario())
    thief.close()


@pytest.mark.parametrize("case", ["nonsense", "another signer", "short nonce"])
def test_who_asks_with_what_is_no_challenge_breaks_the_protocol(house, owner, tmp_path, case):
    agreement = owner.agree_with(house)

    async def scenario():
        async with dealing(house, owner) as deal:
            await deal.leave_head()
            standing = deal.store.heads.name_standing(agreement)
            forged = sign_challenge(
                [Sample(b"s" * 32, 0, 1)], house.identity, standing=standing, nonce=NONCE, time_ms=1
            )
            message = {
                "nonsense": AskAudit(agreement=agreement, signed=b"nonsense"),
                "another signer": AskAudit(agreement=agreement, signed=forged),
                "short nonce": GetHead(agreement=agreement, nonce=b"n"),
            }[case]
            with pytest.raises(BackupPeerError):
                await refusal(deal.link, message)
            await asyncio.wait_for(deal.link.session.ended.wait(), 10)

    asyncio.run(scenario())
