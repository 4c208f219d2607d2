"""`diagnose` on the shell: a checkpoint or a study file, as words, as JSON, as a page."""

import html
import json

import pytest
import yaml

from lambda_search.search import clean
from lambda_search.search import diagnosing


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(clean, "_MANY", 8)
    monkeypatch.setattr(diagnosing, "_OWN", 32)


def test_a_checkpoint_as_json_and_as_a_page(cli, tiny_pipeline, tmp_path):
    page = tmp_path / "page.html"
    told = ("--steps", 3, "--sampler", "ddim", "--images", 500, "--device", "cpu", "--json")
    code, out, err = cli("diagnose", str(tiny_pipeline), *map(str, told), "--output", str(page))
    assert code == 0, err
    found = json.loads(out)
    assert (found["sampler"], found["steps"]) == ("ddim", 3)
    assert [one["index"] for one in found["curve"]] == [0, 1, 2]
    assert all(one["ratio"] == one["sampling"] / one["true"] for one in found["curve"])
    assert found["images"] <= 500
    text = html.unescape(page.read_text())
    assert all(f'data-figure="{name}"' in text for name in ("norms", "ratio", "tried", "lambdas"))
    assert found["reference"] in text and (tmp_path / "plotly.min.js").is_file()


def test_a_study_file_says_the_setting(cli, tiny_pipeline, tmp_path):
    study = {
        "name": "mine",
        "model": {"framework": "diffusers", "checkpoint": str(tiny_pipeline)},
        "sampler": {"name": "ancestral", "steps": [3, 4], "variance": "large"},
        "search": {"slope": 0},
        "metric": {"extractor": "bundled", "reference": "bundled:fashion-mnist"},
    }
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(study))
    code, out, err = cli("diagnose", str(file), "--steps", "3", "--images", "500")
    assert code == 0, err
    assert "λ" in out and "own samples" in err and "not" in err
    code, _, err = cli("diagnose", str(file), "--steps", "3", "--sampler", "ddim")
    assert code == 2 and "--sampler" in err
    code, _, err = cli("diagnose", str(file))
    assert code == 2 and "2 studies" in err


def test_what_is_missing_is_said(cli, tiny_pipeline):
    code, _, err = cli("diagnose", str(tiny_pipeline))
    assert code == 2 and "--steps" in err
