"""TorchScript files given as checkpoints: they are named for what they are, and never loaded."""

from __future__ import annotations

import io

import torch

from lambda_search.errors import UsageError
from lambda_search.models.inspection import inspect
from tests.fuzz.damage import damaged
from tests.models.hostile import repacked

NAME = "torchscript"


def healthy(folder):
    path = folder / "module.pt"
    path.write_bytes(_whole())
    return path


def read(path):
    """A whole one is refused by name: that is how it is read."""
    try:
        inspect(str(path))
    except UsageError as error:
        if "TorchScript" not in error.cause:
            raise


def cases(rng):
    whole = _whole()
    while True:
        what, changed = damaged(whole, rng)
        if rng.random() < 0.5:
            changed = repacked(whole, lambda inner: damaged(inner, rng)[1])
        yield what, rng.choice(("a.pt", "a.ts", "a.ckpt")), changed


def _whole():
    out = io.BytesIO()
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU())
    torch.jit.save(torch.jit.trace(module, torch.zeros(1, 3)), out)
    return out.getvalue()
