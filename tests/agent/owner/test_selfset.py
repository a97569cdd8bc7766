"""What a home carries along with its snapshots, and what another home takes back of it."""

from functools import partial

import msgspec
import pytest

from agent.loops import SetClock
from backuppeer.agent.home.handover import Opener, begin_succession, follow_succession
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.keyring import create_identity, load_keys, recover_identity
from backuppeer.agent.home.state import State
from backuppeer.agent.host.authorities import find_authority
from backuppeer.agent.host.premises import Premises
from backuppeer.agent.owner.selfset import NAME, SelfSet, TakenBack, find_newest
from backuppeer.agent.repute.heirlooms import follow_carried
from backuppeer.agent.repute.heirs import Heirs
from backuppeer.agent.repute.shelf import Shelf
from backuppeer.agent.repute.shelves import Keep
from backuppeer.agent.repute.standing import Standing
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import AuthenticationFault
from backuppeer.ids import AgreementId, PeerId, RepositoryId, SnapshotId
from backuppeer.limits import EXTENSION_BYTES, GIB, SELF_SET_PEERS, SUCCESSIONS_TOLD
from backuppeer.proof.receipts import Receipt, open_receipt, propose_receipt
from backuppeer.proof.statements import ZERO_HASH, Agreement, add_signature, peek_statement, sign_statement
from backuppeer.proof.succession import HOST_AUTHORITY, Succession
from backuppeer.repo.snapshot import Snapshot, encode_snapshot
from backuppeer.trust.evidence import EvidenceLog, Kind, Observation

MASTER = bytes(range(32))
DAY_MS = 86_400_000
NOW_MS = 20_000 * DAY_MS + 5
HOSTS = [SigningKey.from_seed(bytes(31) + bytes([number])) for number in (1, 2)]


class House:
    def __init__(self, folder, *, is_recovered=False):
        self.home = Home(folder)
        if is_recovered:
            recover_identity(self.home, MASTER)
        else:
            create_identity(self.home, MASTER, SetClock())
        self.keys = load_keys(self.home)
        self.state = State(self.home.state)
        self.evidence = EvidenceLog(folder / "evidence.db")
        self.standing = Standing(self.state, self.evidence, SetClock())
        self.set = SelfSet(self.home, self.state, self.standing, self.keys)
        self.heirs = Heirs(self.state, self.evidence.lines, SetClock())
        premises = Premises(self.state, self.keys.identity, SetClock())
        self.set.follow = partial(follow_carried, self.heirs, partial(find_authority, self.state, premises))

    def agree(self, host, *, number=0, authority=b""):
        said = Agreement(
            agreement=AgreementId(bytes([number]) * 16), revision=1, previous=ZERO_HASH, owner=self.keys.peer,
            host=PeerId(host.public), authority=self.keys.authority, repository=RepositoryId(bytes(16)),
            size_bytes=10**9, start_ms=5, term_s=60, lock_s=30, availability=900, notice_s=20,
            ext={HOST_AUTHORITY: authority} if authority else {},
        )  # fmt: skip
        self.state.put_agreement(said.agreement, said.host, sign_statement(said, self.keys.identity, host))

    def saw(self, peer, kind, *, age=0, size_bytes=0):
        self.evidence.record(Observation(peer, kind, NOW_MS - age * DAY_MS, size_bytes))

    def close(self):
        self.state.close()
        self.evidence.close()


@pytest.fixture
def house(tmp_path):
    made = House(tmp_path / "house")
    made.agree(HOSTS[0])
    made.state.meet(PeerId(HOSTS[0].public), 7, alias="alice", verified=True, whereabouts=b"there")
    made.home.config.write_text('region = "EU"\npassphrase_command = "say it"\n')
    for _ in range(3):
        made.saw(PeerId(HOSTS[0].public), Kind.CONNECTED, age=2)
    made.saw(PeerId(HOSTS[0].public), Kind.STORED, age=2, size_bytes=GIB)
    made.saw(PeerId(HOSTS[0].public), Kind.INTEGRITY_FAULT, age=40)
    yield made
    made.close()


