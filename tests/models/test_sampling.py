import random

import pytest
import torch

from lambda_search.diffusion.noise import normal
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.models.registry import load_model
from lambda_search.models.sampling import sample
from lambda_search.models.sampling import to_uint8
from lambda_search.schedule import LambdaSchedule
from tests.asking import asked

TILTED = LambdaSchedule(1.01, 0.004)
STEPS = 4
RUNS = [("ancestral", {}), ("ddim", {}), ("ddim", {"eta": 1.0})]


@pytest.fixture(scope="module")
def model(ddpm_folder):
    return load_model("diffusers", ddpm_folder)


def draw_samples(model, indices, sampler="ancestral", steps=STEPS, batch=8, seed=0, **how):
    options = {"batch": batch} | how.pop("options", {})
    return sample(model, sampler, steps, TILTED, indices, seed=seed, options=options, **how)


@pytest.fixture(scope="module")
def forty(model):
    return {str(run): draw_samples(model, range(40), run[0], options=run[1]) for run in RUNS}


def test_the_result_is_one_float32_image_per_index(model, forty):
    for images in forty.values():
        assert images.shape == (40, *model.shape) == (40, 1, 8, 8)
        assert images.dtype == torch.float32
        assert images.isfinite().all()
        assert len({tuple(image.flatten().tolist()) for image in images}) == 40


@pytest.mark.parametrize("run", RUNS, ids=str)
@pytest.mark.parametrize(
    "indices",
    [
        range(10),
        range(13, 29),
        [7],
        [39, 0, 20],
        range(39, -1, -1),
        random.Random(0).sample(range(40), 40),
        random.Random(1).sample(range(40), 11),
    ],
    ids=lambda indices: f"{len(indices)} from {indices[0]}",
)
def test_a_sample_depends_on_its_index_alone(model, forty, run, indices):
    found = draw_samples(model, indices, run[0], options=run[1])
    assert torch.equal(found, forty[str(run)][list(indices)])


def test_an_index_asked_for_twice_comes_twice(model, forty):
    found = draw_samples(model, [3, 5, 3])
    assert torch.equal(found, forty[str(RUNS[0])][[3, 5, 3]])


def test_no_indices_make_no_images(model):
    assert draw_samples(model, []).shape == (0, 1, 8, 8)


@pytest.mark.parametrize("batch", [1, 3, 16, 64])
def test_the_batch_changes_the_rounding_only(model, forty, batch):
    found = draw_samples(model, range(10), batch=batch)
    assert torch.allclose(found, forty[str(RUNS[0])][:10], rtol=0, atol=1e-4)


def test_whole_batches_go_through_the_network_whatever_is_asked_for(model):
    seen = []
    draw_samples(model, [3, 30], steps=2, observe=seen.append)
    assert [len(step.state) for step in seen] == [8] * 4
    assert [step.level.index for step in seen] == [1, 0] * 2


def test_an_observer_sees_each_call_as_it_was_made_and_changes_nothing(model, forty):
    seen = []
    found = draw_samples(model, range(8), observe=seen.append)
    assert torch.equal(found, forty[str(RUNS[0])][:8])
    assert torch.equal(seen[0].state, normal(0, range(8), 0, model.shape))
    for step in seen:
        with torch.inference_mode():
            again = model.predict(step.state, step.level, None, asked("ancestral", STEPS))
        assert torch.equal(step.prediction.epsilon, again.epsilon)


def test_another_seed_makes_other_images(model, forty):
    found = draw_samples(model, range(10), seed=1)
    assert (found - forty[str(RUNS[0])][:10]).abs().flatten(1).amax(1).min() > 1e-2


def test_the_seed_of_the_process_does_not_matter(model, forty):
    with torch.random.fork_rng():
        torch.manual_seed(99)
        found = draw_samples(model, range(8))
    assert torch.equal(found, forty[str(RUNS[0])][:8])


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_the_drawn_noise_given_back_makes_the_same_images(model, forty, run):
    indices = range(8, 16)
    found = draw_samples(
        model,
        range(8),
        run[0],
        options=run[1],
        initial=normal(0, indices, 0, model.shape),
        step_noise=[normal(0, indices, j, model.shape) for j in range(1, STEPS + 1)],
    )
    assert torch.equal(found, forty[str(run)][8:16])


def test_given_starts_without_step_noise_are_the_first_samples(model, forty):
    initial = normal(0, range(8), 0, model.shape)
    found = draw_samples(model, range(100), initial=initial)
    assert torch.equal(found, forty[str(RUNS[0])][:8])


def test_given_step_noise_is_used_in_order_noisy_to_clean(model):
    initial = normal(0, range(2), 0, model.shape)
    noise = [normal(0, range(2), j, model.shape) for j in range(1, STEPS + 1)]

    def images(step_noise):
        return draw_samples(model, [], initial=initial, step_noise=step_noise)

    plain = images(noise)
    change = [(images([*noise[:j], -noise[j], *noise[j + 1 :]]) - plain).norm() for j in range(4)]
    assert change[3] == 0  # the step to the clean image takes no noise
    assert min(change[:3]) > 0.1
    assert not torch.equal(images([noise[1], noise[0], *noise[2:]]), plain)


def test_a_given_start_is_left_as_it_was(model):
    initial = normal(0, range(2), 0, model.shape)
    draw_samples(model, [], initial=initial)
    assert torch.equal(initial, normal(0, range(2), 0, model.shape))


def test_step_noise_alone_is_refused(model):
    with pytest.raises(UsageError) as caught:
        draw_samples(model, range(2), step_noise=[torch.zeros(2, 1, 8, 8)] * STEPS)
    assert caught.value.cause == "step_noise comes with initial."
    assert caught.value.hint


