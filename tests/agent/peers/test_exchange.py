"""What peers tell each other of hosts: only to who knows both sides already, and nothing that was not checked."""

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest
from court import Court

from agent.loops import SetClock
from agent.parties import Party, running
from agent.repute.shelved import START, key, peer, receipt, vouch
from backuppeer.agent.home.identity_alarms import doubts_about
from backuppeer.agent.home.state import State
from backuppeer.agent.host.serving import refusal_of
from backuppeer.agent.peers.exchange import Exchange
from backuppeer.agent.peers.opinions import Opinions, ask_opinion
from backuppeer.agent.repute.convicts import Convicts
from backuppeer.agent.repute.hearing import Hearing
from backuppeer.agent.repute.heirs import Heirs
from backuppeer.agent.repute.rows import salt_id
from backuppeer.agent.repute.shelf import Shelf
from backuppeer.agent.repute.shelves import Keep
from backuppeer.agent.repute.standing import Standing
from backuppeer.errors import AuthenticationFault, ProtocolViolation, RefusedError
from backuppeer.ids import shorten_peer_id
from backuppeer.limits import PROOFS_SHOWN, RECEIPT_ANSWERS_A_DAY, RECEIPT_ROWS_LEAST, RECEIPTS_NAMED, SUCCESSIONS_TOLD
from backuppeer.proof.charges import pack_charge
from backuppeer.proof.receipts import MONTH_MS, Receipt
from backuppeer.proof.statements import sign_statement
from backuppeer.proof.succession import Succession
from backuppeer.transport.memory import Network
from backuppeer.trust.evidence import EvidenceLog, Kind
from backuppeer.trust.hearsay import Word
from backuppeer.wire.receipts import (
    ROW_BYTES,
    AskOpinion,
    AskReceipts,
    NamedRow,
    NameReceipts,
    OpinionIs,
    ReceiptsAre,
    ReceiptsShown,
)

VIEWER, TELLER, ALICE, BOB, CAROL = 1, 2, 3, 4, 5
NOW = START + 2 * MONTH_MS
DAY_MS = 86_400_000


class Side:
    """A home with a shelf. `known`: peers that it has met."""

    def __init__(self, folder, number: int, *known: int) -> None:
        folder.mkdir()
        self.folder, self.peer, self.clock = folder, peer(number), SetClock()
        self.clock.ms = NOW
        self.state, self.shelf = State(folder / "state.db"), Shelf(folder / "receipts.db")
        self.evidence = EvidenceLog(folder / "evidence.db")
        for one in known:
            self.state.meet(peer(one), NOW)
        self.standing = Standing(self.state, self.evidence, self.clock)
        self.convicts = Convicts(self.shelf, self.evidence, folder / "proofs", self.clock)
        self.heirs = Heirs(self.state, self.evidence.lines, self.clock)
        self.exchange = Exchange(
            self.shelf, self.state, self.clock, own=self.peer, convicts=self.convicts, heirs=self.heirs
        )
        self.opinions = Opinions(self.standing, self.shelf, self.clock)

    async def serve(self, asker, channel) -> None:
        message = await channel.receive(AskReceipts, AskOpinion)
        try:
            if isinstance(message, AskReceipts):
                await self.exchange.answer(asker, channel, message)
            else:
                await self.opinions.answer(asker, channel)
        except RefusedError as exc:
            await channel.send(refusal_of(exc))
        await channel.finish()
        await channel.wait_end()

    def told(self) -> set:
        return {(month.owner, month.host) for month in self.shelf.months()}


@pytest.fixture
def viewer(tmp_path):
    return Side(tmp_path / "viewer", VIEWER, ALICE, BOB)


@pytest.fixture
def teller(tmp_path):
    return Side(tmp_path / "teller", TELLER)


@asynccontextmanager
async def meeting(viewer: Side, teller: Side, serve=None):
    network = Network()
    near = Party(network, 1, identity=key(VIEWER))
    far = Party(network, 2, identity=key(TELLER), serve=serve or teller.serve)
    async with running(near, far):
        yield await near.dial(far)


def ask(viewer: Side, teller: Side, serve=None):
    async def run():
        async with meeting(viewer, teller, serve) as session:
            return await viewer.exchange.ask(session)

    return asyncio.run(run())


