"""A home in a file: what goes in comes out, and nothing else is taken for it."""

import msgspec
import pytest

from agent.loops import SetClock
from backuppeer.agent.home import belongings as room
from backuppeer.agent.home.belongings import (
    Belongings,
    KnownAgreement,
    KnownLine,
    collect_belongings,
    read_belongings,
    settle_in,
    write_belongings,
)
from backuppeer.agent.home.handover import Opener, begin_succession
from backuppeer.agent.home.heir import FormerSelf, finish_succession, settle_succession, take_place
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.keyfile import Custody
from backuppeer.agent.home.keyring import create_identity, give_up_writing, load_keys, recover_identity
from backuppeer.agent.home.sealing import seal_working
from backuppeer.agent.home.state import State
from backuppeer.agent.home.successions import Heir
from backuppeer.crypto.custody import Stretch, seal_by_passphrase
from backuppeer.crypto.identity import SigningKey
from backuppeer.crypto.keys import derive_heir
from backuppeer.errors import BackupPeerError, DamagedStateError, ExitCode, LocalError, UserError
from backuppeer.ids import AgreementId, PeerId, RepositoryId
from backuppeer.limits import EXPORT_BYTES, SUCCESSION_STEPS
from backuppeer.proof.statements import ZERO_HASH, Agreement, sign_statement
from backuppeer.proof.succession import Succession

MASTER = bytes(range(32))
PASSPHRASE = b"correct horse battery"
CHEAP = Stretch(memory_kib=64, passes=1, lanes=1)
HOST = SigningKey.from_seed(bytes(31) + b"\1")
FRONT = b"BPHOME\r\n\x01"


@pytest.fixture
def home(tmp_path):
    made = Home(tmp_path / "home")
    create_identity(made, MASTER, SetClock())
    made.config.write_text('region = "EU"  # a comment\n')
    return made


@pytest.fixture
def agreed(home):
    keys = load_keys(home)
    said = Agreement(
        agreement=AgreementId(bytes(16)), revision=1, previous=ZERO_HASH, owner=keys.peer, host=PeerId(HOST.public),
        authority=keys.authority, repository=RepositoryId(bytes(16)), size_bytes=10**9, start_ms=5, term_s=60,
        lock_s=30, availability=900, notice_s=20,
    )  # fmt: skip
    signed = sign_statement(said, keys.identity, HOST)
    state = State(home.state)
    state.meet(PeerId(HOST.public), 7, alias="alice", verified=True, whereabouts=b"there")
    state.call(PeerId(bytes(32)), "never seen", 9)
    state.put_agreement(said.agreement, said.host, signed)
    state.close()
    return signed


def collect(home, *, with_right=False):
    state = State(home.state)
    try:
        return collect_belongings(home, load_keys(home), state, with_right=with_right)
    finally:
        state.close()


def facts(home):
    state = State(home.state)
    try:
        return state.peers(), state.agreements(), home.config.read_text()
    finally:
        state.close()


@pytest.mark.parametrize("with_right", [False, True])
def test_a_home_made_of_a_file_is_the_one_that_was_written_down(home, agreed, tmp_path, with_right):
    file, heir = tmp_path / "file", Home(tmp_path / "heir")
    write_belongings(file, collect(home, with_right=with_right), PASSPHRASE, stretch=CHEAP)
    peer = settle_in(heir, read_belongings(file, PASSPHRASE))
    old, new = load_keys(home), load_keys(heir)
    assert peer == old.peer == new.peer
    assert (new.working, new.authority) == (old.working, old.authority)
    assert facts(heir) == facts(home)
    assert facts(heir)[1][0][2] == agreed
    assert new.transport_seed != old.transport_seed
    assert (new.device.seed() == old.device.seed()) is with_right
    assert (new.grant, new.repository) == ((old.grant, old.repository) if with_right else (b"", None))
    assert {path.stat().st_mode & 0o777 for path in (file, *heir.keys.iterdir())} == {0o600}


def test_a_home_whose_identity_went_on_is_moved_with_what_opens_its_old_packs(home, tmp_path):
    keys = load_keys(home)
    heir = derive_heir(MASTER, 3, keys.repository)
    (home.keys / "working").write_bytes(seal_working(heir, keys.authority, Custody.NOTHING))
    file, moved = tmp_path / "file", Home(tmp_path / "moved")
    write_belongings(file, collect(home), PASSPHRASE, stretch=CHEAP)
    assert file.read_bytes()[8] == 2  # programs of before say that they can't read it
    settle_in(moved, read_belongings(file, PASSPHRASE))
    assert load_keys(moved).working == heir
    for former in ([bytes(32)], [bytes(32)] * (SUCCESSION_STEPS + 1)):
        plain = spoil(collect(home), former=former)
        file.write_bytes(FRONT + seal_by_passphrase(plain, PASSPHRASE, bound=FRONT, stretch=CHEAP))
        with pytest.raises(DamagedStateError, match="does not hold"):
            read_belongings(file, PASSPHRASE)


