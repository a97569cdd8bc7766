"""A month that is over, signed by both sides: real stores, real sessions, months that a test lets pass."""

import asyncio
import threading
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from agent.estates import Estate
from agent.hosted import hosted
from agent.loops import SetClock, VirtualClock
from agent.loops import play as play_virtually
from backuppeer.agent.host.receipting import Countersigning
from backuppeer.agent.owner.receipting import Receipting, judge_month
from backuppeer.agent.repute.gaps import Gaps, note_recovered
from backuppeer.agent.repute.shelf import Shelf
from backuppeer.agent.repute.shelves import Keep
from backuppeer.errors import NotFoundError, PeerFault, ProtocolViolation, RefusedError
from backuppeer.ids import AgreementId, RepositoryId
from backuppeer.limits import GIB, MONTH_END_JITTER_S, MONTH_END_LOOK_S
from backuppeer.proof.receipts import MONTH_MS, begin_of, open_receipt, propose_receipt
from backuppeer.proof.statements import ZERO_HASH, Agreement, peek_statement, sign_statement
from backuppeer.trust.evidence import DayCount, Kind, Observation
from backuppeer.wire.receipts import GetMyReceipts, MyReceiptsAre, ProposeReceipt, ReceiptSigned

AGREEMENT = AgreementId(bytes([1]) * 16)
START = SetClock().ms
DAY_MS = 86_400_000


class Sides:
    """An owner that has backed up to a host, and what both sign. Times are those of both."""

    def __init__(self, estate: Estate, house, link, folder) -> None:
        self.estate, self.house, self.link, self.folder = estate, house, link, folder
        self.clock = house.clock
        self.terms = peek_statement(Agreement, estate.state.agreements()[0][2])
        self.mine = self.open_owner("owner")

    def open_owner(self, name: str) -> Shelf:
        shelf = Shelf(self.folder / f"{name}.db")
        keys, state = self.estate.vault._keys, self.estate.state
        self.gaps = Gaps(shelf, state, keys.identity, self.clock)
        self.receipting = Receipting(state, keys, self.estate.vault, shelf=shelf, gaps=self.gaps, clock=self.clock)
        return shelf

    def pass_months(self, number: int) -> None:
        """Let `number` months be over, and a day of the next."""
        self.clock.ms = begin_of(START, number + 1) + DAY_MS

    def saw(self, kind: Kind, month: int, *, day: int = 10) -> None:
        time_ms = begin_of(START, month) + day * DAY_MS
        self.estate.evidence.record(Observation(self.house.peer, kind, time_ms, 1000))

    async def settle(self) -> None:
        await self.receipting.settle(self.link.session)

    async def live(self, *months: int) -> None:
        """Have months audited, and settled at their ends."""
        for month in months:
            self.saw(Kind.AUDITED, month)
            self.pass_months(month)
            await self.settle()


class HostPart:
    """A host's shelf, to be lost and begun anew. `is_mute`: its answers get lost."""

    def __init__(self, house, folder) -> None:
        self.house, self.folder = house, folder
        self.is_mute, self.asked = False, []
        self.begin("host")

    def begin(self, name: str) -> None:
        self.shelf = Shelf(self.folder / f"{name}.db")
        self.gaps = Gaps(self.shelf, self.house.state, self.house.identity, self.house.clock)
        self.part = Countersigning(
            self.house.premises, self.house.identity, self.house.clock, shelf=self.shelf, gaps=self.gaps
        )

    async def answer(self, peer, channel, message) -> None:
        self.asked.append(type(message))
        if self.is_mute and isinstance(message, ProposeReceipt):
            self.part.sign(peer, message)
            raise RefusedError("the answer was lost")
        await self.part.answer(peer, channel, message)


@asynccontextmanager
async def at_home(owner, house, tmp_path, tree):
    part = HostPart(house, tmp_path)
    owner.agree_with(house, (64 * 1024 * 1024, 3600, 60))
    estate = Estate(owner, tmp_path / "estate")
    async with hosted(house, owner, on_receipts=part.answer) as link:
        estate.sight.sessions[house.peer] = link.session
        await estate.back_up(tree())
        sides = Sides(estate, house, link, tmp_path)
        yield sides, part
    estate.close()
    sides.mine.close()
    part.shelf.close()


