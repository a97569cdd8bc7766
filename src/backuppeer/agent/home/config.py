"""Settings of a home: `config.toml`, every key named and checked whenever it is read (DESIGN 10, `config`).

Knows: which keys there are and what values they take. Must not know: what anybody does with them.
"""

import os
import tomllib
from difflib import get_close_matches
from typing import Final, Literal

import msgspec

from backuppeer.agent.home.bandwidth import BANDWIDTH_DEFAULTS, BANDWIDTH_KEYS, BandwidthSettings
from backuppeer.agent.home.config_lines import find_line
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.notify import NotifySettings, check_notify, mask_urls, split_urls
from backuppeer.agent.home.sets import BackupSet, check_sets
from backuppeer.agent.home.slips import convert, hide_address
from backuppeer.errors import DamagedStateError, LocalError, UserError


class TrustSettings(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Settings of the table `[trust]`."""

    share_receipts: Literal["yes", "no"] | None = None
    """Whether others may see which hosts keep our data, if they know both; yes unless it says no."""


class NetworkSettings(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Settings of the table `[network]`."""

    lan: Literal["yes", "no"] | None = None
    """Whether this peer is announced and looks for others in the local network; no unless it says yes."""


class ScheduleSettings(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Settings of the table `[schedule]`."""

    on_battery: Literal["yes", "no"] | None = None
    """Whether sets are backed up by schedule while this machine runs on its battery; yes unless it says no."""


class Config(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """All settings. None = not set, so that the default or the environment decides."""

    servers: list[str] | None = None
    """Signaling servers; an empty list means none."""
    proxy: str | None = None
    """What signaling goes through, e.g. socks5://127.0.0.1:9050."""
    region: str | None = None
    """Coarse region shown in this host's listing, e.g. EU."""
    passphrase_command: str | None = None
    """A command that says the passphrase of this home, for an agent that starts without a terminal; no shell."""
    audits: Literal["on", "off"] | None = None
    """Whether the agent audits hosts by itself; on unless it says off."""
    trust: TrustSettings | None = None
    network: NetworkSettings | None = None
    bandwidth: BandwidthSettings | None = None
    notify: NotifySettings | None = None
    schedule: ScheduleSettings | None = None
    offer_set: bool = True
    """Whether a backup on a terminal offers to keep what it saves as a set, while there is none; false after a no."""
    sets: dict[str, BackupSet] = {}
    """Backup sets by name, in tables `[sets.NAME]`."""


_SWITCHES: Final = {
    "audits": ("on", "off", "`backup-peer config set audits off`"),
    "trust.share_receipts": ("yes", "no", "`backup-peer config set trust.share_receipts no`"),
    "network.lan": ("yes", "no", "`backup-peer config set network.lan no`"),
    "notify.report": ("weekly", "never", "`backup-peer config set notify.report never`"),
    "schedule.on_battery": ("yes", "no", "`backup-peer config set schedule.on_battery no`"),
}
"""Both values, and a command that sets the second."""
DEFAULTS: Final = {
    "audits": "on",
    "trust.share_receipts": "yes",
    "network.lan": "no",
    "notify.urls": "nobody is told of trouble",
    "notify.after": "3d",
    "notify.report": "never",
    "schedule.on_battery": "yes",
    **BANDWIDTH_DEFAULTS,
}
"""What holds while a setting is not set."""
_TABLES: Final[dict[str, type[msgspec.Struct]]] = {
    "trust": TrustSettings,
    "network": NetworkSettings,
    "bandwidth": BandwidthSettings,
    "notify": NotifySettings,
    "schedule": ScheduleSettings,
}
KEYS: Final = (
    *("servers", "proxy", "region", "audits", "passphrase_command", *BANDWIDTH_KEYS, "schedule.on_battery"),
    *("notify.urls", "notify.after", "notify.report", "trust.share_receipts", "network.lan"),
)
"""What `config get` and `config set` are for; sets have verbs of their own."""


def read_config(home: Home) -> Config:
    """Return the settings of `home`; all unset when there is no file.

    Raises:
        UserError: not TOML, an unknown key, or a value that can't be meant; names the file and the key.
        DamagedStateError: no text at all, or no file.
        LocalError: the system does not let us read it.

    """
    return _understand(home, _read_text(home))


def read_settings(home: Home) -> str:
    """Return the text of the settings, comments and all, having checked what it says; "" when there is no file.

    Raises:
        BackupPeerError: as `read_config`.

    """
    text = _read_text(home)
    _understand(home, text)
    return text


def read_raw(home: Home) -> str:
    """Return the text of the settings, valid or not; "" when there is no file. Raises as `read_config`."""
    return _read_text(home)


def _understand(home: Home, text: str) -> Config:
    try:
        return parse_config(text)
    except UserError as exc:
        line = find_line(text, exc.message)
        where = f"{home.config}, line {line}" if line else f"{home.config}"
        hint = exc.hint or "mend the file"
        raise UserError(f"{where}: {exc.message}", hint=f"{hint} (`backup-peer config edit` opens it)") from exc


def _read_text(home: Home) -> str:
    try:
        return home.config.read_bytes().decode()
    except FileNotFoundError:
        return ""
    except IsADirectoryError as exc:
        raise DamagedStateError(f"{home.config} is a folder", hint="move it away: settings stand in a file") from exc
    except OSError as exc:
        raise LocalError(f"{home.config} can't be read: {exc.strerror}", hint="is it yours to read?") from exc
    except UnicodeDecodeError as exc:
        raise DamagedStateError(f"{home.config} is no text: {exc}", hint="mend or delete the file") from exc


def list_set_names(home: Home) -> list[str]:
    """Return what the settings call backup sets, be these good or not; none where the file is no TOML."""
    try:
        sets = tomllib.loads(home.config.read_bytes().decode()).get("sets")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return []
    return list(sets) if isinstance(sets, dict) else []


def parse_config(text: str) -> Config:
    """Return the settings that a text says.

    Raises:
        UserError: not TOML, an unknown key, or a value that can't be meant; names the key.

    """
    try:
        told = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        # A key that stands there twice is named, and may be an address.
        raise UserError(hide_address(str(exc)), hint="mend or delete the file; it is written in TOML") from None
    sets = told.pop("sets", {})
    config = convert(told, Config, "")
    if not isinstance(sets, dict):
        raise UserError("sets is no table", hint="a set is written as a table: [sets.NAME]")
    config = msgspec.structs.replace(
        config, sets={name: convert(value, BackupSet, f"sets.{name}") for name, value in sets.items()}
    )
    check_sets(config.sets)
    if config.bandwidth is not None:
        config.bandwidth.check()
    if config.notify is not None:
        check_notify(config.notify)
    return config


def change_config(config: Config, key: str, text: str) -> Config:
    """Return `config` with `key` set from the words of a person; an empty text unsets, `servers none` empties.

    Raises:
        UserError: no such key, or a value that can't be meant.

    """
    if key not in KEYS:
        raise _explain_unknown(key)
    if text and key in _SWITCHES and text not in _SWITCHES[key][:2]:
        either, other, example = _SWITCHES[key]
        raise UserError(f"{key}: {text[:40]!r} is neither {either} nor {other}", hint=f"for example: {example}")
    table, _, name = key.partition(".")
    if name:
        return _change_table(config, table, name, text)
    if not text:
        return msgspec.structs.replace(config, **{key: None})
    if key == "servers":
        names = [] if text == "none" else [part.strip() for part in text.split(",") if part.strip()]
        return msgspec.structs.replace(config, servers=names)
    return msgspec.structs.replace(config, **{key: text})


def _explain_unknown(key: str) -> UserError:
    hint = "`backup-peer config list` shows all settings"
    if key.partition(".")[0] == "sets":
        hint = "sets are changed with `backup-peer config edit`, their paths with `backup-peer backup add` and `remove`"
    elif near := get_close_matches(key[:40], KEYS, n=1):
        hint = f"did you mean `{near[0]}`? {hint}"
    return UserError(f"no setting called {key[:40]!r}", hint=hint)


def _change_table(config: Config, table: str, name: str, text: str) -> Config:
    before = getattr(config, table)
    values = msgspec.to_builtins(before) if before is not None else {}
    values[name] = split_urls(text) if name == "urls" else text
    # The table goes with its last value: an empty one would stay in the file.
    kept = {key: value for key, value in values.items() if value}
    made = msgspec.convert(kept, _TABLES[table]) if kept else None
    if isinstance(made, BandwidthSettings):
        made.check()
    if isinstance(made, NotifySettings):
        check_notify(made)
    return msgspec.structs.replace(config, **{table: made})


def value_of(config: Config, key: str) -> list[str] | str | None:
    """Return the value of a setting as it may be shown, None if it is not set; of addresses of services no secret.

    Raises:
        UserError: no such setting.

    """
    if key not in KEYS:
        raise _explain_unknown(key)
    table, _, name = key.partition(".")
    if name:
        settings = getattr(config, table)
        one: list[str] | str | None = getattr(settings, name) if settings else None
        return mask_urls(one) if isinstance(one, list) else one
    value: list[str] | str | None = getattr(config, key)
    return value


def describe_settings(home: Home) -> list[str]:
    """Return what does not go on while the settings can't be read, and why that is so; nothing while they can."""
    try:
        read_config(home)
    except (UserError, DamagedStateError, LocalError) as exc:
        how = f" ({exc.hint})" if exc.hint else ""
        stands = "no set is backed up by its schedule, no host is audited, and no server that stands there is used"
        return [f"{exc.message}{how}; until that is mended, {stands}"]
    return []


def may_share_receipts(home: Home) -> bool:
    """Whether others may see which hosts keep our data; not while the settings can't be read: they may say no."""
    try:
        return value_of(read_config(home), "trust.share_receipts") != "no"
    except (UserError, DamagedStateError, LocalError):
        return False


def may_use_lan(home: Home) -> bool:
    """Whether this peer is found and looks around in the local network; not while the settings can't be read."""
    try:
        return value_of(read_config(home), "network.lan") == "yes"
    except (UserError, DamagedStateError, LocalError):
        return False


def may_run_on_battery(home: Home) -> bool:
    """Whether sets are backed up by schedule on battery; while the settings can't be read, none is by schedule."""
    try:
        return value_of(read_config(home), "schedule.on_battery") != "no"
    except (UserError, DamagedStateError, LocalError):
        return True


def environment_servers() -> str | None:
    """Return `BACKUPPEER_SERVERS`, None when it is not set at all."""
    return os.environ.get("BACKUPPEER_SERVERS")


def bind_addresses() -> list[str]:
    """Return the addresses to listen on: `BACKUPPEER_BIND` (comma list), else every interface, IPv4 and IPv6."""
    given = os.environ.get("BACKUPPEER_BIND", "")
    return [part.strip() for part in given.split(",") if part.strip()] or ["0.0.0.0", "::"]  # noqa: S104 - a peer must be reachable


def is_loopback_only() -> bool:
    """Whether this agent listens on loopback alone (tests, demo): only then may it dial loopback (DESIGN 6)."""
    return all(address.startswith("127.") or address == "::1" for address in bind_addresses())