def test_who_a_home_was_is_moved_with_it_as_long_as_a_host_may_know_it_so_alone(home, agreed, tmp_path):
    before, file, moved = load_keys(home), tmp_path / "file", Home(tmp_path / "moved")
    begin_succession(home, MASTER, Opener(), repository=before.repository, epoch=2, clock=SetClock())
    with pytest.raises(UserError, match="on its way"):
        collect(home)
    keys = load_keys(home)
    take_place(home, keys.heir, [FormerSelf(before.identity, keys.heir.succession)])
    settle_succession(home)
    finish_succession(home)
    write_belongings(file, collect(home, with_right=True), PASSPHRASE, stretch=CHEAP)
    settle_in(moved, read_belongings(file, PASSPHRASE))
    assert facts(moved)[1][0][2] == agreed  # with the identity of before, which has it still
    now = load_keys(moved)
    assert (now.peer, now.grant) == (keys.heir.peer, load_keys(home).grant)
    assert [(one.peer, one.succession) for one in now.former] == [(before.peer, keys.heir.succession)]
    plain = spoil(collect(home), selves=[(bytes(32), keys.heir.succession)])
    file.write_bytes(FRONT + seal_by_passphrase(plain, PASSPHRASE, bound=FRONT, stretch=CHEAP))
    with pytest.raises(DamagedStateError, match="does not hold"):
        read_belongings(file, PASSPHRASE)


def test_the_file_shows_nothing_of_what_it_holds(home, agreed, tmp_path):
    file = tmp_path / "file"
    belongings = collect(home, with_right=True)
    write_belongings(file, belongings, PASSPHRASE, stretch=CHEAP)
    data = file.read_bytes()
    for secret in (
        belongings.working,
        belongings.device,
        HOST.public,
        b"alice",
        agreed,
        PASSPHRASE,
        load_keys(home).peer,
    ):
        assert secret not in data
    assert belongings.working.hex() not in repr(belongings)


def test_a_home_that_gave_up_its_right_reads_and_has_none_to_give_again(home):
    give_up_writing(home)
    assert home.is_read_only
    assert load_keys(home).grant == b""
    with pytest.raises(UserError, match="only read"):
        collect(home, with_right=True)
    assert not collect(home).may_write


def test_a_second_identity_is_refused_and_the_first_stays(home, tmp_path):
    other = Home(tmp_path / "other")
    recover_identity(other, bytes(32))
    before = load_keys(other).peer
    with pytest.raises(UserError, match="already has an identity"):
        settle_in(other, collect(home))
    assert load_keys(other).peer == before


