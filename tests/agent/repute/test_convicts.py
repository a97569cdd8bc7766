"""Proofs of others: when the host lied, what is known already, and what no crowd of proofs hides."""

import msgspec
import pytest
from court import DAY_MS, LIE, Court
from parties import NOW_MS

from agent.loops import SetClock
from agent.repute.shelved import key, peer
from backuppeer.agent.repute.convicts import Convicts
from backuppeer.agent.repute.shelf import Shelf
from backuppeer.limits import PROOFS_KEPT
from backuppeer.proof.audits import AuditChallenge
from backuppeer.proof.charges import pack_charge
from backuppeer.proof.statements import peek_statement, sign_statement
from backuppeer.trust.conduct import Bar, find_bar, stand
from backuppeer.trust.evidence import EvidenceLog, Kind, Observation

DELIVERER = peer(900)
NOW = NOW_MS + 30 * DAY_MS


class Home:
    def __init__(self, folder) -> None:
        self.clock, self.folder = SetClock(), folder / "proofs"
        self.clock.ms = NOW
        self.folder.mkdir()
        self.shelf, self.evidence = Shelf(folder / "receipts.db"), EvidenceLog(folder / "evidence.db")
        self.convicts = Convicts(self.shelf, self.evidence, self.folder, self.clock)

    def hear(self, charge, court: Court, deliverer=DELIVERER) -> bool:
        return self.convicts.convict(pack_charge(charge), deliverer=deliverer, hosts={court.host.public})

    def bar(self, court: Court) -> Bar | None:
        conduct = self.evidence.conduct(court.host.public, now_ms=self.clock.ms)
        return find_bar(stand(conduct, held_bytes=1))

    def forgive(self, court: Court) -> None:
        self.evidence.record(Observation(court.host.public, Kind.FORGIVEN, self.clock.ms))

    def write(self, name: str, charge) -> None:
        (self.folder / f"{name}.proof").write_bytes(pack_charge(charge))


@pytest.fixture
def home(tmp_path):
    made = Home(tmp_path)
    yield made
    made.shelf.close()
    made.evidence.close()


def backdate(court: Court, time_ms: int):
    charge = court.wrong_answer()
    return court.wrong_answer(
        answer=court.lie(charge.challenge, None, LIE, time_ms=time_ms), challenge=charge.challenge
    )


@pytest.mark.parametrize("time_ms", [1, NOW_MS - 300 * DAY_MS, NOW + 5000 * DAY_MS])
def test_a_lie_is_dated_by_what_its_owner_had_signed_whatever_date_the_liar_gives_it(home, time_ms):
    court = Court()
    assert home.hear(backdate(court, time_ms), court)
    (noted,) = home.evidence.latest(court.host.public)
    assert NOW_MS + 8 * DAY_MS <= noted.time_ms <= NOW
    assert home.bar(court) is Bar.LIED


@pytest.mark.parametrize("crime", ["older-head", "two-heads"])
def test_heads_are_dated_by_their_owner_too(home, crime):
    court = Court()
    charge = {"older-head": court.older_head(held=court.held(time_ms=1)), "two-heads": court.two_heads()}[crime]
    assert home.hear(charge, court)
    assert home.bar(court) is Bar.LIED


def test_who_dates_its_question_ahead_makes_a_lie_no_younger(home):
    court = Court()
    asked = peek_statement(AuditChallenge, court.challenge())
    ahead = sign_statement(msgspec.structs.replace(asked, time_ms=NOW + 300 * DAY_MS), court.owner)
    charge = court.wrong_answer(challenge=ahead, answer=court.lie(ahead, None, LIE))
    home.hear(charge, court)
    assert home.evidence.latest(court.host.public)[0].time_ms == NOW_MS + 9 * DAY_MS


def test_what_was_forgiven_stays_so_though_the_own_proof_comes_back_as_it_was_or_packed_anew(home):
    court = Court()
    charge = court.wrong_answer()
    home.write("wrong-answer", charge)
    home.evidence.record(Observation(court.host.public, Kind.MISBEHAVED, NOW))
    home.clock.ms += DAY_MS
    home.forgive(court)
    home.clock.ms += DAY_MS
    repacked = court.wrong_answer(agreements=[court.agree(), court.agree(2)])
    assert pack_charge(repacked) != pack_charge(charge)
    assert [home.hear(one, court) for one in (charge, repacked)] == [False, False]
    assert home.bar(court) is None


def test_what_was_forgiven_of_others_stays_so_and_a_later_lie_is_none_of_it(home):
    court = Court()
    assert home.hear(court.wrong_answer(), court)
    home.forgive(court)
    assert not home.hear(court.wrong_answer(agreements=[court.agree(), court.agree(2)]), court)
    assert home.bar(court) is None
    assert home.convicts.hosts() == set(), "so it is heard if it lies again"
    home.clock.ms += 9 * DAY_MS
    assert home.hear(backdate(court, NOW + 2 * DAY_MS), court)
    assert home.bar(court) is Bar.LIED


def test_a_flood_of_proofs_keeps_no_true_one_out(home):
    for number in range(PROOFS_KEPT):
        court = Court(host=key(100 + number))
        assert home.hear(court.wrong_answer(), court, peer(900 + number % 4))
    victim = Court(host=key(99))
    assert home.hear(victim.wrong_answer(), victim, peer(910))
    assert home.bar(victim) is Bar.LIED
    assert victim.host.public in home.convicts.hosts()
    assert len(home.shelf.proofs()) == PROOFS_KEPT
    # And from one that brought its share already.
    other = Court(host=key(98))
    assert home.hear(other.wrong_answer(), other, peer(900))
    assert home.bar(other) is Bar.LIED


def test_a_proof_that_had_to_make_way_and_is_heard_again_is_noted_once(home):
    court = Court()
    assert home.hear(court.wrong_answer(), court)
    home.shelf.forget_old(NOW + 300 * DAY_MS)
    assert not home.hear(court.wrong_answer(), court)
    assert len(home.evidence.latest(court.host.public)) == 1
    assert home.convicts.hosts() == {court.host.public}


def test_losses_that_were_admitted_hide_no_lie(home):
    court, other = Court(), Court(host=key(50))
    for number in range(PROOFS_KEPT + 1):
        home.write(f"lost-pack-{number:03}", court.lost_pack())
    home.write("wrong-answer", court.wrong_answer())
    home.hear(other.wrong_answer(), other)
    known = home.convicts.known(is_own_shown=True)
    assert [host for host, _ in known] == [court.host.public, other.host.public]
    assert home.convicts.load(proof for _, proof in known)[0] == pack_charge(court.wrong_answer())
    assert [host for host, _ in home.convicts.known(is_own_shown=False)] == [other.host.public]


def test_a_lie_that_counts_no_more_is_shown_to_nobody(home):
    court = Court()
    home.write("wrong-answer", court.wrong_answer())
    home.evidence.record(Observation(court.host.public, Kind.MISBEHAVED, NOW))
    assert home.convicts.hosts() == {court.host.public}
    home.clock.ms += 181 * DAY_MS
    assert home.convicts.known(is_own_shown=True) == []
    assert home.convicts.hosts() == set()
