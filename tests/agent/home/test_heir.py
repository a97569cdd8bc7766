"""A home's identity goes on as another, step by step in its files: whole after each, never without the words."""

from errno import ENOSPC

import pytest

from agent.loops import SetClock
from backuppeer.agent.home import heir as module
from backuppeer.agent.home.handover import Opener, begin_succession, follow_succession
from backuppeer.agent.home.heir import (
    FormerSelf,
    finish_succession,
    forget_former,
    is_begun,
    settle_succession,
    take_place,
)
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.keyfile import Custody, read_key_file
from backuppeer.agent.home.keyring import change_custody, create_identity, grant_writer, load_keys, recover_identity
from backuppeer.crypto.custody import Stretch
from backuppeer.crypto.identity import SigningKey
from backuppeer.crypto.keys import derive_authority, derive_heir, derive_identity, derive_working
from backuppeer.errors import DamagedStateError, ExitCode, LocalError, UserError
from backuppeer.ids import PeerId, RepositoryId
from backuppeer.limits import SUCCESSION_STEPS
from backuppeer.proof.statements import WriterGrant, open_statement, peek_statement, sign_statement
from backuppeer.proof.succession import Succession, check_heir

MASTER = bytes(range(32))
PASSPHRASE = b"correct horse battery"
CHEAP = Stretch(memory_kib=64, passes=1, lanes=1)
CUSTODIES = {Custody.NOTHING: b"", Custody.PASSPHRASE: PASSPHRASE, Custody.KEYRING: bytes(range(100, 132))}


@pytest.fixture(params=CUSTODIES)
def custody(request):
    return request.param


@pytest.fixture
def home(tmp_path, custody):
    made = Home(tmp_path / "home")
    create_identity(made, MASTER, SetClock())
    if custody is not Custody.NOTHING:
        change_custody(made, load_keys(made).working, custody, CUSTODIES[custody], stretch=CHEAP)
    return made


@pytest.fixture
def secret(custody):
    return CUSTODIES[custody]


def begin(home, secret, *, epoch=2, master=MASTER):
    repository = load_keys(home, secret).repository
    opener = Opener(secret, stretch=CHEAP)
    return begin_succession(home, master, opener, repository=repository, epoch=epoch, clock=SetClock())


def let_go_on(home, secret):
    """What the agent does once a host has followed, and the next start."""
    keys = load_keys(home, secret)
    take_place(home, keys.heir, (*keys.former, FormerSelf(keys.identity, keys.heir.succession)))
    settle_succession(home)


def test_until_a_host_has_followed_the_home_is_who_it_was_and_knows_who_it_will_be(home, secret):
    before = load_keys(home, secret)
    new = begin(home, secret)
    now = load_keys(home, secret)
    assert (now.peer, now.working, now.grant) == (before.peer, before.working, before.grant)
    assert (now.heir.peer, is_begun(home)) == (new, True)
    assert now.names == {before.peer, new}
    said = check_heir(now.heir.succession, now.authority, before.peer, new)
    assert said.generation == 2
    settle_succession(home)  # a start in between changes nothing
    assert load_keys(home, secret).peer == before.peer


def test_after_the_rename_the_home_is_the_heir_with_a_device_of_its_own_and_reads_what_was(home, secret, custody):
    before = load_keys(home, secret)
    new = begin(home, secret)
    let_go_on(home, secret)
    now = load_keys(home, secret)
    assert (now.peer, now.heir) == (new, None)
    assert now.working == derive_heir(MASTER, 2, before.repository)
    assert now.device.public != before.device.public
    assert open_statement(WriterGrant, now.grant, now.authority).epoch == 2
    assert [one.peer for one in now.former] == [before.peer]
    assert read_key_file(home.keys / "working").custody is custody
    finish_succession(home)
    assert not is_begun(home)
    assert load_keys(home, secret).names == {before.peer, new}


