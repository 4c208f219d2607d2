"""Pages as files: what they tell, of every state, and that nothing foreign acts in them."""

import json
import re
from datetime import UTC
from datetime import datetime
from html.parser import HTMLParser

import plotly.graph_objects as go
import pytest

from lambda_search import studies
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.records import Event
from lambda_search.report.effort import efforts
from lambda_search.report.effort import seconds_by_phase
from lambda_search.report.effort import total
from lambda_search.report.pages import _page
from lambda_search.report.writing import write_report
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from tests.report.studies import STUDY
from tests.report.studies import simulate

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> & {{ 7 * 7 }} \u2028"


class Words(HTMLParser):
    """The text of a page as a reader has it, and its tags."""

    def __init__(self, page):
        super().__init__()
        self.text, self.tags, self.inside = "", [], None
        self.feed(page)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside not in ("script", "style"):
            self.text += data


def report(store, tmp_path, *names, **options):
    path = write_report(store, names, tmp_path, **options)[0]
    return Words(path.read_text())


def _gain(value):
    return f"{value:.3f}".replace("-", "−")


@pytest.fixture
def store():
    return Store()


def test_the_first_lines_say_what_was_found_and_how_to_use_it(store, tmp_path):
    _, _, row = simulate(store)
    page = report(store, tmp_path, "valley")
    for piece in (
        f"λ(i) = {row.schedule}",
        "mean of λ 0.99 to 1.06, slope k −0.009 to 0.005",
        f"{row.gain:.3f}, between {row.gain_interval.low:.3f} and {row.gain_interval.high:.3f}",
        f"{row.fid:.3f} ±",
        f"{row.baseline_fid:.3f} ±",
        "2,000 for each FID",
        "ls.sample(model, 'ancestral', 10",
        f"ls.LambdaSchedule({row.schedule.b!r}, {row.schedule.k!r})",
        "lambda-search best valley --steps 10 --sampler ancestral",
        "confirmed: gain confirmed on 2,000 images",
        "by me@host on cpu with lambda-search 0.1.0",
        row.id,
        "rungs: [150, 300]",
        "The fit is best at mean",
    ):
        assert piece in page.text, piece
    terms = page.text[page.text.index("searched") : page.text.index("Where it was looked for")]
    assert "cautions" in terms and "time and cost" in terms
    assert len([tag for tag, _ in page.tags if tag == "dt"]) >= 12


def test_all_trials_stand_in_a_table_and_figures_have_words(store, tmp_path):
    study, _, _ = simulate(store)
    page = report(store, tmp_path, "valley")
    for trial in store.trials(study.id):
        assert str(trial.schedule) in page.text and _gain(trial.gain) in page.text
    drawn = [told for tag, told in page.tags if "data-figure" in told]
    assert [one["data-figure"] for one in drawn] == ["plane", "error", "lambdas", "rungs", "cost"]
    assert all(one["role"] == "img" and len(one["aria-label"]) > 40 for one in drawn)
    images = [told for tag, told in page.tags if tag == "img"]
    assert len(images) == 2 and all(one["alt"] for one in images)


def test_plotly_lies_once_beside_the_pages_or_in_the_one_file(store, tmp_path):
    simulate(store)
    [path] = write_report(store, ["valley"], tmp_path)
    beside = tmp_path / "plotly.min.js"
    assert path.stat().st_size < 300_000 < 4_000_000 < beside.stat().st_size
    made = beside.stat().st_mtime_ns
    write_report(store, ["valley"], tmp_path / "other.html")
    assert beside.stat().st_mtime_ns == made
    alone = tmp_path / "alone"
    alone.mkdir()
    [path] = write_report(store, ["valley"], alone, single=True)
    assert [one.name for one in alone.iterdir()] == ["valley.html"]
    for file in (path, tmp_path / "valley.html"):
        for _, told in Words(file.read_text()).tags:
            asked = told.get("src") or told.get("href") or ""
            assert asked.startswith("data:image/png;base64,") or asked in ("", "plotly.min.js")
    assert "plotly.min.js" not in [told.get("src") for _, told in Words(path.read_text()).tags]


def test_what_comes_from_elsewhere_is_only_text(store, tmp_path):
    told = {"name": "evil", "model": "valley", "steps": 10, "trials": 16}
    text = STUDY.format(mean=[0.99, 1.06], slope=[-0.009, 0.005], **told)
    simulate(store, "evil", text=f"# {HOSTILE.strip()}\n{text}", words=HOSTILE)
    store.say(Event("evil", "warning", HOSTILE, datetime.now(UTC)))
    path = write_report(store, ["evil"], tmp_path)[0]
    page = Words(path.read_text())
    assert page.text.count("<img src=x onerror=alert(2)>") >= 3 and "49" not in HOSTILE
    assert page.text.count("{{ 7 * 7 }}") >= 3
    assert not [told for _, told in page.tags if "onerror" in told]
    scripts = re.findall(r"<script[^>]*>", path.read_text())
    assert len(scripts) == 4 and "alert(1)</script>" not in path.read_text()


def test_hostile_words_in_a_figure_stay_in_its_json():
    drawn = go.Figure(layout={"title": HOSTILE, "height": 90})
    page = _page(
        "several.html", {"lambdas": drawn}, False, title="t", what="w", several=[], links={}
    )
    [told] = re.findall(r'id="figures">(.*?)</script>', page, re.DOTALL)
    assert json.loads(told)["lambdas"]["layout"]["title"]["text"] == HOSTILE


