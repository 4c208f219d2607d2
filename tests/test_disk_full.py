"""A disk that fills up while a study runs: one clear error, and with room again it goes on."""

import errno
import os
from collections import Counter
from types import SimpleNamespace

import pytest
from sqlalchemy import create_engine
from sqlalchemy import text

from lambda_search.errors import LambdaSearchError
from lambda_search.launching import plans_of
from lambda_search.launching import run_studies
from lambda_search.paths import features_folder
from lambda_search.paths import store_url
from lambda_search.spec import parse_specs
from lambda_search.store import engine
from lambda_search.store.store import Store
from lambda_search.work.storage import FolderStorage
from lambda_search.work.storage import PlaceAway
from tests.search.running import Halting
from tests.search.running import record

FULL = "could not extend file: No space left on device"
RAISE = f"BEGIN RAISE EXCEPTION '{FULL}' USING ERRCODE = '53100'; END"


@pytest.fixture
def plans(study_text):
    text = study_text.replace("trials: 7", "trials: 4").replace("samples: 80", "samples: 16")
    return plans_of(parse_specs(text.replace("rungs: [32, 64]", "rungs: [16, 32]")))


@pytest.fixture
def undisturbed(plans, tmp_path, monkeypatch):
    """What the study leaves behind, and the shards that it takes."""
    with monkeypatch.context() as patch:
        patch.setenv("LAMBDA_SEARCH_HOME", str(tmp_path / "undisturbed"))
        store, pool = Store(), Halting()
        run_studies(plans, store, pool)
        found = record(store)
        store.close()
    return found, Counter(pool.done)


def test_where_features_are_kept(plans, undisturbed, monkeypatch):
    store, first, second = Store(), Halting(), Halting()
    real, room = FolderStorage._write, [4]

    def write(path, content):
        if path.suffix == ".npy":
            room[0] -= 1
        if room[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(path, content)

    monkeypatch.setattr(FolderStorage, "_write", staticmethod(write))
    with pytest.raises(PlaceAway, match=r"cannot be written to .*No space left") as caught:
        run_studies(plans, store, first)
    assert "Free some space there" in caught.value.hint
    assert store.study("tiny").state == "failed" and store.rows(store.study("tiny").id) == []
    assert len(list(features_folder().rglob("*.npy"))) == 4
    room[0] = 10**9
    run_studies(plans, store, second)
    found, shards = undisturbed
    assert record(store) == found
    assert Counter(first.done[:4] + second.done) == shards, "what was kept is not computed again"


@pytest.fixture
def disk(url, monkeypatch, request):
    """Fills the store's disk, and frees it, for any connection of a new store at `url`."""
    if url.startswith("sqlite"):
        real, pages = engine._begin_sqlite, [2**30]

        def begin(connection):
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages[0]}")  # or what it has
            real(connection)

        monkeypatch.setattr(engine, "_begin_sqlite", begin)

        def fill():
            pages[0] = 1

        def free():
            pages[0] = 2**30

    else:
        ours = create_engine(store_url(url), isolation_level="AUTOCOMMIT")
        request.addfinalizer(ours.dispose)

        def told(*statements):
            with ours.connect() as connection:
                for one in statements:
                    connection.execute(text(one))

        def fill():
            told(
                f"CREATE FUNCTION full_disk() RETURNS trigger AS $${RAISE}$$ LANGUAGE plpgsql",
                "CREATE TRIGGER full_disk BEFORE INSERT ON ls_evaluation "
                "FOR EACH ROW EXECUTE FUNCTION full_disk()",
            )

        def free():
            told("DROP FUNCTION full_disk CASCADE")

    return SimpleNamespace(fill=fill, free=free)


def test_where_the_store_lies(url, plans, undisturbed, disk, monkeypatch):
    store, real, writes = Store(url, 30.0), Store.write, []

    def write(self, change, lease=None):
        if lease is not None:
            writes.append(lease)
            if len(writes) == 2:
                disk.fill()
        return real(self, change, lease)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", write)
        with pytest.raises(LambdaSearchError, match=r"full|No space") as caught:
            run_studies(plans, store, Halting())
    assert "Free some space" in caught.value.hint
    assert store.rows(store.study("tiny").id) == []
    disk.free()
    run_studies(plans, store, Halting())
    assert record(store) == undisturbed[0]
    store.close()
