"""What every verb is handed: the options, the screen, the home, a client for the agent.

Knows: the order in which these are made, each only when asked for. Must not know: verbs.
"""

from functools import cached_property

import typer

from backuppeer.agent.home.home import Home
from backuppeer.cli import homes
from backuppeer.cli.options import Options
from backuppeer.cli.screen import Screen
from backuppeer.control.client import Client
from backuppeer.errors import DamagedStateError, LocalError, UserError


class Context:
    """One run of the command line."""

    def __init__(self, options: Options, screen: Screen) -> None:
        self.options = options
        self.screen = screen
        screen.home = homes.name_home(options)
        if homes.is_roots_by_sudo(options):
            screen.note(f"under sudo this is root's own home: {homes.find_home(options).path} (choose with --home DIR)")

    @cached_property
    def home(self) -> Home:
        """The home of this command; a verb that needs none does not fail for it.

        Raises:
            UserError: a file stands there.
            LocalError: it can't be looked into.

        """
        home = homes.find_home(self.options)
        homes.check_home(home)
        return home

    def client(self) -> Client:
        """Return a client for this home's agent, started if need be.

        Raises:
            NotFoundError: no identity in this home.
            LocalError: the agent does not start.
            UserError: what --proxy says is no proxy's address.

        """
        from backuppeer.cli.agents import ensure_agent  # noqa: PLC0415 - subprocess; not for verbs without agent

        homes.named_proxy(self.options)  # what is wrong is said before anything is started
        client = ensure_agent(self.home, self.screen.note)
        client.proxy = self.proxy()
        return client

    def proxy(self) -> str | None:
        """Return the proxy that signaling of this command goes through; empty: none, None: nobody knows.

        Raises:
            UserError: what --proxy says is no proxy's address.

        """
        named = homes.named_proxy(self.options)
        return homes.configured_proxy(self.home) if named is None else named

    def servers(self) -> list[str]:
        """Return the signaling servers to use for a step that may need one.

        Raises:
            UserError: a malformed address.

        """
        try:
            configured = homes.read_configured_servers(self.options, self.home)
        except (UserError, DamagedStateError) as exc:
            # Hosts that are known are reached without. None at all rather than the default one: who may hear of this
            # home is the person's choice, and stands in the file that can't be read.
            self.screen.note(f"no signaling server is used, as the settings can't be read: {exc.message}")
            self.screen.hint(exc.hint)
            return []
        if configured is not None:
            homes.check_configured(self.home, configured)
        return homes.resolve_servers(self.options, configured)


def context_of(ctx: typer.Context) -> Context:
    """Return the context that main has put into typer's."""
    context = ctx.find_object(Context)
    if context is None:
        raise LocalError("verb called without its context")
    return context
