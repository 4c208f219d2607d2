"""Several distances of the same images: sampled once, told with the row, and never ranking."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
import torch
from diffusers import UNet2DModel
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

import lambda_search as ls
from lambda_search.errors import Interrupted
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.metrics.extractors.registry import load_extractor
from lambda_search.models.registry import load_model
from lambda_search.models.sampling import sample
from lambda_search.models.sampling import to_uint8
from lambda_search.paths import features_folder
from lambda_search.schedule import LambdaSchedule
from lambda_search.search.resolving import resolve
from lambda_search.spec import load_specs
from lambda_search.spec import parse_specs
from lambda_search.store.store import Store
from lambda_search.work.evaluate import evaluate_on
from lambda_search.work.evaluator import Evaluator
from lambda_search.work.features import FeatureFiles
from lambda_search.work.pool import SerialPool
from lambda_search.work.scoring import ScoreFeatures
from lambda_search.work.shards import Shards
from lambda_search.work.tasks import SampleShard
from tests.fashion import fashion_images
from tests.search.running import plan_of
from tests.search.running import record
from tests.search.running import run

CPU = torch.device("cpu")
ONE = LambdaSchedule()
CONFIRM, SAMPLES, BATCH = 1_000_000, 80, 16
REAL = fashion_images()[:300]


class Quarters(torch.nn.Module):
    """Six features of the mean over quarters, of images of any size."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        weight = np.random.default_rng(seed).standard_normal((4, 6)) / 10
        self.weight = torch.nn.Parameter(torch.from_numpy(weight).float())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        quarters = torch.nn.functional.adaptive_avg_pool2d(x.mean(1, True), [2, 2])
        return (quarters.flatten(1) @ self.weight).abs()


def quarters(images, seed=0):
    """The same by numpy, of uint8 [n, h, w]."""
    n, h, w = images.shape
    means = images.reshape(n, 2, h // 2, 2, w // 2).astype(np.float64).mean((2, 4)).reshape(n, 4)
    weight = np.random.default_rng(seed).standard_normal((4, 6)) / 10
    return np.abs(means @ weight.astype(np.float32))


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A folder with extractors of one's own, and real images for them."""
    folder = tmp_path_factory.mktemp("own")
    for seed, name in enumerate(("f.pt", "g.pt")):
        torch.jit.save(torch.jit.script(Quarters(seed)), folder / name)
    np.savez(folder / "real.npz", REAL[..., None])
    return folder


@pytest.fixture
def pair(own):
    """(extractor, reference) to measure beside the bundled ones."""
    return str(own / "f.pt"), f"images:{own / 'real.npz'}"


def with_also(text, *pairs):
    """The study `text` with further distances."""
    listed = ", ".join(f'{{extractor: "{e}", reference: "{r}"}}' for e, r in pairs)
    assert text.count("rungs:") == 1
    return text.replace("rungs:", f"also: [{listed}], rungs:")


@pytest.fixture
def both(study_text, pair):
    return with_also(study_text, pair)


@pytest.fixture
def passes(monkeypatch):
    """Counts the network's evaluations of a batch."""
    counted, forward = [], UNet2DModel.forward

    def count(self, sample, *arguments, **options):
        counted.append(len(sample))
        return forward(self, sample, *arguments, **options)

    monkeypatch.setattr(UNet2DModel, "forward", count)
    return counted


class Watched(SerialPool):
    """Writes down its tasks, and may stop after some."""

    def __init__(self, shards=10**9):
        super().__init__()
        self.left, self.shards, self.scores = shards, [], []

    def submit(self, task, *arguments, **options):
        if isinstance(task, SampleShard):
            if not self.left:
                raise Interrupted("The workers were stopped.")
            self.left -= 1
            self.shards.append(task)
        if isinstance(task, ScoreFeatures):
            self.scores.append(task)
        return super().submit(task, *arguments, **options)


class InMemory(FeatureFiles):
    """A place of its own in this process's memory."""

    def __init__(self):
        super().__init__(f"memory://{uuid4().hex}")

    def __len__(self):
        return len(MemoryFileSystem().glob(f"{self.url}/*/*.npy"))


def evaluator_of(plan, pool, files=None):
    return Evaluator(plan.recipe, Shards(pool, InMemory() if files is None else files))


def launch(text, pool, store=None):
    store = store or Store()
    run(text, pool, store)
    return store


def rows_of(store):
    return store.rows(store.study("tiny").id)


# By hand


def fid(x, mean, cov):
    w, v = np.linalg.eigh(cov)
    root = v * np.sqrt(w.clip(0)) @ v.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ np.cov(x.T) @ root).clip(0)).sum()
    return ((x.mean(0) - mean) ** 2).sum() + np.trace(np.cov(x.T)) + np.trace(cov) - 2 * cross


