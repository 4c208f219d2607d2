"""What people install: a wheel from the tree, in an environment of its own, without extras."""

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOT_OF_THE_TREE = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist")
HEAVY = {"torch", "ray", "optuna", "diffusers", "numpy", "sqlalchemy"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy, so that nothing is left in the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "tree", ignore=NOT_OF_THE_TREE)
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", folder, folder / "tree")
    [path] = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def programs(wheel, tmp_path_factory):
    """The folder of an environment's programs; it has the wheel and what that asks for."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    pip(folder / "bin" / "python", "install", wheel)
    return folder / "bin"


@pytest.fixture
def run(programs, tmp_path, home):
    """Runs a program of the environment outside of the checkout: (exit code, stdout, stderr)."""
    kept = ("HOME", "LANG", "TMPDIR")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment |= {"LAMBDA_SEARCH_HOME": str(home), "PATH": f"{programs}{os.pathsep}{os.defpath}"}

    def runs(name, *arguments, **more):
        done = subprocess.run(
            [programs / name, *map(str, arguments)],
            cwd=tmp_path,
            env=environment | more,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout, done.stderr

    return runs


def pip(python, *arguments):
    command = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_it_has_the_package_and_its_data_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"lambda_search"}
    for wanted in ("py.typed", "exchange/rows-1.schema.json", "store/catalogue/published.yaml"):
        assert f"lambda_search/{wanted}" in names


def test_it_looks_up_exports_and_imports(run, tmp_path):
    assert run("lambda-search", "--version")[0] == 0
    code, out, err = run("lambda-search", "best", "adm-cifar10", "--steps", 20, "--json")
    assert code == 0, err
    assert (json.loads(out)["b"], json.loads(out)["k"]) == (1.0, 0.0025)
    for form in ("json", "csv"):
        files = tmp_path / f"first.{form}", tmp_path / f"second.{form}"
        store = tmp_path / f"{form}.db"
        assert run("lambda-search", "export", "--format", form, "--to", files[0])[0] == 0
        code, out, err = run("lambda-search", "db", "import", files[0], "--store", store)
        assert code == 0 and "32 that were here" in out, err
        run("lambda-search", "export", "--format", form, "--to", files[1], "--store", store)
        assert files[0].read_bytes() == files[1].read_bytes()
    told = run("lambda-search", "best", "edm-cifar10-cond", "--steps", 30, "--nearest",
               "--sampler", "euler", "--json")[1]  # fmt: skip
    assert json.loads(told)["kind"] == "interpolated"
    assert run("lambda-search", "best", "nobody", "--steps", 20)[0] == 3


def test_in_python_too_and_importing_it_loads_nothing_heavy(run):
    code = (
        "import sys, lambda_search as ls\n"
        f"assert not set(sys.modules) & {HEAVY!r}, 'importing it'\n"
        "found = ls.best('adm-cifar10', 20)\n"
        "assert ls.row(found.id[:12]) == found\n"
        "assert ls.export_rows('all.json') == 32\n"
        "assert ls.import_rows('all.json').doubles == 32\n"
        f"print(sorted(set(sys.modules) & {HEAVY!r}))\n"
    )
    done, out, err = run("python", "-c", code)
    assert (done, out.strip()) == (0, "['sqlalchemy']"), err


def test_what_needs_an_extra_says_so_in_one_message(run, tmp_path):
    study = tmp_path / "study.yaml"
    study.write_text(
        "name: s\n"
        "model: {framework: diffusers, checkpoint: 'bundled:fashion-mnist'}\n"
        "sampler: {name: ancestral, steps: 10}\n"
        "metric: {extractor: bundled, reference: 'bundled:fashion-mnist'}\n"
    )
    code, out, err = run("lambda-search", "launch", study)
    assert (code, out) == (1, "") and "which is not installed" in err and "pip install" in err
    code, out, err = run("lambda-search", "submit", study)
    assert code == 0 and "queued" in out, err
    err = run("lambda-search", "doctor", "--quick")[2]
    assert "Traceback" not in err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_its_commands(run, shell):
    line = "lambda-search be"
    _, out, err = run(
        "lambda-search",
        _LAMBDA_SEARCH_COMPLETE=f"complete_{shell}",
        COMP_WORDS=line,
        COMP_CWORD="1",
        _TYPER_COMPLETE_ARGS=line,
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )
    assert "best" in out and "launch" not in out, err
    _, out, err = run("lambda-search", "--show-completion", shell)
    assert "lambda-search" in out and "_LAMBDA_SEARCH_COMPLETE" in out, err