def liar(*statements: bytes, proofs: tuple[bytes, ...] = (), pair=(ALICE, BOB)):
    """A peer that shows whatever it likes for a row that the viewer recognises."""

    async def serve(_, channel) -> None:
        message = await channel.receive(AskReceipts)
        salt = bytes(32)
        row = b"".join(salt_id(message.nonce, salt, peer(one) if isinstance(one, int) else one) for one in pair)
        await channel.send(ReceiptsAre(salt=salt, rows=row))
        await channel.receive(NameReceipts)
        await channel.send(ReceiptsShown(statements=statements, proofs=tuple(map(len, proofs))))
        for bundle in proofs:
            await channel.send_raw(bundle)
        await channel.finish()
        await channel.wait_end()

    return serve


def test_a_viewer_hears_of_pairs_of_which_it_knows_both_and_of_no_others(viewer, teller):
    for pair in ((ALICE, BOB), (ALICE, CAROL), (CAROL, BOB)):
        teller.shelf.take(receipt(*pair), peer(9))
    outcome = ask(viewer, teller)
    assert (outcome.recognised, outcome.kept, outcome.refused) == (1, 1, [])
    assert viewer.told() == {(peer(ALICE), peer(BOB))}


def test_the_hosts_own_copy_and_the_owners_own_are_told_and_vouches_too(viewer, teller):
    teller.shelf.keep(receipt(ALICE, TELLER), Keep.HOST)
    teller.shelf.keep(receipt(TELLER, BOB), Keep.OWNER)
    teller.shelf.take_vouch(*vouch(TELLER, ALICE, at=NOW))
    viewer.state.meet(peer(TELLER), NOW)
    assert ask(viewer, teller).kept == 3
    assert viewer.told() == {(peer(ALICE), peer(TELLER)), (peer(TELLER), peer(BOB))}


def test_what_is_heard_of_a_host_raises_its_score_and_what_a_crowd_says_does_not(viewer, teller):
    hearing = Hearing(viewer.shelf, viewer.clock, viewer.peer)
    hearing.own_words = lambda: [Word(viewer.peer, peer(ALICE), 300, 31.0)]
    viewer.standing.heard = hearing.heard
    before = viewer.standing.trust(peer(BOB))[0]
    for number in range(20, 40):
        viewer.state.meet(peer(number), NOW)
        teller.shelf.take(receipt(number, BOB, months=2), peer(9))
    assert ask(viewer, teller).kept == 20
    assert viewer.standing.trust(peer(BOB))[0] == before
    teller.shelf.take(receipt(ALICE, BOB, months=2), peer(9))
    viewer.clock.ms += DAY_MS
    assert ask(viewer, teller).kept == 1
    assert viewer.standing.trust(peer(BOB))[0] > before
    assert [path.peers for path in hearing.paths(peer(BOB))] == [(viewer.peer, peer(ALICE), peer(BOB))]


def test_a_word_that_was_taken_back_is_heard_of_by_any_way_and_outlives_the_word(viewer, teller):
    viewer.shelf.take_vouch(*vouch(ALICE, BOB, at=NOW - DAY_MS), peer(9))
    teller.shelf.take_vouch(*vouch(ALICE, BOB, at=NOW, days=0), peer(9))
    assert ask(viewer, teller).kept == 1
    assert [said.until_ms for said, _ in viewer.shelf.vouches()] == [NOW]
    viewer.shelf.forget_old(NOW + 300 * DAY_MS)
    assert not viewer.shelf.take_vouch(*vouch(ALICE, BOB, at=NOW - DAY_MS), peer(8)).is_kept
    viewer.shelf.forget_old(NOW + 366 * DAY_MS)
    assert viewer.shelf.vouches() == []


def test_who_does_not_share_tells_nothing_of_its_own_hosts(viewer, teller):
    teller.shelf.keep(receipt(TELLER, BOB), Keep.OWNER)
    teller.shelf.keep(receipt(ALICE, TELLER, private=True), Keep.HOST)
    teller.exchange.is_shared = lambda: False
    viewer.state.meet(peer(TELLER), NOW)
    assert ask(viewer, teller).recognised == 0


def test_nothing_is_told_of_what_has_grown_old(viewer, teller):
    teller.shelf.take(receipt(ALICE, BOB), peer(9))
    teller.clock.ms = START + 5 * MONTH_MS
    assert ask(viewer, teller).recognised == 0


def test_a_partner_is_asked_once_a_day_and_answers_a_few_times(viewer, teller):
    assert ask(viewer, teller) is not None
    assert ask(viewer, teller) is None
    for _ in range(RECEIPT_ANSWERS_A_DAY - 1):
        viewer.clock.ms += DAY_MS
        assert ask(viewer, teller) is not None
    viewer.clock.ms += DAY_MS
    with pytest.raises(RefusedError, match="often enough"):
        ask(viewer, teller)
    teller.clock.ms += DAY_MS
    viewer.clock.ms += DAY_MS
    assert ask(viewer, teller) is not None


