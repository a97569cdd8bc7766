import pytest

from agent.houses import OwnerHouse
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.keyring import HomeKeys, load_keys, recover_identity
from backuppeer.agent.home.state import State
from backuppeer.agent.owner.heads import HeadChain
from backuppeer.crypto.identity import SigningKey
from backuppeer.crypto.keys import derive_authority
from backuppeer.errors import (
    AuthenticationFault,
    DamagedStateError,
    IntegrityFault,
    LocalError,
    PeerFault,
    RefusedError,
)
from backuppeer.ids import BlobId, DeviceId, LogicalId, RepositoryId
from backuppeer.proof.statements import WriterGrant, sign_statement, statement_hash
from backuppeer.repo.head import Inventory, check_inventory

INDEX = BlobId(b"i" * 32)


def inventory(*packs: int) -> Inventory:
    return Inventory(snapshots=(), packs=tuple(LogicalId(bytes([n]) * 16) for n in packs))


def chain_of(owner: OwnerHouse, state: State | None = None) -> HeadChain:
    return HeadChain(state or owner.state, owner.keys, owner.keys.repository, owner.clock)


@pytest.fixture
def chain(owner):
    return chain_of(owner)


@pytest.fixture
def elsewhere(owner, tmp_path):
    """Another memory of the same home: what a restored or second copy of the machine would have."""
    state = State(tmp_path / "elsewhere.db")
    yield chain_of(owner, state)
    state.close()


def rows(chain):
    return chain._state.heads_after(chain._repository, 0)


def test_heads_follow_each_other_and_commit_to_the_inventory(chain):
    assert chain.newest() is None
    first = chain.extend(INDEX, inventory(1))
    _, signed = chain.newest()
    second = chain.extend(INDEX, inventory(1, 2))
    assert (first.number, second.number) == (1, 2)
    assert second.previous == statement_hash(signed)
    assert chain.newest()[0] == second
    check_inventory(second, *([], inventory(1, 2).packs))


def test_what_a_head_said_is_taken_back_by_a_further_one_never_by_another_of_its_number(chain):
    first = chain.extend(INDEX, inventory(1))
    chain.extend(BlobId(b"j" * 32), inventory(1, 2))
    back = chain.take_back(first)
    assert [row[0] for row in rows(chain)] == [1, 2, 3]
    assert chain.newest()[0] == back
    assert back.index == first.index
    check_inventory(back, *([], inventory(1).packs))


def test_without_a_head_there_is_nothing_to_take_back(chain, elsewhere):
    with pytest.raises(LocalError):
        chain.take_back(elsewhere.extend(INDEX, inventory(1)))


def test_a_newer_head_is_adopted_once_and_an_older_one_ignored(chain, elsewhere):
    for count in range(1, 4):
        chain.extend(INDEX, inventory(count))
    (_, old, grant), _, (_, new, _) = rows(chain)
    assert elsewhere.adopt(new, grant).number == 3
    assert elsewhere.adopt(new, grant) is None
    assert elsewhere.adopt(old, grant) is None
    assert elsewhere.newest()[0].number == 3


def test_another_head_of_a_number_that_we_have_is_a_fork(chain, elsewhere):
    chain.extend(INDEX, inventory(1))
    elsewhere.extend(INDEX, inventory(2))
    ((_, other, grant),) = rows(elsewhere)
    before = chain.newest()
    with pytest.raises(DamagedStateError, match="two histories"):
        chain.adopt(other, grant)
    assert chain.newest() == before


@pytest.mark.parametrize("behind", [1, 2, 3])
def test_an_old_head_other_than_ours_is_a_fork_however_far_we_have_gone_on(chain, elsewhere, behind):
    chain.extend(INDEX, inventory(1))
    elsewhere.adopt(chain.newest()[1], chain._keys.grant)
    elsewhere.extend(INDEX, inventory(9))
    *_, (_, other, grant) = rows(elsewhere)
    for count in range(2, 3 + behind):
        chain.extend(INDEX, inventory(count))
    before = rows(chain)
    with pytest.raises(DamagedStateError, match="two histories"):
        chain.adopt(other, grant)
    assert rows(chain) == before


def test_a_head_made_before_ours_is_not_adopted_though_its_number_is_higher(owner, chain, elsewhere):
    chain.extend(INDEX, inventory(1))
    elsewhere.adopt(chain.newest()[1], chain._keys.grant)
    for count in range(2, 8):
        chain.extend(INDEX, inventory(count))
    owner.clock.ms += 1000
    elsewhere.extend(INDEX, inventory(9))  # set back, and written since
    *_, (_, newest, grant) = rows(chain)
    with pytest.raises(DamagedStateError, match="two histories"):
        elsewhere.adopt(newest, grant)
    assert elsewhere.newest()[0].number == 2


