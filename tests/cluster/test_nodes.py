"""Studies on clusters of several nodes and kinds: nodes come, go and die, and the head does."""

import os
import signal
import subprocess
import sys

import pytest

from lambda_search.launching import plans_of
from lambda_search.launching import run_studies
from lambda_search.spec import parse_specs
from lambda_search.store.store import Store
from lambda_search.work.pool import SerialPool
from tests.cluster.nodes import DRIVER
from tests.cluster.nodes import nodes
from tests.search.running import record
from tests.shell import said
from tests.shell import start
from tests.shell import wait_until

pytestmark = pytest.mark.slow


class OfKind(SerialPool):
    """One worker, undisturbed, on a device of that name."""

    def __init__(self, kind):
        super().__init__()
        self._kind = kind


def undisturbed(text, kind, store):
    """What the only study in `text` leaves behind when one worker of `kind` does all of it."""
    plans = plans_of(parse_specs(text))
    run_studies(plans, store, OfKind(kind))
    return record(store, plans[0].spec.name)


def on_its_way(store, name):
    """The kind that a study is on, once a trial of it has ended."""
    study = store.study(name)
    ended = study.identity and any(trial.finished for trial in store.trials(study.id))
    return study.identity.device if ended else None


def test_a_node_comes_and_another_dies_while_two_studies_run(study_text, tmp_path, home):
    text = study_text.replace("trials: 7", "trials: 12").replace("samples: 80", "samples: 320")
    file = tmp_path / "both.yaml"
    file.write_text(text.replace("steps: 4", "steps: [3, 4]"))
    store = Store()
    with nodes(tmp_path) as cluster:
        for kind in ("A100", "H100"):
            cluster.add(kind, labels={"kind": kind})
        driver = subprocess.Popen(
            [sys.executable, "-c", DRIVER, "launch", file, "--ray-address", cluster.address],
            env=os.environ | {"LAMBDA_SEARCH_HOME": str(home), "COLUMNS": "80"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            kinds = {
                name: wait_until(lambda name=name: on_its_way(store, name), 300)
                for name in ("tiny-3", "tiny-4")
            }
            cluster.add("another", labels={"kind": kinds["tiny-4"]})
            cluster.kill(kinds["tiny-4"])
            assert store.study("tiny-4").state == "running"
            told, _ = driver.communicate(timeout=400)
        finally:
            if driver.poll() is None:
                os.killpg(driver.pid, signal.SIGKILL)
    assert driver.returncode == 0, told
    assert set(kinds.values()) == {"A100", "H100"}, "each has a kind to itself"
    for name, kind in kinds.items():
        one = text.replace("steps: 4", f"steps: {name[-1]}").replace("name: tiny", f"name: {name}")
        assert record(store, name) == undisturbed(one, kind, Store(f"{tmp_path}/{name}.db"))
    assert "Traceback" not in told, told


def test_a_lost_head_is_one_message_and_a_new_cluster_goes_on(
    study_text, study_file, tmp_path, home
):
    store = Store()
    with nodes(tmp_path) as cluster:
        cluster.add("worker", num_cpus=1)
        driver = start("launch", study_file, "--ray-address", cluster.address, home=home)
        wait_until(lambda: any(t.finished for t in store.trials(store.study("tiny").id)), 300)
        cluster.kill("head")
        _, told = driver.communicate(timeout=120)
        words = " ".join(told.split())
        assert driver.returncode == 1, told
        assert words.count("head node of the Ray cluster is lost") == 1
        assert words.count("error:") == 1 and "same command goes on, on a new cluster" in words
        assert "Traceback" not in told and "Check failed" not in told
        [study] = store.studies()
        assert (study.state, [one.outcome for one in study.attempts]) == ("stopped", ["stopped"])
    with nodes(tmp_path) as cluster:
        cluster.add("worker", num_cpus=1)
        code, _, told = said("launch", study_file, "--ray-address", cluster.address, home=home)
    assert code == 0, told
    plans = plans_of(parse_specs(study_text))
    whole = Store(f"{tmp_path}/whole.db")
    run_studies(plans, whole, SerialPool())
    assert record(store) == record(whole)
