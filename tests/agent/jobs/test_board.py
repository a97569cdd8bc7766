"""Jobs of an agent: paused, resumed, cancelled and followed from other terminals."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from agent.estates import estate_of
from agent.houses import packs_at
from agent.loops import VirtualClock, play
from backuppeer.agent import brake as brake_module
from backuppeer.agent.brake import Brake, Halt, brake_of_job, in_job_thread, use_brake
from backuppeer.agent.host.serving import Serving
from backuppeer.agent.jobs.backup import BackupJob, Paths
from backuppeer.agent.jobs.board import Board, read_result
from backuppeer.agent.jobs.kinds import KINDS, describe_request
from backuppeer.agent.jobs.restore import RestoreJob
from backuppeer.agent.owner.turn import Turn
from backuppeer.agent.reporter import reporting
from backuppeer.clock import SystemClock
from backuppeer.control.auditing import AuditRequest
from backuppeer.control.events import Event, Progress
from backuppeer.control.restoring import RestoreRequest
from backuppeer.control.routes import ROUTES
from backuppeer.control.saving import BackupRequest, BackupResult, StreamRequest
from backuppeer.errors import InterruptedByUserError, LocalError, NotFoundError, RefusedError, UserError
from backuppeer.limits import JOB_BACKLOG, JOB_NAME_CHARS, JOB_WATCHERS, JOBS_AT_ONCE, JOBS_KEPT, JOBS_PAUSED, MIB
from backuppeer.wire.messages import PutPack
from noise import noise

REQUEST = BackupRequest(paths=["/home/me"])
RESULT = BackupResult(
    snapshot="ab" * 32, files=2, bytes=10, new_bytes=10, sent_bytes=12, seconds=0.5, errors=0, peers=[]
)


def note(text):
    return Event(event="note", data={"text": str(text)})


class Play:
    """A board, and a terminal whose jobs do what a test says."""

    def __init__(self) -> None:
        self.board, self.seen, self.go_on = Board(VirtualClock()), [], asyncio.Event()

    def begin(self, work=None, *, route="backup", request=REQUEST):
        return asyncio.create_task(self.board.run(route, request, work or self.wait, self.show))

    async def show(self, event) -> None:
        self.seen.append(event)

    async def wait(self, emit):
        await brake_of_job().run(self.go_on.wait)
        return RESULT


async def turn(times=5):
    for _ in range(times):
        await asyncio.sleep(0)


def test_a_job_is_listed_while_it_runs_and_when_it_has_ended():
    async def scenario():
        stage = Play()

        async def work(emit):
            for number in range(6):
                await emit(Event(event="progress", data=progress(bytes=number * 100)))
                await asyncio.sleep(2)
            await stage.go_on.wait()
            return RESULT

        task = stage.begin(work, request=BackupRequest(set="photos"))
        await asyncio.sleep(11)
        (row,) = stage.board.rows()
        assert (row.job, row.kind, row.of, row.by, row.state) == (1, "backup", "set photos", "command", "running")
        assert (row.bytes, row.bytes_total, row.bytes_per_s, row.left_s) == (500, 1000, 45, 11.0)
        stage.go_on.set()
        assert await task == RESULT
        (row,) = stage.board.rows()
        assert (row.state, row.code, row.bytes_per_s) == ("ended", 0, 0)
        assert row.ended
        assert len(stage.seen) == 6

    play(scenario())


def progress(**more):
    from msgspec import to_builtins  # noqa: PLC0415 - beside its only use

    return to_builtins(Progress(phase="backing up", files=1, bytes_total=1000, **more))


def test_what_an_ended_backup_came_to_is_its_result_and_not_the_last_that_was_told():
    async def scenario():
        stage = Play()

        async def work(emit):
            await emit(Event(event="progress", data=progress(bytes=7)))
            return RESULT

        await stage.begin(work)
        (row,) = stage.board.rows()
        assert (row.files, row.bytes) == (RESULT.files, RESULT.bytes)

    play(scenario())


def test_the_rate_of_a_backup_that_is_all_read_is_that_of_what_hosts_acknowledge():
    async def scenario():
        stage = Play()

        async def work(emit):
            for number in range(6):
                await emit(Event(event="progress", data=progress(bytes=1000, sent_bytes=number * 50)))
                await asyncio.sleep(2)
            await stage.go_on.wait()
            return RESULT

        task = stage.begin(work)
        await asyncio.sleep(10.5)
        (row,) = stage.board.rows()
        assert (row.bytes_per_s, row.left_s) == (23, None)
        stage.go_on.set()
        await task

    play(scenario())


def test_the_rate_of_a_restore_whose_first_pack_is_on_its_way_is_that_of_the_line():
    async def scenario():
        stage = Play()

        async def work(emit):
            for number in range(6):
                await emit(Event(event="progress", data=progress(traffic_bytes=number * 5000)))
                await asyncio.sleep(2)
            await stage.go_on.wait()
            return RESULT

        task = stage.begin(work, route="restore", request=RestoreRequest(snapshot="latest", target="/t"))
        await asyncio.sleep(10.5)
        (row,) = stage.board.rows()
        assert (row.bytes_per_s, row.left_s) == (2380, None)
        stage.go_on.set()
        await task

    play(scenario())


def test_a_question_is_no_news_when_it_was_answered():
    async def scenario():
        stage = Play()
        stage.go_on.set()
        for route in ("find", "diff", "stats", "prune"):
            await stage.begin(route=route)
        assert [row.kind for row in stage.board.rows()] == ["prune"]

    play(scenario())


def test_who_must_not_write_beside_a_paused_job_learns_which_it_is_and_how_it_goes_on():
    async def scenario():
        stage, turn_ = Play(), Turn()

        async def work(emit):
            async with turn_:
                return await stage.wait(emit)

        task = stage.begin(work)
        await turn()
        assert "is running in this home" in turn_.refuse().message
        await stage.board.pause(1)
        refused = turn_.refuse()
        assert "job 1, which is paused" in refused.message
        assert "`backup-peer resume 1` lets it go on" in refused.hint
        with pytest.raises(NotFoundError, match=r"job 1 \(backup of /home/me\) is paused already") as caught:
            await stage.board.pause(None)
        assert "`backup-peer resume 1`" in caught.value.hint
        stage.go_on.set()
        await stage.board.resume(1)
        await task
        assert not turn_.locked()
        async with turn_:
            assert "is running in this home" in turn_.refuse().message

    play(scenario())


def test_one_that_failed_says_why_and_its_terminal_hears_it_too():
    async def scenario():
        stage = Play()

        async def fail(emit):
            raise LocalError("the disk is gone", hint="plug it in")

        with pytest.raises(LocalError, match="the disk is gone"):
            await stage.begin(fail)
        (row,) = stage.board.rows()
        assert (row.code, row.message, row.hint) == (1, "the disk is gone", "plug it in")
        assert stage.board.follow(1)[0].outcome.__traceback__ is None, "it would keep the job's buffers"

    play(scenario())


def test_a_paused_job_outlives_its_terminal_and_one_that_runs_does_not():
    async def scenario():
        stage = Play()
        running, paused = stage.begin(), stage.begin()
        await turn()
        assert (await stage.board.pause(2)).state == "paused"
        for task in (running, paused):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        live, ended = stage.board.rows()
        assert (live.job, live.state, live.is_left) == (2, "paused", True)
        assert (ended.job, ended.state, ended.code) == (1, "ended", 130)
        stage.go_on.set()
        assert (await stage.board.resume(None)).state == "running"
        await turn(10)
        assert stage.board.rows()[0].code == 0

    play(scenario())


def test_a_pause_is_told_with_the_number_of_the_job_and_progress_is_silent_until_the_end_of_it():
    async def scenario():
        stage = Play()

        async def work(emit):
            while not stage.go_on.is_set():
                await emit(Event(event="progress", data=progress()))
                if stage.board.live()[0].state == "paused":
                    await emit(Event(event="state", data={"state": "waiting", "text": "waiting for alice"}))
                await asyncio.sleep(1)
            return RESULT

        task = stage.begin(work)
        await asyncio.sleep(1.5)
        row = await stage.board.pause(None)
        assert row.state == "paused"
        await asyncio.sleep(100)
        events = [(event.event, event.data.get("state"), event.data.get("job")) for event in stage.seen]
        assert events == [("progress", None, None)] * 2 + [("state", "paused", 1)]
        await stage.board.resume(1)
        stage.go_on.set()
        await task
        assert (stage.seen[3].data["state"], stage.seen[3].data["job"]) == ("resumed", 1)
        assert stage.seen[4].data["text"] == "waiting for alice", "what it came to meanwhile"

    play(scenario())


def test_cancelling_says_who_did_it_and_what_is_kept_also_of_a_paused_job():
    async def scenario():
        stage = Play()
        task = stage.begin()
        await turn()
        await stage.board.pause(None)
        row = await stage.board.cancel(None)
        assert (row.state, row.code) == ("ended", 130)
        with pytest.raises(InterruptedByUserError, match="cancelled by a person") as caught:
            await task
        assert "what a host has stored is kept" in caught.value.hint

    play(scenario())


def test_which_job_is_meant_is_never_guessed():
    async def scenario():
        stage = Play()
        with pytest.raises(NotFoundError, match="no job that could be paused"):
            await stage.board.pause(None)
        stage.begin(), stage.begin(route="restore", request=RestoreRequest(snapshot="latest", target="/t"))
        await turn()
        for ask in (stage.board.pause, stage.board.cancel):
            with pytest.raises(UserError, match=r"1 \(backup of /home/me\), 2 \(restore of latest to /t\)"):
                await ask(None)
        await stage.board.pause(2)
        assert (await stage.board.resume(None)).job == 2
        await stage.board.cancel(2)
        with pytest.raises(UserError, match="job 2 has ended"):
            await stage.board.resume(2)
        with pytest.raises(NotFoundError, match="no job 7"):
            await stage.board.cancel(7)
        assert (await stage.board.cancel(None)).job == 1

    play(scenario())


def test_a_kind_that_can_not_be_held_refuses_to_be():
    async def scenario():
        stage = Play()
        stage.begin(route="mount")
        await turn()
        with pytest.raises(RefusedError, match="a mount can't be paused") as caught:
            await stage.board.pause(1)
        assert "backup-peer cancel 1" in caught.value.hint
        await stage.board.cancel(1)

    play(scenario())


def test_there_are_only_so_many_jobs_and_only_so_many_are_remembered():
    async def scenario():
        stage = Play()
        tasks = [stage.begin() for _ in range(JOBS_AT_ONCE)]
        await turn()
        with pytest.raises(UserError, match=f"{JOBS_AT_ONCE} jobs are under way"):
            await stage.begin()
        stage.go_on.set()
        await asyncio.gather(*tasks)
        assert len(stage.board.rows()) == JOBS_KEPT < JOBS_AT_ONCE

    play(scenario())


def test_who_follows_sees_where_it_stands_and_all_from_then_on_and_leaves_it_running():
    async def scenario():
        stage = Play()

        async def work(emit):
            await emit(Event(event="state", data={"state": "waiting", "text": "waiting for alice"}))
            await emit(Event(event="progress", data=progress()))
            await stage.go_on.wait()
            await emit(note("late"))
            return RESULT

        task = stage.begin(work)
        await turn()
        job, watcher = stage.board.follow(None)
        assert [(await watcher.take()).event for _ in range(2)] == ["state", "progress"]
        job.leave(watcher)
        assert stage.board.live()[0].text == "waiting for alice"
        job, again = stage.board.follow(1)
        stage.go_on.set()
        await task
        assert [event.event for event in [event async for event in drain(again)]] == ["state", "progress", "note"]
        assert read_result(job)["files"] == 2
        assert [event.event async for event in drain(stage.board.follow(1)[1])] == ["state", "progress"]

    play(scenario())


async def drain(watcher):
    while (event := await watcher.take()) is not None:
        yield event


def test_who_follows_and_does_not_read_holds_up_nobody_and_is_told_what_it_missed():
    async def scenario():
        stage = Play()

        async def work(emit):
            await stage.go_on.wait()
            for number in range(JOB_BACKLOG + 10):
                await emit(note(number))
            return RESULT

        task = stage.begin(work)
        await turn()
        _, watcher = stage.board.follow(None)
        stage.go_on.set()
        assert await task == RESULT
        assert len(stage.seen) == JOB_BACKLOG + 10, "its own terminal gets all"
        told = [event.data["text"] async for event in drain(watcher)]
        assert len(told) == JOB_BACKLOG + 1
        assert told[-2:] == [str(JOB_BACKLOG + 9), "10 lines were left out: this terminal read too slowly"]

    play(scenario())


def test_only_so_many_are_paused():
    async def scenario():
        stage = Play()
        tasks = [stage.begin() for _ in range(JOBS_PAUSED + 1)]
        await turn()
        for number in range(1, JOBS_PAUSED + 1):
            await stage.board.pause(number)
        assert (await stage.board.pause(1)).state == "paused", "again is no further one"
        with pytest.raises(RefusedError, match=f"{JOBS_PAUSED} jobs are paused already"):
            await stage.board.pause(JOBS_PAUSED + 1)
        await stage.board.close()
        await asyncio.gather(*tasks, return_exceptions=True)

    play(scenario())


def test_engines_that_are_held_take_no_thread_of_those_that_all_else_shares():
    async def scenario():
        brake = Brake()
        use_brake(brake)
        halt = Halt()
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        brake.pull()
        held = [asyncio.create_task(in_job_thread(halt.is_set)) for _ in range(2 * JOBS_AT_ONCE)]
        assert await asyncio.to_thread(lambda: "done") == "done"
        brake.release()
        assert not any(await asyncio.gather(*held))

    asyncio.run(scenario())


def test_only_so_many_follow_one_job():
    async def scenario():
        stage = Play()
        task = stage.begin()
        await turn()
        for _ in range(JOB_WATCHERS):
            stage.board.follow(None)
        with pytest.raises(RefusedError, match=f"{JOB_WATCHERS} terminals follow job 1"):
            stage.board.follow(None)
        stage.go_on.set()
        await task

    play(scenario())


def test_an_agent_that_stops_ends_paused_jobs_too():
    async def scenario():
        stage = Play()
        tasks = [stage.begin(), stage.begin()]
        await turn()
        await stage.board.pause(1)
        await stage.board.close()
        for task in tasks:
            with pytest.raises(InterruptedByUserError):
                await task
        assert stage.board.live() == []

    play(scenario())


def test_work_of_the_schedule_is_a_job_that_can_be_cancelled():
    async def scenario():
        stage = Play()
        task = asyncio.create_task(stage.board.run_alone("backup", "set photos", stage.wait))
        await turn()
        (row,) = stage.board.live()
        assert (row.by, row.of) == ("schedule", "set photos")
        await stage.board.cancel(None)
        with pytest.raises(InterruptedByUserError):
            await task

    play(scenario())


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (BackupRequest(set="photos", paths=["/a"]), "set photos"),
        (BackupRequest(paths=["/a", "/b", "/c"]), "/a and 2 more"),
        (StreamRequest(name="db.sql"), "db.sql"),
        (RestoreRequest(snapshot="latest", path="/home", target="/t", set="photos"), "latest:/home to /t"),
        (RestoreRequest(snapshot="ab" * 32, target="/t"), "abababab to /t"),
        (AuditRequest(), ""),
        (BackupRequest(paths=["/" + "x" * 500]), "/" + "x" * (JOB_NAME_CHARS - 2) + "…"),
    ],
)
def test_a_job_is_called_by_what_was_asked_for(request_, said):
    assert describe_request(request_) == said


def test_every_kind_of_job_is_a_route_that_works():
    assert all(ROUTES[name].work or ROUTES[name].bulk or ROUTES[name].feed for name in KINDS)


# --- real backups and restores
class Busy:
    """An estate whose jobs run on a board; `pause_at` pauses when a job says that it is at something."""

    def __init__(self, estate) -> None:
        self.estate, self.board, self.pause_at, self.paused = estate, Board(SystemClock()), "", asyncio.Event()

    async def back_up(self, path):
        request = BackupRequest(servers=[], paths=[str(path)])

        async def work(emit):
            async with reporting(emit) as reporter:
                return await BackupJob(self.estate.vault, request, reporter, Paths(request)).run()

        return await self.board.run("backup", request, work, self.hear)

    async def restore(self, snapshot, target):
        request = RestoreRequest(servers=[], snapshot=snapshot, target=str(target))

        async def work(emit):
            async with reporting(emit) as reporter:
                return await RestoreJob(self.estate.vault, request, reporter, emit).run()

        return await self.board.run("restore", request, work, self.hear)

    async def hear(self, event) -> None:
        if self.pause_at and self.pause_at in (event.data.get("phase"), event.data.get("state")):
            self.pause_at = ""
            await self.board.pause(None)
            self.paused.set()


class Counting:
    """An honest host that counts packs, and takes none of them while `is_slow`."""

    def __init__(self, house) -> None:
        self.honest = Serving(house.premises, house.revising.consider, house.standing.blame, house.standing.note_deed)
        self.puts, self.is_slow, self.asked = 0, False, asyncio.Event()

    async def serve(self, peer, channel):
        message = await channel.receive_any()
        if isinstance(message, PutPack):
            self.puts += 1
            self.asked.set()
            if self.is_slow:
                await asyncio.Event().wait()
        await self.honest._answer(peer, channel, message)
        await channel.finish()
        await channel.wait_end()


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}").write_bytes(noise(MIB // 2, number))
    return folder


@pytest.mark.parametrize("pause_at", ["connecting", "connected", "backing up"])
def test_a_paused_backup_reads_and_sends_nothing_and_goes_on_where_it_was(house, owner, files, tmp_path, pause_at):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            busy = Busy(estate)
            busy.pause_at = pause_at
            task = asyncio.create_task(busy.back_up(files))
            await busy.paused.wait()
            session, before = estate.sight.sessions[house.peer], packs_at(house)
            (row,) = busy.board.live()
            assert row.state == "paused"
            await asyncio.to_thread((files / "0").write_bytes, noise(MIB // 2, 99))
            assert (packs_at(house), row.bytes_per_s) == (before, 0)
            await busy.board.resume(None)
            done = await task
            assert (done.files, done.errors) == (6, 0)
            assert estate.sight.sessions[house.peer] is session
            assert session.is_open
            await estate.restore(done.snapshot, tmp_path / "back")
            back = tmp_path / "back" / str(files).lstrip("/")
            assert {path.name: path.read_bytes() for path in back.iterdir()} == {
                path.name: path.read_bytes() for path in files.iterdir()
            }

    asyncio.run(scenario())


def test_a_pack_that_a_slow_host_was_being_sent_is_broken_off_and_sent_again_in_the_same_session(
    house, owner, files, tmp_path, monkeypatch
):
    monkeypatch.setattr(brake_module, "PAUSE_GRACE_S", 0.05)

    async def scenario():
        host = Counting(house)
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            sessions = estate.links[house.peer].far.sessions
            sessions._hooks = replace(sessions._hooks, serve=host.serve)
            busy, host.is_slow = Busy(estate), True
            task = asyncio.create_task(busy.back_up(files))
            await host.asked.wait()
            session = estate.sight.sessions[house.peer]
            assert (await busy.board.pause(None)).state == "paused"
            before, host.is_slow = host.puts, False
            await busy.board.resume(None)
            assert (await task).files == 6
            assert host.puts > before
            assert estate.sight.sessions[house.peer] is session
            assert session.is_open

    asyncio.run(scenario())


def test_a_paused_backup_that_is_cancelled_leaves_no_snapshot_and_no_thread(house, owner, files, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            busy = Busy(estate)
            busy.pause_at = "backing up"
            task = asyncio.create_task(busy.back_up(files))
            await busy.paused.wait()
            await busy.board.cancel(None)
            with pytest.raises(InterruptedByUserError):
                await task
            assert estate.snapshots() == []
            assert (await busy.back_up(files)).files == 6

    asyncio.run(scenario())


def test_a_paused_restore_writes_nothing_and_goes_on(house, owner, files, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            busy, target = Busy(estate), tmp_path / "back"
            done = await busy.back_up(files)
            busy.pause_at = "restoring"
            task = asyncio.create_task(busy.restore(done.snapshot, target))
            await busy.paused.wait()
            (row,) = busy.board.live()
            assert (row.kind, row.state) == ("restore", "paused")
            await busy.board.resume(None)
            assert (await task).files == 6

    asyncio.run(scenario())