@pytest.fixture
def play(owner, house, tmp_path, tree):
    """Run a test's story between the two."""
    house.premises.establish(tmp_path / "host" / "store", 256 * 1024 * 1024)

    def run(story):
        async def whole():
            async with at_home(owner, house, tmp_path, tree) as (sides, part):
                await story(sides, part)

        asyncio.run(whole())

    return run


def test_a_month_that_is_over_is_signed_by_both_and_kept_by_both(play):
    async def story(sides, part):
        await sides.settle()
        assert sides.mine.own(Keep.OWNER) == []
        await sides.live(1, 2, 3)
        mine, theirs = sides.mine.own(Keep.OWNER), part.shelf.own(Keep.HOST)
        assert mine == theirs
        assert [shown.said.number for shown in mine] == [3, 2, 1]
        assert all(shown.is_cosigned and shown.said.kept and shown.said.since_ms == START for shown in mine)
        assert mine[0].said.size_bytes == sides.estate.vault.repository.ledger.held_bytes(AGREEMENT) > 0
        await sides.settle()
        assert part.asked == [GetMyReceipts, *[ProposeReceipt] * 3]

    play(story)


def test_a_lost_answer_is_asked_for_again_and_a_month_has_one_receipt(play):
    async def story(sides, part):
        part.is_mute = True
        await sides.live(1)
        assert [shown.is_cosigned for shown in sides.mine.own(Keep.OWNER)] == [False]
        part.is_mute = False
        sides.clock.ms += DAY_MS
        await sides.settle()
        assert sides.mine.own(Keep.OWNER) == part.shelf.own(Keep.HOST)
        assert len(part.shelf.own(Keep.HOST)) == 1

    play(story)


def test_nobody_signs_for_a_month_in_which_nothing_was_shown_and_a_claim_is_the_owners_alone(play):
    async def story(sides, part):
        sides.pass_months(1)
        await sides.settle()
        assert sides.mine.own(Keep.OWNER) == []
        sides.saw(Kind.AUDITED, 2)
        sides.saw(Kind.LOST, 2, day=12)
        sides.pass_months(2)
        await sides.settle()
        assert [(s.said.number, s.said.kept, s.is_cosigned) for s in sides.mine.own(Keep.OWNER)] == [(2, False, False)]
        assert part.shelf.own(Keep.HOST) == []
        await sides.live(3)
        assert sides.mine.own(Keep.OWNER)[0].said.since_ms == begin_of(START, 3)

    play(story)


def test_a_month_that_ends_within_an_open_session_is_signed_in_it_and_not_before(play):
    async def story(sides, part):
        signed, end_ms, asked = asyncio.Event(), begin_of(START, 2), []
        sides.receipting.pick = lambda least, most: asked.append((least, most)) or 0.01

        async def settle():
            await sides.settle()
            signed.set()

        sides.saw(Kind.AUDITED, 1)
        sides.clock.ms = end_ms - 10
        async with asyncio.TaskGroup() as group:
            attending = group.create_task(sides.receipting.attend(sides.link.session, settle))
            for ms in (end_ms - 5, end_ms + 9):  # it is looked at in between: the timers of 20 ms and less are real
                sides.clock.ms = ms
                await passing(sides)
                assert not signed.is_set()
            sides.clock.ms = end_ms + 10
            await signed.wait()
            assert [shown.said.number for shown in sides.mine.own(Keep.OWNER) if shown.is_cosigned] == [1]
            assert part.shelf.own(Keep.HOST) == sides.mine.own(Keep.OWNER)
            assert asked == [(0, MONTH_END_JITTER_S)]
            # The next month's end is a month away; the session's is now.
            await sides.link.session.end()
            await attending

    play(story)


async def passing(sides):
    """Return when the clock was looked at twice."""
    looks, looked = sides.clock.now_ms, asyncio.Event()
    count = 0

    def look():
        nonlocal count
        count += 1
        if count == 2:
            looked.set()
        return looks()

    sides.clock.now_ms = look
    await looked.wait()
    del sides.clock.now_ms


