"""ComfyUI's schedules and tables, against figures that ComfyUI 0.8.0 gave, scipy and diffusers."""

import itertools

import numpy as np
import pytest
from diffusers import DDIMScheduler
from diffusers import DDPMScheduler
from diffusers import EulerDiscreteScheduler
from scipy.stats import beta

from lambda_search.integrations.comfyui.schedules import SCHEDULERS
from lambda_search.integrations.comfyui.schedules import beta_below
from lambda_search.integrations.comfyui.tables import known_tables
from lambda_search.integrations.comfyui.tables import table_of
from lambda_search.records import NoiseLevel

STABLE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
ZERO = STABLE | {"rescale_betas_zero_snr": True}
SHOWN = {  # `calculate_sigmas` of ComfyUI for 6 steps, without the 0 at the end
    "Stable": {
        "simple": [14.6146, 5.96313, 2.91831, 1.61289, 0.932358, 0.492409],
        "sgm_uniform": [14.6146, 5.9489, 2.91831, 1.61558, 0.932358, 0.493552],
        "karras": [14.6146, 6.08215, 2.23215, 0.692571, 0.169757, 0.0291672],
        "exponential": [14.6146, 4.21511, 1.21571, 0.350632, 0.101128, 0.0291672],
        "ddim_uniform": [14.4386, 5.90645, 2.90712, 1.61289, 0.932358, 0.494697, 0.0413144],
        "beta": [14.6146, 8.70775, 3.67575, 1.61828, 0.762402, 0.323533],
        "normal": [14.6146, 5.09241, 2.27973, 1.16286, 0.571189, 0.0291672],
        "linear_quadratic": [14.6146, 14.4929, 14.3711, 14.2493, 12.5848, 7.83507],
        "kl_optimal": [14.6146, 2.63289, 1.29477, 0.711627, 0.335637, 0.0291672],
    },
    "zero": {
        "simple": [4518.76, 9.54081, 3.50093, 1.76808, 0.986897, 0.513351],
        "sgm_uniform": [4518.76, 9.50277, 3.50093, 1.77132, 0.986897, 0.514557],
        "karras": [4518.76, 1292.58, 281.238, 39.8991, 2.63368, 0.0291672],
        "beta": [4518.76, 20.307, 4.6911, 1.77456, 0.80159, 0.336023],
        "normal": [4518.76, 7.42099, 2.60919, 1.24396, 0.596774, 0.0291672],
        "kl_optimal": [4518.18, 3.13795, 1.4103, 0.753481, 0.350862, 0.0291672],
    },
    "EDM": {
        "simple": [80.0, 13.7526, 2.33921, 0.397884, 0.068399, 0.0116342],
        "sgm_uniform": [80.0, 13.6798, 2.33921, 0.4, 0.068399, 0.0116961],
        "karras": [80.0, 24.4083, 5.83894, 0.965417, 0.0850872, 0.002],
        "exponential": [80.0, 9.60899, 1.15416, 0.138629, 0.0166511, 0.002],
        "ddim_uniform": [78.3207, 13.4639, 2.31453, 0.397884, 0.068399, 0.0117583, 0.00202133],
        "beta": [80.0, 30.4708, 4.3277, 0.402127, 0.0369712, 0.00525093],
        "normal": [80.0, 9.60899, 1.15416, 0.138629, 0.0166511, 0.002],
        "linear_quadratic": [80.0, 79.3333, 78.6667, 78.0, 68.8889, 42.8889],
        "kl_optimal": [79.9996, 2.98004, 1.35717, 0.720753, 0.323925, 0.002],
    },
}


def levels(scheduler, steps=20):
    """Of a scheduler of diffusers."""
    scheduler.set_timesteps(steps)
    table = ((1 - scheduler.alphas_cumprod.double()) / scheduler.alphas_cumprod.double()) ** 0.5
    times = scheduler.timesteps.tolist()[::-1]
    if hasattr(scheduler, "sigmas"):
        return [NoiseLevel(*one) for one in zip(times, scheduler.sigmas.tolist()[-2::-1])]  # noqa: B905
    found = [table[int(t)].item() for t in times]
    return [
        NoiseLevel(t, s if np.isfinite(s) else None) for t, s in zip(times, found, strict=True)
    ]


