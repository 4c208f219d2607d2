"""Pages as a browser shows them: wide, on a phone, dark, on paper, and without JavaScript."""

import pytest

from lambda_search.report.writing import write_report
from lambda_search.store.store import Store
from tests.report.studies import simulate

FIGURES = ["plane", "error", "lambdas", "rungs", "cost"]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Two studies' pages and the one about both."""
    folder = tmp_path_factory.mktemp("pages")
    store = Store(f"sqlite:///{folder}/store.db")
    for steps in (10, 20):
        simulate(store, f"a-{steps}", steps, slope=(-0.09 / (steps - 1), 0.05 / (steps - 1)))
    write_report(store, ["a"], folder)
    return folder


def drawn(page, *names):
    for name in names:
        page.wait_for_selector(f"[data-figure={name}] .main-svg")


def test_everything_is_drawn_without_asking_anybody(pages, look):
    page = look(pages / "a-10.html")
    drawn(page, *FIGURES)
    for name in FIGURES:
        assert page.locator(f"[data-figure={name}] .scatterlayer .trace").count() > 0
    assert page.locator("[data-figure=plane] .contourlayer path").count() > 5
    both = look(pages / "a.html")
    drawn(both, "lambdas", "fids")
    both.click("text=a-20")
    assert both.url.endswith("a-20.html")
    assert page.problems == both.problems == []


@pytest.mark.parametrize("name", [pytest.param("a", marks=pytest.mark.slow), "a-10"])
def test_a_phone_needs_no_sideways_scroll(pages, look, name):
    page = look(pages / f"{name}.html", width=390)
    drawn(page, "lambdas")
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    wide = "[...document.querySelectorAll('.scroll')].map((e) => e.scrollWidth - e.clientWidth)"
    assert max(page.evaluate(wide)) <= 0


@pytest.mark.slow
def test_no_legend_covers_a_point(pages, look):
    below = """() => [...document.querySelectorAll("[data-figure]")].map((figure) => {
        const legend = figure.querySelector(".legend"), plot = figure._fullLayout._size;
        const top = figure.getBoundingClientRect().top;
        return legend ? legend.getBoundingClientRect().top - top - plot.t - plot.h : 0;
    })"""
    for width in (390, 1280):
        page = look(pages / "a-10.html", width=width)
        drawn(page, *FIGURES)
        page.wait_for_timeout(300)
        assert min(page.evaluate(below)) >= 0


@pytest.mark.slow
def test_tables_are_sorted_by_a_click_and_stand_without_javascript(pages, look):
    page = look(pages / "a-10.html")
    table = page.locator("table.sortable").last
    gains = (
        "(table) => [...table.tBodies[0].rows].map((row) => Number(row.cells[6].dataset.value))"
    )
    before = table.evaluate(gains)
    table.locator("button", has_text="gain").click()
    assert table.evaluate(gains) == sorted(before)
    assert table.locator("th[aria-sort=ascending]").inner_text().startswith("gain")
    table.locator("button", has_text="gain").click()
    assert table.evaluate(gains) == sorted(before, reverse=True)
    plain = look(pages / "a-10.html", java_script_enabled=False)
    assert plain.locator("table.sortable").last.locator("tbody tr").count() == len(before)
    assert "Figures need JavaScript" in plain.locator("[data-figure=plane]").inner_text()


@pytest.mark.slow
def test_dark_and_paper_have_their_own_colours(pages, look):
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    ink = "document.querySelector('[data-figure=cost] .xtitle').style.fill"
    light = look(pages / "a-10.html")
    dark = look(pages / "a-10.html", color_scheme="dark")
    for page in (light, dark):
        drawn(page, "cost")
    assert light.evaluate(ground) == "rgb(248, 250, 252)" != dark.evaluate(ground)
    paper = light.evaluate(ink)
    assert paper != dark.evaluate(ink)
    dark.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert dark.evaluate(ink) == paper
    dark.emulate_media(media="print")
    assert dark.evaluate(ground) == "rgb(255, 255, 255)"


def test_without_plotly_beside_it_a_page_says_what_is_missing(pages, look, tmp_path):
    moved = tmp_path / "a-10.html"
    moved.write_bytes((pages / "a-10.html").read_bytes())
    page = look(moved)
    assert "plotly.min.js" in page.locator("[data-figure=plane]").inner_text()
