"""A store in a file and drivers on two hosts: the second is refused, and told where to go."""

import pytest

from lambda_search.errors import UsageError
from lambda_search.launching import prepare
from lambda_search.machine import running_system
from lambda_search.store import leases
from lambda_search.store import one_host
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from lambda_search.studies import written


@pytest.fixture
def elsewhere(monkeypatch, home):
    """Has what follows happen on a host that shares the store and nothing else."""

    def go():
        for module in (leases, one_host):
            monkeypatch.setattr(module, "running_system", lambda: "another's boot")
        monkeypatch.setattr(leases, "_held", {})
        monkeypatch.setenv("LAMBDA_SEARCH_HOME", str(home / "another"))

    return go


@pytest.fixture
def driven(store):
    """A store of two studies, one of which this host drives."""
    for name in ("a", "b"):
        Queue(store).submit(name, f"name: {name}")
    return store, Queue(store).claim()


def test_a_file_serves_the_drivers_of_one_host_and_a_server_those_of_all(driven, elsewhere):
    store, claim = driven
    elsewhere()
    if not store.is_file:
        assert Queue(store).claim().study.name == "b"
        return
    for refused in (Queue(store).claim, Queue(store).check_one_host):
        with pytest.raises(UsageError, match=r"file of SQLite.*process \d+ on ") as caught:
            refused()
        assert f"db copy {store.address} postgresql://" in caught.value.hint
    assert store.study("b").state == "queued"
    Queue(store).end(claim.lease, "queued", "stopped")
    assert Queue(store).claim().study.name == "a", "it may move from host to host"


def test_one_that_died_elsewhere_is_waited_for_and_taken_over(driven, elsewhere, monkeypatch):
    store, claim = driven
    elsewhere()
    clock = leases.database_seconds
    for module in (leases, one_host, "lambda_search.store.claiming"):
        name = module if isinstance(module, str) else module.__name__
        monkeypatch.setattr(
            f"{name}.database_seconds", lambda one: clock(one) + leases.LEASE_SECONDS
        )
    taken = Queue(store).claim()
    assert (taken.study.name, taken.lease.fence) == ("a", claim.lease.fence + 1)


def test_a_container_of_this_host_is_no_other_host(driven, monkeypatch):
    store, _ = driven
    monkeypatch.setattr("socket.gethostname", lambda: "c0ffee")
    assert Queue(store).claim().study.name == "b"


def test_a_driver_goes_on_though_its_host_is_called_otherwise(driven, monkeypatch):
    store, _ = driven
    for module in (leases, one_host):
        monkeypatch.setattr(module, "running_system", lambda: "a-laptop-elsewhere")
    assert Queue(store).claim().study.name == "b"


def test_the_drivers_of_an_older_release_do_not_say_where_they_run(driven, elsewhere, monkeypatch):
    store, claim = driven

    def change(session):
        study = session.get(leases.StudyRow, claim.study.id)
        study.owner = {name: one for name, one in study.owner.items() if name != "system"}

    store.write(change)
    elsewhere()
    assert Queue(store).claim().study.name == "b"


def test_a_system_is_told_from_another_by_its_start(monkeypatch, tmp_path):
    here = running_system()
    assert here == running_system() and here
    (tmp_path / "boot").write_text("another\n")
    monkeypatch.setattr("lambda_search.machine._BOOT", tmp_path / "boot")
    assert running_system() == "another"
    monkeypatch.setattr("lambda_search.machine._BOOT", tmp_path / "none")
    monkeypatch.setattr("socket.gethostname", lambda: "a-mac")
    assert running_system() == "a-mac"


@pytest.mark.parametrize("command", ["drive", "launch"])
def test_a_command_is_refused_before_anything_starts(
    command, home, cli, elsewhere, monkeypatch, study_file
):
    store = Store()
    Queue(store).submit("a", "name: a")
    Queue(store).claim()
    elsewhere()
    monkeypatch.setattr(f"lambda_search.cli.commands.{command}.Opening", None)  # cannot be called
    studies = [study_file] if command == "launch" else []
    code, _, err = cli(command, *studies, "--store", store.url)
    words = " ".join(err.split())
    assert code == 2 and "serves the drivers of one host" in words and "db copy" in words


def test_a_launch_in_python_is_refused_before_it_reads_a_model(home, elsewhere, study_file):
    store = Store()
    Queue(store).submit("a", "name: a")
    Queue(store).claim()
    elsewhere()
    with pytest.raises(UsageError, match="serves the drivers of one host"):
        prepare(written(study_file), store, begin=lambda study: pytest.fail("it began"))
