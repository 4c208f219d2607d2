import math

import pytest
import torch
from diffusers import DDIMScheduler
from diffusers import DDPMScheduler
from diffusers.schedulers import scheduling_ddpm

from lambda_search.diffusion import samplers
from lambda_search.diffusion.grid import Grid
from lambda_search.diffusion.samplers import Ancestral
from lambda_search.diffusion.samplers import Ddim
from lambda_search.diffusion.samplers import Prediction
from lambda_search.diffusion.samplers import integrate
from lambda_search.schedule import LambdaSchedule
from tests.asking import at

SHAPE = (4, 3, 8, 8)
TILTED = LambdaSchedule(1.01, 0.004)
RULES = {
    "small": Ancestral("small"),
    "large": Ancestral("large"),
    "learned": Ancestral("learned"),
    "eta 0": Ddim(0.0),
    "eta 0.5": Ddim(0.5),
    "eta 1": Ddim(1.0),
}
# float64 agreement is about the formulas, float32 agreement about the rounding
TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-5}


def network(x, level):
    """A deterministic ε and v of about the size of a trained network's."""
    shift = math.sin(level.timestep / 150)
    return Prediction(
        epsilon=1.1 * torch.tanh(1.3 * x + 0.3 * shift),
        variance_logit=torch.cos(2 * x + shift),
    )


def noises(count, dtype=torch.float64):
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(SHAPE, generator=generator).to(dtype) for _ in range(count)]


def linear_alpha_bar():
    return torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)


def make_grid(times, alpha_bar_end=1.0):
    alpha_bar = linear_alpha_bar()
    return Grid.variance_preserving(
        times, [float(alpha_bar[t]) for t in times], alpha_bar_end=alpha_bar_end
    )


GRID = make_grid([0, 120, 250, 430, 700, 999])


def walk(rule, schedule=TILTED, grid=GRID, dtype=torch.float64, predict=network, **how):
    start, *later = noises(len(grid) + 1, dtype)
    return integrate(
        predict,
        grid,
        rule,
        schedule.values(len(grid)),
        start,
        lambda j: later[j - 1],
        **how,
    )


# -- grids


def test_a_variance_preserving_grid_leads_each_step_to_the_one_below():
    grid = make_grid([3, 500, 900], alpha_bar_end=0.75)
    alpha_bar = linear_alpha_bar()[[3, 500, 900]].tolist()
    assert len(grid) == 3
    assert grid.timesteps == (3.0, 500.0, 900.0)
    assert grid.alpha == pytest.approx([a**0.5 for a in alpha_bar])
    assert grid.sigma == pytest.approx([(1 - a) ** 0.5 for a in alpha_bar])
    assert grid.alpha_next == pytest.approx([0.75**0.5, *grid.alpha[:2]])
    assert grid.sigma_next == pytest.approx([0.5, *grid.sigma[:2]])


def test_the_full_grids_variances_are_those_of_training():
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    alpha_bar = linear_alpha_bar()
    grid = make_grid(range(1000))
    for i in (1, 2, 500, 999):
        small, large = grid.posterior_variances(i)
        assert large == pytest.approx(float(betas[i]), rel=1e-9)
        posterior = betas[i] * (1 - alpha_bar[i - 1]) / (1 - alpha_bar[i])
        assert small == pytest.approx(float(posterior), rel=1e-9)


# -- λ = 1


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("site", ["full", "x0_only"])
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_lambda_one_changes_no_bit(monkeypatch, dtype, rule, site, clip):
    scaled = walk(rule, LambdaSchedule(), dtype=dtype, site=site, clip=clip)
    monkeypatch.setattr(samplers, "divided", lambda epsilon, value: epsilon)
    assert torch.equal(walk(rule, LambdaSchedule(), dtype=dtype, site=site, clip=clip), scaled)
    # and the comparison is able to fail
    assert torch.equal(walk(rule, TILTED, dtype=dtype, site=site, clip=clip), scaled)
    monkeypatch.undo()
    assert not torch.equal(walk(rule, TILTED, dtype=dtype, site=site, clip=clip), scaled)


