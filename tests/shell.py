"""The product as processes: a shell's commands, for the tests that kill and interrupt them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lambda_search.errors import LambdaSearchError

CLI = str(Path(sys.executable).with_name("lambda-search"))

PATIENCE = 180
"""Seconds for what waits for Ray: its start takes a minute where much else runs."""


def start(*arguments, home, log=subprocess.PIPE, **environment):
    """A command in a session of its own, like one typed into a terminal of 80 columns.

    With `log`, an open file, its stderr goes there.
    """
    return subprocess.Popen(
        [CLI, *map(str, arguments)],
        env=os.environ | {"LAMBDA_SEARCH_HOME": str(home), "COLUMNS": "80"} | environment,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        start_new_session=True,
        # a shell's background job, as the tests may be, has Ctrl-C ignored and hands that on
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def said(*arguments, home, **environment):
    """A command's exit code, stdout and stderr; it must not end in a traceback."""
    process = start(*arguments, home=home, **environment)
    out, err = process.communicate(timeout=300)
    assert "Traceback" not in err, err
    return process.returncode, out, err


def wait_until(condition, seconds=180):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if found := condition():
                return found
        except LambdaSearchError:
            pass
        time.sleep(0.1)
    pytest.fail(f"nothing happened in {seconds} s")


def end_group(process, number):
    """The signal to the command and to everything that it started."""
    os.killpg(process.pid, number)
    return process.communicate(timeout=PATIENCE)
