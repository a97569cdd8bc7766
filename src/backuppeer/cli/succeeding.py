"""`recover --new-identity`: this home goes on as another identity, and whoever has the old one is shut out (ADR 69).

Knows: the order: hosts heard, a person asked, the succession signed here, the agent started with it, hosts told, the
agent started as the heir. The words, and what they stand for, stay in this process. Must not know: how hosts are told.
Killed anywhere, the same command goes on, without the words once the succession lies in the home.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from backuppeer.agent.home.home import Home
from backuppeer.cli import homes
from backuppeer.cli.context import Context
from backuppeer.cli.render import escape_line, escape_name, format_count, shorten_id, write_peer
from backuppeer.cli.screen import GREEN
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.taking_over import announce
from backuppeer.cli.work import View, run_work
from backuppeer.control.succeeding import SuccessionPlan, SuccessionRequest, SuccessionTold
from backuppeer.control.taking_over import TakeOverResult
from backuppeer.errors import DeclinedError, InterruptedByUserError

if TYPE_CHECKING:
    from backuppeer.agent.home.keyring import HomeKeys

T = TypeVar("T")
_NAMED = 4
"""Owners that get a line each; `status` names all whose words are not compared."""
_GOES_ON = "`backup-peer recover --new-identity` again goes on, without the words"


def plan_succession(context: Context) -> SuccessionPlan:
    """Have the agent hear all hosts, and return what a new identity would mean.

    Raises:
        BackupPeerError: no host could be heard.

    """
    return _run(context, "recover/succeed/plan", SuccessionPlan)


def succeed(context: Context, plan: SuccessionPlan, read_master: Callable[[], bytes]) -> TakeOverResult:
    """Ask, sign the succession, tell the hosts, become the heir, tell them who writes; what was begun goes on.

    read_master: returns what the words stand for; asked after the person has agreed.

    Raises:
        DeclinedError: the person said no; nothing was changed.
        UserError: nobody is there to ask, or the words are of another identity.
        BackupPeerError: no host could be told.

    """
    from backuppeer.cli.agents import await_end  # noqa: PLC0415 - subprocess; not for verbs without agent

    screen = context.screen
    if plan.is_begun:
        screen.aside("a new identity is on its way here: this goes on with it, without the words")
    else:
        _begin(context, plan, read_master)
    former = plan.peer_id if plan.has_heir or not plan.is_begun else ""
    try:
        if former:
            told = _run(context, "recover/succeed", SuccessionTold)
            await_end(context.home)
            screen.aside(f"the new id: {told.peer_id}", hang=2)
        result = announce(context)
    except KeyboardInterrupt:
        raise InterruptedByUserError("stopped: a new identity is on its way here", hint=_GOES_ON) from None
    result.former, result.owners, result.stuck = former, plan.owners, plan.stuck
    return result


def show_result(context: Context, result: TakeOverResult) -> None:
    """Say what stands."""
    screen = context.screen
    told = f"told to {format_count(len(result.peers), 'host')}: " if result.peers or result.left_out else ""
    out = ", which is shut out there" if told else ""
    was = f" in place of {shorten_id(result.former)}{out}" if result.former else ""
    screen.line(f"{screen.paint('✓', GREEN)} {told}this home is {shorten_id(result.peer_id)}{was}", hang=2)
    for host in result.left_out:
        name, reason = escape_name(host.name), escape_line(host.reason)
        screen.line(f"  {name} has not heard yet ({reason}), and serves the old identity until it is met", hang=4)
    for peer_id, name in zip(result.peers, result.names, strict=False):
        typed = write_peer(peer_id, name)
        screen.line(f"  read {escape_name(name)} the words of this id: `backup-peer peers verify {typed}`", hang=4)
    for line in _describe_owners(result.owners, result.stuck):
        screen.line(f"  {line}", hang=4)
    screen.line("  the 24 words stay as they are; make a new kit: `backup-peer kit --to kit.html`", hang=4)
    for line in _describe_next(result):
        screen.line(f"  {line}", hang=4)


def follow(home: Home, master: bytes, succession: str) -> str:
    """Make a home the one that its identity went on as; return the new peer id. succession: hex, as a host showed it.

    Raises:
        UserError: the words did not sign it, or nobody opens the keys of the home.

    """
    from backuppeer.cli.agents import stop_agent  # noqa: PLC0415 - subprocess; not for verbs without agent

    secret = _unlock(home)
    stop_agent(home)
    return homes.follow_peer(home, master, bytes.fromhex(succession), secret)


def _begin(context: Context, plan: SuccessionPlan, read_master: Callable[[], bytes]) -> None:
    """Sign the succession, once the person has agreed, while no agent has the home."""
    from backuppeer.cli.agents import start_agent, stop_agent  # noqa: PLC0415 - subprocess; not for verbs without agent

    try:
        _ask(context, plan)
        master = read_master()
    except KeyboardInterrupt:
        raise InterruptedByUserError("stopped: nothing was changed, here or at any host") from None
    homes.check_words(context.home, master)
    secret = _unlock(context.home)
    stop_agent(context.home)
    homes.begin_succession(context.home, master, secret, repository=plan.repository, epoch=plan.epoch + 1)
    start_agent(context.home, secret)


def _ask(context: Context, plan: SuccessionPlan) -> None:
    for line in _describe(plan):
        context.screen.aside(line, hang=2)
    if not context.screen.confirm("take a new identity?", unanswered="it shuts out every other home of yours"):
        raise DeclinedError("no new identity: you said no")


def _describe(plan: SuccessionPlan) -> Iterator[str]:
    yield f"A new identity in place of {shorten_id(plan.peer_id)}, for a machine that was stolen or copied:"
    if plan.heard:
        names = ", ".join(map(escape_name, plan.heard))
        yield f"- these hosts are there and will follow: {names}; what they keep of yours stays, and restores here"
    for host in plan.left_out:
        yield (
            f"- {escape_name(host.name)} can't be heard now ({escape_line(host.reason)}): it serves the old identity "
            "until it is told, which happens whenever it is met"
        )
    for name in plan.waiting:
        yield f"- {escape_name(name)} has not heard of the identity before this one yet"
    yield from (f"- {line}" for line in _describe_owners(plan.owners, plan.stuck))
    if plan.absent:
        yield f"- not in session now, and told when met: {', '.join(map(escape_name, plan.absent))}"
    if plan.is_alone:
        yield (
            "- no host that keeps backups of yours was found. If there is one, say no, and have it run first: what it "
            "keeps stays under the old identity"
        )
    if plan.has_slot:
        yield "- your slot goes on under the new id; invites that you gave until now lead nowhere: make new ones"
    yield (
        "- every machine with the old identity is shut out: it restores nothing and makes no backups; what it has read "
        "already it has, and its keys open what was backed up until now"
    )
    yield "- this machine makes the backups from now on; another home of yours follows with `backup-peer recover` there"
    yield "- people who compared safety words with you must compare them again"


def _describe_owners(owners: list[str], stuck: list[str]) -> Iterator[str]:
    """Yield what becomes of peers whose backups this machine keeps."""
    if owners:
        names = ", ".join(map(escape_name, owners))
        yield (
            f"you keep backups of {names}: what they have here stays, they follow when they are met, and your months "
            "with them count on"
        )
    if stuck:
        names = ", ".join(map(escape_name, stuck))
        yield (
            f"{names} can't follow: the agreement does not name your words. What is kept here is served under the old "
            "id, which a thief has, too; after `backup-peer peers renew` on their machine they follow"
        )


def _describe_next(result: TakeOverResult) -> Iterator[str]:
    """Yield what to do now: who has no host of its own, and keeps backups of others, makes none."""
    if result.peers or result.left_out or not (result.owners or result.stuck):
        yield "next: `backup-peer backup PATH...`, with the paths as they are on this machine"
        return
    for name in result.owners[:_NAMED]:
        yield f"once {escape_name(name)} has followed, compare words: `backup-peer peers verify {write_peer('', name)}`"
    yield "next: who is to come needs a new invite: `backup-peer invite create`; those given before lead nowhere"


def _unlock(home: Home) -> bytes:
    """Return what opens the keys of a home, b"" where nothing does: the agent needs it after each start."""
    from backuppeer.agent.home.keyring import load_keys  # noqa: PLC0415 - crypto libraries
    from backuppeer.cli.unlocking import offer_secrets, try_secrets  # noqa: PLC0415 - only for this

    def use(secret: bytes) -> "tuple[bytes, HomeKeys]":
        return secret, load_keys(home, secret)

    return try_secrets(offer_secrets(home), use)[0]


def _run(context: Context, route: str, kind: type[T]) -> T:
    with Spinner(context.screen) as spinner:
        view = View(context.screen, spinner=spinner, turning=True)
        return run_work(context.client(), route, SuccessionRequest(), kind, view=view)
