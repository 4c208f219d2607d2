"""What being dressed does to a scheduler, its copies and its methods."""

import copy
import inspect
import pickle
import warnings

import pytest
import torch
from diffusers import DDIMParallelScheduler
from diffusers import DDIMScheduler
from diffusers import DDPMScheduler
from diffusers import DPMSolverMultistepScheduler
from diffusers import EDMEulerScheduler
from diffusers import EulerAncestralDiscreteScheduler
from diffusers import EulerDiscreteScheduler
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers import HeunDiscreteScheduler
from diffusers import UniPCMultistepScheduler

from lambda_search.diffusion.scaled.schedulers import Scaling
from lambda_search.diffusion.scaled.schedulers import dress
from lambda_search.diffusion.scaled.schedulers import scaling_of
from lambda_search.diffusion.scaled.schedulers import undress
from lambda_search.errors import EpsilonScalingWarning
from lambda_search.errors import UsageError
from lambda_search.schedule import LambdaSchedule
from tests.diffusion.scaled.walking import network
from tests.diffusion.scaled.walking import walk

pytestmark = pytest.mark.filterwarnings("ignore::lambda_search.errors.EpsilonScalingWarning")
TILTED = LambdaSchedule(1.012, 0.003)


def dressed(scheduler, schedule=TILTED):
    dress(scheduler, Scaling(schedule))
    return scheduler


def plainly(k, x, t, state):
    return network(x, t)


def refused(call):
    with pytest.raises(UsageError) as caught:
        call()
    assert caught.value.hint
    return caught.value.cause


def warned(call):
    """What `call` warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(w.message) for w in caught if w.category is EpsilonScalingWarning]


# -- what others see of it


@pytest.mark.parametrize("kind", [DDIMScheduler, EulerDiscreteScheduler, UniPCMultistepScheduler])
def test_a_dressed_scheduler_passes_for_what_it_was(kind, tmp_path):
    plain, scheduler = kind(), dressed(kind())
    assert isinstance(scheduler, kind)
    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        assert getattr(type(scheduler), name) == getattr(kind, name)
    for name in ("step", "set_timesteps"):
        found, expected = (inspect.signature(getattr(each, name)) for each in (scheduler, plain))
        assert found == expected
    scheduler.save_pretrained(tmp_path / "dressed")
    plain.save_pretrained(tmp_path / "plain")
    saved = [path.read_text() for path in tmp_path.glob("*/*.json")]
    assert saved[0] == saved[1]
    assert dict(scheduler.config) == dict(plain.config)


def test_undressed_it_is_what_it_was():
    scheduler = DDIMScheduler()
    state = set(vars(scheduler))
    expected = walk(DDIMScheduler(), plainly)
    dress(scheduler, Scaling(TILTED))
    scaled = walk(scheduler, plainly)
    undress(scheduler)
    assert type(scheduler) is DDIMScheduler
    assert set(vars(scheduler)) == state
    assert torch.equal(walk(scheduler, plainly), expected)
    assert not torch.equal(scaled, expected)


def test_dressing_twice_is_refused():
    scheduler = dressed(EulerDiscreteScheduler())
    assert "already" in refused(lambda: dress(scheduler, Scaling(LambdaSchedule(1.1))))
    assert scaling_of(scheduler).schedule == TILTED
    undress(scheduler)
    dressed(scheduler)


def test_a_class_of_ones_own_reads_as_its_parent():
    class Mine(EulerDiscreteScheduler):
        pass

    assert torch.equal(
        walk(dressed(Mine()), plainly), walk(dressed(EulerDiscreteScheduler()), plainly)
    )


def test_what_is_no_scheduler_of_the_library_is_refused():
    class Strange:
        pass

    assert "Strange" in refused(lambda: dressed(Strange()))


# -- copies


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, copy.copy, lambda scheduler: pickle.loads(pickle.dumps(scheduler))],
    ids=["deepcopy", "copy", "pickle"],
)
def test_a_copy_is_dressed_and_lives_on_its_own(copied):
    scheduler = dressed(UniPCMultistepScheduler())
    expected = walk(copy.deepcopy(scheduler), plainly)
    other = copied(scheduler)
    scheduler.set_timesteps(3)
    assert torch.equal(walk(other, plainly), expected)
    assert len(scheduler.timesteps) == 3
    assert scheduler.step_index is None


def test_a_copy_ends_with_its_original():
    scheduler = dressed(DDIMScheduler())
    other = copy.deepcopy(scheduler)
    scaling_of(scheduler).active = False
    assert torch.equal(walk(other, plainly), walk(DDIMScheduler(), plainly))
    dressed(other)  # which may be scaled anew, once
    assert torch.equal(walk(other, plainly), walk(dressed(DDIMScheduler()), plainly))


def test_a_state_put_back_by_hand_stays_dressed():
    """As the panorama pipeline does it with every view's scheduler."""
    scheduler = dressed(UniPCMultistepScheduler())
    expected = walk(copy.deepcopy(scheduler), plainly)
    kept = copy.deepcopy(vars(scheduler))
    walk(scheduler, plainly)
    vars(scheduler).update(kept)
    assert torch.equal(walk(scheduler, plainly), expected)


