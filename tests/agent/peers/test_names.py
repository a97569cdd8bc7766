import pytest

from backuppeer.agent.home.state import State
from backuppeer.agent.peers.names import alias_of, check_alias, name_of, read_prefix, resolve_peer
from backuppeer.errors import NotFoundError, UserError
from backuppeer.ids import MIN_PREFIX, PeerId, format_peer_id, shorten_peer_id

ALICE, BOB = PeerId(b"\x01" * 32), PeerId(b"\x01" * 31 + b"\x02")
"""Ids whose texts begin alike."""
CAROL = PeerId(b"\xee" * 32)


@pytest.fixture
def state(tmp_path):
    opened = State(tmp_path / "state.db")
    opened.meet(ALICE, 1, alias="alice")
    opened.meet(BOB, 2)
    yield opened
    opened.close()


def test_an_alias_an_id_and_a_prefix_name_a_peer(state):
    assert resolve_peer(state, "alice") == ALICE
    assert resolve_peer(state, f" {format_peer_id(CAROL)}\n") == CAROL, "a whole id needs no acquaintance"
    state.meet(CAROL, 3)
    assert resolve_peer(state, shorten_peer_id(CAROL)) == CAROL
    assert resolve_peer(state, shorten_peer_id(CAROL).upper()) == CAROL


def test_a_prefix_finds_hosts_that_were_heard_of_by_browsing(state):
    state.put_heard([CAROL])
    assert resolve_peer(state, format_peer_id(CAROL)[: 3 + MIN_PREFIX]) == CAROL


def test_a_prefix_that_is_too_short_is_refused_even_if_it_fits_one(state):
    state.meet(CAROL, 3)
    with pytest.raises(UserError, match="too short"):
        resolve_peer(state, format_peer_id(CAROL)[: 3 + MIN_PREFIX - 1])


def test_a_prefix_that_fits_two_peers_is_refused(state):
    with pytest.raises(UserError, match="fits 2 peers"):
        resolve_peer(state, format_peer_id(ALICE)[:20])


def test_every_mistyped_character_of_an_id_is_noticed(state):
    text = format_peer_id(CAROL)
    for at in range(3, len(text)):
        typo = text[:at] + ("q" if text[at] != "q" else "p") + text[at + 1 :]
        with pytest.raises(UserError):
            resolve_peer(state, typo)


def test_an_unknown_name_or_prefix_is_not_found(state):
    for text in ("dave", "", "bp1qqqqqqqqqqqqqq", "alic"):
        with pytest.raises(NotFoundError):
            resolve_peer(state, text)


@pytest.mark.parametrize(
    "alias", ["bp1xyz", "BP1XYZ", " ", "a\nb", "a\x1b[31m", "../x", "-x", "x" * 65, " bob", "bob "]
)
def test_an_alias_that_could_be_read_as_an_id_or_can_not_be_typed_is_refused(state, alias):
    with pytest.raises(UserError):
        check_alias(state, alias, CAROL)


def test_an_alias_belongs_to_one_peer(state):
    with pytest.raises(UserError, match="already"):
        check_alias(state, "alice", BOB)
    check_alias(state, "alice", ALICE)
    check_alias(state, "", BOB)


def test_the_name_of_a_peer_is_its_alias_else_the_start_of_its_id(state):
    assert (name_of(state, ALICE), alias_of(state, ALICE)) == ("alice", "alice")
    assert (name_of(state, BOB), alias_of(state, BOB)) == (shorten_peer_id(BOB), "")
    assert name_of(state, CAROL) == shorten_peer_id(CAROL)


def test_meeting_again_takes_nothing_away_and_never_costs_another_peer_its_record(state):
    state.meet(ALICE, 5, verified=True, whereabouts=b"w")
    state.meet(ALICE, 4)
    record = state.peer(ALICE)
    assert (record.alias, record.is_verified, record.whereabouts) == ("alice", True, b"w")
    assert (record.first_seen_ms, record.last_seen_ms) == (1, 5)
    state.meet(BOB, 6, alias="alice")
    assert state.peer(ALICE) == record
    assert state.peer(BOB).alias == ""


def test_the_start_of_a_peer_id_is_read_in_either_case_and_other_text_is_none():
    whole = format_peer_id(CAROL)
    for text in (whole, whole[: 3 + MIN_PREFIX]):
        assert read_prefix(text) == read_prefix(text.upper()) == text
    assert [read_prefix(text) for text in ("", "carol", "beef")] == [""] * 3
    for text in ("bp1", whole[: 3 + MIN_PREFIX - 1], whole[:-1] + "1"):
        with pytest.raises(UserError):
            read_prefix(text)
