"""What a person says of how much may lie with a host: a cap lifts, and never gives less."""

import pytest

from agent.loops import SetClock
from backuppeer.agent.commands.capping import set_cap
from backuppeer.agent.home.state import State
from backuppeer.agent.repute.exposing import UNCAPPED, Exposing, Lying
from backuppeer.agent.repute.standing import Standing
from backuppeer.errors import UserError
from backuppeer.ids import PeerId
from backuppeer.limits import GIB
from backuppeer.trust.evidence import EvidenceLog, Kind, Observation

EVE = PeerId(b"e" * 32)


def test_less_than_may_lie_there_anyway_is_refused_and_the_way_to_give_less_is_named(tmp_path):
    state, log, clock = State(tmp_path / "state.db"), EvidenceLog(tmp_path / "evidence.db"), SetClock()
    exposing = Exposing(state, Standing(state, log, clock), clock, lambda _: Lying())
    for text in ("0", "1000000", str(GIB - 1)):
        with pytest.raises(UserError, match=r"a cap only lifts: 1\.07 GB of yours may lie with my eve") as caught:
            set_cap(exposing, EVE, text, name="my eve")
        assert "peers resize 'my eve' SIZE" in caught.value.hint
        assert exposing.lifted(EVE) is None
    set_cap(exposing, EVE, str(50 * GIB), name="eve")
    set_cap(exposing, EVE, str(10 * GIB), name="eve")
    assert exposing.cap(EVE) == 10 * GIB, "less than was lifted to before is more than none"
    log.record(Observation(EVE, Kind.AUDITED, clock.now_ms(), 5 * GIB))
    with pytest.raises(UserError, match=r"21\.5 GB"):
        set_cap(exposing, EVE, str(10 * GIB), name="eve")
    set_cap(exposing, EVE, "none", name="eve")
    assert exposing.lifted(EVE) == UNCAPPED
    set_cap(exposing, EVE, "default", name="eve")
    assert exposing.lifted(EVE) is None
    log.close()
    state.close()
