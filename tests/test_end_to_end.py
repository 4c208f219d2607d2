"""The product as processes: killed, interrupted, restarted, and looked at in a browser."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from lambda_search.launching import plans_of
from lambda_search.launching import run_studies
from lambda_search.spec import parse_specs
from lambda_search.store.store import Store
from lambda_search.work.pool import SerialPool
from tests.search.test_driver import record
from tests.shell import CLI
from tests.shell import end_group
from tests.shell import start
from tests.shell import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def undisturbed(study_text, tmp_path):
    store = Store(f"{tmp_path}/undisturbed.db")
    run_studies(plans_of(parse_specs(study_text)), store, SerialPool())
    return record(store)


def test_killed_half_way_and_started_again(undisturbed, study_file, home):
    first = start("launch", study_file, "--workers", 2, home=home)
    store = Store()
    wait_until(lambda: any(t.finished for t in store.trials(store.study("tiny").id)))
    end_group(first, signal.SIGKILL)
    assert store.study("tiny").state == "running"
    kept = len(list((home / "features").rglob("*.npy")))
    second = start("launch", study_file, "--workers", 1, home=home)
    _, err = second.communicate(timeout=300)
    assert second.returncode == 0, err
    assert "going on after" in err and kept > 0
    assert record(store) == undisturbed


def test_interrupted_it_says_how_to_go_on(undisturbed, study_file, home):
    first = start("launch", study_file, "--workers", 2, home=home)
    store = Store()
    wait_until(lambda: store.trials(store.study("tiny").id))
    began = time.monotonic()
    _, err = end_group(first, signal.SIGINT)
    print(f"ended {time.monotonic() - began:.1f} s after Ctrl-C")
    assert first.returncode == 130
    assert "Nothing that was computed is lost" in err and "same command" in err
    assert "Traceback" not in err
    assert store.study("tiny").state == "stopped"
    second = start("launch", study_file, "--json", home=home)
    out, err = second.communicate(timeout=300)
    assert second.returncode == 0, err
    assert json.loads(out)[0]["status"] in ("confirmed", "measured")
    assert record(store) == undisturbed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--ray-address", "127.0.0.1:1"), "Ray cannot be reached at 127.0.0.1:1"),
        (("--gpus", "1"), "1 GPU for each worker is asked for"),
    ],
)
def test_a_cluster_that_is_not_there_is_one_message(arguments, words, study_file, home):
    process = start("launch", study_file, *arguments, home=home)
    _, err = process.communicate(timeout=180)
    assert process.returncode == 2
    assert words in " ".join(err.split()) and "Traceback" not in err


@pytest.fixture
def page(chromium):
    """A page that collects what goes wrong in it, and what it asks of other hosts."""
    opened = chromium.new_page(viewport={"width": 1280, "height": 900})
    opened.problems = []
    opened.on("pageerror", lambda error: opened.problems.append(str(error)))
    opened.on(
        "request",
        lambda request: (
            opened.problems.append(request.url)
            if request.url.startswith("http") and "127.0.0.1" not in request.url
            else None
        ),
    )
    yield opened
    opened.close()


@pytest.fixture
def finished(study_text, home):
    store = Store()
    run_studies(plans_of(parse_specs(study_text)), store, SerialPool())
    return store


def test_the_report_draws_itself_offline(page, finished, tmp_path, home):
    path = tmp_path / "report.html"
    process = start("report", "tiny", "-o", path, home=home)
    assert process.wait(60) == 0
    page.goto(path.as_uri())
    page.wait_for_selector("[data-figure=cost] .main-svg")
    for figure in ("plane", "rungs", "lambdas", "cost"):
        assert page.locator(f"[data-figure={figure}] .scatterlayer .trace").count() > 0
    images = page.locator("figure img")
    assert images.count() == 2
    assert all(images.nth(i).evaluate("image => image.naturalWidth") > 0 for i in range(2))
    assert page.problems == []


def test_the_dashboard_shows_the_trials(page, finished, home):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = start("dashboard", "--port", port, home=home)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: not socket.socket().connect_ex(("127.0.0.1", port)), 60)
        page.goto(f"{url}/dashboard/studies/1")
        page.wait_for_selector("text=tiny", timeout=30_000)
        page.wait_for_selector(".main-svg", timeout=30_000)
        assert page.problems == []
    finally:
        end_group(process, signal.SIGINT)
    assert process.returncode in (0, 130)


@pytest.mark.timeout(1500)  # beside other tests
def test_the_demo_ends_with_a_confirmed_row(home):
    began = time.monotonic()
    process = start("demo", home=home)
    out, err = process.communicate(timeout=1400)
    print(f"the demo took {time.monotonic() - began:.0f} s\n{err}\n{out}")
    assert process.returncode == 0, err
    assert "confirmed" in out
    answer = subprocess.run(
        [CLI, "best", "fashion-mnist", "--steps", str(demo_steps()), "--json"],
        env=os.environ | {"LAMBDA_SEARCH_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    best = json.loads(answer.stdout)
    assert best["status"] == "confirmed" and best["gain_interval"][0] > 0


def demo_steps():
    return parse_specs(Path("studies/demo.yaml").read_text())[0].sampler.steps
