"""The study files of what is published: they fit the catalogue, and say what is missing here."""

import json
import re
import shutil
from pathlib import Path

import pytest

from lambda_search.errors import UsageError
from lambda_search.launching import plans_of
from lambda_search.models.registry import frameworks
from lambda_search.search.space import Point
from lambda_search.search.space import Space
from lambda_search.search.weights import MissingWeights
from lambda_search.spec import load_specs
from lambda_search.spec import parse_specs
from lambda_search.store.catalogue import entries
from lambda_search.store.store import Store

FOLDER = Path(__file__).parents[1] / "studies" / "published"
SPECS = load_specs(FOLDER)


@pytest.fixture
def folder(tmp_path):
    """The published studies, on a machine without their weights."""
    return Path(shutil.copytree(FOLDER, tmp_path / "published", ignore=_not_studies))


def _not_studies(_, names):
    return [name for name in names if not name.endswith(".yaml")]


def test_every_published_schedule_lies_in_the_ranges_of_a_study():
    for entry in entries():
        setting = entry.setting
        [spec] = [
            spec
            for spec in SPECS
            if (spec.model.name, spec.sampler.name, spec.sampler.steps)
            == (setting.model, setting.sampler, setting.steps)
        ]
        assert spec.model.framework == setting.framework
        mean = entry.schedule.mean(setting.steps)
        point = Point(mean, entry.schedule.k)
        assert Space.of(spec, setting.steps).contains(point), (spec.name, point)


def test_all_frameworks_are_there_and_every_model_says_where_its_weights_are():
    assert {spec.model.framework for spec in SPECS} == set(frameworks())
    for spec in SPECS:
        assert spec.model.source is not None
        assert spec.model.source.url.startswith("https://")
        non_commercial = spec.model.framework in ("edm", "dit", "pfgmpp")
        assert ("NC" in spec.model.source.licence) == non_commercial


def test_a_dry_run_shows_all_that_is_known_without_weights(cli, folder):
    code, out, err = cli("launch", "--dry-run", folder, "--json")
    shown = {one["study"]: one for one in json.loads(out)}
    assert (code, err) == (0, "")
    assert sorted(shown) == sorted(spec.name for spec in SPECS)
    for spec in SPECS:
        one = shown[spec.name]
        steps = spec.sampler.steps
        evaluations = 2 * steps - 1 if spec.sampler.name == "heun" else steps
        assert one["network_evaluations"] == one["images"] * evaluations
        assert one["images"] > 4 * spec.confirm.samples
        assert one["trials"] == 40 and f"{spec.sampler.name}, {steps} steps" in one["sampler"]
        if spec.model.framework != "diffusers":  # that one may be in the hub's cache
            weights = one["missing"][0]
            name = Path(spec.model.checkpoint).name
            assert (weights["what"], one["estimate"]) == ("weights", None)
            assert str(folder / "checkpoints" / name) in weights["cause"]
            assert spec.model.source.url in weights["hint"]
            assert spec.model.source.licence in weights["hint"]
    assert Store().studies() == []


def test_a_dry_run_tells_people_in_whole_addresses(cli, folder):
    code, out, err = cli("launch", "--dry-run", folder / "adm-cifar10.yaml")
    [spec, *_] = [spec for spec in SPECS if spec.name == "adm-cifar10-20"]
    assert code == 0
    assert spec.model.source.url in out and spec.model.source.licence in out
    assert f"{folder}/checkpoints/adm-cifar10.pt are not on this machine" in out
    assert "3 of 3 studies cannot be launched" in err


@pytest.mark.parametrize(
    "name",
    [
        "dit-imagenet256",
        pytest.param("adm-imagenet64", marks=pytest.mark.slow),
        pytest.param("edm-cifar10-cond-heun", marks=pytest.mark.slow),
    ],
)
def test_a_launch_without_weights_is_one_error_that_says_where_they_are(cli, folder, name):
    spec = load_specs(folder / f"{name}.yaml")[0]
    code, out, err = cli("launch", folder / f"{name}.yaml")
    assert (code, out) == (2, "")
    for piece in (spec.model.checkpoint, spec.model.source.url, spec.model.source.licence):
        assert piece in err
    assert err.count("error:") == 1 and "Traceback" not in err
    with pytest.raises(MissingWeights):
        plans_of(folder / f"{name}.yaml")
    assert Store().studies() == []


