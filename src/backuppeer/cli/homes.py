"""Where the command line meets a home: which folder, whose identity, which servers.

Knows: agent.home and, imported only by the verbs that need them, agent.keyring and agent.config (both slow to
import). Must not know: the agent's process, the terminal.
"""

import errno
import os
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from backuppeer.agent.home.home import Home, explain_denial, locate_home, usual_home
from backuppeer.cli.options import Options
from backuppeer.errors import DamagedStateError, LocalError, NotFoundError, UserError
from backuppeer.signaling import proxying
from backuppeer.signaling import servers as signaling_servers

if TYPE_CHECKING:
    from backuppeer.proof.waivers import Waiver


def find_home(options: Options) -> Home:
    """Return the home that the options, the environment or the platform name; it need not exist."""
    return locate_home(options.home)


def name_home(options: Options) -> str:
    """Return the option that names the home in a command; empty for the one that is meant without."""
    named, usual = find_home(options).path, usual_home().path
    return "" if named == usual else f"--home {shlex.quote(os.fspath(named))}"


def check_home(home: Home) -> None:
    """Refuse a home that can't be one; it need not exist.

    Raises:
        UserError: a file stands there.
        LocalError: it can't be looked into.

    """
    try:
        (home.path / "keys").stat()
    except FileNotFoundError:
        return
    except NotADirectoryError as exc:
        raise UserError(f"the home {home.path} is a file, or lies in one", hint="name a folder: --home DIR") from exc
    except OSError as exc:
        raise explain_denial(home.path, exc) from exc


def check_writable(home: Home) -> None:
    """Refuse a home that could not be made or written, before there are words that would be void then.

    Raises:
        LocalError: it could not.
        UserError: it is left of one that was being deleted.

    """
    home.check_whole()
    place = next(folder for folder in (home.path, *home.path.parents) if folder.exists())
    if not os.access(place, os.W_OK | os.X_OK):
        raise explain_denial(home.path, OSError(errno.EACCES, os.strerror(errno.EACCES)))


def is_roots_by_sudo(options: Options) -> bool:
    """Whether the home is root's only because the command runs under sudo (DESIGN 1: it must say so)."""
    named = options.home or os.environ.get("BACKUPPEER_HOME")
    return not named and os.geteuid() == 0 and "SUDO_USER" in os.environ


def require_identity(home: Home) -> None:
    """Check that `init` or `recover` has been done here.

    Raises:
        NotFoundError: it has not.

    """
    if not home.exists_identity:
        raise NotFoundError(
            f"no identity in {home.path}", hint="run `backup-peer init` first, or `backup-peer recover` with your words"
        )


def create_peer(home: Home, master: bytes) -> str:
    """Write a new identity and return its peer id as text.

    Raises:
        UserError: an identity is there already.

    """
    from backuppeer.agent.home.keyring import create_identity  # noqa: PLC0415 - crypto libraries: 100 ms
    from backuppeer.clock import SystemClock  # noqa: PLC0415
    from backuppeer.ids import format_peer_id  # noqa: PLC0415

    return format_peer_id(create_identity(home, master, SystemClock()))


def recover_peer(home: Home, master: bytes) -> str:
    """Write the identity that the words give back and return its peer id; again with the same words is no error.

    Raises:
        UserError: another identity is there.

    """
    from backuppeer.agent.home.keyfile import read_key_file  # noqa: PLC0415 - only for this
    from backuppeer.agent.home.keyring import derive_kept, recover_identity  # noqa: PLC0415 - crypto libraries
    from backuppeer.crypto.keys import derive_identity  # noqa: PLC0415
    from backuppeer.ids import PeerId, format_peer_id  # noqa: PLC0415

    if home.exists_identity:
        kept = derive_kept(master, read_key_file(home.keys / "working"))
        recovered = format_peer_id(PeerId(derive_identity(kept).public))
        if read_peer(home) == recovered:
            return recovered
    return format_peer_id(recover_identity(home, master))


def follow_peer(home: Home, master: bytes, succession: bytes, secret: bytes) -> str:
    """Make a home the one that its identity went on as (signed), under what opens it now; return the new peer id.

    Raises:
        UserError: the words did not sign that, or do not give this identity.

    """
    from backuppeer.agent.home.handover import Opener, follow_succession  # noqa: PLC0415 - crypto libraries
    from backuppeer.cli.unlocking import keep_heir  # noqa: PLC0415 - only for this
    from backuppeer.ids import format_peer_id  # noqa: PLC0415

    return format_peer_id(follow_succession(home, master, succession, Opener(secret, keep_heir)))


