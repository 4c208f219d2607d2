"""λ in whole pipelines of diffusers."""

import copy
import warnings

import numpy as np
import pytest
from diffusers import AutoPipelineForImage2Image
from diffusers import DDIMScheduler
from diffusers import DPMSolverMultistepScheduler
from diffusers import EulerDiscreteScheduler
from diffusers import ScoreSdeVeScheduler
from diffusers import StableDiffusionImg2ImgPipeline

import lambda_search as ls
from tests.integrations import pipelines
from tests.integrations.pipelines import ASKED
from tests.integrations.pipelines import images

pytestmark = pytest.mark.filterwarnings("ignore::lambda_search.EpsilonScalingWarning")
TILTED = ls.LambdaSchedule(1.01, 0.02)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(what is built) → a pipeline of it, built once."""
    kept = {}

    def make(build):
        if build not in kept:
            kept[build] = pipelines.make(build, tmp_path_factory.mktemp("pipeline"))
        return kept[build]

    return make


@pytest.fixture
def text(made):
    """A text-to-image pipeline that the test may change."""
    pipeline = made(pipelines.text)
    before = pipeline.scheduler
    yield pipeline
    pipeline.scheduler = before


def refused(call):
    with pytest.raises(ls.UsageError) as caught:
        call()
    assert caught.value.hint
    return caught.value.cause


def warned(call):
    """What `call` warns of, and what it returns."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = call()
    return [str(w.message) for w in caught if w.category is ls.EpsilonScalingWarning], result


# -- every kind of pipeline


@pytest.mark.parametrize("build", ASKED, ids=lambda build: build.__name__)
def test_a_pipeline(made, build):
    pipeline, asked = made(build), ASKED[build]
    kinds, plain = (type(pipeline), type(pipeline.scheduler)), images(pipeline, asked)
    assert np.isfinite(plain).all()
    with ls.scale_epsilon(pipeline, ls.LambdaSchedule()):
        assert np.array_equal(images(pipeline, asked), plain)
    with ls.scale_epsilon(pipeline, TILTED):
        scaled = images(pipeline, asked)
    assert np.isfinite(scaled).all()
    assert not np.allclose(scaled, plain, atol=1e-4)
    assert (type(pipeline), type(pipeline.scheduler)) == kinds
    assert np.array_equal(images(pipeline, asked), plain)


@pytest.mark.parametrize("build", ASKED, ids=lambda build: build.__name__)
def test_after_an_exception_a_pipeline_is_as_it_was(made, build, monkeypatch):
    pipeline, asked = made(build), ASKED[build]
    plain = images(pipeline, asked)
    network = getattr(pipeline, "unet", None) or pipeline.transformer

    def fail(*_, **__):
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="out of memory"):
        patch.setattr(network, "forward", fail)
        with ls.scale_epsilon(pipeline, TILTED):
            images(pipeline, asked)
    assert np.array_equal(images(pipeline, asked), plain)
    assert not [name for name in vars(pipeline.scheduler) if "epsilon" in name]


@pytest.mark.parametrize("strength", [1.0, 0.5])
@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_stable_diffusion_is_scaled_as_if_its_network_were(made, monkeypatch, guidance, strength):
    """Dividing ε before guidance is dividing it after; image to image walks half of the grid."""
    pipeline = made(pipelines.image if strength < 1 else pipelines.text)
    asked = {"prompt": pipelines.PROMPT, "guidance_scale": guidance}
    if strength < 1:
        asked |= {"image": pipelines.PICTURE, "strength": strength}
    with ls.scale_epsilon(pipeline, TILTED):
        found = images(pipeline, asked, steps=8)
    forward, seen = pipeline.unet.forward, []

    def divided(sample, timestep, **options):
        ranks = sorted(pipeline.scheduler.timesteps.tolist())
        seen.append(ranks.index(int(timestep)))
        said = forward(sample, timestep, **(options | {"return_dict": False}))[0]
        return (said / (1.01 + 0.02 * seen[-1]),)

    monkeypatch.setattr(pipeline.unet, "forward", divided)
    expected = images(pipeline, asked, steps=8)
    assert seen == list(reversed(range(int(8 * strength))))
    assert np.abs(found - expected).max() < 2e-5


