"""`dashboard` in a browser: what people see, and what becomes of a try to write."""

import io
import signal
import socket

import numpy as np
import pytest
from PIL import Image

from lambda_search.setting import Setting
from lambda_search.store.store import Store
from tests.shell import end_group
from tests.shell import start
from tests.shell import wait_until
from tests.store import optuna_study
from tests.store.test_store import begin
from tests.store.test_store import row


@pytest.fixture
def store(monkeypatch):
    """A study with trials of every kind, with real pictures, and one with a row."""
    picture = io.BytesIO()
    Image.fromarray(np.full((8, 8), 128, np.uint8)).save(picture, "PNG")
    monkeypatch.setattr(optuna_study, "picture", lambda number: picture.getvalue())
    setting = Setting(
        model="m",
        weights="0" * 64,
        definition="1" * 64,
        framework="diffusers",
        sampler="ancestral",
        steps=4,
        extractor="bundled@1",
        reference="r@2",
    )
    opened = Store()
    optuna_study.fill(opened, setting)
    opened.publish(begin(opened, setting, "done", optuna_study.STUDY), row(setting, "done"))
    return opened


@pytest.fixture
def address(store, home):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = start("dashboard", "--port", port, home=home)
    try:
        wait_until(lambda: not socket.socket().connect_ex(("127.0.0.1", port)))
        yield f"http://127.0.0.1:{port}"
    finally:
        end_group(process, signal.SIGINT)


@pytest.fixture
def page(chromium):
    opened = chromium.new_page(viewport={"width": 1280, "height": 900})
    opened.set_default_timeout(60_000)
    opened.problems = []
    opened.on("pageerror", lambda error: opened.problems.append(str(error)))
    yield opened
    opened.close()


@pytest.mark.slow
def test_the_dashboard_shows_studies_as_its_users_expect(page, address, store):
    page.goto(f"{address}/dashboard")
    page.wait_for_selector("text=1. s")
    page.goto(f"{address}/dashboard/studies/1")
    page.wait_for_selector("text=Timeline")
    bars = page.locator(".bars .point path")
    bars.first.wait_for(state="attached")
    page.goto(f"{address}/dashboard/studies/1/trials?numbers=1")
    picture = page.locator("img[src*='/artifacts/1/1000001/']")
    picture.wait_for()
    wait_until(lambda: picture.evaluate("image => image.naturalWidth") == 8, 60)
    page.goto(f"{address}/dashboard/studies/2/note")
    page.wait_for_selector("text=lambda-search best m --steps 4")
    assert page.problems == []


@pytest.mark.slow
def test_a_study_cannot_be_deleted_there(page, address, store):
    page.goto(f"{address}/dashboard")
    page.get_by_label("delete study").first.click()
    with page.expect_response(lambda answer: answer.request.method == "DELETE") as caught:
        page.get_by_role("button", name="Yes").click()
    assert caught.value.status == 405
    assert "can only be read" in caught.value.json()["reason"]
    page.wait_for_selector("text=Failed to delete study")
    assert {study.name for study in store.studies()} == {"s", "done"}
