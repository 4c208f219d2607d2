"""A prediction of λ from at most 1,000 images and no extractor but the model's own network.

λ = 1, and two schedules beside it on a few of its images, tell along which line good schedules lie
(`valley`). On a plane along this line a search of four rounds (`kg`) measures the Fréchet distance
of features of the model's own network (`own_network`) to those of a few hundred clean images, and
a prudent choice is made of what it found.

The features are those at little noise where steps add noise, and at much where they add none. On
the bundled model with 10 steps, 512 images a schedule, the distance is lowest along the valley at
so many times the tilt of FID's optimum:

| σ/α | 0.1 | 0.3 | 0.57 | 1.5 |
|---|---|---|---|---|
| ancestral | 1.2 | 0.8 | 0.5 | λ = 1 |
| DDIM | beyond 2 | beyond 2 | beyond 2 | 1.0 |

So no one level serves both: features that see fine detail reward DDIM for sharpening for ever, and
those that do not see nothing of what λ does to ancestral sampling.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

from lambda_search.errors import UsageError
from lambda_search.metrics.extractors.own_network import OwnNetworkExtractor
from lambda_search.metrics.references.load import IMAGES
from lambda_search.models.base import SCHEDULER
from lambda_search.models.base import Model
from lambda_search.models.options import sampling_of
from lambda_search.records import Diagnosis
from lambda_search.search.clean import Clean
from lambda_search.search.clean import features_of
from lambda_search.search.clean import own_images
from lambda_search.search.clean import real_images
from lambda_search.search.norms import true_norms
from lambda_search.search.predicting import BLOCKS
from lambda_search.search.predicting import ROUNDS
from lambda_search.search.predicting import Prediction
from lambda_search.search.ranges import usual_ranges
from lambda_search.search.tried import Run
from lambda_search.search.tried import Target
from lambda_search.search.valley import Reach
from lambda_search.search.valley import adds_noise
from lambda_search.setting import OWN_NETWORK
from lambda_search.setting import Sampling
from lambda_search.setting import Site
from lambda_search.spec.searching import DEFAULT_TILT

__all__ = ["FEWEST_IMAGES", "MOST_IMAGES", "diagnose"]

MOST_IMAGES, FEWEST_IMAGES = 1000, 500
"""What a diagnosis samples, own samples of the model included, unless told, and at least."""

_BATCH = 32
_REAL, _OWN, _OWN_NORMS = 400, 192, 64
"""Clean images: real ones; own samples; own samples where real ones lack their labels."""
_NOISY, _SMOOTH = (0.1, 1.0), (1.5, 1.5)
"""Where steps add noise, and where they do not: σ/α of the features, and how far rounds after the
first look, in what that one does. Few images see optima everywhere.

Set on ancestral sampling and DDIM with 10 steps of the bundled model, as what `predicting` has
(results/diagnose.md says what was seen of other steps before)."""
_ASKED = 2
"""Images that tell of a scheduler's noise."""


