"""A store is copied whole: between databases and back it is the same, and goes on."""

from datetime import UTC
from datetime import datetime

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from lambda_search.cli.app import app
from lambda_search.errors import UsageError
from lambda_search.records import Event
from lambda_search.store.condition import condition
from lambda_search.store.copying import backup
from lambda_search.store.copying import copy
from lambda_search.store.engine import HEAD
from lambda_search.store.engine import connected
from lambda_search.store.lookup import best
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from lambda_search.store.tables import Base
from tests.store.test_store import begin
from tests.store.test_store import row
from tests.store.test_store import trial


def content(url):
    """All rows of all tables."""
    engine = connected(url)
    with engine.connect() as connection:
        found = {
            table.name: [tuple(one) for one in connection.execute(select(table).order_by("id"))]
            for table in Base.metadata.sorted_tables
        }
    engine.dispose()
    return found


@pytest.fixture
def new_url(databases, tmp_path):
    """Makes empty databases."""
    made = []

    def new():
        made.append(databases.new(tmp_path))
        return made[-1]

    yield new
    for one in made:
        databases.drop(one)


@pytest.fixture
def filled(url, setting):
    """The URL of a store with a study that has its row, and one that waits."""
    store = Store(url)
    lease = begin(store, setting)
    store.propose(lease, [trial(0), trial(1)])
    store.say(Event("s", "note", "that happened", datetime.now(UTC)))
    store.publish(lease, row(setting))
    Queue(store).submit("waits", "name: waits", files={"a.json": b"\0\xff"})
    store.close()
    return url


def test_there_and_back_it_is_the_same(filled, new_url, tmp_path):
    """By way of SQLite, whatever it was before."""
    file, back = f"sqlite:///{tmp_path}/copy.db", new_url()
    counts = copy(filled, file)
    assert counts["ls_study"] == 2 and counts["ls_trial"] == 2 and counts["ls_file"] == 1
    copy(file, back)
    assert content(filled) == content(file) == content(back)


def test_a_copy_goes_on_where_it_was(filled, new_url, setting):
    other = new_url()
    copy(filled, other)
    store = Store(other)
    found = best(setting.model, setting.steps, store=other)
    assert found.id == best(setting.model, setting.steps, store=filled).id
    claim = Queue(store).claim(["waits"])
    assert claim is not None and claim.files == {"a.json": b"\0\xff"}
    assert Queue(store).submit("next", "name: next").id > claim.study.id
    store.close()


def test_a_store_that_holds_something_is_not_written_over(filled, new_url):
    other = new_url()
    store = Store(other)
    store.close()
    copy(filled, other)  # the catalogue's rows alone
    before = content(other)
    with pytest.raises(UsageError, match="holds 2 studies and 1 rows"):
        copy(filled, other)
    with pytest.raises(UsageError, match="the same store"):
        copy(filled, filled)
    assert content(other) == before


def test_where_no_store_is_nothing_is_copied(new_url, tmp_path):
    with pytest.raises(UsageError, match="no tables of lambda_search"):
        copy(f"sqlite:///{tmp_path}/none.db", new_url())
    with pytest.raises(UsageError, match="no tables of lambda_search"):
        copy(new_url(), f"sqlite:///{tmp_path}/other.db")
    assert not list(tmp_path.glob("none.db")) and not list(tmp_path.glob("other.db"))


def test_a_backup_is_a_store_of_one_state(filled, tmp_path):
    file = tmp_path / "100% sure?.db"
    backup(filled, file)
    assert content(filled) == content(f"sqlite:///{tmp_path}/100%25 sure%3F.db")
    assert file.stat().st_mode & 0o077 == 0
    assert [one.name for one in tmp_path.glob("100*")] == [file.name]
    with pytest.raises(UsageError, match="is there already"):
        backup(filled, file)


def test_a_backup_that_fails_leaves_nothing(filled, tmp_path):
    with pytest.raises(UsageError):
        backup("sqlite:///what?ever=1", tmp_path / "b.db")
    assert not list(tmp_path.glob("b.db*"))


def test_its_condition_is_seen_without_a_change(new_url):
    empty = new_url()
    seen = condition(empty)
    assert seen.schema is None and not seen.is_current and seen.rows == {}
    Store(empty).close()
    seen = condition(empty)
    assert seen.is_current and seen.rows["ls_study"] == 0 and seen.rows["ls_schedule"] > 0
    kind = "SQLite" if empty.startswith("sqlite") else "PostgreSQL"
    assert seen.database.startswith(f"{kind} ")


def test_the_shell_says_what_it_did_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMBDA_SEARCH_STORE", str(tmp_path / "s.db"))
    cli = CliRunner()

    def told(*words):
        return " ".join(cli.invoke(app, ["db", *words], catch_exceptions=False).output.split())

    assert "no tables yet; make them with: lambda-search db init" in told("status")
    assert not (tmp_path / "s.db").exists()
    assert f"has its tables now (schema {HEAD})" in told("init")
    assert f"is up to date (schema {HEAD})" in told("upgrade")
    assert "copied" in told("backup", str(tmp_path / "b.db"))
    assert f"schema {HEAD}, up to date" in told("status", "--store", str(tmp_path / "b.db"))
