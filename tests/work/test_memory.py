"""A batch that is too large for a worker: it says which one fits, and the study ends so."""

import pytest
import torch

from lambda_search.cluster.worker import Worker
from lambda_search.errors import LambdaSearchError
from lambda_search.launching import plans_of
from lambda_search.schedule import LambdaSchedule
from lambda_search.spec import parse_specs
from lambda_search.work import tasks
from lambda_search.work.context import WorkerContext
from lambda_search.work.features import Place
from lambda_search.work.memory import Probe


@pytest.fixture
def recipe(study_text):
    [plan] = plans_of(parse_specs(study_text))
    return plan.recipe


@pytest.fixture
def worker():
    """One without Ray, on the CPU."""
    made = object.__new__(Worker)
    made._context = WorkerContext(torch.device("cpu"))
    return made


@pytest.fixture
def room(monkeypatch):
    """Lets batches of so many images have room, as a GPU's memory does."""
    real, most = tasks.sample_batch, []

    def sample(model, sampling, schedule, start, *rest, **options):
        if sampling.options.batch > most[0]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return real(model, sampling, schedule, start, *rest, **options)

    monkeypatch.setattr(tasks, "sample_batch", sample)
    return most.append


@pytest.mark.parametrize(
    ("most", "said"),
    [
        (5, "; 4 do"),
        *(pytest.param(*one, marks=pytest.mark.slow) for one in ((15, "; 8 do"), (0, "Not even"))),
    ],
)
def test_the_worker_says_which_batch_fits(worker, recipe, room, most, said):
    room(most)
    assert recipe.batch == 16
    task = tasks.Preview(recipe, LambdaSchedule(), 0, 4)
    with pytest.raises(LambdaSearchError, match="memory of") as caught:
        worker.run(task)
    assert said in str(caught.value)
    if most:
        assert f"sampler.batch: {said[2]}" in caught.value.hint
    room.__self__.insert(0, 16)
    assert worker.run(task)[0].startswith(b"\x89PNG"), "the worker itself goes on"


def test_a_probe_tells_what_a_batch_takes(worker, recipe, room):
    room(16)
    found, _ = worker.run(Probe(recipe))
    assert found.batch == 16 and found.seconds > 0 and found.peak is None
    room.__self__.insert(0, 8)
    with pytest.raises(LambdaSearchError, match=r"A batch of 16 images does not fit.*; 8 do"):
        worker.run(Probe(recipe))


def test_a_task_without_images_says_what_is_left_to_do(worker):
    class Hungry:
        def run(self, context):
            raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(LambdaSearchError, match="too small for a task") as caught:
        worker.run(Hungry())
    assert "--gpus" in caught.value.hint


def test_of_what_makes_no_batch_none_is_said_to_fit(worker, recipe, room, monkeypatch):
    def full(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    room(16)
    monkeypatch.setattr(WorkerContext, "extractor", full)
    with pytest.raises(LambdaSearchError, match="too small for a task") as caught:
        worker.run(tasks.Rehearse(recipe, Place("memory://here")))
    assert "batch" not in str(caught.value)