# -- the handle


def test_it_works_until_it_is_removed(text):
    plain = images(text, pipelines.GUIDED)
    handle = ls.scale_epsilon(text, TILTED)
    scaled = images(text, pipelines.GUIDED)
    assert (handle.active, handle.schedule) == (True, TILTED)
    handle.remove()
    handle.remove()
    assert not handle.active
    assert np.array_equal(images(text, pipelines.GUIDED), plain)
    assert not np.array_equal(scaled, plain)
    assert "removed" in refused(handle.__enter__)


def test_nesting_and_doubling_are_refused_and_leave_what_is(text):
    with ls.scale_epsilon(text, TILTED):
        scaled = images(text, pipelines.GUIDED)
        for target in (text, text.scheduler):
            assert "already" in refused(lambda target=target: ls.scale_epsilon(target, TILTED))
        assert np.array_equal(images(text, pipelines.GUIDED), scaled)
    with ls.scale_epsilon(text, TILTED):
        assert np.array_equal(images(text, pipelines.GUIDED), scaled)


def test_a_scheduler_alone(text):
    with ls.scale_epsilon(text, TILTED):
        expected = images(text, pipelines.GUIDED)
    with ls.scale_epsilon(text.scheduler, TILTED):
        assert np.array_equal(images(text, pipelines.GUIDED), expected)


def test_another_pipeline_around_the_same_scheduler_is_scaled_too(text):
    asked = ASKED[pipelines.image]
    plain = images(StableDiffusionImg2ImgPipeline.from_pipe(text), asked)
    with ls.scale_epsilon(text, TILTED):
        other = AutoPipelineForImage2Image.from_pipe(text)
        assert type(other) is StableDiffusionImg2ImgPipeline
        assert not np.allclose(images(other, asked), plain, atol=1e-4)
    assert np.array_equal(images(other, asked), plain)


def test_a_scaled_pipeline_is_saved_as_it_is(text, tmp_path):
    text.save_pretrained(tmp_path / "plain")
    with ls.scale_epsilon(text, TILTED):
        text.save_pretrained(tmp_path / "scaled")
    for name in ("model_index.json", "scheduler/scheduler_config.json"):
        found, expected = ((tmp_path / word / name).read_text() for word in ("scaled", "plain"))
        assert found == expected


def test_a_copy_of_a_scaled_pipeline_ends_with_it(made):
    pipeline = made(pipelines.pixels_by_ddim)
    plain = images(pipeline, {})
    with ls.scale_epsilon(pipeline, TILTED):
        other, scaled = copy.deepcopy(pipeline), images(pipeline, {})
        assert np.array_equal(images(other, {}), scaled)
    assert np.array_equal(images(other, {}), plain)
    other.scheduler = DPMSolverMultistepScheduler()


# -- other schedulers and grids


def test_lambda_follows_a_pipeline_to_its_next_scheduler(text):
    first = text.scheduler
    second = EulerDiscreteScheduler.from_config(first.config)
    text.scheduler = EulerDiscreteScheduler.from_config(first.config)
    plain = images(text, pipelines.GUIDED)
    with ls.scale_epsilon(text, TILTED):
        expected = images(text, pipelines.GUIDED)
    text.scheduler = first
    with ls.scale_epsilon(text, TILTED) as handle:
        (told,), _ = warned(lambda: setattr(text, "scheduler", second))
        assert "EulerDiscreteScheduler" in told
        assert "DDIMScheduler" in told
        assert type(first) is DDIMScheduler
        assert np.array_equal(images(text, pipelines.GUIDED), expected)
        assert handle.active
    assert type(second) is EulerDiscreteScheduler
    assert text.scheduler is second
    assert np.array_equal(images(text, pipelines.GUIDED), plain)


def test_a_scheduler_made_from_the_class_of_a_scaled_one_is_scaled_once(text):
    with ls.scale_epsilon(text, TILTED):
        expected = images(text, pipelines.GUIDED)
        text.scheduler = type(text.scheduler).from_config(text.scheduler.config)
        assert np.array_equal(images(text, pipelines.GUIDED), expected)
    assert type(text.scheduler) is DDIMScheduler


