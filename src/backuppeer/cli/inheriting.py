"""The parts by which an identity goes on as another, joined with those that they change (ADR 69; part of `serve`).

Knows: which part asks which. Must not know: how any part works.
"""

from functools import partial

from backuppeer.agent.home.config import bind_addresses, is_loopback_only
from backuppeer.agent.home.keyring import HomeKeys
from backuppeer.agent.host.authorities import find_authority
from backuppeer.agent.host.heirship import Heirship
from backuppeer.agent.host.hosting import Hosting
from backuppeer.agent.host.noting import Noting
from backuppeer.agent.host.premises import Premises
from backuppeer.agent.host.reciprocity import Reciprocity
from backuppeer.agent.host.serving import Serving
from backuppeer.agent.host.succeeding import Succeeding
from backuppeer.agent.host.sweeping import Sweeping
from backuppeer.agent.owner.announcing import Announcing
from backuppeer.agent.owner.connecting import Connecting
from backuppeer.agent.owner.following import Following
from backuppeer.agent.owner.revising import Revising
from backuppeer.agent.peers.endpoint import make_binding
from backuppeer.agent.peers.partners import Reach
from backuppeer.agent.peers.relays import Relays
from backuppeer.agent.peers.session import Session
from backuppeer.agent.peers.sessions import Hooks, Sessions
from backuppeer.agent.repute.standing import Standing
from backuppeer.ids import PeerId


def join_succeeding(
    made: Succeeding,
    serving: Serving,
    sweeping: Sweeping,
    owed: Reciprocity,
    *,
    noting: Noting,
    hosting: Hosting,
    by: tuple[Connecting, Revising],
) -> None:
    """Serve owners that go on as another identity, as all their heirs were."""
    serving.on_succession, serving.find_refusal = made.answer, made.refuse
    sweeping.line_of = owed.line_of = made.line_of
    made.on_passing, hosting.check_wish = noting.lead_on, made.check_wish
    for asking in by:
        asking.choose_authority = made.choose_authority


def make_following(made: Following, premises: Premises, announcing: Announcing, reach: Reach) -> Following:
    """Let nothing go to an identity in whose place another goes on, and nothing come from it."""

    def check(session: Session) -> None:
        made.check(session.peer)  # a session may be how it was heard
        announcing.check(session)

    made.find_authority = partial(find_authority, announcing.state, premises)
    reach.admit, reach.check, reach.before_dial = made.check, check, announcing.follow
    return made


def make_heirship(
    keys: HomeKeys,
    premises: Premises,
    serving: Serving,
    sessions: Sessions,
    *,
    standing: Standing,
    announcing: Announcing,
    relays: Relays,
) -> Heirship:
    """Serve owners, and reach them, under the names of before that they know this host by."""
    bind = partial(make_binding, announcing.transport, announcing.clock, relays)
    made = Heirship(announcing.state, premises, keys.former, authority=keys.authority, bind=bind)
    serving.on_following, reaches = made.answer, {}
    for identity in made.identities:
        name = PeerId(identity.public)
        hooks = Hooks(
            may_answer=partial(made.may_answer, name),
            make_hello=partial(made.make_hello, name=name),
            on_hello=made.meet,
            serve=serving.serve,
            on_fault=standing.blame,
            prepare=made.prepare,
        )
        former = Sessions(announcing.transport, identity, announcing.clock, hooks, lane_binds=bind_addresses())
        sessions.former, former.rates = (*sessions.former, former), sessions.rates
        reaches[name] = Reach(announcing.state, former, loopback=is_loopback_only())
        reaches[name].find_road = relays.road
    made.reaches = reaches
    return made
