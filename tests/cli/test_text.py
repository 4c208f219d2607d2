"""What is shown is text, whoever wrote it and whatever the terminal can show."""

import json
import os
import subprocess

import pytest

from lambda_search.cli.console import complain
from lambda_search.cli.console import err
from lambda_search.cli.console import out
from lambda_search.cli.console import print_json
from lambda_search.errors import UsageError
from tests.shell import CLI

HOSTILE = (
    "a[red]b[/red][link=http://x]:smile:\x1b]52;c;QUFB\x07\x1b]8;;http://x\x07\x9b31m\u202e\u2028z"
)
UNSEEN = "\x1b\x07\x9b\u202e\u2028"


def test_names_in_tables_and_errors_are_text(capsys, monkeypatch):
    from rich.live import Live
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    monkeypatch.setenv("COLUMNS", "300")
    table = Table(title=HOSTILE)
    table.add_column(HOSTILE)
    table.add_row(HOSTILE)
    table.add_row(Text(HOSTILE))
    for thing in (HOSTILE, Text(HOSTILE), table, Panel(HOSTILE, title=Text(HOSTILE))):
        out.print(thing)
    with Live(table, console=err):
        pass
    error = UsageError(HOSTILE, HOSTILE)
    error.add_note(HOSTILE)
    complain(error, HOSTILE)
    shown = "".join(capsys.readouterr())
    assert not set(shown) & set(UNSEEN)
    assert shown.count("[red]b[/red]") >= 10 and shown.count(":smile:") >= 10
    assert "␛]52;c;QUFB" in shown


def test_json_escapes_what_is_not_seen(capsys):
    value = {HOSTILE: [HOSTILE, "λ 😀", "\udc80\x7f\U000e0041"]}
    print_json(value)
    words = capsys.readouterr().out
    assert json.loads(words) == value
    assert "λ 😀" in words
    assert not set(words) & {*UNSEEN, "\x7f", "\udc80", "\U000e0041"}


def test_command_lines_are_echoed_as_text(cli):
    for arguments in (
        [HOSTILE],
        ["status", f"--{HOSTILE}"],
        ["best", HOSTILE, "--steps", HOSTILE],
    ):
        code, _, words = cli(*arguments)
        assert code == 2 and words.startswith("error: ")
        assert not set(words) & set(UNSEEN)
    code, _, words = cli("statsu")
    assert "status" in words and "lambda-search --help" in words
    assert cli()[0] == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "terminal",
    [{"PYTHONIOENCODING": name} for name in ("ascii", "latin-1", "cp1252")]
    + [{"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
    ids=lambda one: " ".join(one.values()),
)
def test_terminals_of_any_encoding_show_everything(terminal, home):
    environment = os.environ | {"LAMBDA_SEARCH_HOME": str(home)} | terminal

    def said(*arguments):
        done = subprocess.run([CLI, *arguments], env=environment, capture_output=True)
        assert b"Traceback" not in done.stderr and b"Error" not in done.stderr, done.stderr
        return done.returncode, done.stdout.decode(terminal.get("PYTHONIOENCODING", "utf-8"))

    code, words = said("best", "adm-cifar10", "--steps", "20")
    assert code == 0 and "0.0025" in words
    assert ("lambda" in words or "λ" in words) and "?" not in words
    assert said("best", "λ 😀 \u202e", "--steps", "20")[0] == 3
    if "PYTHONUTF8" in terminal:
        code, words = said("best", "adm-cifar10", "--steps", "20", "--json")
        assert code == 0 and json.loads(words)["k"] == 0.0025


def test_a_reader_that_leaves_is_no_error(home):
    reading, writing = os.pipe()
    os.close(reading)
    for arguments in (["best", "adm-cifar10", "--steps", "20", "--json"], ["--help"]):
        done = subprocess.run([CLI, *arguments], stdout=writing, stderr=subprocess.PIPE, text=True)
        assert done.returncode in (0, 1)
        assert "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr
    os.close(writing)
