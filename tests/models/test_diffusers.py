import hashlib
import json
import shutil

import pytest
import torch
from diffusers import DDIMScheduler
from diffusers import DDPMScheduler
from diffusers import DPMSolverMultistepScheduler
from diffusers import EulerDiscreteScheduler
from diffusers import PNDMScheduler
from diffusers import UNet2DModel
from diffusers.schedulers import scheduling_ddpm

from lambda_search.diffusion.noise import normal
from lambda_search.diffusion.schedulers import build_grid
from lambda_search.diffusion.schedulers import make_scheduler
from lambda_search.errors import UsageError
from lambda_search.models.registry import frameworks
from lambda_search.models.registry import load_model
from lambda_search.models.sampling import sample
from lambda_search.paths import bundled_folder
from lambda_search.paths import locate
from lambda_search.schedule import LambdaSchedule
from tests.asking import asked
from tests.asking import at

N = 4


def load(folder):
    return load_model("diffusers", folder)


def refused(call):
    """(cause, hint) of the error that `call` provokes."""
    with pytest.raises(UsageError) as caught:
        call()
    assert caught.value.cause
    assert caught.value.hint
    return caught.value.cause, caught.value.hint


# -- the whole chain against the library's own sampling


def assert_near(found, expected):
    assert (found - expected).abs().max() / expected.abs().max() < 1e-4


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("spacing", ["leading", "linspace"])
@pytest.mark.parametrize(
    ("variance_type", "prediction_type"),
    [
        ("fixed_small", "epsilon"),
        ("fixed_large", "epsilon"),
        ("learned_range", "epsilon"),
        ("fixed_small", "v_prediction"),
        ("fixed_small", "sample"),
    ],
)
@torch.no_grad()
def test_a_ddpm_folder_samples_as_the_library_does(
    make_pipeline, monkeypatch, variance_type, prediction_type, spacing, clip
):
    steps = 12
    config = {
        "variance_type": variance_type,
        "prediction_type": prediction_type,
        "timestep_spacing": spacing,
        "clip_sample": clip,
    }
    learned = variance_type == "learned_range"
    folder = make_pipeline(DDPMScheduler(**config), learned=learned)
    found = sample(
        load(folder), "ancestral", steps, LambdaSchedule(), range(N), options={"batch": N}
    )

    unet = UNet2DModel.from_pretrained(folder / "unet")
    scheduler = DDPMScheduler.from_pretrained(folder / "scheduler")
    scheduler.set_timesteps(steps)
    x = normal(0, range(N), 0, (1, 8, 8))
    for j, t in enumerate(scheduler.timesteps.tolist(), start=1):
        z = normal(0, range(N), j, (1, 8, 8))
        monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *_, z=z, **__: z)
        x = scheduler.step(unet(x, t).sample, t, x).prev_sample
    assert_near(found, x)


@pytest.mark.parametrize("to_one", [False, True])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
@torch.no_grad()
def test_a_ddim_folder_samples_as_the_library_does(make_pipeline, prediction_type, eta, to_one):
    steps = 10
    config = {"set_alpha_to_one": to_one, "clip_sample": False, "steps_offset": 1}
    folder = make_pipeline(DDIMScheduler(prediction_type=prediction_type, **config))
    found = sample(
        load(folder), "ddim", steps, LambdaSchedule(), range(N), options={"eta": eta, "batch": N}
    )

    unet = UNet2DModel.from_pretrained(folder / "unet")
    scheduler = DDIMScheduler.from_pretrained(folder / "scheduler")
    scheduler.set_timesteps(steps)
    x = normal(0, range(N), 0, (1, 8, 8))
    for j, t in enumerate(scheduler.timesteps.tolist(), start=1):
        z = normal(0, range(N), j, (1, 8, 8))
        x = scheduler.step(unet(x, t).sample, t, x, eta=eta, variance_noise=z).prev_sample
    assert_near(found, x)


# -- the network


