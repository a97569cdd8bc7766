"""One challenge against hosts that answer it wrongly: refused, blamed, and nothing of it believed."""

import asyncio
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.watches import watching
from backuppeer.agent.audits.challenging import cut_challenges
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import AuthenticationFault, ProtocolViolation
from backuppeer.host.prove import _show_all
from backuppeer.ids import AgreementId, LogicalId, StoredId
from backuppeer.limits import AUDIT_SAMPLE_LEAVES, AUDIT_SAMPLES, MIB
from backuppeer.proof.audits import UNANSWERED, AuditAnswer, AuditChallenge, hash_shown
from backuppeer.proof.custody import LossCause, Standing, sign_ack, sign_held, sign_loss
from backuppeer.proof.statements import ZERO_HASH, open_statement, sign_statement, statement_hash
from backuppeer.shares.copies import Copy
from backuppeer.shares.sampling import Draw
from backuppeer.trust.evidence import Kind
from backuppeer.wire.auditing import Acked, AckPacks, AskAudit, Audited, GetLosses, Losses, LossRow, ShownRow
from backuppeer.wire.messages import GetHead, HeadIs

STRANGER = SigningKey.from_seed(b"x" * 32)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, AUDIT_SAMPLE_LEAVES)), max_size=200))
def test_challenges_hold_what_one_may_ask_for_and_every_draw_once(drawn):
    def draw(number, leaves):
        name = number.to_bytes(16, "big")
        return Draw(Copy(LogicalId(name), AgreementId(b"a" * 16), StoredId(name * 2), MIB, bytes(64)), 0, leaves)

    draws = [draw(*one) for one in drawn]
    batches = list(cut_challenges(draws))
    assert {one.sample for batch in batches for one in batch} == {one.sample for one in draws}
    for batch in batches:
        assert 0 < len(batch) <= AUDIT_SAMPLES
        assert sum(one.leaves for one in batch) <= AUDIT_SAMPLE_LEAVES
        assert len({one.sample for one in batch}) == len(batch)


@dataclass
class Reply:
    """An answer as an honest host gives it, for a test to spoil."""

    said: AuditAnswer
    rows: list[ShownRow]
    data: list[bytes]
    signer: SigningKey

    def resign(self, **changes) -> None:
        fields = {name: getattr(self.said, name) for name in self.said.__struct_fields__}
        self.said = AuditAnswer(**fields | changes)


def other_bytes(reply):
    reply.data[0] = bytes(len(reply.data[0]))


def another_signer(reply):
    reply.signer = STRANGER


def another_challenge(reply):
    reply.resign(challenge=b"c" * 32)


def fewer_answers(reply):
    reply.resign(answers=[*reply.said.answers, UNANSWERED])


def fewer_rows(reply):
    reply.rows.append(ShownRow(0, ()))


def a_row_for_what_is_not_answered(reply):
    reply.resign(answers=[UNANSWERED, *reply.said.answers[1:]])


def nothing_for_what_is_answered(reply):
    reply.rows[0] = ShownRow(0, ())


def a_length_that_ends_before_the_range(reply):
    reply.rows = [ShownRow(1, row.path) for row in reply.rows]


def a_stream_that_ends_early(reply):
    reply.data[-1] = reply.data[-1][:-1]


@pytest.mark.parametrize(
    "crime",
    [
        (other_bytes, ProtocolViolation),
        (another_signer, AuthenticationFault),
        (another_challenge, ProtocolViolation),
        (fewer_answers, ProtocolViolation),
        (fewer_rows, ProtocolViolation),
        (a_row_for_what_is_not_answered, ProtocolViolation),
        (nothing_for_what_is_answered, ProtocolViolation),
        (a_length_that_ends_before_the_range, ProtocolViolation),
        (a_stream_that_ends_early, ProtocolViolation),
    ],
)
def test_an_answer_that_is_none_ends_the_audit_and_proves_nothing(house, owner, tree, tmp_path, crime):
    spoil, fault = crime

    async def scenario():
        async with watching(owner, tmp_path / "watch", house) as watch:
            await watch.back_up(tree())
            await watch.stock(house, 2 * MIB, 3 * MIB)
            agreement = watch.partner(house).agreement

            async def answer(channel, message):
                said = open_statement(AuditChallenge, message.signed, watch.vault._keys.peer)
                shown = _show_all(house.premises.open(), agreement, said.samples)
                reply = Reply(
                    AuditAnswer(
                        agreement=agreement,
                        terms=said.terms,
                        challenge=statement_hash(message.signed),
                        answers=[hash_shown(one) for one in shown],
                        time_ms=1,
                    ),
                    [ShownRow(one.length, one.path) for one in shown],
                    [bytes(one.data) for one in shown],
                    house.identity,
                )
                spoil(reply)
                signed = sign_statement(reply.said, reply.signer)
                await channel.send(Audited(signed=signed, shown=tuple(reply.rows)))
                for data in reply.data:
                    await channel.send_raw(data)

            watch.crooks[house.peer].handlers[AskAudit] = answer
            watch.pass_days(59)
            done = await watch.audit(house)
            assert isinstance(done.error, fault), done.error
            assert (done.shown, done.faults, watch.proofs()) == (0, [], [])
            wanted = Kind.AUTH_FAULT if fault is AuthenticationFault else Kind.PROTOCOL_VIOLATION
            assert wanted in watch.seen(house)
            [record] = watch.auditor.records()
            assert (record.coverage.proven_bytes, record.account.heard_ms) == (0, 0)

    asyncio.run(scenario())


