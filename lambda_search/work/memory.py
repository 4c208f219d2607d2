"""What a worker says of its device's memory: a batch that is too large, and which one fits.

The batch decides bits and is part of a setting, so that a worker must not take a smaller one by
itself: the study ends, and whoever asked for it is told which batch would do.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass
from dataclasses import replace

import torch

from lambda_search.errors import LambdaSearchError
from lambda_search.metrics.extractors.own_network import extracted
from lambda_search.schedule import LambdaSchedule
from lambda_search.work.context import WorkerContext
from lambda_search.work.identity import device_kind
from lambda_search.work.recipe import Recipe
from lambda_search.work.tasks import Preview
from lambda_search.work.tasks import SampleShard
from lambda_search.work.tasks import batch_of
from lambda_search.work.timing import DeviceTimer

__all__ = ["Probe", "Probed", "too_large"]


@dataclass(frozen=True)
class Probed:
    """What one batch took on a worker.

    Arguments:
        kind: of its device.
        batch: B.
        seconds: for images and features, models loaded before.
        peak: bytes of the device's memory at most; None on a CPU.
    """

    kind: str
    batch: int
    seconds: float
    peak: int | None


@dataclass(frozen=True)
class Probe:
    """Makes one batch at λ = 1 and its features, as shards do, and lets them go.

    `run` raises torch.OutOfMemoryError where that has no room; a worker says then what has.
    """

    recipe: Recipe

    @property
    def sort(self) -> str:
        """A batch of one recipe takes about as long."""
        return f"probe {self.recipe.family}"

    def run(self, context: WorkerContext) -> Probed:
        on_gpu = context.device.type == "cuda"
        _one_batch(context, self.recipe)  # the first one loads, compiles, and is recorded
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(context.device)
        seconds = _one_batch(context, self.recipe)
        peak = torch.cuda.max_memory_allocated(context.device) if on_gpu else None
        return Probed(device_kind(context.device), self.recipe.batch, seconds, peak)


def too_large(task: object, context: WorkerContext) -> LambdaSearchError:
    """The error of a task for which the device's memory is too small.

    Of one that makes a batch of images it says which batch has room here, found by halving.
    """
    kind = device_kind(context.device)
    if not isinstance(task, Preview | Probe | SampleShard):  # of others the batch is not to blame
        return LambdaSearchError(
            f"The memory of {kind} is too small for a task of a worker.",
            "Take fewer workers on a GPU, with --gpus.",
        )
    recipe = task.recipe
    fits = _fitting(context, recipe)
    if fits == 0:
        return LambdaSearchError(
            f"Not even a batch of one image fits into the memory of {kind}.",
            "Take a device with more, or fewer workers on a GPU, with --gpus.",
        )
    return LambdaSearchError(
        f"A batch of {recipe.batch} images does not fit into the memory of {kind}; {fits} do.",
        f"Set sampler.batch: {fits}, which makes it another setting, or take fewer workers on a "
        "GPU, with --gpus.",
    )


def _fitting(context: WorkerContext, recipe: Recipe) -> int:
    """The largest of ½, ¼ … of the batch that fits; 0 if none does."""
    batch = recipe.batch
    while batch > 1:
        batch //= 2
        _let_go(context.device)
        options = recipe.sampling.options.model_copy(update={"batch": batch})
        sampling = recipe.sampling.model_copy(update={"options": options})
        try:
            _one_batch(context, replace(recipe, sampling=sampling))
        except torch.OutOfMemoryError:
            continue
        return batch
    return 0


def _one_batch(context: WorkerContext, recipe: Recipe) -> float:
    """Makes a batch at λ = 1 with its features; the seconds that it took."""
    timer = DeviceTimer(context.device)
    extractors = [context.extractor(measure) for measure in recipe.measures]
    network = DeviceTimer(context.device)
    states, images = batch_of(context, recipe, LambdaSchedule(), 0, network)
    with timer():
        for extractor in extractors:
            extracted(extractor, states, images)
    return network.seconds() + timer.seconds()


def _let_go(device: torch.device) -> None:
    gc.collect()  # frames of the error hold tensors
    if device.type == "cuda":
        torch.cuda.empty_cache()
