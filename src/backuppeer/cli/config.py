"""`config`: read and change the settings of this home."""

import os
from typing import Annotated

import typer

from backuppeer.agent.home.config import DEFAULTS, KEYS, change_config, read_config, value_of
from backuppeer.agent.home.config_writer import revise_config
from backuppeer.agent.home.power import CAN_TELL
from backuppeer.cli import config_edit, servers
from backuppeer.cli.context import Context, context_of
from backuppeer.cli.render import escape_line
from backuppeer.cli.settings import check_values

_URLS = "notify.urls"
_SET = (
    "Change one setting; an empty value unsets it.\n\nSpeeds are written 5MB/s, 500kB/s or 40Mbit/s, or unlimited; "
    "hours 22:00-07:00; times 3d or 12h; lists with commas. `notify.urls -` asks for the addresses. Sets have "
    "`config edit`."
)
_Key = Annotated[str, typer.Argument(metavar="KEY", help=f"Which setting: {', '.join(KEYS)}.")]


def add_to(app: typer.Typer) -> None:
    """Add the verb and what may follow it."""
    group = typer.Typer(rich_markup_mode=None)
    group.command(name="get", help="Print one setting.")(get)
    group.command(name="set", help=_SET)(set_value)
    group.command(name="edit", help=config_edit.HELP)(config_edit.edit)
    group.command(name="list", help="Print all settings.")(list_values)
    servers.add_to(group)
    app.add_typer(group, name="config", help="Settings of this peer.")


def get(ctx: typer.Context, key: _Key) -> int:
    """Print one setting; if it is not set, nothing on standard output, and to a person what holds then."""
    context = context_of(ctx)
    value = value_of(read_config(context.home), key)
    if context.screen.json:
        context.screen.value({"key": key, "value": value})
    elif value is not None:
        context.screen.line(_show(value))
    else:
        context.screen.aside(_say_unset(context, key))
    return 0


def set_value(ctx: typer.Context, key: _Key, value: Annotated[str, typer.Argument(help="The new value.")]) -> int:
    """Change one setting; what is wrong is refused and nothing changes. `notify.urls -` asks for the addresses."""
    context = context_of(ctx)
    text = _read_urls(context, value) if key == _URLS else value
    changed = revise_config(context.home, lambda config: check_values(change_config(config, key, text)))
    shown = value_of(changed, key)
    context.screen.line(f"{key} = {_show(shown)}" if shown is not None else f"{key} is not set any more")
    if key == "proxy" and servers.is_offering(context):
        context.screen.note(
            "your slot goes on as before until the agent starts anew: `backup-peer agent stop`, then "
            "`backup-peer agent start`"
        )
    if key.startswith("bandwidth.quiet_") and value and not value_of(changed, "bandwidth.quiet"):
        context.screen.note(
            "it holds in quiet hours alone, and none are set: `backup-peer config set bandwidth.quiet 22:00-07:00`"
        )
    if key == "schedule.on_battery" and value == "no" and not CAN_TELL:
        context.screen.note("whether this machine runs on its battery is known on Linux alone: here nothing waits")
    context.screen.done({"key": key, "value": shown})
    return 0


def _read_urls(context: Context, value: str) -> str:
    from backuppeer.cli.notified import check, read_urls  # noqa: PLC0415 - asyncio, subprocess: start-up time

    text = read_urls(context.screen) if value == "-" else value
    changed = change_config(read_config(context.home), _URLS, text)
    if changed.notify is not None and changed.notify.urls:
        check(context.screen, changed.notify.urls)
        if value != "-":
            context.screen.note(
                "the addresses, and passwords in them, stand in your shell's history: `-` asks for them"
            )
    return text


def list_values(ctx: typer.Context) -> int:
    """Print all settings, also those not set."""
    context = context_of(ctx)
    config = read_config(context.home)
    if context.screen.json:
        context.screen.value({key: value_of(config, key) for key in KEYS})
        return 0
    for key in KEYS:
        value = value_of(config, key)
        context.screen.line(f"{key} = {_show(value)}" if value is not None else _say_unset(context, key))
    return 0


def _say_unset(context: Context, key: str) -> str:
    """Say of a setting that is not set what holds."""
    holds = DEFAULTS.get(key, "none")
    if key == "servers":
        holds = _show(context.servers())
    elif key == "proxy" and os.environ.get("BACKUPPEER_PROXY"):
        holds = "as BACKUPPEER_PROXY says"  # which may have a password in it
    return f"{key} is not set: {holds}"


def _show(value: object) -> str:
    if isinstance(value, list):
        return escape_line(",".join(map(str, value))) or "none"
    return escape_line(str(value))
