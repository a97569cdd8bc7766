"""Any order of backups, forgetting, prunes, tags, restores, checks, losses and power cuts, against dictionaries.

The model: what the files are (path → what they hold and are), and what each snapshot is of. A job that was cut off may
have come true or not, never half: until the next job tells which, it stands in `unsure`.
"""

import os
import shutil
import stat
import tempfile
from collections.abc import Coroutine
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from backuppeer.backup.amending import ORIGINAL
from backuppeer.errors import BackupPeerError, NotFoundError
from backuppeer.ids import StoredId
from backuppeer.repo.snapshot import decode_snapshot
from crash.world import check, check_store, forget, pass_time, prune, tag
from e2e.harness import below
from noise import noise
from soak.world import HOSTS, LOCK_S, OWNER, Cut, World

Entry = tuple[str, int, int, bytes]
"""Kind, permission bits, time of change (0 of folders), content or target."""
Tree = dict[bytes, Entry]
NAMES = st.sampled_from([b"a", b"b", b"c/d", b"c/e", b"c/f/g", b"\xff\xfe", b"h i"])
CONTENTS = st.one_of(
    st.binary(max_size=40),
    st.tuples(st.integers(0, 5), st.integers(1, 700_000)).map(lambda made: noise(made[0], made[1])),
)
MODES = st.sampled_from([0o644, 0o600, 0o755, 0o4755, 0o444])
TIMES = st.integers(-(10**9), 4 * 10**9).map(lambda s: s * 10**9 + 7)
DYING = st.sampled_from([(OWNER,), HOSTS, (OWNER, *HOSTS), (HOSTS[0],)])
SEEDS = st.none() | st.integers(0, 99)
PLACES = st.integers(0, 99)
WISHES = st.fixed_dictionaries({"max_unused_bytes": st.sampled_from([None, 0, 10**6]), "repack_small": st.booleans()})


def look(root: Path) -> Tree:
    """Return what a folder holds."""
    found: Tree = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            seen = path.lstat()
            kind = {stat.S_IFDIR: "folder", stat.S_IFLNK: "link", stat.S_IFREG: "file"}[stat.S_IFMT(seen.st_mode)]
            held = path.read_bytes() if kind == "file" else os.fsencode(path.readlink()) if kind == "link" else b""
            mode = stat.S_IMODE(seen.st_mode) if kind == "file" else 0
            found[os.fsencode(path.relative_to(root))] = (kind, mode, seen.st_mtime_ns if kind != "folder" else 0, held)
    return found


