"""`leave` beside the agent: the service let go, and with --purge the home deleted.

Knows: services, the home's lock, what must not lie in a store any more. Must not know: agreements, notices.
"""

from pathlib import Path

from backuppeer.agent.home.home import Home
from backuppeer.agent.home.removal import check_not_busy, remove_home
from backuppeer.cli.agents import stop_agent
from backuppeer.cli.context import Context
from backuppeer.cli.installed import Keeper, keeper_of
from backuppeer.cli.render import escape_line, format_count, format_moment
from backuppeer.cli.units import format_size
from backuppeer.control.leaving import LeaveResult
from backuppeer.errors import DeclinedError, RefusedError, UserError
from backuppeer.host.layout import Layout
from backuppeer.host.vacancy import count_running


def release(context: Context, *, is_needed: bool) -> str:
    """Remove the service and stop the agent, unless they are needed; return what became of the service."""
    keeper = _find_keeper(context)
    if is_needed:
        return "stays" if keeper is not None else "none"
    if keeper is not None:
        keeper.uninstall()
    stop_agent(context.home)
    return "removed" if keeper is not None else "none"


def check_empty(result: LeaveResult) -> None:
    """Refuse to delete a home in which something of others lies.

    Raises:
        RefusedError: it does, or nobody knows.

    """
    if result.store_fault:
        raise RefusedError(
            f"nothing was deleted: data of others may lie in the store ({result.store_fault})",
            hint="make it usable again, then `backup-peer leave --purge`",
        )
    if result.owners:
        size = format_size(sum(row.used_bytes for row in result.owners))
        day = format_moment(result.until)[:10]
        raise RefusedError(
            f"nothing was deleted: {format_count(len(result.owners), 'owner')} {_have(len(result.owners))} {size} here "
            f"until {day} at least",
            hint="`backup-peer leave --purge` again then; only days on which the agent runs count",
        )


def vacate(context: Context, result: LeaveResult) -> list[str]:
    """Ask, then delete the home; return what in its folder was not made by this program and stays.

    Raises:
        DeclinedError: the person said no.
        UserError: nobody answered.
        RefusedError: something of others lies in the store after all.
        LocalError: another command has the home, or the system refuses.

    """
    _agree(context, result)
    keeper = _find_keeper(context)
    if keeper is not None:
        keeper.uninstall()
    stop_agent(context.home)
    with context.home.lock() as is_ours:
        check_not_busy(context.home, is_ours=is_ours)
        # No agent can take anything any more, and the folders themselves are asked.
        if result.store:
            _check_store(Path(result.store))
        _check_usual(context.home)
        return remove_home(context.home)


def finish(context: Context) -> list[str]:
    """Go on deleting a home; as `vacate`, which had asked before. It looks again: the mark may be older than the data.

    Raises:
        RefusedError: something of others lies in the store: it counts as no home that was being deleted any more.
        LocalError, StoreUnavailable: as `vacate`.

    """
    home = context.home
    with home.lock() as is_ours:
        check_not_busy(home, is_ours=is_ours)
        try:
            _check_usual(home)
        except RefusedError as exc:
            home.leaving_mark.unlink(missing_ok=True)
            hint = "its keys are gone: `backup-peer recover` with your 24 words makes it a home again"
            raise RefusedError(exc.message, hint=hint) from exc
        return remove_home(home)


def lies_outside(context: Context, store: str) -> bool:
    """Whether a store is none that went with the home."""
    return bool(store) and Path(store) != context.home.default_store


def _agree(context: Context, result: LeaveResult) -> None:
    screen, home = context.screen, context.home
    if not screen.json:
        screen.aside(f"{escape_line(str(home.path))} is deleted: keys, settings, the list of your snapshots, the log.")
        kept = [row for row in result.hosts if row.used_bytes]
        if kept:
            day = format_moment(max(row.until for row in kept))[:10]
            screen.aside(
                f"  · backups that hosts keep until {day} can be had back only with your 24 words: "
                "`backup-peer recover`",
                hang=4,
            )
        if any(not row.told for row in result.hosts):
            screen.aside(
                "  · hosts that were not told never hear of it: they keep all until their term is over", hang=4
            )
        screen.aside("  · it can't be taken back", hang=4)
    if not screen.confirm("delete this home for good?", unanswered="a home would be deleted for good"):
        raise DeclinedError("the home stays: you said no")


def _check_usual(home: Home) -> None:
    layout = Layout(home.default_store)
    if layout.marker.exists() or layout.agreements.exists():
        _check_store(layout.root)


def _check_store(store: Path) -> None:
    if count := count_running(store):
        raise RefusedError(
            f"nothing was deleted: {format_count(count, 'agreement')} in {store} {'has' if count == 1 else 'have'} not "
            "ended",
            hint="`backup-peer leave` shows what remains, and until when",
        )


def _find_keeper(context: Context) -> Keeper | None:
    """Return the service of this home; None where there is none, or there can be none."""
    try:
        keeper = keeper_of(context.home)
    except UserError:
        return None
    return keeper if keeper.file.exists() else None


def _have(count: int) -> str:
    return "has" if count == 1 else "have"