def test_in_one_session_a_partner_is_answered_once_and_that_uses_up_nothing_of_the_day(viewer, teller):
    async def run():
        async with meeting(viewer, teller) as session:
            assert await viewer.exchange.ask(session) is not None
            for _ in range(RECEIPT_ANSWERS_A_DAY):
                viewer.clock.ms += DAY_MS
                with pytest.raises(RefusedError, match="in this session"):
                    await viewer.exchange.ask(session)

    asyncio.run(run())
    viewer.clock.ms += DAY_MS
    assert ask(viewer, teller) is not None, "the next session"


def test_number_and_order_of_rows_tell_nothing(viewer, teller):
    async def run(nonce: bytes):
        async with (
            meeting(viewer, teller) as session,
            session.request(AskReceipts(nonce=nonce)) as channel,
        ):
            rows = (await channel.receive(ReceiptsAre)).rows
            await channel.send(NameReceipts())
            await channel.receive(ReceiptsShown)
            return [rows[at : at + ROW_BYTES] for at in range(0, len(rows), ROW_BYTES)]

    for number in range(3):
        rows = asyncio.run(run(bytes(32)))
        assert len(rows) == RECEIPT_ROWS_LEAST
        assert rows == sorted(rows)
        teller.shelf.take(receipt(ALICE, 10 + number), peer(9))
    # The same question of the same peer has no row twice: a salt of its own is in each.
    again = asyncio.run(run(bytes(32)))
    assert not set(again) & set(rows)


def test_a_row_that_is_named_with_guessed_ids_is_not_shown(viewer, teller):
    teller.shelf.take(receipt(ALICE, BOB), peer(9))

    async def run():
        async with (
            meeting(viewer, teller) as session,
            session.request(AskReceipts(nonce=bytes(32))) as channel,
        ):
            await channel.receive(ReceiptsAre)
            guesses = [NamedRow(row, peer(ALICE), peer(CAROL)) for row in range(RECEIPT_ROWS_LEAST)]
            guesses += [NamedRow(4000, peer(ALICE), peer(BOB))]
            await channel.send(NameReceipts(names=tuple(guesses)))
            return await channel.receive(ReceiptsShown)

    assert asyncio.run(run()) == ReceiptsShown()


def test_no_more_are_named_in_a_session_than_may_be_and_unheard_ones_first(viewer, teller):
    for number in range(100, 100 + RECEIPTS_NAMED + 10):
        viewer.state.meet(peer(number), NOW)
        teller.shelf.take(receipt(number, BOB), peer(9))
    first = ask(viewer, teller)
    viewer.clock.ms += DAY_MS
    second = ask(viewer, teller)
    assert (first.recognised, first.kept, second.kept) == (RECEIPTS_NAMED, RECEIPTS_NAMED, 10)


def forge(**fields) -> bytes:
    said = msgspec.structs.replace(receipt(ALICE, BOB).said, **fields)
    blob = msgspec.msgpack.encode(said)
    return len(blob).to_bytes(4, "big") + blob + key(9).sign(Receipt.purpose, blob) * 2


@pytest.mark.parametrize(
    "signed",
    [
        forge(),
        receipt(ALICE, BOB).signed[:-10],
        receipt(ALICE, BOB).signed + b"x" * 64,
        receipt(ALICE, CAROL).signed,
        receipt(BOB, ALICE).signed,
        vouch(ALICE, CAROL)[1],
        b"",
        b"\0\0\0\x01\x80",
    ],
    ids=["forged", "truncated", "oversized", "other-pair", "reversed", "other-vouch", "empty", "nonsense"],
)
def test_who_shows_what_does_not_hold_or_was_not_asked_for_breaks_the_protocol(viewer, teller, signed):
    with pytest.raises(ProtocolViolation):
        ask(viewer, teller, serve=liar(signed))
    assert viewer.told() == set()


def test_a_receipt_of_a_month_to_come_is_refused_by_name_and_nobody_is_blamed(viewer, teller):
    outcome = ask(viewer, teller, serve=liar(receipt(ALICE, BOB, months=9).signed))
    pair = f"{shorten_peer_id(peer(ALICE))} → {shorten_peer_id(peer(BOB))}"
    assert (outcome.kept, outcome.refused) == (0, [f"{pair}: it is dated in the future"])


