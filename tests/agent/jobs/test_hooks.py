"""Hooks run as the person, see nothing of the agent's, are shown, and can neither hang a backup nor outlive it."""

import asyncio
import os
import resource
import sys
from pathlib import Path

import pytest

from agent.estates import estate_of
from agent.houses import HostHouse
from backuppeer.agent.home.config import Config
from backuppeer.agent.home.config_writer import write_config
from backuppeer.agent.home.sets import BackupSet, Hooks
from backuppeer.agent.jobs import hook_process
from backuppeer.agent.jobs.hooks import HookRunner
from backuppeer.agent.jobs.set_run import apply_set, run_backup
from backuppeer.agent.reporter import Reporter
from backuppeer.control.saving import BackupRequest, LeaveOut
from backuppeer.errors import LocalError, NotFoundError, PeerUnreachable, RefusedError, UserError
from backuppeer.ids import format_peer_id


@pytest.fixture
def house(tmp_path):
    made = HostHouse(tmp_path / "host", b"h")
    yield made
    made.close()


@pytest.fixture
def owner(tmp_path):
    from agent.houses import OwnerHouse  # noqa: PLC0415

    return OwnerHouse(tmp_path / "owner", b"o")


def run_hook(home, hooks, event="before", notes=None, **options):
    async def scenario():
        async def emit(told):
            if notes is not None and told.event == "note":
                notes.append(told.data["text"])

        reporter = Reporter(emit)
        runner = HookRunner(home, "photos", hooks, reporter)
        try:
            await runner.run(event, **options)
        finally:
            await runner.close()
            await asyncio.sleep(0)
            await reporter.drain()

    asyncio.run(scenario())


@pytest.fixture
def home(owner):
    owner.close()
    write_config(owner.home, Config(sets={"photos": BackupSet(paths=["/a"])}))
    return owner.home


def test_what_a_hook_says_is_shown_and_it_sees_no_secret(home, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "hidden")
    monkeypatch.setenv("HOME", str(tmp_path))
    notes = []
    run_hook(home, Hooks(before="env; echo to stderr >&2; pwd; cat"), notes=notes, facts={"SNAPSHOT": "abcd"})
    said = "\n".join(notes)
    assert "hidden" not in said
    assert "BACKUPPEER_SET=photos" in said
    assert "BACKUPPEER_EVENT=before" in said
    assert "BACKUPPEER_SNAPSHOT=abcd" in said
    assert "hook before: to stderr" in said
    assert f"hook before: {tmp_path}" in said


def test_a_list_is_a_program_and_its_arguments_and_no_shell(home):
    notes = []
    run_hook(home, Hooks(before=[sys.executable, "-c", "import sys; print(sys.argv[1])", "$HOME; x"]), notes=notes)
    assert notes == ["hook before: $HOME; x"]


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("exit 7", r"failed \(exit code 7\)"),
        ("kill -9 $$", "was ended by signal 9"),
        (["/no/such/program"], "can't be run: no such file"),
    ],
)
def test_a_hook_that_fails_is_told_by_name_and_place(home, command, told):
    with pytest.raises(LocalError, match=f"the hook `before` of set photos {told}") as caught:
        run_hook(home, Hooks(before=command))
    assert f"sets.photos.hooks.before in {home.config}" in caught.value.hint


def test_a_hook_that_does_not_end_is_stopped_with_its_children(home, tmp_path, monkeypatch):
    monkeypatch.setattr(hook_process, "HOOK_END_S", 0.05)
    command = f"trap '' TERM; sleep 1000 & echo $! > {tmp_path}/child; wait"
    with pytest.raises(LocalError, match="did not end in 3 s"):
        run_hook(home, Hooks(before=command), within_s=3)
    assert has_ended(tmp_path / "child")