def test_too_little_step_noise_is_refused(model):
    with pytest.raises(UsageError) as caught:
        draw_samples(model, [], initial=torch.zeros(2, 1, 8, 8), step_noise=[])
    assert "step_noise" in caught.value.cause
    assert caught.value.hint


def test_images_are_decoded_states(model, monkeypatch):
    monkeypatch.setattr(model, "decode", lambda x: torch.cat([x, x + 1], dim=1).repeat(1, 1, 2, 1))
    images = draw_samples(model, [9, 2])
    states = draw_samples(model, [9, 2], decode=False)
    assert states.shape == (2, 1, 8, 8)
    assert images.shape == (2, 2, 16, 8)
    assert torch.equal(images[:, :1, 8:], states)
    assert torch.equal(images[:, 1:, :8], states + 1)


def test_pixels_are_their_own_images(model):
    images, states = (draw_samples(model, range(3), decode=decode) for decode in (True, False))
    assert torch.equal(images, states)


def test_the_schedule_and_the_site_reach_the_sampler(model):
    how = {"options": {"clip": False, "batch": 8}}
    plain, scaled, shifted = (
        sample(model, "ddim", 4, schedule, range(2), **how)
        for schedule in (LambdaSchedule(), LambdaSchedule(1.02), LambdaSchedule(1.0, 0.02))
    )
    x0_only = sample(model, "ddim", 4, LambdaSchedule(1.02), range(2), site="x0_only", **how)
    assert len({tuple(x.flatten().tolist()) for x in (plain, scaled, shifted, x0_only)}) == 4


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_is_near_and_the_state_stays_float32(model, forty, precision):
    found = draw_samples(model, range(8), options={"precision": precision})
    exact = forty[str(RUNS[0])][:8]
    assert found.dtype == torch.float32
    assert not torch.equal(found, exact)
    assert (found - exact).abs().mean() < 0.05


def test_nothing_needs_a_gradient(model):
    assert not draw_samples(model, range(2)).requires_grad


@pytest.mark.parametrize(
    ("sampler", "steps", "schedule", "options", "cause", "hint"),
    [
        ("heune", 4, TILTED, {}, "cannot be sampled with 'heune'", "ancestral, ddim"),
        ("ancestral", 4, TILTED, {"eta": 0.5}, "'ancestral' has no option 'eta'", "Remove eta"),
        ("ancestral", 4, TILTED, {"eta": 0.0}, "'ancestral' has no option 'eta'", "Remove eta"),
        ("ddim", 4, TILTED, {"variance": "small"}, "'ddim' has no option 'variance'", "Remove va"),
        ("ddim", 4, TILTED, {"grid": "quad"}, "no grid 'quad'", "leading, linspace or trailing"),
        ("ancestral", 4, TILTED, {"variance": "learned"}, "not learned its variance", "small or"),
        ("ddim", 1001, TILTED, {}, "grid cannot have 1001 steps", "Take 1000 steps"),
        ("ddim", 1, TILTED, {"grid": "linspace"}, "linspace grid of 1 step", "2 steps or more"),
        ("ddim", 4, LambdaSchedule(1.0, -0.5), {}, "reaches -0.5 in 4 steps", "Raise b"),
        # these come from outside, and are the caller's to mend too
        ("ddim", 0, TILTED, {}, "0", ""),
        ("ddim", -1, TILTED, {}, "-1", ""),
        ("ddim", 4, TILTED, {"etta": 0.5}, "etta", ""),
        ("ddim", 4, TILTED, {"eta": 1.5}, "eta", ""),
        ("ddim", 4, TILTED, {"batch": 0}, "batch", ""),
    ],
)
def test_what_the_model_cannot_do_is_refused(
    model, sampler, steps, schedule, options, cause, hint
):
    with pytest.raises(UsageError) as caught:
        sample(model, sampler, steps, schedule, range(2), options=options)
    assert cause in caught.value.cause
    assert caught.value.hint
    assert hint in caught.value.hint


def test_bytes_are_quantised_as_the_field_does():
    x = torch.tensor([-1.1, -1.0, -1 + 1 / 127.5, 0.0, 0.5, 1.0, 1.1])
    assert to_uint8(x).tolist() == [0, 0, 1, 128, 191, 255, 255]
    assert to_uint8(x).dtype == torch.uint8


def test_diverged_images_are_not_painted_black():
    images = torch.zeros(2, 1, 4, 4)
    images[1, 0, 0, 0] = float("nan")
    with pytest.raises(LambdaSearchError, match="NaN or infinity") as caught:
        to_uint8(images)
    assert "precision" in caught.value.hint


@pytest.mark.parametrize(
    ("how", "cause"),
    [
        ({"seed": -1}, "Seeds and sample indices start at 0"),
        ({"indices": [2**64]}, "Seeds and sample indices start at 0"),
        ({"initial": [[0.0]]}, "initial is list"),
        ({"initial": torch.zeros(2, 3, 8, 8)}, "initial is [2, 3, 8, 8]"),
        ({"labels": [1]}, "unconditional"),
        ({"guidance": float("nan")}, "guidance scale of nan"),
    ],
)
def test_what_cannot_be_is_said_before_the_network_runs(model, monkeypatch, how, cause):
    monkeypatch.setattr(model, "predict", lambda *_: pytest.fail("the network was called"))
    with pytest.raises(UsageError) as caught:
        sample(model, "ancestral", STEPS, TILTED, **({"indices": [0]} | how))
    assert cause in str(caught.value)


def test_an_absent_device_is_one_message(ddpm_folder):
    with pytest.raises(UsageError, match="no device 'gpu'"):
        load_model("diffusers", ddpm_folder, device="gpu")