def test_no_file_of_the_heir_speaks_as_before_once_all_hosts_have_followed(home, secret):
    before = load_keys(home, secret)
    begin(home, secret)
    let_go_on(home, secret)
    finish_succession(home)
    forget_former(home, load_keys(home, secret).working)
    kept = b"".join(path.read_bytes() for path in home.keys.iterdir())
    assert before.working.secret not in kept
    assert before.identity.seed() not in kept
    assert before.device.seed() not in kept
    assert load_keys(home, secret).former == ()


def test_who_it_was_is_kept_sealed_while_hosts_must_be_told(home, secret):
    before = load_keys(home, secret)
    begin(home, secret)
    let_go_on(home, secret)
    assert before.identity.seed() not in b"".join(path.read_bytes() for path in home.keys.iterdir())
    path = home.keys / "former.2"
    path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))
    with pytest.raises(DamagedStateError):
        load_keys(home, secret)


def test_a_home_goes_on_several_times_and_keeps_all_that_it_was_until_hosts_have_heard(home, secret):
    names = [load_keys(home, secret).peer]
    for epoch in (2, 3):
        names.append(begin(home, secret, epoch=epoch))
        let_go_on(home, secret)
        finish_succession(home)
    now = load_keys(home, secret)
    assert now.peer == names[-1]
    assert [one.peer for one in now.former] == names[:-1]
    assert [peek_statement(Succession, one.succession).new for one in now.former] == names[1:]
    assert [path.name for path in home.keys.glob("former.*")] == ["former.3"]


@pytest.mark.parametrize("step", range(8))
def test_killed_at_any_write_the_home_is_whole_and_the_next_start_or_the_same_again_goes_on(
    tmp_path, monkeypatch, step
):
    home = Home(tmp_path / "home")
    create_identity(home, MASTER, SetClock())
    before, writes = load_keys(home), 0

    def killed(*_):
        nonlocal writes
        writes += 1
        if writes > step:
            raise KeyboardInterrupt

    def breaking(real):
        def call(*arguments):
            killed()
            return real(*arguments)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_private", breaking(module.write_private))
        patch.setattr(module, "sync_folder", breaking(module.sync_folder))
        try:
            begin(home, b"")
            let_go_on(home, b"")
        except KeyboardInterrupt:
            pass
    settle_succession(home)
    now = load_keys(home)  # whole, whichever it is
    if now.peer == before.peer:
        if now.heir is None:
            begin(home, b"")  # the same command again, with the words: what was written counts for nothing
        let_go_on(home, b"")
    now = load_keys(home)
    assert now.peer == PeerId(derive_identity(derive_working(MASTER, 2)).public)
    assert [one.peer for one in now.former] == [before.peer]
    assert open_statement(WriterGrant, now.grant, now.authority).device == now.device.public != before.device.public


