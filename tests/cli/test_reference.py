"""`reference` and `evaluate` as people meet them, on real images."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from lambda_search.launching import plans_of
from lambda_search.metrics.extractors.base import NetworkExtractor
from lambda_search.metrics.extractors.registry import load_extractor
from lambda_search.metrics.references import making
from lambda_search.metrics.references.load import load_reference
from lambda_search.spec import load_specs
from lambda_search.work.pool import SerialPool
from tests.fashion import fashion_images

CPU = torch.device("cpu")
N = 500


def bundled():
    return load_extractor("bundled", CPU)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """The first test images of Fashion-MNIST, as files."""
    folder = tmp_path_factory.mktemp("fashion") / "real"
    folder.mkdir()
    for i, pixels in enumerate(fashion_images()[:N]):
        Image.fromarray(pixels).save(folder / f"{i:05}.png")
    return folder


@pytest.fixture(scope="module")
def features():
    """What the bundled extractor makes of them, all at once."""
    return bundled()(torch.from_numpy(fashion_images()[:N, None].copy())).double().numpy()


@pytest.fixture
def folder(pictures, tmp_path, monkeypatch):
    """The images in the folder `real` beside which one stands."""
    place = tmp_path / "work"
    shutil.copytree(pictures, place / "real")
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def calls(monkeypatch):
    """Counts the images that go through a network."""
    counted, call = [], NetworkExtractor.__call__

    def count(self, images):
        counted.append(len(images))
        return call(self, images)

    monkeypatch.setattr(NetworkExtractor, "__call__", count)
    return counted


def metric_of(out):
    """The metric that the words tell to put into a study file."""
    [line] = [line for line in out.splitlines() if line.startswith("metric: ")]
    return yaml.safe_load(line)["metric"]


def study_with(metric, study_text, place):
    """A study file elsewhere that has this metric."""
    document = yaml.safe_load(study_text)
    document["metric"] |= metric
    place.mkdir()
    path = place / "study.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def has_moments_of(reference, features):
    assert np.allclose(reference.mean, features.mean(0), rtol=1e-4, atol=1e-5)
    scale = np.abs(np.cov(features.T)).max()
    assert np.allclose(reference.cov, np.cov(features.T), rtol=0, atol=1e-5 * scale)


def test_made_of_a_folder_it_says_what_a_study_file_must_say(
    cli, folder, features, calls, study_text, tmp_path
):
    code, out, err = cli("reference", "make", "real", "--extractor", "bundled")
    assert code == 0 and sum(calls) == N
    assert "500 images, 128 features each, bundled@" in out
    assert "500 images: 500 .png" in err and "caution  the reference images:real is of 500" in err
    assert "500 of 500 images" in err
    metric = metric_of(out)
    assert metric == {"extractor": "bundled", "reference": f"images:{folder / 'real'}"}
    study = study_with(metric, study_text, tmp_path / "elsewhere")
    code, out, _ = cli("launch", study, "--dry-run", "--json")
    assert code == 0 and json.loads(out)[0]["missing"] == []
    [plan] = plans_of(study)
    [measure] = plan.recipe.measures
    cache = tmp_path / "home" / "references"
    has_moments_of(load_reference(measure.reference, bundled(), cache=cache), features)
    assert sum(calls) == N, "a study uses what was made"


def test_made_again_nothing_is_computed(cli, folder, calls):
    said = [cli("reference", "make", "real", "--extractor", "bundled")[:2] for _ in range(2)]
    assert said[0] == said[1] and sum(calls) == N
    assert cli("reference", "make", "images:real", "--extractor", "bundled")[:2] == said[0]
    assert sum(calls) == N


def test_the_file_that_is_written_is_a_reference_elsewhere(
    cli, folder, features, calls, study_text, tmp_path, home
):
    out = folder / "new" / "mine.npz"
    arguments = ("reference", "make", "real", "--extractor", "bundled")
    code, words, _ = cli(*arguments, "--out", "new/mine.npz")
    assert code == 0
    assert metric_of(words) == {"extractor": "bundled", "reference": str(out)}
    assert [file.name for file in out.parent.iterdir()] == ["mine.npz"]
    with np.load(out) as arrays:
        assert np.allclose(arrays["mu"], features.mean(0), rtol=1e-4, atol=1e-5)
        assert int(arrays["n"]) == N
        assert str(arrays["extractor"]) == bundled().fingerprint
        assert arrays["features"].shape == (N, 128)
    shutil.rmtree(home)
    shutil.rmtree("real")
    study = study_with(metric_of(words), study_text, tmp_path / "elsewhere")
    [plan] = plans_of(study)
    found = load_reference(plan.recipe.measures[0].reference, bundled())
    has_moments_of(found, features)
    assert found.count == N
    assert sum(calls) == N


@pytest.mark.parametrize("to", [(), ("--out", "mine.npz")], ids=["kept", "written"])
def test_as_json_it_names_what_a_study_will_record(cli, folder, to):
    arguments = ("reference", "make", "real", "--extractor", "bundled", *to)
    code, out, _ = cli(*arguments, "--json")
    told = json.loads(out)
    assert code == 0
    assert (told["images"], told["dim"], told["extractor"]) == (N, 128, "bundled")
    assert told["extractor_fingerprint"] == bundled().fingerprint
    expected = str(folder / "mine.npz") if to else f"images:{folder / 'real'}"
    assert told["reference"] == expected
    assert told["fingerprint"] == load_reference(expected, bundled()).fingerprint


@pytest.mark.parametrize("name", ["two words", 'a "quote"', "a, b: {c}", "#λ", "back\\slash"])
def test_what_it_prints_is_yaml_whatever_the_folder_is_called(cli, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path(name).mkdir()
    for i in range(128):
        Image.fromarray(fashion_images()[i]).save(Path(name) / f"{i}.png")
    code, out, _ = cli("reference", "make", name, "--extractor", "bundled")
    assert code == 0
    assert metric_of(out)["reference"] == f"images:{tmp_path / name}"


def test_an_extractor_of_ones_own_is_named_from_anywhere(cli, folder, study_text, tmp_path):
    class Means(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean(dim=[2, 3])

    torch.jit.save(torch.jit.script(Means()), "own.pt")
    for name in ("own.pt", "./own.pt"):
        code, out, _ = cli("reference", "make", "real", "--extractor", name)
        assert code == 0
        assert metric_of(out)["extractor"] == str(folder / "own.pt")
    study = study_with(metric_of(out), study_text, tmp_path / "elsewhere")
    assert plans_of(study)[0].recipe.measures[0].width == 3


# Stopped


def array(path, n):
    np.savez(path, fashion_images()[:n, :, :, None])
    return path


def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(cli, folder, calls, monkeypatch):
    path = array(folder / "real.npz", 1200)
    arguments = ("reference", "make", path, "--extractor", "bundled")
    counted = NetworkExtractor.__call__

    def stop(self, images):
        if sum(calls) > 900:
            raise KeyboardInterrupt
        return counted(self, images)

    with monkeypatch.context() as patched:
        patched.setattr(making, "_SAVE_SECONDS", 0.0)
        patched.setattr(NetworkExtractor, "__call__", stop)
        code, out, err = cli(*arguments, "--out", "mine.npz")
    assert (code, out) == (130, "")
    assert "stopped: " in err and "same command" in err and "Traceback" not in err
    assert not Path("mine.npz").exists()
    [_, unfinished] = json.loads(cli("reference", "list", "--json")[1])
    assert unfinished["state"] == "unfinished" and 512 <= unfinished["count"] < 1200
    assert "unfinished: " in cli("reference", "list")[1]
    calls.clear()
    code, _, _ = cli(*arguments, "--out", "mine.npz")
    assert code == 0 and sum(calls) == 1200 - unfinished["count"]
    features = bundled()(torch.from_numpy(fashion_images()[:1200, None].copy())).double().numpy()
    has_moments_of(load_reference("mine.npz", bundled()), features)
    states = [one["state"] for one in json.loads(cli("reference", "list", "--json")[1])]
    assert states == ["ready", "ready"]


@pytest.mark.slow
def test_a_real_ctrl_c_is_exit_code_130(folder, home):
    process = subprocess.Popen(
        [
            Path(sys.executable).with_name("lambda-search"),
            *("reference", "make", array(folder / "real.npz", 10_000), "--extractor", "bundled"),
        ],
        env=os.environ | {"LAMBDA_SEARCH_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    count, first = process.stderr.readline(), process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert count == "10,000 images\n"
    assert re.fullmatch(r"\d,\d{3} of 10,000 images\n", first)
    assert (process.returncode, out) == (130, "")
    assert "same command" in err and "Traceback" not in err
    assert list((home / "references").glob("*.npz")) == []


# What is wrong


def files_in(where):
    return sorted(str(path.relative_to(where)) for path in where.rglob("*"))


BAD = {
    "an extractor that is none": (("real", "--extractor", "inceptoin"), 2, "'inceptoin'"),
    "an extractor's file that is none": (("real", "--extractor", "./none.pt"), 2, "./none.pt"),
    "an extractor's file that is broken": (("real", "--extractor", "broken.pt"), 2, "broken.pt"),
    "no extractor": (("real",), 2, "--extractor"),
    "a folder that is none": (("none", "--extractor", "bundled"), 2, "There is nothing at none."),
    "no name": (("images:", "--extractor", "bundled"), 2, "no reference at images:"),
    "an empty folder": (("empty", "--extractor", "bundled"), 2, "There are no images in"),
    "another file": (
        ("broken.pt", "--extractor", "bundled"),
        2,
        "is a text file, not an archive of images",
    ),
    "too few images": (("few", "--extractor", "bundled"), 2, "fewer than the 128 features"),
    "a device that is none": (("real", "--extractor", "bundled", "--device", "x"), 2, "'x'"),
    "a file in the place of a folder": (
        ("real", "--extractor", "bundled", "--out", "broken.pt/mine.npz"),
        1,
        "broken.pt/mine.npz cannot be written",
    ),
    "a folder in the place of a file": (
        ("real", "--extractor", "bundled", "--out", "empty"),
        1,
        "empty cannot be written",
    ),
    "this folder": (("real", "--extractor", "bundled", "--out", "."), 1, "cannot be written"),
    "a place that nobody may write to": (
        ("real", "--extractor", "bundled", "--out", "/proc/mine.npz"),
        1,
        "/proc/mine.npz cannot be written",
    ),
}


@pytest.mark.parametrize(("arguments", "expected", "words"), BAD.values(), ids=BAD)
def test_a_bad_make_is_one_message_before_anything_is_computed(
    cli, folder, home, calls, arguments, expected, words
):
    (folder / "empty").mkdir()
    (folder / "few").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("L", (8, 8)).save(folder / "few" / name)
    (folder / "broken.pt").write_text("no archive")
    before = files_in(folder)
    code, out, err = cli("reference", "make", *arguments)
    assert (code, out) == (expected, "")
    assert words in " ".join(err.split()) and "Traceback" not in err
    assert err.count("error:") <= 1  # none where the options themselves are wrong
    assert calls == [] and files_in(folder) == before
    assert not (home / "references").exists()


def test_looking_whether_a_place_can_be_written_touches_no_other_file(cli, folder):
    (folder / "mine.part").write_text("precious")
    (folder / "mine.npz").write_text("older")
    code, _, _ = cli("reference", "make", "real", "--extractor", "bundled", "--out", "mine.npz")
    assert code == 0 and (folder / "mine.part").read_text() == "precious"
    assert load_reference("mine.npz", bundled()).count == N


def test_a_damaged_image_is_named_and_nothing_is_kept(cli, folder, home):
    broken = folder / "real" / "00321.png"
    broken.write_bytes(broken.read_bytes()[:200])
    arguments = ("reference", "make", "real", "--extractor", "bundled", "--out", "mine.npz")
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "") and err.count("error:") == 1 and "Traceback" not in err
    assert f"00321.png in {folder / 'real'} cannot be read" in " ".join(err.split())
    assert list(home.rglob("*.npz")) == [] and not Path("mine.npz").exists()


def test_offline_it_says_where_to_put_the_weights(cli, folder, home, monkeypatch):
    for name in ("HF_HUB_OFFLINE", "LAMBDA_SEARCH_OFFLINE"):
        monkeypatch.setenv(name, "")  # --offline sets both, in this process; taken back afterwards
    arguments = ("reference", "make", "real", "--extractor", "inception-clean")
    code, out, err = cli("--offline", *arguments)
    assert (code, out) == (2, "") and err.count("error:") == 1 and "Traceback" not in err
    words = " ".join(err.split())
    assert "Inception weights are not on this machine" in words
    assert str(home / "extractors" / "inception-2015-12-05.pt") in words
    assert "https://" in words and "inception-2015-12-05.pt" in words
    assert not (home / "extractors").exists()


# Listed and marked


def test_the_list_shows_all_there_is_and_what_is_wrong_with_it(cli, folder, home):
    references = home / "references"
    code, out, _ = cli("reference", "list")
    assert code == 0 and "bundled:fashion-mnist" in out
    cli("reference", "make", "real", "--extractor", "bundled")
    [made] = references.glob("*.npz")
    (references / "clean-fid").mkdir()
    gaussian = {"mu": np.zeros(4), "sigma": np.eye(4)}
    for name in ("cifar10_clean_train_32", "ffhq_legacy_tensorflow_trainval70k_256"):
        np.savez(references / "clean-fid" / f"{name}.npz", **gaussian)
    np.savez(references / "clean-fid" / "cifar10_clean_train_32_kid.npz", feats=np.zeros(4))
    (references / f"{'d' * 64}.npz").write_text("no archive")
    (references / f"{'e' * 64}.partial").write_text("no archive")
    code, out, _ = cli("reference", "list", "--json")
    found = {one["name"]: one for one in json.loads(out)}
    assert code == 0 and len(found) == 6
    shipped = found["bundled:fashion-mnist"]
    assert (shipped["count"], shipped["dim"], shipped["state"]) == (60_000, 128, "ready")
    own = found[f"images:{folder / 'real'}"]
    assert (own["count"], own["dim"], own["path"]) == (N, 128, str(made))
    assert own["fingerprint"] == made.stem
    label = f"bundled@{bundled().fingerprint[:12]}"
    assert own["extractor"] == shipped["extractor"] == label
    for name in ("clean-fid:cifar10/train/32", "clean-fid:ffhq/trainval70k/256"):
        assert (found[name]["count"], found[name]["dim"]) == (None, 4)
        assert found[name]["extractor"] == ""
    broken = [one for one in found.values() if one["state"] == "damaged"]
    assert {Path(one["path"]).stem for one in broken} == {"d" * 64, "e" * 64}
    assert all(re.match(r"\d{4}-\d\d-\d\dT", one["made"]) for one in found.values())
    code, out, _ = cli("reference", "list")
    assert code == 0 and out.count("damaged:") == 2
    assert "60,000  128  " in out
    for name in found:  # to be copied, so none is cut, however narrow the terminal
        assert re.search(rf" {re.escape(name)}$", out, re.MULTILINE), name


def test_a_mark_makes_a_file_usable(cli, folder, study_text):
    own = load_extractor("bundled", CPU)
    np.savez("theirs.npz", mu=np.zeros(128), sigma=np.eye(128))
    before = Path("theirs.npz").read_bytes()
    code, out, err = cli("reference", "mark", "theirs.npz", "--extractor", "bundled")
    assert (code, out) == (0, "theirs-marked.npz\n") and "bundled made it" in err
    with np.load("theirs-marked.npz") as arrays:
        assert str(arrays["extractor"]) == own.fingerprint
    assert Path("theirs.npz").read_bytes() == before
    code, out, _ = cli(
        "reference", "mark", "theirs.npz", "--extractor", "bundled", "--out", "new/b.npz"
    )
    assert (code, out) == (0, "new/b.npz\n")
    assert load_reference("new/b.npz", own).dim == 128


@pytest.mark.parametrize(
    ("arguments", "expected", "words"),
    [
        (("none/none.npz", "--extractor", "bundled"), 2, "none.npz cannot be read"),
        (("narrow.npz", "--extractor", "bundled"), 2, "is 5 wide"),
        (("other.npz", "--extractor", "bundled"), 2, "says that theirs made it"),
        (("narrow.npz", "--extractor", "x"), 2, "no extractor 'x'"),
        (("narrow.npz", "--extractor", "bundled", "--out", "real"), 1, "cannot be written"),
    ],
)
def test_a_bad_mark_is_one_message_and_writes_nothing(cli, folder, arguments, expected, words):
    np.savez("narrow.npz", mu=np.zeros(5), sigma=np.eye(5))
    said = {"extractor": "0" * 64, "extractor_name": "theirs"}
    np.savez("other.npz", mu=np.zeros(128), sigma=np.eye(128), **said)
    before = files_in(folder)
    code, out, err = cli("reference", "mark", *arguments)
    assert (code, out) == (expected, "")
    assert words in " ".join(err.split()) and "Traceback" not in err
    assert files_in(folder) == before


# `evaluate`


@pytest.fixture
def serial(monkeypatch):
    """The command works in this process, without Ray."""

    @contextmanager
    def pool(*_):
        yield SerialPool()

    monkeypatch.setattr("lambda_search.launching.worker_pool", pool)


LINE = re.compile(
    r"FID (\d+\.\d\d) ± (\d+\.\d\d) "
    r"\(λ = 1: (\d+\.\d\d) ± (\d+\.\d\d); gain (-?\d+\.\d\d) ± (\d+\.\d\d), N = (\d+)\)"
)


def test_evaluate_prints_the_line_that_counts(cli, serial, study_file):
    arguments = ("evaluate", study_file, "--b", "1.03", "--k", "-0.005", "-n", 40)
    code, out, err = cli(*arguments)
    assert code == 0
    assert "caution: the model makes images of 8 × 8 pixels" in " ".join(err.split())
    [line] = [found for found in map(LINE.fullmatch, out.splitlines()) if found]
    told = json.loads(cli(*arguments, "--json")[1])

    def half(name):
        return (told[name]["high"] - told[name]["low"]) / 2

    assert line.groups() == (
        f"{told['fid']:.2f}",
        f"{half('fid_interval'):.2f}",
        f"{told['baseline_fid']:.2f}",
        f"{half('baseline_interval'):.2f}",
        f"{told['gain']:.2f}",
        f"{half('gain_interval'):.2f}",
        "40",
    )
    for piece in ("λ(i) = 1.03 − 0.005·i", "bias-corrected", "FID∞", f"{told['corrected']:.5g}"):
        assert piece in out
    assert "bundled@" in err and "bundled:fashion-mnist@" in err


def test_evaluate_as_json_holds_the_evidence(cli, serial, study_file):
    code, out, _ = cli("evaluate", study_file, "--b", "1.03", "-n", 40, "--json")
    told = json.loads(out)
    assert code == 0
    assert told["schedule"] == {"b": 1.03, "k": 0.0}
    assert told["n"] == 40 and told["also"] == []
    assert told["raw_gain"] == pytest.approx(told["baseline_fid"] - told["fid"], abs=1e-9)
    gain = told["baseline_corrected"] - told["corrected"]
    assert told["gain"] == pytest.approx(gain, abs=1e-9)
    assert told["corrected"] < told["fid"], "the bias at 40 images is upwards"
    assert told["gain"] != told["raw_gain"]
    assert 0 < told["correlation"] <= 1
    for extras in (told["extras"], told["baseline_extras"]):
        assert set(extras) == {"fid_at_infinity", "kid"}
        assert extras["fid_at_infinity"] > 0
    assert told["gain_interval"]["level"] == 0.95
    assert told["gain_interval"]["low"] < told["gain"] < told["gain_interval"]["high"]


def test_evaluate_tells_of_all_distances(cli, serial, study_file, folder):
    cli("reference", "make", "real", "--extractor", "bundled", "--out", "mine.npz")
    also = f"also: [{{extractor: bundled, reference: '{folder / 'mine.npz'}'}}], rungs"
    study_file.write_text(study_file.read_text().replace("rungs", also))
    arguments = ("evaluate", study_file, "--b", "1.03", "-n", 40)
    told = json.loads(cli(*arguments, "--json")[1])
    [other] = told["also"]
    assert other["reference"].startswith("mine.npz@")
    assert other["extras"]["kid"] is not None, "the file keeps features"
    assert other["fid"] != told["fid"] and other["n"] == 40
    code, out, _ = cli(*arguments)
    assert code == 0 and "with bundled" in out
    assert f"{other['fid']:.5g}" in out and f"{other['gain']:.4g} ±" in out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--b", "0.01", "--k", "-0.1"), "must stay positive"),
        (("--b", "nan"), "must stay positive"),
        (("--b", "1.03", "-n", "15"), "greater than or equal"),
        ((), "--b"),
    ],
)
def test_a_bad_evaluate_is_one_message(cli, serial, study_file, calls, options, words):
    code, out, err = cli("evaluate", study_file, *options)
    assert (code, out) == (2, "") and words in " ".join(err.split()) and "Traceback" not in err
    assert calls == []


def test_a_file_with_several_studies_is_refused(cli, serial, study_file):
    text = study_file.read_text().replace("steps: 4", "steps: [3, 4]")
    study_file.write_text(text)
    assert len(load_specs(study_file)) == 2
    code, _, err = cli("evaluate", study_file, "--b", "1.03")
    assert code == 2 and "has 2 studies: tiny-3" in err


def test_list_gives_the_fingerprint_that_studies_record(cli):
    [bundled_one] = json.loads(cli("reference", "list", "--json")[1])
    assert bundled_one["name"] == "bundled:fashion-mnist"
    expected = load_reference("bundled:fashion-mnist", bundled()).fingerprint
    assert bundled_one["fingerprint"] == expected