def corrected(x, mean, cov):
    halves = fid(x[::2], mean, cov) + fid(x[1::2], mean, cov)
    return 2 * fid(x, mean, cov) - halves / 2


def kid(x, y):
    def kernel(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a):
        k = kernel(a, a)
        return (k.sum() - np.trace(k)) / (len(a) * (len(a) - 1))

    return within(x) + within(y) - 2 * kernel(x, y).mean()


def fid_at_infinity(x, mean, cov):
    n = len(x)
    sizes = np.linspace(n // 2, n, min(15, n // 4)).round().astype(int)
    return np.polyfit(1 / sizes, [fid(x[:size], mean, cov) for size in sizes], 1)[1]


def correlation(x, y):
    each = [np.corrcoef(a, b)[0, 1] for a, b in zip(x.T, y.T, strict=True) if a.std() * b.std()]
    return np.mean(each)


def images_of(folder, schedule, indices):
    """What the library's own front door samples, as bytes [n, 8, 8]."""
    model = load_model("diffusers", str(folder))
    options = {"batch": BATCH}
    found = sample(model, "ancestral", 4, schedule, indices, seed=3, options=options)
    return to_uint8(found)[:, 0].numpy()


def bundled_features(images):
    extractor = load_extractor("bundled", CPU)
    parts = torch.from_numpy(images[:, None].copy()).split(BATCH)
    return torch.cat([extractor(part) for part in parts]).double().numpy()


def bundled_reference():
    import lambda_search.models as models

    folder = Path(models.__file__).parent / "bundled" / "fashion-mnist-features"
    with np.load(folder / "reference.npz") as arrays:
        return arrays["mu"], arrays["sigma"], arrays["features"].astype(np.float64)


def own_reference():
    real = quarters(REAL)
    return real.mean(0), np.cov(real.T), real


WAYS = {"bundled": (bundled_features, bundled_reference), "own": (quarters, own_reference)}


def assert_figures(found, x, baseline, way):
    """That `found` says of the features `x` what they are by hand."""
    mean, cov, real = WAYS[way][1]()
    scale = abs(fid(x, mean, cov))

    def near(value):
        return pytest.approx(value, rel=1e-4, abs=1e-4 * scale)

    assert found["fid"] == near(fid(x, mean, cov))
    assert found["corrected"] == near(corrected(x, mean, cov))
    assert found["fid_at_infinity"] == near(fid_at_infinity(x, mean, cov))
    assert found["kid"] == pytest.approx(kid(x, real), rel=1e-3)
    if baseline is None:
        assert "gain" not in found
        return
    assert found["raw_gain"] == near(fid(baseline, mean, cov) - fid(x, mean, cov))
    assert found["gain"] == near(corrected(baseline, mean, cov) - corrected(x, mean, cov))
    assert found["correlation"] == pytest.approx(correlation(x, baseline), abs=1e-3)
    assert found["gain_standard_error"] > 0


# A study


@pytest.mark.slow
def test_images_are_sampled_once_for_all_distances(study_text, both, passes, tmp_path):
    launch(study_text, Watched(), Store(f"{tmp_path}/alone.db"))
    alone = len(passes)
    pool = Watched()
    launch(both, pool, Store(f"{tmp_path}/both.db"))
    assert len(passes) == 2 * alone
    counted = Counter((task.schedule, task.start) for task in pool.shards)
    assert set(counted.values()) == {1}
    # four steps a shard, and the previews' two batches
    assert alone == 4 * (len(pool.shards) + 2)


def test_the_search_looks_at_the_first_distance_alone(both):
    pool = Watched()
    store = launch(both, pool)
    ranking, other = plan_of(both).recipe.measures
    assert other.extractor.endswith("f.pt")
    searched = [task for task in pool.shards if task.start < CONFIRM]
    confirmed = [task for task in pool.shards if task.start >= CONFIRM]
    assert searched and {task.measures for task in searched} == {(ranking,)}
    assert confirmed and {task.measures for task in confirmed} == {(ranking, other)}
    rungs = [task for task in pool.scores if not task.whole]
    assert {task.measure for task in rungs} == {ranking}
    assert Counter(task.measure for task in pool.scores if task.whole) == {ranking: 3, other: 3}
    evaluations = store.evaluations(store.study("tiny").id)
    searches = [e for e in evaluations if e.phase == "search"]
    assert len(rungs) == len(searches), "λ = 1 is scored once a rung"


def without_others(row, of):
    """A row but for its further distances, and what is said of their references."""
    told, alone = row["provenance"], of["provenance"]
    assert set(alone.cautions) <= set(told.cautions)
    return row | {"provenance": replace(told, also=(), cautions=alone.cautions)}


@pytest.mark.slow
def test_other_distances_change_nothing_that_is_decided(study_text, both, own, tmp_path):
    alone = record(launch(study_text, Watched(), Store(f"{tmp_path}/alone.db")))
    also = record(launch(both, Watched(), Store(f"{tmp_path}/both.db")))
    assert also[:2] == alone[:2]
    [row], [other] = alone[2], also[2]
    assert row["provenance"].also == ()
    assert len(other["provenance"].also) == 1
    assert without_others(other, of=row) == row


def test_the_row_tells_what_the_features_say(both, tiny_pipeline, pair):
    [row] = rows_of(launch(both, Watched()))
    told = row.provenance.to_json()
    indices = range(CONFIRM, CONFIRM + SAMPLES)
    assert told["confirm_indices"] == [CONFIRM, CONFIRM + SAMPLES]
    [also] = told["also"]
    _, measure = plan_of(both).recipe.measures
    assert also["extractor"] == f"f.pt@{measure.extractor_fingerprint[:16]}"
    assert also["reference"] == f"real.npz@{measure.reference_fingerprint[:16]}"
    assert [one["trial"] for one in also["candidates"]] == [
        one["trial"] for one in told["candidates"]
    ]
    assert len(told["candidates"]) == 2
    at_one = images_of(tiny_pipeline, ONE, indices)
    candidates = [
        images_of(tiny_pipeline, LambdaSchedule(one["b"], one["k"]), indices)
        for one in told["candidates"]
    ]
    for way, found in (("bundled", told), ("own", also)):
        features = WAYS[way][0]
        baseline = features(at_one)
        assert_figures(found["baseline"], baseline, None, way)
        for figures, images in zip(found["candidates"], candidates, strict=True):
            assert_figures(figures, features(images), baseline, way)


def test_features_of_all_distances_are_pruned_when_the_study_is_done(both):
    store, pool = Store(), Watched(30)
    with pytest.raises(Interrupted):
        launch(both, pool, store)
    assert len(list(features_folder().rglob("*.npy"))) == sum(len(t.measures) for t in pool.shards)
    launch(both, Watched(), store)
    assert list(features_folder().rglob("*.npy")) == []


@pytest.mark.slow
@pytest.mark.parametrize("after", [9, 25, 33])
def test_interrupted_anywhere_it_goes_on_to_the_same_record(after, both, tmp_path):
    undisturbed = Watched()
    whole = record(launch(both, undisturbed, Store(f"{tmp_path}/whole.db")))
    store, first, second = Store(), Watched(after), Watched()
    with pytest.raises(Interrupted):
        launch(both, first, store)
    assert record(launch(both, second, store)) == whole
    made = Counter(task.names for task in first.shards + second.shards)
    assert made == Counter(task.names for task in undisturbed.shards)


@pytest.mark.slow
def test_a_distance_that_is_added_later_costs_the_confirmation_alone(study_text, both):
    store = launch(study_text, Watched())
    before = record(store)
    pool = Watched()
    launch(both, pool, store)
    after = record(store)
    assert after[:2] == before[:2], "trials and evaluations stay as they are"
    # The features were pruned, so the confirmation's images are made again, and nothing else.
    assert {task.start for task in pool.shards} == set(range(CONFIRM, CONFIRM + SAMPLES, BATCH))
    assert len(pool.shards) == 3 * SAMPLES // BATCH
    old, new = after[2]
    assert old == before[2][0]
    [also] = new["provenance"].also
    assert also.baseline.fid_at_infinity is not None and also.baseline.kid is not None
    assert without_others(new, of=old) == old, "the same digits"


@pytest.mark.parametrize("first_with", [False, True], ids=["added", "taken away"])
def test_only_features_that_are_missing_are_computed(study_text, both, first_with):
    texts = (both, study_text) if first_with else (study_text, both)
    files, pools, found, evaluators = InMemory(), [], [], []
    schedules = [LambdaSchedule(1.03, -0.005), ONE]
    for text in texts:
        pools.append(Watched())
        shards = Shards(pools[-1], files)
        evaluators.append(Evaluator(plan_of(text).recipe, shards))
        found.append(evaluators[-1].results(schedules, CONFIRM, 40, whole=True))
    shards = 2 * 3
    assert len(pools[0].shards) == shards
    _, other = plan_of(both).recipe.measures
    if first_with:
        assert pools[1].shards == []
        assert (evaluators[1].meter.images, evaluators[1].meter.reused) == (0, shards * BATCH)
    else:
        assert [task.measures for task in pools[1].shards] == [(other,)] * shards
        assert evaluators[1].meter.images == shards * BATCH
    assert len(files) == 2 * shards
    for one, again in zip(*found, strict=True):
        assert np.array_equal(one.score.influence, again.score.influence)
        assert one.against == again.against
        assert one.score.fid == again.score.fid and one.score.extras == again.score.extras
        assert [len(one.also), len(again.also)] == [first_with, not first_with]


def test_one_extractor_with_two_references(study_text, own, tiny_pipeline):
    np.savez(own / "others.npz", fashion_images()[300:500, ..., None])
    pairs = [(own / "f.pt", f"images:{own / name}") for name in ("real.npz", "others.npz")]
    text = with_also(study_text, *pairs)
    pool, files = Watched(), InMemory()
    [found] = evaluator_of(plan_of(text), pool, files).results([ONE], CONFIRM, 48, whole=True)
    real, others = found.also
    assert len(files) == 2 * 3, "of one extractor they share the features"
    x = quarters(images_of(tiny_pipeline, ONE, range(CONFIRM, CONFIRM + 48)))
    for one, images in ((real, REAL), (others, fashion_images()[300:500])):
        y = quarters(images)
        assert one.score.fid == pytest.approx(fid(x, y.mean(0), np.cov(y.T)), rel=1e-4)
    assert real.score.fid != others.score.fid
    assert len(pool.shards) == 3


# `evaluate`


def evidence(model, n, also=(), **options):
    return ls.evaluate(
        model,
        "ancestral",
        4,
        options.pop("schedule", LambdaSchedule(1.03, -0.005)),
        n=n,
        extractor="bundled",
        reference="bundled:fashion-mnist",
        also=also,
        seed=3,
        options={"batch": BATCH},
        **options,
    )


@pytest.fixture(scope="module")
def model(tiny_pipeline):
    return load_model("diffusers", str(tiny_pipeline))


def test_a_reference_of_other_images_is_said_in_python_too(model):
    with pytest.warns(UserWarning, match="8 × 8 pixels, and those of the reference .* 28 × 28"):
        evidence(model, 32)


@pytest.mark.filterwarnings("ignore:the model makes images")
@pytest.mark.parametrize("n", [32, 48])
def test_in_this_process_it_is_what_a_pool_finds(model, both, pair, n):
    plan = plan_of(both)
    evaluator = evaluator_of(plan, SerialPool())
    found = evaluate_on(evaluator, LambdaSchedule(1.03, -0.005), n)
    assert evaluator.meter.images == 2 * n
    assert found == evidence(model, n, [pair])
    assert found.also[0].extractor.startswith("f.pt@")
    assert replace(found, also=()) == evidence(model, n)


@pytest.mark.parametrize("n", [8, 20, 40])
@pytest.mark.parametrize("pooled", [False, True], ids=["here", "on a pool"])
def test_few_images_are_measured_as_plain_arithmetic_has_it(
    model, tiny_pipeline, both, pair, n, pooled
):
    """Also where they do not fill their batches."""
    schedule = LambdaSchedule(1.03, -0.005)
    if pooled:
        plan = plan_of(both)
        found = evaluate_on(evaluator_of(plan, SerialPool()), schedule, n)
    else:
        found = evidence(model, n, [pair])
    indices = range(CONFIRM, CONFIRM + n)
    images, at_one = (images_of(tiny_pipeline, one, indices) for one in (schedule, ONE))
    for way, one in (("bundled", found), ("own", found.also[0])):
        features, reference = WAYS[way]
        mean, cov, real = reference()
        x, y = features(images), features(at_one)
        scale = fid(x, mean, cov)

        def near(value, scale=scale):
            return pytest.approx(value, rel=1e-4, abs=1e-4 * scale)

        assert one.n == n
        assert one.fid == near(fid(x, mean, cov))
        assert one.baseline_fid == near(fid(y, mean, cov))
        assert one.corrected == near(corrected(x, mean, cov))
        assert one.baseline_corrected == near(corrected(y, mean, cov))
        assert one.gain == near(corrected(y, mean, cov) - corrected(x, mean, cov))
        assert one.raw_gain == near(fid(y, mean, cov) - fid(x, mean, cov))
        assert one.extras.kid == pytest.approx(kid(x, real), rel=1e-3)
        assert one.baseline_extras.fid_at_infinity == near(fid_at_infinity(y, mean, cov))


@pytest.mark.parametrize("n", [7, 1, 0, -5])
def test_too_few_images_are_refused_before_any_is_sampled(model, both, pair, passes, n):
    plan, pool = plan_of(both), Watched()
    for attempt in (
        lambda: evidence(model, n, [pair]),
        lambda: evaluate_on(evaluator_of(plan, pool), ONE, n),
    ):
        with pytest.raises(LambdaSearchError, match=f"{n} images cannot be scored") as caught:
            attempt()
        assert "8" in caught.value.hint
    assert passes == [] and pool.shards == []


BAD = {
    "no such extractor": (("x", "bundled:fashion-mnist"), "no extractor 'x'"),
    "no such file": (("./none.pt", "bundled:fashion-mnist"), "no extractor at ./none.pt"),
    "no such reference": (("bundled", "none.npz"), "no reference at none.npz"),
    "a reference of another": (("OWN", "bundled:fashion-mnist"), "128 wide"),
    "no published weights": (("bundled", "clean-fid:cifar10/train/32"), "publishes no statistics"),
}


@pytest.mark.parametrize(("wrong", "words"), BAD.values(), ids=BAD)
def test_a_further_distance_that_cannot_be_is_one_error_before_sampling(
    model, study_text, pair, passes, wrong, words
):
    extractor, reference = wrong
    bad = (pair[0] if extractor == "OWN" else extractor, reference)
    with pytest.raises(UsageError, match=words) as here:
        evidence(model, 16, [pair, bad])
    with pytest.raises(UsageError, match=words) as study:
        plan_of(with_also(study_text, pair, bad))
    assert here.value.hint and study.value.hint
    assert passes == []


def diverge(monkeypatch):
    forward = UNet2DModel.forward

    def broken(self, sample, *arguments, **options):
        found = forward(self, sample, *arguments, **options)
        found.sample[3] = torch.nan
        return found

    monkeypatch.setattr(UNet2DModel, "forward", broken)


def test_images_that_are_nan_are_one_clear_error(model, both, pair, monkeypatch):
    diverge(monkeypatch)
    store = Store()
    for attempt in (
        lambda: evidence(model, 16, [pair]),
        lambda: launch(both, SerialPool(), store),
    ):
        with pytest.raises(LambdaSearchError) as caught:
            attempt()
        assert caught.value.cause == "The sampled images hold NaN or infinity."
        assert "fp32" in caught.value.hint
    study = store.study("tiny")
    assert store.rows(study.id) == [] and list(features_folder().rglob("*.npy")) == []
    monkeypatch.undo()


# Study files


def refused(text):
    with pytest.raises(UsageError) as caught:
        parse_specs(text, source="my.yaml")
    return caught.value.cause


def test_further_distances_are_read_in_order(study_text):
    given = [("inception-legacy", "edm.npz"), ("dinov2", "images:real"), ("bundled", "x.npz")]
    [spec] = parse_specs(with_also(study_text, *given))
    own = ("bundled", "bundled:fashion-mnist")
    assert [(one.extractor, one.reference) for one in spec.metric.measures] == [own, *given]
    assert parse_specs(spec.to_yaml()) == [spec]
    [alone] = parse_specs(study_text)
    assert len(alone.metric.measures) == 1
    assert parse_specs(with_also(study_text))[0].metric.measures == alone.metric.measures


@pytest.mark.parametrize(
    "pairs",
    [
        [("bundled", "bundled:fashion-mnist")],
        [("f.pt", "r.npz"), ("f.pt", "r.npz")],
        [("f.pt", "r.npz"), ("g.pt", "r.npz"), ("f.pt", "r.npz")],
    ],
)
def test_a_distance_that_stands_there_twice_is_refused(study_text, pairs):
    assert "stands there twice" in refused(with_also(study_text, *pairs))


def test_a_distance_differs_by_either(study_text):
    pairs = [("bundled", "r.npz"), ("f.pt", "bundled:fashion-mnist"), ("f.pt", "r.npz")]
    assert len(parse_specs(with_also(study_text, *pairs))[0].metric.measures) == 4


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (
            "[{extracter: x, reference: y}]",
            "metric.also.0.extracter: there is no such field; did you mean 'extractor'?",
        ),
        (
            "[{extractor: x, reference: y}, {extractor: x, reference: z, rung: [16]}]",
            "metric.also.1.rung: there is no such field; known: extractor, reference",
        ),
        ("[{extractor: x}]", "metric.also.0.reference: is missing"),
        ("[inception-clean]", "metric.also.0: "),
        ("{extractor: x, reference: y}", "metric.also: "),
        ("[{extractor: [x], reference: y}]", "metric.also.0.extractor: "),
    ],
)
def test_what_makes_no_sense_is_named(study_text, entry, words):
    assert words in refused(study_text.replace("rungs:", f"also: {entry}, rungs:"))