# -- diffusers


def scheduler(kind, **config):
    """The library's scheduler, computing in float64 from its own float32 ᾱ."""
    found = kind(**config)
    found.alphas_cumprod = found.alphas_cumprod.double()
    if kind is DDIMScheduler and not config["set_alpha_to_one"]:
        found.final_alpha_cumprod = found.alphas_cumprod[0]
    return found


def grid_of(reference, alpha_bar_end=1.0):
    times = reference.timesteps.tolist()[::-1]
    alpha_bar = reference.alphas_cumprod.double().tolist()
    return Grid.variance_preserving(times, [alpha_bar[t] for t in times], alpha_bar_end)


def assert_close(found, expected):
    scale = expected.abs().max()
    assert (found - expected).abs().max() / scale < TOLERANCES[found.dtype]


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("spacing", ["leading", "linspace"])
@pytest.mark.parametrize("steps", [1, 20])
@pytest.mark.parametrize("beta_schedule", ["linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize(
    ("variance", "variance_type"),
    [("small", "fixed_small"), ("large", "fixed_large"), ("learned", "learned_range")],
)
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_ancestral_is_the_ddpm_scheduler(
    monkeypatch, dtype, variance, variance_type, beta_schedule, steps, spacing, clip
):
    reference = scheduler(
        DDPMScheduler,
        variance_type=variance_type,
        beta_schedule=beta_schedule,
        timestep_spacing=spacing,
        clip_sample=clip,
    )
    reference.set_timesteps(steps)
    x, *later = (z.double() for z in noises(steps + 1, dtype))
    lambdas = TILTED.values(steps)
    for j, t in enumerate(reference.timesteps.tolist()):
        monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *_, z=later[j], **__: z)
        said = network(x, at(t))
        output = said.epsilon / lambdas[steps - 1 - j]
        if variance == "learned":
            output = torch.cat([output, said.variance_logit], dim=1)
        x = reference.step(output, t, x).prev_sample
    found = walk(Ancestral(variance), TILTED, grid_of(reference), dtype, clip=clip)
    assert_close(found, x)


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("to_one", [False, True])
@pytest.mark.parametrize("steps", [1, 10, 50])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_ddim_is_the_ddim_scheduler(dtype, eta, steps, to_one, clip):
    reference = scheduler(
        DDIMScheduler,
        set_alpha_to_one=to_one,
        timestep_spacing="leading",
        clip_sample=clip,
        # else the last step starts at t = 0, and leads from ᾱ₀ to ᾱ₀
        steps_offset=0 if to_one else 1,
    )
    reference.set_timesteps(steps)
    x, *later = (z.double() for z in noises(steps + 1, dtype))
    lambdas = TILTED.values(steps)
    for j, t in enumerate(reference.timesteps.tolist()):
        x = reference.step(
            network(x, at(t)).epsilon / lambdas[steps - 1 - j],
            t,
            x,
            eta=eta,
            use_clipped_model_output=clip,
            variance_noise=later[j],
        ).prev_sample
    end = 1.0 if to_one else float(reference.alphas_cumprod[0])
    assert_close(walk(Ddim(eta), TILTED, grid_of(reference, end), dtype, clip=clip), x)


# -- identities


@pytest.mark.parametrize("schedule", [LambdaSchedule(), TILTED], ids=["one", "tilted"])
@pytest.mark.parametrize("clip", [False, True])
def test_ddim_with_eta_one_is_ancestral_with_the_small_variance(schedule, clip):
    found = walk(Ddim(1.0), schedule, clip=clip)
    assert torch.allclose(found, walk(Ancestral("small"), schedule, clip=clip), atol=1e-12)
    assert not torch.allclose(found, walk(Ddim(0.9), schedule, clip=clip), atol=1e-3)


