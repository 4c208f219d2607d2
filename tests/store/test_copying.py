"""A store is copied whole: between databases and back it is the same, and goes on."""

import lzma
import sqlite3
from contextlib import closing
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
from tests.store.test_old_store import DATA
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


@pytest.fixture
def older(tmp_path):
    """The file of a store that the first release wrote, and its content."""
    path = tmp_path / "older.db"
    path.write_bytes(lzma.decompress(DATA.read_bytes()))
    return path, path.read_bytes()


def test_a_backup_of_an_older_store_is_of_that_release(older, tmp_path):
    """It is for who is about to bring the store up to date."""
    path, before = older
    counts = backup(f"sqlite:///{path}", tmp_path / "backup.db")
    assert condition(str(path)).schema == condition(str(tmp_path / "backup.db")).schema < HEAD
    assert counts == condition(str(path)).rows and counts["ls_study"] > 0
    with closing(sqlite3.connect(tmp_path / "backup.db")) as made:
        assert made.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    Store(str(tmp_path / "backup.db")).close()  # it can be gone on with
    assert condition(str(path)).schema < HEAD and path.read_bytes()[100:] == before[100:]


def test_an_older_store_is_not_brought_up_to_date_to_be_copied(older, tmp_path):
    path, _ = older
    with pytest.raises(UsageError, match="are of schema") as caught:
        copy(f"sqlite:///{path}", f"sqlite:///{tmp_path}/copy.db")
    assert f"db upgrade --store sqlite:///{path}" in caught.value.hint
    assert condition(str(path)).schema < HEAD and not (tmp_path / "copy.db").exists()


def test_looking_changes_no_byte(older, tmp_path):
    path, before = older
    assert condition(str(path)).rows["ls_trial"] > 0
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE somebody (s)")
    foreign = other.read_bytes()
    assert condition(str(other)).schema is None
    assert (path.read_bytes(), other.read_bytes()) == (before, foreign)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["older.db", "other.db"]


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