def test_an_agreement_made_within_a_session_is_attended_to_in_virtual_time(owner, house):
    agreed, settled, clock = [], [], VirtualClock()
    said = Agreement(
        agreement=AGREEMENT, revision=1, previous=ZERO_HASH, owner=owner.peer, host=house.peer, authority=bytes(32),
        repository=RepositoryId(bytes(16)), size_bytes=1, start_ms=START, term_s=60, lock_s=30, availability=0,
        notice_s=20,
    )  # fmt: skip
    signed = sign_statement(said, owner.keys.identity, house.identity)
    state = SimpleNamespace(agreements=lambda: [(AGREEMENT, house.peer, one) for one in agreed])
    receipting = Receipting(state, None, None, shelf=None, gaps=None, clock=clock)
    receipting.pick = lambda _, most: most

    async def story():
        session = SimpleNamespace(peer=house.peer, ended=asyncio.Event())

        async def settle():
            settled.append(clock.now_ms())
            if len(settled) == 2:
                session.ended.set()

        loop = asyncio.get_running_loop()
        loop.call_later(1.5 * MONTH_END_LOOK_S, agreed.append, signed)
        await receipting.attend(session, settle)

    play_virtually(story())
    late_ms = MONTH_END_JITTER_S * 1000
    assert settled == [START + MONTH_MS + late_ms, START + 2 * MONTH_MS + late_ms]


@pytest.mark.parametrize(
    ("kinds", "kept"),
    [
        ([], None),
        ([Kind.CONNECTED, Kind.STORED], None),
        ([Kind.AUDITED], True),
        ([Kind.RESTORED], True),
        ([Kind.AUDITED, Kind.INTEGRITY_FAULT], False),
        ([Kind.AUDITED, Kind.REPORTED_LOSS], None),
        ([Kind.LOST, Kind.REPORTED_LOSS], False),
        ([Kind.AUDITED, Kind.MISBEHAVED, Kind.REFUSED], True),
    ],
)
def test_a_month_is_judged_by_what_was_shown_and_what_was_lost_in_it(kinds, kept):
    peer, first = bytes(32), START // DAY_MS
    seen = [DayCount(peer, first + 29, kind, 1, 0) for kind in kinds]
    assert judge_month(seen, START) is kept
    assert judge_month(seen, START + MONTH_MS + DAY_MS) is None


def test_a_gap_begins_the_row_anew_unless_a_home_was_recovered_and_both_say_so(play):
    async def story(sides, part):
        await sides.live(1)
        await sides.live(3)
        assert sides.mine.own(Keep.OWNER)[0].said.since_ms == begin_of(START, 3)
        # The home is lost in month 4, and brought back in month 5.
        note_recovered(sides.estate.state, begin_of(START, 5) + DAY_MS)
        await sides.live(6)
        newest = sides.mine.own(Keep.OWNER)[0]
        assert (newest.said.number, newest.said.since_ms, newest.is_cosigned) == (6, begin_of(START, 3), True)
        [(note, _)] = part.shelf.gaps(AGREEMENT)
        assert (note.first, note.last, note.by) == (4, 5, sides.estate.vault._keys.peer)
        assert sides.mine.gaps(AGREEMENT) == part.shelf.gaps(AGREEMENT)

    play(story)


def test_a_recovery_explains_no_gap_that_came_after_it(play):
    async def story(sides, part):
        note_recovered(sides.estate.state, START)
        await sides.live(1)
        await sides.live(3)
        assert part.shelf.gaps(AGREEMENT) == []
        assert sides.mine.own(Keep.OWNER)[0].said.since_ms == begin_of(START, 3)

    play(story)


