"""A relation of the simulator beside the log that an agent keeps of the same days: they stand alike."""

import random

import pytest
from simulation.relation import Day, Relation

from backuppeer.limits import GIB
from backuppeer.trust.conduct import add_told, find_bar, stand
from backuppeer.trust.evidence import EvidenceLog, Kind, Observation
from backuppeer.trust.score import Fault

PEER = b"h" * 32
DAY_MS = 86_400_000
KINDS = {Fault.PROVEN_LOSS: Kind.LOST, Fault.REPORTED_LOSS: Kind.REPORTED_LOSS, Fault.REFUSED_ONLINE: Kind.REFUSED}


@pytest.fixture
def log(tmp_path):
    log = EvidenceLog(tmp_path / "evidence.db")
    yield log
    log.close()


def see(log: EvidenceLog, number: int, day: Day, relation: Relation) -> None:
    """Write down what an agent would of a day. relation: as it stood before."""
    conduct, time_ms = log.conduct(PEER, now_ms=number * DAY_MS), number * DAY_MS
    lost_bytes = int(day.lost * relation.stored * GIB)
    if day.fault is Fault.REPORTED_LOSS:
        lost_bytes = add_told(conduct, lost_bytes)
    elif day.fault is Fault.PROVEN_LOSS:
        # An agent finds all that it misses each time, and not what is new of it.
        lost_bytes = int((relation.lost_gib + day.lost * relation.stored) * GIB)
    if day.fault is not None:
        log.record(Observation(PEER, KINDS[day.fault], time_ms, lost_bytes))
    elif day.audited and conduct.is_healed:
        log.record(Observation(PEER, Kind.CLEARED, time_ms))
    if day.is_mended and (conduct.failed_ms or lost_bytes):
        log.record(Observation(PEER, Kind.HEALED, time_ms))


def make_days(chance: random.Random, faults: list[Fault | None]):
    for number in range(120):
        fault = chance.choice([None] * 4 + faults) if number else None  # nothing lies there yet
        lost = chance.choice([0.001, 0.02, 0.3, 1.0]) if fault in {Fault.PROVEN_LOSS, Fault.REPORTED_LOSS} else 0.0
        yield Day(4, 4, fault is None, fault, lost, is_mended=chance.random() < 0.2)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "faults", [[Fault.REPORTED_LOSS], [Fault.PROVEN_LOSS], [Fault.REPORTED_LOSS, Fault.REFUSED_ONLINE]]
)
def test_what_stands_against_a_host_is_what_the_log_of_an_agent_says(log, seed, faults):
    relation, caps = Relation(promised=0.95, wants=10), set()
    for number, day in enumerate(make_days(random.Random(seed), faults), start=1):
        see(log, number, day, relation)
        relation.live(number, day)
        conduct = log.conduct(PEER, now_ms=number * DAY_MS)
        assert conduct.told_bytes == pytest.approx(relation.conduct.told_bytes, abs=2 * number)
        ours, theirs = relation.standing(number), stand(conduct, held_bytes=int(relation.stored * GIB))
        assert ours.unresolved_loss == theirs.unresolved_loss
        assert ours.reported_loss_share == pytest.approx(theirs.reported_loss_share, abs=1e-6)
        assert ours.verified_loss_share == pytest.approx(theirs.verified_loss_share, abs=1e-6)
        assert ours.relapsed == theirs.relapsed
        assert find_bar(ours) is find_bar(theirs)
        caps.add((ours.reported_loss_share > 0.01, ours.verified_loss_share > 0.01, find_bar(ours)))
    assert len(caps) > 1, "a year without a loss would show nothing"


def test_a_host_whose_disk_died_and_that_says_so_is_capped_and_gets_data_again():
    relation = Relation(promised=0.95, wants=10)
    for number in range(60):
        relation.live(number, Day(4, 4, audited=True))
    relation.live(60, Day(4, 4, audited=False, fault=Fault.REPORTED_LOSS, lost=1.0))
    assert relation.trust(60) == 0.3
    assert relation.stored == 1.0, "a stranger that has shown nothing of it"
    relation.live(61, Day(4, 4, audited=True, is_mended=True))
    assert relation.stored == 10.0
    relation.live(62, Day(4, 4, audited=True))
    assert relation.trust(62) > 0.3