class Backups(RuleBasedStateMachine):
    """What a person and bad luck may do, in any order."""

    def __init__(self) -> None:
        super().__init__()
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.base = Path(tempfile.mkdtemp(prefix="bp-soak-", dir=memory))
        self.world = World(self.base)
        self.files: Tree = {}
        self.snapshots: dict[str, Tree] = {}
        self.unsure: list[Tree] = []
        """Backups that were cut off: there may be a snapshot of each."""
        self.unsure_gone: set[str] = set()
        """Snapshots whose forgetting was cut off."""
        self.is_unheard = False
        """Whether databases were lost since the hosts were last heard."""
        self.ages_s = dict.fromkeys(HOSTS, 0)
        self.held: dict[str, dict[StoredId, int | None]] = {name: {} for name in HOSTS}
        """What each host was seen to keep: at which age it was seen deleted, None while it is not."""

    def teardown(self) -> None:
        try:
            if self.snapshots:
                self._settle()
                self._check_all()
                for name in HOSTS:
                    self.let_time_pass(name, 100 * LOCK_S)
                self.world.estate.lose_repository()
                self._check_all()
                for house in self.world.houses.values():
                    check_store(house)
        finally:
            self.world.close()
            shutil.rmtree(self.base)

    # --- the files
    @initialize(content=CONTENTS)
    def begin(self, content: bytes) -> None:
        self.write(b"a", content, 0o644, 10**18)

    @rule(name=NAMES, content=CONTENTS, mode=MODES, time_ns=TIMES)
    def write(self, name: bytes, content: bytes, mode: int, time_ns: int) -> None:
        path = self._clear(name)
        path.write_bytes(content)
        path.chmod(mode)
        os.utime(path, ns=(0, time_ns))
        self.files[name] = ("file", mode, time_ns, content)

    @rule(name=NAMES, aim=st.sampled_from([b"a", b"nowhere", b"../c"]), time_ns=TIMES)
    def link(self, name: bytes, aim: bytes, time_ns: int) -> None:
        path = self._clear(name)
        path.symlink_to(os.fsdecode(aim))
        os.utime(path, ns=(0, time_ns), follow_symlinks=False)
        self.files[name] = ("link", 0, time_ns, aim)

    @rule(name=NAMES)
    def remove(self, name: bytes) -> None:
        self._clear(name)

    def _clear(self, name: bytes) -> Path:
        """Let nothing stand at a name, and folders above it."""
        path = self.world.files / os.fsdecode(name)
        for parent in [part for part in Path(os.fsdecode(name)).parents if part.name][::-1]:
            (self.world.files / parent).mkdir(exist_ok=True)
            self.files[os.fsencode(parent)] = ("folder", 0, 0, b"")
        path.unlink(missing_ok=True)
        self.files.pop(name, None)
        return path

    # --- the person
    @rule(to=st.sampled_from([(), HOSTS[:1], HOSTS[1:]]))
    def back_up(self, to: tuple[str, ...]) -> None:
        houses = [self.world.houses[name] for name in to]
        made = self._run(self.world.estate.back_up(self.world.files, *houses))
        assert made.errors == 0
        self.snapshots[made.snapshot] = dict(self.files)
        self._settle()

    # Which rules may run, and what is drawn for them, must not hang on how jobs ended that were cut off: that differs
    # from run to run, and hypothesis would take the machine for broken. So rules look for themselves whether to act.
    def _choose(self, at: int, *, of: int = 1) -> str | None:
        """Return one of the snapshots, None when there are less than `of`."""
        self._settle()
        return list(self.snapshots)[at % len(self.snapshots)] if len(self.snapshots) >= of else None

    @rule(at=PLACES)
    def restore(self, at: int) -> None:
        if chosen := self._choose(at):
            self._check(chosen)

    @rule(at=PLACES)
    def forget(self, at: int) -> None:
        if chosen := self._choose(at, of=2):
            self._run(forget(self.world.estate, chosen))
            del self.snapshots[chosen]

    @rule(at=PLACES)
    def tag(self, at: int) -> None:
        chosen = self._choose(at)
        if chosen and "kept" not in self._listed()[chosen].tags:
            self.snapshots[self._run(tag(self.world.estate, chosen))] = self.snapshots.pop(chosen)

    @rule(wishes=WISHES)
    def prune(self, wishes: dict[str, Any]) -> None:
        if self.snapshots:
            self._run(prune(self.world.estate, **wishes))

    @rule(is_full=st.booleans())
    def check(self, is_full: bool) -> None:
        if not self._choose(0):
            return
        found = self._run(check(self.world.estate, read_data=is_full))
        assert (found.problems, found.files_hit, found.snapshots_hit) == ([], 0, [])
        assert found.snapshots == len(self.snapshots)

    @rule(name=st.sampled_from(HOSTS), seconds=st.sampled_from([1, LOCK_S // 2, LOCK_S, 10 * LOCK_S]))
    def let_time_pass(self, name: str, seconds: int) -> None:
        self.ages_s[name] += seconds
        event(f"packs were erased: {pass_time(self.world.houses[name], seconds) > 0}")

    # --- bad luck
    @rule(at=st.integers(1, 90), who=DYING, seed=SEEDS)
    def cut_backup(self, at: int, who: tuple[str, ...], seed: int | None) -> None:
        made = self._run_cut(self.world.estate.back_up(self.world.files), at, who, seed)
        if made is None:
            self.unsure.append(dict(self.files))
        else:
            self.snapshots[made.snapshot] = dict(self.files)
            self._settle()

    @rule(which=PLACES, at=st.integers(1, 40), who=DYING, seed=SEEDS)
    def cut_forget(self, which: int, at: int, who: tuple[str, ...], seed: int | None) -> None:
        if chosen := self._choose(which, of=2):
            self.unsure_gone.add(chosen)
            self._run_cut(forget(self.world.estate, chosen), at, who, seed)

    @rule(wishes=WISHES, at=st.integers(1, 60), who=DYING, seed=SEEDS)
    def cut_prune(self, wishes: dict[str, Any], at: int, who: tuple[str, ...], seed: int | None) -> None:
        if self.snapshots:
            self._run_cut(prune(self.world.estate, **wishes), at, who, seed)

    @rule()
    def stop_and_start(self) -> None:
        self.world.reopen()

    @rule(names=st.sampled_from([(), ("index",), ("ledger",), ("trees",), ("index", "ledger")]))
    def lose_databases(self, names: tuple[str, ...]) -> None:
        if self.snapshots:
            self.world.estate.lose_repository(*names)
            self.is_unheard = True

    def _run(self, job: Coroutine[Any, Any, Any]) -> Any:
        return self.world.run(job)

    def _run_cut(self, job: Coroutine[Any, Any, Any], at: int, who: tuple[str, ...], seed: int | None) -> Any:
        """Run a job with the power gone at a send; return what it came to, None when it was cut off."""
        result = None
        with Cut(at, who, self.world) as cut:
            try:
                result = self._run(job)
            except BackupPeerError:
                assert cut.has_come, "a job failed though nothing happened"
        event(f"the power went: {cut.has_come}, the job ended well: {result is not None}")
        self.world.reopen(cut, who, seed=seed)
        self.is_unheard = True
        # An owner that died does not know what it was told after that; a host that died has kept what it acknowledged.
        return None if cut.has_come and OWNER in who else result

    # --- what must hold
    def _listed(self) -> dict[str, Any]:
        rows = self.world.estate.vault.repository.index.snapshots()
        return {name.hex(): decode_snapshot(body) for name, body in rows}

    def _settle(self) -> None:
        """Learn which of the jobs that were cut off came true, from what the hosts say."""
        if not self.is_unheard:
            return
        target = self.base / "out"
        is_something_sure = bool(self.snapshots.keys() - self.unsure_gone)
        with nullcontext() if is_something_sure else suppress(NotFoundError):
            self._run(self.world.estate.restore("latest", target))
        shutil.rmtree(target, ignore_errors=True)
        listed = self._listed()
        for gone in [name for name in self.unsure_gone if name not in listed]:
            self.snapshots.pop(gone, None)
        for name in listed.keys() - self.snapshots.keys():
            found = self._restore(name)
            assert found in self.unsure, f"snapshot {name[:8]} is of nothing that there ever was"
            self.snapshots[name] = found
        self.unsure.clear()
        self.unsure_gone.clear()
        self.is_unheard = False

    @invariant()
    def nothing_acknowledged_is_unlisted(self) -> None:
        if self.is_unheard:
            return  # the next job learns it from the hosts
        listed = self._listed()
        assert listed.keys() == self.snapshots.keys()
        assert all(body.ext.get(ORIGINAL, b"x") for body in listed.values())

    @invariant()
    def no_host_erases_but_what_was_deleted_for_as_long_as_the_lock(self) -> None:
        for name, held in self.held.items():
            alive, deleted = self.world.keeps(name)
            age_s = self.ages_s[name]
            for stored in held.keys() - alive - deleted:
                since_s = held.pop(stored)
                assert since_s is not None, "a pack was erased that nobody had deleted"
                assert age_s - since_s >= LOCK_S, f"a pack was erased {age_s - since_s} s after it was deleted"
            held.update(dict.fromkeys(alive))
            held.update({stored: held.get(stored) if held.get(stored) is not None else age_s for stored in deleted})

    def _check_all(self) -> None:
        for name in self.snapshots:
            self._check(name)

    def _check(self, name: str) -> None:
        assert self._restore(name) == self.snapshots[name]

    def _restore(self, name: str) -> Tree:
        target = self.base / "out"
        done = self._run(self.world.estate.restore(name, target))
        assert done.errors == 0
        found = look(below(target, self.world.files))
        shutil.rmtree(target)
        return found