def test_a_pipeline_may_go_on_with_a_copy_of_its_scheduler(text):
    """As the pipelines of text-to-video zero do in the middle of a call."""
    plain = images(text, pipelines.GUIDED)
    with ls.scale_epsilon(text, TILTED):
        expected = images(text, pipelines.GUIDED)
        other = copy.deepcopy(text.scheduler)
        told, _ = warned(lambda: setattr(text, "scheduler", other))
        assert not told
        assert np.array_equal(images(text, pipelines.GUIDED), expected)
    assert type(other) is DDIMScheduler
    assert np.array_equal(images(text, pipelines.GUIDED), plain)


def test_a_next_scheduler_that_cannot_be_scaled_is_refused_and_the_last_stays(text):
    before = text.scheduler
    with ls.scale_epsilon(text, TILTED):
        scaled = images(text, pipelines.GUIDED)
        cause = refused(lambda: setattr(text, "scheduler", ScoreSdeVeScheduler()))
        assert "ScoreSdeVeScheduler" in cause
        assert text.scheduler is before
        assert np.array_equal(images(text, pipelines.GUIDED), scaled)


def test_other_parts_of_a_scaled_pipeline_are_replaced_as_ever(text):
    vae = text.vae
    with ls.scale_epsilon(text, TILTED):
        text.vae = copy.deepcopy(vae)
        assert text.vae is not vae
    text.vae = vae


def test_lambda_follows_the_number_of_steps_and_timesteps_of_ones_own(text):
    text.scheduler = EulerDiscreteScheduler.from_config(text.scheduler.config)
    constant = ls.LambdaSchedule(1.06)
    for told in ({"steps": 3}, {"steps": 6}, {"timesteps": [900, 600, 300, 100]}):
        count = len(told.get("timesteps", [])) or told["steps"]
        tilted = ls.LambdaSchedule.from_mean(1.06, 0.01, count)
        asked = pipelines.GUIDED | {k: v for k, v in told.items() if k != "steps"}
        found = []
        for schedule in (constant, tilted):
            with ls.scale_epsilon(text, schedule):
                found.append(images(text, asked, steps=count))
        assert not np.array_equal(*found)
    with ls.scale_epsilon(text, ls.LambdaSchedule(1.0, -0.1)):
        images(text, pipelines.GUIDED, steps=10)
        assert "11 steps" in refused(lambda: images(text, pipelines.GUIDED, steps=11))
        images(text, pipelines.GUIDED, steps=4)


# -- what cannot be scaled


def test_bad_input_is_refused_before_anything_is_changed(text):
    for target, schedule in (
        (text, 1.005),
        (text, ls.LambdaSchedule(0.0)),
        (text, ls.LambdaSchedule(float("nan"))),
        (text.unet, TILTED),
        ("a pipeline", TILTED),
        (ScoreSdeVeScheduler(), TILTED),
    ):
        refused(lambda target=target, schedule=schedule: ls.scale_epsilon(target, schedule))
    assert type(text.scheduler) is DDIMScheduler


def test_a_pipeline_of_several_schedulers_is_asked_which():
    class Two:
        def __init__(self):
            names = ("prior_scheduler", "decoder_scheduler")
            self.components = {name: DDIMScheduler() for name in names}

    with pytest.raises(ls.UsageError, match=r"\.prior_scheduler or its \.decoder_scheduler"):
        ls.scale_epsilon(Two(), TILTED)


@pytest.mark.parametrize(("build", "count"), [(pipelines.flux, 1), (pipelines.text, 0)])
def test_a_flow_is_warned_of_where_it_is_scaled(made, build, count):
    found, handle = warned(lambda: ls.scale_epsilon(made(build), TILTED))
    handle.remove()
    assert len(found) == count


def test_a_warning_points_at_who_scaled(made):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with ls.scale_epsilon(made(pipelines.flux), TILTED):
            pass
    assert [w.filename for w in caught if w.category is ls.EpsilonScalingWarning] == [__file__]
