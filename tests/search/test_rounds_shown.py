"""What people see of a study by the knowledge gradient: costs, report, pages, Optuna's view."""

from dataclasses import replace
from math import sqrt

import optuna
import pytest
import yaml
from optuna.trial import TrialState
from starlette.testclient import TestClient

from lambda_search.records import Evaluation
from lambda_search.records import leading
from lambda_search.records import steps_of
from lambda_search.records.studies import leading_of
from lambda_search.report.effort import efforts
from lambda_search.report.figures import cost_figure
from lambda_search.report.findings import read_findings
from lambda_search.report.pages import study_figures
from lambda_search.report.pages import study_page
from lambda_search.report.pages import trial_table
from lambda_search.search.cost import describe
from lambda_search.search.progress import Tracker
from lambda_search.service.app import create_app
from lambda_search.service.settings import Settings
from lambda_search.store.optuna_view import optuna_storage
from lambda_search.store.store import Store
from tests.conftest import STUDY
from tests.search.running import Halting
from tests.search.running import plan_of
from tests.search.running import run
from tests.search.test_rounds import KG
from tests.search.test_rounds import changed


@pytest.fixture(scope="module")
def shown(tiny_pipeline, tmp_path_factory):
    """The URL of a store with a study that is done, in which a schedule was measured twice."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAMBDA_SEARCH_HOME", str(home))
        url = f"sqlite:///{home}/store.db"
        text = changed(STUDY.format(folder=tiny_pipeline), KG)
        text = changed(text, {"seed: 3": "seed: 6", "trials: 12": "trials: 18"})
        run(text, Halting(), Store(url))
    return url


def test_optuna_sees_one_value_for_a_trial_of_several_rounds(shown):
    store = Store(shown)
    trials = {one.number: one for one in store.trials(1)}
    seen = optuna.load_study(study_name="tiny", storage=optuna_storage(store)).trials
    assert {one.state for one in seen} <= {TrialState.COMPLETE}
    several = [one for one in seen if len(one.intermediate_values) > 1 and one.number]
    assert several, "none was measured twice"
    for one in seen:
        if trials[one.number].n is not None:
            assert one.value == pytest.approx(-trials[one.number].gain, abs=1e-9)
            assert one.last_step == trials[one.number].n
    never = [one for one in seen if trials[one.number].n is None]
    assert all(one.value == one.user_attrs["confirmed"] for one in never)


def test_report_and_page_show_it(shown):
    store = Store(shown)
    found = read_findings(store, "tiny")
    assert {"plane", "rungs", "cost", "lambdas"} <= set(study_figures(found))
    page = study_page(found)
    assert "the search ended as" in page and "last rung" not in page
    told = f"the search had {store.rows(1)[-1].provenance.search}"
    assert told in page and "rounds on 128 to 256 images" in told
    with TestClient(create_app(Settings(store=shown)), "http://127.0.0.1:8000") as client:
        answer = client.get("/studies/tiny")
        assert answer.status_code == 200 and told in answer.text
        evidence = client.get(f"/rows/{found.row.id}").text
        lines = client.get("/studies/tiny/trials.json").json()
    assert [one["n"] for one in lines] == [one.n for one in found.trials]
    assert store.rows(1)[-1].provenance.search in evidence
    for one in (page, answer.text):
        assert "where the search began" in one and "what was searched" not in one
        assert "better ones may lie outside the search" not in one
        assert "trials that fell behind were stopped" not in one and "complete ones" not in one
        assert "A rung" not in one and "in all rounds so far" in one
    assert "The search's own model says who leads" in page.replace("&#39;", "'")
    assert "The fit is best" not in page and "How well the surface is known" not in page


def test_the_fit_covers_all_that_was_tried(shown):
    """A search goes on beyond its ranges; the fit knows nothing of what rounds share of noise."""
    found = read_findings(Store(shown), "tiny")
    surface, tried = found.surface, [one for one in found.trials if one.gain is not None]
    assert surface.means[0] <= min(one.mean for one in tried)
    assert surface.means[-1] >= max(one.mean for one in tried)
    assert surface.slopes[0] <= min(one.slope for one in tried)
    assert surface.slopes[-1] >= max(one.slope for one in tried)
    assert surface.means[-1] > found.spec.search.mean[1] or surface.means[0] < 0.99
    drawn = study_figures(found)
    assert "error" not in drawn and "95 % region" not in {one.name for one in drawn["plane"].data}


def test_figures_show_gains_on_all_rounds_so_far(shown):
    store = Store(shown)
    found = read_findings(store, "tiny")
    drawn = study_figures(found)
    gains = {
        (text, n): gain
        for trace in drawn["rungs"].data
        if trace.name != "confirmation"
        for text, n, gain in zip(trace.text, trace.x, trace.y, strict=True)
        if n is not None
    }
    measured = [one for one in found.trials if one.number and one.n]
    assert all(gains[f"trial {one.number}", one.n] == pytest.approx(one.gain) for one in measured)
    again = [one for one in measured if one.n > 256]
    assert again and all(
        len([1 for text, _ in gains if text == f"trial {one.number}"]) > 1 for one in again
    )
    each, led, *_ = drawn["cost"].data
    rounds = store.rounds(1)
    spent = [sum(one.images for one in rounds[: n + 1]) for n in range(len(rounds))]
    assert list(led.x) == spent and led.name == "who led" and set(each.x) == set(spent)
    best = next(one for one in found.trials if one.number == rounds[-1].judgement.best)
    [at_one] = [e for e in found.evaluations if not e.trial and e.phase == "search"]
    expected = [one.judgement.expected * at_one.corrected for one in rounds]
    assert list(led.y) == pytest.approx(expected)
    earlier = [
        replace(one, judgement=replace(one.judgement, expected=None)) for one in found.rounds
    ]
    led = cost_figure(found.trials, found.evaluations, earlier).data[1]
    assert led.y[-1] == pytest.approx(best.gain)
    [*parts] = [one.name for one in efforts(found.evaluations, (), 4) if one.is_part]
    assert parts == ["rounds of 128 images", "rounds of 256 images"]


def test_best_so_far_is_who_leads_by_the_last_judgement(shown):
    """Everywhere the same: in lists, on pages, and in what a driver tells."""
    store = Store(shown)
    told = store.rounds(1)[-1].judgement
    found = replace(read_findings(store, "tiny"), row=None)
    best = found.winner
    assert best.number == told.best
    measured = [one for one in found.trials if one.n is not None]
    width, height = 0.08 / 2, 0.02 / 2
    apart = {
        one.number: ((one.mean - told.mean) / width) ** 2
        + ((one.slope - told.slope) / height) ** 2
        for one in measured
    }
    assert apart[best.number] == min(apart.values())
    expected = leading_of(best.schedule, best.gain, best.n)
    tracker = Tracker("tiny")
    tracker.closed(found.trials)
    tracker.leads(told.best)
    seen, study = tracker.snapshot(), store.study("tiny")
    assert (seen.best, seen.best_gain) == (expected.schedule, expected.gain)
    assert store.tallies([study])[1].best == leading(found.trials, told.best)
    assert store.tallies([study])[1].best.schedule == expected.schedule
    assert store.tallies([study])[1].trials == len(measured)


def test_images_and_errors_are_those_of_all_rounds(shown):
    store = Store(shown)
    found = read_findings(store, "tiny")
    rounds = store.rounds(1)
    [whole] = [one for one in efforts(found.evaluations, (), 4) if one.name == "search"]
    assert whole.images == sum(one.images for one in rounds)
    errors = {one.number: error for one, error, _ in trial_table(found) if one.n}
    assert all(error is not None for number, error in errors.items() if number)
    searched = [one for one in found.evaluations if one.phase == "search"]
    for number in errors:
        several = [one for one in searched if one.trial == number]
        n = sum(one.n for one in several)
        if number:
            parts = [one.n * one.gain_standard_error for one in several]
            direct = [part for part, one in zip(parts, several, strict=True) if not one.through]
            told = (sqrt(sum(part**2 for part in direct)) + sum(parts) - sum(direct)) / n
            assert errors[number] == pytest.approx(told)


def test_what_was_only_compared_with_itself_is_known_no_better():
    """The best so far, on the images of a later round, gains what it had and errs as much."""
    known = Evaluation(5, "search", 0, 128, 20, 19, 1, 2.0, 2.1, 0.4, 0.9, "a")
    alone = replace(known, first=128, n=256, gain=0.0, raw_gain=0.0, gain_standard_error=0.0)
    later = alone.beside(known)
    assert (later.gain, later.raw_gain, later.through) == (2.0, 2.1, 5)
    both = steps_of([known, later])[-1]
    assert later.is_copy and both == known
    other = replace(alone, trial=6, gain=0.5, gain_standard_error=0.3).beside(both)
    assert other.gain == pytest.approx(2.5) and other.through == 5
    assert other.gain_standard_error == pytest.approx(0.5)


def test_of_rungs_the_last_holds_and_of_rounds_all(shown):
    several = Store(shown).evaluations(1)
    [once] = [one for one in several if one.trial == 0 and one.phase == "search"][:1]
    found = [once, replace(once, first=128, n=256)]
    assert [one.n for one in steps_of(found)] == [128, 384]
    nested = [replace(found[0], n=n) for n in (64, 128)]
    assert steps_of(nested) == nested


def test_the_cost_that_is_told_is_that_of_rounds(study_text):
    plan = plan_of(changed(study_text, KG))
    told = describe(plan, [], 1)
    assert told["rounds"] == "1,024 images, then 768 each, 7,500 in all at most"
    assert "rungs" not in told and told["images"] == 7_500 + plan.confirm_images()
    assert told["workers_that_help"] == "at most 64"


def test_a_draft_by_rounds_has_no_rungs(cli, tiny_pipeline, tmp_path):
    code, _, err = cli(
        *("init", tiny_pipeline, "--out", tmp_path / "x.yaml", "--extractor", "bundled"),
        *("--reference", "bundled:fashion-mnist", "--set", "search.proposals=kg"),
    )
    assert code == 0, err
    text = (tmp_path / "x.yaml").read_text()
    document = yaml.safe_load(text)
    assert "rungs" not in document["metric"] and document["search"]["trials"] == 100
    assert "Proposals kg have none." in text
