"""The written node in a stand-in of ComfyUI, against our own samplers."""

import itertools
import json
import logging
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import lambda_search as ls
from lambda_search.diffusion.betas import betas
from lambda_search.diffusion.grid import Grid
from lambda_search.diffusion.ode import solve_ode
from lambda_search.diffusion.samplers import Ddim
from lambda_search.diffusion.samplers import Prediction
from lambda_search.diffusion.samplers import integrate
from lambda_search.integrations.comfyui import known_levels
from lambda_search.integrations.comfyui import write_node
from lambda_search.integrations.comfyui.constants import constant_of
from lambda_search.models.options import sampling_of
from lambda_search.records import NoiseLevel
from lambda_search.store.catalogue import entries
from tests.integrations.comfyui import harness
from tests.integrations.comfyui.rows import levels_of
from tests.integrations.comfyui.rows import row_on

ALPHA_BAR = np.cumprod(1 - betas("scaled_linear", 1000, 0.00085, 0.012))
SIGMAS = ((1 - ALPHA_BAR) / ALPHA_BAR) ** 0.5
TIMES = [1, 201, 401, 601, 801]
VP = Grid.variance_preserving(TIMES, ALPHA_BAR[TIMES].tolist())
ONES, LEVELS = (1.0,) * len(TIMES), tuple(SIGMAS[TIMES].tolist())
VE = Grid(VP.timesteps, ONES, LEVELS, ONES, (0.0, *LEVELS[:-1]))
PUBLISHED = [one.row for one in entries() if one.setting.framework == "edm"]
SCALE, SHIFT = {"positive": 1.3, "negative": 0.7}, {"positive": 0.2, "negative": -0.1}


def network(scaled, timestep, condition):
    """Some ε, not linear, of a state of unit variance."""
    wave = torch.sin(3 * scaled + timestep.view(-1, 1, 1, 1) / 300)
    return scaled * SCALE[condition] + 0.3 * wave + SHIFT[condition]


def noise():
    return torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(7))


def stable(*kinds):
    model = harness.sampling(*(kinds or (harness.EPS,)), sigmas=SIGMAS)
    return harness.ModelPatcher(harness.BaseModel(model, network))


def scaled_by_node(row, patcher, folder, levels=None):
    """(MODEL, SIGMAS) of the node that is written for a row."""
    table = write_node(row, known_levels(row) if levels is None else levels, folder)
    return harness.run_node(harness.load_node(folder), patcher, table)


def ours(sampler, schedule, cfg):
    """Our sampler's states in x̄ = x/α, guidance included, first to last."""
    states, lambdas, start = [], schedule.values(len(VP)), noise()

    def predict(x, level):
        variance = 1 + level.sigma**2 if sampler == "euler" else 1.0
        time = torch.full((len(x),), level.timestep)
        negative, positive = (
            network(x / variance**0.5, time, one) for one in ("negative", "positive")
        )
        return Prediction(negative + cfg * (positive - negative))

    def observe(step):
        states.append(step.state / step.level.alpha)

    if sampler == "euler":
        start, walked = start * VE.sigma[-1], {"second_order": False}
        last = solve_ode(predict, VE, lambdas, start, no_noise, **walked, observe=observe)
    else:
        last = integrate(predict, VP, Ddim(), lambdas, start, no_noise, observe=observe)
    return [*states, last]


def no_noise(j):
    raise AssertionError("no step is noisy")


def apart(a, b, beside=0.0):
    """The largest difference, against the largest value of `b` or `beside`."""
    return float((a - b).abs().max() / max(b.abs().max(), beside))


def steps_apart(patched, sigmas, states, cfg):
    """The largest `apart` over single steps from our states, against what each began with."""
    return max(
        apart(harness.sample(patched, here, sigmas[j : j + 2], cfg)[-1], after, here.abs().max())
        for j, (here, after) in enumerate(itertools.pairwise(states))
    )


@pytest.mark.parametrize("sampler", ["euler", "ddim"])
@pytest.mark.parametrize("cfg", [1.0, 4.0])
@pytest.mark.parametrize(("b", "k"), [(1.01, 0.0), (1.002, 0.004), (1.03, -0.02), (0.97, 0.001)])
def test_each_step_is_ours(tmp_path, sampler, b, k, cfg):
    row = row_on(levels_of(VP), b, k, sampler=sampler, guidance=cfg)
    patched, sigmas = scaled_by_node(row, stable(), tmp_path / "node")
    states = ours(sampler, row.schedule, cfg)
    assert steps_apart(patched, sigmas, states, cfg) <= 1e-6
    assert steps_apart(stable(), sigmas, states, cfg) > 1e-5, "λ moves more than that"
    assert apart(harness.sample(patched, states[0], sigmas, cfg)[-1], states[-1]) <= 2e-5