def begin_succession(home: Home, master: bytes, secret: bytes, *, repository: str, epoch: int) -> None:
    """Prepare the next identity of a home; no agent may have it. secret: what opens it. repository: hex.

    Raises:
        UserError: the words are of another identity, or it went on too often.

    """
    from backuppeer.agent.home import handover  # noqa: PLC0415 - crypto libraries
    from backuppeer.cli.unlocking import keep_heir  # noqa: PLC0415 - only for this
    from backuppeer.clock import SystemClock  # noqa: PLC0415
    from backuppeer.ids import RepositoryId  # noqa: PLC0415

    name, opener = RepositoryId(bytes.fromhex(repository)), handover.Opener(secret, keep_heir)
    handover.begin_succession(home, master, opener, repository=name, epoch=epoch, clock=SystemClock())


def check_words(home: Home, master: bytes) -> None:
    """Check that the words are those of the identity in a home, before anything is done with them.

    Raises:
        UserError: they are another's.

    """
    from backuppeer.agent.home.keyring import check_master  # noqa: PLC0415 - crypto libraries

    check_master(home, master)


def grant_peer(home: Home, master: bytes, *, repository: str, epoch: int) -> None:
    """Make this home the writer of its repository (hex), under a grant of `epoch`; no agent may have the home.

    Raises:
        UserError: the words are of another identity.

    """
    from backuppeer.agent.home.keyring import grant_writer  # noqa: PLC0415 - crypto libraries
    from backuppeer.clock import SystemClock  # noqa: PLC0415
    from backuppeer.ids import RepositoryId  # noqa: PLC0415

    name = RepositoryId(bytes.fromhex(repository))
    grant_writer(home, master, repository=name, epoch=epoch, clock=SystemClock())


def sign_waivers(home: Home, master: bytes, waivers: "Sequence[Waiver]") -> list[bytes]:
    """Return waivers as the authority of a home signs them, in this process: nobody else gets the words.

    Raises:
        UserError: the words are of another identity.

    """
    from backuppeer.crypto.keys import derive_authority  # noqa: PLC0415 - crypto libraries
    from backuppeer.proof.statements import sign_statement  # noqa: PLC0415

    check_words(home, master)
    authority = derive_authority(master)
    return [sign_statement(waiver, authority) for waiver in waivers]


def read_peer(home: Home) -> str:
    """Return the peer id of a home as text.

    Raises:
        NotFoundError: no identity there.

    """
    from backuppeer.agent.home.keyring import load_peer_id  # noqa: PLC0415 - crypto libraries
    from backuppeer.ids import format_peer_id  # noqa: PLC0415

    require_identity(home)
    return format_peer_id(load_peer_id(home))


def read_configured_servers(options: Options, home: Home) -> list[str] | None:
    """Return the servers that the settings name; None when they name none, or something nearer does.

    Raises:
        UserError: the settings say what can't be meant.
        DamagedStateError: they can't be read.

    """
    if options.servers is not None or "BACKUPPEER_SERVERS" in os.environ or not home.config.exists():
        return None
    from backuppeer.agent.home.config import read_config  # noqa: PLC0415 - TOML, only when nothing nearer says

    return read_config(home).servers


def check_configured(home: Home, servers: list[str]) -> None:
    """Check the servers that the settings of a home name.

    Raises:
        UserError: not a server's address, or too many; names the file and the key.

    """
    try:
        signaling_servers.check_servers(servers)
    except UserError as exc:
        raise UserError(f"{home.config}: servers: {exc.message}", hint=exc.hint) from exc


def resolve_servers(options: Options, configured: list[str] | None) -> list[str]:
    """Return the signaling servers to use: --server, else BACKUPPEER_SERVERS, else `configured`, else the default.

    Raises:
        UserError: not a server's address, or too many.

    """
    return signaling_servers.resolve_servers(options.servers, os.environ.get("BACKUPPEER_SERVERS"), configured)


def named_proxy(options: Options) -> str | None:
    """Return the proxy of --proxy, else of BACKUPPEER_PROXY; empty = none, None = neither says.

    Raises:
        UserError: not a proxy's address, or a password on the command line.

    """
    refuse_password(options.proxy or "")
    said = options.proxy if options.proxy is not None else os.environ.get("BACKUPPEER_PROXY")
    return None if said is None else proxying.parse_proxy(said)


def refuse_password(proxy: str) -> None:
    """Refuse the address of a proxy that says a password where everybody sees it.

    Raises:
        UserError: it does.

    """
    if proxying.has_password(proxy):
        hint = "everybody on this machine sees it there; put the address into BACKUPPEER_PROXY instead"
        raise UserError("a password does not belong on the command line", hint=hint)


def configured_proxy(home: Home) -> str | None:
    """Return the proxy of the settings, empty = none; None: they can't be read, so the agent goes by what it read."""
    if not home.config.exists():
        return ""
    from backuppeer.agent.home.config import read_config  # noqa: PLC0415 - TOML, only when nothing nearer says

    try:
        return proxying.parse_proxy(read_config(home).proxy or "")
    except (UserError, DamagedStateError, LocalError):
        return None