@pytest.fixture
def heir(tmp_path):
    made = House(tmp_path / "heir", is_recovered=True)
    yield made
    made.close()


def test_an_heir_knows_hosts_names_comparisons_evidence_and_settings_again(house, heir):
    host = PeerId(HOSTS[0].public)
    taken = heir.set.take_back(house.set.collect(NOW_MS), NOW_MS)
    assert taken == TakenBack(hosts=[host], peers=1, observations=5, has_settings=True)
    assert heir.state.agreements() == house.state.agreements()
    before, after = house.state.peer(host), heir.state.peer(host)
    assert (after.alias, after.is_verified, after.whereabouts) == (before.alias, True, b"there")
    for ask in (lambda log: log.days(host, now_ms=NOW_MS), lambda log: log.availability(host, now_ms=NOW_MS)):
        assert ask(heir.evidence) == ask(house.evidence)
    assert 'region = "EU"' in heir.home.config.read_text()
    assert "say it" not in heir.home.config.read_text(), "a command of another machine"


def test_taking_back_again_or_by_the_house_itself_changes_nothing(house, heir):
    data = house.set.collect(NOW_MS)
    heir.set.take_back(data, NOW_MS)
    assert heir.set.take_back(data, NOW_MS) == TakenBack(hosts=[], peers=0, observations=0, has_settings=False)
    assert house.set.take_back(data, NOW_MS) == TakenBack(hosts=[], peers=0, observations=0, has_settings=False)
    assert house.set.collect(NOW_MS) == data


def test_what_the_heir_heard_itself_stays(house, heir):
    host = PeerId(HOSTS[0].public)
    heir.state.meet(host, 9, alias="my alice", whereabouts=b"where she is now")
    heir.home.config.write_text('region = "US"\n')
    heir.saw(host, Kind.CONNECTED, age=2)
    taken = heir.set.take_back(house.set.collect(NOW_MS), NOW_MS)
    assert (taken.observations, taken.has_settings) == (2, False)
    assert heir.state.peer(host).whereabouts == b"where she is now"
    assert heir.state.peer(host).is_verified
    assert heir.home.config.read_text() == 'region = "US"\n'


def test_agreements_of_another_identity_or_with_wrong_signatures_are_not_taken(house, heir):
    plain = msgspec.msgpack.decode(house.set.collect(NOW_MS))
    ((host, signed),) = plain["agreements"]
    for bad in ([HOSTS[1].public, signed], [host, signed[:-1] + bytes([signed[-1] ^ 1])], [host, b""]):
        assert heir.set.take_back(msgspec.msgpack.encode({**plain, "agreements": [bad]}), NOW_MS).hosts == []
    assert heir.state.agreements() == []


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x93\1\2\3", msgspec.msgpack.encode({"v": 1, "agreements": 5})])
def test_a_set_that_can_not_be_read_teaches_nothing(heir, data):
    assert heir.set.take_back(data, NOW_MS) == TakenBack()


def test_a_later_set_with_more_fields_and_kinds_is_read_as_far_as_it_is_known(house, heir):
    plain = msgspec.msgpack.decode(house.set.collect(NOW_MS))
    plain["seen"] += [[0, 19_990, 250, 1, 1], [99, 19_990, Kind.STORED.value, 1, 1]]
    assert heir.set.take_back(msgspec.msgpack.encode({**plain, "more": 1}), NOW_MS).observations == 5


@pytest.mark.parametrize("day", [20_003, 2**40, 2**50, 2**63 - 1])
def test_days_that_have_not_been_are_not_taken_back(house, heir, day):
    plain = msgspec.msgpack.decode(house.set.collect(NOW_MS))
    plain["seen"] = [[0, day, Kind.INTEGRITY_FAULT.value, 1, 1], [0, 20_002, Kind.CONNECTED.value, 1, 0]]
    taken = heir.set.take_back(msgspec.msgpack.encode(plain), NOW_MS)
    assert taken.observations == 1, "by a clock that runs a bit ahead, and no other"
    host = PeerId(HOSTS[0].public)
    assert [row.kind for row in heir.evidence.latest(host)] == [Kind.CONNECTED]


