"""The example under each command's help: there is one, it is a command, and it runs."""

import shlex

import pytest
import typer
from typer.core import TyperGroup

from lambda_search.cli.app import app
from lambda_search.cli.examples import EXAMPLES
from lambda_search.exchange import export_rows
from lambda_search.setting import SamplerOptions
from lambda_search.setting import Setting
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from tests.store.test_store import begin
from tests.store.test_store import row
from tests.store.test_store import trial

SPEC = """
name: my-study
model: {framework: diffusers, checkpoint: "bundled:fashion-mnist"}
sampler: {name: ancestral, steps: 4}
metric: {extractor: bundled, reference: "bundled:fashion-mnist"}
"""
WAITS = ("stop",)
STOPPED = ("resume",)
NOT_RUN = {
    "demo": "minutes",
    "drive": "goes on until it is stopped",
    "apply": "a row that a study has found",
    "confirm": "samples images",
    "diagnose": "samples images",
    "evaluate": "samples images",
    "serve": "serves pages until it is stopped",
    "dashboard": "serves pages until it is stopped",
    "db copy": "a server",
    "models convert": "a checkpoint of EDM",
    "reference make": "photos, and Inception's weights",
    "reference mark": "statistics of images",
}
"""Why not: what is missing here."""


def commands(group=None, name=""):
    """All commands by name."""
    group = typer.main.get_command(app) if group is None else group
    for key, one in group.commands.items():
        if isinstance(one, TyperGroup):
            yield from commands(one, f"{name}{key} ")
        else:
            yield f"{name}{key}", one


@pytest.fixture
def name(request):
    """The command that is run."""
    return request.param


@pytest.fixture
def folder(name, tmp_path, monkeypatch):
    """A folder with the file that is named: a study's, or one of rows."""
    monkeypatch.chdir(tmp_path)
    if ".yaml" in EXAMPLES[name]:
        (tmp_path / "my-study.yaml").write_text(SPEC)
    if name == "db import":
        export_rows("rows.json")
    if name in ("db upgrade", "db backup"):
        Store().close()
    return tmp_path


@pytest.fixture
def study(folder, name):
    """The study `my-study` in the store: it waits, was stopped, or has come to its row."""
    if not EXAMPLES[name].startswith(f"{name} my-study") or ".yaml" in EXAMPLES[name]:
        return
    store, text = Store(), SPEC
    if name in WAITS + STOPPED:
        Queue(store).submit("my-study", text)
        if name in STOPPED:
            Queue(store).stop("my-study")
        return
    setting = Setting(
        model="my-study",
        weights="0" * 64,
        definition="1" * 64,
        framework="diffusers",
        sampler="ancestral",
        options=SamplerOptions(batch=16),
        steps=4,
        extractor="bundled@1",
        reference="r@2",
    )
    lease = begin(store, setting, "my-study", text)
    store.propose(lease, [trial(0), trial(1)])
    store.publish(lease, row(setting, "my-study"))
    store.close()


def test_every_command_has_one():
    found = dict(commands())
    assert set(found) == set(EXAMPLES)
    for name, one in found.items():
        assert EXAMPLES[name].startswith(name) and one.epilog.endswith(f" {EXAMPLES[name]}")


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_it_is_a_command_line(name):
    words, parser = shlex.split(EXAMPLES[name]), typer.main.get_command(app)
    while isinstance(parser, TyperGroup):
        context = parser.make_context("lambda-search", list(words))
        words = [*context._protected_args, *context.args]
        _, parser, words = parser.resolve_command(context, words)
    parser.make_context(name, words)  # raises for what it does not know


@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - set(NOT_RUN)), indirect=True)
def test_it_runs(cli, study, name):
    code, out, err = cli(*shlex.split(EXAMPLES[name]))
    assert code == 0, err
    assert out or err


def test_the_help_shows_it(cli):
    for name in EXAMPLES:
        _, _, shown = " ".join(cli(*name.split(), "--help")[1].split()).partition("Example: ")
        assert shown.endswith(f" {EXAMPLES[name]}")
