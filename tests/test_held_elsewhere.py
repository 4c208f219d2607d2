"""A study that a living driver holds: it is said fast, with nothing heavy, whatever clocks say."""

import json
import shutil
import subprocess
import sys

import pytest

from lambda_search import earlier
from lambda_search import studies
from lambda_search.spec import parse_specs
from lambda_search.store import leases
from lambda_search.store import queue as queue_module
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from tests.shell import said

LAUNCH = """
import json, sys, time
from lambda_search.cli import main
sys.argv = ["lambda-search", "launch", *sys.argv[1:]]
try:
    main()
except SystemExit as error:
    print(json.dumps([error.code, time.process_time(), sorted(sys.modules)]))
"""
LOOK = """
import os, sys
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
store = Store(sys.argv[1])
print(os.getpid(), not store.is_driven(store.study("tiny")), Queue(store).claim())
"""
OTHER_NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc")


@pytest.fixture
def held(url, study_text):
    """A store whose study 'tiny' this process drives."""
    store = Store(url)
    studies.submit(parse_specs(study_text), store)
    claim = Queue(store).claim()
    yield store
    claim.lease.forget()
    store.close()


def ran(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True)


def test_a_launch_of_it_is_refused_before_anything_heavy_is_loaded(held, study_file):
    done = ran(sys.executable, "-c", LAUNCH, str(study_file), "--store", held.url)
    code, seconds, modules = json.loads(done.stdout)
    print(f"refused after {seconds:.1f} s of this process's time")
    assert code == 1 and not {"torch", "ray", "optuna", "numpy"} & set(modules)
    words = " ".join(done.stderr.split())
    assert "'tiny' is being driven by process" in words and "lambda-search wait tiny" in words


@pytest.mark.slow
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_of_two_studies_the_free_one_runs(held, study_text, study_file, home, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(study_text.replace("name: tiny", "name: other"))
    files, workers = (study_file, other), ("--workers", 1)
    code, out, err = said("launch", *files, *workers, "--store", held.url, home=home)
    assert code == 1 and "other" in out and "'tiny' is being driven by process" in err, err
    assert (held.study("tiny").state, held.study("other").state) == ("running", "done")


@pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run([*OTHER_NAMESPACE, "true"], capture_output=True).returncode != 0,
    reason="this user may make no PID namespace",
)
def test_a_driver_is_alive_for_another_pid_namespace(held):
    for prefix in ((), OTHER_NAMESPACE):
        number, *found = ran(*prefix, sys.executable, "-c", LOOK, held.url).stdout.split()
        assert found == ["False", "None"]
    assert number == "1", "it was in a namespace of its own"


@pytest.mark.parametrize("step", [-86400.0, -50.0, 50.0])
def test_a_driver_is_alive_after_a_step_of_the_clock(held, step, monkeypatch):
    real = leases.database_seconds
    for module in (leases, queue_module):
        monkeypatch.setattr(module, "database_seconds", lambda one: real(one) + step)
    assert Queue(held).claim() is None
    assert earlier.held(["tiny"], held)
