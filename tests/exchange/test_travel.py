"""Rows go from store to store, and nothing in them changes."""

import json
from dataclasses import replace

import pytest

from lambda_search.errors import LambdaSearchError
from lambda_search.exchange import Imported
from lambda_search.exchange import export_rows
from lambda_search.exchange import import_rows
from lambda_search.exchange import read_rows
from lambda_search.records import Retraction
from lambda_search.store.catalogue import entries
from lambda_search.store.lookup import best
from lambda_search.store.lookup import row as row_by_id
from lambda_search.store.store import Store
from tests.exchange.rows import at
from tests.exchange.rows import every_kind
from tests.store.test_store import publish
from tests.store.test_store import row

FORMS = ("json", "csv")


@pytest.fixture
def filled(tmp_path):
    """A store with a row of every kind beside the catalogue's."""
    store = Store(f"{tmp_path}/filled.db")
    store.add(every_kind())
    return store


@pytest.mark.parametrize("form", FORMS)
def test_export_import_export_is_the_same_file(filled, url, form, tmp_path):
    first, second = tmp_path / f"first.{form}", tmp_path / f"second.{form}"
    count = export_rows(first, filled, form=form)
    assert count == len(every_kind()) + len(entries())
    told = import_rows(first, url)
    assert told == Imported(new=len(every_kind()), doubles=len(entries()), taken_back=0)
    assert export_rows(second, url, form=form) == count
    assert first.read_bytes() == second.read_bytes()
    assert import_rows(second, url) == Imported(0, count, 0), "doubles are seen"
    assert export_rows(second, url, form=form) == count
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("form", FORMS)
def test_a_file_says_all_that_a_row_says(filled, form, tmp_path):
    path = tmp_path / "rows"
    export_rows(path, filled, ["m", every_kind()[3].setting.model, "p"], form)
    by_id = {row.id: row for row in read_rows(path)}
    for given in every_kind():
        found = by_id[given.id]
        assert found == given and found.origins == given.origins and found.arrival is None


def test_rows_answer_elsewhere_as_they_did(filled, tmp_path):
    path, other = tmp_path / "rows.json", Store(f"{tmp_path}/other.db")
    export_rows(path, filled)
    import_rows(path, other)
    for asked in (("m", 4, "euler"), ("p", 4, None), ("adm-cifar10", 20, None)):
        assert best(*asked, store=other) == best(*asked, store=filled)
    superseded, retracted = every_kind()[0], every_kind()[2]
    assert other.instead_of(superseded.id) == every_kind()[1]
    assert row_by_id(retracted.id[:12], other).retraction == retracted.retraction


def test_a_reader_sees_where_a_claim_comes_from(filled, tmp_path):
    path, other = tmp_path / "rows.json", Store(f"{tmp_path}/other.db")
    export_rows(path, filled)
    import_rows(path, other)
    claim = best("m", 4, "euler", other)
    assert (claim.status, claim.origin.by) == ("confirmed", "me")
    assert claim.arrival.source == str(path)
    assert best("m", 4, "euler", filled).arrival is None
    assert "arrival" not in claim.to_json(), "it is this store's, and does not travel on"


def test_without_a_store_the_catalogue_is_exported_and_none_is_made(home, tmp_path):
    path = tmp_path / "rows.json"
    assert export_rows(path) == len(entries())
    assert not home.exists()
    assert {row.id for row in read_rows(path)} == {entry.row.id for entry in entries()}
    assert import_rows(path) == Imported(0, len(entries()), 0)


def test_the_catalogues_rows_that_came_with_a_file_are_the_catalogues(url, monkeypatch, tmp_path):
    """A newer release exported them; then this store is opened by that release."""
    path = tmp_path / "rows.json"
    export_rows(path, f"{tmp_path}/none.db")
    everything = entries()
    monkeypatch.setattr("lambda_search.store.catalogue.entries", lambda: everything[:3])
    store = Store(url)
    assert import_rows(path, store).new == len(everything) - 3
    monkeypatch.undo()
    store = Store(url)
    assert store.counts()["rows"] == len(everything)
    found = best("adm-cifar10", 20, store=store)
    assert found.arrival is not None and found.id in {entry.row.id for entry in everything}


def test_a_retraction_reaches_the_stores_that_have_the_row(filled, url, tmp_path):
    path, store = tmp_path / "rows.json", Store(url)
    export_rows(path, filled)
    import_rows(path, store)
    wrong = best("m", 4, "euler", filled)
    filled.retract(wrong.id, "the reference was wrong")
    export_rows(path, filled)
    assert import_rows(path, store) == Imported(0, len(read_rows(path)), 1)
    assert store.row(wrong.id).retraction.reason == "the reference was wrong"
    again = best("m", 4, "euler", store)
    assert again == best("m", 4, "euler", filled) == every_kind()[0], "which stands again"
    mine = Retraction("first", at(70))
    told = replace(every_kind()[1], retraction=replace(mine, reason="second"))
    store.add([told])
    assert store.row(wrong.id).retraction.reason == "the reference was wrong", "as it was"


def test_somebody_elses_study_of_the_same_name_hides_nothing(store_here, tmp_path):
    """Both called theirs `my-study`; theirs came later and is poorer."""
    mine = publish(store_here, every_kind()[0].setting, "my-study", fid=3.0)
    theirs = row(mine.setting, "my-study", fid=5.0, status="measured", b=1.0, k=0.0)
    store_here.add([replace(theirs, origin=replace(theirs.origin, by="they@there"))])
    assert best("m", 4, store=store_here) == mine
    assert len(store_here.competing("m", {"steps": 4})) == 2


@pytest.fixture
def store_here(tmp_path):
    return Store(f"{tmp_path}/here.db")


def test_a_study_that_measures_an_imported_row_again_has_it(store_here, tmp_path):
    path, given = tmp_path / "rows.json", row(every_kind()[0].setting, "s")
    other = Store(f"{tmp_path}/other.db")
    other.add([given])
    export_rows(path, other, ["m"])
    import_rows(path, store_here)
    published = publish(store_here, given.setting, "s")
    assert published.id == given.id and store_here.counts()["rows"] == len(entries()) + 1
    assert store_here.rows(store_here.study("s").id) == [published]


def test_an_import_that_fails_in_the_store_leaves_nothing(filled, tmp_path, monkeypatch):
    path, store = tmp_path / "rows.json", Store(f"{tmp_path}/other.db")
    export_rows(path, filled)
    before = store.counts()

    def fail(*_):
        raise LambdaSearchError("The disk is full.")

    monkeypatch.setattr("lambda_search.store.adding.mark_standing", fail)
    with pytest.raises(LambdaSearchError, match="disk is full"):
        import_rows(path, store)
    assert store.counts() == before


def test_a_file_keeps_its_lines(filled, tmp_path):
    """A row a line, so that versions of a file can be compared."""
    path = tmp_path / "rows.json"
    count = export_rows(path, filled)
    lines = path.read_text().splitlines()
    assert len(lines) == count + 2 and len(json.loads(lines[1].rstrip(","))["id"]) == 64
    assert path.read_text().replace("\n", "").isprintable()
