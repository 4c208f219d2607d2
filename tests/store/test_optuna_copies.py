"""Copies of studies in an Optuna storage of the user's own."""

import warnings
from dataclasses import replace

import optuna
import pytest

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.store.optuna_view import optuna_storage
from lambda_search.store.optuna_view.copying import copy_studies
from lambda_search.store.optuna_view.targets import open_target
from tests.store.optuna_study import fill
from tests.store.optuna_study import go_on


@pytest.fixture
def lease(store, setting):
    return fill(store, setting)


URL = pytest.param("sqlite:///{}/copy.db", marks=pytest.mark.slow)


@pytest.fixture(params=[URL, "{}/a % copy?.db", "{}/copy.log"])
def target(request, tmp_path):
    return request.param.format(tmp_path)


def told(study):
    """All that Optuna says of a study, without the ids of its storage."""
    return [
        {**vars(trial), "_trial_id": 0, "_system_attrs": None} for trial in study.trials
    ], study.user_attrs


def outcomes(*arguments, **options):
    return [one.outcome for one in copy_studies(*arguments, **options)]


def test_a_copy_says_the_same_in_every_storage(store, lease, target):
    assert outcomes(store, ["s"], target) == ["written"]
    view = optuna.load_study(study_name="s", storage=optuna_storage(store))
    copy = optuna.load_study(study_name="s", storage=open_target(target))
    assert told(copy) == told(view) and copy.direction == view.direction
    assert copy.best_trial.number == 1 and copy.metric_names == view.metric_names
    assert outcomes(store, ["s"], target) == ["unchanged"]


def test_a_study_that_has_gone_on_is_written_anew(store, lease, target):
    copy_studies(store, ["s"], target)
    go_on(store, lease)
    assert outcomes(store, ["s"], target) == ["written anew"]
    copy = optuna.load_study(study_name="s", storage=open_target(target))
    view = optuna.load_study(study_name="s", storage=optuna_storage(store))
    assert told(copy) == told(view)
    assert copy.trials[4].state == optuna.trial.TrialState.COMPLETE


@pytest.mark.parametrize(
    "change",
    [
        lambda study: study.set_user_attr("mine", 1),
        lambda study: study.enqueue_trial({"mean": 1.0, "slope": 0.0}),
        lambda study: study._storage.set_study_system_attr(
            study._study_id, "dashboard:note_str:0", "my note"
        ),
    ],
)
def test_what_its_user_added_to_a_copy_is_never_lost(store, lease, target, change):
    copy_studies(store, ["s"], target)
    change(optuna.load_study(study_name="s", storage=open_target(target)))
    assert outcomes(store, ["s"], target) == ["unchanged"]
    go_on(store, lease)
    before = told(optuna.load_study(study_name="s", storage=open_target(target)))
    with pytest.raises(UsageError, match="was changed there since it was written"):
        copy_studies(store, ["s"], target)
    assert told(optuna.load_study(study_name="s", storage=open_target(target))) == before


def test_a_study_of_that_name_that_is_no_copy_is_never_touched(store, setting, lease, target):
    fill(store, setting, "other")
    foreign = optuna.create_study(study_name="s", storage=open_target(target))
    foreign.add_trial(optuna.create_trial(value=1.0))
    with pytest.raises(UsageError, match="a study 's' already that is not from lambda_search"):
        copy_studies(store, ["other", "s"], target)
    storage = open_target(target)
    assert optuna.study.get_all_study_names(storage) == ["s"], "nothing is written then"
    assert told(optuna.load_study(study_name="s", storage=storage)) == told(foreign)


def test_a_copy_of_another_stores_study_is_never_touched(store, setting, lease, target, tmp_path):
    from lambda_search.store.store import Store

    other = Store(f"{tmp_path}/other.db")
    fill(other, setting)
    copy_studies(other, ["s"], target)
    with pytest.raises(UsageError, match="a copy of another study"):
        copy_studies(store, ["s"], target)


def test_a_copy_that_was_interrupted_is_written_anew(store, lease, target, monkeypatch):
    from optuna.storages import BaseStorage

    storage = open_target(target)
    kind = type(storage)
    create, calls = kind.create_new_trial, []

    def fails(self, *arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return create(self, *arguments, **options)

    assert issubclass(kind, BaseStorage)
    monkeypatch.setattr(kind, "create_new_trial", fails)
    with pytest.raises(LambdaSearchError, match="No space left on device"):
        copy_studies(store, ["s"], target)
    monkeypatch.setattr(kind, "create_new_trial", create)
    assert outcomes(store, ["s"], target) == ["written anew"]
    assert len(optuna.load_study(study_name="s", storage=open_target(target)).trials) == 5


def test_no_store_of_ours_is_a_target(store, lease, tmp_path):
    before = store.counts()
    link = tmp_path / "link.db"
    addresses = [store.url]
    if store.url.startswith("sqlite"):
        path = store.url.removeprefix("sqlite:///")
        link.symlink_to(path)
        addresses += [path, str(link), f"sqlite:///{link}"]
    for address in addresses:
        with pytest.raises(UsageError, match="is a store of lambda_search"):
            copy_studies(store, ["s"], address)
    assert store.counts() == before


@pytest.mark.parametrize(
    "address",
    [
        "nonsense://",
        "sqlite://",
        "postgresql://me:secret@127.0.0.1:1/x",
        "postgresql://me:secret@127.0.0.1:port/x",
        "notes.txt",
        "damaged.log",
        "nowhere/copy.log",
        ".",
    ],
)
def test_an_unusable_target_is_one_clear_error(store, lease, tmp_path, monkeypatch, address):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("dear diary\n")
    (tmp_path / "damaged.log").write_text('{"op_code":0,\n{"op_code":0,\n')
    with pytest.raises(LambdaSearchError) as caught:
        copy_studies(store, ["s"], address)
    assert "sqlite:///" in caught.value.hint and "secret" not in str(caught.value)
    assert (tmp_path / "notes.txt").read_text() == "dear diary\n"


def test_pictures_go_along_where_a_folder_is_named(store, lease, target, tmp_path):
    copy_studies(store, ["s"], target)
    bare = optuna.load_study(study_name="s", storage=open_target(target))
    assert not any(names_of(bare, trial) for trial in bare.trials), "no picture that is not there"
    folder = tmp_path / "pictures"
    assert outcomes(store, ["s"], target, artifacts=folder) == ["written anew"]
    copy = optuna.load_study(study_name="s", storage=open_target(target))
    [picture] = names_of(copy, copy.trials[1])
    files = optuna.artifacts.FileSystemArtifactStore(folder)
    optuna.artifacts.download_artifact(
        artifact_store=files, artifact_id=picture, file_path=str(tmp_path / "picture.png")
    )
    assert (tmp_path / "picture.png").read_bytes() == b"PNG 1"


def names_of(study, trial):
    found = optuna.artifacts.get_all_artifact_meta(trial, storage=study._storage)
    return [one.artifact_id for one in found]


def test_a_copy_is_an_ordinary_study(store, lease, target):
    """Another tool's next step: it may go on with it."""
    copy_studies(store, ["s"], target)
    study = optuna.load_study(
        study_name="s", storage=open_target(target), sampler=optuna.samplers.RandomSampler(0)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        space = study.trials[1].distributions
        trial = study.ask(space)
    study.tell(trial, 0.5)
    assert len(study.trials) >= 5
    assert replace(store.study("s")) == store.study("s")