@pytest.mark.parametrize("first_seen_ms", [NOW_MS + 1, 2**60, 2**63 - 1])
def test_nobody_was_seen_later_than_now(house, heir, first_seen_ms):
    plain = msgspec.msgpack.decode(house.set.collect(NOW_MS))
    plain["peers"][0][4] = first_seen_ms
    assert heir.set.take_back(msgspec.msgpack.encode(plain), NOW_MS).peers == 1
    found = heir.state.peer(PeerId(HOSTS[0].public))
    assert (found.first_seen_ms, found.last_seen_ms) == (NOW_MS, NOW_MS)


def test_so_many_bytes_in_a_day_that_no_sum_holds_them_do_not_end_what_is_known_of_a_peer(house, heir):
    plain = msgspec.msgpack.decode(house.set.collect(NOW_MS))
    plain["seen"] = [[0, 20_000, Kind.STORED.value, 1, 2**63 - 1]]
    assert heir.set.take_back(msgspec.msgpack.encode(plain), NOW_MS).observations == 1
    host = PeerId(HOSTS[0].public)
    heir.saw(host, Kind.STORED, size_bytes=GIB)
    assert len(heir.evidence.days(host, now_ms=NOW_MS)) == 1
    assert heir.set.collect(NOW_MS)


@pytest.mark.slow
def test_too_much_is_cut_where_it_hurts_least_and_the_snapshot_can_always_be_stored(house, heir):
    for number in range(400):
        peer = PeerId(number.to_bytes(32, "big"))
        house.state.meet(peer, 5, alias=f"peer {number}", whereabouts=bytes(150))
        for age in range(60):
            house.saw(peer, Kind.CONNECTED, age=age)
    house.home.config.write_text("# " + "x" * 2000 + '\nregion = "EU"\n')
    data = house.set.collect(NOW_MS)
    assert len(data) <= EXTENSION_BYTES * 3 // 4
    snapshot = Snapshot(
        tree=bytes(32), time_ns=0, paths=[], host="", user="", tags=[], set="", files=0, dirs=0, bytes=0, program="",
        ext={NAME: data},
    )  # fmt: skip
    assert encode_snapshot(snapshot)
    taken = heir.set.take_back(data, NOW_MS)
    assert taken.hosts == [PeerId(HOSTS[0].public)]
    assert 0 < taken.peers <= SELF_SET_PEERS
    assert heir.state.peer(PeerId(HOSTS[0].public)).is_verified


def test_the_newest_snapshot_that_has_one_is_asked():
    def row(number, **ext):
        made = Snapshot(
            tree=bytes(32), time_ns=0, paths=[], host="", user="", tags=[], set="", files=0, dirs=0, bytes=0,
            program="", ext=ext,
        )  # fmt: skip
        return SnapshotId(bytes([number]) * 32), made

    assert find_newest([]) == b""
    assert find_newest([row(1)]) == b""
    assert find_newest([row(1, self=b"old"), row(2, self=b"new"), row(3)]) == b"new"


def test_no_command_of_the_machine_that_was_lost_is_run_on_the_next(house, heir):
    hooks = "[sets.default]\npaths = ['/home']\n[sets.default.hooks]\nbefore = 'touch /tmp/pwned'\n"
    house.home.config.write_text(hooks)
    assert heir.set.take_back(house.set.collect(NOW_MS), NOW_MS).has_settings
    text = heir.home.config.read_text()
    assert "/home" in text
    assert "pwned" not in text


def go_on(house):
    """Let a home be the next identity of its words."""
    home = house.home
    begin_succession(home, MASTER, Opener(), repository=RepositoryId(bytes(16)), epoch=2, clock=SetClock())
    signed = load_keys(home).heir.succession
    house.state.close()
    follow_succession(home, MASTER, signed, Opener())
    house.keys, house.state = load_keys(home), State(home.state)
    house.set = SelfSet(home, house.state, house.standing, house.keys)


