#!/usr/bin/env python
"""Draw the picture that README opens with: the bundled model with λ = 1 and with the demo's row.

    python scripts/draw_applied.py

Runs the demo's study where it has not been, in the user's store, and writes applied.png beside the
model.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import typer

import lambda_search as ls
from lambda_search.paths import bundled_folder
from lambda_search.paths import shipped

NAME, STEPS, IMAGES = "fashion-mnist", 10, 36


def main() -> None:
    """Draw the picture that README opens with."""
    [row] = ls.launch(shipped("studies", "demo.yaml"))
    with tempfile.TemporaryDirectory() as folder:
        words = ["--steps", STEPS, "--row", row.id, "--out", folder, "--images", IMAGES]
        words += ["--reference", "bundled:fashion-mnist", "--samples", row.n]
        command = [sys.executable, "-m", "lambda_search", "apply", NAME, *map(str, words)]
        subprocess.run(command, check=True)
        [picture] = Path(folder).glob("*.png")
        (bundled_folder(NAME) / "applied.png").write_bytes(picture.read_bytes())


if __name__ == "__main__":
    typer.run(main)