def has_ended(file):
    """Whether the process whose number stands in a file is no more; one that nobody reaps counts as ended."""
    status = Path(f"/proc/{int(file.read_text())}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"


def leave_running(tmp_path):
    """Return a shell line that leaves something in the background, which has told its number by then."""
    left = f"sh -c 'echo $$ > {tmp_path / 'new'}; mv {tmp_path / 'new'} {tmp_path / 'child'}; exec sleep 1000'"
    return f"{left} & while [ ! -s {tmp_path / 'child'} ]; do :; done; echo begun"


def test_a_hook_that_leaves_something_in_the_background_has_ended_and_what_it_left_ends_with_the_backup(
    home, tmp_path, monkeypatch
):
    notes = []
    monkeypatch.setattr(hook_process, "HOOK_END_S", 0.2)

    async def scenario():
        async def emit(told):
            if told.event == "note":
                notes.append(told.data["text"])

        reporter = Reporter(emit)
        runner = HookRunner(home, "photos", Hooks(before=leave_running(tmp_path)), reporter)
        await runner.run("before")
        assert not has_ended(tmp_path / "child"), "what the backup may need runs as long as it does"
        await runner.close()
        assert has_ended(tmp_path / "child")
        await asyncio.sleep(0)
        await reporter.drain()

    asyncio.run(scenario())
    assert notes == ["hook before: begun"]


def test_what_a_failed_hook_left_running_ends_with_it(home, tmp_path, monkeypatch):
    monkeypatch.setattr(hook_process, "HOOK_END_S", 0.2)
    with pytest.raises(LocalError, match="exit code 4"):
        run_hook(home, Hooks(before=f"{leave_running(tmp_path)}; exit 4"))
    assert has_ended(tmp_path / "child")


@pytest.mark.parametrize("ending", ["wait", "exit 0"])
def test_a_person_who_leaves_during_a_hook_ends_it_and_all_it_began(home, tmp_path, monkeypatch, ending):
    monkeypatch.setattr(hook_process, "HOOK_END_S", 0.2)
    os.mkfifo(tmp_path / "fifo")

    async def scenario():
        async def emit(_):
            return None

        runner = HookRunner(
            home,
            "photos",
            Hooks(before=f"{leave_running(tmp_path)}; cat {tmp_path}/fifo; {ending}"),
            Reporter(emit),
        )
        task = asyncio.create_task(runner.run("before"))
        writer = await asyncio.to_thread(os.open, tmp_path / "fifo", os.O_WRONLY)  # returns once it is being read
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        os.close(writer)
        await runner.close()
        assert has_ended(tmp_path / "child")

    asyncio.run(scenario())


@pytest.mark.slow
def test_a_gigabyte_of_output_costs_no_memory(home):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    notes = []
    run_hook(home, Hooks(before="head -c 1000000000 /dev/zero; seq 30"), notes=notes)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
    assert notes[-1].startswith("hook before: … and ")


def test_of_much_output_the_beginning_is_shown_and_the_rest_counted(home):
    notes = []
    run_hook(home, Hooks(before="seq 1000; head -c 100000 /dev/zero | tr '\\0' x"), notes=notes)
    assert notes[:2] == ["hook before: 1", "hook before: 2"]
    assert len(notes) == hook_process.HOOK_LINES + 1
    assert notes[-1].endswith("more lines")


def test_settings_that_others_may_write_to_run_nothing(home, tmp_path):
    home.config.chmod(0o620)
    with pytest.raises(RefusedError, match="others may write"):
        run_hook(home, Hooks(before=f"touch {tmp_path}/ran"))
    assert not (tmp_path / "ran").exists()


# --- with a backup
def with_hooks(estate, path, log, *, before="true"):
    hooks = Hooks(
        before=f"echo before >> {log}; {before}",
        after=f'echo "after $BACKUPPEER_SNAPSHOT" >> {log}',
        failed=f'echo "failed $BACKUPPEER_ERROR" >> {log}',
    )
    write_config(estate.home, Config(sets={"photos": BackupSet(paths=[str(path)], hooks=hooks)}))


async def back_up(estate, **fields):
    request = BackupRequest(servers=[], set="photos", **fields)
    return await run_backup(estate.vault, estate.home, request, Reporter(estate._emit))


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "one").write_text("1")
    return folder


