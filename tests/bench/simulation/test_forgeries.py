"""Forged proofs of the simulator: of every crime, each of which would convict if the host had signed it."""

import random

import pytest
from simulation.forgeries import Case, count_accepted, forge, is_convicted, make_case

from backuppeer.proof.misbehaviour import Crime


@pytest.mark.parametrize("crime", Crime)
def test_a_forged_proof_of_each_crime_is_refused_and_the_true_one_convicts(crime):
    case = make_case(random.Random(crime.value), crime)
    true = case.accuse(case.convicting(case.court.host))
    assert is_convicted(true)
    forged = [case.accuse(signed) for signed in forge(case)]
    assert {type(charge) for charge in forged} == {type(true)}
    assert not [charge for charge in forged if is_convicted(charge)]
    assert not is_convicted(case.accuse(case.harmless())), "what an honest host signs convicts nobody"


def test_all_crimes_are_forged(monkeypatch):
    seen = []
    convicting = Case.convicting
    monkeypatch.setattr(Case, "convicting", lambda case, by: seen.append(case.charge) or convicting(case, by))
    assert count_accepted(random.Random(1), 20) == (0, 0)
    assert len({type(charge) for charge in seen}) == len(Crime)