@pytest.mark.parametrize("b", [1.005, 1.04, 0.96])
def test_each_step_of_the_constant_is_ours(tmp_path, b):
    row = row_on(levels_of(VP), b, 0.0, sampler="ddim")
    stock = harness.stock_epsilon_scaling(stable(), constant_of(row).value)
    _, sigmas = scaled_by_node(row, stable(), tmp_path / "node")
    assert steps_apart(stock, sigmas, ours("euler", row.schedule, 4.0), 4.0) <= 1e-6


@pytest.mark.parametrize(
    "row",
    PUBLISHED,
    ids=lambda row: f"{row.setting.model}-{row.setting.sampler}-{row.setting.steps}",
)
@pytest.mark.parametrize("shift", [0.0, 0.002])
def test_published_rows_of_edm_give_our_images(tmp_path, row, shift):
    """Heun's second call takes λ at its own level; with a slope that shows."""
    schedule = ls.LambdaSchedule(row.schedule.b, shift)
    row = replace(row, schedule=schedule, lambdas=schedule.values(len(row.lambdas)))
    levels = known_levels(row)
    sigmas = tuple(sigma for _, sigma in levels)
    ones = (1.0,) * len(sigmas)
    grid = Grid(sigmas, ones, sigmas, ones, (0.0, *sigmas[:-1]))

    class Told(harness.X0):
        def scaled(self, x, sigma):
            return torch.cat([x, sigma.expand(*x.shape[:1], 1, *x.shape[2:])], dim=1)

    def denoise(x, sigma):
        return x / (1 + sigma**2) + 0.2 * torch.sin(x / (1 + sigma))

    def told(both, _timestep, _condition):
        return denoise(both[:, :-1], both[:, -1:])

    heun = row.setting.sampler == "heun"
    start = 80 * noise()
    expected = solve_ode(
        lambda x, level: Prediction((x - denoise(x, level.sigma)) / level.sigma),
        grid,
        row.lambdas,
        start,
        no_noise,
        second_order=heun,
    )
    model = harness.BaseModel(harness.sampling(Told, sigmas=sigmas), told)
    patched, walked = scaled_by_node(row, harness.ModelPatcher(model), tmp_path / "node")
    np.testing.assert_allclose(walked, [*sigmas[::-1], 0], rtol=1e-6)
    assert apart(harness.sample(patched, start, walked, heun=heun)[-1], expected) <= 2e-6


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sampler", ["euler", "ddim"])
def test_a_pipelines_row_gives_our_images(tmp_path, tiny_pipeline, sampler, prediction):
    folder = shutil.copytree(tiny_pipeline, tmp_path / "pipeline")
    config = folder / "scheduler/scheduler_config.json"
    told = json.loads(config.read_text()) | {"prediction_type": prediction, "clip_sample": False}
    config.write_text(json.dumps(told))
    model = ls.load_model("diffusers", str(folder))
    grid = model.grid(model.resolve(sampling_of(sampler, 5)))
    row = row_on(levels_of(grid), 1.02, 0.01, sampler=sampler)
    alpha_bar = np.cumprod(1 - betas("linear", 1000, 0.0001, 0.02))
    kind = harness.EPS if prediction == "epsilon" else harness.V_PREDICTION
    table = harness.sampling(kind, sigmas=((1 - alpha_bar) / alpha_bar) ** 0.5)

    def unet(x, timestep, _condition):
        time = timestep if sampler == "ddim" else [t for t, s in row.levels if near(s, timestep)]
        return model._unet(x, torch.as_tensor(time)).sample

    def near(sigma, timestep):
        return abs(math.log(sigma / float(table.sigmas[timestep[0]]))) < 0.01

    patcher = harness.ModelPatcher(harness.BaseModel(table, unet))
    patched, sigmas = scaled_by_node(row, patcher, tmp_path / "node")
    x_T = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    expected = ls.sample(model, sampler, 5, row.schedule, initial=x_T)
    start = model.start(x_T, grid) / grid.alpha[-1]
    with torch.inference_mode():
        found = harness.sample(patched, start, sigmas)[-1]
        plain = harness.sample(patcher, start, sigmas)[-1]
    assert apart(found, expected) <= 1e-5 < 1e-3 < apart(plain, expected)


def lambda_at(patched, sigma, shape=(1, 1, 2, 2)):
    """λ that the node's function divides by at σ."""
    [function] = patched.model_options["sampler_post_cfg_function"]
    x, denoised = torch.ones(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64)
    sigmas = torch.as_tensor(sigma, dtype=torch.float64).expand(shape[0])
    args = {"input": x, "denoised": denoised, "sigma": sigmas, "model_options": {}}
    return 1 / (1 - function(args))[:, 0, 0, 0]


