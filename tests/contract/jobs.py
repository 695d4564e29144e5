"""What every job queue must do; `test_jobs.py` runs it over all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest

from lightrag_server.errors import InvalidInput
from lightrag_server.ports.jobs import (
    LONGEST_DELAY_S,
    NOTES_KEPT,
    WORKER_DIED,
    Job,
    JobQueue,
    JobState,
    NewJob,
    Note,
    Progress,
)

KINDS = ["prepare", "commit"]
STALE_S = 30
LOOK_S = 5


class Clock:
    """`now` may be set; `ticks` only goes on, by `pass_`."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.passed = 0.0

    def __call__(self) -> float:
        return self.now

    def ticks(self) -> float:
        return self.passed

    def pass_(self, seconds: float) -> None:
        self.now += seconds
        self.passed += seconds


OpenQueue = Callable[[Clock], Awaitable[JobQueue]]


async def claimed(queue: JobQueue, owner: str = "a") -> Job:
    job = await queue.claim(owner, KINDS)
    assert job is not None
    return job


async def watched(queue: JobQueue, clock: Clock, seconds: int, beating: Sequence[str] = ()) -> int:
    """Let time pass while the queue is looked after; return how many jobs were put back. `STALE_S` is too long."""
    reaped = await queue.reap(STALE_S)
    for _ in range(seconds // LOOK_S):
        clock.pass_(LOOK_S)
        for owner in beating:
            await queue.beat(owner, [])
        reaped += await queue.reap(STALE_S)
    return reaped


async def one(queue: JobQueue, id: int) -> Job:
    return (await queue.get([id]))[id]


def prepare(subject: str = "doc", **changes: object) -> NewJob:
    return replace(NewJob("prepare", "w", subject), **changes)  # pyright: ignore[reportArgumentType]


class JobQueueContract:
    """A subclass gives the fixture `queue`, made with the fixture `clock`."""

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    # -- enqueue

    async def test_enqueue_of_nothing_adds_nothing(self, queue: JobQueue):
        assert await queue.enqueue([]) == []
        assert await queue.open_jobs() == []

    async def test_depths_count_open_jobs_by_kind_and_state(self, queue: JobQueue):
        await queue.enqueue([prepare("a"), prepare("b"), prepare("c"), NewJob("commit", "v")])
        await queue.finish(await claimed(queue), JobState.DONE)
        await claimed(queue)
        expected = {("prepare", JobState.DOING): 1, ("prepare", JobState.TODO): 1, ("commit", JobState.TODO): 1}
        assert await queue.depths() == expected

    async def test_enqueued_jobs_wait_as_they_were_given(self, queue: JobQueue):
        ids = await queue.enqueue([prepare("a"), NewJob("commit", "w", lock="commit/w")])
        assert await queue.open_jobs() == [
            Job(ids[0], "prepare", "w", "a", None, JobState.TODO),
            Job(ids[1], "commit", "w", "", "commit/w", JobState.TODO),
        ]

    async def test_an_equal_todo_job_is_returned_instead_of_a_second_one(self, queue: JobQueue):
        first, second, third = await queue.enqueue([prepare("a"), prepare("a"), prepare("b")])
        assert first == second != third
        assert await queue.enqueue([prepare("a")]) == [first]
        assert len(await queue.open_jobs()) == 2

    async def test_jobs_differ_by_kind_workspace_and_subject(self, queue: JobQueue):
        jobs = [NewJob("prepare", "w", "s"), NewJob("commit", "w", "s"), NewJob("prepare", "x", "s")]
        assert len(set(await queue.enqueue(jobs))) == 3

    async def test_the_shorter_delay_of_equal_jobs_counts(self, queue: JobQueue, clock: Clock):
        await queue.enqueue([prepare(delay_s=100)])
        await queue.enqueue([prepare(delay_s=5)])
        await queue.enqueue([prepare(delay_s=50)])
        clock.now += 5
        assert await queue.claim("a", KINDS) is not None

    async def test_while_a_job_runs_an_equal_one_may_wait(self, queue: JobQueue):
        [first] = await queue.enqueue([prepare()])
        await claimed(queue)
        [second] = await queue.enqueue([prepare()])
        assert second != first

    async def test_odd_subjects_are_kept(self, queue: JobQueue):
        subjects = ["", 'quote\'s "x"', "a/b\\c", "文件😀", "x" * 500, "%_"]
        await queue.enqueue([prepare(s) for s in subjects])
        assert [job.subject for job in await queue.open_jobs()] == subjects
        assert await queue.cancel("w", KINDS, "%_") == 1

    # -- claim

    async def test_an_empty_queue_gives_none(self, queue: JobQueue):
        assert await queue.claim("a", KINDS) is None

    async def test_the_oldest_job_is_claimed_first(self, queue: JobQueue):
        ids = await queue.enqueue([prepare(str(n)) for n in (3, 1, 2)])
        assert [(await claimed(queue)).id for _ in ids] == ids

    async def test_a_claimed_job_is_the_owners_and_is_nobody_elses(self, queue: JobQueue):
        [id] = await queue.enqueue([prepare()])
        job = await claimed(queue)
        assert (job.id, job.state, job.owner, job.attempt) == (id, JobState.DOING, "a", 1)
        assert job.fence > 0
        assert await queue.claim("b", KINDS) is None
        assert await queue.open_jobs() == [job]

    async def test_only_kinds_asked_for_are_claimed(self, queue: JobQueue):
        await queue.enqueue([prepare()])
        assert await queue.claim("a", ["commit"]) is None
        assert await queue.claim("a", []) is None
        assert await queue.claim("a", ["commit", "prepare"]) is not None

    async def test_a_delayed_job_is_not_due_before_its_time(self, queue: JobQueue, clock: Clock):
        ids = await queue.enqueue([prepare("late", delay_s=10), prepare("now")])
        assert (await claimed(queue)).id == ids[1]
        clock.now += 9.9
        assert await queue.claim("a", KINDS) is None
        clock.now += 0.1
        assert (await claimed(queue)).id == ids[0]

    async def test_one_job_with_a_lock_runs_at_a_time(self, queue: JobQueue):
        await queue.enqueue([prepare("a", lock="l"), prepare("b", lock="l"), prepare("c", lock="m"), prepare("d")])
        first = await claimed(queue)
        assert [(await claimed(queue)).subject for _ in range(2)] == ["c", "d"]
        assert await queue.claim("a", KINDS) is None
        assert await queue.finish(first, JobState.DONE)
        assert (await claimed(queue)).subject == "b"

    async def test_a_job_is_due_as_long_as_it_could_be_claimed_and_asking_changes_nothing(
        self, queue: JobQueue, clock: Clock
    ):
        assert not await queue.has_due(KINDS)
        await queue.enqueue([prepare("a", lock="l", delay_s=10)])
        assert not await queue.has_due(KINDS)
        clock.now += 10
        assert await queue.has_due(KINDS)
        assert not await queue.has_due(["scan"])
        await claimed(queue)
        await queue.enqueue([prepare("b", lock="l")])
        assert not await queue.has_due(KINDS), "its lock is held"
        assert await queue.live_owners(STALE_S) == ["a"]

    async def test_the_fence_grows_with_every_claim(self, queue: JobQueue, clock: Clock):
        fences: list[int] = []
        for step in (0, 0, 5, -3600, 0):
            clock.now += step
            await queue.enqueue([prepare()])
            job = await claimed(queue)
            fences.append(job.fence)
            await queue.finish(job, JobState.DONE)
        assert fences == sorted(set(fences))

    # -- finish and retry

    @pytest.mark.parametrize("state", [JobState.DONE, JobState.FAILED, JobState.CANCELLED])
    async def test_a_finished_job_keeps_its_state_and_error(self, queue: JobQueue, state: JobState):
        await queue.enqueue([prepare()])
        job = await claimed(queue)
        assert await queue.finish(job, state, "why")
        assert await one(queue, job.id) == replace(job, state=state, error="why")
        assert await queue.open_jobs() == []

    @pytest.mark.parametrize("state", [JobState.TODO, JobState.DOING])
    async def test_a_job_cannot_end_in_a_state_that_is_no_end(self, queue: JobQueue, state: JobState):
        await queue.enqueue([prepare()])
        with pytest.raises(InvalidInput):
            await queue.finish(await claimed(queue), state)

    async def test_finish_is_refused_to_all_but_the_present_claim(self, queue: JobQueue):
        await queue.enqueue([prepare()])
        job = await claimed(queue)
        for other in (replace(job, owner="b"), replace(job, attempt=2), replace(job, id=job.id + 1)):
            assert not await queue.finish(other, JobState.DONE)
            assert not await queue.retry(other, 0)
        assert await one(queue, job.id) == job
        assert await queue.finish(job, JobState.DONE)
        assert not await queue.finish(job, JobState.FAILED)
        assert not await queue.retry(job, 0)
        assert (await one(queue, job.id)).state is JobState.DONE

    async def test_a_retried_job_is_due_after_its_delay_as_the_next_attempt(self, queue: JobQueue, clock: Clock):
        await queue.enqueue([prepare()])
        job = await claimed(queue)
        assert await queue.retry(job, 10, "busy vendor")
        waiting = await one(queue, job.id)
        assert (waiting.state, waiting.owner, waiting.error) == (JobState.TODO, None, "busy vendor")
        assert await queue.claim("b", KINDS) is None
        clock.now += 10
        again = await claimed(queue, "b")
        assert (again.id, again.attempt, again.owner) == (job.id, 2, "b")
        assert again.fence > job.fence

    async def test_a_retried_job_is_joined_to_an_equal_todo_job(self, queue: JobQueue):
        await queue.enqueue([prepare()])
        job = await claimed(queue)
        [twin] = await queue.enqueue([prepare()])
        assert await queue.retry(job, 100)
        assert [j.id for j in await queue.open_jobs()] == [twin]
        again = await claimed(queue, "b")
        assert (again.id, again.attempt) == (twin, 2)
        assert await queue.finish(again, JobState.DONE)
        found = await queue.get([job.id, twin])
        assert found[job.id] == found[twin]
        assert found[twin].state is JobState.DONE

    async def test_a_chain_of_joined_jobs_leads_to_the_last(self, queue: JobQueue):
        ids = await queue.enqueue([prepare()])
        for _ in range(3):
            job = await claimed(queue)
            ids += await queue.enqueue([prepare()])
            assert await queue.retry(job, 0)
        assert {job.id for job in (await queue.get(ids)).values()} == {ids[-1]}
        assert (await claimed(queue)).attempt == 4

    # -- heartbeats

    async def test_beat_names_lost_jobs_and_those_asked_to_stop(self, queue: JobQueue, clock: Clock):
        await queue.enqueue([prepare("lost"), prepare("stopped"), prepare("kept")])
        lost, stopped, kept = [await claimed(queue) for _ in range(3)]
        assert await queue.beat("a", [lost.id, stopped.id, kept.id]) == (set(), set())
        assert await queue.finish(lost, JobState.DONE)
        assert await queue.cancel("w", KINDS, "stopped") == 1
        assert await queue.beat("a", [lost.id, stopped.id, kept.id, 999]) == ({lost.id, 999}, {stopped.id})
        assert await queue.beat("b", [kept.id]) == ({kept.id}, set())

    async def test_reap_puts_back_the_jobs_of_silent_owners_only(self, queue: JobQueue, clock: Clock):
        await queue.enqueue([prepare("a"), prepare("b")])
        mine, others = await claimed(queue, "a"), await claimed(queue, "b")
        assert await watched(queue, clock, STALE_S - LOOK_S, ["b"]) == 0
        assert await watched(queue, clock, LOOK_S, ["b"]) == 1
        assert await queue.reap(STALE_S) == 0
        put_back = await one(queue, mine.id)
        assert (put_back.state, put_back.owner, put_back.error) == (JobState.TODO, None, WORKER_DIED)
        assert (await one(queue, others.id)).state is JobState.DOING
        again = await claimed(queue, "b")
        assert (again.id, again.attempt) == (mine.id, 2)

    async def test_a_claim_is_a_heartbeat(self, queue: JobQueue, clock: Clock):
        await queue.enqueue([prepare()])
        await queue.beat("a", [])
        await watched(queue, clock, STALE_S - LOOK_S)
        clock.pass_(LOOK_S)
        await claimed(queue, "a")
        assert await queue.live_owners(LOOK_S) == ["a"]
        assert await queue.reap(STALE_S) == 0

    @pytest.mark.parametrize("jump", [86_400.0, -86_400.0])
    async def test_a_clock_that_is_set_takes_no_job_from_the_living_and_leaves_none_with_the_silent(
        self, queue: JobQueue, clock: Clock, jump: float
    ):
        await queue.enqueue([prepare("living"), prepare("silent")])
        living, silent = await claimed(queue, "living"), await claimed(queue, "silent")
        await queue.beat("living", [living.id])
        await queue.reap(STALE_S)
        clock.now += jump
        assert await watched(queue, clock, STALE_S - LOOK_S, ["living"]) == 0
        assert await queue.live_owners(STALE_S) == ["living"]
        assert await watched(queue, clock, LOOK_S, ["living"]) == 1
        assert (await one(queue, living.id)).state is JobState.DOING
        assert (await claimed(queue, "living")).id == silent.id

    async def test_a_clock_that_is_set_back_makes_no_job_wait(self, queue: JobQueue, clock: Clock):
        await queue.enqueue([prepare("new", delay_s=5), prepare("tried")])
        assert await queue.retry(await claimed(queue), 5)
        clock.now -= 86_400
        assert {(await claimed(queue)).subject for _ in range(2)} == {"new", "tried"}

    async def test_no_delay_is_longer_than_the_longest(self, queue: JobQueue, clock: Clock):
        await queue.enqueue([prepare("new", delay_s=1e6), prepare("tried")])
        assert await queue.retry(await claimed(queue), 1e6)
        assert await queue.claim("a", KINDS) is None
        clock.pass_(LONGEST_DELAY_S)
        assert {(await claimed(queue)).subject for _ in range(2)} == {"new", "tried"}

    async def test_who_was_frozen_himself_calls_nobody_silent(self, queue: JobQueue, clock: Clock):
        await queue.enqueue([prepare()])
        await claimed(queue)
        await queue.reap(STALE_S)
        clock.pass_(10 * STALE_S)
        assert await watched(queue, clock, STALE_S - LOOK_S) == 0
        assert await watched(queue, clock, LOOK_S) == 1

    async def test_an_owner_declared_dead_cannot_finish(self, queue: JobQueue, clock: Clock):
        await queue.enqueue([prepare()])
        slow = await claimed(queue, "slow")
        assert await watched(queue, clock, STALE_S) == 1
        assert await queue.beat("slow", [slow.id]) == ({slow.id}, set())
        assert not await queue.finish(slow, JobState.DONE)
        again = await claimed(queue, "slow")
        assert not await queue.finish(slow, JobState.DONE)
        assert await queue.finish(again, JobState.DONE)

    async def test_reaped_jobs_give_their_lock_back(self, queue: JobQueue, clock: Clock):
        await queue.enqueue([prepare("a", lock="l"), prepare("b", lock="l")])
        await claimed(queue, "dead")
        assert await watched(queue, clock, STALE_S) == 1
        assert (await claimed(queue, "b")).subject == "a"

    async def test_release_puts_back_all_jobs_of_an_owner_and_forgets_it(self, queue: JobQueue):
        await queue.enqueue([prepare(s) for s in "abc"])
        held = [await claimed(queue, "a"), await claimed(queue, "a"), await claimed(queue, "b")]
        await queue.release("a")
        states = [(await one(queue, job.id)).state for job in held]
        assert states == [JobState.TODO, JobState.TODO, JobState.DOING]
        assert await queue.live_owners(30) == ["b"]
        assert not await queue.finish(held[0], JobState.DONE)

    async def test_live_owners_are_those_with_a_fresh_heartbeat(self, queue: JobQueue, clock: Clock):
        await queue.beat("b", [])
        clock.now += 10
        await queue.beat("a", [])
        assert await queue.live_owners(30) == ["a", "b"]
        clock.now += 25
        assert await queue.live_owners(30) == ["a"]

    # -- cancel

    async def test_cancel_ends_todo_jobs_and_asks_running_ones_to_stop(self, queue: JobQueue):
        await queue.enqueue([prepare("running"), prepare("waiting")])
        running = await claimed(queue)
        assert await queue.cancel("w", KINDS) == 2
        [still_open] = await queue.open_jobs()
        assert still_open == replace(running, is_cancelled=True)
        assert await queue.claim("b", KINDS) is None
        assert await queue.cancel("w", KINDS) == 0
        assert await queue.finish(running, JobState.CANCELLED)

    async def test_cancel_touches_only_what_was_named(self, queue: JobQueue):
        named, *others = await queue.enqueue(
            [prepare("s"), NewJob("commit", "w", "s"), NewJob("prepare", "x", "s"), prepare("t")]
        )
        assert await queue.cancel("w", ["prepare"], "s") == 1
        assert await queue.cancel("w", []) == 0
        assert (await one(queue, named)).state is JobState.CANCELLED
        assert {(await one(queue, id)).state for id in others} == {JobState.TODO}

    async def test_a_job_asked_to_stop_is_never_put_back(self, queue: JobQueue, clock: Clock):
        await queue.enqueue([prepare(s) for s in "abc"])
        retried, released, reaped = [await claimed(queue, owner) for owner in ("x", "y", "z")]
        await queue.cancel("w", KINDS)
        assert await queue.retry(retried, 0)
        await queue.release("y")
        assert await watched(queue, clock, STALE_S) == 1
        states = {(await one(queue, job.id)).state for job in (retried, released, reaped)}
        assert states == {JobState.CANCELLED}

    async def test_after_a_cancel_the_same_job_may_be_enqueued_again(self, queue: JobQueue):
        [first] = await queue.enqueue([prepare()])
        await queue.cancel("w", KINDS)
        [second] = await queue.enqueue([prepare()])
        assert second != first
        assert (await claimed(queue)).id == second

    # -- reading and pruning

    async def test_get_leaves_unknown_ids_out(self, queue: JobQueue):
        [id] = await queue.enqueue([prepare()])
        assert set(await queue.get([id, id + 1])) == {id}
        assert await queue.get([]) == {}

    async def test_open_jobs_are_those_of_the_workspace_oldest_first(self, queue: JobQueue):
        ids = await queue.enqueue([prepare("a"), NewJob("prepare", "x", "a"), prepare("b")])
        await claimed(queue)
        assert [job.id for job in await queue.open_jobs()] == ids
        assert [job.id for job in await queue.open_jobs("w")] == [ids[0], ids[2]]
        assert await queue.open_jobs("") == []

    async def test_prune_forgets_old_ended_jobs_only(self, queue: JobQueue, clock: Clock):
        old, new, running, waiting = await queue.enqueue([prepare(s) for s in "abcd"])
        await queue.finish(await claimed(queue), JobState.DONE)
        clock.now += 100
        await queue.finish(await claimed(queue), JobState.FAILED)
        await claimed(queue)
        clock.now += 10
        await queue.prune(50)
        assert set(await queue.get([old, new, running, waiting])) == {new, running, waiting}

    async def test_ids_are_never_used_again(self, queue: JobQueue, clock: Clock):
        [first] = await queue.enqueue([prepare()])
        await queue.finish(await claimed(queue), JobState.DONE)
        clock.now += 10
        await queue.prune(1)
        assert await queue.enqueue([prepare()]) > [first]

    # -- progress and notes

    async def test_progress_is_replaced_by_subject_and_cleared(self, queue: JobQueue, clock: Clock):
        first = Progress("a", "a.pdf", "extract", 1, 9, clock.now + 1, clock.now + 1)
        second = Progress("b", "b.pdf", "parse", 0, 0, clock.now, clock.now)
        await queue.set_progress("w", first)
        await queue.set_progress("w", second)
        await queue.set_progress("x", second)
        later = replace(first, done=5, updated=clock.now + 7)
        await queue.set_progress("w", later)
        assert await queue.progress("w") == [second, later]
        await queue.clear_progress("w", "a")
        await queue.clear_progress("w", "unknown")
        assert await queue.progress("w") == [second]
        assert await queue.progress("x") == [second]

    async def test_notes_are_kept_oldest_first_by_workspace(self, queue: JobQueue, clock: Clock):
        await queue.note("w", "one")
        clock.now += 1
        await queue.note("w", "two")
        await queue.note("x", "other")
        assert await queue.notes("w") == [Note(clock.now - 1, "one"), Note(clock.now, "two")]
        assert await queue.notes("unknown") == []

    async def test_the_last_notes_are_kept(self, queue: JobQueue):
        await queue.note("x", "kept")
        for number in range(NOTES_KEPT + 5):
            await queue.note("w", str(number))
        assert [note.text for note in await queue.notes("w")] == [str(n) for n in range(5, NOTES_KEPT + 5)]
        assert len(await queue.notes("x")) == 1

    async def test_of_a_forgotten_workspace_only_open_jobs_stay(self, queue: JobQueue, clock: Clock):
        await queue.enqueue([NewJob("prepare", "x", "a"), prepare("a"), prepare("b"), prepare("c")])
        other, done, running = [await claimed(queue) for _ in range(3)]
        for job in (other, done):
            await queue.finish(job, JobState.DONE)
        for workspace in ("w", "x"):
            await queue.note(workspace, "told")
            await queue.set_progress(workspace, Progress("a", "a.pdf", "extract", 1, 9, clock.now, clock.now))
        await queue.forget("w")
        assert set(await queue.get([other.id, done.id, running.id])) == {other.id, running.id}
        assert [job.subject for job in await queue.open_jobs("w")] == ["b", "c"]
        assert (await queue.notes("w"), await queue.progress("w")) == ([], [])
        assert len(await queue.notes("x")) == len(await queue.progress("x")) == 1
        await queue.forget("unknown")

    async def test_close_may_be_called_twice(self, queue: JobQueue):
        await queue.close()
        await queue.close()
