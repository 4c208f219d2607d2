"""Optuna's own readers on a store."""

import io
import warnings
from dataclasses import replace

import optuna
import pytest

from lambda_search.schedule import LambdaSchedule
from lambda_search.store.optuna_view import METRIC_NAME
from lambda_search.store.optuna_view import ReadOnly
from lambda_search.store.optuna_view import optuna_storage
from tests.store.test_store import begin
from tests.store.test_store import evaluation
from tests.store.test_store import row
from tests.store.test_store import trial

STUDY = """
name: s
model: {framework: diffusers, checkpoint: x}
sampler: {name: ancestral, steps: 4}
search: {mean: [0.97, 1.05], slope: [-0.01, 0.01]}
metric: {extractor: bundled, reference: r}
"""


@pytest.fixture
def view(store, setting):
    """λ = 1, a trial at the last rung, one stopped early, one diverged, one open."""
    lease = begin(store, setting, spec=STUDY)
    trials = [
        replace(trial(n), schedule=LambdaSchedule(1 + n / 100), mean=1 + n / 100, slope=0.001 * n)
        for n in range(5)
    ]
    store.propose(lease, trials)
    ends = [("complete", 64, 0.0), ("complete", 64, 0.5), ("stopped", 32, -0.25)]
    ended = [
        replace(one, state=state, n=n, gain=gain, fid=5 - gain)
        for one, (state, n, gain) in zip(trials, ends, strict=False)
    ]
    ended.append(replace(trials[3], state="diverged", reason="NaN"))
    rungs = [
        replace(evaluation(f"{number}-{n}", gain), trial=number, n=n)
        for number, n, gain in ((0, 32, 0.0), (0, 64, 0.0), (1, 32, 0.4), (1, 64, 0.5))
    ]
    store.close_rung(lease, rungs, ended)
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
        lambda: study.set_user_attr("a", 1),
        lambda: study.enqueue_trial({"mean": 1.0, "slope": 0.0}),
        lambda: study.add_trial(study.trials[0]),
        lambda: study.tell(4, 1.0),
        lambda: optuna.delete_study(study_name="s", storage=view),
        lambda: optuna.create_study(study_name="t", storage=view),
    ):
        with pytest.raises(ReadOnly, match="can only be read"):
            write()
    assert store.counts() == before and store.study("s").name == "s"


def test_what_is_not_there_is_a_key_error(view):
    for missing in (
        lambda: view.get_study_id_from_name("x"),
        lambda: view.get_study_name_from_id(99),
        lambda: view.get_trial(99),
        lambda: view.get_all_trials(99),
    ):
        with pytest.raises(KeyError):
            missing()


def test_the_dashboard_asks_only_what_is_there(view, store, setting):
    """The dashboard as a web application: it reads, and its writes change nothing."""
    from optuna_dashboard import wsgi

    app = wsgi(view)

    def request(method, path):
        said, log = [], io.StringIO()
        environment = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "SERVER_NAME": "x",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
            "wsgi.errors": log,
        }
        body = b"".join(app(environment, lambda status, *_: said.append(status)))
        return said[0][:3], body.decode(errors="replace") + log.getvalue()

    status, body = request("GET", "/api/studies")
    assert status == "200" and '"s"' in body
    study_id = view.get_study_id_from_name("s")
    status, body = request("GET", f"/api/studies/{study_id}")
    assert status == "200" and "PRUNED" in body.upper() and METRIC_NAME[:3] in body
    status, _ = request("DELETE", f"/api/studies/{study_id}")
    assert status != "204" and store.study("s").id == study_id


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
