"""Every scheduler of diffusers divides its network's ε by λ(i), or says why it cannot."""

import copy

import diffusers
import diffusers.schedulers
import pytest
import torch

from lambda_search.diffusion.scaled.classes import REFUSED
from lambda_search.diffusion.scaled.schedulers import Scaling
from lambda_search.diffusion.scaled.schedulers import dress
from lambda_search.errors import UsageError
from lambda_search.schedule import LambdaSchedule
from tests.diffusion.scaled import by_hand
from tests.diffusion.scaled.table import WORKS
from tests.diffusion.scaled.table import cases
from tests.diffusion.scaled.walking import learned
from tests.diffusion.scaled.walking import network
from tests.diffusion.scaled.walking import scheduler_class
from tests.diffusion.scaled.walking import walk

pytestmark = [
    pytest.mark.filterwarnings("ignore::lambda_search.errors.EpsilonScalingWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:diffusers"),
]
TILTED = LambdaSchedule(1.012, 0.003)
TOLERANCE = 2e-5


def exported():
    """The names of the scheduler classes that the library exports."""
    modules = (diffusers, diffusers.schedulers)
    names = {name for module in modules for name in dir(module) if name.endswith("Scheduler")}
    return {name for name in names if isinstance(getattr(diffusers.schedulers, name), type)}


def scaled(scheduler, schedule):
    dress(scheduler, Scaling(schedule))
    return scheduler


def test_no_class_is_left_out():
    assert exported() == set(WORKS) | set(REFUSED)
    assert not set(WORKS) & set(REFUSED)


@pytest.mark.parametrize(("name", "config", "levels", "kind"), list(cases()))
def test_epsilon_is_divided_by_lambda(name, config, levels, kind):
    """As if the network had said so, under the untouched scheduler; λ = 1 changes no bit."""
    fresh = scheduler_class(name)(**config)
    said = learned if "learned_range" in config.values() else network

    def plainly(k, x, t, state):
        return said(x, t)

    plain = walk(copy.deepcopy(fresh), plainly)
    assert torch.isfinite(plain).all()
    assert torch.equal(walk(scaled(copy.deepcopy(fresh), LambdaSchedule()), plainly), plain)

    untouched, calls = copy.deepcopy(fresh), {}

    def divided_by_hand(k, x, t, state):
        if not calls:
            calls["levels"] = levels(untouched)
            calls["indices"], calls["count"] = by_hand.indices(calls["levels"])
            reads = by_hand.below_in_table if name.startswith("DDIMInverse") else levels
            calls["read"] = reads(untouched)
        output, rest = said(x, t), None
        if output.shape != state.shape:
            output, rest = output.chunk(2, dim=1)
        value = TILTED.b + TILTED.k * calls["indices"][k]
        if k == 0 and config.get("rescale_betas_zero_snr"):
            value = 1  # pure noise, whatever is put in the place of ᾱ = 0
        level = calls["read"][k]
        output = by_hand.divided(kind, output, state, level, value, untouched.config)
        return output if rest is None else torch.cat([output, rest], dim=1)

    expected = walk(untouched, divided_by_hand)
    found = walk(scaled(fresh, TILTED), plainly)
    size = expected.abs().max()
    assert (found - expected).abs().max() < TOLERANCE * size
    assert (plain - expected).abs().max() > 10 * TOLERANCE * size


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_has_no_epsilon_is_refused_by_name(name):
    scheduler = object.__new__(scheduler_class(name))
    with pytest.raises(UsageError, match=rf"{name} cannot be divided by λ: \w+") as caught:
        dress(scheduler, Scaling(TILTED))
    assert caught.value.hint
    assert type(scheduler) is scheduler_class(name)


@pytest.mark.parametrize("name", ["HeliosScheduler", "HeliosDMDScheduler"])
def test_a_pyramid_of_stages_is_refused(name):
    with pytest.raises(UsageError, match="3 stages"):
        dress(scheduler_class(name)(), Scaling(TILTED))