def test_a_receipt_that_carries_a_load_is_refused_by_name(viewer, teller):
    outcome = ask(viewer, teller, serve=liar(receipt(ALICE, BOB, ext={"film": bytes(900)}).signed))
    assert (outcome.kept, ["longer than" in text for text in outcome.refused]) == (0, [True])


def test_a_private_receipt_is_refused_by_name(viewer, teller):
    outcome = ask(viewer, teller, serve=liar(receipt(ALICE, BOB, private=True).signed))
    assert [text.split(": ")[1] for text in outcome.refused] == ["its owner wants it shown to nobody"]


def test_two_receipts_for_one_month_are_named_and_a_replayed_one_says_nothing(viewer, teller):
    one, other = receipt(ALICE, BOB), receipt(ALICE, BOB, size_bytes=1)
    outcome = ask(viewer, teller, serve=liar(one.signed, one.signed, other.signed))
    assert outcome.kept == 2
    assert ["it contradicts another one of the same pair" in text for text in outcome.refused] == [True]


def proofs_of(court: Court) -> dict[str, bytes]:
    return {"lie": pack_charge(court.wrong_answer()), "loss": pack_charge(court.lost_pack())}


def test_a_proof_is_judged_here_and_counts_once_with_the_day_of_the_lie(viewer, teller):
    court = Court()
    host = peer_of(court.host)
    viewer.state.meet(host, NOW)
    (teller.folder / "proofs").mkdir()
    for name, bundle in proofs_of(court).items():
        (teller.folder / "proofs" / f"{name}.proof").write_bytes(bundle)
    assert ask(viewer, teller).convicted == 1
    found = viewer.evidence.latest(host)
    assert [one.kind for one in found] == [Kind.MISBEHAVED]
    assert found[0].time_ms < NOW
    viewer.clock.ms += DAY_MS
    assert ask(viewer, teller).convicted == 0
    assert len(viewer.evidence.latest(host)) == 1
    # It goes on from there, though the viewer has no file of it.
    third = Side(viewer.folder.parent / "third", CAROL)
    third.state.meet(host, NOW)
    assert ask(third, viewer).convicted == 1


def test_many_proofs_crowd_out_no_receipts_and_of_a_host_that_is_convicted_no_other_is_fetched(viewer, teller):
    (teller.folder / "proofs").mkdir()
    for number in range(PROOFS_SHOWN + 2):
        court = Court(host=key(700 + number))
        viewer.state.meet(court.host.public, NOW)
        (teller.folder / "proofs" / f"{number}.proof").write_bytes(pack_charge(court.wrong_answer()))
    for number in range(100, 100 + RECEIPTS_NAMED):
        viewer.state.meet(peer(number), NOW)
        teller.shelf.take(receipt(number, BOB), peer(9))
    outcomes = []
    for _ in range(3):
        outcomes.append(ask(viewer, teller))
        viewer.clock.ms += DAY_MS
    assert [(one.convicted, one.kept) for one in outcomes] == [(4, RECEIPTS_NAMED - 4), (2, 4), (0, 0)]


@pytest.mark.parametrize("which", ["loss", "nonsense", "other-host"])
def test_a_proof_that_proves_nothing_or_about_another_is_the_fault_of_who_shows_it(viewer, teller, which):
    court = Court()
    host = peer_of(court.host)
    bundle = {**proofs_of(court), "nonsense": b"BPPROOF\1junk", "other-host": proofs_of(court)["lie"]}[which]
    viewer.state.meet(host, NOW)
    number = BOB if which == "other-host" else None

    async def serve(asker, channel) -> None:
        await liar(proofs=(bundle,), pair=(number or host, number or host))(asker, channel)

    with pytest.raises(ProtocolViolation):
        ask(viewer, teller, serve=serve)
    assert viewer.evidence.latest(host) == []


def peer_of(signing):
    return signing.public


def test_a_peer_says_how_it_scores_us_once_an_hour(viewer, teller):
    teller.opinions.explain = lambda _: ["30 days of audits", "\x1b[31mred", "x" * 500, *["more"] * 20]

    async def run():
        async with meeting(viewer, teller) as session:
            opinion = await ask_opinion(session)
            with pytest.raises(RefusedError, match="within the hour"):
                await ask_opinion(session)
            teller.clock.ms += 3_600_000
            assert await ask_opinion(session) == opinion
            return opinion

    opinion = asyncio.run(run())
    assert (opinion.trust, opinion.level) == (pytest.approx(0.098), "unproven")
    assert opinion.reasons[:3] == ("30 days of audits", "?[31mred", "x" * 120)
    assert len(opinion.reasons) == 8