def test_before_and_after_run_around_a_backup_whose_snapshot_names_the_set(house, owner, files, tmp_path):
    log = tmp_path / "log"

    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            estate.progress = []
            with_hooks(estate, files, log)
            await back_up(estate, dry_run=True)
            assert not log.exists(), "a dry run runs nothing"
            done = await back_up(estate)
            assert (done.set, done.copies, done.hook_problem) == ("photos", 1, "")
            assert log.read_text() == f"before\nafter {done.snapshot}\n"
            from backuppeer.backup.browse import list_snapshots  # noqa: PLC0415

            ((_, snapshot),) = list_snapshots(estate.vault.repository.index)
            assert snapshot.set == "photos"

    asyncio.run(scenario())


def test_a_before_that_fails_lets_nothing_be_backed_up_and_failed_hears_why(house, owner, files, tmp_path):
    log = tmp_path / "log"

    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            with_hooks(estate, files, log, before="exit 3")
            with pytest.raises(LocalError, match="exit code 3"):
                await back_up(estate)
            assert estate.snapshots() == []
            said = log.read_text()
            assert said.startswith("before\nfailed the hook `before` of set photos failed (exit code 3)")
            assert "after" not in said

    asyncio.run(scenario())


def test_failed_runs_when_no_host_is_there(house, owner, files, tmp_path):
    log = tmp_path / "log"

    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            with_hooks(estate, files, log)
            estate.sight.away.add(house.peer)
            with pytest.raises(PeerUnreachable):
                await back_up(estate)
            assert f"failed {format_peer_id(house.peer)[:13]}: away" in log.read_text(), "with its name"

    asyncio.run(scenario())


def test_where_no_host_is_left_before_does_not_run_and_failed_hears_why(house, owner, files, tmp_path):
    log = tmp_path / "log"

    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            with_hooks(estate, files, log)
            for agreement, _, _ in estate.state.agreements():
                estate.state.end_agreement(agreement)
            with pytest.raises(NotFoundError):
                await back_up(estate)
            assert log.read_text().startswith("failed "), "what `before` stops would be stopped for nothing"

    asyncio.run(scenario())


def test_failed_runs_when_the_person_leaves(house, owner, files, tmp_path):
    log = tmp_path / "log"
    os.mkfifo(tmp_path / "fifo")

    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            with_hooks(estate, files, log, before=f"cat {tmp_path}/fifo")
            task = asyncio.create_task(back_up(estate))
            writer = await asyncio.to_thread(os.open, tmp_path / "fifo", os.O_WRONLY)  # returns once it is being read
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            os.close(writer)
            assert log.read_text() == "before\nfailed interrupted\n"

    asyncio.run(scenario())


def test_a_set_that_is_not_there_runs_nothing(house, owner, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            with pytest.raises(NotFoundError, match="nothing to back up yet"):
                await back_up(estate)

    asyncio.run(scenario())


# --- what a set makes of a request
def test_what_is_said_with_a_command_counts_before_the_set_and_patterns_add_up():
    chosen = BackupSet(
        paths=["/a"], excludes=["x"], exclude_larger_than=5, peers=["alice"], copies=2, one_file_system=True
    )
    plain = apply_set(BackupRequest(set="s"), chosen)
    assert (plain.paths, plain.to, plain.copies, plain.one_file_system) == (["/a"], ["alice"], 2, True)
    assert plain.leave_out == LeaveOut(exclude=("x",), larger_than=5)
    said = apply_set(
        BackupRequest(set="s", to=["bob"], copies=1, leave_out=LeaveOut(exclude=("y",), larger_than=9)), chosen
    )
    assert (said.to, said.copies, said.leave_out) == (["bob"], 1, LeaveOut(exclude=("x", "y"), larger_than=9))
    urgent = BackupSet(paths=["/a"], priorities=["*.kdbx"])
    assert apply_set(BackupRequest(set="s", priority=("*.doc",)), urgent).priority == ("*.doc", "*.kdbx")
    with pytest.raises(UserError, match="paths or --set"):
        apply_set(BackupRequest(set="s", paths=["/b"]), chosen)
