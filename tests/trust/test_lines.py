"""What was seen of an identity counts for its heirs, to the last bit, however a history is cut."""

import tempfile
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.ids import PeerId
from backuppeer.limits import GIB
from backuppeer.trust.conduct import stand
from backuppeer.trust.contacts import Contact
from backuppeer.trust.evidence import EvidenceLog, Kind, Observation
from backuppeer.trust.history import recount
from backuppeer.trust.lines import Lines
from backuppeer.trust.score import Standing, score_host
from backuppeer.trust.tenants import Deed
from trust.test_compaction import ACTS

DAY_MS = 86_400_000
NOW_MS = 20_000 * DAY_MS + DAY_MS // 3
NAMES = tuple(PeerId(letter * 32) for letter in (b"a", b"b", b"c"))
WHOLE = PeerId(b"w" * 32)


def test_a_line_is_who_is_asked_of_and_all_whose_heir_it_is():
    lines = Lines()
    a, b, c = NAMES
    assert (lines.of(a), lines.newest(a), lines.steps(a), len(lines)) == ((a,), a, 0, 0)
    lines.follow(b, c)
    lines.follow(a, b)
    lines.follow(a, b)
    assert lines.of(c) == (c, b, a)
    assert lines.heirs(a) == (b, c)
    assert (lines.newest(a), lines.steps(c), len(lines)) == (c, 2, 2)
    assert lines.heir(c) is None


