"""One driver's go at one study: its thread, from the claim to the row or the reason why not."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from pathlib import Path
from typing import Literal
from typing import TypeAlias

from lambda_search.errors import Interrupted
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import MissingFile
from lambda_search.errors import PoolLost
from lambda_search.errors import without_secrets
from lambda_search.events import Events
from lambda_search.events import Listener
from lambda_search.paths import LUGGAGE
from lambda_search.paths import home
from lambda_search.paths import is_set
from lambda_search.paths import locate
from lambda_search.records import Origins
from lambda_search.records import Row
from lambda_search.search.driver import Driver
from lambda_search.search.kinds import Kinds
from lambda_search.search.plan import Plan
from lambda_search.search.progress import Tracker
from lambda_search.search.ranking import as_begun
from lambda_search.search.resolving import resolve
from lambda_search.search.stored import as_wanted
from lambda_search.search.stored import located_spec
from lambda_search.spec import Bounds
from lambda_search.spec import stored_spec
from lambda_search.store.claiming import Claim
from lambda_search.store.engine import StoreAway
from lambda_search.store.leases import LeaseLost
from lambda_search.store.leases import this_driver
from lambda_search.store.queue import Queue
from lambda_search.store.settings import Elsewhere
from lambda_search.store.store import Store
from lambda_search.work.evaluator import Evaluator
from lambda_search.work.halting import Halt
from lambda_search.work.shards import Shards

__all__ = ["Run", "Shared"]

Outcome: TypeAlias = Literal["stopped", "failed", "unable"]


@dataclass
class Shared:
    """What all studies of a driver share.

    Arguments:
        store: the record.
        shards: features that are known or under way.
        folders: where the files that studies name are looked up.
        plans: of studies that are resolved already, by their files' text.
        bounds: what studies may name that were posted to a service.
        leave: the state of a study whose pool is lost.
        kinds: of the devices that they are on.
    """

    store: Store
    shards: Shards
    folders: Sequence[Path]
    plans: Mapping[str, Plan]
    bounds: Bounds = field(default_factory=Bounds)
    leave: str = "queued"
    kinds: Kinds = field(default_factory=Kinds)
    _loading: threading.Lock = field(default_factory=threading.Lock)

    def plan(self, claim: Claim) -> Plan:
        """The plan of a study that was taken; models are read one at a time.

        Raises:
            UsageError: for anything that is wrong with it; MissingFile for what is not here.
        """
        study = claim.study
        plan = None if study.door else self.plans.get(study.spec)
        if plan is None:
            with self._loading:
                plan = resolve(located_spec(study, claim.files, self.folders, self.bounds))
        written = stored_spec(study.spec) if is_set(LUGGAGE) else None
        if written is not None:
            plan = replace(plan, named=written.model)
        return as_wanted(plan, study.proof_wanted)


class Run:
    """A study that this driver has taken.

    Arguments:
        claim: what was taken.
        shared: what all studies of the driver share.
        listeners: are told what happens.

    `row`, `error` and `lacks` say how it ended: one of them is set then, unless it was given up.
    """

    def __init__(self, claim: Claim, shared: Shared, listeners: Sequence[Listener]) -> None:
        self.study, self.lease, self.name = claim.study, claim.lease, claim.study.name
        self.queued = claim.queued
        self.row: Row | None = None
        self.error: Exception | None = None
        self.lacks = ""
        self.tracker = Tracker(self.name, claim.study.progress)
        self._claim = claim
        self._shared = shared
        self._queue = Queue(shared.store)
        self._events = Events(self.name, listeners)
        self._halt = Halt()
        self._ended = threading.Event()  # a join that is interrupted takes the thread for ended
        self._left_as, self._store = "stopped", shared.store
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    @property
    def is_active(self) -> bool:
        """Whether its thread is at work."""
        return not self._ended.is_set()

    def start(self) -> None:
        """Begins the work."""
        self._thread.start()

    def join(self, seconds: float) -> None:
        """Waits for its end, that long at most."""
        self._ended.wait(seconds)

    def halt(self, error: Exception) -> None:
        """Ends its work at once, with `error` as the reason; what is under way is withdrawn."""
        self._halt.halt(error)
        self._shared.shards.withdraw(self._halt)

    def give_up(self, state: str) -> None:
        """Ends its work at once and leaves it in `state`, to be gone on with.

        A store that is away is not waited for: then whoever sees that this driver is gone takes
        the study over.
        """
        self._left_as, self._store = state, self._store.impatient()
        self.halt(Interrupted("Its driver was interrupted."))
        self._end(state, "stopped", "Its driver was interrupted.")

    def _run(self) -> None:
        try:
            self._go()
        finally:
            self._shared.kinds.leave(self.study.id)
            self._ended.set()

    def _go(self) -> None:
        try:
            self.row = self._drive()
        except Exception as error:  # what fails because it was halted is not the reason
            self._shared.shards.withdraw(self._halt)
            self._break_off(self._halt.reason or error)
            traceback.clear_frames(error.__traceback__)  # which may hold a study's features
        else:
            self.tracker.stage = "done"
            self._events.say("done", self.row.verdict)

    def _break_off(self, error: Exception) -> None:
        match error:
            case MissingFile() | Elsewhere():  # another driver may be able
                self.lacks = error.cause
                why = f"{error.cause} {error.hint}".rstrip()
                self._end("queued", "unable", f"{this_driver()} cannot run it: {why}")
            case LeaseLost():
                self.error = error
                self.tracker.stage = "failed"
                self.lease.forget()
            case StoreAway():
                self.error = error
                self.tracker.stage = "failed"
                self.lease.drop()  # nothing can be said there; it is taken over as it is
            case PoolLost():
                self.error = error
                self._end(self._shared.leave, "stopped", error.cause)
            case Interrupted():
                self.error = error
                self._end(self._left_as, "stopped", error.cause)
            case _:
                self.error = _own(error)
                self._end("failed", "failed", str(self.error))

    def _drive(self) -> Row:
        self._events.say("began", f"taken by {this_driver()}")
        plan = self._shared.plan(self._claim)
        self.tracker.expect(plan.spec.search.trials, plan.most_images())
        begun, pool = self.study.identity, self._shared.shards.pool
        evaluator = Evaluator(
            plan.recipe,
            self._shared.shards,
            self.tracker.meter,
            self._halt,
            self._shared.kinds.take(
                self.study.id,
                None if begun is None else begun.device,
                pool,
                self._halt,
            ),
        )
        study = self._queue.bind(
            self.lease,
            plan.setting,
            plan.space.steps,
            evaluator.identity,
            _origins(plan),
            plan.former,
        )
        plan = as_begun(plan, self._shared.store.rounds(study.id))
        rows = self._shared.store.rows(study.id)
        if rows and study.decisive == plan.digest() and study.proof_wanted is None:
            self._queue.end(self.lease, "done", "done", "nothing that decides numbers has changed")
            return rows[-1]
        driver = Driver(
            plan,
            study,
            self.lease,
            self._shared.store,
            evaluator,
            self.tracker,
            self._events,
        )
        return driver.run()

    def _end(self, state: str, outcome: Outcome, message: str) -> None:
        message = without_secrets(message)
        self.tracker.stage = "stopped" if outcome == "stopped" else "failed"
        with suppress(LambdaSearchError):
            if Queue(self._store).end(self.lease, state, outcome, message):
                self._events.say(
                    "warning" if outcome == "unable" else outcome, message.splitlines()[0]
                )


def _origins(plan: Plan) -> Origins:
    """Where a plan's model came from, as far as its file says it."""
    told = plan.spec.model
    local = locate(told.checkpoint) is not None
    return Origins(
        dataset=told.dataset,
        hub=None if local else without_secrets(told.checkpoint),
        revision=plan.revision,
        file=Path(told.checkpoint).name if local else None,
    )


def _own(error: Exception) -> Exception:
    """Errors of the machine in words."""
    if isinstance(error, OSError) and error.errno is not None:
        return LambdaSearchError(
            f"{error.strerror}: {error.filename or home()}.",
            "Mend it and launch again; nothing that was stored is lost.",
        )
    return error if str(error) else LambdaSearchError(f"It ended with {type(error).__name__}.")