@pytest.mark.parametrize("is_followed", [False, True])
def test_own_receipts_travel_and_come_back(house, heir, tmp_path, is_followed):
    shelves = [Shelf(tmp_path / name) for name in ("lost.db", "new.db")]
    house.set.shelf, heir.set.shelf = shelves
    terms = peek_statement(Agreement, house.state.agreements()[0][2])
    signed = propose_receipt(terms, None, None, house.keys.identity, number=1, size_bytes=10, kept=True, private=False)
    both = open_receipt(add_signature(signed, Receipt, HOSTS[0]))
    shelves[0].keep(both, Keep.OWNER)
    if is_followed:  # the words lead to who this identity went on as: what it earned before is its own
        go_on(heir)
        heir.set.shelf = shelves[1]
    heir.set.take_back(house.set.collect(NOW_MS), NOW_MS)
    assert shelves[1].own(Keep.OWNER) == [both]
    for shelf in shelves:
        shelf.close()


WORDS, THIEF = SigningKey.from_seed(b"w" * 32), SigningKey.from_seed(b"t" * 32)
NEWER = [SigningKey.from_seed(bytes([40 + number]) * 32) for number in range(3)]


def succeed(old, new, *, by=WORDS, generation=2):
    said = Succession(
        authority=by.public, old=PeerId(old.public), new=PeerId(new.public), generation=generation, time_ms=1
    )
    return sign_statement(said, by, new)


def carry(house, heir):
    heir.set.take_back(house.set.collect(NOW_MS), NOW_MS)
    return [(one.old, one.new) for one in heir.state.successions.list_all()]


def test_who_hosts_went_on_as_is_known_again_with_what_was_seen_of_them_before(house, heir):
    old, new, newest = HOSTS[1], *NEWER[:2]
    house.agree(old, number=1, authority=WORDS.public)
    house.state.meet(PeerId(old.public), 9, alias="bob")
    house.saw(PeerId(old.public), Kind.INTEGRITY_FAULT, age=3)
    house.heirs.take(succeed(old, new), WORDS.public)
    house.heirs.take(succeed(new, newest, generation=3), WORDS.public)
    ids = [PeerId(key.public) for key in (old, new, newest)]
    assert carry(house, heir) == [(ids[0], ids[1]), (ids[1], ids[2])]
    assert heir.state.peer(ids[2]).alias == "bob"
    assert heir.standing.has_failed(ids[2])
    assert carry(house, heir) == [(ids[0], ids[1]), (ids[1], ids[2])], "twice changes nothing"


def test_two_heirs_are_in_doubt_again(house, heir):
    house.agree(HOSTS[1], number=1, authority=WORDS.public)
    house.heirs.take(succeed(HOSTS[1], NEWER[0]), WORDS.public)
    with pytest.raises(AuthenticationFault):
        house.heirs.take(succeed(HOSTS[1], NEWER[1]), WORDS.public)
    carry(house, heir)
    assert heir.heirs.is_contested(PeerId(NEWER[0].public))


@pytest.mark.parametrize("authority", [b"", THIEF.public])
def test_a_succession_that_no_agreement_vouches_for_is_not_followed(house, heir, authority):
    house.agree(HOSTS[1], number=1, authority=authority)
    house.heirs.take(succeed(HOSTS[1], NEWER[0]), WORDS.public)
    assert carry(house, heir) == []


def test_nobody_known_by_another_authority_is_taken_for_an_heir(house, heir):
    house.agree(HOSTS[1], number=1, authority=WORDS.public)
    house.agree(NEWER[0], number=2, authority=THIEF.public)
    house.heirs.take(succeed(HOSTS[1], NEWER[0]), WORDS.public)
    assert carry(house, heir) == []


def test_junk_among_successions_is_passed_over_and_no_more_than_a_bound_are_looked_at(house):
    house.agree(HOSTS[1], number=1, authority=WORDS.public)
    good = succeed(HOSTS[1], NEWER[0])
    assert house.set.follow([b"", b"junk", good[:-1] + b"x", good]) == 1
    again = [b"junk"] * (2 * SUCCESSIONS_TOLD)
    assert house.set.follow([*again[1:], good]) == 1
    assert house.set.follow([*again, good]) == 0
