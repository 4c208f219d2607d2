"""Study files."""

from __future__ import annotations

from importlib import resources

from lambda_search.spec import read_specs
from tests.fuzz.damage import damaged
from tests.fuzz.damage import nasty
from tests.fuzz.formats import configs

import yaml  # isort: skip

NAME = "studies"


def healthy(folder):
    path = folder / "study.yaml"
    path.write_text(_whole())
    return path


def read(path):
    read_specs(path)


def cases(rng):
    whole = _whole()
    while True:
        choice = rng.random()
        if choice < 0.3:
            what, data = damaged(whole.encode(), rng)
        elif choice < 0.7:
            told = yaml.safe_load(whole)
            what = f"values {[configs._spoil(told, rng) for _ in range(rng.choice((1, 2, 4)))]}"
            if rng.random() < 0.3:
                told["matrix"] = {"sampler.steps": list(range(2, 500)), "search.seed": nasty(rng)}
            data = yaml.safe_dump(told).encode()
        else:
            what, text = configs._text(rng)
            data = (whole + text).encode("utf-8", "surrogatepass")
        yield what[:200], "a.yaml", data[: 1 << 20]


def _whole():
    return (resources.files("lambda_search") / "studies" / "demo.yaml").read_text()
