"""Which option and which argument takes what: one line for each, which a test asks for.

Knows: names as they are typed. Must not know: what a kind means (`kinds`), how a value is looked at (`looking`).
What means something else with one verb stands under `VERB --option` as well. Arguments go by what the help calls them.
"""

from dataclasses import replace
from typing import Final

from backuppeer.cli.selection import GROUPS
from backuppeer.cli.values import kinds
from backuppeer.cli.values.kinds import Kind, one_of, some_of

_FIELDS: Final = some_of(*GROUPS.split(","))
_SIDE: Final = one_of("owner", "host")

OPTIONS: Final[dict[str, Kind]] = {
    "--accept": one_of("ask", "trusted", "all"),
    "--add": kinds.TAG,
    "--archive": one_of("tar"),
    "--as": _SIDE,
    "--at": kinds.COUNT,
    "--audit-budget": replace(kinds.SIZE, example="2GB"),
    "--availability": kinds.AVAILABILITY,
    "--bundle": replace(kinds.FILE, example="report.json"),
    "--cap": replace(kinds.CAP, example="none"),
    "--cluster": kinds.CLUSTER,
    "--copies": kinds.COUNT,
    "--data": replace(kinds.FOLDER, example="/var/lib/backup-peer"),
    "--duration": replace(kinds.SPAN, example="2h"),
    "--egress-budget": kinds.SIZE,
    "--exclude": kinds.PATTERN,
    "--exclude-file": replace(kinds.PATH, example="not-these.txt"),
    "--exclude-if-present": replace(kinds.PATTERN, example=".nobackup"),
    "--exclude-larger-than": replace(kinds.SIZE, example="1GB"),
    "--expires": replace(kinds.SPAN, example="24h"),
    "--files-from": replace(kinds.PATH, example="these.txt"),
    "--group-by": _FIELDS,
    "--history": replace(kinds.COUNT, example="20"),
    "--home": replace(kinds.FOLDER, example="~/other-home"),
    "--host": kinds.MACHINE,
    "--iexclude": kinds.PATTERN,
    "--include": kinds.PATTERN,
    "--keep-daily": replace(kinds.COUNT, example="7"),
    "--keep-hourly": replace(kinds.COUNT, example="24"),
    "--keep-last": replace(kinds.COUNT, example="10"),
    "--keep-monthly": replace(kinds.COUNT, example="12"),
    "--keep-tag": kinds.NAMED_TAG,
    "--keep-weekly": replace(kinds.COUNT, example="5"),
    "--keep-within": kinds.SPAN,
    "--keep-yearly": kinds.COUNT,
    "--kit": replace(kinds.FILE, example="kit.html"),
    "--latest": kinds.COUNT,
    "--level": kinds.COUNT,
    "logs --level": one_of("debug", "info", "warning", "error", "critical"),
    "--limit": replace(kinds.COUNT, example="20"),
    "server --limit": kinds.LIMIT,
    "--lines": replace(kinds.COUNT, example="50"),
    "--listen": kinds.LISTEN,
    "--lock": replace(kinds.WAIT, example="30d"),
    "--max-repack-size": kinds.SIZE,
    "--max-size": replace(kinds.SIZE, example="1GB"),
    "--max-unused": kinds.UNUSED,
    "--min-availability": replace(kinds.SHARE, example="95%"),
    "--min-size": replace(kinds.SIZE, example="10MB"),
    "--min-storage": kinds.SIZE,
    "--min-trust": kinds.SHARE,
    "--move-store": replace(kinds.FOLDER, example="/mnt/disk/store"),
    "--name": kinds.ALIAS,
    "--newer": kinds.MOMENT,
    "--observe": kinds.OBSERVE,
    "--older": kinds.MOMENT,
    "--origin": kinds.SERVER,
    "--overwrite": one_of("if-changed", "if-newer", "never", "always"),
    "--path": kinds.PATH,
    "--peer": kinds.CONTACT,
    "--priority": kinds.PATTERN,
    "--proxy": kinds.PROXY,
    "--read-data-subset": kinds.SUBSET,
    "--reason": kinds.TEXT,
    "--rebuttal": replace(kinds.FILE, example="proof.answer"),
    "--reciprocity": kinds.TIMES,
    "--region": kinds.REGIONS,
    "host --region": kinds.REGION,
    "--relay-rate": kinds.RATE,
    "--relay-url": kinds.RELAY_URL,
    "--remove": kinds.NAMED_TAG,
    "--server": replace(kinds.SERVER, may_be_empty=True),
    "--set": kinds.NAMED_SET,
    "backup --set": kinds.SET,
    "backup add --set": kinds.SET,
    "tag --set": replace(kinds.TAG, may_be_empty=True),
    "--since": replace(kinds.MOMENT, example="1h"),
    "--snapshot": kinds.SNAPSHOT,
    "--sort": one_of("trust", "free", "availability"),
    "--stamp-bits": replace(kinds.COUNT, example="20"),
    "--stdin-name": replace(kinds.PATH, example="dump.sql"),
    "--storage": kinds.SIZE,
    "--store": replace(kinds.FOLDER, example="/mnt/disk/store"),
    "--tag": kinds.NAMED_TAG,
    "backup --tag": kinds.TAG,
    "--target": replace(kinds.FOLDER, example="~/restored"),
    "dump --target": replace(kinds.FILE, example="me.tar"),
    "--term": replace(kinds.SPAN, example="1y"),
    "--tls-cert": replace(kinds.FILE, example="fullchain.pem"),
    "--tls-key": replace(kinds.FILE, example="privkey.pem"),
    "--to": kinds.PEER,
    "audit rebut --to": replace(kinds.FILE, example="proof.answer"),
    "kit --to": replace(kinds.FILE, example="kit.html"),
    "--trusted-proxy": kinds.NETWORK,
    "--type": one_of("file", "dir", "symlink", "fifo", "chardev", "blockdev"),
    "--uses": kinds.COUNT,
    "--wait": kinds.WAIT,
}
ARGUMENTS: Final[dict[str, Kind]] = {
    "ALICE": kinds.PEER,
    "BOB": replace(kinds.PEER, example="bob"),
    "DIR": kinds.FOLDER,
    "FILE": kinds.FILE,
    "ID|PREFIX|ALIAS": kinds.PEER,
    "ID|PREFIX|ALIAS|INVITE": kinds.WHOM,
    "INVITE": kinds.INVITE,
    "JOB": kinds.COUNT,
    "KEY": kinds.KEY,
    "PATH": kinds.PATH,
    "backup PATH": replace(kinds.PATH, may_be_empty=True),  # with --stdin-from-command: what a command is given
    "PATTERN": kinds.PATTERN,
    "PEER": kinds.PEER,
    "REQUEST|PEER": kinds.REQUEST,
    "SIZE": replace(kinds.SIZE, example="20GB"),
    "SNAPSHOT": kinds.SNAPSHOT,
    "SNAPSHOT[:PATH]": kinds.PLACE,
    "SPAN": replace(kinds.WAIT, example="7d"),
    "URL": kinds.SERVER,
    "VALUE": kinds.SETTING,
    "bash|zsh|fish": kinds.SHELL,
}


def find_kind(verb: str, names: tuple[str, ...]) -> Kind | None:
    """Return what an option of a verb takes, by any of its names, or an argument by what the help calls it.

    verb: as it is typed, with what follows it: `peers set`; empty for what all verbs take.
    """
    for name in names:
        for key in (f"{verb} {name}", name):
            if kind := OPTIONS.get(key) or ARGUMENTS.get(key):
                return kind
    return None