def test_ancestral_steps_have_the_posteriors_mean_and_variance():
    """q(x_s | x_t, x0) of arXiv:2006.11239, eq. 6 and 7, written out for a step from t to s."""
    alpha_bar_t, alpha_bar_s = 0.3, 0.7
    grid = Grid.variance_preserving([0, 1], [alpha_bar_s, alpha_bar_t])
    x, z = noises(2)
    prediction = network(x, at(1.0))
    x0 = (x - (1 - alpha_bar_t) ** 0.5 * prediction.epsilon) / alpha_bar_t**0.5
    alpha = alpha_bar_t / alpha_bar_s
    beta = 1 - alpha
    mean = (alpha_bar_s**0.5 * beta * x0 + alpha**0.5 * (1 - alpha_bar_s) * x) / (1 - alpha_bar_t)
    small = beta * (1 - alpha_bar_s) / (1 - alpha_bar_t)
    share = (prediction.variance_logit + 1) / 2
    expected = {
        "small": mean + small**0.5 * z,
        "large": mean + beta**0.5 * z,
        "learned": mean
        + (share * math.log(beta) + (1 - share) * math.log(small)).exp() ** 0.5 * z,
    }
    for variance, state in expected.items():
        seen = []
        integrate(
            network,
            grid,
            Ancestral(variance),
            (1.0, 1.0),
            x,
            lambda j, z=z: z,
            observe=seen.append,
        )
        assert torch.allclose(seen[1].state, state, rtol=0, atol=1e-12)


def test_ddim_without_noise_is_eulers_method_in_sigma():
    found = walk(Ddim(0.0))
    x = noises(1)[0]
    lambdas = TILTED.values(len(GRID))
    for i in reversed(range(len(GRID))):
        epsilon = network(x, GRID.level(i)).epsilon / lambdas[i]
        now = GRID.sigma[i] / GRID.alpha[i]
        then = GRID.sigma_next[i] / GRID.alpha_next[i]
        x = GRID.alpha_next[i] * (x / GRID.alpha[i] + (then - now) * epsilon)
    assert torch.allclose(found, x, atol=1e-10)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("site", ["full", "x0_only"])
@pytest.mark.parametrize("touched", range(len(GRID)))
def test_lambda_enters_at_its_own_index_zero_the_least_noisy(touched, site, rule):
    def states(lambdas):
        seen = []
        start, *later = noises(len(GRID) + 1)
        out = integrate(
            network,
            GRID,
            rule,
            lambdas,
            start,
            lambda j: later[j - 1],
            site=site,
            observe=seen.append,
        )
        return [*((step.level, step.state) for step in seen), ("end", out)]

    plain = states((1.0,) * len(GRID))
    other = states(tuple(1.05 if i == touched else 1.0 for i in range(len(GRID))))
    equal = [torch.equal(a, b) for (_, a), (_, b) in zip(plain, other, strict=True)]
    # the state entering step i is unchanged for i ≥ touched, and changed ever after
    calls = len(GRID) - touched
    assert equal == [True] * calls + [False] * (len(GRID) + 1 - calls)
    assert [level for level, _ in other[:-1]] == [GRID.level(i) for i in (5, 4, 3, 2, 1, 0)]


