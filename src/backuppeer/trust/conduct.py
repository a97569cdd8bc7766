"""What a host was caught at, and what was made good: which caps of DESIGN 8 follow, who gets no new data. Pure.

Knows: acts in the order in which they were seen. Must not know: where they are written down, what sends packs. The
score of a host fades with time; whether it gets new data does not: it ends by what is listed here, and by nothing else.

    lied       a proof that anybody can judge       180 days, or forgiven
    lost       found out to lack what it was given  healed and then cleared, or forgiven
    failed     wrong or older once                  healed and then cleared, or forgiven
    told       it said itself what it lost          healed and then cleared, or forgiven
    relapsed   failed in two spells within a year   a year after the first, or forgiven (`relapse`)
    silent     tried in vain on more than 14 days   it answers

Healed: it has all that it should again, as far as is known. Cleared: an audit after that found nothing amiss. A host
that fails again in between begins anew. What a host loses below a hundredth of what it keeps is sent again without a
word of a person: disks rot. So is what it says itself that it lost, however much: its score says how much (ADR 94).
"""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from backuppeer.clock import DAY_S, format_time
from backuppeer.trust.score import LOSS_SHARE, Level, Standing
from backuppeer.trust.tally import SILENT_DAYS

LIE_DAYS: Final = 180
BLOCKED: Final = "you blocked it"
DOUBTED: Final = "its safety words differed from yours"
TWO_HEIRS: Final = "its 24 words named two heirs"
SUCCEEDED: Final = "it goes on as"
_SILENT: Final = "it has not answered"


class Act(Enum):
    """What bears on how a host stands."""

    LIED = "lied"
    LOST = "lost"
    FAILED = "failed"
    TOLD = "told"
    HEALED = "healed"
    CLEARED = "cleared"
    FORGIVEN = "forgiven"


class Bar(Enum):
    """Why a host gets no new data."""

    LIED = "lied"
    LOST = "lost"
    DOUBTED = "doubted"
    """Its safety words differed, or its 24 words named two heirs: it may be another than a person takes it for, which
    is no fault of it."""
    SUCCEEDED = "succeeded"
    """It goes on as another (ADR 69): whoever answers as it has an old key."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One act. `size_bytes`: of what was found lost, all together; of what it told, as of `add_told`."""

    act: Act
    time_ms: int
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Conduct:
    """What stands against a host. Times in ms, 0 = nothing; `lost_bytes`: the most that was found lost at once.

    `told_bytes`: the most that it said itself that it lost, until it was healed; `is_told`: nothing else stands against
    it. `is_healed`: it has again what it lost, and no audit has looked since. `relapsed`: see `relapse`.
    """

    lied_ms: int = 0
    failed_ms: int = 0
    lost_bytes: int = 0
    told_bytes: int = 0
    is_told: bool = False
    is_healed: bool = False
    relapsed: bool = False


def sum_up(acts: Iterable[Seen], *, now_ms: int) -> Conduct:
    """Return what stands after these acts, given in the order in which they were seen.

    A time to come counts as now: a clock that was wrong ends nothing early. A lie from before a forgiving is forgiven,
    whenever it is heard of, and from whom.
    """
    stands, forgiven_ms = Conduct(), -1
    for seen in acts:
        time_ms = max(1, min(seen.time_ms, now_ms))  # 0 is "nothing"
        match seen.act:
            case Act.LIED if seen.time_ms >= forgiven_ms:
                stands = replace(stands, lied_ms=max(stands.lied_ms, time_ms))
            case Act.LOST | Act.FAILED | Act.TOLD:
                stands = _fail(stands, seen, time_ms)
            case Act.HEALED:
                stands = replace(stands, is_healed=stands.failed_ms > 0)
            case Act.CLEARED if stands.is_healed:
                stands = Conduct(lied_ms=stands.lied_ms)
            case Act.FORGIVEN:
                stands = Conduct()
                # One that is yet to come was written by a wrong clock, and tells no before.
                forgiven_ms = seen.time_ms if seen.time_ms <= now_ms else forgiven_ms
    if stands.lied_ms and now_ms >= lie_ends_ms(stands):
        stands = replace(stands, lied_ms=0)
    return stands


def _fail(stands: Conduct, seen: Seen, time_ms: int) -> Conduct:
    failed = replace(stands, failed_ms=time_ms, is_healed=False)
    if seen.act is Act.TOLD:
        is_told = stands.is_told or not stands.failed_ms
        return replace(failed, told_bytes=max(stands.told_bytes, seen.size_bytes), is_told=is_told)
    return replace(failed, lost_bytes=max(stands.lost_bytes, seen.size_bytes), is_told=False)


def add_told(conduct: Conduct, size_bytes: int) -> int:
    """Return the bytes that a host's report of a loss counts for: these, and what it reported since it was healed.

    Reports name each pack once. So what stands is their sum, where of findings, which name the same again, the largest.
    """
    return size_bytes + (0 if conduct.is_healed else conduct.told_bytes)


def lie_ends_ms(conduct: Conduct) -> int:
    """Return when a proof of misbehaviour counts no more."""
    return conduct.lied_ms + 1000 * DAY_S * LIE_DAYS