def test_a_class_of_a_dressed_scheduler_makes_plain_ones():
    made = type(dressed(DDIMScheduler())).from_config(DDIMScheduler().config)
    assert torch.equal(walk(made, plainly), walk(DDIMScheduler(), plainly))
    dressed(made)
    assert torch.equal(walk(made, plainly), walk(dressed(DDIMScheduler()), plainly))


# -- the grid


def test_lambda_follows_the_number_of_steps():
    scheduler = dressed(DDIMScheduler())
    for steps in (4, 9, 4):
        scheduler.set_timesteps(steps)
        x = torch.ones(1, 3, 2, 2)
        for i, t in zip(reversed(range(steps)), scheduler.timesteps, strict=True):
            plain = DDIMScheduler()
            plain.set_timesteps(steps)
            expected = plain.step(x / TILTED.at(i), t, x).prev_sample
            assert torch.equal(scheduler.step(x, t, x).prev_sample, expected)


@pytest.mark.parametrize("begin", [0, 2])
def test_a_run_from_the_middle_keeps_the_indices_of_the_whole_grid(begin):
    scheduler, plain = dressed(EulerDiscreteScheduler()), EulerDiscreteScheduler()
    x = torch.ones(1, 3, 2, 2)
    for each in (scheduler, plain):
        each.set_timesteps(5)
        each.set_begin_index(begin)
        each.scale_model_input(x, each.timesteps[begin])
    found = scheduler.step(x, scheduler.timesteps[begin], x).prev_sample
    expected = plain.step(x / TILTED.at(4 - begin), plain.timesteps[begin], x).prev_sample
    assert torch.equal(found, expected)


def test_the_second_call_of_heuns_step_has_the_index_of_its_own_level():
    scheduler, plain = dressed(HeunDiscreteScheduler()), HeunDiscreteScheduler()
    x = y = torch.ones(1, 3, 2, 2)
    for each in (scheduler, plain):
        each.set_timesteps(3)
    for t, i in zip(plain.timesteps, (2, 1, 1, 0, 0), strict=True):
        x = scheduler.step(torch.tanh(x), t, x).prev_sample
        y = plain.step(torch.tanh(y) / TILTED.at(i), t, y).prev_sample
        assert torch.equal(x, y)


@pytest.mark.parametrize("kind", [DDPMScheduler, EulerDiscreteScheduler])
def test_a_lambda_that_is_not_positive_is_refused_before_the_first_step(kind):
    scheduler = dressed(kind(), LambdaSchedule(1.0, -0.1))
    scheduler.set_timesteps(10)
    cause = refused(lambda: scheduler.set_timesteps(11))
    assert "11 steps" in cause
    scheduler.set_timesteps(10)


def test_without_a_grid_of_its_own_ddpm_walks_all_timesteps():
    scheduler = dressed(DDPMScheduler(clip_sample=False), LambdaSchedule(1.0, 1e-4))
    x = torch.ones(1, 3, 2, 2)
    found = scheduler.step(x, 600, x, generator=torch.Generator().manual_seed(0)).prev_sample
    expected = DDPMScheduler(clip_sample=False).step(
        x / 1.06, 600, x, generator=torch.Generator().manual_seed(0)
    )
    assert torch.allclose(found, expected.prev_sample, rtol=1e-6)


# -- steps that are not told the usual


def test_a_batch_of_timesteps_takes_a_lambda_for_each():
    scheduler = dressed(DDIMParallelScheduler())
    scheduler.set_timesteps(5)
    times = scheduler.timesteps[1:4]
    x = torch.linspace(-1, 1, 3 * 12).reshape(3, 3, 2, 2)
    found = scheduler.batch_step_no_noise(torch.tanh(x), times, x)
    each = [
        scheduler.step(torch.tanh(row), t, row).prev_sample
        for t, row in zip(times, x.split(1), strict=True)
    ]
    assert torch.allclose(found, torch.cat(each), atol=1e-6)
    plain = DDIMParallelScheduler()
    plain.set_timesteps(5)
    assert not torch.allclose(found, plain.batch_step_no_noise(torch.tanh(x), times, x), atol=1e-4)


