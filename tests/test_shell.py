"""Commands that are printed, and those of the README, work as they are copied."""

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

import lambda_search
from lambda_search import shell
from lambda_search.cli.app import app
from lambda_search.shell import command

PACKAGE = Path(lambda_search.__file__).parent
ROOT = PACKAGE.parent


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """An installation that PATH does not know; its programs print their name."""
    scripts = tmp_path / "my project" / ".venv" / "bin"
    scripts.mkdir(parents=True)
    for name in ("python3", "lambda-search"):
        (scripts / name).write_text(f'#!/bin/sh\necho {name} "$@"\n')
        (scripts / name).chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(scripts / "python3"))
    monkeypatch.setattr(sys, "argv", [str(scripts / "lambda-search")])
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.chdir(tmp_path)
    yield scripts
    shell.use_store(None)


def run(line, cwd=None):
    """What a plain shell does with a command line."""
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_script_that_path_does_not_find_is_named_by_its_path(installed, monkeypatch):
    line = command("wait", "a study; rm x")
    assert line == "'my project/.venv/bin/lambda-search' wait 'a study; rm x'"
    assert run(line) == "lambda-search wait a study; rm x"
    monkeypatch.chdir(installed.parents[1])
    assert command("best", "m", "--steps", 10) == ".venv/bin/lambda-search best m --steps 10"
    assert run(command("best", "m")) == "lambda-search best m"
    monkeypatch.chdir("/")
    assert run(command("best", "m")) == "lambda-search best m"


def test_a_script_that_path_finds_is_named_by_its_name(installed, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(installed), prepend=os.pathsep)
    assert command("status") == "lambda-search status"
    elsewhere = tmp_path / "links"
    elsewhere.mkdir()
    (elsewhere / "lambda-search").symlink_to(installed / "lambda-search")
    monkeypatch.setenv("PATH", f"{elsewhere}{os.pathsep}{os.defpath}")
    assert command("status") == "lambda-search status"


def test_anothers_script_on_path_is_not_taken_for_it(installed, monkeypatch, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "lambda-search").write_text("#!/bin/sh\nexit 1\n")
    (other / "lambda-search").chmod(0o755)
    monkeypatch.setenv("PATH", str(other), prepend=os.pathsep)
    assert run(command("status")) == "lambda-search status"


def test_started_as_a_module_it_is_called_so(installed, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/x/lambda_search/__main__.py"])
    assert command("status") == "'my project/.venv/bin/python3' -m lambda_search status"
    monkeypatch.setenv("PATH", str(installed), prepend=os.pathsep)
    assert command("status") == "python3 -m lambda_search status"
    monkeypatch.setattr(sys, "argv", [str(installed / "lambda-search")])
    (installed / "lambda-search").unlink()
    assert command("status") == "python3 -m lambda_search status"


def test_the_store_of_the_command_line_is_named_again(installed):
    shell.use_store("/data/my store.db")
    assert command("wait", "s").endswith(" wait s --store '/data/my store.db'")
    assert "--store" not in command("models", "inspect", "x.pt")
    for secret in ("postgresql://me:pass@host/x", "postgresql://host/x?password=pass"):
        shell.use_store(secret)
        assert command("wait", "s").endswith("wait s --store URL")


def test_a_command_after_one_with_a_store_names_it(cli, tmp_path, monkeypatch):
    store = tmp_path / "my store.db"
    err = cli("status", "--store", store)[2]
    assert f"demo --store {shlex.quote(str(store))}" in err
    monkeypatch.setenv("LAMBDA_SEARCH_STORE", str(store))
    assert "--store" not in cli("status")[2], "the next command finds it in the environment too"


def test_the_module_is_a_command():
    done = subprocess.run(
        [sys.executable, "-m", "lambda_search", "--version"], capture_output=True, text=True
    )
    assert done.stdout.strip() == lambda_search.__version__, done.stderr


def test_no_command_is_printed_by_hand():
    """Only `shell.command` knows how a command is called here; docstrings may name them."""
    found = []
    for file in PACKAGE.rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        docstrings = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        found += [
            f"{file.relative_to(PACKAGE)}:{node.lineno}: {node.value}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings
            and re.search(r"lambda-search [a-z]", node.value)
        ]
    assert found == [], "use lambda_search.shell.command"


def printed_in_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        yield from (line for line in block.splitlines() if line.startswith("lambda-search "))


@pytest.mark.parametrize("line", list(printed_in_readme()))
def test_the_readmes_commands_are_ones(line):
    _, *words = shlex.split(line, comments=True)
    parser, name = typer.main.get_command(app), "lambda-search"
    while isinstance(parser, TyperGroup):
        context = parser.make_context(name, list(words))
        words = [*context._protected_args, *context.args]
        name, parser, words = parser.resolve_command(context, words)
    parser.make_context(name, words)  # raises for what it does not know


QUESTIONS = [
    line
    for line in printed_in_readme()
    if line.split()[1] in ("best", "reference") and "--store http" not in line
]
"""All but those for a service, which tests/service/test_remote.py serves."""


@pytest.mark.slow
@pytest.mark.parametrize("line", QUESTIONS)
def test_the_readmes_questions_run_as_printed(line, home, tmp_path):
    """Through a shell, on a new machine: `#` begins a comment, and what is not there is said."""
    done = subprocess.run(
        ["sh", "-c", line],
        cwd=tmp_path,
        env=os.environ
        | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "LAMBDA_SEARCH_HOME": str(home),
            "LAMBDA_SEARCH_OFFLINE": "1",
        },
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr
    there = done.returncode == 0 and done.stdout
    lacks = done.returncode in (2, 3) and re.search(r"(?i)\b(no|nothing)\b", done.stderr)
    assert there or lacks, done.stderr
    if "adm-cifar10" in line:
        assert there and "λ(i)" in done.stdout
