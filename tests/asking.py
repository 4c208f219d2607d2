"""Short ways to say what tests ask of a model."""

from lambda_search.diffusion.grid import Level
from lambda_search.setting import SamplerOptions
from lambda_search.setting import Sampling


def asked(sampler="ddim", steps=10, *, guidance=None, site="full", **options):
    """A sampling by its parts, the options by name."""
    return Sampling(
        sampler=sampler,
        steps=steps,
        options=SamplerOptions(**options),
        guidance=guidance,
        site=site,
    )


def at(timestep, alpha=0.6, sigma=0.8):
    """A level; what the network says of ε depends on its timestep, or on σ, alone."""
    return Level(0, alpha, sigma, float(timestep))
