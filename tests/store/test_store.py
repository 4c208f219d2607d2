"""One contract, every backend."""

import json
import threading
from dataclasses import replace
from datetime import UTC
from datetime import datetime

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
from lambda_search.records import Candidate
from lambda_search.records import Evaluation
from lambda_search.records import Figures
from lambda_search.records import Identity
from lambda_search.records import Image
from lambda_search.records import Interval
from lambda_search.records import Origin
from lambda_search.records import Provenance
from lambda_search.records import Row
from lambda_search.records import Trial
from lambda_search.schedule import LambdaSchedule
from lambda_search.store import engine as store_engine
from lambda_search.store.lookup import best
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from lambda_search.store.tables import Base

IDENTITY = Identity(0, "cpu", "philox", 1, {"torch": "2"})


def trial(number, generation=0):
    return Trial(number, generation, LambdaSchedule(), 1.0, 0.0)


def evaluation(name, gain=0.5):
    return Evaluation(0, "search", 0, 32, 1.0, 1.0, 0.1, gain, 1.0, 1.0, 0.9, name)


def row(setting, study="s", fid=5.0, status="confirmed", b=1.01, k=0.001, n=100, gain=1.0):
    schedule = LambdaSchedule(b, k)
    chosen = Candidate(
        trial=1,
        b=b,
        k=k,
        fid=fid,
        corrected=fid - 0.5,
        gain=gain,
        raw_gain=1.1,
        gain_standard_error=0.2,
        correlation=0.9,
        fid_at_infinity=fid - 1.0,
    )
    return Row(
        schedule=schedule,
        lambdas=schedule.values(setting.steps),
        setting=setting,
        status=status,
        verdict="",
        n=n,
        fid=fid,
        fid_interval=Interval(fid - 1, fid + 1),
        baseline_fid=6.0,
        baseline_interval=Interval(5.0, 7.0),
        gain=gain,
        gain_interval=Interval(gain - 0.5, gain + 0.5, 0.975),
        provenance=Provenance(
            study=study,
            extractor=setting.extractor,
            reference=setting.reference,
            seed=0,
            confirm_indices=(10**6, 10**6 + n),
            baseline=Figures(6.0, 5.5),
            candidates=(chosen,),
            trial=1,
            identity=IDENTITY,
        ),
        origin=Origin("me", "lambda-search"),
        created=datetime.now(UTC),
    )


def begin(store, setting, name="s", spec="name: s", identity=IDENTITY):
    """A driver takes the study and says what it holds for."""
    queue = Queue(store)
    queue.submit(name, spec)
    claim = queue.claim([name])
    if claim is None:
        return None
    try:
        queue.bind(claim.lease, setting, setting.steps, identity)
    except LambdaSearchError:
        queue.end(claim.lease, "failed", "failed", "no")
        raise
    return claim.lease


def publish(store, setting, name="s", **values):
    lease = begin(store, setting, name, spec=f"name: {name}  # {values}")
    return store.publish(lease, row(setting, name, **values))


@pytest.fixture
def lease(store, setting):
    return begin(store, setting)


@pytest.fixture
def study(store, lease):
    return store.study("s")


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


def test_a_generation_is_all_or_nothing(store, lease):
    with pytest.raises(LambdaSearchError):
        store.propose(lease, [trial(0), trial(1), trial(1)])
    assert store.trials(lease.study_id) == []
    store.propose(lease, [trial(1), trial(0)])
    assert [t.number for t in store.trials(lease.study_id)] == [0, 1]
    store.propose(lease, [trial(0), trial(1)])  # tried again: it is there
    assert [t.number for t in store.trials(lease.study_id)] == [0, 1]


def test_closing_a_rung_is_one_transaction(store, lease):
    store.propose(lease, [trial(0), trial(1)])
    ended = replace(trial(0), state="complete", n=32, gain=0.25, fid=7.5)
    bad = replace(trial(1), state="diverged", reason="NaN")
    with pytest.raises(LambdaSearchError):
        store.close_rung(lease, [evaluation("a"), evaluation("a")], [ended])
    assert store.evaluations(lease.study_id) == []
    assert store.trials(lease.study_id)[0].finished is None
    for _ in range(2):
        store.close_rung(lease, [evaluation("a")], [ended, bad])
    stored, diverged = store.trials(lease.study_id)
    assert (stored.state, stored.n, stored.gain, stored.fid) == ("complete", 32, 0.25, 7.5)
    assert stored.finished is not None and stored.finished.tzinfo is not None
    assert (diverged.state, diverged.reason, diverged.n) == ("diverged", "NaN", None)
    assert store.evaluations(lease.study_id) == [evaluation("a")]


def test_publishing_ends_the_study_in_one_transaction(store, setting, lease):
    with pytest.raises(LambdaSearchError):
        store.publish(lease, row(setting), [Image("nothing", None)])
    assert (store.rows(lease.study_id), store.study("s").state) == ([], "running")
    picture = Image("λ = 1", b"PNG")
    told = replace(row(setting), provenance=replace(row(setting).provenance, preview="p"))
    published = store.publish(lease, told, [picture])
    assert store.publish(lease, told, [picture]) == published, "tried again"
    assert (len(store.rows(lease.study_id)), store.study("s").state) == (1, "done")
    assert store.images("p") == [picture]
    assert [attempt.outcome for attempt in store.study("s").attempts] == ["done"]


def test_a_row_reads_back_with_its_id_in_every_store(store, setting, tmp_path):
    given = row(setting)
    published = store.publish(begin(store, setting), given)
    assert published == replace(given, created=published.created)
    assert published.id == given.id and store.row(given.id[:12]) == published
    assert Row.from_json(json.loads(json.dumps(published.to_json()))) == published
    other = Store(f"{tmp_path}/other.db")
    assert publish(other, setting).id == published.id, "the same content, the same id"
    assert row(setting, b=1.02).id != published.id


def test_a_row_names_its_reference_as_its_study_did(store, setting):
    publish(store, setting, "s")
    renamed = setting.model_copy(update={"reference": "other-name@2"})
    publish(store, renamed, "t")
    assert renamed.key == setting.key
    names = {found.setting.reference for found in store.lookup_rows("m")}
    assert names == {"bundled:x@2", "other-name@2"}
    assert best("m", 4, store=store, reference="other-name").provenance.study == "t"


def test_a_retraction_is_a_record_of_its_own(store, setting):
    published = publish(store, setting)
    taken_back = store.retract(published.id[:10], "the reference was wrong")
    assert taken_back.id == published.id and store.row(published.id) == taken_back
    assert taken_back.retraction.reason == "the reference was wrong"
    with pytest.raises(NoScheduleFound):
        best("m", 4, store=store)
    with pytest.raises(UsageError, match="was taken back before: the reference was wrong"):
        store.retract(published.id, "again")
    with pytest.raises(UsageError, match="No row is named ffff"):
        store.retract("ffff", "typo")


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


def test_looking_up_makes_no_files(tmp_path):
    with pytest.raises(NoScheduleFound, match="no store at"):
        best("m", 4, store=f"{tmp_path}/typo.db")
    assert list(tmp_path.glob("typo*")) == []


def test_the_picture_of_an_evaluation_is_kept_once_whoever_made_it(store, setting, lease):
    pictured = replace(evaluation("a"), picture=b"PNG")
    other = begin(store, setting, "other")
    for one in (lease, lease, other):
        store.close_rung(one, [pictured])
    assert [image.content for image in store.images("a")] == [b"PNG"]
    assert store.evaluations(other.study_id) == [evaluation("a")]