def test_a_succession_of_which_only_half_was_written_counts_for_nothing(home, secret, custody, monkeypatch):
    before, real, written = load_keys(home, secret), module.write_private, []

    def fill_up(path, data):
        if written:
            raise OSError(ENOSPC, "No space left on device")
        written.append(path.name)
        real(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_private", fill_up)
        with pytest.raises(OSError, match="No space"):
            begin(home, secret)
    assert ((home.keys / "succession").exists(), written) == (True, ["succession"])
    settle_succession(home)
    now = load_keys(home, secret)
    assert (is_begun(home), now.heir, now.peer, now.grant) == (False, None, before.peer, before.grant)
    change_custody(home, now.working, custody, secret, stretch=CHEAP)
    new = begin(home, secret)
    let_go_on(home, secret)
    assert (is_begun(home), load_keys(home, secret).peer) == (True, new)


@pytest.mark.parametrize("has_heir", [False, True])
def test_a_home_that_follows_what_began_elsewhere_lets_go_of_what_it_began_itself(home, secret, has_heir):
    began = begin(home, secret)
    said = load_keys(home, secret).heir.succession  # elsewhere: the words lead to the same identity
    if not has_heir:
        (home.keys / "heir").unlink()
    before = load_keys(home, secret)
    assert follow_succession(home, MASTER, said, Opener(secret, stretch=CHEAP)) == began
    settle_succession(home)
    now = load_keys(home, secret)
    assert (now.peer, now.heir, is_begun(home)) == (began, None, False)
    assert (now.device.public, now.grant) == (before.device.public, before.grant)


def test_a_later_grant_is_not_undone_by_a_start_before_the_succession_is_finished(home, secret):
    begin(home, secret)
    let_go_on(home, secret)
    repository = load_keys(home, secret).repository
    grant_writer(home, MASTER, repository=repository, epoch=9, clock=SetClock())
    settle_succession(home)
    assert open_statement(WriterGrant, load_keys(home, secret).grant, derive_authority(MASTER).public).epoch == 9


def test_other_words_a_second_beginning_and_a_ninth_step_are_refused(home, secret):
    with pytest.raises(UserError) as caught:
        begin(home, secret, master=bytes(32))
    assert caught.value.exit_code is ExitCode.AUTHENTICATION
    for epoch in range(2, SUCCESSION_STEPS + 2):
        begin(home, secret, epoch=epoch)
        with pytest.raises(UserError, match="under way"):
            begin(home, secret)
        with pytest.raises(UserError, match="on its way"):
            change_custody(home, load_keys(home, secret).working, Custody.NOTHING)
        let_go_on(home, secret)
        finish_succession(home)
    with pytest.raises(UserError, match="8 times already"):
        begin(home, secret)
    assert len(load_keys(home, secret).former) == SUCCESSION_STEPS


def test_a_damaged_heir_is_told_and_the_home_stays_who_it_is(home, secret):
    begin(home, secret)
    for name in ("heir", "succession"):
        path = home.keys / name
        whole = path.read_bytes()
        for content in (b"", whole[:-1], whole[:20]):
            path.write_bytes(content)
            with pytest.raises((DamagedStateError, LocalError, UserError)):
                load_keys(home, secret)
        path.write_bytes(whole)
    assert load_keys(home, secret).heir is not None


# --- a home that follows one which began elsewhere
@pytest.fixture
def said(home, secret):
    begin(home, secret)
    return load_keys(home, secret).heir.succession


def test_a_home_of_the_words_alone_follows_and_can_tell_hosts_that_have_not_heard(home, secret, said, tmp_path):
    repository = load_keys(home, secret).repository
    third = Home(tmp_path / "third")
    old = recover_identity(third, MASTER)
    new = follow_succession(third, MASTER, said, Opener())
    keys = load_keys(third)
    assert (keys.peer, keys.repository, keys.working) == (new, repository, derive_heir(MASTER, 2, repository))
    assert [(one.peer, one.succession) for one in keys.former] == [(old, said)]
    with pytest.raises(UserError, match="not of this home"):
        follow_succession(third, MASTER, said, Opener())


def forge(repository=None, *, by=MASTER, heir_of=MASTER, generation=2, old=None):
    heir = derive_identity(derive_working(heir_of, generation))
    authority = derive_authority(by)
    said = Succession(
        authority=authority.public,
        old=old or PeerId(derive_identity(derive_working(MASTER, 1)).public),
        new=PeerId(heir.public),
        generation=generation,
        time_ms=5,
        ext={} if repository is None else {"repository": repository},
    )
    return sign_statement(said, authority, heir)


def test_a_succession_that_is_not_of_these_words_leads_nowhere(tmp_path):
    third, name = Home(tmp_path / "third"), RepositoryId(bytes(16))
    old = recover_identity(third, MASTER)
    stranger = PeerId(SigningKey.from_seed(bytes(32)).public)
    for signed in (
        forge(name, by=bytes(32)),
        forge(name, heir_of=bytes(32)),
        forge(name, old=stranger),
        forge(name, generation=SUCCESSION_STEPS + 2),
    ):
        with pytest.raises(UserError) as caught:
            follow_succession(third, MASTER, signed, Opener())
        assert caught.value.exit_code is ExitCode.AUTHENTICATION
    for nameless in (forge(), forge(b"short")):
        with pytest.raises(DamagedStateError, match="which repository"):
            follow_succession(third, MASTER, nameless, Opener())
    assert load_keys(third).peer == old
    assert load_keys(third).former == ()
