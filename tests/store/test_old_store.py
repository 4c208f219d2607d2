"""A store that release 0.1.0 wrote: it opens, answers the same, and goes on.

`store-0.1.0.db.xz` holds a finished study of the tiny pipeline and one that was interrupted in its
second generation, with Optuna's tables beside (the mirror of that release). It was written by that
release, with PIPELINE in the place of the pipeline's folder.
"""

import lzma
import sqlite3
from pathlib import Path

import pytest
import torch

from lambda_search.launching import plans_of
from lambda_search.launching import run_studies
from lambda_search.spec import parse_specs
from lambda_search.store.lookup import best
from lambda_search.store.store import Store
from lambda_search.work.identity import device_kind
from lambda_search.work.identity import library_versions
from tests.search.running import Halting

DATA = Path(__file__).parents[1] / "data" / "store-0.1.0.db.xz"


@pytest.fixture
def old(tmp_path, tiny_pipeline):
    """The old store's file, as if it had been written on this machine."""
    path = tmp_path / "old.db"
    path.write_bytes(lzma.decompress(DATA.read_bytes()))
    here = {"torch": torch.__version__, "diffusers": library_versions()["diffusers"]}
    with sqlite3.connect(path) as connection:
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
    connection.close()
    return path


def as_it_was(path, query):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def test_it_opens_and_answers_the_same(old):
    query = "SELECT b, k, fid, gain, gain_low, n FROM ls_schedule WHERE entry IS NULL"
    [before] = as_it_was(old, query)
    optunas = as_it_was(old, "SELECT * FROM trials"), as_it_was(old, "SELECT * FROM trial_values")
    found = best("finished", 4, store=str(old))
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
    store = Store(str(old))
    contents = {row[0] for row in as_it_was(old, "SELECT content FROM ls_schedule")}
    assert contents == {row.id for row in store.lookup_rows()}, "ids of rows are ids of contents"
    assert (store.study("finished").state, store.study("unfinished").state) == ("done", "stopped")
    assert optunas == (
        as_it_was(old, "SELECT * FROM trials"),
        as_it_was(old, "SELECT * FROM trial_values"),
    )
    store.close()


def test_one_measurement_told_twice_is_one_row(old):
    """That release confirmed again, on the same images, when a label in the file had changed."""
    with sqlite3.connect(old) as connection:
        names = [row[1] for row in connection.execute("PRAGMA table_info(ls_schedule)")]
        same = ", ".join(name for name in names if name != "id")
        told = f"INSERT INTO ls_schedule ({same}) SELECT {same} FROM ls_schedule"
        connection.execute(f"{told} WHERE entry IS NULL")
    connection.close()
    store = Store(str(old))
    assert len(store.rows(store.study("finished").id)) == 1


def test_a_finished_study_of_its_time_is_not_run_again(old):
    store, pool = Store(str(old)), Halting()
    [spec] = parse_specs(store.study("finished").spec)
    [row] = run_studies(plans_of(spec), store, pool)
    assert pool.done == [] and row == best("finished", 4, store=store)


@pytest.mark.slow
def test_an_unfinished_study_goes_on_to_the_row_of_an_undisturbed_one(old, tmp_path):
    store, new = Store(str(old)), Store(f"{tmp_path}/new.db")
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
