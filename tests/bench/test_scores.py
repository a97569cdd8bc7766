"""The scores that the benchmark keeps up are those that it would find anew."""

import random

import pytest
from scores import DAY, OWN_HOSTS, Opinions, make_word, make_words

from backuppeer.trust.score import DayEvidence
from backuppeer.trust.tally import Tally


def test_scores_after_a_receipt_and_an_own_day_are_those_made_anew_of_all():
    chance = random.Random(3)
    peers = [chance.randbytes(32) for _ in range(200)]
    tallies = {peer: Tally(chance.uniform(0, 16), chance.uniform(0, 1), DAY - 3) for peer in peers}
    words = list(make_words(peers, chance))
    kept = Opinions(iter(words), dict(tallies))
    first, changed = dict(kept.scores), 0
    for number in range(40):
        words.append(make_word(peers[number % OWN_HOSTS], peers, chance))
        changed += kept.hear(words[-1])
        unit = DayEvidence(0.0, 10.0)
        kept.see(peers[number], unit)
        tallies[peers[number]] = tallies[peers[number]].add(unit, day=DAY)
    anew = Opinions(iter(words), tallies)
    assert kept.scores == pytest.approx(anew.scores)
    assert changed > 40, "receipts that change nothing would prove nothing"
    assert sum(kept.scores[peer] != first[peer] for peer in peers) > 40