@pytest.mark.parametrize(
    ("extractor", "reference", "expected"),
    [
        ("./f.pt", "./r.npz", ("{0}/f.pt", "{0}/r.npz")),
        ("f.pt", "r.npz", ("{0}/f.pt", "{0}/r.npz")),
        ("./none.pt", "./none.npz", ("{0}/none.pt", "{0}/none.npz")),
        ("none.pt", "none.npz", ("none.pt", "none.npz")),
        ("inception-clean:./x.pt", "images:real", ("inception-clean:{0}/x.pt", "images:{0}/real")),
        ("dinov2:real", "images:./none", ("dinov2:{0}/real", "images:{0}/none")),
        ("../up.ts", "../up.npz", ("{0}/../up.ts", "{0}/../up.npz")),
        ("nets/vit", "clean-fid:a/b/32", ("{0}/nets/vit", "clean-fid:a/b/32")),
        ("dinov2", "bundled:fashion-mnist", ("dinov2", "bundled:fashion-mnist")),
        ("/abs/f.pt", "/abs/r.npz", ("/abs/f.pt", "/abs/r.npz")),
    ],
)
def test_names_start_at_the_study_file(
    study_text, tmp_path, monkeypatch, extractor, reference, expected
):
    place = tmp_path / "study"
    (place / "nets" / "vit").mkdir(parents=True)
    (place / "real").mkdir()
    for name in ("f.pt", "r.npz", "x.pt"):
        (place / name).write_text("")
    (place / "a.yaml").write_text(with_also(study_text, (extractor, reference)))
    monkeypatch.chdir(tmp_path)
    [spec] = load_specs(Path("study") / "a.yaml")
    [also] = spec.metric.also
    assert (also.extractor, also.reference) == tuple(one.format(place) for one in expected)
    text = study_text.replace("extractor: bundled", f"extractor: '{extractor}'")
    (place / "a.yaml").write_text(text)
    [spec] = load_specs(place / "a.yaml")
    assert spec.metric.extractor == expected[0].format(place)


