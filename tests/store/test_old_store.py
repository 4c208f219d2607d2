"""A store that release 0.1.0 wrote: it opens, answers the same, and goes on.

`store-0.1.0.db.xz` holds a finished study of the tiny pipeline and one that was interrupted in its
second generation, with Optuna's tables beside (the mirror of that release). It was written by that
release, with PIPELINE in the place of the pipeline's folder.
"""

import lzma
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import torch
from alembic import command
from alembic.config import Config
from sqlalchemy import JSON
from sqlalchemy import MetaData
from sqlalchemy import create_engine
from sqlalchemy import inspect
from sqlalchemy import text

from lambda_search.launching import plans_of
from lambda_search.launching import run_studies
from lambda_search.paths import store_url
from lambda_search.spec import parse_specs
from lambda_search.store.engine import VERSION_TABLE
from lambda_search.store.lookup import best
from lambda_search.store.store import Store
from lambda_search.work.identity import device_kind
from lambda_search.work.identity import library_versions
from tests.search.running import Halting

DATA = Path(__file__).parents[1] / "data" / "store-0.1.0.db.xz"
OPTUNAS = ("SELECT * FROM trials ORDER BY trial_id", "SELECT * FROM trial_values ORDER BY 1")


@pytest.fixture
def old(url, tmp_path, tiny_pipeline):
    """The old store's URL, as if it had been written on this machine."""
    path = tmp_path / "old.db"
    path.write_bytes(lzma.decompress(DATA.read_bytes()))
    here = {"torch": torch.__version__, "diffusers": library_versions()["diffusers"]}
    with closing(sqlite3.connect(path)) as connection, connection:
        written = '"cpu-AVX2"', '"2.13.0+cu130"', '"0.42.1"'
        now = device_kind(torch.device("cpu")), here["torch"], here["diffusers"]
        for before, after in zip(written, now, strict=True):
            connection.execute(
                "UPDATE ls_study SET identity = replace(identity, ?, ?)", (before, f'"{after}"')
            )
        for table, column in (("ls_study", "spec"), ("ls_schedule", "provenance")):
            connection.execute(
                f"UPDATE {table} SET {column} = replace({column}, 'PIPELINE', ?)",
                (str(tiny_pipeline),),
            )
    if url.startswith("sqlite"):
        return f"sqlite:///{path}"
    on_a_server(path, url)
    return url


def on_a_server(path, url):
    """Fills an empty database with what that release would have written there.

    Its tables are made by the migrations that it had, Optuna's as they lie in the file.
    """
    source, target = create_engine(f"sqlite:///{path}"), create_engine(store_url(url))
    theirs, ours = MetaData(), MetaData()
    theirs.reflect(source)
    for column in (one for table in theirs.tables.values() for one in table.columns):
        column.type = column.type.as_generic()
    config = Config()
    config.set_main_option("script_location", "lambda_search.store:migrations")
    with source.connect() as old, target.begin() as new:
        version = old.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
        config.attributes["connection"] = new
        command.upgrade(config, version)
        theirs.create_all(new)  # those that are not there yet
        ours.reflect(new)
        for table in ours.sorted_tables:
            rows = [
                dict(one) for one in old.execute(theirs.tables[table.name].select()).mappings()
            ]
            if not rows or table.name == VERSION_TABLE:
                continue
            for column in table.columns:
                if isinstance(column.type, JSON):
                    column.type.none_as_null = True
            new.execute(table.insert(), rows)
            if table.name.startswith("ls_"):  # ids given by hand do not move the counters
                counter = f"pg_get_serial_sequence('{table.name}', 'id')"
                new.execute(text(f"SELECT setval({counter}, max(id)) FROM {table.name}"))
    for engine in (source, target):
        engine.dispose()


def as_it_was(url, query):
    engine = create_engine(store_url(url))
    with engine.connect() as connection:
        found = [tuple(one) for one in connection.execute(text(query))]
    engine.dispose()
    return found


def test_it_opens_and_answers_the_same(old):
    query = "SELECT b, k, fid, gain, gain_low, n FROM ls_schedule WHERE entry IS NULL"
    [before] = as_it_was(old, query)
    optunas = [as_it_was(old, query) for query in OPTUNAS]
    found = best("finished", 4, store=old)
    assert before == (
        found.schedule.b,
        found.schedule.k,
        found.fid,
        found.gain,
        found.gain_interval.low,
        found.n,
    )
    assert found.candidate.trial == found.provenance.trial
    assert found.candidate.gain == found.gain
    assert found.provenance.identity.versions["torch"] == "2.13.0+cu130"
    assert found.origin.tool == "lambda-search 0.1.0"
    store = Store(old)
    contents = {row[0] for row in as_it_was(old, "SELECT content FROM ls_schedule")}
    assert contents == {row.id for row in store.lookup_rows()}, "ids of rows are ids of contents"
    assert (store.study("finished").state, store.study("unfinished").state) == ("done", "stopped")
    assert optunas == [as_it_was(old, query) for query in OPTUNAS]
    store.close()


def test_one_measurement_told_twice_is_one_row(old):
    """That release confirmed again, on the same images, when a label in the file had changed."""
    engine = create_engine(store_url(old))
    with engine.begin() as connection:
        names = [one["name"] for one in inspect(engine).get_columns("ls_schedule")]
        same = ", ".join(name for name in names if name != "id")
        told = f"INSERT INTO ls_schedule ({same}) SELECT {same} FROM ls_schedule"
        connection.execute(text(f"{told} WHERE entry IS NULL"))
    engine.dispose()
    store = Store(old)
    assert len(store.rows(store.study("finished").id)) == 1


def test_a_finished_study_of_its_time_is_not_run_again(old):
    store, pool = Store(old), Halting()
    [spec] = parse_specs(store.study("finished").spec)
    [row] = run_studies(plans_of(spec), store, pool)
    assert pool.done == [] and row == best("finished", 4, store=store)


@pytest.mark.slow
def test_an_unfinished_study_goes_on_to_the_row_of_an_undisturbed_one(old, tmp_path):
    store, new = Store(old), Store(f"{tmp_path}/new.db")
    kept = store.trials(store.study("unfinished").id)
    [spec] = parse_specs(store.study("unfinished").spec)
    [row] = run_studies(plans_of(spec), store, Halting())
    [undisturbed] = run_studies(plans_of(spec), new, Halting())
    assert row.id == undisturbed.id
    trials = store.trials(store.study("unfinished").id)
    assert [one.schedule for one in trials[: len(kept)]] == [one.schedule for one in kept]
    afresh = new.trials(new.study("unfinished").id)
    assert [(one.n, one.state) for one in trials] == [(one.n, one.state) for one in afresh]
    closed = [one for one in kept if not one.is_open]
    for ours, theirs in zip(trials, afresh, strict=True):
        # what was closed has the digits of the processor that it was measured on, the rest ours
        near = pytest.approx((theirs.gain, theirs.fid), rel=0, abs=1e-5 if ours in closed else 0)
        assert (ours.gain, ours.fid) == near
    assert closed and trials[: len(closed)] == closed