@pytest.mark.parametrize("time", [0, 400, 999])
@pytest.mark.parametrize("kind", [DDPMScheduler, DDIMScheduler])
@torch.no_grad()
def test_every_prediction_type_becomes_epsilon(make_pipeline, kind, time):
    x = normal(0, range(N), 0, (1, 8, 8))
    alpha_bar = float(kind().alphas_cumprod[time])
    alpha, sigma = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
    said = {}
    for name in ("epsilon", "v_prediction", "sample"):
        model = load(make_pipeline(kind(prediction_type=name)))
        said[name] = model.predict(x, at(time, alpha, sigma), None, asked())
    out = said["epsilon"].epsilon  # the network's own words: the weights are the same
    assert torch.allclose(said["v_prediction"].epsilon, alpha * out + sigma * x, atol=1e-5)
    assert torch.allclose(said["sample"].epsilon, (x - alpha * out) / sigma, rtol=1e-4, atol=1e-5)
    assert all(prediction.variance_logit is None for prediction in said.values())


@torch.no_grad()
def test_a_learned_variance_is_the_second_half_of_the_channels(make_pipeline):
    folder = make_pipeline(DDPMScheduler(variance_type="learned_range"), channels=2, learned=True)
    model = load(folder)
    x = normal(0, range(N), 0, model.shape)
    out = UNet2DModel.from_pretrained(folder / "unet")(x, 300).sample
    prediction = model.predict(x, at(300.0), None, asked())
    assert model.shape == (2, 8, 8)
    assert torch.allclose(prediction.epsilon, out[:, :2], atol=1e-6)
    assert torch.allclose(prediction.variance_logit, out[:, 2:], atol=1e-6)


