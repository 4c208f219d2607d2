"""The scripts beside the package: each starts, and what they measure with runs on little."""

import json
import runpy
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from lambda_search.launching import plans_of
from lambda_search.launching import run_studies
from lambda_search.schedule import LambdaSchedule
from lambda_search.search.space import Point
from lambda_search.spec import parse_specs
from lambda_search.store.store import Store
from lambda_search.work.pool import SerialPool

FOLDER = Path(__file__).parent.parent / "scripts"
LIBRARIES = (
    "fashion_mnist",
    "full_size",
    "gpu_fid",
    "gpu_shapes",
    "killed_launch",
    "logged_shards",
    "simulated",
    "simulated_time",
    "simulated_workers",
    "soaking",
)
HEAVY = ("cleanfid", "diffusers", "optuna", "pydantic", "ray", "rich", "sqlalchemy", "torchvision")


@pytest.fixture(autouse=True)
def on_path(monkeypatch):
    """Scripts find each other, as they do when they are run, and leave nothing behind."""
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    yield
    for path in FOLDER.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py")))
def test_every_script_starts_and_says_what_it_does(name, monkeypatch, capsys):
    if name in LIBRARIES:
        import_module(name)
        return
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    assert not ended.value.code
    assert "--help" in capsys.readouterr().out


def test_the_grid_beside_a_search(study_text, tmp_path):
    script = import_module("bench_truth")
    [plan] = plans_of(parse_specs(study_text))
    points = [Point(mean, slope) for slope in (-0.01, 0.0, 0.01) for mean in (0.97, 1.0, 1.05)]
    grid = script.measure(plan, points, 32, SerialPool())
    assert [(one.mean, one.slope) for one in grid] == [(one.mean, one.slope) for one in points]
    assert (grid[4].b, grid[4].gain) == (1.0, 0.0)
    path = tmp_path / "truth.csv"
    script.write(path, grid)
    assert script.read(path) == grid
    script.show(grid[1:])  # one may have diverged


def test_what_searches_need_can_be_drawn_of_every_player(tmp_path):
    """The stored results, those that never came too, and who plays but is not in them."""
    script, bench = import_module("draw_search"), import_module("bench_search")
    assert set(bench.PLAYERS) <= set(script.WORDS)
    script.main([FOLDER / "results" / "search-emulated.json"], tmp_path)
    [*_, pooled] = (tmp_path / "search.md").read_text().splitlines()
    stored = json.loads((FOLDER / "results" / "search-emulated.json").read_text())
    players = dict.fromkeys(row["player"] for row in stored)
    assert pooled.count("|") == 3 + len(players) and "| never |" in pooled and "inf" not in pooled
    figure = (tmp_path / "search.html").read_text()
    assert all(script.WORDS[player].split("'")[0] in figure for player in players)


def test_the_bundled_models_measurements(study_text):
    script = import_module("measure_bundled")
    plans = plans_of(parse_specs(study_text))
    pool = SerialPool()
    at_one, found = script.measured(
        plans[0], pool, [LambdaSchedule(), LambdaSchedule(1.01)], script.REPEAT_FROM, 32
    )
    assert at_one.against.gain == 0.0 and found.score.fid != at_one.score.fid
    [row] = run_studies(plans, Store(), pool, script._news())
    figures = script._figures(row)
    assert (figures["steps"], figures["n"], figures["status"]) == (4, row.n, row.status)


def test_dispatching():
    figures = import_module("bench_dispatch").machine(16, 100)
    assert figures["workers"] == 16


def test_what_was_computed_twice_is_accounted_for():
    script, go = import_module("bench_kills"), import_module("logged_shards").Computation
    kill = import_module("killed_launch").Kill
    goes = [
        go("kept", 1, 0.0, 1.0),
        go("lost", 1, 1.0),  # with its worker
        go("slow", 2, 0.0, 9.0),
        go("slow", 3, 3.0, 4.0),
        go("lost", 3, 5.0, 6.0),
        go("heard", 4, 5.0, 6.0),  # and its driver was killed then
        go("kept", 5, 9.0, 10.0),
    ]
    kills = [kill("worker", 2.0, 1, [1]), kill("driver", 6.5, 9, [2, 3, 4])]
    went = script.Went(11.0, 2, kills, goes, {})
    assert list(script.counted(went).values()) == [11, 2, 4, 7, 1, 1, 1]
    told = [(one["under way"], one["kept"], one["computed again"]) for one in script.told(went)]
    assert told == [(2, 1, 1), (1, 4, 0)]


def test_kills_are_those_of_a_seed():
    planned = import_module("killed_launch").planned
    plan = planned(3, {"worker": 2, "driver": 1, "server": 1}, 50)
    assert plan == planned(3, {"worker": 2, "driver": 1, "server": 1}, 50) != planned(4, {}, 50)
    assert sorted(one.victim for one in plan) == ["driver", "server", "worker", "worker"]
    assert [one.after for one in plan] == sorted({one.after for one in plan})


@pytest.mark.slow
def test_a_gpus_speed_is_measured_with_torch_and_numpy_alone(tmp_path):
    """On the CPU, at small widths; whatever else is heavy is out of reach."""
    told = ["--small", "--batch", "2", "--seconds", "0", "--images", "64", "--shapes", "DiT"]
    ways = ["plain fp32", "ours fp32", "ours bf16"]
    path = tmp_path / "speed.json"
    said = ["bench_gpu.py", "--json", str(path), *told, "--ways", *ways]
    script = FOLDER / "bench_gpu.py"
    code = (
        f"import runpy, sys; sys.modules.update(dict.fromkeys({HEAVY!r})); sys.argv = {said!r}; "
        f"sys.path[0] = {str(FOLDER)!r}; runpy.run_path({str(script)!r}, run_name='__main__')"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    assert ran.returncode == 0, ran.stderr
    figures = json.loads(path.read_text())
    rows = figures["speed"]["DiT-XL/2 256"]
    assert list(rows) == ways
    assert all(row["images_per_second"] > 0 for row in rows.values())
    assert 0 < rows["ours fp32"]["network_share"] <= 1
    assert figures["bits"]["DiT-XL/2 256"]["ours bf16"]["twice"]
    assert figures["fid"]["moments on the CPU, merged exactly"] > 0
    assert not any("features, " in name for name in figures["fid"])  # without torchvision