def diagnose(
    model: Model,
    sampler: str,
    steps: int,
    *,
    reference: str | None = None,
    constant: bool = False,
    images: int = MOST_IMAGES,
    seed: int = 0,
    guidance: float | None = None,
    site: Site = "full",
    options: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Diagnosis:
    """How a model's inputs drift in sampling, and the λ(i) to begin with, from 1,000 images.

    Arguments:
        model, sampler, steps, guidance, site, options: as in `sample`.
        reference: `images:PATH`, real images; without any the model's own samples of many steps
            stand for them.
        constant: whether λ is to be one number, k = 0.
        images: to sample at most, own samples of the model included; 1,000 are usual.
        seed: of the noise.
        say: is told what is being done.

    Raises:
        UsageError: for what the model cannot do, and for images that cannot be used.
        Diverged: if λ = 1 makes images that are not finite.
    """
    if images < FEWEST_IMAGES:
        raise UsageError(
            f"{images} images tell too little.", f"Take {FEWEST_IMAGES} or more; 1,000 are usual."
        )
    asked = sampling_of(sampler, steps, guidance, site, options)
    sampling = _in_batches(model, asked, _BATCH)
    level, farthest = _NOISY if adds_noise(model, sampling) else _SMOOTH
    extractor = OwnNetworkExtractor(f"{OWN_NETWORK}@{level}", model)
    clean, known = _clean(model, sampling, extractor, reference, say)
    target = Target.of(features_of(model, extractor, clean.states))
    made = clean.made if known is clean else clean.made + known.made
    n = (images - made - _ASKED) // (BLOCKS + 1)
    parts = max(-(-n // sampling.options.batch), 2)
    sampling = _in_batches(model, asked, n // parts)
    batch = sampling.options.batch
    say("along which line good schedules lie")
    run = Run(model, sampling, seed, extractor, target, batch * parts)
    length = len(model.grid(sampling))
    reach = _reach(model, sampling, length, constant)
    ridge = run.ridge(reach, batch * (parts // 2))
    say("norms of ε at true noised images")
    indices = range(min(run.n, len(known.states)))
    truth = true_norms(model, sampling, *known.first(len(indices)), seed, indices)
    prediction = Prediction(run, reach, ridge, farthest, target.width, seed)
    for number in range(1 + ROUNDS):
        block = prediction.next()
        say(f"round {number}: {run.n} images of each of {len(block.points)} schedules")
        prediction.measure(block)
    point, lowest = prediction.prudent, prediction.lowest
    return Diagnosis(
        model.framework,
        model.sha256,
        sampler,
        length,
        prediction.space.schedule(point),
        point.mean,
        point.slope,
        *prediction.gain(point),
        prediction.space.schedule(lowest),
        prediction.is_edge(lowest),
        ridge,
        run.curve(truth),
        prediction.tried,
        run.images + made + (_ASKED if sampler == SCHEDULER else 0),
        seed,
        extractor.summary,
        clean.words,
        known.words,
    )


def _in_batches(model: Model, asked: Sampling, most: int) -> Sampling:
    batch = min(most, asked.options.batch)
    small = asked.options.model_copy(update={"batch": batch})
    return model.resolve(asked.model_copy(update={"options": small}))


def _reach(model: Model, sampling: Sampling, length: int, constant: bool) -> Reach:
    """Half-widths of what studies of such a model look through, where its optima are published.

    Elsewhere those of what a study file leaves open.
    """
    mean, slope = usual_ranges(model.framework, sampling.sampler, length, sampling.site)
    span = length - 1
    low, high = DEFAULT_TILT if slope is None else (span * slope[0], span * slope[1])
    tilt = 0.0 if constant or not span else (high - low) / 2
    return Reach((mean[1] - mean[0]) / 2, tilt, length)


def _clean(
    model: Model,
    sampling: Sampling,
    extractor: OwnNetworkExtractor,
    reference: str | None,
    say: Callable[[str], None],
) -> tuple[Clean, Clean]:
    """The images that features are compared with, and those of the true norms.

    The labels of real images are not known; with others than their own the network would see
    images that it was never trained for. So a model that has labels tells its own samples.
    """
    batch = sampling.options.batch

    def own(n: int) -> Clean:
        say(f"{n} of the model's own samples of many steps")
        return own_images(model, sampling, -(-n // batch) * batch)

    if reference is None:
        both = own(_OWN)
        return both, both
    if not reference.startswith(IMAGES):
        raise UsageError(
            f"{reference} holds no images to look at.",
            f"Name {IMAGES}PATH, or leave it out: the model's own samples of many steps stand for "
            "real images then.",
        )
    if extractor.of_states:
        extractor.check_reference(reference)
    real = real_images(model, reference, _REAL)
    return real, real if model.classes is None else own(_OWN_NORMS)