def test_heads_between_are_learned_from_hosts_that_lag_in_whatever_order(chain, elsewhere):
    for count in range(1, 6):
        chain.extend(INDEX, inventory(count))
    order = [5, 2, 4, 3, 1]
    answers = [elsewhere.adopt(*rows(chain)[number - 1][1:]) for number in order]
    assert [head.number if head else None for head in answers] == [5, None, None, None, None]
    assert rows(elsewhere) == rows(chain)
    assert elsewhere.newest() == chain.newest()


def test_a_next_head_that_follows_another_than_ours_is_a_fork(chain, elsewhere):
    chain.extend(INDEX, inventory(1))
    elsewhere.extend(INDEX, inventory(2))
    elsewhere.extend(INDEX, inventory(2, 3))
    _, (_, second, grant) = rows(elsewhere)
    with pytest.raises(DamagedStateError, match="two histories"):
        chain.adopt(second, grant)
    assert chain.newest()[0].number == 1


def test_a_head_of_another_repository_is_refused(owner, chain, tmp_path):
    authority = derive_authority(b"o" * 32)
    keys, other = owner.keys, RepositoryId(b"?" * 16)
    grant = WriterGrant(repository=other, epoch=1, device=DeviceId(keys.device.public), time_ms=1)
    stranger = HomeKeys(
        working=keys.working,
        authority=keys.authority,
        identity=keys.identity,
        device=keys.device,
        transport_seed=keys.transport_seed,
        grant=sign_statement(grant, authority),
        repository=other,
    )
    state = State(tmp_path / "other.db")
    theirs = HeadChain(state, stranger, other, owner.clock)
    theirs.extend(INDEX, inventory(1))
    ((_, signed, signed_grant),) = rows(theirs)
    with pytest.raises(IntegrityFault, match="another repository"):
        chain.adopt(signed, signed_grant)
    state.close()


def test_a_head_that_no_writer_of_ours_signed_is_refused(chain, tmp_path):
    foreign = OwnerHouse(tmp_path / "foreign", b"z")
    theirs = chain_of(foreign)
    theirs.extend(INDEX, inventory(1))
    ((_, signed, grant),) = rows(theirs)
    with pytest.raises(AuthenticationFault):
        chain.adopt(signed, grant)
    with pytest.raises(PeerFault):
        chain.adopt(signed, chain._keys.grant)
    assert chain.newest() is None
    foreign.close()


def taken_over(owner, tmp_path) -> HeadChain:
    """The chain of a second device with a grant of epoch 2, which starts from nothing."""
    authority, device = derive_authority(b"o" * 32), SigningKey.generate()
    repository = owner.keys.repository
    grant = WriterGrant(repository=repository, epoch=2, device=DeviceId(device.public), time_ms=2)
    keys = HomeKeys(
        working=owner.keys.working,
        authority=owner.keys.authority,
        identity=owner.keys.identity,
        device=device,
        transport_seed=bytes(32),
        grant=sign_statement(grant, authority),
        repository=repository,
    )
    return HeadChain(State(tmp_path / "taken.db"), keys, repository, owner.clock)


def test_a_head_of_a_higher_epoch_stops_the_writer_for_good_but_not_a_reader(owner, chain, tmp_path):
    chain.extend(INDEX, inventory(1))
    second = taken_over(owner, tmp_path)
    second.adopt(*rows(chain)[0][1:])
    second.extend(INDEX, inventory(1, 2))
    _, (_, signed, grant) = rows(second)
    assert chain.may_write
    assert chain.adopt(signed, grant).epoch == 2, "to be read"
    for again in (chain, chain_of(owner)):
        assert not again.may_write
        with pytest.raises(RefusedError, match="taken over"):
            again.extend(INDEX, inventory(3))
    reader_home = Home(tmp_path / "reader")
    recover_identity(reader_home, b"o" * 32)
    state = State(tmp_path / "reader.db")
    reader = HeadChain(state, load_keys(reader_home), owner.keys.repository, owner.clock)
    assert reader.adopt(signed, grant).epoch == 2
    assert reader.adopt(*rows(chain)[0][1:]) is None, "a head of a lower epoch is history"
    state.close()
    second._state.close()


def test_a_recovered_home_may_read_but_not_write(owner, tmp_path):
    home = Home(tmp_path / "recovered")
    recover_identity(home, b"o" * 32)
    reader = HeadChain(owner.state, load_keys(home), owner.keys.repository, owner.clock)
    assert not reader.may_write
    with pytest.raises(RefusedError, match="only read"):
        reader.extend(INDEX, inventory(1))
    assert reader.newest() is None
