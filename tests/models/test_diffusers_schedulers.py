"""Folders with any scheduler of a discrete variance-preserving process."""

import diffusers
import pytest
import torch
from diffusers import DDIMScheduler
from diffusers import DDPMPipeline
from diffusers import UNet2DModel
from diffusers.schedulers import scheduling_euler_ancestral_discrete

from lambda_search.diffusion.noise import normal
from lambda_search.diffusion.schedulers import SCHEDULERS
from lambda_search.errors import UsageError
from lambda_search.models.registry import load_model
from lambda_search.models.sampling import sample
from lambda_search.schedule import LambdaSchedule
from tests.asking import asked

N = 3
STABLE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
ON_SIGMA = [name for name in SCHEDULERS if hasattr(getattr(diffusers, name)(), "sigmas")]
IN_OTHER_COORDINATES = [
    "LMSDiscreteScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
]


@pytest.fixture(scope="session")
def make_folder(make_pipeline, tmp_path_factory):
    """(scheduler) → a folder with it, and always the same network."""
    unet = UNet2DModel.from_pretrained(make_pipeline(DDIMScheduler(), channels=2) / "unet")

    def make(scheduler):
        folder = tmp_path_factory.mktemp("scheduler")
        pipeline = DDPMPipeline(unet=unet, scheduler=DDIMScheduler())
        pipeline.register_modules(scheduler=scheduler)
        pipeline.save_pretrained(folder)
        return folder

    return make


def scheduler(name, **config):
    return getattr(diffusers, name)(**STABLE | config)


def ours(folder, sampler, steps, **options):
    return sample(
        load_model("diffusers", folder),
        sampler,
        steps,
        LambdaSchedule(),
        range(N),
        options=options | {"batch": N},
    )


@torch.no_grad()
def theirs(folder, walked, steps, **options):
    """The library's own loop."""
    unet = UNet2DModel.from_pretrained(folder / "unet")
    walked.set_timesteps(steps)
    x = normal(0, range(N), 0, (2, 8, 8)) * walked.init_noise_sigma
    for t in walked.timesteps:
        out = unet(walked.scale_model_input(x, t), t).sample
        x = walked.step(out, t, x, **options).prev_sample
    return x


def assert_near(found, expected):
    assert (found - expected).abs().max() / expected.abs().max() < 1e-4


def refused(call):
    with pytest.raises(UsageError) as caught:
        call()
    assert caught.value.hint
    return caught.value.cause


# -- against the library's own loops


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize(
    "config",
    [
        {"timestep_spacing": "leading", "steps_offset": 1},
        {"timestep_spacing": "linspace"},
        {"timestep_spacing": "trailing"},
        {"use_karras_sigmas": True},
        {"use_exponential_sigmas": True},
        {"use_beta_sigmas": True},
        {"final_sigmas_type": "sigma_min"},
    ],
)
def test_an_euler_folder(make_folder, prediction_type, config):
    def make():
        return scheduler("EulerDiscreteScheduler", prediction_type=prediction_type, **config)

    folder = make_folder(make())
    expected = theirs(folder, make(), 7)
    assert_near(ours(folder, "euler", 7), expected)
    if "final_sigmas_type" in config:  # the state is x, where theirs is x/α
        expected = expected * float(make().alphas_cumprod[0]) ** 0.5
    assert_near(ours(folder, "ddim", 7), expected)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@torch.no_grad()
def test_an_euler_ancestral_folder(make_folder, monkeypatch, prediction_type):
    def make():
        kind = "EulerAncestralDiscreteScheduler"
        return scheduler(kind, prediction_type=prediction_type, timestep_spacing="trailing")

    draws = iter(range(1, 9))
    monkeypatch.setattr(
        scheduling_euler_ancestral_discrete,
        "randn_tensor",
        lambda *_, **__: normal(0, range(N), next(draws), (2, 8, 8)),
    )
    folder = make_folder(make())
    assert_near(ours(folder, "ancestral", 6), theirs(folder, make(), 6))


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("karras", [False, True])
@pytest.mark.parametrize("name", ["DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler"])
def test_dpm_solver_of_order_one_is_ddim(make_folder, name, karras, prediction_type):
    """Lu et al. 2022, arXiv:2206.00927, §4.1."""

    def make():
        told = {"prediction_type": prediction_type, "use_karras_sigmas": karras}
        return scheduler(name, solver_order=1, **told)

    folder = make_folder(make())
    expected = theirs(folder, make(), 8)
    assert_near(ours(folder, "ddim", 8), expected)
    assert_near(ours(folder, "euler", 8), expected)


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("to_one", [False, True])
def test_a_pndm_folder_is_walked_as_ddim_walks_it(make_folder, spacing, to_one):
    config = {"timestep_spacing": spacing, "set_alpha_to_one": to_one, "skip_prk_steps": True}
    folder = make_folder(scheduler("PNDMScheduler", **config))
    walked = scheduler(
        "DDIMScheduler", timestep_spacing=spacing, set_alpha_to_one=to_one, clip_sample=False
    )
    expected = theirs(folder, walked, 10)
    assert_near(ours(folder, "ddim", 10), expected)
    alpha = 1.0 if to_one else float(walked.alphas_cumprod[0]) ** 0.5
    assert_near(ours(folder, "euler", 10) * alpha, expected)


