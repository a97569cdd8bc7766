"""`peers verify`: compare the safety words with a peer's screen, and say what that changed or what it may mean."""

from typing import Annotated, Final

import typer

from backuppeer.cli.block import shut_out
from backuppeer.cli.context import Context, context_of
from backuppeer.cli.render import escape_line, name_peer, write_peer
from backuppeer.cli.screen import GREEN, Screen
from backuppeer.control.api import PeerRequest
from backuppeer.control.verifying import VerifyPlan, VerifyRequest, VerifyResult
from backuppeer.errors import AuthenticationFault, UserError

HELP: Final = (
    "Compare the safety words with a peer's person.\n\nBoth screens show eight words. Read them to each other by "
    "telephone or face to face, not by a message that somebody on the way could change. The same words: nobody stands "
    "between you, and the peer counts as a friend. Others: an alarm, with code 12."
)
_TRIES: Final = 3
_MEANINGS: Final = (
    "somebody stands between the two of you, and answers each in the name of the other",
    "or you compared with another peer, or another home of that person: the command id there shows which it is",
    "or its person began anew, without the words of before: then it is a new peer, with an id of its own",
)


def verify(
    ctx: typer.Context,
    peer: Annotated[str, typer.Argument(metavar="ID|PREFIX|ALIAS", help="The peer, as `peers` shows it, or its id.")],
) -> int:
    """Show the words, ask, and record the answer."""
    context = context_of(ctx)
    screen = context.screen
    plan = context.client().call("peers/verify/plan", PeerRequest(servers=context.servers(), peer=peer), VerifyPlan)
    called = name_peer(plan.peer_id, plan.alias)
    for alarm in plan.alarms:
        screen.alarm(alarm.removeprefix("ALARM: "), "")
    _show_words(screen, plan, called)
    is_same = _ask(screen, plan, called)
    request = VerifyRequest(servers=context.servers(), peer=plan.peer_id, same=is_same)
    result = context.client().call("peers/verify", request, VerifyResult)
    if not is_same:
        raise _sound_alarm(context, result, called)
    _tell_same(screen, plan, result)
    screen.done(result)
    return 0


def _show_words(screen: Screen, plan: VerifyPlan, called: str) -> None:
    if screen.json and not screen.can_ask:
        return
    screen.aside(f"safety words of you and {called}:")
    words = escape_line(plan.safety_words).split(" ")
    for row in (words[:4], words[4:]):
        screen.aside("    " + "".join(f"{word:<14}" for word in row).rstrip())
    screen.aside("the other machine shows them by the command peers, or peers verify with your id or name", hang=2)


def _ask(screen: Screen, plan: VerifyPlan, called: str) -> bool:
    """Return whether the words are the same.

    Raises:
        UserError: nobody is there to ask, or no answer is one: nothing is guessed.
        AuthenticationFault: only --yes answers, and an alarm stands.

    """
    if screen.yes and plan.alarms:
        raise AuthenticationFault(
            f"there is an alarm about {called}: --yes is no comparison",
            hint=f"run `backup-peer peers verify {write_peer(plan.peer_id, plan.alias)}` at a terminal, without --yes",
        )
    if screen.yes:
        return True
    if not screen.can_ask:
        raise UserError(
            f"the words of you and {called} must be compared by a person, and there is no terminal to ask on",
            hint="run it at a terminal; --yes says that you compared them, and that they were the same",
        )
    for _ in range(_TRIES):
        answer = screen.read_answer("does the other screen show the same words, in this order? [yes/no] ")
        if (said := answer.strip().lower()) in {"y", "yes", "n", "no"}:
            return said.startswith("y")
        if screen.input_ended:
            break
    raise UserError("neither yes nor no: nothing was recorded", hint="run it again when you can compare the words")


def _tell_same(screen: Screen, plan: VerifyPlan, result: VerifyResult) -> None:
    called = name_peer(result.peer_id, result.alias)
    mark = screen.paint("✓", GREEN)
    if plan.verified:
        screen.line(f"{mark} the same words, as before: {called} is a friend (♥) already; nothing changed", hang=2)
        return
    screen.line(f"{mark} recorded: nobody stands between you and {called}; it is a friend (♥) now", hang=2)
    screen.line(f"  trust {_say_trust(result)}", hang=4)


def _say_trust(result: VerifyResult) -> str:
    """Return the score before and after."""
    before = f"{result.trust_before:.2f} {escape_line(result.trust_level_before)}"
    after = f"{result.trust:.2f} {escape_line(result.trust_level)}"
    return f"{after}, as before" if before == after else f"{before} → {after}"


def _sound_alarm(context: Context, result: VerifyResult, called: str) -> AuthenticationFault:
    """Say what it may mean that the words differ, offer to shut the peer out, and return the error to end with."""
    screen = context.screen
    screen.aside(f"{called} is no friend now (trust {_say_trust(result)}); the words differ. That may mean:", hang=2)
    for meaning in _MEANINGS:
        screen.aside(f"  - {meaning}", hang=4)
    typed = write_peer(result.peer_id, result.alias)
    hint = f"no backup goes there until a comparison succeeds; `backup-peer block {typed}` shuts it out"
    if screen.read_answer(f"block {called} now? [y/N] ").strip().lower() in {"y", "yes"}:
        shut_out(context, result.peer_id, "the safety words differed")
        hint = f"it is blocked; `backup-peer unblock {typed}` takes that back once the words were compared again"
    return AuthenticationFault(f"the safety words of you and {called} differ", hint=hint)
