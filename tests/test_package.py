"""What the package promises to those who install it."""

import tomllib
from importlib import resources
from pathlib import Path

import lambda_search


def test_it_says_its_version():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert lambda_search.__version__ == project["version"]


def test_every_public_name_is_there():
    for name in lambda_search.__all__:
        assert getattr(lambda_search, name) is not None
    assert set(lambda_search.__all__) <= set(dir(lambda_search))


def test_its_types_are_for_all():
    assert resources.files("lambda_search").joinpath("py.typed").is_file()
