"""What a search leaves open is seen and said: edges of the ranges, and candidates that repeat."""

import pytest
from rich.console import Console

from lambda_search.cli.rows import row_panel
from lambda_search.records import Row
from lambda_search.records import Trial
from lambda_search.report.writing import write_report
from lambda_search.search.edges import left_open
from lambda_search.search.proposals import Observation
from lambda_search.search.proposals import propose
from lambda_search.search.space import Point
from lambda_search.search.space import Space
from lambda_search.store.store import Store
from tests.search.running import Halting
from tests.search.running import run

SPACE = Space((0.97, 1.06), (-0.009, 0.006), 10)


def trial(number, mean, slope):
    return Trial(number, 0, SPACE.schedule(Point(mean, slope)), mean, slope, "complete", 64, 1.0)


def test_a_best_inside_the_ranges_leaves_nothing_open():
    trials = [trial(0, 1.0, 0.0), *(trial(n, 1.0 + n / 500, 0.0) for n in range(1, 20))]
    assert left_open(SPACE, trials, Point(1.02, 0.001)) == ()


def test_ranges_that_are_advised_hold_those_of_the_file():
    """A search along a valley looks at other means where slopes are other ones."""
    looked = Space((0.87, 0.95), (-0.009, 0.03), 10)
    [said] = left_open(looked, [], Point(0.871, 0.01), SPACE)
    assert "edge of the mean range [0.87, 0.95]" in said
    assert "search.mean to [0.83, 1.06]" in said
    assert left_open(looked, [], Point(0.9, 0.01), SPACE) == ()


@pytest.mark.parametrize(
    ("best", "words"),
    [
        (
            Point(1.06, 0.0),
            ["edge of the mean range [0.97, 1.06]", "search.mean to [0.97, 1.105]"],
        ),
        (Point(0.971, 0.0), ["edge of the mean range", "search.mean to [0.925, 1.06]"]),
        (Point(1.0, 0.0058), ["edge of the slope range", "search.slope to [-0.009, 0.0135]"]),
        (
            Point(1.06, -0.009),
            ["search.mean to [0.97, 1.105]", "search.slope to [-0.0165, 0.006]"],
        ),
    ],
)
def test_an_edge_is_named_with_the_ranges_to_take(best, words):
    found = left_open(SPACE, [trial(0, 1.0, 0.0)], best)
    text = " ".join(found)
    assert all(one in text for one in words) and len(found) == (2 if best.slope == -0.009 else 1)


def test_a_range_of_one_point_has_no_edge_and_lambda_stays_positive():
    line = Space((0.97, 1.06), (0.0, 0.0), 10)
    assert left_open(line, [], Point(1.0, 0.0)) == ()
    steep = Space((0.5, 1.0), (-0.098, 0.0), 10)
    [text] = left_open(steep, [], Point(0.75, -0.098))
    assert "widen search.slope to [-0.11, 0]" in text
    [text] = left_open(Space((0.45, 1.0), (-0.0999, 0.0), 10), [], Point(0.75, -0.0999))
    assert "stay positive" in text


def test_candidates_that_repeat_or_crowd_at_an_edge_are_counted():
    crowd = [trial(n, 1.06 - n / 10_000, -0.009) for n in range(1, 9)]
    trials = [trial(0, 1.0, 0.0), *crowd, trial(9, 1.0, 0.001), trial(10, 1.0, 0.001)]
    text = left_open(SPACE, trials, crowd[0])
    assert "8 of 10 candidates lie at that one edge" in text
    assert "1 of 10 candidates repeat the schedule of another" in text


@pytest.mark.parametrize("kind", ["gp", "tpe"])
def test_a_corner_does_not_take_up_the_budget(kind):
    """A loss that falls towards a corner: 12 of 20 points lay within 5 % of it before."""
    history, generation = [], 0
    while len(history) < 20:
        points = propose(SPACE, kind, 20, 0, generation, history, 4)
        history += [Observation(p, -100 * p.mean - 600 * p.slope) for p in points]
        generation += 1
    corner = Point(SPACE.mean[1], SPACE.slope[1])
    assert sum(SPACE.near(told.point, corner, 0.05) for told in history) <= 4
    for number, told in enumerate(history):
        others = history[:number]
        assert not any(SPACE.near(told.point, other.point, 0.01) for other in others)


@pytest.mark.parametrize("kind", ["gp", "tpe", "qmc", "grid"])
def test_lambda_one_is_not_proposed_twice(kind):
    space = Space((0.95, 1.0), (0.0, 0.0), 10)
    history, generation = [], 0
    while len(history) < 12:
        count = min(4, 12 - len(history))
        points = propose(space, kind, 12, 0, generation, history, count)
        history += [Observation(point, 1.0 - point.mean) for point in points]
        generation += 1
    assert len({space.schedule(told.point) for told in history}) == 12


@pytest.mark.parametrize("kind", ["gp", "tpe", "qmc", "grid"])
def test_ranges_that_hold_few_points_end_the_search(kind):
    space = Space((1.0, 1.00003), (0.0, 0.0), 10)
    history = [Observation(point, 0.0) for point in propose(space, kind, 40, 0, 0, [], 20)]
    assert len(history) == 4
    assert propose(space, kind, 40, 0, 1, history, 20) == []


def test_it_is_said_by_terminal_row_and_report(study_text, tmp_path):
    """Two candidates, one at each end of the range of means."""
    for old, new in {
        "trials: 7, parallel: 3": "trials: 3, parallel: 3, proposals: grid",
        "[-0.01, 0.01]": "[0, 0]",
    }.items():
        assert old in study_text
        study_text = study_text.replace(old, new)
    heard, store = [], Store()
    row = run(study_text, Halting(), store, heard)
    [caution] = [one for one in row.provenance.cautions if "edge of the mean range" in one]
    assert caution in [event.text for event in heard if event.kind == "warning"]
    assert Row.from_json(row.to_json()) == row
    console = Console(width=100, record=True, file=(tmp_path / "out").open("w"))
    console.print(row_panel(row))
    assert "widen search.mean" in " ".join(console.export_text().replace("│", "").split())
    write_report(store, ["tiny"], tmp_path / "report.html")
    assert "widen search.mean" in (tmp_path / "report.html").read_text()