def stand(conduct: Conduct, *, held_bytes: int, blocked: bool = False, silent: bool = False) -> Standing:
    """Return what caps the score. `held_bytes`: what the host is known to keep; 0 with a loss: it lost all.

    silent: it has not answered for longer than a host may be away.
    """
    lost_bytes = conduct.lost_bytes + conduct.told_bytes
    whole = lost_bytes + max(0, held_bytes)
    verified = conduct.lost_bytes / whole if whole else 0.0
    return Standing(
        unresolved_loss=conduct.failed_ms > 0,
        verified_loss_share=verified,
        # What was found out caps by itself, or together with what was told: never twice.
        reported_loss_share=lost_bytes / whole if conduct.told_bytes and verified <= LOSS_SHARE else 0.0,
        misbehaviour=conduct.lied_ms > 0,
        blocked=blocked,
        relapsed=conduct.relapsed,
        silent_beyond_grace=silent,
    )


def find_bar(standing: Standing) -> Bar | None:
    """Return why a host gets no new data; None: it may get some."""
    if standing.misbehaviour:
        return Bar.LIED
    return Bar.LOST if standing.verified_loss_share > LOSS_SHARE else None


def has_lost_much(standing: Standing) -> bool:
    """Return whether a host lost more than disks do, whoever said so."""
    return max(standing.verified_loss_share, standing.reported_loss_share) > LOSS_SHARE


def is_doubted(standing: Standing) -> bool:
    """Return whether other copies are read before those of this host."""
    return standing.misbehaviour or standing.unresolved_loss


def describe_caps(conduct: Conduct, standing: Standing) -> list[str]:
    """Return why a score is capped, each reason a clause about the host, the heaviest first; [] = it is not."""
    said = [BLOCKED] if standing.blocked else []
    if standing.misbehaviour:
        until = _day(lie_ends_ms(conduct))
        said.append(f"it broke its signed word (proven on {_day(conduct.lied_ms)}) and gets no new data until {until}")
    if standing.silent_beyond_grace:
        said.append(f"{_SILENT} on more than {SILENT_DAYS} days on which it was tried")
    if standing.unresolved_loss:
        said.append(_describe_loss(conduct, standing))
    if standing.relapsed:
        said.append("it failed twice within a year, with good weeks between")
    return said


def find_word(level: str, caps: Iterable[str]) -> str:
    """Return the word that people see beside a score: its level, or what tells a host that failed from a newcomer.

    caps: as `describe_caps` says them.
    """
    caps = list(caps)
    if BLOCKED in caps:
        return "blocked"
    if any(text.startswith((DOUBTED, TWO_HEIRS)) for text in caps):
        return "in doubt"
    if any(text.startswith(SUCCEEDED) for text in caps):
        return "succeeded"
    has_failed = any(not text.startswith(_SILENT) for text in caps)
    return "failed" if has_failed and level == Level.UNPROVEN.value else level


def _describe_loss(conduct: Conduct, standing: Standing) -> str:
    when = _day(conduct.failed_ms)
    is_barred = find_bar(standing) is Bar.LOST
    has_much = has_lost_much(standing)
    share = max(1, round(100 * max(standing.verified_loss_share, standing.reported_loss_share)))
    much = f"{share} %" if has_much else "less than 1 %"
    if conduct.is_told:
        what = f"it lost {much if conduct.told_bytes else 'some'} of your data, as it said itself on {when}"
    elif conduct.lost_bytes or has_much:
        what = f"it lost or withheld {much} of your data, found on {when}"
    else:
        what = f"it returned something wrong, lost or older on {when}"
    if conduct.is_healed:
        left = "it was sent again what it lacked, and no audit has found it whole since"
        return f"{what}; {left}" + (": no new data until then" if is_barred else "")
    return f"{what}, and gets no new data" if is_barred else what


def advise(name: str, conduct: Conduct, standing: Standing) -> str:
    """Return the way out for what stands against the host that is called `name`; "" = nothing does."""
    forgive = f"`backup-peer peers forgive {shlex.quote(name)}` once its human explained it"
    if standing.misbehaviour:
        return f"keep your backups with a further host: `backup-peer browse`; or {forgive}"
    if standing.silent_beyond_grace:
        return (
            "ask its human whether it comes back, which ends this as soon as it answers; until then keep a copy with a "
            f"further host: `backup-peer browse`, then `backup-peer peers replace {shlex.quote(name)} NEW` moves all"
        )
    if not standing.unresolved_loss:
        further = "don't let it keep your only copy: `backup-peer browse` shows further hosts; or"
        if standing.relapsed:
            return f"{further} {forgive}"
        return f"`backup-peer unblock {shlex.quote(name)}` takes that back" if standing.blocked else ""
    audit = f"`backup-peer audit {shlex.quote(name)} --now`"
    if conduct.is_healed:
        return f"{audit} ends this if it finds the host whole"
    if find_bar(standing) is Bar.LOST:
        return f"`backup-peer repair` sends it again what it lost, and audits it, which ends this; or {forgive}"
    return f"the next backup sends it again what it lost, and the next audit ends this: {audit}"


def advise_doubted(name: str) -> str:
    """Return the way out for a host called `name` whose safety words differed."""
    typed = shlex.quote(name)
    return (
        f"compare the words with its person: `backup-peer peers verify {typed}`; "
        f"or `backup-peer peers forgive {typed}` once its human explained it"
    )


def _day(time_ms: int) -> str:
    return format_time(time_ms)[:10]
