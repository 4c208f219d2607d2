"""What an autoscaler is asked for, and how Ray's own follows; its nodes are processes here."""

import json
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from lambda_search.cluster import autoscaler
from lambda_search.cluster.autoscaler import bundles

A100 = "NVIDIA A100-SXM4-80GB"
V100 = "Tesla V100-SXM2-16GB"


def test_each_worker_is_a_bundle_of_what_it_takes():
    whole = {"CPU": 1.0, "GPU": 1.0}
    assert bundles({}, 1.0, []) == []
    assert bundles({A100: 2, None: 1}, 1.0, ["accelerator_type:A100"]) == [whole] * 3
    assert bundles({None: 1}, 0.0, []) == [{"CPU": 1.0}]
    assert bundles({A100: 2}, 0.5, []) == [{"CPU": 1.0, "GPU": 0.5}] * 2


def test_where_there_are_several_kinds_the_right_one_is_asked_for():
    seen = ["accelerator_type:A100", "accelerator_type:V100"]
    found = bundles({A100: 1, V100: 2, None: 1}, 1.0, seen)
    marks = [{name for name in one if name.startswith("acc")} for one in found]
    assert marks == [{seen[0]}, {seen[1]}, {seen[1]}, set()]
    assert bundles({A100: 1}, 1.0, [seen[1]])[0][seen[0]] > 0, "the other kind alone was seen"


def test_who_asks_late_does_not_undo_that_the_pool_let_go(monkeypatch):
    asked = []
    nodes = SimpleNamespace(nodes=lambda: [])
    monkeypatch.setattr(autoscaler, "_RAY", nodes)
    monkeypatch.setattr(autoscaler.sdk, "request_resources", lambda bundles: asked.append(bundles))
    one = autoscaler.Autoscaler(0.0)
    one.ask({None: 2})
    one.let_go()
    one.ask({None: 2})
    assert asked == [[{"CPU": 1.0}] * 2, []]


@pytest.mark.slow
def test_a_cluster_grows_for_the_queue_and_shrinks_after_it(tmp_path):
    """Ray 2.60's autoscaler with its fake node provider; the nodes are processes here."""
    told, said = tmp_path / "told.json", tmp_path / "said"
    with said.open("wb") as stream:  # no pipe: what Ray leaves behind would keep it open
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.growing", told],
            start_new_session=True,
            stdout=stream,
            stderr=stream,
        )
    try:
        process.wait(200)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, said.read_text()
    found = json.loads(told.read_text())
    whole = {"CPU": 1.0, "GPU": 1.0}
    assert found["is there"] and not found["without --gpus"]
    assert found["before"] == [whole] * 9, "what a driver left that was killed"
    assert found["begun"] == [whole], "one worker, until there are tasks"
    assert found["busy"] == [whole] * 3 and found["GPUs busy"] == 3, "a task each, and no more"
    assert found["answers"] == [0, 1, 4]
    assert found["idle"] == [] and found["GPUs idle"] == 0
    assert found["again"] == 49, "a study that is begun on an empty cluster"
    assert found["closed"] == []