def tables():
    edm = table_of([NoiseLevel(0.002, 0.002), NoiseLevel(80.0, 80.0)])
    return {"Stable": known_tables()[0], "zero": known_tables()[6], "EDM": edm}


@pytest.mark.parametrize(
    ("table", "name"), [(table, name) for table, names in SHOWN.items() for name in names]
)
def test_each_schedule_is_what_comfyui_shows(table, name):
    found = SCHEDULERS[name](tables()[table], 6)
    np.testing.assert_allclose(found, SHOWN[table][name], rtol=2e-4)


ONE = {"simple", "sgm_uniform", "karras", "exponential", "beta", "normal", "linear_quadratic"}


def test_one_step_is_what_comfyui_shows():
    """Where it shows one: `kl_optimal` divides by zero, and `ddim_uniform` takes the least σ."""
    for name, scheduler in SCHEDULERS.items():
        least = [pytest.approx(0.0413144, rel=1e-5)] if name == "ddim_uniform" else []
        expected = [pytest.approx(14.6146, rel=1e-5)] if name in ONE else least
        assert scheduler(tables()["Stable"], 1) == expected, name


@pytest.mark.parametrize("steps", [2, 3, 7, 20, 50, 999, 1000])
@pytest.mark.parametrize("table", SHOWN)
@pytest.mark.parametrize("name", SCHEDULERS)
def test_each_schedule_falls_within_its_table(name, table, steps):
    whole = tables()[table]
    found = SCHEDULERS[name](whole, steps)
    assert all(b < a for a, b in itertools.pairwise(found))
    assert whole.lowest * 0.999999 <= found[-1] and found[0] <= whole.highest * 1.000001
    assert len(found) == steps or name in ("ddim_uniform", "beta")


def test_the_shares_of_beta_are_scipys():
    for x in [0.0, 1e-9, 0.001, *np.linspace(0.01, 0.99, 99), 0.999, 1 - 1e-9, 1.0]:
        assert beta_below(x) == pytest.approx(beta.cdf(x, 0.6, 0.6), abs=1e-12)


@pytest.mark.parametrize("steps", [2, 6, 20, 37, 1000])
def test_beta_takes_the_places_that_scipys_quantiles_round_to(steps):
    table = known_tables()[0]
    shares = 1 - np.linspace(0, 1, steps, endpoint=False)
    places = np.rint(beta.ppf(shares, 0.6, 0.6) * 999).astype(int)
    expected = [table.sigmas[place] for place in dict.fromkeys(places.tolist())]
    assert SCHEDULERS["beta"](table, steps) == expected


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (STABLE, "Stable Diffusion"),
        (ZERO, "zero terminal SNR"),
        ({"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear"}, "PixArt"),
        ({"beta_schedule": "squaredcos_cap_v2"}, "cosine"),
    ],
)
@pytest.mark.parametrize("spacing", ["linspace", "leading", "trailing"])
def test_a_models_table_is_seen_from_a_rows_levels(config, name, spacing):
    for kind in (DDPMScheduler, DDIMScheduler):
        scheduler = kind(**config, timestep_spacing=spacing)
        found = table_of(levels(scheduler))
        assert name in found.name
        signals = scheduler.alphas_cumprod.double().numpy()
        own = ((1 - signals[:-1]) / signals[:-1]) ** 0.5
        np.testing.assert_allclose(found.sigmas[:-1], own, rtol=2e-3)  # diffusers' are float32


@pytest.mark.parametrize(
    "config",
    [
        {"beta_start": 0.0015, "beta_end": 0.0195, "beta_schedule": "scaled_linear"},
        {"beta_start": 0.0001, "beta_end": 0.03, "beta_schedule": "linear"},
        STABLE | {"num_train_timesteps": 4000},
    ],
)
def test_a_table_that_comfyui_does_not_know_is_none(config):
    assert table_of(levels(DDPMScheduler(**config))) is None


def test_rounded_timesteps_are_seen_through():
    """Karras' σ lie between timesteps, of which diffusers tells the network rounded ones."""
    scheduler = EulerDiscreteScheduler(**STABLE, use_karras_sigmas=True)
    assert table_of(levels(scheduler)) is known_tables()[0]
