"""Optuna's own readers on a store."""

import io
import json
import time
import warnings
from dataclasses import replace
from datetime import datetime
from datetime import timedelta

import optuna
import pytest

from lambda_search.events import Events
from lambda_search.store.optuna_view import METRIC_NAME
from lambda_search.store.optuna_view import ReadOnly
from lambda_search.store.optuna_view import optuna_storage
from lambda_search.store.optuna_view.artifacts import Pictures
from lambda_search.store.optuna_view.dashboard import dashboard_app
from lambda_search.store.queue import Queue
from tests.store.optuna_study import STUDY
from tests.store.optuna_study import fill
from tests.store.optuna_study import go_on
from tests.store.optuna_study import scored
from tests.store.test_store import begin
from tests.store.test_store import row
from tests.store.test_store import trial


@pytest.fixture
def lease(store, setting):
    return fill(store, setting)


@pytest.fixture
def view(store, lease):
    return optuna_storage(store)


def test_optuna_reads_trials_as_they_were(view, store):
    study = optuna.load_study(study_name="s", storage=view)
    assert [one.state.name for one in study.trials] == [
        "COMPLETE",
        "COMPLETE",
        "PRUNED",
        "FAIL",
        "RUNNING",
    ]
    assert [one.value for one in study.trials] == [0.0, -0.5, 0.25, None, None]
    best = study.best_trial
    assert (best.number, best.params) == (1, {"mean": 1.01, "slope": 0.001})
    assert best.intermediate_values == {32: -0.4, 64: -0.5}
    assert best.user_attrs["b"] == 1.01 and best.user_attrs["n"] == 64
    assert best.datetime_start <= best.datetime_complete and best.duration.total_seconds() < 60
    assert study.metric_names == [METRIC_NAME]
    assert study.trials[3].user_attrs["reason"] == "NaN"
    assert [one._trial_id for one in study.trials] == [
        view.get_trial_id_from_study_id_trial_number(study._study_id, n) for n in range(5)
    ]
    assert optuna.study.get_all_study_names(view) == ["s"]


def test_optunas_plots_draw_it(view):
    from optuna.visualization import plot_contour
    from optuna.visualization import plot_intermediate_values
    from optuna.visualization import plot_optimization_history
    from optuna.visualization import plot_parallel_coordinate
    from optuna.visualization import plot_slice
    from optuna.visualization import plot_timeline

    study = optuna.load_study(study_name="s", storage=view)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        for plot in (
            plot_contour,
            plot_intermediate_values,
            plot_optimization_history,
            plot_parallel_coordinate,
            plot_slice,
            plot_timeline,
        ):
            assert plot(study).data


def test_nothing_can_be_written(view, store):
    study = optuna.load_study(study_name="s", storage=view)
    before = store.counts()
    for write in (
        lambda: study.ask(),
        lambda: study.optimize(lambda trial: 0.0, n_trials=1),
        lambda: study.set_user_attr("a", 1),
        lambda: study.set_metric_names(["a"]),
        lambda: study.enqueue_trial({"mean": 1.0, "slope": 0.0}),
        lambda: study.add_trial(study.trials[0]),
        lambda: study.tell(4, 1.0),
        lambda: optuna.delete_study(study_name="s", storage=view),
        lambda: optuna.create_study(study_name="t", storage=view),
        lambda: Pictures(store).write("a", io.BytesIO()),
        lambda: Pictures(store).remove("a"),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            with pytest.raises(ReadOnly, match="can only be read") as caught:
                write()
        assert "lambda-search export" in caught.value.hint
    assert store.counts() == before and store.study("s").name == "s"


def test_every_writing_method_refuses(view):
    """Those of Optuna's interface, by their names: a new one must refuse as well."""
    writing = [
        name
        for name in dir(optuna.storages.BaseStorage)
        if name.split("_")[0] in ("create", "delete", "set")
    ]
    assert len(writing) >= 10
    for name in writing:
        method = getattr(view, name)
        needed = method.__code__.co_argcount - 1 - len(method.__defaults__ or ())
        with pytest.raises(ReadOnly):
            method(*range(needed))


def test_create_study_loads_what_is_there_if_it_may(view):
    study = optuna.create_study(study_name="s", storage=view, load_if_exists=True)
    assert len(study.trials) == 5
    with pytest.raises(optuna.exceptions.DuplicatedStudyError):
        optuna.create_study(study_name="s", storage=view)


def test_a_trial_that_nobody_drives_waits(view, store, lease):
    Queue(store).end(lease, "stopped", "stopped")
    study = optuna.load_study(study_name="s", storage=view)
    assert (study.trials[4].state.name, study.trials[4].datetime_start) == ("WAITING", None)


def test_the_time_in_which_nobody_drove_a_study_is_no_trials(view, store, lease, setting):
    Queue(store).end(lease, "stopped", "stopped")
    time.sleep(0.05)
    taken = datetime.now()
    go_on(store, begin(store, setting, spec=STUDY))
    trials = optuna.load_study(study_name="s", storage=view).trials
    assert trials[4].datetime_complete >= trials[4].datetime_start >= taken
    assert trials[1].datetime_start < taken - timedelta(seconds=0.05)


def test_who_is_stopped_at_the_first_rung_is_pruned_before_anybody_is_at_the_next(
    view, store, setting
):
    lease = begin(store, setting, "t", spec=STUDY)
    proposed = [trial(0), trial(1)]
    store.propose(lease, proposed)
    scores = [replace(scored(number, 32, 0.0, "t"), picture=None) for number in (0, 1)]
    ended = replace(proposed[1], state="stopped", n=32, gain=0.0, fid=5.0)
    store.close_rung(lease, scores, [ended])
    states = [one.state.name for one in optuna.load_study(study_name="t", storage=view).trials]
    assert states == ["RUNNING", "PRUNED"]


def test_only_trials_on_most_images_are_complete(view, store, lease):
    """The rungs were changed: 64 was the last, and 128 is now; trial 0 was scored there too."""
    go_on(store, lease)
    store.close_rung(lease, [scored(0, 128, 0.0), scored(4, 128, 0.3)])
    study = optuna.load_study(study_name="s", storage=view)
    states = [one.state.name for one in study.trials]
    assert states == ["COMPLETE", "PRUNED", "PRUNED", "FAIL", "COMPLETE"]
    assert study.best_trial.number == 4 and study.best_value == -0.3
    assert study.trials[1].value == -0.5 and study.trials[1].user_attrs["n"] == 64


def test_a_study_whose_file_cannot_be_read_is_shown_all_the_same(view, store, setting):
    store.propose(begin(store, setting, "strange", spec="name: strange"), [trial(0)])
    assert [one.study_name for one in view.get_all_studies()] == ["s", "strange"]
    assert len(optuna.load_study(study_name="strange", storage=view).trials) == 1


def test_a_study_says_what_came_of_it(view, store, lease, setting):
    Events("s", [store.say]).say("warning", "few | images *here*")
    published = store.publish(lease, row(setting))
    study = optuna.load_study(study_name="s", storage=view)
    assert study.user_attrs["λ(i)"] == str(published.schedule)
    assert study.user_attrs["use it"] == "lambda-search best m --steps 4 --sampler ancestral"
    note = view.get_study_system_attrs(study._study_id)["dashboard:note_str:0"]
    for piece in (
        "1.01 + 0.001·i",
        "λ = 1: FID 6.000",
        "ancestral, 4 steps",
        "lambda-search best m --steps 4",
        "ls.sample(model, 'ancestral', 4, ls.LambdaSchedule(1.01, 0.001)",
        r"few \| images \*here\*",
        published.id[:12],
    ):
        assert piece in note
    store.retract(published.id, "a wrong reference")
    note = view.get_study_system_attrs(study._study_id)["dashboard:note_str:0"]
    assert "taken back" in note and "a wrong reference" in note and "ls.sample" not in note


def test_what_is_not_there_is_a_key_error(view):
    for missing in (
        lambda: view.get_study_id_from_name("x"),
        lambda: view.get_study_name_from_id(99),
        lambda: view.get_trial(99),
        lambda: view.get_all_trials(99),
    ):
        with pytest.raises(KeyError):
            missing()


@pytest.fixture
def ask(store):
    """Asks the dashboard, as a web application: (status, headers, body)."""
    app = dashboard_app(store)

    def request(method, path, body=b"{}"):
        said, log = [], io.StringIO()
        environment = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "SERVER_NAME": "x",
            "SERVER_PORT": "80",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": log,
        }
        answer = app(environment, lambda status, headers, *_: said.append((status, headers)))
        content = b"".join(answer)
        assert log.getvalue() == ""
        [(status, headers)] = said
        return int(status[:3]), dict(headers), content

    return request