def test_a_sampler_is_refused_without_the_weights(cli, study_file):
    text = study_file.read_text().replace("framework: diffusers", "framework: edm")
    study_file.write_text(re.sub('checkpoint: "[^"]*"', "checkpoint: none.pkl", text))
    code, out, err = cli("launch", study_file, "--dry-run")
    assert (code, out) == (2, "")
    assert "A edm model cannot be sampled with 'ancestral'" in err
    assert "euler, heun" in err


def test_only_what_is_missing_is_called_missing(cli, study_file):
    text = study_file.read_text()
    other = text.replace("extractor: bundled", "extractor: inception-clean")
    study_file.write_text(other.replace("bundled:fashion-mnist", "clean-fid:cifar10/train/32"))
    [one] = json.loads(cli("launch", study_file, "--dry-run", "--json")[1])
    assert [item["what"] for item in one["missing"]] == ["extractor", "reference"]
    assert "Inception" in one["missing"][0]["cause"]
    assert "inception-2015-12-05.pt" in one["missing"][0]["hint"]
    assert "grid linspace" in one["sampler"] and "network evaluations/s" in one["estimate"]
    study_file.write_text(text.replace('"bundled:fashion-mnist"', "./none.npz"))
    [one] = json.loads(cli("launch", study_file, "--dry-run", "--json")[1])
    assert [item["what"] for item in one["missing"]] == ["reference"]
    assert str(study_file.parent / "none.npz") in one["missing"][0]["cause"]
    study_file.write_text(text)
    [one] = json.loads(cli("launch", study_file, "--dry-run", "--json")[1])
    assert one["missing"] == []


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("framework: diffusers", "framework: admm", "no framework 'admm'"),
        ("extractor: bundled", "extractor: none-such", "no extractor 'none-such'"),
        ("ancestral", "heun", "cannot be sampled with 'heun'"),
        ('"bundled:fashion-mnist"', "./broken.npz", "is a text file"),
    ],
)
def test_a_dry_run_still_refuses_what_is_wrong(cli, study_file, old, new, words):
    (study_file.parent / "broken.npz").write_text("no archive")
    text = study_file.read_text()
    assert old in text
    study_file.write_text(text.replace(old, new))
    code, out, err = cli("launch", study_file, "--dry-run")
    assert (code, out) == (2, "") and words in " ".join(err.split())


def test_weights_without_a_source_are_missing_all_the_same(cli, study_file, tiny_pipeline):
    study_file.write_text(study_file.read_text().replace(str(tiny_pipeline), "./nowhere"))
    [one] = json.loads(cli("launch", study_file, "--dry-run", "--json")[1])
    assert [item["what"] for item in one["missing"]] == ["weights"]
    assert one["missing"][0]["hint"]


def test_a_source_is_checked_and_kept(study_text):
    url = "https://example.org/x.pt"
    given = study_text.replace("model: {", f"model: {{source: {{url: '{url}', licence: MIT}}, ")
    [spec] = parse_specs(given)
    assert spec.model.source.url == url and parse_specs(spec.to_yaml()) == [spec]
    with pytest.raises(UsageError, match=r"model.source.urll: .*did you mean 'url'"):
        parse_specs(given.replace("{url:", "{urll: x, url:"))
    with pytest.raises(UsageError, match=r"model.source.url: "):
        parse_specs(given.replace("https://", "file://"))


def test_paths_inside_a_models_own_options_start_at_the_study_file(folder):
    spec = load_specs(folder / "adm-imagenet128.yaml")[0]
    classifier = spec.model.config["classifier"]["checkpoint"]
    assert classifier == str(folder / "checkpoints" / "adm-imagenet128-classifier.pt")
