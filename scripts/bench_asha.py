#!/usr/bin/env python
"""How many images do Ray Tune, OptunaSearch (TPE) and ASHA need? They play the same emulator.

    pip install "ray[tune]"
    python scripts/bench_asha.py [--runs 2] [--landscapes 0,1,2,3,4,5] [--json FILE]

The peer of `bench_search.py` that needs Ray Tune: each run is a real `tune.Tuner` with two trials
at a time, whose trials report our paired score (common noise, bias-corrected) on 300, 600, 1,200
and 2,500 images; ASHA stops two of three at each rung. An image counts once a rung that has it
was reported. After every report the trial of the lowest score on the most images leads.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Annotated
from typing import Any

import numpy as np
import optuna
import typer
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent.parent))

from lambda_search.search.space import Point
from tests.search.emulator import Emulator
from tests.search.landscapes import BUNDLED
from tests.search.landscapes import Landscape
from tests.search.players import SPACE
from tests.search.players import Mark
from tests.search.players import images_to_goal
from tests.search.players import tilt

RUNGS = (300, 600, 1200, 2500)
REDUCTION = 3
SIDE_BY_SIDE = 2

console = Console(width=110)


def main(
    runs: Annotated[int, typer.Option(min=1, help="Of each landscape.")] = 2,
    landscapes: Annotated[str, typer.Option(help="Numbers of the bundled ones.")] = "0,1,2,3,4,5",
    most: Annotated[int, typer.Option(help="Images of a run.")] = 40_000,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
) -> None:
    """Plays and prints."""
    try:
        import ray
        import ray.tune
    except ImportError as error:
        raise SystemExit(f'{error}\nRun pip install "ray[tune]".') from None
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    ray.init(
        address="local",
        num_cpus=SIDE_BY_SIDE,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}},
    )
    figures: list[dict[str, Any]] = []
    for number in map(int, landscapes.split(",")):
        truth = BUNDLED[number]
        marks = [played(truth, seed, most) for seed in range(runs)]
        needed = [images_to_goal(one) for one in marks]
        figures.append(
            {
                "landscape": truth.name,
                "images": needed,  # infinite where it never came
                "made": [one[-1].images for one in marks],
            }
        )
        console.print(f"{truth.name}: {needed}", style="dim", markup=False)
        if json_file is not None:
            json_file.write_text(json.dumps(figures, indent=2))
    table = Table("landscape", "runs", "median images", "by 10,000")
    for row in figures:
        images = np.array(row["images"])
        table.add_row(
            row["landscape"], f"{len(images)}", f"{np.median(images):,.0f}",
            f"{np.mean(images <= 10_000):.0%}",
        )  # fmt: skip
    everything = np.concatenate([row["images"] for row in figures])
    table.add_row(
        "all", f"{len(everything)}", f"{np.median(everything):,.0f}",
        f"{np.mean(everything <= 10_000):.0%}",
    )  # fmt: skip
    console.print(table)


def played(truth: Landscape, seed: int, most: int) -> list[Mark]:
    """One run: its marks in the order in which scores were reported."""
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search import ConcurrencyLimiter
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    telling = _Telling(truth, most)
    space = {"mean": tune.uniform(*SPACE.mean), "slope": tune.uniform(*SPACE.slope)}
    sampler = optuna.samplers.TPESampler(seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            tune.with_parameters(_trial, truth=truth, seed=seed),
            param_space=space,
            tune_config=tune.TuneConfig(
                metric="score",
                mode="min",
                search_alg=ConcurrencyLimiter(OptunaSearch(sampler=sampler), SIDE_BY_SIDE),
                scheduler=ASHAScheduler(
                    time_attr="n", grace_period=RUNGS[0], max_t=RUNGS[-1],
                    reduction_factor=REDUCTION,
                ),
                num_samples=-1,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                storage_path=folder, verbose=0, callbacks=[_callback(telling)],
                stop=_stopper(telling),
            ),
        )  # fmt: skip
        tuner.fit()
    return telling.marks


def _trial(config: Mapping[str, float], truth: Landscape, seed: int) -> None:
    """Reports our paired score of a schedule, rung by rung."""
    from ray import tune

    shown = Emulator(truth, seed)
    at = Point(config["mean"], config["slope"])
    for n in RUNGS:
        base = shown.measure(1.0, 0.0, 0, n)[0]
        tune.report({"score": shown.measure(at.mean, tilt(at), 0, n)[0] - base, "n": n})


@dataclass
class _Telling:
    """Hears what trials report, and counts their images and those of λ = 1."""

    truth: Landscape
    most: int
    marks: list[Mark] = field(default_factory=list)
    _reached: dict[str, tuple[int, float, Point]] = field(default_factory=dict)

    def hear(self, name: str, result: Mapping[str, Any]) -> None:
        """One report."""
        at = Point(result["config"]["mean"], result["config"]["slope"])
        self._reached[name] = (result["n"], result["score"], at)
        images = max(n for n, _, _ in self._reached.values())
        images += sum(n for n, _, _ in self._reached.values())
        _, lowest, leader = min(self._reached.values(), key=lambda one: (-one[0], one[1]))
        leader = leader if lowest < 0 else Point(1.0, 0.0)
        good = self.truth.good(leader.mean, tilt(leader))
        self.marks.append(Mark(images, leader, good))

    def is_enough(self) -> bool:
        """Whether the run has had its images."""
        return bool(self.marks) and self.marks[-1].images >= self.most


def _callback(telling: _Telling) -> Any:
    from ray import tune

    class Reported(tune.Callback):
        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any) -> None:
            telling.hear(trial.trial_id, result)

    return Reported()


def _stopper(telling: _Telling) -> Any:
    from ray import tune

    class Enough(tune.Stopper):
        """Ends the whole run; a function would end each trial, and more would follow."""

        def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
            return False

        def stop_all(self) -> bool:
            return telling.is_enough()

    return Enough()


if __name__ == "__main__":
    typer.run(main)