def standing_of(watch, house, **changes) -> Standing:
    now = house.premises.open().heads.name_standing(watch.partner(house).agreement)
    fields = {name: getattr(now, name) for name in ("agreement", "terms", "head_hash", "number")}
    return Standing(**fields | changes)


@pytest.mark.parametrize("what", ["older head", "other terms", "another day", "foreign packs", "stranger", "none"])
def test_an_acknowledgement_that_could_not_be_used_is_not_kept(house, owner, tree, tmp_path, what):
    async def scenario():
        async with watching(owner, tmp_path / "watch", house) as watch:
            await watch.back_up(tree())

            async def answer(channel, message):
                changes = {
                    "older head": {"head_hash": ZERO_HASH, "number": 0},
                    "other terms": {"terms": b"t" * 32},
                }.get(what, {})
                packs = [StoredId(b"p" * 32)] if what == "foreign packs" else list(message.packs)
                signed = sign_ack(
                    packs,
                    STRANGER if what == "stranger" else house.identity,
                    standing=standing_of(watch, house, **changes),
                    time_ms=1 if what == "another day" else watch.days.now_ms(),
                )
                told = Acked() if what == "none" else Acked(signed=signed, packs=tuple(packs))
                await channel.send(told)

            watch.crooks[house.peer].handlers[AckPacks] = answer
            done = await watch.audit(house)
            [record] = watch.auditor.records()
            assert (done.acked, record.coverage.acked) == (0, 0)
            assert (done.error is not None) == (what in {"foreign packs", "stranger"})
            if what == "none":
                assert done.shown >= 2, "what it does not acknowledge is asked for at once"

    asyncio.run(scenario())


@pytest.mark.parametrize("what", ["order", "stranger", "other packs", "unknown pack", "for ever"])
def test_reports_that_are_none_cost_nobody_anything(house, owner, tree, tmp_path, what):
    async def scenario():
        async with watching(owner, tmp_path / "watch", house) as watch:
            await watch.back_up(tree())
            [pack] = await watch.stock(house, 2 * MIB)
            named = [StoredId(b"u" * 32)] if what in {"unknown pack", "for ever"} else [pack]

            async def answer(channel, message):
                signed = sign_loss(
                    named,
                    STRANGER if what == "stranger" else house.identity,
                    standing=standing_of(watch, house),
                    cause=LossCause.MISSING,
                    time_ms=watch.days.now_ms(),
                )
                number = message.after if what == "order" else message.after + 1
                packs = (StoredId(b"o" * 32),) if what == "other packs" else tuple(named)
                row = LossRow(number, signed, packs)
                await channel.send(Losses(reports=(row,), more=what == "for ever"))

            watch.crooks[house.peer].handlers[GetLosses] = answer
            done = await watch.audit(house)
            assert (done.lost, done.faults) == (0, [])
            assert (done.error is None) == (what in {"unknown pack", "for ever"})
            assert watch.vault.repository.ledger.count() == 2

    asyncio.run(scenario())


@pytest.mark.parametrize("what", ["old word", "another head", "stranger"])
def test_a_word_on_the_head_held_that_does_not_fit_is_not_believed(house, owner, tree, tmp_path, what):
    async def scenario():
        async with watching(owner, tmp_path / "watch", house) as watch:
            await watch.back_up(tree())
            held = house.premises.open().heads.get(watch.partner(house).agreement)

            async def answer(channel, message):
                word = sign_held(
                    STRANGER if what == "stranger" else house.identity,
                    standing=standing_of(watch, house, number=7 if what == "another head" else 1),
                    receipt=message.receipt,
                    nonce=b"o" * 16 if what == "old word" else message.nonce,
                    time_ms=1,
                )
                await channel.send(HeadIs(head=held.signed_head, grant=held.signed_grant, held=word))

            watch.crooks[house.peer].handlers[GetHead] = answer
            done = await watch.audit(house)
            assert isinstance(done.error, AuthenticationFault if what == "stranger" else ProtocolViolation)
            assert done.asked == 0

    asyncio.run(scenario())
