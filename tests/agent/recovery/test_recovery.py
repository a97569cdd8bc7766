"""Who is asked in a recovery, what a person is told of the answers, and what an unfinished one leaves behind."""

import asyncio
from types import SimpleNamespace

import pytest

from agent.successors import go_on
from backuppeer.agent.commands.owner import OwnerCommands
from backuppeer.agent.home.handover import Opener, begin_succession
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.keyring import load_keys, recover_identity
from backuppeer.agent.home.state import State
from backuppeer.agent.home.successions import SEEN
from backuppeer.agent.jobs.succession import OwnersPlan, SuccessionJob
from backuppeer.agent.owner.announcing import Announcing
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.recovery.finding import Ways
from backuppeer.agent.recovery.recovery import Recovery
from backuppeer.agent.recovery.slots import Slots
from backuppeer.agent.reporter import Reporter
from backuppeer.clock import SystemClock
from backuppeer.control.api import SnapshotsRequest
from backuppeer.control.choosing import ConnectPlanRequest
from backuppeer.control.recovering import RecoverRequest
from backuppeer.crypto.keys import derive_authority, derive_identity, derive_working
from backuppeer.errors import ExitCode, IntegrityFault, NotFoundError, PeerUnreachable, RefusedError
from backuppeer.ids import PeerId, RepositoryId, SnapshotId, format_peer_id, shorten_peer_id
from backuppeer.proof.statements import sign_statement
from backuppeer.proof.succession import Succession
from backuppeer.proof.writer import FIRST_EPOCH
from backuppeer.repo.snapshot import encode_snapshot
from repo.building import make_snapshot

SILENT, STRANGER, LIAR = (PeerId(bytes([n]) * 32) for n in (1, 2, 3))
SHORT = {peer: shorten_peer_id(peer) for peer in (SILENT, STRANGER, LIAR)}
ANSWERS = {
    SILENT: PeerUnreachable(f"{SHORT[SILENT]} did not answer"),
    STRANGER: RefusedError("I do not know you"),
    LIAR: IntegrityFault("it answered nonsense"),
}


class Doors:
    """Stands where the market and knocking are: `hosts` are on offer, and answer as ANSWERS says."""

    def __init__(self, *hosts):
        self.hosts = hosts

    async def everybody(self, _servers):
        return [SimpleNamespace(peer=peer) for peer in self.hosts]

    def empty_wish(self, _peer):
        return None

    async def knock_at(self, listing, _wish, _servers):
        await asyncio.sleep(0)
        raise ANSWERS[listing.peer]


class Heir:
    """A home made from the words, and recoveries in it."""

    def __init__(self, folder):
        self.home = Home(folder)
        recover_identity(self.home, b"o" * 32)
        self.keys, self.state = load_keys(self.home), State(self.home.state)
        self.vault = Vault(self.home, self.keys, self.state, SystemClock(), reach=None, standing=SimpleNamespace())
        self.events = []
        self.is_keeping = False

    async def note(self, event):
        self.events.append(event)

    async def recover(self, doors, *named):
        ways, slots = Ways(doors, doors, None), Slots(self.state, self.keys, SystemClock())
        recovery = Recovery(self.keys, self.state, self.vault, ways=ways, slots=slots)
        recovery.is_keeping = self.is_keeping
        request = RecoverRequest(peers=[format_peer_id(peer) for peer in named])
        try:
            return await recovery.run(request, [], Reporter(self.note))
        finally:
            await asyncio.sleep(0.01)  # progress is told without being waited for

    def fail(self, doors, *named):
        with pytest.raises(NotFoundError) as told:
            asyncio.run(self.recover(doors, *named))
        return told.value


@pytest.fixture
def heir(tmp_path):
    made = Heir(tmp_path / "heir")
    yield made
    made.vault.close()
    made.state.close()


def test_silent_strangers_are_counted_and_a_peer_at_fault_is_named_once(heir):
    said = heir.fail(Doors(SILENT, STRANGER, LIAR)).message
    assert said == (
        "no host that could be asked keeps backups of yours "
        f"({SHORT[LIAR]}: it answered nonsense; 1 of 3 hosts asked did not answer)"
    )


def test_hosts_that_the_person_named_are_spoken_of_one_by_one(heir):
    said = heir.fail(Doors(SILENT, STRANGER), SILENT, LIAR).message
    assert said.endswith(f"({SHORT[LIAR]} is not on offer; {SHORT[SILENT]} did not answer)")


def test_the_advice_is_to_ask_the_person_who_keeps_the_backups_and_to_try_again(heir):
    said = heir.fail(Doors())
    assert said.message == "no host is on offer"
    assert said.hint.startswith("ask the person who keeps your backups to run `host` again")
    assert "`backup-peer recover` again" in said.hint


