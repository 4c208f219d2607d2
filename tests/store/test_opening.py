"""Stores as people name them and where they lie: each opens, or says in one message why not."""

import os
import shutil
import sqlite3
import stat
import tempfile
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy import make_url
from sqlalchemy import text

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.paths import store_url
from lambda_search.search.cost import check_disk
from lambda_search.store.lookup import best
from lambda_search.store.optuna_view import optuna_storage
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from tests.store.test_store import publish
from tests.test_spec import study


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    (tmp_path / "me").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("sqlite:///~/a.db", "~/b.db", "sqlite:///c.db"):
        Store(name).close()
    assert sorted(path.name for path in (tmp_path / "me").iterdir()) == ["a.db", "b.db"]
    assert (tmp_path / "c.db").is_file() and not (tmp_path / "~").exists()


@pytest.mark.parametrize("name", ["what?.db", "100%41.db", "a b#c.db", "λ 😀.db", b"caf\xe9.db"])
def test_a_path_names_the_file_of_that_name(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    Store(str(path)).close()
    assert path.is_file() and len(list(tmp_path.glob("*.db"))) == 1
    assert Store.look(str(path)).missing is None


UNUSABLE = {
    "a folder": ("{folder}", "is a folder"),
    "a device": ("/dev/null", "is not a file"),
    "a pipe": ("{folder}/pipe", "is not a file"),
    "another user's home": ("sqlite:///~nobody-of-that-name/x.db", "no such user"),
    "a path in two strokes": ("sqlite://~/x.db", "after three strokes"),
    "an option that is none": ("sqlite:///{folder}/x.db?timeout=3", "no option timeout"),
    "a driver that is none": ("postgresql+foo://u@h/d", "no driver postgresql+foo"),
    "a driver that is not here": ("sqlite+aiosqlite:///{folder}/x.db", "is"),
    "a driver of another kind": ("postgresql+asyncpg://u@h/d", "is"),
    "a null byte": ("sqlite:///{folder}/%00", "null byte"),
    "a port that is none": ("postgresql://h:port/d", "not a valid URL"),
    "two at signs": ("postgresql://u:p@ss@h/d", "more than one @"),
    "no scheme": ("postgres//u:p@h/d", "neither a URL nor a path"),
    "one stroke": ("postgresql:/u:p@h/d", "neither a URL nor a path"),
}


@pytest.mark.parametrize(("address", "words"), UNUSABLE.values(), ids=UNUSABLE)
def test_an_address_that_is_of_no_use_is_one_message(tmp_path, address, words, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError) as caught:
        Store(address.format(folder=tmp_path))
    assert words in caught.value.cause and caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
    Store.look(f"{tmp_path}/none.db").close()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_newer_or_foreign_file_is_one_message(tmp_path):
    path = tmp_path / "s.db"
    Store(str(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE ls_alembic_version SET version_num = '9999'")
    with pytest.raises(UsageError, match="a newer lambda_search"):
        best("m", 4, store=str(path))
    path.write_text("no database" * 500)
    with pytest.raises(LambdaSearchError, match="not a database"):
        best("m", 4, store=str(path))


def test_files_are_for_their_user_alone(tmp_path, home, monkeypatch):
    old = os.umask(0o022)
    try:
        store = Store()
        store.retract(best("adm-cifar10", 20, store=store).id, "no")
        kept = [home, *home.iterdir()]
    finally:
        os.umask(old)
    assert len(kept) == 4, "the folder, the database and its log"
    for path in kept:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def modes(*paths):
    return [oct(stat.S_IMODE(path.stat().st_mode)) for path in paths]


def test_what_the_first_release_left_open_is_closed(home, tmp_path):
    Store().close()
    file, elsewhere = home / "lambda_search.db", tmp_path / "elsewhere"
    for folder, database, then in (
        (0o755, 0o644, ["0o700", "0o600"]),
        (0o750, 0o640, ["0o700", "0o600"]),
        (0o770, 0o660, ["0o770", "0o660"]),  # a group's, on purpose
    ):
        home.chmod(folder)
        file.chmod(database)
        Store().close()
        assert modes(home, file) == then
    elsewhere.mkdir()
    shutil.copy(file, elsewhere / "x.db")
    elsewhere.chmod(0o755)
    (elsewhere / "x.db").chmod(0o644)
    Store(f"{elsewhere}/x.db").close()
    assert modes(elsewhere, elsewhere / "x.db") == ["0o755", "0o644"]
    home.chmod(0o755)
    check_disk([])  # of a launch, wherever its store is
    assert modes(home) == ["0o700"]


def as_another_user(action):
    """What `action` returns, or the error that it raises, as text; root may write everything."""
    if os.getuid() != 0:
        return _told(action)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        os.write(writing, _told(action).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        told = stream.read()
    os.waitpid(child, 0)
    return told


def _told(action):
    try:
        return str(action())
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@pytest.fixture
def read_only(setting):
    """The path of a store in a folder of its own, and what closes that for writing."""
    folder = Path(tempfile.mkdtemp())  # not below pytest's, which is closed to others
    path = folder / "s.db"
    store = Store(str(path))
    publish(store, setting)
    store.close()

    def close():
        for one in folder.iterdir():
            one.chmod(0o444)
        folder.chmod(0o555)

    yield path, close
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_what_can_only_be_read_answers_and_takes_nothing(read_only):
    path, close = read_only
    close()

    def action():
        store = Store(str(path))
        found = best("m", 4, store=store).fid, best("adm-cifar10", 20, store=str(path)).fid
        refused = _told(lambda: Queue(store).submit("new", "name: new"))
        return f"{found} {store.study('s').state} {refused}"

    told = as_another_user(action)
    assert told.startswith("(5.0, 4.31) done LambdaSearchError: The store"), told
    assert f"{path} can only be read" in told and "Copy it" in told
    assert [one.name for one in path.parent.iterdir()] == ["s.db"]


def test_an_address_may_ask_for_reading_alone(cli, tmp_path):
    path = tmp_path / "s.db"
    Store(str(path)).close()
    address = f"sqlite:///file:{path}?mode=ro&uri=true"
    assert best("adm-cifar10", 20, store=address).fid == 4.31
    (tmp_path / "a.yaml").write_text(study())
    for command in ("submit", "launch"):
        code, _, err = cli(command, tmp_path / "a.yaml", "--store", address)
        assert code == 1 and "can only be read" in err and "Copy it" in err
    assert cli("drive", "--until-empty", "--store", address)[0] == 1


def test_changes_that_cannot_be_seen_are_not_left_out(read_only):
    path, close = read_only
    store = Store(str(path))
    Queue(store).submit("later", "name: later")
    log = path.with_name("s.db-wal").read_bytes()
    store.close()
    path.with_name("s.db-wal").write_bytes(log)
    close()
    told = as_another_user(lambda: Store(str(path)))
    assert "has changes in s.db-wal" in told and "Copy both files" in told


def test_an_older_one_that_can_only_be_read_says_so(read_only):
    path, close = read_only
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE ls_alembic_version SET version_num = '0002'")
    connection.close()
    close()
    told = as_another_user(lambda: Store(str(path)))
    assert "can only be read, and holds tables of an older one" in told


def test_a_catalogue_that_cannot_be_completed_answers_whole(postgres):
    url = postgres.new_database()
    Store(url).close()
    owner = create_engine(store_url(url), isolation_level="AUTOCOMMIT")
    with owner.connect() as connection:
        for statement in (
            "DELETE FROM ls_schedule WHERE entry LIKE 'adm-cifar10/%'",
            "CREATE ROLE reader LOGIN",
            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
        ):
            connection.execute(text(statement))
    owner.dispose()
    reader = make_url(url).set(username="reader").render_as_string(hide_password=False)
    store = Store(reader)
    assert best("adm-cifar10", 20, store=store).fid == 4.31
    assert len(store.lookup_rows()) == len(Store("sqlite://").lookup_rows())
    with pytest.raises(LambdaSearchError, match="permission denied"):
        Queue(store).submit("new", "name: new")
    store.close()


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_file_that_goes_away_is_noticed(tmp_path, how):
    path = tmp_path / "s.db"
    store = Store(str(path))
    path.rename(tmp_path / "moved.db")
    if how == "replaced":
        shutil.copy(tmp_path / "moved.db", path)
    for action in (store.counts, lambda: Queue(store).submit("s", "name: s")):
        with pytest.raises(LambdaSearchError, match="removed or replaced"):
            action()
    assert path.exists() == (how == "replaced"), "it is not made anew"


def _foreign(url):
    """All that lies in tables that are not ours."""
    engine = create_engine(store_url(url))
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            names = "SELECT name FROM sqlite_master WHERE type = 'table'"
        else:
            names = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        found = {
            name: connection.execute(text(f"SELECT * FROM {name}")).fetchall()
            for name in sorted(connection.execute(text(names)).scalars())
            if not name.startswith(("ls_", "sqlite_"))
        }
    engine.dispose()
    return found


@pytest.mark.parametrize("version", ["of now", "2.10.0"])
def test_a_foreign_optuna_study_of_the_same_name_stays_untouched(url, setting, version):
    import optuna

    theirs = optuna.create_study(study_name="s", storage=store_url(url), direction="maximize")
    theirs.set_user_attr("whose", "theirs")
    theirs.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    if version != "of now":
        engine = create_engine(store_url(url))
        with engine.begin() as connection:
            connection.execute(text("UPDATE version_info SET library_version = '2.10.0'"))
            connection.execute(text("UPDATE alembic_version SET version_num = 'v2.6.0.a'"))
        engine.dispose()
    before = _foreign(url)
    assert before["trials"] and before["alembic_version"]
    store = Store(url)
    publish(store, setting)
    assert [study.study_name for study in optuna_storage(store).get_all_studies()] == ["s"]
    Queue(store).submit("t", "name: t")
    Queue(store).stop("t")
    store.close()
    assert _foreign(url) == before
