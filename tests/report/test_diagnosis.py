"""The page of a diagnosis: its numbers, and that what is foreign in it stays text."""

from dataclasses import replace

from lambda_search.records import Diagnosis
from lambda_search.records import NormsAt
from lambda_search.records import Tried
from lambda_search.report import figures
from lambda_search.report.pages import diagnosis_page
from lambda_search.schedule import LambdaSchedule
from tests.report.test_pages import HOSTILE
from tests.report.test_pages import Words

NAMED, FARTHER = LambdaSchedule(1.02, -0.004), LambdaSchedule(1.03, -0.006)
FOUND = Diagnosis(
    "diffusers",
    "a" * 64,
    "ancestral",
    3,
    NAMED,
    1.016,
    -0.004,
    0.034,
    0.01,
    FARTHER,
    False,
    -0.31,
    (NormsAt(0, 0.1, 30.0, 20.0), NormsAt(1, 1.0, 27.9, 28.0), NormsAt(2, None, 28.0, 28.0)),
    (
        Tried(LambdaSchedule(), 1.0, 0.0, 288, 0.0, 0.0),
        Tried(NAMED, 1.016, -0.004, 288, -0.032, 0.02),
    ),
    992,
    7,
    "64 features",
    "400 of 10,000 real images, photos",
    "the same",
)


def test_the_page_has_what_was_found():
    words = Words(diagnosis_page("mine", FOUND)).text
    for told in ("λ(i) = 1.02 − 0.004·i", "992 sampled, seed 7", "1.5000", "−3.2%", "not proven"):
        assert told in words
    assert "∞" in words  # pure noise


def test_nothing_foreign_acts_in_it():
    page = diagnosis_page(HOSTILE, replace(FOUND, reference=HOSTILE))
    assert "<script>alert" not in page and "<img src=x" not in page


def test_the_figures_hold_the_numbers():
    sampling, true = figures.norms_figure(FOUND).data
    assert list(sampling.y) == [30.0, 27.9, 28.0] and list(true.y) == [20.0, 28.0, 28.0]
    ratio = figures.ratio_figure(FOUND)
    assert list(ratio.data[0].x) == [1, 2]  # the last step would hide the others
    assert "1.500" in ratio.layout.annotations[0].text
    tried, at_one, named = figures.tried_figure(FOUND).data
    assert (list(tried.x), list(tried.y)) == ([1.016], [-0.004])
    assert (at_one.x[0], named.x[0]) == (1.0, 1.016)


def test_one_step_has_figures_too():
    one = replace(FOUND, steps=1, curve=FOUND.curve[:1], tried=FOUND.tried[:1])
    assert list(figures.ratio_figure(one).data[0].y) == [1.5]
    assert diagnosis_page("mine", one)


def test_it_says_what_it_recommends_and_why():
    assert (
        FOUND.words.startswith("λ(i) = 1.02 − 0.004·i: ") and "falls by 3.4% ± 2.0%" in FOUND.words
    )
    assert replace(FOUND, at_edge=True).words.endswith("at the edge of what was looked at")
    one = replace(FOUND, schedule=LambdaSchedule())
    assert one.words.startswith("λ = 1: nothing is likely enough")


def test_what_diverged_is_told_and_has_no_colour():
    lost = Tried(FARTHER, 1.024, -0.006, 54, None, None)
    found = replace(FOUND, tried=(*FOUND.tried, lost))
    assert list(figures.tried_figure(found).data[0].x) == [1.016]
    assert "not finite" in Words(diagnosis_page("mine", found)).text