def test_the_result_names_each_set_once_and_that_some_snapshots_are_of_none(owner):
    vault = Vault(owner.home, owner.keys, owner.state, owner.clock, reach=None, standing=SimpleNamespace())
    for number, name in enumerate(["photos", "", "default", "photos"]):
        made = make_snapshot(bytes(32), set=name, time_ns=number)
        vault.repository.index.add_snapshot(SnapshotId(bytes([number]) * 32), encode_snapshot(made))
    recovery = Recovery(owner.keys, owner.state, vault, ways=None, slots=None)
    assert recovery._result([]).sets == ["", "default", "photos"]
    vault.close()


def test_progress_counts_hosts_and_says_who_is_waited_for(heir):
    heir.fail(Doors(SILENT, STRANGER))
    steps = [event.data for event in heir.events if event.event == "progress"]
    assert {(step["unit"], step["files_total"]) for step in steps} == {("host", 2)}
    assert [step["files"] for step in (steps[0], steps[-1])] == [0, 2]
    assert {step["current"] for step in steps} >= {
        f"waiting for {SHORT[SILENT]}",
        f"waiting for {SHORT[SILENT]} and 1 more",
        "",
    }


def test_before_a_host_is_found_a_home_says_so_instead_of_having_no_snapshots(heir):
    agent = SimpleNamespace(parts=None, owner=SimpleNamespace(vault=heir.vault))
    heir.fail(Doors(STRANGER))
    with pytest.raises(NotFoundError, match="not finished") as told:
        OwnerCommands(agent)._snapshots(SnapshotsRequest())
    assert "`backup-peer recover` again" in told.value.hint


def test_a_home_that_keeps_backups_of_others_is_done_without_a_host_of_its_own_and_may_take_a_new_identity(heir):
    heir.is_keeping = True
    said = asyncio.run(heir.recover(Doors(SILENT, STRANGER)))
    assert (said.alone, said.peers, said.snapshots) == (True, [], 0)
    assert said.notes == ["1 of 2 hosts asked did not answer"]
    assert not heir.vault.is_unrecovered

    async def ask():
        made, reporter = Announcing(heir.state, heir.keys, None, SystemClock()), Reporter(heir.note)
        job = SuccessionJob(heir.home, heir.keys, heir.state, heir.vault, announcing=made, reporter=reporter)
        return await job.plan(OwnersPlan(["anna"], [], []))

    plan = asyncio.run(ask())
    assert (plan.is_recovered, plan.is_alone, plan.epoch, len(plan.repository)) == (True, True, FIRST_EPOCH, 32)
    name = RepositoryId(bytes.fromhex(plan.repository))
    begin_succession(heir.home, b"o" * 32, Opener(), repository=name, epoch=plan.epoch + 1, clock=SystemClock())
    went_on = go_on(heir.home)
    assert went_on.repository == name
    assert [former.identity.public for former in went_on.former] == [heir.keys.identity.public]


def test_a_host_that_the_person_named_must_be_heard_also_where_backups_of_others_are_kept(heir):
    heir.is_keeping = True
    heir.fail(Doors(SILENT), SILENT)
    assert heir.vault.is_unrecovered


@pytest.mark.parametrize("is_ours", [True, False])
def test_a_home_of_the_words_that_a_host_leads_on_asks_nobody_else(heir, is_ours):
    authority, new = derive_authority(b"o" * 32), derive_identity(derive_working(b"o" * 32, 2))
    old = heir.keys.peer if is_ours else PeerId(bytes(32))
    said = Succession(
        authority=authority.public, old=old, new=PeerId(new.public), generation=2, time_ms=5, ext={}
    )  # fmt: skip
    signed = sign_statement(said, authority, new)
    heir.state.put_setting(SEEN, signed)  # as a session's Hello brings it
    if not is_ours:
        heir.fail(Doors(SILENT))
        return
    led = asyncio.run(heir.recover(Doors(LIAR)))
    assert (led.succession, led.snapshots, led.peers) == (signed.hex(), 0, [])


def test_a_home_made_from_the_words_refuses_to_write_and_says_how_to_go_on(heir):
    with pytest.raises(RefusedError, match="may only read") as told:
        heir.vault.check_writable()
    assert "`backup-peer recover --take-over`" in told.value.hint
    assert told.value.exit_code == ExitCode.REFUSED


def test_a_host_is_not_asked_for_space_that_a_recovered_home_could_not_fill(heir, house):
    connecting = SimpleNamespace(agreement_with=lambda _: None)
    parts = SimpleNamespace(state=heir.state, keys=heir.keys)
    commands = OwnerCommands(
        SimpleNamespace(parts=parts, owner=SimpleNamespace(vault=heir.vault, connecting=connecting))
    )
    with pytest.raises(RefusedError, match="may only read"):
        asyncio.run(commands.plan(ConnectPlanRequest(peer=format_peer_id(house.peer)), None))


def test_a_home_is_recovered_once_a_recovery_came_to_its_end_and_one_made_by_init_always_was(heir, owner):
    assert heir.vault.is_unrecovered
    heir.vault.end_recovery()
    assert not heir.vault.is_unrecovered
    owners = Vault(owner.home, owner.keys, owner.state, owner.clock, reach=None, standing=SimpleNamespace())
    assert not owners.is_unrecovered
