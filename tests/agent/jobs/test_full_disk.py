"""A home whose disk is full: what can't be written down is logged, and owners get in and out nevertheless."""

import asyncio
from types import SimpleNamespace

import pytest

from agent.estates import estate_of
from agent.heired import follower
from agent.host.test_gate import Street, open_hosting
from agent.houses import OwnerHouse, offer
from backuppeer.agent.agent import Agent
from backuppeer.agent.commands.home import HomeCommands
from backuppeer.agent.jobs.restore import RestoreJob
from backuppeer.agent.reporter import Reporter
from backuppeer.control.restoring import RestoreRequest
from backuppeer.errors import LocalError, full_disk
from backuppeer.repo.cache import TreeCache
from backuppeer.repo.index import Index
from backuppeer.shares.ledger import Ledger
from backuppeer.signaling.knock import Verdict
from backuppeer.trust.evidence import Kind
from backuppeer.wire.messages import Hello


def refuse(*_, **__):
    raise LocalError("can't use the state of this home: database or disk is full")


def test_what_was_seen_of_a_peer_ends_nothing_when_it_cannot_be_written(house, owner, monkeypatch):
    monkeypatch.setattr(house.evidence, "record", refuse)
    house.standing.saw(owner.peer, Kind.CONNECTED)
    house.standing.blame(owner.peer, LocalError("nobody's"))


def test_a_session_begins_although_nothing_of_it_can_be_remembered(house, owner, monkeypatch):
    monkeypatch.setattr(house.state, "meet", refuse)
    monkeypatch.setattr(house.evidence, "record", refuse)
    monkeypatch.setattr("backuppeer.agent.agent.talk_over", lambda session, *_: session)
    spawned = []
    parts = SimpleNamespace(clock=house.clock, state=house.state, standing=house.standing, keys=owner.keys)
    rounds = SimpleNamespace(wake=lambda _: None)
    agent = SimpleNamespace(
        parts=parts,
        owner=SimpleNamespace(rounds=rounds, following=follower(owner)),
        repute=None,
        spawn=spawned.append,
        _see_off=lambda session: session,
    )
    session = SimpleNamespace(peer=owner.peer, hello=Hello())
    asyncio.run(Agent.on_hello(agent, session))
    assert spawned == [session, session]


def test_a_partner_is_told_where_we_are_and_a_stranger_is_not_let_in_unwritten(house, owner, monkeypatch, tmp_path):
    owner.agree_with(house)
    hosting = open_hosting(house)
    street = Street(house, hosting)
    stranger = OwnerHouse(tmp_path / "stranger", b"s")
    monkeypatch.setattr(house.state, "put_nonce", refuse)
    monkeypatch.setattr(house.state, "meet", refuse)
    locating = owner.knock(house, (0, 0, 0))
    hosting._admit(locating, house.clock.now_ms())
    assert house.requests.consider_knock(locating, offer()) is Verdict.ACCEPTED
    for sealed in (street.knock(owner), street.knock(stranger)):
        with pytest.raises(LocalError):
            hosting._open_knock(sealed)
    stranger.close()


def status_of(vault):
    return HomeCommands(SimpleNamespace(parts=None, owner=SimpleNamespace(vault=vault)))._snapshots()


def test_a_repository_that_cannot_be_used_is_a_note_of_status():
    class Vault:
        exists_repository = True

        @property
        def repository(self):
            return refuse()

    snapshots, notes = status_of(Vault())
    assert snapshots == 0
    assert len(notes) == 1
    assert "disk is full" in notes[0]


def test_the_status_of_a_host_makes_no_repository(house, owner, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate") as estate:
            folder = next((estate.home.path / "repository").iterdir())
            estate.vault.close()
            assert estate.vault.exists_repository
            assert status_of(estate.vault) == (0, [])
            estate.vault.close()
            for path in sorted(folder.rglob("*"), reverse=True):
                path.unlink()
            folder.rmdir()
            assert status_of(estate.vault) == (0, [])
            assert not folder.exists()

    asyncio.run(scenario())


def test_a_restore_ends_well_although_the_evidence_of_it_cannot_be_written(house, owner, tmp_path, monkeypatch):
    files = tmp_path / "files"
    files.mkdir()
    (files / "a").write_bytes(b"content")

    async def ignore(_):
        pass

    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            await estate.back_up(files, house)
            monkeypatch.setattr(estate.evidence, "record", refuse)
            request = RestoreRequest(snapshot="latest", target=str(tmp_path / "out"))
            result = await RestoreJob(estate.vault, request, Reporter(ignore), ignore).run()
            assert (result.files, result.errors) == (1, 0)

    asyncio.run(scenario())


@pytest.mark.parametrize("where", [(Ledger, "register_copy"), (Index, "register"), (TreeCache, "put_many")])
def test_a_full_disk_here_ends_the_backup_and_no_host_is_left_out_for_it(house, other, owner, tmp_path, where):
    files = tmp_path / "files"
    files.mkdir()
    (files / "a").write_bytes(b"content")

    def find_no_room(*_, **__):
        raise full_disk("the index")

    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(*where, find_no_room)
                with pytest.raises(LocalError, match="a disk of this machine is full") as told:
                    await estate.back_up(files)
            assert told.value.exit_code == 13
            assert not estate.notes
            done = await estate.back_up(files)
            assert (len(done.peers), done.left_out) == (2, [])

    asyncio.run(scenario())


def test_a_host_is_not_named_when_its_packs_cannot_be_written_down_here(house, owner, tmp_path, monkeypatch):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:

            def find_no_room(*_):
                raise full_disk("the ledger")

            monkeypatch.setattr(Ledger, "forget_erased", find_no_room)
            with pytest.raises(LocalError, match="the ledger can't be written"):
                await estate.back_up(tmp_path)
            assert not estate.notes
            assert not estate.seen(house) & {Kind.INTEGRITY_FAULT, Kind.PROTOCOL_VIOLATION, Kind.REFUSED}

    asyncio.run(scenario())