def test_a_changed_cut_or_foreign_file_is_refused(home, tmp_path):
    file = tmp_path / "file"
    write_belongings(file, collect(home), PASSPHRASE, stretch=CHEAP)
    whole = file.read_bytes()
    for at in (*range(60), len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(BackupPeerError):
            read_belongings(file, PASSPHRASE)
        file.write_bytes(whole[:at])
        with pytest.raises(BackupPeerError):
            read_belongings(file, PASSPHRASE)
    file.write_bytes(whole)
    with pytest.raises(UserError) as caught:
        read_belongings(file, b"another passphrase")
    assert caught.value.exit_code is ExitCode.AUTHENTICATION
    with file.open("r+b") as sparse:
        sparse.truncate(EXPORT_BYTES + 1)
    with pytest.raises(DamagedStateError, match="too long"):
        read_belongings(file, PASSPHRASE)


def spoil(belongings: Belongings, **changes) -> bytes:
    return msgspec.msgpack.encode(msgspec.structs.replace(belongings, **changes))


def test_parts_that_do_not_belong_together_are_refused(home, agreed, tmp_path):
    file, good = tmp_path / "file", collect(home, with_right=True)
    stranger = KnownAgreement(host=bytes(32), signed=agreed)
    unknown = msgspec.msgpack.encode({**msgspec.to_builtins(good, builtin_types=(bytes,)), "more": 1})
    for plain in (
        b"", b"\xc1", spoil(good, grant=b""), spoil(good, device=b""), spoil(good, working=bytes(32)),
        spoil(good, agreements=[stranger]), spoil(good, config="colour = 5"), spoil(good, working=b"short"), unknown,
    ):  # fmt: skip
        file.write_bytes(FRONT + seal_by_passphrase(plain, PASSPHRASE, bound=FRONT, stretch=CHEAP))
        with pytest.raises(DamagedStateError, match="does not hold"):
            read_belongings(file, PASSPHRASE)


@pytest.mark.parametrize("version", [1, 2])
def test_a_file_that_says_it_is_sealed_by_a_key_is_damaged(tmp_path, version):
    file = tmp_path / "file"
    file.write_bytes(b"BPHOME\r\n" + bytes([version]) + bytes(99))
    with pytest.raises(DamagedStateError, match="does not hold"):
        read_belongings(file, PASSPHRASE)


def test_a_file_that_is_there_or_can_not_be_written_is_told_and_left_alone(home, tmp_path):
    there = tmp_path / "there"
    there.write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        write_belongings(there, collect(home), PASSPHRASE, stretch=CHEAP)
    assert there.read_text() == "mine"
    with pytest.raises(LocalError, match="can't be written"):
        write_belongings(tmp_path / "no" / "such", collect(home), PASSPHRASE, stretch=CHEAP)


@pytest.mark.parametrize(
    ("slip", "words"),
    [
        (b'[sets.s]\npaths = ["/tmp"]\nschedule = "never"\n', "schedule"),
        (b"x = 1\n", "x"),
        (b'region = "\xff"\n', "is no text"),
        (None, "is a folder"),
    ],
)
def test_a_home_whose_settings_nobody_could_import_is_not_written_down(home, slip, words):
    home.config.unlink()
    if slip is None:
        home.config.mkdir()
    else:
        home.config.write_bytes(slip)
    with pytest.raises(BackupPeerError, match=words) as told:
        collect(home, with_right=True)
    assert str(home.config) in told.value.message


@pytest.mark.parametrize("is_same", [True, False])
def test_an_import_that_broke_off_can_be_repeated_and_leaves_nothing_of_another_file(
    home, agreed, tmp_path, monkeypatch, is_same
):
    state = State(home.state)
    state.successions.put(line(HOST, SigningKey.from_seed(bytes([4]) * 32)))
    state.close()
    moved, other = Home(tmp_path / "moved"), Home(tmp_path / "other")
    recover_identity(other, bytes(32))
    other.config.write_text("")

    def fail(*_, **__):
        raise OSError(28, "full")

    with monkeypatch.context() as patch:
        patch.setattr(room, "write_keys", fail)
        with pytest.raises(OSError, match="full"):
            settle_in(moved, collect(home))
    chosen = home if is_same else other
    settle_in(moved, collect(chosen))
    assert load_keys(moved).peer == load_keys(chosen).peer
    assert facts(moved)[:2] == facts(chosen)[:2]
    new, old = State(moved.state), State(chosen.state)
    assert new.successions.list_all() == old.successions.list_all()
    new.close()
    old.close()


def line(old, new, *, generation=2):
    said = Succession(
        authority=HOST.public, old=PeerId(old.public), new=PeerId(new.public), generation=generation, time_ms=1
    )
    return Heir(said.old, said.new, HOST.public, generation, sign_statement(said, HOST, new), 7)


def test_whom_a_home_follows_as_whom_is_moved_with_it_doubts_and_all(home, agreed, tmp_path):
    first, second, rival = (SigningKey.from_seed(bytes([number]) * 32) for number in (4, 5, 6))
    state = State(home.state)
    state.successions.put(line(HOST, first))
    state.successions.put(line(first, second, generation=3))
    state.successions.contest(PeerId(first.public), PeerId(rival.public), line(first, rival, generation=3).signed, 8)
    kept = state.successions.list_all()
    state.close()
    write_belongings(tmp_path / "file", collect(home), PASSPHRASE, stretch=CHEAP)
    assert (tmp_path / "file").read_bytes()[8] == 3, "a program of before would know them by ids that are out of use"
    other = Home(tmp_path / "other")
    settle_in(other, read_belongings(tmp_path / "file", PASSPHRASE))
    moved = State(other.state)
    assert moved.successions.list_all() == kept
    assert len(kept) == 2
    assert moved.successions.newest(PeerId(HOST.public)) == second.public
    moved.close()


def test_a_succession_in_a_file_that_nobody_signed_is_refused(home, agreed, tmp_path):
    good, file = collect(home), tmp_path / "file"
    true = line(HOST, SigningKey.from_seed(bytes(32)))
    bad = (
        true._replace(signed=true.signed[:-1] + bytes([true.signed[-1] ^ 1])),
        true._replace(new=PeerId(bytes(32))),
        true._replace(generation=9),
        true._replace(rival=PeerId(bytes(32))),
        true._replace(rival_signed=true.signed),
    )
    front = FRONT[:-1] + b"\3"
    for one in bad:
        plain = spoil(good, lines=[KnownLine(*one)])
        file.write_bytes(front + seal_by_passphrase(plain, PASSPHRASE, bound=front, stretch=CHEAP))
        with pytest.raises(DamagedStateError):
            read_belongings(file, PASSPHRASE)
    plain = spoil(good, lines=[KnownLine(*true)])
    file.write_bytes(front + seal_by_passphrase(plain, PASSPHRASE, bound=front, stretch=CHEAP))
    assert len(read_belongings(file, PASSPHRASE).lines) == 1
