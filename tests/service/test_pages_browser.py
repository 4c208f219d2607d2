"""Pages in a browser: found, copied, run, posted and followed; on a phone, without scripts."""

import threading
from dataclasses import replace

import pytest

import lambda_search as ls
from lambda_search.events import Events
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from tests.exchange.rows import setting
from tests.report.studies import simulate
from tests.service.browsing import follow
from tests.service.browsing import reachable
from tests.service.conftest import TOKEN
from tests.service.filled import MODEL
from tests.service.filled import fill
from tests.service.filled import progress
from tests.store.test_store import row

PAGES = {
    "models": "/",
    "nothing": "/?q=nobody-knows-it",
    "model": f"/models/{MODEL}",
    "published": "/models/adm-cifar10",
    "row": "/rows/{row}",
    "retracted": "/rows/{retracted}",
    "superseded": "/rows/{superseded}",
    "compare": "/compare?a={row}&b={superseded}",
    "studies": "/studies",
    "running": "/studies/photos-100",
    "done": "/studies/photos-20",
    "failed": "/studies/faces-20",
    "queued": "/studies/waits",
    "new": "/studies/new",
    "evidence": "/evidence",
    "login": "/login",
    "error": "/models/nobody",
}
NAMES = [
    pytest.param(name, marks=() if name in ("model", "running") else pytest.mark.slow)
    for name in PAGES
]
"""Two of them always, all of them among what is slow."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A service on a store with one of everything; its address, and the ids of rows."""
    place = f"sqlite:///{tmp_path_factory.mktemp('pages')}/store.db"
    found, _ = fill(Store(place))
    ids = {name: found[name].id[:12] for name in ("retracted", "superseded")}
    with reachable(store=place, token=TOKEN) as address:
        yield address, ids | {"row": found[20].id[:12]}


@pytest.fixture
def open_page(chromium):
    pages = []

    def opened(address, **options):
        pages.append(follow(chromium, **options))
        pages[-1].goto(address)
        return pages[-1]

    yield opened
    for page in pages:
        page.context.close()


def sign_in(page, address, then="/"):
    page.goto(f"{address}/login?next={then}")
    page.fill("#token", TOKEN)
    page.click("main button")


def test_a_stranger_finds_a_model_and_runs_the_line_that_was_copied(
    open_page, tmp_path, tiny_pipeline
):
    import torch
    from diffusers import DDPMPipeline

    store = Store(f"sqlite:///{tmp_path}/store.db")
    named = setting(model="tiny/pipeline", framework="diffusers", sampler="ancestral", options={})
    one = row(named, b=1.21, k=-0.013)
    store.add([one, row(setting(model="another"), "another")])
    with reachable(store=f"sqlite:///{tmp_path}/store.db") as address:
        page = open_page(address, permissions=["clipboard-read", "clipboard-write"])
        page.fill("#q", "tiny")
        page.select_option("#sampler", "ancestral")
        page.keyboard.press("Enter")
        page.wait_for_url("**q=tiny**")
        assert "sampler=" in page.url and page.locator(".found").count() == 1
        page.click("main >> text=tiny/pipeline")
        assert "confirmed" in page.locator("article").inner_text()
        page.click("article >> button:has-text('diffusers')")
        page.locator("button:has-text('Copied')").wait_for()
        line = page.evaluate("navigator.clipboard.readText()")
        assert page.problems == []
    plain, copied, known = (DDPMPipeline.from_pretrained(tiny_pipeline) for _ in range(3))
    exec(line, {"ls": ls, "pipeline": copied})
    ls.scale_epsilon(known, one.schedule)

    def images(pipeline):
        torch.manual_seed(0)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline(num_inference_steps=4, output_type="np").images

    assert (images(copied) == images(known)).all()
    assert abs(images(copied) - images(plain)).max() > 1e-3


