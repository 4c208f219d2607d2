"""One contract, every backend."""

import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy import inspect

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import NoScheduleFound
from lambda_search.errors import UsageError
from lambda_search.paths import store_url
from lambda_search.store import engine as store_engine
from lambda_search.store.leases import LeaseLost
from lambda_search.store.lookup import best
from lambda_search.store.store import Store
from lambda_search.store.tables import Base
from lambda_search.store.tables import Evaluation
from lambda_search.store.tables import ScheduleRow
from lambda_search.store.tables import Study
from lambda_search.store.tables import Trial

IDENTITY = {"seed": 0, "device": "cpu"}


def trial(study, number, generation=0):
    return Trial(
        study_id=study.id, number=number, generation=generation, b=1.0, k=0.0, mean=1.0, slope=0.0
    )


def evaluation(study, name, gain=0.5):
    numbers = dict.fromkeys(("fid", "corrected", "raw_gain", "gain_standard_error"), 1.0)
    return Evaluation(
        study_id=study.id,
        fingerprint=name,
        trial=0,
        phase="search",
        first_index=0,
        n=32,
        standard_error=0.1,
        gain=gain,
        correlation=0.9,
        **numbers,
    )


def row(study, fid=5.0, status="confirmed", b=1.01):
    intervals = dict.fromkeys(
        ("fid_low", "fid_high", "baseline_fid", "baseline_low", "baseline_high"), 6.0
    )
    return ScheduleRow(
        setting_id=study.setting_id,
        study_id=study.id,
        trial=1,
        b=b,
        k=0.001,
        lambdas=[b, b + 0.001, b + 0.002, b + 0.003],
        status=status,
        verdict="",
        n=100,
        fid=fid,
        gain=1.0,
        gain_low=0.5,
        gain_high=1.5,
        gain_level=0.95,
        provenance={"study": study.name},
        **intervals,
    )


@pytest.fixture
def study(store, setting):
    return store.register("s", setting, "name: s", 4)


def test_schema_is_what_the_tables_say(store):
    engine = create_engine(store_url(store.url))
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": store_engine.VERSION_TABLE,
                "include_name": lambda name, kind, _: kind != "table" or name.startswith("ls_"),
            },
        )
        assert compare_metadata(context, Base.metadata) == []


def test_head_is_the_newest_migration():
    assert ScriptDirectory("lambda_search/store/migrations").get_heads() == [store_engine.HEAD]


def test_lives_beside_optuna_whoever_comes_first(url):
    from optuna.storages import RDBStorage

    RDBStorage(store_url(url))
    store = Store(url)
    names = inspect(create_engine(store.url)).get_table_names()
    assert {"alembic_version", "ls_alembic_version", "trials", "ls_trial"} <= set(names)
    RDBStorage(store.url)
    Store(url).close()


def test_many_open_an_empty_database_at_once(url):
    errors = []

    def opener():
        try:
            Store(url).close()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=opener) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_register_is_idempotent_and_refuses_another_setting(store, setting, study):
    again = store.register("s", setting, "name: s2", 4)
    assert (again.id, again.spec) == (study.id, "name: s")
    with pytest.raises(UsageError, match="steps is 4"):
        store.register("s", setting.model_copy(update={"steps": 5}), "", 5)
    assert store.study("s").spec == "name: s"
    with pytest.raises(UsageError, match="There is no study 'x'"):
        store.study("x")


def test_a_generation_is_all_or_nothing(store, study):
    lease = store.acquire(study, "name: s", IDENTITY)
    with pytest.raises(LambdaSearchError):
        store.propose(lease, [trial(study, 0), trial(study, 1), trial(study, 1)])
    assert store.trials(study.id) == []
    store.propose(lease, [trial(study, 1), trial(study, 0)])
    assert [t.number for t in store.trials(study.id)] == [0, 1]


def test_closing_a_rung_is_one_transaction(store, study):
    lease = store.acquire(study, "name: s", IDENTITY)
    store.propose(lease, [trial(study, 0)])
    [first] = store.trials(study.id)
    first.state, first.n, first.gain, first.fid = "complete", 32, 0.25, 7.5
    with pytest.raises(LambdaSearchError):
        store.close_rung(lease, [evaluation(study, "a"), evaluation(study, "a")], [first])
    assert store.evaluations(study.id) == []
    assert store.trials(study.id)[0].finished is None
    store.close_rung(lease, [evaluation(study, "a")], [first])
    [stored] = store.trials(study.id)
    assert (stored.state, stored.n, stored.gain, stored.fid) == ("complete", 32, 0.25, 7.5)
    assert stored.finished is not None and stored.finished.tzinfo is not None
    assert [e.fingerprint for e in store.evaluations(study.id)] == ["a"]


def test_a_living_driver_keeps_its_study(store, study):
    store.acquire(study, "name: s", IDENTITY)
    with pytest.raises(LambdaSearchError, match="is being driven by process"):
        store.acquire(study, "name: s", IDENTITY)
    assert store.study("s").state == "running"
    assert not store.is_abandoned(store.study("s"))