def test_a_host_that_was_away_has_its_gap_signed_by_the_owner_unless_something_was_lost(play):
    async def story(sides, part):
        await sides.live(1)
        note_recovered(sides.house.state, begin_of(START, 2) + DAY_MS)
        sides.pass_months(3)
        signed = part.gaps.explain(sides.terms)
        assert part.gaps.explain(sides.terms) == signed
        whole = sides.receipting.agree_gap(sides.house.peer, AGREEMENT, signed)
        part.gaps.adopt(sides.terms, whole)
        assert part.gaps.explain(sides.terms) == b""
        now_ms = sides.estate.vault.clock.now_ms()
        sides.estate.evidence.record(Observation(sides.house.peer, Kind.LOST, now_ms, 5 * GIB))
        with pytest.raises(RefusedError, match="lost"):
            sides.receipting.agree_gap(sides.house.peer, AGREEMENT, signed)

    play(story)


def test_a_host_that_lost_its_receipts_gets_them_back_with_the_next_proposal_or_by_asking(play):
    async def story(sides, part):
        await sides.live(1, 2)
        part.begin("anew")
        await sides.live(3)
        assert [shown.said.number for shown in part.shelf.own(Keep.HOST)] == [3, 2]
        assert part.shelf.own(Keep.HOST)[0].said.since_ms == START

    play(story)


def test_an_owner_that_lost_its_receipts_asks_its_host_for_them_and_the_row_goes_on(play):
    async def story(sides, part):
        await sides.live(1, 2)
        sides.mine.close()
        sides.mine = sides.open_owner("anew")
        await sides.live(3)
        assert sides.mine.own(Keep.OWNER) == part.shelf.own(Keep.HOST)
        assert sides.mine.own(Keep.OWNER)[0].said.since_ms == START

    play(story)


def test_receipts_are_handed_back_to_the_two_sides_alone_page_by_page(play):
    async def story(sides, part):
        await sides.live(*range(1, 19))
        answer = part.part.tell(sides.estate.vault._keys.peer, GetMyReceipts(agreement=AGREEMENT))
        assert (len(answer.receipts), answer.more) == (16, True)
        rest = await sides.link.ask(GetMyReceipts(agreement=AGREEMENT, after=16), MyReceiptsAre)
        assert (len(rest.receipts), rest.more) == (2, False)
        assert part.part.tell(b"s" * 32, GetMyReceipts(agreement=AGREEMENT)) == MyReceiptsAre()

    play(story)


def test_a_host_signs_nothing_that_is_not_so(play):
    async def story(sides, part):
        await sides.live(1)
        keys = sides.estate.vault._keys
        first = sides.mine.newest(AGREEMENT, Keep.OWNER)
        sides.pass_months(2)

        async def propose(number: int = 2, before=first, **changes) -> bytes:
            fields = {"size_bytes": 10, "kept": True, "private": False, **changes}
            signed = part_of(sides.terms, before, number, keys.identity, fields)
            return (await sides.link.ask(ProposeReceipt(agreement=AGREEMENT, signed=signed), ReceiptSigned)).signed

        for changes, why in (
            ({"size_bytes": 2**40}, "less is kept"),
            ({"number": 3}, "future"),
            ({"number": 2, "before": None}, "does not continue"),
            ({"kept": False}, "nobody signs"),
        ):
            with pytest.raises(RefusedError, match=why):
                await propose(**changes)
        assert len(part.shelf.own(Keep.HOST)) == 1
        assert open_receipt(await propose()).is_cosigned
        # Another word on the same month gets the one that stands.
        assert open_receipt(await propose(size_bytes=9)).said.size_bytes == 10

    play(story)


class Gate:
    """A lock that says who came to it. `came`: released by each, before it waits."""

    def __init__(self) -> None:
        self._lock, self.came = threading.Lock(), threading.Semaphore(0)

    def __enter__(self) -> None:
        self.came.release()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_a_second_word_on_a_month_that_comes_while_the_first_is_written_gets_the_first_ones_signature(
    play, monkeypatch
):
    async def story(sides, part):
        sides.pass_months(1)
        keys, gate, written, may_write = sides.estate.vault._keys, Gate(), threading.Event(), threading.Event()
        keep = part.shelf.keep

        def keep_late(shown, side):
            written.set()
            assert may_write.wait(30)
            keep(shown, side)

        monkeypatch.setattr(part.part, "_signing", gate)
        monkeypatch.setattr(part.shelf, "keep", keep_late)
        words = [
            part_of(sides.terms, None, 1, keys.identity, {"size_bytes": size, "kept": True, "private": False})
            for size in (1, 2)
        ]

        def sign(word):
            return asyncio.to_thread(part.part.sign, keys.peer, ProposeReceipt(agreement=AGREEMENT, signed=word))

        first = asyncio.ensure_future(sign(words[0]))
        assert await asyncio.to_thread(written.wait, 30), "it is checked, and not kept yet"
        second = asyncio.ensure_future(sign(words[1]))
        for _ in words:
            assert await asyncio.to_thread(gate.came.acquire, timeout=30), "both came to one gate"
        may_write.set()
        assert await first == await second
        assert [shown.signed for shown in part.shelf.own(Keep.HOST)] == [await first]

    play(story)


