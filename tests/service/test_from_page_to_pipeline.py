"""The whole way through a browser: posted, driven for real, watched, looked at in Optuna, used."""

import pytest
import torch
from diffusers import DDPMPipeline

import lambda_search as ls
from lambda_search.paths import bundled_folder
from tests.service.browsing import follow
from tests.service.processes import Served
from tests.service.test_pages_browser import sign_in

STUDY = """
name: quick
model: {framework: diffusers, checkpoint: "bundled:fashion-mnist", name: fashion-mnist}
sampler: {name: ancestral, steps: 10, variance: small}
search: {mean: [1.025, 1.045], slope: [-0.01, -0.005], trials: 4}
metric: {extractor: bundled, reference: "bundled:fashion-mnist", rungs: [64]}
confirm: {top: 1, samples: 600}
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_study_goes_from_a_page_to_a_pipeline(chromium, tmp_path):
    place = f"sqlite:///{tmp_path}/store.db"
    with Served(place, "--drive", "--workers", "1") as served:
        page = follow(chromium, permissions=["clipboard-read", "clipboard-write"])
        sign_in(page, served.address, "/studies/new")
        page.fill("#study", STUDY)
        page.click("text=Queue it")
        page.wait_for_url("**/studies/quick")
        page.locator("text=The study has ended.").wait_for(timeout=400_000)  # live, no reload
        row = ls.best("fashion-mnist", 10, "ancestral", place)
        page.locator(".lambda .status.confirmed").wait_for()
        assert str(row.schedule) in page.locator(".lambda").inner_text()
        assert page.locator("main table.sortable tbody tr").count() == 4

        page.click("main >> text=Optuna")
        page.locator("text=quick (id=1)").first.wait_for()
        page.locator("text=FID(λ) − FID(1), bias-corrected").first.wait_for()
        assert "/dashboard" in page.url

        page.goto(f"{served.address}/models/fashion-mnist")
        page.click("article >> button:has-text('diffusers')")
        page.locator("button:has-text('Copied')").wait_for()
        line = page.evaluate("navigator.clipboard.readText()")
        assert page.problems == []
        page.context.close()
        code, told = served.end(90)
        assert code == 0, told
    plain, copied = (
        DDPMPipeline.from_pretrained(bundled_folder("fashion-mnist")) for _ in range(2)
    )
    exec(line, {"ls": ls, "pipeline": copied})
    assert (images(copied) != images(plain)).any() and not row.schedule.is_identity


def images(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    noise = [torch.Generator().manual_seed(seed) for seed in range(2)]
    return pipeline(2, noise, 10, output_type="np").images