def test_an_estimate_of_x0_handed_over_is_scaled_like_one_that_is_read():
    """As the pipelines of Cosmos hand it over."""
    x = torch.linspace(-3, 3, 12).reshape(1, 3, 2, 2)
    scheduler = dressed(EDMEulerScheduler(sigma_data=1.0))
    scheduler.set_timesteps(5)
    reading = copy.deepcopy(scheduler)
    t, sigma = scheduler.timesteps[2], scheduler.sigmas[2]
    scheduler.set_begin_index(2)
    reading.set_begin_index(2)
    said = torch.tanh(x)
    x0 = reading.precondition_outputs(x, said, sigma)
    found = scheduler.step(x0, t, x, pred_original_sample=x0).prev_sample
    assert torch.allclose(found, reading.step(said, t, x).prev_sample, atol=1e-5)
    assert not torch.allclose(found, x + (x - x0) / sigma * (scheduler.sigmas[3] - sigma))


def test_tokens_at_levels_of_their_own_are_refused():
    scheduler = dressed(FlowMatchEulerDiscreteScheduler())
    scheduler.set_timesteps(4)
    x = torch.zeros(1, 3, 2)
    times = torch.tensor([[750.0, 0.0, 0.0]])
    told = {"per_token_timesteps": times}
    assert "tokens" in refused(lambda: scheduler.step(x, scheduler.timesteps[1], x, **told))


def test_samples_at_levels_of_their_own_are_refused():
    scheduler = dressed(DDIMScheduler())
    scheduler.set_timesteps(4)
    x = torch.zeros(2, 3, 2, 2)
    assert "different" in refused(lambda: scheduler.step(x, torch.tensor([750, 500]), x))


# -- half precision


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "kind",
    [
        DDIMScheduler,
        EulerDiscreteScheduler,
        DPMSolverMultistepScheduler,
        UniPCMultistepScheduler,
    ],
)
def test_a_step_in_half_precision_is_that_in_float32_rounded(kind, half):
    """So that λ = 1.002 counts, though ε/1.002 is ε to bfloat16."""
    state = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)).to(half)
    said = torch.tanh(state)
    assert half != torch.bfloat16 or (said / 1.002 == said).float().mean() > 0.9
    ends = {}
    for dtype in (half, torch.float32):
        scheduler = dressed(kind(), LambdaSchedule(1.002))
        scheduler.set_timesteps(10)
        scheduler.scale_model_input(state, scheduler.timesteps[0])
        made = scheduler.step(said.to(dtype), scheduler.timesteps[0], state.to(dtype))
        ends[dtype] = made.prev_sample
    assert ends[half].dtype == half
    assert torch.equal(ends[half], ends[torch.float32].to(half))


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", [DDPMScheduler, EulerAncestralDiscreteScheduler])
def test_in_half_precision_the_noise_is_that_of_lambda_one(kind, half):
    rounded = lambda k, x, t, state: network(x.float(), t).to(half)  # noqa: E731
    plain = walk(kind(), rounded, half).float()
    found = walk(dressed(kind(), LambdaSchedule(1.0, 1e-4)), rounded, half).float()
    assert (found - plain).abs().max() < 0.1 * plain.abs().max()


# -- warnings


def step_of(scheduler, **options):
    scheduler.set_timesteps(4)
    x = torch.ones(1, 3, 2, 2)
    return lambda: scheduler.step(x, scheduler.timesteps[1], x, **options)


def test_ddim_warns_of_clipping_once():
    step = step_of(dressed(DDIMScheduler()))
    (text,) = warned(step)
    assert "use_clipped_model_output=True" in text
    assert warned(step) == []


@pytest.mark.parametrize(
    ("scheduler", "options"),
    [
        (DDIMScheduler(clip_sample=False), {}),
        (DDIMScheduler(), {"use_clipped_model_output": True}),
        (DDPMScheduler(), {}),  # whose mean is made of the clipped x0
    ],
)
def test_where_clipping_changes_nothing_there_is_no_warning(scheduler, options):
    assert warned(step_of(dressed(scheduler), **options)) == []


def test_dynamic_thresholding_is_warned_of():
    scheduler = dressed(DPMSolverMultistepScheduler(thresholding=True))
    (text,) = warned(step_of(scheduler))
    assert "thresholding" in text


def test_lambda_one_warns_of_nothing_at_a_step():
    assert warned(step_of(dressed(DDIMScheduler(), LambdaSchedule()))) == []


@pytest.mark.parametrize(
    ("scheduler", "count"),
    [
        (FlowMatchEulerDiscreteScheduler(), 1),
        (UniPCMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction"), 1),
        (UniPCMultistepScheduler(), 0),
    ],
)
def test_a_flow_is_warned_of(scheduler, count):
    found = warned(lambda: dressed(scheduler))
    assert len(found) == count
    assert all("velocit" in text for text in found)