def test_the_words_of_a_peer_can_not_paint_a_terminal(viewer, teller):
    async def serve(_, channel) -> None:
        await channel.receive(AskOpinion)
        await channel.send(
            OpinionIs(permille=1000, level="\x1b[2J", reasons=("\u202egood", "line\nline", "e\u0301\u0301\u20dd"))
        )
        await channel.finish()
        await channel.wait_end()

    async def run():
        async with meeting(viewer, teller, serve) as session:
            return await ask_opinion(session)

    opinion = asyncio.run(run())
    assert (opinion.level, opinion.reasons) == ("?[2J", ("?good", "line?line", "é??"))


WORDS, HEIR, OTHER_HEIR = 50, 51, 52


def succession(*, old=ALICE, new=HEIR, words=WORDS):
    said = Succession(authority=peer(words), old=peer(old), new=peer(new), generation=2, time_ms=NOW)
    return sign_statement(said, key(words), key(new))


@pytest.fixture
def partner(teller):
    """A teller that follows one of its own partners."""
    teller.heirs.take(succession(), peer(WORDS))
    return teller


def test_a_succession_reaches_whoever_has_an_agreement_that_names_its_authority(viewer, partner):
    viewer.exchange.named = lambda: [(peer(ALICE), peer(WORDS))]
    outcome = ask(viewer, partner)
    assert (outcome.recognised, outcome.kept, outcome.refused) == (1, 1, [])
    assert viewer.heirs.newest(peer(ALICE)) == peer(HEIR)


def test_an_heir_whom_agreements_know_by_another_authority_is_not_followed(viewer, partner):
    viewer.exchange.named = lambda: [(peer(ALICE), peer(WORDS)), (peer(HEIR), peer(49))]
    outcome = ask(viewer, partner)
    assert (outcome.kept, "another authority" in outcome.refused[0]) == (0, True)
    assert not viewer.heirs.list_all()


@pytest.mark.parametrize("named", [[], [(ALICE, 49)], [(BOB, WORDS)]])
def test_to_everybody_else_it_is_a_row_of_noise(viewer, partner, named):
    viewer.exchange.named = lambda: [(peer(party), peer(words)) for party, words in named]
    assert ask(viewer, partner).recognised == 0
    assert viewer.heirs.newest(peer(ALICE)) == peer(ALICE)


def test_who_shows_nobody_whom_it_knows_asks_for_no_succession(viewer, partner):
    viewer.exchange.named = lambda: [(peer(ALICE), peer(WORDS))]
    viewer.exchange.is_shared = lambda: False
    assert ask(viewer, partner).recognised == 0


def test_what_contradicts_a_succession_is_passed_on_too_and_is_no_fault_of_who_does(viewer, partner):
    with pytest.raises(AuthenticationFault):
        partner.heirs.take(succession(new=OTHER_HEIR), peer(WORDS))
    viewer.exchange.named = lambda: [(peer(ALICE), peer(WORDS))]
    outcome = ask(viewer, partner)
    assert (outcome.recognised, outcome.kept) == (2, 1)
    assert "two heirs" in outcome.refused[0]
    assert doubts_about(viewer.state, viewer.heirs.newest(peer(ALICE)))


def test_a_succession_that_nobody_signed_is_the_fault_of_who_shows_it(viewer, teller):
    viewer.exchange.named = lambda: [(peer(ALICE), peer(WORDS))]
    forged = succession()[:-1] + b"?"
    with pytest.raises(ProtocolViolation, match="forged"):
        ask(viewer, teller, liar(forged, pair=(ALICE, WORDS)))
    assert not viewer.heirs.list_all()


def test_a_succession_by_another_authority_than_was_asked_for_is_refused(viewer, teller):
    viewer.exchange.named = lambda: [(peer(ALICE), peer(WORDS))]
    with pytest.raises(ProtocolViolation, match="not asked for"):
        ask(viewer, teller, liar(succession(words=49), pair=(ALICE, WORDS)))
    assert not viewer.heirs.list_all()


def test_more_successions_than_are_told_at_once_leave_room_for_receipts(viewer, teller):
    for number in range(SUCCESSIONS_TOLD + 3):
        teller.heirs.take(succession(old=1000 + number, new=2000 + number, words=3000 + number), peer(3000 + number))
    assert len(teller.heirs.shareable()) == SUCCESSIONS_TOLD
    teller.shelf.take(receipt(ALICE, BOB), peer(9))
    assert ask(viewer, teller).kept == 1
