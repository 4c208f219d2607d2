"""A store that goes away while a study runs: the end is an error, and nothing pretends."""

import sqlite3

import pytest

from lambda_search.errors import LambdaSearchError
from lambda_search.launching import plans_of
from lambda_search.launching import run_studies
from lambda_search.spec import parse_specs
from lambda_search.store.store import Store
from lambda_search.work.pool import SerialPool


@pytest.mark.parametrize("after", [1, 4])
def test_a_store_that_is_removed_during_a_run_ends_it(study_text, tmp_path, after):
    path = tmp_path / "s.db"
    store = Store(str(path))

    def watch(studies):
        if path.exists() and studies[0].trials_done >= after:
            for one in tmp_path.glob("s.db*"):
                one.unlink()

    with pytest.raises(LambdaSearchError, match="removed or replaced"):
        run_studies(plans_of(parse_specs(study_text)), store, SerialPool(), watch)
    assert not path.exists(), "nor is an empty one made in its place"


def test_a_store_that_takes_no_more_ends_the_run(study_text, tmp_path):
    path = tmp_path / "s.db"
    store = Store(str(path))

    def watch(studies):
        if studies[0].trials_done >= 2:
            with sqlite3.connect(path) as connection:
                connection.execute(
                    "CREATE TRIGGER IF NOT EXISTS full BEFORE INSERT ON ls_schedule "
                    "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
                )

    with pytest.raises(LambdaSearchError, match="full") as caught:
        run_studies(plans_of(parse_specs(study_text)), store, SerialPool(), watch)
    assert "Free some space" in caught.value.hint
    assert store.rows(store.study("tiny").id) == []
    assert store.study("tiny").state == "failed"