seen = st.builds(
    lambda age, kind, size: Observation(WHOLE, kind, NOW_MS - age * DAY_MS // 2, size * GIB),
    st.integers(0, 800),
    st.one_of(st.sampled_from(ACTS), st.sampled_from(list(Kind))),
    st.integers(0, 9),
)
contacted = st.builds(
    lambda age, is_made: Contact(WHOLE, NOW_MS - age * DAY_MS // 2, is_made, True, sent_bytes=age),
    st.integers(0, 200),
    st.booleans(),
)
histories = st.lists(st.one_of(seen, contacted), max_size=30)


def judge(log, peer, now_ms=NOW_MS):
    """Return all that anybody makes of what was seen of a peer."""
    conduct, evidence = log.conduct(peer, now_ms=now_ms), log.summarise(peer, now_ms=now_ms, promised=0.9)
    history = recount(log, peer, now_ms=now_ms)
    trust = score_host(replace(evidence, standing=stand(conduct, held_bytes=GIB)))
    shown = [log.days(peer, now_ms=now_ms), log.windows(peer, now_ms=now_ms), log.has_evidence(peer), conduct]
    shown += [replace(history, contacts=[]), [replace(contact, peer=WHOLE) for contact in history.contacts]]
    return [*shown, evidence.availability, *(pytest.approx(part) for part in (trust, evidence.alpha, evidence.beta))]


def write(log, names, cuts, history):
    """Write a history, oldest first, under one name after the other; cuts: where the next one begins."""
    for place, one in enumerate(sorted(history, key=lambda one: one.time_ms)):
        name = names[min(len(names) - 1, sum(cut <= place for cut in cuts))]
        log.record(replace(one, peer=name)) if isinstance(one, Observation) else log.contacts.record(
            replace(one, peer=name)
        )


def with_logs(check):
    with tempfile.TemporaryDirectory() as folder:
        cut, whole = EvidenceLog(Path(folder) / "cut.db"), EvidenceLog(Path(folder) / "whole.db")
        check(cut, whole)
        cut.close()
        whole.close()


@pytest.mark.slow
@given(histories, st.lists(st.integers(0, 30), min_size=2, max_size=2), st.booleans())
def test_an_heir_is_judged_as_if_its_history_had_never_been_cut(history, cuts, is_late) -> None:
    def check(cut, whole):
        write(whole, [WHOLE], [], history)
        if is_late:
            write(cut, NAMES, cuts, history)
            judge(cut, NAMES[2])
        cut.lines.follow(NAMES[0], NAMES[1])
        cut.lines.follow(NAMES[1], NAMES[2])
        if not is_late:
            write(cut, NAMES, cuts, history)
        for ahead in (0, 90, 400):
            assert judge(cut, NAMES[2], NOW_MS + ahead * DAY_MS) == judge(whole, WHOLE, NOW_MS + ahead * DAY_MS)
        for log in (cut, whole):
            log.compact(now_ms=NOW_MS + 100 * DAY_MS)
        assert judge(cut, NAMES[2])[:4] == judge(whole, WHOLE)[:4], "condensed"

    with_logs(check)


@given(histories, histories)
def test_whoever_goes_on_as_another_sheds_nothing(before, after) -> None:
    def check(log, other):
        write(log, [NAMES[0]], [], before)
        write(log, [NAMES[1]], [], after)
        write(other, [NAMES[1]], [], after)
        bad = log.summarise(NAMES[0], now_ms=NOW_MS).beta
        log.lines.follow(NAMES[0], NAMES[1])
        heir = log.summarise(NAMES[1], now_ms=NOW_MS)
        # On a day that both have, the worse of two faults counts, and the bytes of both.
        days = {one.time_ms // DAY_MS for one in chain(before, after)}
        shared = len(days) < len({one.time_ms // DAY_MS for one in before}) + len({o.time_ms // DAY_MS for o in after})
        assert shared or heir.beta >= bad - 1e-9
        assert shared or heir.beta >= other.summarise(NAMES[1], now_ms=NOW_MS).beta - 1e-9

    with_logs(check)


def test_what_is_seen_of_an_old_name_later_reaches_the_heir_that_was_scored_already(tmp_path):
    log = EvidenceLog(tmp_path / "evidence.db")
    log.lines.follow(NAMES[0], NAMES[1])
    log.lines.follow(NAMES[1], NAMES[2])
    assert log.conduct(NAMES[2], now_ms=NOW_MS).lied_ms == 0
    log.record(Observation(NAMES[0], Kind.MISBEHAVED, NOW_MS - DAY_MS))
    assert log.conduct(NAMES[2], now_ms=NOW_MS).lied_ms == NOW_MS - DAY_MS
    assert stand(log.conduct(NAMES[2], now_ms=NOW_MS), held_bytes=0) == Standing(misbehaviour=True)
    assert log.has_noted(NAMES[2], Kind.MISBEHAVED, NOW_MS - DAY_MS)
    assert [one.kind for one in log.latest(NAMES[2])] == [Kind.MISBEHAVED]
    log.close()


def test_what_an_heir_does_says_nothing_of_the_old_name(tmp_path):
    log = EvidenceLog(tmp_path / "evidence.db")
    log.lines.follow(NAMES[0], NAMES[1])
    log.record(Observation(NAMES[1], Kind.AUDITED, NOW_MS, GIB))
    assert log.has_evidence(NAMES[1])
    assert not log.has_evidence(NAMES[0]), "whoever has the old key earns nothing by it"
    log.close()


def test_days_on_which_an_owner_did_something_are_counted_once_under_all_its_names(tmp_path):
    log = EvidenceLog(tmp_path / "evidence.db")
    log.lines.follow(NAMES[0], NAMES[1])
    for name, day in ((0, 0), (1, 0), (1, 1)):
        log.tenants.note(NAMES[name], Deed.DELETED, NOW_MS + day * DAY_MS)
    assert log.tenants.count(NAMES[1]) == {Deed.DELETED: 2}
    log.close()


def test_what_was_forgiven_under_the_new_name_stays_so_when_the_old_ones_days_are_condensed(tmp_path):
    log, ago_ms = EvidenceLog(tmp_path / "evidence.db"), NOW_MS - 100 * DAY_MS
    log.lines.follow(NAMES[0], NAMES[1])
    for name, kind, gib in ((0, Kind.LOST, 9), (1, Kind.FORGIVEN, 0), (0, Kind.LOST, 1)):
        log.record(Observation(NAMES[name], kind, ago_ms, gib * GIB))
    before = log.conduct(NAMES[1], now_ms=NOW_MS)
    assert before.lost_bytes == GIB
    log.compact(now_ms=NOW_MS)
    log.lines.watchers[0](NAMES[1])
    assert log.conduct(NAMES[1], now_ms=NOW_MS) == before
    log.close()
