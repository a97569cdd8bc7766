"""Homes that go on as another identity, and hosts told of it: what tests of both do to real files and stores."""

from agent.loops import SetClock
from backuppeer.agent.home.handover import Opener, begin_succession
from backuppeer.agent.home.heir import FormerSelf, finish_succession, settle_succession, take_place
from backuppeer.agent.home.keyring import load_keys
from backuppeer.agent.jobs.succession import SuccessionJob
from backuppeer.agent.owner.announcing import Announcing
from backuppeer.agent.reporter import Reporter
from backuppeer.clock import SystemClock

MASTER = b"o" * 32
"""What the words of the fixture `owner` stand for."""


def begin(home, *, epoch=2):
    keys = load_keys(home)
    begin_succession(home, MASTER, Opener(), repository=keys.repository, epoch=epoch, clock=SetClock())
    return load_keys(home)


def go_on(home):
    """What follows once a host has: the rename, and the next start."""
    keys = load_keys(home)
    take_place(home, keys.heir, (*keys.former, FormerSelf(keys.identity, keys.heir.succession)))
    settle_succession(home)
    finish_succession(home)
    return load_keys(home)


def terms_at(house):
    (lease,) = house.premises.open().leases.list_all()
    return lease.terms


def announcing(owner, keys, link):
    return Announcing(owner.state, keys, link.near.transport, SystemClock())


async def follow(made, link):
    where = link.far.transport

    async def dial(sessions):
        return await sessions.dial(link.far.peer, where.transport_id, where.addresses())

    await made.follow(link.far.peer, dial)


def job(estate):
    keys = load_keys(estate.home)
    made = Announcing(estate.state, keys, None, SystemClock())
    reporter = Reporter(estate._emit)
    return SuccessionJob(estate.home, keys, estate.state, estate.vault, announcing=made, reporter=reporter)
