"""`demo`: the whole road on the bundled model."""

from __future__ import annotations

import time

from rich.text import Text

from lambda_search.cli.commands.launch import run
from lambda_search.cli.console import err
from lambda_search.cli.options import StoreUrl
from lambda_search.cli.options import Workers
from lambda_search.paths import shipped
from lambda_search.shell import command

__all__ = ["demo"]


def demo(workers: Workers = None, store: StoreUrl = None) -> None:
    """Find and prove the best λ of a small bundled model, in a few minutes on two cores."""
    began = time.monotonic()
    err.print("Searching λ(i) = b + k·i for a small diffusion model of Fashion-MNIST images, then")
    err.print("proving the best one on images that the search has not seen.\n")
    run([shipped("studies", "demo.yaml")], workers, None, None, None, store, as_json=False)
    look = command("best", "fashion-mnist", "--steps", 10)
    err.print(Text(f"      {look}\n\n{time.monotonic() - began:.0f} s"))
