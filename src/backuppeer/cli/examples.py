"""Calls of every verb that `--help` shows; a test has each of them parsed.

Knows: verbs by their words. Must not know: what they do. The first example of a verb stands beside its module in
`main.VERBS`, where hints take it from.
"""

from typing import Any, Final

from backuppeer.cli.further import ITSELF

_PROGRAM: Final = "backup-peer"
EXAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "init": ("init --kit kit.html",),
    "recover": ("recover --check", "recover --take-over"),
    "id": ("id --where",),
    "server": ("server --listen :443 --tls-cert chain.pem --tls-key key.pem",),
    "host": (
        "host --storage 50GB --accept trusted --region EU --detach",
        "host --stop",
    ),
    "browse": ("browse --region EU --sort free --watch",),
    "connect": ("connect --best --storage 10GB", "connect alice --trial"),
    "invite": ("invite",),
    "invite create": ("invite create --name alice --storage 20GB", "invite create --spoken"),
    "invite list": ("invite list",),
    "invite revoke": ("invite revoke alice",),
    "requests": ("requests",),
    "requests list": ("requests list",),
    "requests accept": ("requests accept alice", "requests accept r7f3a --name alice"),
    "requests reject": ("requests reject alice --reason 'no room left'",),
    "requests offer": ("requests offer alice --storage 5GB --term 6mo",),
    "peers list": ("peers list",),
    "peers set": ("peers set alice --name 'old alice'", "peers set alice --cap none"),
    "peers verify": ("peers verify alice",),
    "peers resize": ("peers resize alice 20GB",),
    "peers renew": ("peers renew alice --term 1y",),
    "peers lock": ("peers lock alice 7d",),
    "peers purge": ("peers purge alice",),
    "peers end": ("peers end alice",),
    "peers show": ("peers show alice --history 20",),
    "peers forgive": ("peers forgive alice",),
    "peers replace": ("peers replace alice bob",),
    "peers undelete": ("peers undelete alice", "peers undelete alice 3fa9c1d2"),
    "backup": (
        "backup ~/documents ~/photos --exclude '*.tmp' --tag holidays",
        "backup --set photos --dry-run",
        "backup --stdin-from-command --stdin-name db.sql -- pg_dump shop",
    ),
    "backup add": ("backup add ~/documents --set documents --to alice",),
    "backup remove": ("backup remove ~/documents/old --set documents",),
    "backup sets": ("backup sets",),
    "snapshots": ("snapshots --tag holidays --latest 3",),
    "ls": ("ls 3fa9c1d2", "ls latest --set photos"),
    "find": ("find '*/invoices/*' --type file --min-size 1MB",),
    "diff": ("diff 3fa9c1d2:/home/me latest:/home/me",),
    "restore": (
        "restore 3fa9c1d2 --target /tmp/restored --include '*.jpg'",
        "restore latest --set photos --target /tmp/restored --dry-run",
    ),
    "forget": ("forget 3fa9c1d2", "forget --keep-within 90d --dry-run"),
    "prune": ("prune --dry-run",),
    "tag": ("tag 3fa9c1d2 --remove holidays",),
    "dump": ("dump latest:/home/me/notes.txt --target notes.txt",),
    "mount": ("mount /mnt/backups --snapshot latest",),
    "stats": ("stats",),
    "check": ("check", "check --read-data"),
    "audit": ("audit", "audit --now alice"),
    "audit verify-proof": ("audit verify-proof proof.json",),
    "audit rebut": ("audit rebut proof.json --to answer.json",),
    "reputation": ("reputation", "reputation --me --wait 30s"),
    "reputation explain": ("reputation explain alice",),
    "status": ("status --json",),
    "doctor": ("doctor --bundle report.json",),
    "jobs": ("jobs attach 3", "jobs --json"),
    "jobs attach": ("jobs attach", "jobs attach 3"),
    "pause": ("pause 3",),
    "resume": ("resume 3",),
    "cancel": ("cancel 3",),
    "notify test": ("notify test",),
    "passphrase show": ("passphrase show",),
    "passphrase set": ("passphrase set",),
    "passphrase keyring": ("passphrase keyring",),
    "passphrase remove": ("passphrase remove",),
    "config get": ("config get servers",),
    "config set": (
        "config set servers wss://one.example,wss://two.example",
        "config set region EU",
        "config set bandwidth.up 5MB/s",
        "config set bandwidth.quiet 22:00-07:00",
        "config set notify.urls -",
        "config set audits off",
    ),
    "config edit": ("config edit",),
    "config list": ("config list",),
    "config servers": ("config servers",),
    "config servers add": ("config servers add wss://one.example",),
    "config servers remove": ("config servers remove wss://one.example",),
    "config servers list": ("config servers list",),
    "config servers test": ("config servers test wss://one.example",),
    "service install": ("service install",),
    "service uninstall": ("service uninstall",),
    "service status": ("service status",),
    "service logs": ("service logs --lines 200",),
    "agent start": ("agent start",),
    "agent stop": ("agent stop",),
    "agent status": ("agent status --json",),
    "agent run": ("agent run",),
    "completion": ("completion fish",),
    "demo": ("demo ~/photos",),
}


def list_examples(verb: str, first: str = "") -> tuple[str, ...]:
    """Return calls of a verb, as they are typed; first: one that stands elsewhere."""
    rest = (f"{_PROGRAM} {words}" for words in EXAMPLES.get(verb, ()))
    return tuple(dict.fromkeys(call for call in (first, *rest) if call))


def show_examples(command: Any, firsts: dict[str, str], verb: str = "") -> None:
    """Have the help of a command, and of those below it, end with its examples.

    verb: the words that lead to the command. firsts: the first example of a verb.
    """
    below = dict(getattr(command, "commands", {}))
    if verb and ITSELF not in below:
        calls = list_examples(verb, firsts.get(verb, ""))
        shown = "\n".join(["\b", "Examples:", *(f"  {call}" for call in calls)])
        command.epilog = "\n\n".join(part for part in (command.epilog or "", shown) if part)
    for name, each in below.items():
        show_examples(each, firsts, verb if name == ITSELF else f"{verb} {name}".strip())
