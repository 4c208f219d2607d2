"""Rows with their levels."""

from dataclasses import replace

from lambda_search.records import NoiseLevel
from lambda_search.setting import Setting
from tests.store.test_store import row


def setting(**told):
    usual = {
        "model": "m",
        "weights": "0" * 64,
        "definition": "1" * 64,
        "framework": "diffusers",
        "sampler": "euler",
        "steps": 4,
        "extractor": "bundled@1",
        "reference": "r@2",
    }
    return Setting(**usual | told)


def levels_of(grid):
    """The levels of a grid of ours."""
    walked = zip(grid.timesteps, grid.sigma, grid.alpha, strict=True)
    return tuple(NoiseLevel(t, sigma / alpha if alpha else None) for t, sigma, alpha in walked)


def row_on(levels, b=1.01, k=0.003, **told):
    """A row of these levels."""
    asked = setting(**{"steps": len(levels)} | told)
    return replace(row(asked, b=b, k=k), levels=tuple(levels))