def part_of(terms, before, number, identity, fields) -> bytes:
    return propose_receipt(terms, before, None, identity, number=number, **fields)


def test_a_proposal_by_somebody_else_or_of_another_agreement_breaks_the_protocol(play):
    async def story(sides, part):
        await sides.live(1)
        first = sides.mine.newest(AGREEMENT, Keep.OWNER)
        peer = sides.estate.vault._keys.peer
        forged = first.signed[:-128] + bytes(64)
        for signed in (forged, b"", first.signed):
            with pytest.raises(PeerFault):
                part.part.sign(peer, ProposeReceipt(agreement=AGREEMENT, signed=signed))
        with pytest.raises(NotFoundError):
            part.part.sign(peer, ProposeReceipt(agreement=AgreementId(bytes(16)), signed=first.signed[:-64]))

    play(story)


def test_a_host_that_signs_another_month_than_it_was_asked_for_breaks_the_protocol(play):
    async def story(sides, part):
        await sides.live(1)
        first = sides.mine.newest(AGREEMENT, Keep.OWNER)

        async def lie(peer, channel, message):
            del peer, message
            await channel.send(ReceiptSigned(signed=first.signed))

        part.part.answer = lie
        with pytest.raises(ProtocolViolation, match="another month"):
            await sides.live(2)

    play(story)


def test_an_owner_that_shares_nothing_signs_private_receipts(play):
    async def story(sides, part):
        sides.receipting.is_shared = lambda: False
        await sides.live(1)
        assert part.shelf.own(Keep.HOST)[0].said.private
        assert list(part.shelf.shareable(is_own_shown=True)) == []

    play(story)


def test_own_words_are_the_ledgers_and_the_friends(play):
    async def story(sides, part):
        del part
        sides.clock.ms = START + 20 * DAY_MS
        friend = bytes([7]) * 32
        sides.estate.state.meet(friend, START, verified=True)
        pair, vouch = list(sides.receipting.own_words())
        assert (pair.host, pair.days) == (sides.house.peer, 20.0)
        assert pair.gib == sides.estate.vault.repository.ledger.held_bytes(AGREEMENT) / GIB
        assert (vouch.host, vouch.is_vouch) == (friend, True)

    play(story)


@pytest.mark.parametrize("kind", [None, Kind.MISBEHAVED, Kind.LOST])
def test_who_was_blocked_or_caught_is_no_source_of_what_is_heard(play, kind):
    async def story(sides, part):
        del part
        sides.clock.ms = START + 20 * DAY_MS
        peer = sides.house.peer
        sides.estate.state.meet(peer, START, verified=True)
        assert [word.is_vouch for word in sides.receipting.own_words()] == [False, True]
        if kind is None:
            sides.estate.state.blocks.put(peer, "", START)
        else:
            sides.estate.vault.standing.saw(peer, kind, size_bytes=GIB)
        assert list(sides.receipting.own_words()) == []

    play(story)


def test_an_unsigned_receipt_is_no_countersignature(play):
    async def story(sides, part):
        await sides.live(1)
        sides.saw(Kind.AUDITED, 2)
        sides.pass_months(2)

        async def lie(peer, channel, message):
            del peer
            await channel.send(ReceiptSigned(signed=message.signed))

        part.part.answer = lie
        with pytest.raises(ProtocolViolation, match="lacks"):
            await sides.settle()

    play(story)
