"""The command line's front door: finds the verb, imports only that, catches every error once.

Knows: the list of verbs, how errors become words and exit codes. Must not know: what a verb does. `--version` and a
verb's start are fast because a verb's module is imported only when it is called (typer alone costs 60 ms).
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Final

from backuppeer import __version__
from backuppeer.cli.options import find_lacking, hoist_options

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import typer

    from backuppeer.cli.screen import Screen
    from backuppeer.errors import BackupPeerError

_WORDS_OF_VERB: Final = 2
"""As in `backup-peer restore`; a command of a group has more."""


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb's module in this package, which has `add_to(app)`, and a valid call of it for hints."""

    module: str
    example: str


VERBS: Final = {
    "init": Verb("init", "backup-peer init"),
    "recover": Verb("recover", "backup-peer recover --peer bp1…"),
    "id": Verb("id", "backup-peer id"),
    "server": Verb("server", "backup-peer server --listen 0.0.0.0:8443"),
    "host": Verb("host", "backup-peer host --storage 50GB"),
    "browse": Verb("browse", "backup-peer browse --min-trust 0.8 --min-storage 10GB"),
    "connect": Verb("connect", "backup-peer connect bp1… --storage 10GB --name alice"),
    "invite": Verb("invite", "backup-peer invite create --name alice"),
    "requests": Verb("requests", "backup-peer requests accept alice"),
    "peers": Verb("peers", "backup-peer peers"),
    "block": Verb("block", "backup-peer block alice --reason 'went too far'"),
    "unblock": Verb("unblock", "backup-peer unblock alice"),
    "vouch": Verb("vouch", "backup-peer vouch alice"),
    "sessions": Verb("sessions", "backup-peer sessions"),
    "disconnect": Verb("disconnect", "backup-peer disconnect alice"),
    "backup": Verb("backup", "backup-peer backup ~/documents --to alice"),
    "snapshots": Verb("snapshots", "backup-peer snapshots"),
    "ls": Verb("ls", "backup-peer ls latest:/home/me"),
    "find": Verb("find", "backup-peer find '*.jpg' --newer 30d"),
    "diff": Verb("diff", "backup-peer diff 3fa9c1d2 latest"),
    "restore": Verb("restore", "backup-peer restore latest:/home/me --target /tmp/restored"),
    "forget": Verb("forget", "backup-peer forget --keep-daily 7 --keep-weekly 5 --keep-monthly 12"),
    "prune": Verb("prune", "backup-peer prune --max-unused 10%"),
    "tag": Verb("tag", "backup-peer tag latest --add holidays"),
    "dump": Verb("dump", "backup-peer dump latest:/home/me > me.tar"),
    "mount": Verb("mount", "backup-peer mount /mnt/backups"),
    "stats": Verb("stats", "backup-peer stats latest"),
    "check": Verb("check", "backup-peer check --read-data-subset 5%"),
    "repair": Verb("repair", "backup-peer repair --read-data-subset 5%"),
    "audit": Verb("audit", "backup-peer audit --now alice"),
    "jobs": Verb("jobs", "backup-peer jobs"),
    "pause": Verb("pause", "backup-peer pause"),
    "resume": Verb("resume", "backup-peer resume"),
    "cancel": Verb("cancel", "backup-peer cancel 3"),
    "reputation": Verb("reputation", "backup-peer reputation explain alice"),
    "status": Verb("status", "backup-peer status"),
    "report": Verb("report", "backup-peer report"),
    "notify": Verb("notify", "backup-peer notify test"),
    "doctor": Verb("doctor", "backup-peer doctor"),
    "passphrase": Verb("passphrase", "backup-peer passphrase set"),
    "kit": Verb("kit", "backup-peer kit --to kit.html"),
    "export": Verb("export", "backup-peer export home.bp"),
    "import": Verb("importing", "backup-peer import home.bp"),
    "config": Verb("config", "backup-peer config set servers wss://one.example,wss://two.example"),
    "service": Verb("service", "backup-peer service install"),
    "logs": Verb("logs", "backup-peer logs --since 1h --level warning"),
    "leave": Verb("leave", "backup-peer leave"),
    "completion": Verb("completion", "backup-peer completion bash"),
    "agent": Verb("agent", "backup-peer agent status"),
    "demo": Verb("demo", "backup-peer demo"),
}
_ABOUT: Final = "Encrypted backups on each other's machines, with hosts you need not trust."
_EPILOG: Final = (
    "--home, --json, --quiet, --server, --verbose and --yes may also stand after the verb. First steps: `init`, then "
    "`browse`, `connect`, `backup` — or `host` to keep others' backups."
)
_INTERRUPTED: Final = 130
_WINDOWS: Final = frozenset({"win32", "cygwin", "msys"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code (DESIGN 10)."""
    words = list(sys.argv[1:] if argv is None else argv)
    front, rest = hoist_options(words)
    if rest == ["--version"]:
        sys.stdout.write(f"backup-peer {__version__}\n")
        return 0
    if sys.platform in _WINDOWS:
        from backuppeer.cli.platforms import refuse  # noqa: PLC0415 - start-up time

        return refuse(sys.stdout, sys.stderr, is_json="--json" in front)
    for stream in (sys.stdout, sys.stderr):
        # A terminal that can't show a sign gets an escape, never a traceback.
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
    verb = next((word for word in rest if not word.startswith("-")), "")
    from backuppeer.cli.signals import heeding_signals  # noqa: PLC0415 - start-up time

    try:
        with heeding_signals():
            return _run(front, rest, verb)
    except KeyboardInterrupt:
        return _INTERRUPTED


def _run(front: list[str], rest: list[str], verb: str) -> int:
    from typer import Abort  # noqa: PLC0415 - start-up time, as for all below
    from typer.exceptions import TyperException  # noqa: PLC0415

    from backuppeer.cli.screen import OutputClosed, Screen  # noqa: PLC0415
    from backuppeer.errors import BackupPeerError  # noqa: PLC0415

    yes = "--yes" in front or "-y" in front
    screen = Screen((sys.stdin, sys.stdout, sys.stderr), json="--json" in front, yes=yes)
    screen.is_quiet = "--quiet" in front or "-q" in front
    screen.is_verbose = "--verbose" in front or "-v" in front
    try:
        app = build_command(screen, verb)
        if lacking := find_lacking(front):
            from backuppeer.cli.nearly import needs_value  # noqa: PLC0415

            return _tell(screen, needs_value(app, lacking))
        code = app(args=[*front, *(rest or ["--help"])], prog_name="backup-peer", standalone_mode=False)
    except OutputClosed as exc:
        return int(exc.exit_code)
    except BackupPeerError as exc:
        return _tell(screen, exc)
    except TyperException as exc:
        from backuppeer.cli.nearly import explain  # noqa: PLC0415

        return _tell(screen, explain(exc, _show_way(exc, verb), app))
    except (KeyboardInterrupt, Abort):
        return _INTERRUPTED
    except Exception as exc:  # noqa: BLE001 - one of the two places that catch broadly (STYLE)
        return _tell(screen, _unexpected(exc))
    return _weigh(screen, int(code or 0))


def _weigh(screen: "Screen", code: int) -> int:
    """Return the exit code, 15 in place of "done" and "incomplete" when a host was caught at something meanwhile."""
    from backuppeer.errors import ExitCode  # noqa: PLC0415

    is_mild = code in {ExitCode.DONE, ExitCode.INCOMPLETE}
    return int(ExitCode.INTEGRITY) if screen.has_fault and is_mild else code


def build_app(screen: "Screen", verb: str = "") -> "typer.Typer":
    """Return the typer application that knows `verb`, or all verbs if there is no such one."""
    import typer  # noqa: PLC0415

    from backuppeer.cli.context import Context  # noqa: PLC0415
    from backuppeer.cli.options import Options  # noqa: PLC0415

    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

    @app.callback(help=_ABOUT, epilog=_EPILOG)
    def _globals(  # noqa: PLR0913 - one per option
        ctx: typer.Context,
        *,
        home: Annotated[str | None, typer.Option(metavar="DIR", help="Folder that holds this peer's state.")] = None,
        json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
        server: Annotated[
            list[str] | None, typer.Option(metavar="URL", help="Signaling server; may be repeated.")
        ] = None,
        proxy: Annotated[
            str | None, typer.Option(metavar="URL", help="Signaling goes through it: socks5:// or http://; '' = none.")
        ] = None,
        quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress: results, notes, errors.")] = False,
        verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Each step, with its time.")] = False,
        yes: Annotated[bool, typer.Option("--yes", "-y", help="Answer yes to the verb's question.")] = False,
        version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    ) -> None:
        del version  # answered before typer is loaded
        if quiet and verbose:
            from backuppeer.errors import UserError  # noqa: PLC0415 - start-up time

            raise UserError("--quiet and --verbose are two wishes", hint="leave one of them out")
        servers = tuple(server) if server else None
        ctx.obj = Context(Options(home=home, servers=servers, proxy=proxy, json=json, yes=yes), screen)

    for name in [verb] if verb in VERBS else VERBS:
        import_module(f"backuppeer.cli.{VERBS[name].module}").add_to(app)
    return app


def build_command(screen: "Screen", verb: str = "") -> Any:
    """Return the application as it is run: values are looked at before the verb begins, its help has examples."""
    from typer.main import get_command  # noqa: PLC0415

    from backuppeer.cli.examples import show_examples  # noqa: PLC0415
    from backuppeer.cli.values.looking import look_at_values  # noqa: PLC0415

    command = get_command(build_app(screen, verb))
    look_at_values(command)
    show_examples(command, {name: each.example for name, each in VERBS.items()})
    return command


def _tell(screen: "Screen", error: "BackupPeerError") -> int:
    from backuppeer.cli.screen import OutputClosed  # noqa: PLC0415

    try:
        screen.error(error)
    except OutputClosed as exc:
        return int(exc.exit_code)
    return _weigh(screen, int(error.exit_code))


def _unexpected(exc: Exception) -> "BackupPeerError":
    from backuppeer.errors import LocalError, full_disk, is_out_of_room  # noqa: PLC0415

    if is_out_of_room(exc):
        return full_disk(str(getattr(exc, "filename", None) or "a file"))
    return LocalError(
        f"unexpected error: {type(exc).__name__}: {exc}",
        hint="a fault of this program; the folder `logs` of the home has the agent's side of it, for a report",
    )


def _show_way(error: Exception, verb: str) -> str:
    """Return where to look after words that can't be understood."""
    if verb not in VERBS:
        return "`backup-peer --help` lists the verbs"
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", f"backup-peer {verb}")
    example = VERBS[verb].example
    if len(path.split()) > _WORDS_OF_VERB:
        # Not of the verb, which says nothing of it: what the command itself takes.
        example = " ".join([path, *_name_arguments(getattr(context, "command", None), getattr(context, "params", {}))])
    return f"for example: `{example}`; all there is: `{path} --help`"


def _name_arguments(command: object, typed: "Mapping[str, object]") -> "Iterator[str]":
    """Yield a word for each argument that a command takes: what was typed of a choice; else the last, the shortest."""
    from backuppeer.agent.home.config import KEYS  # noqa: PLC0415 - start-up time

    for each in getattr(command, "params", ()):
        if each.param_type_name == "argument" and each.required:
            words = (each.metavar or each.name.upper()).split("|")
            known = KEYS if words == ["KEY"] else words
            yield next((word for word in known if word == typed.get(each.name)), words[-1])


if __name__ == "__main__":
    sys.exit(main())
