"""How many workers each node of a cluster has room for; Ray's word on its nodes stands in."""

import pytest

from lambda_search.cli.options import gpus_of
from lambda_search.cluster import connection


@pytest.fixture
def cluster(monkeypatch):
    """Two nodes with 2 GPUs, one of them with few cores, and one that has left."""

    class Ray:
        @staticmethod
        def nodes():
            return [
                {"NodeID": name, "Alive": alive, "Resources": told}
                for name, alive, told in (
                    ("large", True, {"CPU": 16.0, "GPU": 2.0}),
                    ("few cores", True, {"CPU": 3.0, "GPU": 2.0}),
                    ("gone", False, {}),
                )
            ]

    class State:
        def __init__(self):
            self.free = {one["NodeID"]: one["Resources"] for one in Ray.nodes() if one["Alive"]}

        def available_resources_per_node(self):
            return self.free

    state = State()
    monkeypatch.setattr(connection, "_RAY", Ray)
    monkeypatch.setattr(connection, "_STATE", state)
    return state


@pytest.mark.parametrize(("a_gpu", "room"), [(1, (2, 2)), (2, (4, 3)), (3, (6, 3)), (7, (14, 3))])
def test_several_workers_share_each_gpu_of_each_node(a_gpu, room, cluster):
    found = connection.nodes(gpus_of(None, a_gpu), {})
    assert found == dict(zip(("large", "few cores"), room, strict=True))


def test_what_others_use_is_no_room(cluster):
    cluster.free = {"large": {"CPU": 12.0, "GPU": 0.5}, "few cores": {}}
    assert connection.nodes(0.5, {"large": 2}) == {"large": 3, "few cores": 0}
