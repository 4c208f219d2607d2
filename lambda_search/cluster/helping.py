"""What workers who have nothing to do could do for others.

A task that was not begun is better done by who is free. One that takes much longer than usual is
done twice: answers do not depend on who gives them, so the first counts. No third one joins in.
"""

from __future__ import annotations

from collections.abc import Iterator

from lambda_search.cluster.backlog import Job
from lambda_search.cluster.crew import Crew
from lambda_search.cluster.crew import Worker
from lambda_search.cluster.policy import Speeds

__all__ = ["helped"]


def helped(crew: Crew, speeds: Speeds, now: float) -> Iterator[tuple[Worker, Job, Worker]]:
    """Who could hand which task to whom; each idle worker is named once.

    What was not begun comes first, then what is slow, the longest under way first. The caller may
    act on each before it asks for the next.
    """
    idle = crew.idle()
    for holder, job in _offers(crew, speeds, now) if idle else ():
        helper = next((one for one in idle if job.kind in (None, one.kind)), None)
        if helper is not None:
            idle.remove(helper)
            yield holder, job, helper
        if not idle:
            return


def _offers(crew: Crew, speeds: Speeds, now: float) -> Iterator[tuple[Worker, Job]]:
    """The tasks of one worker each that another could do."""
    slow: list[tuple[Worker, Job]] = []
    for worker in crew:
        current = worker.current()
        for job in list(worker.jobs.values()):
            if job.done or job.held > 1 or worker.kind is None:
                continue
            if job is not current:
                yield worker, job
            elif speeds.is_slow(worker.kind, job.sort, now - worker.since):
                slow.append((worker, job))
    yield from sorted(slow, key=lambda one: one[0].since)