def test_a_study_that_waits_runs_stops_or_fails_has_a_page(store, tmp_path):
    simulate(store, "waits", until="queued")
    page = report(store, tmp_path, "waits")
    assert "queued: waits for a driver" in page.text and "lambda-search drive" in page.text
    assert "Nothing was tried yet" in page.text and "trials: 16" in page.text
    claim = simulate(store, "runs", until="search")
    page = report(store, tmp_path, "runs")
    assert "best so far" in page.text and "not confirmed" in page.text
    assert "16 of 16 ended" in page.text and "lambda-search wait runs" in page.text
    Queue(store).end(claim.lease, "failed", "failed", "The disk is full.\nFree some space.")
    page = report(store, tmp_path, "runs")
    assert "failed: The disk is full." in page.text and "lambda-search resume runs" in page.text
    simulate(store, "began", until="began")
    assert "running" in report(store, tmp_path, "began").text
    simulate(store, "few", trials=4, until="search")
    assert "3 scored trials are too few to fit" in report(store, tmp_path, "few").text


def test_a_row_that_was_taken_back_says_so_first(store, tmp_path):
    _, _, row = simulate(store)
    studies.retract(row.id, "the reference was wrong", store)
    page = report(store, tmp_path, "valley")
    assert "retracted: taken back on" in page.text and "the reference was wrong" in page.text


def test_a_file_of_another_release_is_shown_as_it_is(store, tmp_path):
    simulate(store)
    from sqlalchemy import text

    with store._engine.begin() as connection:
        connection.execute(text("update ls_study set spec = 'name: valley\nodd: true'"))
    page = report(store, tmp_path, "valley")
    assert "odd: true" in page.text and "The fit is best at mean" in page.text


def test_several_step_counts_have_a_page_together(store, tmp_path):
    for steps in (20, 5, 10):
        simulate(store, f"a-{steps}", steps, slope=(-0.09 / (steps - 1), 0.05 / (steps - 1)))
    simulate(store, "a-50", 50, until="queued")
    simulate(store, "b-10")
    first, *others = write_report(store, ["a"], tmp_path)
    assert first.name == "a.html"
    assert [one.name for one in others] == ["a-5.html", "a-10.html", "a-20.html", "a-50.html"]
    page = Words(first.read_text())
    links = [told["href"] for tag, told in page.tags if tag == "a"]
    assert links == [one.name for one in others]
    assert [told["data-figure"] for _, told in page.tags if "data-figure" in told] == [
        "lambdas",
        "fids",
    ]
    for study in ("a-5", "a-10", "a-20"):
        [row] = store.rows(store.study(study).id)
        assert str(row.schedule) in page.text and f"{row.gain:.3f}" in page.text
    assert "waits for a driver" in page.text and "b-10" not in page.text
    assert write_report(store, ["a-*"], tmp_path)[0] == first
    assert write_report(store, ["a-10", "a-20"], tmp_path)[0] == first
    assert [p.name for p in write_report(store, ["a"], tmp_path / "x.html", single=True)] == [
        "x.html"
    ]
    assert "href" not in (tmp_path / "x.html").read_text().split("<script")[0]


def test_what_is_not_there_or_cannot_be_written_is_one_message(store, tmp_path, cli):
    simulate(store)
    for asked in ("nobody", "nob*", "valle"):
        code, _, err = cli("report", asked)
        assert code == 2 and f"There is no study '{asked}'" in err and "valley" in err
    code, _, err = cli("report", "valley", "-o", tmp_path / "no" / "r.html")
    assert code == 1 and "--output" in err and "Traceback" not in err
    (tmp_path / "plotly.min.js").mkdir()
    with pytest.raises(LambdaSearchError, match="cannot be written"):
        write_report(store, ["valley"], tmp_path)
    simulate(store, "valley-10")
    with pytest.raises(UsageError, match="page of one of these"):
        write_report(store, ["valley*"], tmp_path / "valley.html")
    code, _, err = cli("report", "valley", "--single", "-o", tmp_path)
    assert code == 0 and "valley.html (4." in err


def test_what_a_study_took_by_phase(store):
    study, _, _ = simulate(store)
    found = efforts(store.evaluations(study.id), store.events("valley"), 10)
    names = [one.name for one in found]
    assert names == ["preparing", "search", "to 150 images", "to 300 images", "confirmation"]
    search, first, second, confirmation = found[1:]
    assert first.images == 16 * 150 and search.images == first.images + second.images
    assert (confirmation.schedules, confirmation.images) == (2, 4000)
    whole = total(found)
    assert whole.images == search.images + 4000 and whole.network_evaluations == 10 * whole.images


def test_time_without_a_driver_counts_for_nobody():
    def told(kind, minute, text=""):
        return Event("s", kind, text, datetime(2026, 1, 1, 12, minute, tzinfo=UTC))

    spent = seconds_by_phase(
        [
            told("queued", 0),
            told("began", 10),
            told("phase", 10, "everything is read"),  # as an older release said it
            told("phase", 11, "searching"),
            told("trial", 15),
            told("began", 30),  # the driver before was lost
            told("phase", 31, "searching, going on after 1 finished trials"),
            told("stopped", 35),
            told("queued", 40),
            told("began", 50),
            told("note", 51, "everything is read"),
            told("search", 52, "searching"),
            told("confirm", 53, "confirming trial 1 and λ = 1 on 9 images"),
            told("row", 58),
            told("done", 59),
        ]
    )
    assert spent == {"preparing": 240, "search": (4 + 4 + 1) * 60, "confirmation": 300}