def test_a_ddim_folder_by_euler(make_folder):
    folder = make_folder(scheduler("DDIMScheduler", clip_sample=False))
    expected = theirs(folder, scheduler("DDIMScheduler", clip_sample=False), 10)
    assert_near(ours(folder, "euler", 10), expected)


# -- grids of all of them


@pytest.mark.parametrize("sampler", ["ancestral", "ddim", "euler"])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_has_a_falling_grid_of_its_steps(make_folder, name, sampler):
    model = load_model("diffusers", make_folder(scheduler(name)))
    resolved = model.resolve(asked(sampler, 9))
    assert model.resolve(resolved) == resolved
    grid = model.grid(resolved)
    assert len(grid) == 9
    levels = [s / a for s, a in zip(grid.sigma, grid.alpha, strict=True)]
    assert levels == sorted(set(levels))
    after = [s / a for s, a in zip(grid.sigma_next, grid.alpha_next, strict=True)]
    assert after[1:] == levels[:-1]
    table = model._scheduler.alphas_cumprod.double().tolist()
    for level, told in zip(levels, grid.timesteps, strict=True):
        # σ is interpolated between timesteps: between those of its neighbours
        low, high = int(told), min(int(told) + 1, 999)
        nearest = [((1 - table[t]) / table[t]) ** 0.5 for t in (low, high)]
        assert nearest[0] * 0.999 <= level <= nearest[1] * 1.001


@pytest.mark.parametrize("name", ["HeunDiscreteScheduler", "KDPM2DiscreteScheduler"])
@pytest.mark.parametrize("config", [{}, {"timestep_spacing": "trailing"}])
def test_schedulers_of_second_order_have_eulers_grid(make_folder, name, config):
    grids = [
        load_model("diffusers", make_folder(scheduler(kind, **config))).grid(asked("ddim", 8))
        for kind in (name, "EulerDiscreteScheduler")
    ]
    assert grids[0] == grids[1]


@pytest.mark.parametrize("name", ON_SIGMA)
def test_the_start_is_scaled_as_the_library_scales_it(make_folder, name):
    """Euler and its kin start from σ·z in coordinates x/α, the others from z."""
    model = load_model("diffusers", make_folder(scheduler(name)))
    z = normal(0, range(N), 0, model.shape)
    grid = model.grid(asked("ddim", 6))
    expected = z * grid.sigma[-1] if name in IN_OTHER_COORDINATES else z
    assert torch.allclose(model.start(z, grid), expected, rtol=1e-5)
    exploding = model.grid(asked("euler", 6))
    assert torch.allclose(model.start(z, exploding), expected / grid.alpha[-1], rtol=1e-5)


def test_equal_configurations_of_two_schedulers_are_two_definitions(make_folder):
    definitions = {
        load_model("diffusers", make_folder(scheduler(name))).definition for name in SCHEDULERS
    }
    assert len(definitions) >= len(SCHEDULERS) - 2  # DDPM's and DDIM's parallel twins


# -- options and errors


def test_euler_takes_a_grid_and_nothing_else(make_folder):
    model = load_model("diffusers", make_folder(scheduler("EulerDiscreteScheduler")))
    found = model.resolve(asked("euler", 5, grid="trailing")).options
    assert (found.grid, found.clip, found.eta, found.variance) == ("trailing", None, None, None)
    refused(lambda: model.resolve(asked("euler", 5, s_churn=1.0)))
    refused(lambda: model.resolve(asked("euler", 5, eta=0.5)))
    refused(lambda: model.resolve(asked("heun", 5)))


def test_a_scheduler_with_one_spacing_has_no_other(make_folder):
    model = load_model("diffusers", make_folder(scheduler("DPMSolverSinglestepScheduler")))
    assert model.resolve(asked("ddim", 5)).options.grid == "linspace"
    cause = refused(lambda: model.resolve(asked("ddim", 5, grid="trailing")))
    assert "DPMSolverSinglestepScheduler" in cause


