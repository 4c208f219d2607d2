"""Studies on clusters of several nodes and kinds: nodes come, go and die, and the head does."""

import signal

import pytest

from lambda_search.launching import plans_of
from lambda_search.launching import run_studies
from lambda_search.spec import parse_specs
from lambda_search.store.store import Store
from lambda_search.work.pool import SerialPool
from tests.cluster.nodes import drive
from tests.cluster.nodes import nodes
from tests.search.running import record
from tests.shell import end_group
from tests.shell import wait_until

pytestmark = pytest.mark.slow


class OfKind(SerialPool):
    """One worker, undisturbed, on a device of that name."""

    def __init__(self, kind):
        super().__init__()
        self._kind = kind


def undisturbed(text, name, kind, store):
    """What a study of the file `text` leaves behind when one worker of `kind` does all of it."""
    run_studies(
        plans_of([one for one in parse_specs(text) if one.name == name]), store, OfKind(kind)
    )
    return record(store, name)


def on_its_way(store, name):
    """The kind that a study is on, once a trial of it has ended."""
    study = store.study(name)
    ended = study.identity and any(trial.finished for trial in store.trials(study.id))
    return study.identity.device if ended else None


def test_a_node_comes_and_another_dies_while_two_studies_run(study_text, tmp_path, home):
    file = tmp_path / "both.yaml"
    text = study_text.replace("steps: 4", "steps: [3, 4]")
    file.write_text(text)
    store = Store()
    with nodes(tmp_path) as cluster:
        for kind in ("A100", "H100"):
            cluster.add(kind, kind, nap=0.5)
        driver = drive("launch", file, "--ray-address", cluster.address, home=home)
        try:
            kinds = {
                name: wait_until(lambda name=name: on_its_way(store, name), 300)
                for name in ("tiny-3", "tiny-4")
            }
            cluster.add("another", kinds["tiny-4"])
            cluster.kill(kinds["tiny-4"])
            assert store.study("tiny-4").state == "running"
            told, _ = driver.communicate(timeout=400)
        finally:
            if driver.poll() is None:
                end_group(driver, signal.SIGKILL)
    assert driver.returncode == 0 and "Traceback" not in told, told
    assert set(kinds.values()) == {"A100", "H100"}, "each has a kind to itself"
    for name, kind in kinds.items():
        whole = undisturbed(text, name, kind, Store(f"{tmp_path}/{name}.db"))
        assert record(store, name) == whole


def test_a_lost_head_is_one_message_and_a_new_cluster_goes_on(
    study_text, study_file, tmp_path, home
):
    store = Store()
    with nodes(tmp_path) as cluster:
        cluster.add("worker", nap=1.5)
        driver = drive("launch", study_file, "--ray-address", cluster.address, home=home)
        try:
            wait_until(lambda: on_its_way(store, "tiny"), 300)
            cluster.kill("head")
            told, _ = driver.communicate(timeout=200)
        finally:
            if driver.poll() is None:
                end_group(driver, signal.SIGKILL)
    words = " ".join(told.split())
    assert driver.returncode == 1, told
    assert words.count("error: The head node of the Ray cluster is lost") == 1, told
    assert words.count("error:") == 1 and "same command goes on, on a new cluster" in words
    assert "Traceback" not in told and "Check failed" not in told, told
    [study] = store.studies()
    assert (study.state, [one.outcome for one in study.attempts]) == ("stopped", ["stopped"])
    with nodes(tmp_path) as cluster:
        cluster.add("worker")
        again = drive("launch", study_file, "--ray-address", cluster.address, home=home)
        told, _ = again.communicate(timeout=300)
    assert again.returncode == 0, told
    assert record(store) == undisturbed(study_text, "tiny", "A100", Store(f"{tmp_path}/whole.db"))