def test_lambda_is_the_tables_there_log_linear_between_and_the_ends_outside(tmp_path):
    levels = [NoiseLevel(t, float(SIGMAS[t])) for t in (10, 300, 900)]
    patched, _ = scaled_by_node(row_on(levels, 1.01, 0.02), stable(), tmp_path / "node")
    low, middle, high = (sigma for _, sigma in levels)
    for sigma, expected in {
        low: 1.01,
        middle: 1.03,
        middle * 1.0009: 1.03,
        middle * 0.9991: 1.03,
        (middle * high) ** 0.5: 1.04,
        low**0.25 * middle**0.75: 1.025,
        high * 3: 1.05,
        low / 3: 1.01,
    }.items():
        assert lambda_at(patched, sigma).item() == pytest.approx(expected, abs=1e-12)
    both = lambda_at(patched, [low, high], (2, 1, 2, 2)).tolist()
    assert both == pytest.approx([1.01, 1.05]), "each sample at its own σ"


def test_lambda_one_changes_no_bit(tmp_path):
    row = row_on(levels_of(VP), 1.0, 0.0)
    patched, sigmas = scaled_by_node(row, stable(), tmp_path / "node")
    x = 14 * noise()
    for own, untouched in zip(
        harness.sample(patched, x, sigmas, 4.0),
        harness.sample(stable(), x, sigmas, 4.0),
        strict=True,
    ):
        assert torch.equal(own, untouched)


def test_at_pure_noise_lambda_is_one(tmp_path, caplog):
    levels = [*levels_of(VP), NoiseLevel(999, None)]
    row = row_on(levels, 1.01, 0.01, sampler="ddim")
    zero = harness.sampling(harness.V_PREDICTION, sigmas=[*SIGMAS[:-1], 4518.76])
    patcher = harness.ModelPatcher(harness.BaseModel(zero, network))
    patched, sigmas = scaled_by_node(row, patcher, tmp_path / "node")
    assert sigmas[0] == pytest.approx(4518.76) and len(sigmas) == 7
    assert [lambda_at(patched, sigma).item() for sigma in (4518.76, 100.0)] == [1.0, 1.0]
    assert lambda_at(patched, levels[-2].sigma).item() == pytest.approx(1.05)
    harness.sample(patched, 4518 * noise(), sigmas)
    assert not caplog.records
    harness.sample(patched, 4518 * noise(), torch.tensor([4518.76, 20.0, 1.0, 0.0]))
    assert "walks other σ" in caplog.text


def test_other_sigmas_are_warned_of_once(tmp_path, caplog):
    row = row_on(levels_of(VP), sampler="ddim", guidance=5.0)
    patched, sigmas = scaled_by_node(row, stable(), tmp_path / "node")
    for run in (sigmas, sigmas[:3], sigmas[2:], sigmas[1:4], sigmas * 1.0005):
        harness.sample(patched, noise(), run)
    assert not caplog.records, "the grid, and stretches of it"
    others = (sigmas * 1.01, sigmas[::2], torch.tensor([*sigmas[:2], 3.0, *sigmas[2:]]))
    for count, run in enumerate(others, start=1):
        for _ in range(2):
            harness.sample(patched, noise(), run)
        assert len(caplog.records) == count
    record = caplog.records[0]
    assert record.levelno == logging.WARNING and record.name == "root", "which ComfyUI shows"
    assert "m, ddim, 5 steps" in record.getMessage() and "ddim_uniform" in record.getMessage()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (harness.CONST, "velocity"),
        (harness.IMG_TO_IMG, "Leave the node out"),
        (object, "Leave the node out"),
    ],
)
def test_models_of_other_spaces_are_refused(tmp_path, kind, words):
    model = harness.BaseModel(type("Sampling", (kind,), {"sigma_max": 1.0})(), network)
    with pytest.raises(ValueError, match=words):
        scaled_by_node(row_on(levels_of(VP)), harness.ModelPatcher(model), tmp_path / "node")


@pytest.mark.parametrize("kind", [harness.V_PREDICTION, harness.X0, harness.COSMOS_RFLOW])
def test_every_parametrisation_of_x0_plus_noise_is_taken(tmp_path, kind):
    row = row_on(levels_of(VP), 1.02, 0.0)
    patched, _ = scaled_by_node(row, stable(kind), tmp_path / "node")
    assert lambda_at(patched, 1.0).item() == pytest.approx(1.02)


def test_the_model_that_came_in_stays_as_it_was(tmp_path):
    patcher = stable()
    patched, _ = scaled_by_node(row_on(levels_of(VP)), patcher, tmp_path / "node")
    assert "sampler_post_cfg_function" not in patcher.model_options and patched is not patcher


def test_a_file_that_is_no_table_is_refused(tmp_path):
    scaled_by_node(row_on(levels_of(VP)), stable(), tmp_path / "node")
    (tmp_path / "node/tables/other.json").write_text('{"format": "else"}')
    with pytest.raises(ValueError, match="no table that this node reads"):
        harness.run_node(harness.load_node(tmp_path / "node"), stable(), "other")
