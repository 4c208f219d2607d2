import pytest

from tests.cluster.light import VERSIONS
from tests.cluster.light import light_worker


@pytest.fixture(scope="session")
def cluster():
    """One Ray for all tests of this folder, with room for two workers."""
    import ray

    ray.init(
        address="local",  # not one that somebody else has here
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=80_000_000,
    )
    yield
    ray.shutdown()


@pytest.fixture
def flags(cluster, tmp_path, monkeypatch):
    """Makes pools start light workers; they do as the files in this folder say."""
    monkeypatch.setattr("lambda_search.cluster.actors.Worker", light_worker(tmp_path))
    monkeypatch.setattr("lambda_search.cluster.pool.library_versions", lambda: VERSIONS)
    return tmp_path