@pytest.mark.parametrize("how", ["dead process", "expired lease"])
def test_an_abandoned_study_is_taken_over_and_the_old_driver_cannot_write(
    store, study, how, monkeypatch
):
    from lambda_search.store import leases

    if how == "dead process":
        monkeypatch.setattr(
            leases,
            "_me",
            lambda: {"host": leases.socket.gethostname(), "pid": 2**22 + 1, "started": 0},
        )
    else:
        monkeypatch.setattr(leases, "_me", lambda: {"host": "elsewhere", "pid": 1, "started": 0})
        monkeypatch.setattr(leases, "LEASE_SECONDS", -1.0)
    old = store.acquire(study, "name: s", IDENTITY)
    assert store.is_abandoned(store.study("s"))
    monkeypatch.undo()
    new = store.acquire(study, "name: s", IDENTITY)
    assert new.fence > old.fence
    for write in (
        lambda: store.propose(old, [trial(study, 0)]),
        lambda: store.publish(old, row(study)),
        lambda: store.close_rung(old, [evaluation(study, "a")]),
        lambda: store.renew(old),
    ):
        with pytest.raises(LeaseLost):
            write()
    store.release(old, "failed")
    assert store.study("s").state == "running"
    store.propose(new, [trial(study, 0)])
    store.release(new, "done")
    assert store.study("s").state == "done"
    assert store.rows(study.id) == []


def test_best_prefers_confirmed_then_fid_and_says_what_it_lacks(store, setting, study):
    lease = store.acquire(study, "name: s", IDENTITY)
    store.publish(lease, row(study, fid=1.0, status="measured", b=1.001))
    store.publish(lease, row(study, fid=5.0, b=1.002))
    found = best("m", 4, store=store)
    assert (found.status, found.fid, found.schedule.b) == ("confirmed", 5.0, 1.002)
    assert found.setting == setting
    store.publish(lease, row(study, fid=5.5, b=1.003))
    assert best("m", 4, store=store).schedule.b == 1.003, "the newest row of a setting stands"
    assert best("m", 4, "ancestral", store, variance="small", extractor="bundled").n == 100
    for asked in ({"sampler": "ddim"}, {"eta": 0.5}, {"guidance": 2.0}):
        with pytest.raises(NoScheduleFound, match="It has:\n  m  4 steps"):
            best("m", 4, store=store, **asked)
    with pytest.raises(NoScheduleFound, match="Models with rows: m"):
        best("other", 4, store=store)
    with pytest.raises(UsageError, match="no field 'samplr'"):
        best("m", 4, store=store, samplr="ddim")


def test_best_never_ranks_across_metrics(store, setting, study):
    lease = store.acquire(study, "name: s", IDENTITY)
    store.publish(lease, row(study))
    other = store.register("t", setting.model_copy(update={"extractor": "dinov2@9"}), "", 4)
    store.publish(store.acquire(other, "", IDENTITY), row(other))
    with pytest.raises(UsageError, match="cannot be compared"):
        best("m", 4, store=store)
    assert best("m", 4, store=store, extractor="dinov2").setting.extractor == "dinov2@9"


def test_studies_are_listed_latest_first(store, setting, study):
    store.register("t", setting, "", 4)
    lease = store.acquire(store.study("s"), "name: s", IDENTITY)
    store.renew(lease)
    assert [one.name for one in store.studies()] == ["s", "t"]
    assert all(isinstance(one, Study) for one in store.studies())


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("mysql://x/y", UsageError),
        ("nonsense://", UsageError),
        ("postgresql://127.0.0.1:1/x", LambdaSearchError),
        ("sqlite:////proc/nowhere/x.db", LambdaSearchError),
        ("/dev/null/x.db", LambdaSearchError),
    ],
)
def test_an_unusable_store_is_one_clear_error(address, error):
    with pytest.raises(error) as caught:
        Store(address)
    assert caught.value.hint


def test_a_file_that_is_no_database_is_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("x" * 5000)
    with pytest.raises(LambdaSearchError, match="not a database"):
        Store(str(path))
    assert path.read_text() == "x" * 5000


def test_the_lease_brings_the_file_and_holds_the_identity(store, study):
    lease = store.acquire(study, "name: s2", IDENTITY)
    assert store.study("s").spec == "name: s2"
    store.release(lease, "stopped")
    with pytest.raises(UsageError, match="was begun with seed 0; this is seed 1") as caught:
        store.acquire(study, "name: s3", IDENTITY | {"seed": 1})
    assert "another name" in caught.value.hint
    assert (store.study("s").spec, store.study("s").state) == ("name: s2", "stopped")


def test_publishing_ends_the_study_in_one_transaction(store, study):
    lease = store.acquire(study, "", IDENTITY)
    with pytest.raises(LambdaSearchError):
        store.publish(lease, row(study), [evaluation(study, "a"), evaluation(study, "a")])
    assert (store.rows(study.id), store.study("s").state) == ([], "running")
    store.publish(lease, row(study), [evaluation(study, "a")])
    assert (len(store.rows(study.id)), store.study("s").state) == (1, "done")
    store.release(lease, "stopped")
    assert store.study("s").state == "done", "what has ended stays ended"


def test_looking_up_makes_no_files(tmp_path):
    with pytest.raises(NoScheduleFound, match="no store at"):
        best("m", 4, store=f"{tmp_path}/typo.db")
    assert list(tmp_path.glob("typo*")) == []