@pytest.mark.parametrize("rule", ["small", "eta 0", "eta 0.5", "eta 1"])
@pytest.mark.parametrize("i", range(1, len(GRID)))
def test_the_two_sites_convert_into_each_other(i, rule):
    """1 − 1/λ_both = (1 − 1/λ_x0only)/(1 − σ_target/σ_t) for one step without clipping."""
    one_step = Grid(
        *(
            (values[i],)
            for values in (
                GRID.timesteps,
                GRID.alpha,
                GRID.sigma,
                GRID.alpha_next,
                GRID.sigma_next,
            )
        )
    )
    target, _ = RULES[rule].levels(one_step, 0, Prediction(torch.zeros(())))
    x0_only = 1.03
    now = one_step.sigma[0] / one_step.alpha[0]
    both = 1 / (1 - (1 - 1 / x0_only) / (1 - target / now))
    assert both > x0_only
    a = walk(RULES[rule], LambdaSchedule(x0_only), one_step, site="x0_only")
    b = walk(RULES[rule], LambdaSchedule(both), one_step, site="full")
    assert torch.allclose(a, b, rtol=0, atol=1e-12)
    unconverted = walk(RULES[rule], LambdaSchedule(x0_only), one_step, site="full")
    assert (a - unconverted).abs().max() > 1e-7


def test_the_step_to_a_clean_image_has_one_lambda_for_both_sites():
    """σ_target = 0 there: nothing but x0 is left."""
    grid = make_grid([200])
    full, x0_only = (walk(Ddim(), TILTED, grid, site=site) for site in ("full", "x0_only"))
    assert torch.equal(full, x0_only)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_lambda_above_one_takes_less_noise_away(rule):
    grid = make_grid([300])
    x = noises(1)[0]
    epsilon = network(x, at(300.0)).epsilon
    expected = (x - grid.sigma[0] * epsilon / 1.02) / grid.alpha[0]
    assert torch.allclose(walk(rule, LambdaSchedule(1.02), grid), expected, atol=1e-12)


# -- clipping


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_clipping_comes_after_scaling_and_ends_in_range(rule):
    clipped = walk(rule, clip=True)
    assert clipped.abs().max() == 1
    assert walk(rule, clip=False).abs().max() > 1


def test_lambda_acts_on_what_is_not_clipped_only():
    grid = make_grid([200])
    x = noises(1)[0]
    plain = walk(Ddim(), LambdaSchedule(), grid, clip=False)
    scaled = walk(Ddim(), LambdaSchedule(1.01), grid, clip=True)
    saturated = (plain > 1.5) & (x > 0)
    inside = plain.abs() < 0.5
    assert saturated.any()
    assert inside.any()
    assert (scaled[saturated] == 1).all()
    assert (scaled[inside] != plain[inside]).all()


# -- noise


@pytest.mark.parametrize(
    ("rule", "asked"),
    [("eta 0", []), ("eta 0.5", [1, 2, 3, 4, 5]), ("large", [1, 2, 3, 4, 5])],
)
def test_noise_is_asked_for_where_used_only_counted_from_the_noisy_end(rule, asked):
    wanted = []

    def draw(j):
        wanted.append(j)
        return torch.zeros(SHAPE, dtype=torch.float64)

    start = noises(1)[0]
    integrate(network, GRID, RULES[rule], (1.0,) * len(GRID), start, draw)
    assert wanted == asked


def test_a_last_step_that_stays_noisy_has_noise():
    wanted = []

    def draw(j):
        wanted.append(j)
        return torch.zeros(SHAPE, dtype=torch.float64)

    grid = make_grid([100, 500], alpha_bar_end=float(linear_alpha_bar()[0]))
    integrate(network, grid, Ddim(0.5), (1.0, 1.0), noises(1)[0], draw)
    assert wanted == [1, 2]


def test_the_start_is_left_as_it_was():
    start = noises(1)[0]
    kept = start.clone()
    integrate(network, GRID, Ddim(), TILTED.values(len(GRID)), start, lambda j: start, clip=True)
    assert torch.equal(start, kept)


def test_a_perfect_network_finds_the_image_from_any_noise():
    image = torch.tanh(noises(2)[1])

    def oracle(x, level):
        epsilon = (x - level.alpha * image) / level.sigma
        return Prediction(epsilon, torch.zeros_like(x))

    for rule in RULES.values():
        found = walk(rule, LambdaSchedule(), predict=oracle)
        assert torch.allclose(found, image, rtol=0, atol=1e-10)
