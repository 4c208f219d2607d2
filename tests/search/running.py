"""A study run in this process, by its driver alone."""

from lambda_search.errors import Interrupted
from lambda_search.events import Events
from lambda_search.paths import features_url
from lambda_search.search.driver import Driver
from lambda_search.search.leftovers import done_families
from lambda_search.search.leftovers import needed_families
from lambda_search.search.progress import Tracker
from lambda_search.search.resolving import resolve
from lambda_search.spec import parse_specs
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from lambda_search.work.evaluator import Evaluator
from lambda_search.work.features import FeatureFiles
from lambda_search.work.pool import SerialPool
from lambda_search.work.shards import Shards
from lambda_search.work.tasks import SampleShard


class Halting(SerialPool):
    """Stops for good after a number of shards, and counts them."""

    def __init__(self, shards=10**9):
        super().__init__()
        self.left, self.done = shards, []

    def submit(self, task, *arguments, **options):
        if isinstance(task, SampleShard):
            if not self.left:
                raise Interrupted("The workers were stopped.")
            self.left -= 1
            self.done.append((task.schedule, task.start))
        return super().submit(task, *arguments, **options)


def plan_of(text):
    [spec] = parse_specs(text)
    return resolve(spec)


def run(text, pool, store=None, heard=None, shards=None):
    """Runs the study `text` to its row; an error leaves it to be gone on with."""
    store, plan = store or Store(), plan_of(text)
    queue, name = Queue(store), plan.spec.name
    queue.submit(name, plan.spec.to_yaml())
    claim = queue.claim([name])
    listeners = [] if heard is None else [heard.append]
    files = FeatureFiles(features_url())
    try:
        with shards or Shards(pool, files) as here:
            tracker = Tracker(name)
            tracker.expect(plan.spec.search.trials, plan.most_images())
            evaluator = Evaluator(plan.recipe, here, tracker.meter)
            study = queue.bind(claim.lease, plan.setting, plan.space.steps, evaluator.identity)
            events = Events(name, listeners)
            row = Driver(plan, study, claim.lease, store, evaluator, tracker, events).run()
    except BaseException:
        queue.end(claim.lease, "stopped", "stopped")
        raise
    studies = store.studies()
    files.sweep(needed_families(studies), done_families(studies))
    return row


def record(store, name="tiny"):
    """All that a study left behind, without ids and times."""
    study = store.study(name)
    return [
        [{k: v for k, v in vars(one).items() if k not in ("created", "finished")} for one in many]
        for many in (store.trials(study.id), store.evaluations(study.id), store.rows(study.id))
    ]