@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "DPMSolverMultistepScheduler"])
@pytest.mark.parametrize("steps", [1001, 2000])
def test_impossible_steps(make_folder, name, steps):
    model = load_model("diffusers", make_folder(scheduler(name, timestep_spacing="leading")))
    assert f"{steps} steps" in refused(lambda: model.grid(asked("ddim", steps)))


def test_one_step(make_folder):
    model = load_model("diffusers", make_folder(scheduler("EulerDiscreteScheduler")))
    assert "never sees noise" in refused(lambda: model.grid(asked("ddim", 1)))
    assert model.grid(asked("ddim", 1, grid="trailing")).timesteps[0] > 14


@pytest.mark.parametrize(
    ("name", "config", "cause"),
    [
        ("EulerDiscreteScheduler", {"rescale_betas_zero_snr": True}, "zero terminal SNR"),
        ("EulerDiscreteScheduler", {"interpolation_type": "log_linear"}, "interpolation_type"),
        ("EulerDiscreteScheduler", {"timestep_type": "continuous"}, "timestep_type continuous"),
        (
            "DPMSolverMultistepScheduler",
            {"use_flow_sigmas": True, "prediction_type": "flow_prediction"},
            "flow_prediction",
        ),
        ("UniPCMultistepScheduler", {"use_flow_sigmas": True}, "use_flow_sigmas"),
        ("DEISMultistepScheduler", {"thresholding": True}, "Dynamic thresholding"),
    ],
)
def test_schedulers_that_would_sample_wrongly_are_refused(make_folder, name, config, cause):
    folder = make_folder(scheduler(name, **config))
    assert cause in refused(lambda: load_model("diffusers", folder))


@pytest.mark.parametrize(
    "name",
    ["FlowMatchEulerDiscreteScheduler", "EDMEulerScheduler", "CMStochasticIterativeScheduler"],
)
def test_schedulers_of_other_processes_are_refused(make_folder, name):
    folder = make_folder(getattr(diffusers, name)())
    assert name in refused(lambda: load_model("diffusers", folder))


# -- zero terminal SNR (Lin et al. 2023, arXiv:2305.08891)

ZERO = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}


@pytest.mark.parametrize("prediction_type", ["v_prediction", "sample"])
@pytest.mark.parametrize("clip", [False, True])
def test_ddim_from_pure_noise(make_folder, prediction_type, clip):
    def make():
        told = {"prediction_type": prediction_type, "clip_sample": clip}
        return scheduler("DDIMScheduler", **ZERO | told)

    folder = make_folder(make())
    assert load_model("diffusers", folder).grid(asked("ddim", 5)).alpha[-1] == 0
    expected = theirs(folder, make(), 5, use_clipped_model_output=True)
    assert_near(ours(folder, "ddim", 5), expected)


@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "DPMSolverMultistepScheduler"])
def test_schedulers_on_sigma_from_nearly_pure_noise(make_folder, name):
    order = {"solver_order": 1} if name.startswith("DPM") else {}

    def make():
        return scheduler(name, prediction_type="v_prediction", **ZERO | order)

    folder = make_folder(make())
    found, expected = ours(folder, "ddim", 5), theirs(folder, make(), 5)
    assert (found - expected).abs().max() / expected.abs().max() < 1e-3  # σ = 4096 in float32


@pytest.mark.parametrize("sampler", ["ddim", "ancestral"])
@pytest.mark.parametrize("name", ["DDIMScheduler", "EulerDiscreteScheduler"])
def test_lambda_means_nothing_at_pure_noise(make_folder, name, sampler):
    model = load_model(
        "diffusers", make_folder(scheduler(name, prediction_type="v_prediction", **ZERO))
    )

    def taken(steps, schedule):
        return sample(model, sampler, steps, schedule, range(N), options={"batch": N})

    assert torch.equal(taken(1, LambdaSchedule(1.1, 0.0)), taken(1, LambdaSchedule()))
    assert torch.isfinite(taken(3, LambdaSchedule(1.1, 0.0))).all()
    assert not torch.equal(taken(3, LambdaSchedule(1.1, 0.0)), taken(3, LambdaSchedule()))


def test_euler_does_not_start_from_pure_noise(make_folder):
    folder = make_folder(scheduler("DDIMScheduler", prediction_type="v_prediction", **ZERO))
    model = load_model("diffusers", folder)
    cause = refused(lambda: model.grid(asked("euler", 5)))
    assert "pure noise" in cause
    assert len(model.grid(asked("euler", 5, grid="leading"))) == 5