def test_the_model_is_named_by_its_weights(ddpm_folder, make_pipeline, learned_folder):
    model = load(ddpm_folder)
    weights = (ddpm_folder / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
    assert model.framework == "diffusers"
    assert model.sha256 == hashlib.sha256(weights).hexdigest()
    assert load(make_pipeline(DDIMScheduler())).sha256 == model.sha256
    assert load(learned_folder).sha256 != model.sha256


# -- options


@pytest.mark.parametrize(
    ("scheduler", "learned", "sampler", "given", "expected"),
    [
        (DDPMScheduler(), False, "ancestral", {}, ("leading", True, None, "small")),
        (DDPMScheduler(), False, "ddim", {}, ("leading", True, 0.0, None)),
        (DDPMScheduler(), False, "ddim", {"eta": 1}, ("leading", True, 1.0, None)),
        (DDPMScheduler(), False, "ancestral", {"clip": False}, ("leading", False, None, "small")),
        (
            DDPMScheduler(timestep_spacing="trailing", clip_sample=False),
            False,
            "ddim",
            {},
            ("trailing", False, 0.0, None),
        ),
        (
            DDPMScheduler(variance_type="fixed_large"),
            False,
            "ancestral",
            {"grid": "linspace"},
            ("linspace", True, None, "large"),
        ),
        (
            DDPMScheduler(variance_type="fixed_large"),
            False,
            "ancestral",
            {"variance": "small"},
            ("leading", True, None, "small"),
        ),
        (
            DDPMScheduler(variance_type="fixed_small_log"),
            False,
            "ancestral",
            {},
            ("leading", True, None, "small"),
        ),
        (
            DDPMScheduler(variance_type="learned_range"),
            True,
            "ancestral",
            {},
            ("leading", True, None, "learned"),
        ),
        (DDIMScheduler(), False, "ancestral", {}, ("leading", True, None, "small")),
    ],
)
def test_open_options_are_the_folders_own(
    make_pipeline, scheduler, learned, sampler, given, expected
):
    model = load(make_pipeline(scheduler, learned=learned))
    resolved = model.resolve(asked(sampler, 4, batch=5, **given))
    found = resolved.options
    assert (found.grid, found.clip, found.eta, found.variance) == expected
    assert (found.batch, found.precision) == (5, "fp32")
    assert model.resolve(resolved) == resolved


def test_a_variance_that_was_never_learned_is_refused(make_pipeline):
    model = load(make_pipeline(DDPMScheduler(variance_type="learned_range")))
    cause, hint = refused(lambda: model.resolve(asked("ancestral", 4)))
    assert "not learned its variance" in cause
    assert "small or large" in hint


# -- grids


@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
@pytest.mark.parametrize("steps", [2, 7, 50, 1000])
def test_the_grid_is_the_schedulers_with_index_zero_least_noisy(ddpm_folder, spacing, steps):
    model = load(ddpm_folder)
    scheduler = DDPMScheduler(timestep_spacing=spacing)
    scheduler.set_timesteps(steps)
    grid = model.grid(asked("ancestral", steps, grid=spacing))
    assert list(grid.timesteps) == scheduler.timesteps.tolist()[::-1]
    assert list(grid.timesteps) == sorted(grid.timesteps)
    alpha_bar = scheduler.alphas_cumprod[scheduler.timesteps.flip(0)].tolist()
    assert grid.alpha == pytest.approx([a**0.5 for a in alpha_bar])
    assert grid.alpha_next == pytest.approx([1.0, *grid.alpha[:-1]])
    assert grid.sigma_next[0] == 0


@pytest.mark.parametrize("steps", [61, 103, 999])
def test_a_trailing_grid_has_its_steps_and_no_timestep_below_zero(ddpm_folder, steps):
    """The library's own list has one step more here, at t = −1, by rounding."""
    grid = load(ddpm_folder).grid(asked("ancestral", steps, grid="trailing"))
    assert len(grid) == steps
    assert min(grid.timesteps) >= 0
    assert list(grid.alpha) == sorted(grid.alpha, reverse=True)


def test_a_grid_beyond_the_last_timestep_is_refused(make_pipeline):
    model = load(make_pipeline(DDIMScheduler(steps_offset=1)))
    assert model.grid(asked("ddim", 500, grid="leading")).timesteps[-1] == 999
    cause, hint = refused(lambda: model.grid(asked("ddim", 1000, grid="leading")))
    assert "steps_offset of 1" in cause
    assert "leads to timestep 1000, and the last is 999" in cause
    assert hint == "Take 999 steps, or the grid linspace, or the grid trailing."
    assert len(model.grid(asked("ddim", 999, grid="leading"))) == 999
    assert len(model.grid(asked("ddim", 1000, grid="trailing"))) == 1000


@pytest.mark.parametrize("offset", [0, 1, 5])
@pytest.mark.parametrize("count", [1, 2, 7, 50])
@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
@pytest.mark.parametrize(
    "kind", [DDIMScheduler, PNDMScheduler, EulerDiscreteScheduler, DPMSolverMultistepScheduler]
)
def test_a_grid_of_few_timesteps_is_whole_or_refused_in_words(kind, spacing, count, offset):
    told = {"num_train_timesteps": count, "timestep_spacing": spacing, "steps_offset": offset}
    scheduler = make_scheduler(kind.__name__, told)
    for steps in range(1, count + 2):
        try:
            grid = build_grid(scheduler, "ddim", steps, spacing)
        except UsageError as error:
            assert "index" not in error.cause
            assert error.hint.startswith("Take")
            continue
        assert len(grid) == steps
        assert 0 <= min(grid.timesteps) <= max(grid.timesteps) < count
        assert list(grid.alpha) == sorted(set(grid.alpha), reverse=True)


@pytest.mark.parametrize(
    ("sampler", "to_one", "ends_clean"),
    [("ddim", True, True), ("ddim", False, False), ("ancestral", False, True)],
)
def test_ddim_ends_where_the_folder_says(make_pipeline, sampler, to_one, ends_clean):
    model = load(make_pipeline(DDIMScheduler(set_alpha_to_one=to_one)))
    end = model.grid(asked(sampler, 5, grid="leading")).alpha_next[0]
    first = float(DDIMScheduler().alphas_cumprod[0]) ** 0.5
    assert end == pytest.approx(1.0 if ends_clean else first, abs=1e-9)


# -- errors


def test_unknown_framework():
    cause, hint = refused(lambda: load_model("difusers", "x"))
    assert cause == "There is no framework 'difusers'."
    assert "diffusers" in hint
    assert "diffusers" in frameworks()


def test_missing_folder(tmp_path):
    cause, hint = refused(lambda: load(tmp_path / "none"))
    assert cause == f"There is no checkpoint at {tmp_path / 'none'}."
    assert hint.startswith("Check the path")


def test_a_hub_name_that_is_not_here_offline():
    cause, hint = refused(lambda: load("nobody/nothing-like-this"))
    assert "There is no folder nobody/nothing-like-this, and the hub did not give it" in cause
    assert "network" in hint


def test_bundled_names():
    cause, hint = refused(lambda: load("bundled:nothing"))
    assert cause == "Nothing named 'nothing' is bundled."
    assert "fashion-mnist-features" in hint
    cause, _ = refused(lambda: load("bundled:fashion-mnist-features"))
    assert "not a diffusers pipeline: model_index.json is missing" in cause
    features = bundled_folder("fashion-mnist-features")
    assert locate("bundled:fashion-mnist-features") == features
    assert (features / "model.safetensors").is_file()


def test_paths_are_located_beside_the_study(tmp_path):
    (tmp_path / "net").mkdir()
    assert locate("net", tmp_path) == tmp_path / "net"
    assert locate(str(tmp_path / "net"), tmp_path / "elsewhere") == tmp_path / "net"
    assert locate("none", tmp_path) is None


def test_a_folder_without_model_index(tmp_path):
    cause, hint = refused(lambda: load(tmp_path))
    assert cause == f"{tmp_path} is not a diffusers pipeline: model_index.json is missing."
    assert "model_index.json" in hint


@pytest.fixture
def broken(ddpm_folder, tmp_path):
    """A copy of a good folder, to break."""
    return shutil.copytree(ddpm_folder, tmp_path / "broken")


@pytest.mark.parametrize(
    ("part", "known"), [("unet", "UNet2DModel"), ("scheduler", "DDPMScheduler, DDIMScheduler")]
)
def test_an_unknown_class(broken, part, known):
    index = json.loads((broken / "model_index.json").read_text())
    index[part] = ["diffusers", "UNetOfTomorrow"]
    (broken / "model_index.json").write_text(json.dumps(index))
    cause, hint = refused(lambda: load(broken))
    assert f"its {part} is a UNetOfTomorrow" in cause
    assert known in hint


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "{}", '{"unet": null}', '{"unet": "x", "scheduler": []}']
)
def test_a_model_index_that_is_none(broken, text):
    (broken / "model_index.json").write_text(text)
    cause, _ = refused(lambda: load(broken))
    assert "not a diffusers pipeline" in cause or "names no unet" in cause