def test_a_folder_with_the_name_of_an_extractor_does_not_take_its_place(
    study_text, tmp_path, monkeypatch
):
    for name in ("bundled", "inception-clean", "dinov2"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    text = with_also(study_text, ("inception-clean", "r.npz"), ("dinov2", "bundled"))
    (tmp_path / "a.yaml").write_text(text)
    [spec] = load_specs(tmp_path / "a.yaml")
    found = [one.extractor for one in spec.metric.measures]
    assert found == ["bundled", "inception-clean", "dinov2"]
    (tmp_path / "b.yaml").write_text(study_text)
    [plan] = map(resolve, load_specs(tmp_path / "b.yaml"))
    assert plan.recipe.measures[0].extractor == "bundled"


def test_an_extractor_beside_the_study_file_is_used(study_text, own, tmp_path, monkeypatch):
    for name in ("f.pt", "real.npz"):
        (tmp_path / name).write_bytes((own / name).read_bytes())
    (tmp_path / "a.yaml").write_text(with_also(study_text, ("./f.pt", "images:real.npz")))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    [plan] = map(resolve, load_specs(tmp_path / "a.yaml"))
    assert [measure.width for measure in plan.recipe.measures] == [128, 6]
    _, there = plan.recipe.measures
    [here] = plan_of(
        with_also(study_text, (own / "f.pt", f"images:{own / 'real.npz'}"))
    ).recipe.measures[1:]
    assert there.extractor_fingerprint == here.extractor_fingerprint
    assert there.reference_fingerprint == here.reference_fingerprint
    assert (there.extractor_label, there.reference_label) == (
        here.extractor_label,
        here.reference_label,
    )


# References that turn out to be broken, and extractors that several distances share


@pytest.fixture
def damaged(own, tmp_path):
    """(extractor, reference) of images of which one cannot be read."""
    folder = tmp_path / "damaged"
    folder.mkdir()
    for i, image in enumerate(REAL[:20]):
        Image.fromarray(image).save(folder / f"{i:02}.png")
    whole = (folder / "07.png").read_bytes()
    (folder / "07.png").write_bytes(whole[: len(whole) // 2])
    return str(own / "f.pt"), f"images:{folder}"


def test_a_damaged_reference_is_told_before_anything_is_sampled(study_text, damaged, passes):
    with pytest.raises(UsageError, match=r"07\.png"):
        launch(with_also(study_text, damaged), Watched(shards=0))
    plan = plan_of(with_also(study_text, damaged))
    with pytest.raises(UsageError, match=r"07\.png"):
        evaluate_on(evaluator_of(plan, SerialPool()), ONE, 40)
    assert passes == []


def test_evaluate_tells_of_a_damaged_reference_first(tiny_pipeline, damaged, passes):
    model = load_model("diffusers", str(tiny_pipeline))
    with pytest.raises(UsageError, match=r"07\.png"):
        ls.evaluate(
            model,
            "ancestral",
            4,
            ONE,
            n=40,
            extractor="bundled",
            reference="bundled:fashion-mnist",
            also=[damaged],
        )
    assert passes == []


@pytest.mark.slow
def test_two_references_of_one_extractor_share_its_features(study_text, own, pair, tmp_path):
    np.savez(tmp_path / "fewer.npz", REAL[:100, ..., None])
    text = with_also(study_text, pair, (pair[0], f"images:{tmp_path / 'fewer.npz'}"))
    plan, files, pool = plan_of(text), InMemory(), Watched()
    found = evaluate_on(evaluator_of(plan, pool, files), LambdaSchedule(1.02), 40)
    first, second = found.also
    assert first.extractor == second.extractor
    assert first.reference != second.reference and first.fid != second.fid
    assert all(len(shard.measures) == 2 for shard in pool.shards)  # bundled, and f.pt once
    real = quarters(REAL[:100])
    images = images_of(plan.recipe.checkpoint, LambdaSchedule(1.02), range(CONFIRM, CONFIRM + 40))
    expected = fid(quarters(images), real.mean(0), np.cov(real.T))
    assert second.fid == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_an_extractor_that_does_not_fit_is_told_before_anything_is_sampled(
    study_text, own, tmp_path, passes
):
    """It would first be run on confirmation, when the whole search is done."""

    class Small(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :, :16, :16].flatten(1)[:, :6] * x[0, 0, 15, 15]  # 8 × 8 has no row 15

    torch.jit.save(torch.jit.script(Small()), tmp_path / "small.pt")
    text = with_also(study_text, (str(tmp_path / "small.pt"), f"images:{own / 'large.npz'}"))
    np.savez(own / "large.npz", REAL[:30, ..., None])
    with pytest.raises(UsageError, match=r"small\.pt fails on the model's images, \[1, 8, 8\]"):
        launch(text, Watched(shards=0))
    assert passes == []
