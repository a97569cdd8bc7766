"""What receipts and vouches are worth: words for `hearsay`. Pure.

Knows: months, gaps, forks, how long a word counts. Must not know: signatures (they were checked), databases, sessions.

    a row of months counts by its newest receipt, until CURRENT after that month: then a month is missing at its end
    of two receipts of one pair that contradict each other none counts: two for one month, or a row that reaches back
    over a month in which it had begun anew
    a claim of a failure counts longer, as a proof does
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from backuppeer.clock import DAY_S
from backuppeer.ids import AgreementId, PeerId
from backuppeer.limits import CLAIM_COUNTS_DAYS, CLOCK_SKEW_S, GIB, RECEIPT_COUNTS_DAYS
from backuppeer.proof.receipts import MONTH_MS, Receipt, Shown, Vouch
from backuppeer.trust.hearsay import Word

_DAY_MS: Final = DAY_S * 1000


class Month(NamedTuple):
    """What a verified receipt says of a pair; see `proof.receipts.Receipt`. A tuple: a home keeps 100,000 of them."""

    owner: PeerId
    host: PeerId
    agreement: AgreementId
    number: int
    hash: bytes
    since_ms: int
    until_ms: int
    size_bytes: int
    kept: bool = True
    is_cosigned: bool = True


def month_of(shown: Shown) -> Month:
    """Return what a receipt says."""
    said = shown.said
    return Month(
        PeerId(said.owner),
        PeerId(said.host),
        AgreementId(said.agreement),
        said.number,
        shown.hash,
        since_ms=said.since_ms,
        until_ms=said.until_ms,
        size_bytes=said.size_bytes,
        kept=said.kept,
        is_cosigned=shown.is_cosigned,
    )


def find_fault(said: Receipt | Vouch, now_ms: int) -> str:
    """Return why a verified statement can't be true yet, "" if it can: its time is to come."""
    said_ms = said.until_ms if isinstance(said, Receipt) else said.time_ms
    return "it is dated in the future" if said_ms > now_ms + CLOCK_SKEW_S * 1000 else ""


def contradict(one: Month, other: Month) -> bool:
    """Return whether two receipts of one pair can't both be true."""
    if (one.owner, one.host, one.agreement) != (other.owner, other.host, other.agreement):
        return False
    early, late = sorted((one, other), key=lambda month: month.number)
    if early.number == late.number:
        return early.hash != late.hash
    # Months are counted from one start, so their times differ as their numbers do.
    is_one_start = late.until_ms - early.until_ms == (late.number - early.number) * MONTH_MS
    return not is_one_start or (late.kept and early.kept and late.since_ms < early.since_ms)


def is_current(month: Month, now_ms: int) -> bool:
    """Return whether a receipt counts today: its row of months was not broken since, or its claim is not too old."""
    days = RECEIPT_COUNTS_DAYS if month.kept else CLAIM_COUNTS_DAYS
    return month.until_ms - CLOCK_SKEW_S * 1000 <= now_ms <= month.until_ms + days * _DAY_MS


def words_of(months: Iterable[Month], now_ms: int) -> Iterator[Word[PeerId]]:
    """Yield what receipts say, in whatever order they are: one word for each row of months, claim, or side of it."""
    pairs: dict[tuple[PeerId, PeerId, AgreementId], list[Month]] = {}
    for month in months:
        pairs.setdefault(month[:3], []).append(month)
    for its in pairs.values():
        if len(its) == 1:
            if is_current(its[0], now_ms):
                yield _word(its[0])
        elif not any(contradict(a, b) for at, a in enumerate(its) for b in its[:at]):
            yield from _newest_words(its, now_ms)


def _newest_words(its: list[Month], now_ms: int) -> Iterator[Word[PeerId]]:
    # The newest of each sort: an older one of the same row says less, one of a row before the gap nothing.
    newest: dict[tuple[bool, bool], Month] = {}
    for month in sorted(its, key=lambda month: month.number):
        newest[not month.kept, not month.is_cosigned] = month
    yield from (_word(month) for _, month in sorted(newest.items()) if is_current(month, now_ms))


def word_of(vouch: Vouch, now_ms: int) -> Word[PeerId] | None:
    """Return what a vouch says today; None: it is over, or was taken back."""
    if not vouch.time_ms - CLOCK_SKEW_S * 1000 <= now_ms < vouch.until_ms:
        return None
    return Word(PeerId(vouch.voucher), PeerId(vouch.peer), 0.0, 0.0, is_vouch=True)


def _word(month: Month) -> Word[PeerId]:
    days = (month.until_ms - month.since_ms) / _DAY_MS
    return Word(
        month.owner,
        month.host,
        days,
        month.size_bytes / GIB,
        is_cosigned=bool(month.is_cosigned),
        is_claim=not month.kept,
    )