def test_the_dashboard_shows_what_is_there(view, store, ask):
    status, _, body = ask("GET", "/api/studies")
    [listed] = json.loads(body)["study_summaries"]
    assert status == 200 and (listed["study_name"], listed["directions"]) == ("s", ["minimize"])
    status, _, body = ask("GET", f"/api/studies/{listed['study_id']}")
    shown = json.loads(body)
    assert status == 200 and shown["objective_names"] == [METRIC_NAME]
    states = [one["state"] for one in shown["trials"]]
    assert states == ["Complete", "Complete", "Pruned", "Fail", "Running"]
    assert shown["has_intermediate_values"] and "can only be read" in shown["note"]["body"]
    assert {one["name"] for one in shown["intersection_search_space"]} == {"mean", "slope"}
    for one in shown["trials"][:3]:
        [picture] = one["artifacts"]
        place = f"/artifacts/{one['study_id']}/{one['trial_id']}/{picture['artifact_id']}"
        status, headers, body = ask("GET", place)
        assert (status, headers["Content-Type"]) == (200, "image/png")
        assert body == f"PNG {one['number']}".encode()
    assert not any(one["artifacts"] for one in shown["trials"][3:])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/api/studies/1"),
        ("POST", "/api/studies"),
        ("POST", "/api/studies/1/rename"),
        ("PUT", "/api/studies/1/note"),
        ("PUT", "/api/studies/1/1000000/note"),
        ("POST", "/api/trials/1000000/tell"),
        ("POST", "/api/trials/1000000/user-attrs"),
        ("POST", "/api/artifacts/1/1000000"),
        ("DELETE", "/api/artifacts/1/1000000/0"),
        ("PATCH", "/api/studies/1"),
        ("delete", "/api/studies/1"),
        ("ANYTHING", "/"),
    ],
)
def test_the_dashboard_says_that_it_can_only_be_read(view, store, ask, method, path):
    before = store.counts()
    status, headers, body = ask(method, path)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    reason = json.loads(body)["reason"]
    assert "can only be read" in reason and "lambda-search export" in reason
    assert store.counts() == before and store.study("s").id == 1


def test_a_foreign_optuna_study_in_the_database_is_left_alone(url, setting):
    from lambda_search.paths import store_url
    from lambda_search.store.store import Store

    storage = optuna.storages.RDBStorage(store_url(url))
    foreign = optuna.create_study(study_name="s", storage=storage)
    foreign.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    store = Store(url)
    store.publish(begin(store, setting, spec=STUDY), row(setting))
    assert optuna_storage(store).get_all_studies()[0].study_name == "s"
    again = optuna.load_study(study_name="s", storage=storage)
    assert [one.params for one in again.trials] == [one.params for one in foreign.trials]