def test_a_study_is_posted_and_followed_until_it_is_done(open_page, tmp_path):
    place = f"sqlite:///{tmp_path}/store.db"
    store = Store(place)
    with reachable(store=place, token=TOKEN) as address:
        stranger = open_page(f"{address}/studies/new")
        assert stranger.locator("textarea").count() == 0
        answer = stranger.request.post(f"{address}/studies/new", form={"study": "name: x"})
        assert answer.status == 401
        page = open_page(address)
        sign_in(page, address, "/studies/new")
        page.fill("#study", POSTED.replace("steps: 10", "steps: ten"))
        page.click("text=Queue it")
        assert "line 3" in page.locator("#wrong ~ ul").inner_text()
        page.fill("#study", POSTED)
        page.click("text=Queue it")
        page.wait_for_url("**/studies/valley")
        assert "No driver is alive" in page.locator("main").inner_text()
        driver = threading.Thread(target=simulate, args=(store,), kwargs={"text": POSTED})
        driver.start()
        page.locator("text=The study has ended.").wait_for(timeout=20_000)
        page.locator(".lambda .status.confirmed").wait_for()
        driver.join()
        [one] = store.rows(store.study("valley").id)
        assert str(one.schedule) in page.locator(".lambda").inner_text()
        page.locator("[data-figure=plane] .main-svg").first.wait_for()
        trials = store.trials(store.study("valley").id)
        assert page.locator("main table.sortable tbody tr").count() == len(trials)
        assert page.locator(".images img").count() == 2
        assert [told for told in page.problems if "400" not in told] == []


def test_progress_is_shown_as_it_comes_and_the_study_is_stopped(open_page, tmp_path):
    place = f"sqlite:///{tmp_path}/store.db"
    store = Store(place)
    claim = simulate(store, "s", until="search")
    queue = Queue(store)
    with reachable(store=place, token=TOKEN) as address:
        page = open_page(address)
        sign_in(page, address, "/studies/s")
        page.locator("[data-figure=plane] .main-svg").first.wait_for()
        for images in (7400, 14000):
            queue.report({claim.lease: replace(progress(images), study="s")})
            page.locator(f"text={images:,} of about 21,000").wait_for()
        assert page.locator("[data-field=percent]").inner_text() == "67 %"
        assert "process" in page.locator("[data-field=driver]").inner_text()
        page.click("text=Stop this study")
        page.locator("text=It was asked to stop").wait_for()
        assert store.study("s").stop_wanted
        Events("s", [store.say]).say("stopped", "stopped by request")
        queue.end(claim.lease, "stopped", "stopped", "stopped by request")
        page.locator("text=Resume this study").wait_for()
        assert page.problems == []


@pytest.mark.parametrize("name", NAMES)
def test_a_phone_needs_no_sideways_scroll(open_page, filled, name):
    address, ids = filled
    page = open_page(address + PAGES[name].format(**ids), viewport={"width": 375, "height": 700})
    page.wait_for_timeout(200)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    assert [one for one in page.problems if "404" not in one] == []


@pytest.mark.parametrize("name", NAMES)
def test_axe_has_nothing_against_it(open_page, filled, name):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    address, ids = filled
    for scheme in ("light", "dark"):
        page = open_page(address + PAGES[name].format(**ids), color_scheme=scheme)
        found = axe.Axe().run(page).response["violations"]
        told = [(one["id"], [node["html"][:120] for node in one["nodes"][:3]]) for one in found]
        assert told == [], scheme


@pytest.mark.parametrize("name", ["models", "model", "row", "compare", "studies", "running"])
def test_all_can_be_read_without_scripts(open_page, filled, name):
    address, ids = filled
    page = open_page(address + PAGES[name].format(**ids), java_script_enabled=False)
    assert page.locator("main table tbody tr").count() > 1
    assert page.locator("button.copy:visible").count() == 0
    for place in page.locator("[data-figure]").all():
        assert "Figures need JavaScript" in place.inner_text()
    if name in ("model", "row"):
        if name == "model":
            page.locator("summary").first.click()
        assert "ls.scale_epsilon(" in page.locator(".copies pre").first.inner_text()


def test_everything_is_reached_by_keyboard(open_page, filled):
    address, _ = filled
    page = open_page(f"{address}/models/{MODEL}")
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        told = page.evaluate(
            "[document.activeElement.tagName, document.activeElement.textContent.trim(),"
            " getComputedStyle(document.activeElement).outlineStyle]"
        )
        assert told[0] == "BODY" or told[2] != "none", told
        reached.add(told[1].split("\n")[0])
    assert {"To the content", "Studies", "diffusers", "Shell"} <= reached


POSTED = """\
name: valley
model: {framework: diffusers, checkpoint: "bundled:fashion-mnist", name: valley}
sampler: {name: ancestral, steps: 10}
search: {mean: [0.99, 1.06], slope: [-0.009, 0.005], trials: 16}
metric: {name: fid, extractor: bundled, reference: "bundled:fashion-mnist", rungs: [150, 300]}
confirm: {top: 2, samples: 2000}
"""