@pytest.mark.parametrize(
    ("kept", "next_step"),
    [(0, "copy it again"), (7, "Pass the authors'"), (1000, "truncated"), (-1, "truncated")],
)
def test_truncated_weights(broken, kept, next_step):
    path = broken / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    cause, hint = refused(lambda: load(broken))
    assert f"The weights in {broken} cannot be read: " in cause
    assert next_step in hint


def test_missing_weights(broken):
    (broken / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    cause, _ = refused(lambda: load(broken))
    assert f"The weights in {broken} cannot be read: " in cause


def test_weights_of_another_network(broken):
    path = broken / "unet" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"block_out_channels": [8, 16]}))
    cause, _ = refused(lambda: load(broken))
    assert "cannot be read" in cause


def test_a_config_is_refused(ddpm_folder):
    cause, hint = refused(lambda: load_model("diffusers", ddpm_folder, config={"a": 1}))
    assert cause == "A diffusers folder that samples from noise alone needs no config."
    assert "model.config" in hint


@pytest.mark.parametrize(
    ("config", "cause"),
    [
        ({"thresholding": True}, "Dynamic thresholding"),
        ({"clip_sample_range": 2.0}, "clip_sample_range"),
        ({"rescale_betas_zero_snr": True}, "where ε does not give x0"),
        ({"prediction_type": "flow"}, "prediction type 'flow'"),
    ],
)
@pytest.mark.parametrize("kind", [DDPMScheduler, DDIMScheduler])
def test_schedulers_that_would_sample_wrongly_are_refused(make_pipeline, kind, config, cause):
    folder = make_pipeline(kind(**config))
    assert cause in refused(lambda: load(folder))[0]
