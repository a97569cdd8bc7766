"""The hosts that backup sets name (`peers` in `config.toml`): who of them is gone, and who takes the place of another.

Knows: settings, names of peers. Must not know: sessions, what a backup does. A set that names nobody goes to all hosts.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec
import structlog

from backuppeer.agent.home.config import Config, read_config
from backuppeer.agent.home.config_writer import revise_config
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.sets import BackupSet
from backuppeer.agent.home.state import State
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.names import alias_of, resolve_peer
from backuppeer.control.saving import LeftOut
from backuppeer.errors import BackupPeerError, NotFoundError
from backuppeer.ids import PeerId, format_peer_id

_log = structlog.get_logger()
Sets = Mapping[str, BackupSet]


def read_sets(home: Home) -> Sets:
    """Return the sets of a home; none where the settings can't be read, which `status` tells."""
    with suppress(BackupPeerError):
        return read_config(home).sets
    return {}


def find_naming(sets: Sets, state: State, peer: PeerId) -> list[str]:
    """Return the sets that name a host."""
    return sorted(name for name, chosen in sets.items() if any(_is(state, text, peer) for text in chosen.peers))


def is_left_aside(sets: Sets, state: State, peer: PeerId) -> bool:
    """Whether there are sets, and each names hosts, and none this one."""
    return bool(sets) and all(chosen.peers for chosen in sets.values()) and not find_naming(sets, state, peer)


def put_in_place(home: Home, state: State, old: PeerId, new: PeerId) -> list[str]:
    """Let each set that names one host name another instead; return which sets those are.

    Raises:
        LocalError: the settings can't be changed.

    """
    naming = list[str]()
    name = alias_of(state, new) or format_peer_id(new)

    def change(config: Config) -> Config:
        naming.extend(find_naming(config.sets, state, old))
        changed = dict(config.sets)
        for each in naming:
            texts = [text for text in changed[each].peers if not _is(state, text, new)]
            names = dict.fromkeys(name if _is(state, text, old) else text for text in texts)
            changed[each] = msgspec.structs.replace(changed[each], peers=list(names))
        return msgspec.structs.replace(config, sets=changed)

    if find_naming(read_config(home).sets, state, old):  # else nothing is written
        revise_config(home, change)
    return naming


def follow_heirs(home: Home, state: State) -> None:
    """Let sets that name an identity by its id name whoever goes on as it (ADR 69), if they can be changed.

    Names have gone over already. Done again when the agent starts: it may have been killed between the two.
    """
    for heir in state.successions.list_all():
        try:
            put_in_place(home, state, heir.old, heir.new)
        except BackupPeerError as exc:
            _log.warning("the sets still name an identity that goes on as another", reason=exc.message)


def leave_out_gone(vault: Vault, name: str, peers: Sequence[str]) -> tuple[list[str], list[LeftOut]]:
    """Return which hosts of a set keep backups of ours, and the others with what a person can do about them.

    Raises:
        NotFoundError: none does, or none is agreed at all.

    """
    if not peers:
        return [], []
    vault.partners()
    kept, gone = list[str](), list[LeftOut]()
    for text in peers:
        try:
            vault.partners([text])
        except BackupPeerError as exc:
            gone.append(LeftOut(peer_id="", name=text, reason=_explain(exc), hint=say_how(name)))
        else:
            kept.append(text)
    if not kept:
        raise NotFoundError(
            f"set {name} names only hosts that keep no backups of yours: {', '.join(peers)}", hint=say_how(name)
        )
    return kept, gone


def say_how(name: str) -> str:
    """Return how the hosts of a set are changed."""
    return f"its hosts are `peers` under [sets.{name}] in config.toml; without that line it goes to all your hosts"


def _explain(error: BackupPeerError) -> str:
    is_gone = isinstance(error, NotFoundError) and "keeps no backups" in error.message
    return "the set names it, but it keeps no backups of yours" if is_gone else f"the set names it, but {error.message}"


def _is(state: State, text: str, peer: PeerId) -> bool:
    """Whether a name in a set means this peer."""
    with suppress(BackupPeerError):
        return resolve_peer(state, text) == peer
    return False
