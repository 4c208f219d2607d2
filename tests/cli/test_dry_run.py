"""A dry run runs nothing that lies in a file, and says what is known without what is missing."""

import json
from contextlib import nullcontext

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import nn

from lambda_search import launching
from lambda_search.launching import plans_of
from lambda_search.metrics.extractors.registry import load_extractor
from lambda_search.metrics.references.load import load_reference
from lambda_search.paths import references_folder
from lambda_search.work.pool import SerialPool


@pytest.fixture
def study(study_file):
    """Writes the study with another metric."""

    def write(**metric):
        document = yaml.safe_load(study_file.read_text())
        document["metric"] |= metric
        study_file.write_text(yaml.safe_dump(document))
        return study_file

    return write


@pytest.fixture
def dry(cli):
    def run(path):
        code, out, err = cli("launch", path, "--dry-run", "--json")
        return code, json.loads(out)[0] if code == 0 else " ".join(err.split())

    return run


def test_a_probe_tries_a_batch_on_a_worker(cli, study_file, monkeypatch):
    monkeypatch.setattr(launching, "worker_pool", lambda *given: nullcontext(SerialPool()))
    code, _, err = cli("launch", study_file, "--probe")
    assert code == 2 and "Add --dry-run" in err
    code, out, _ = cli("launch", study_file, "--dry-run", "--probe", "--json")
    [plan] = json.loads(out)
    assert code == 0 and plan["probe"].startswith("16 images in ") and "on cpu" in plan["probe"]
    assert "GB" not in plan["probe"], "a CPU's memory is nobody's alone"


def images(folder, n=130, size=(8, 8), mode="L"):
    folder.mkdir()
    for i in range(n):
        pixels = np.random.default_rng(i).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(folder / f"{i:03}.png")
    return f"images:{folder}"


class Running(nn.Module):
    """Says so when it is loaded, and when it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.training = False

    @torch.jit.export
    def __getstate__(self) -> bool:
        return self.training

    @torch.jit.export
    def __setstate__(self, state: bool) -> None:
        self.training = state
        raise RuntimeError("it runs")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=[2, 3])


@pytest.fixture
def program(tmp_path):
    torch.jit.save(torch.jit.script(Running()), str(tmp_path / "own.pt"))
    return tmp_path / "own.pt"


@pytest.mark.parametrize("name", ["{}", "inception-clean:{}", "inception-legacy:{}"])
def test_no_torchscript_is_run(cli, dry, study, program, tmp_path, name):
    reference = images(tmp_path / "real", 3)
    path = study(extractor=name.format(program), reference=reference, rungs=None)
    code, shown = dry(path)
    assert code == (0 if name == "{}" else 2)  # of Inception the width is known: 2048
    if code == 0:
        assert shown["missing"] == []
        assert "3 images: 3 .png" in shown["reference"]
        assert "a launch knows their width" in shown["rounds"]
    else:
        assert "is of 3 images, fewer than the 2,048 features" in shown
    code, _, err = cli("launch", path)
    assert code == 2 and "it runs" in err


def test_what_is_no_torchscript_is_refused_without_running_it(dry, study, tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "state.pt")
    (tmp_path / "page.pt").write_text("<!DOCTYPE html>")
    for name in ("state.pt", "page.pt"):
        code, said = dry(study(extractor=str(tmp_path / name)))
        assert code == 2 and f"{tmp_path / name} cannot be read as TorchScript" in said


def test_what_was_made_with_it_is_known_in_a_dry_run(dry, study, tmp_path):
    class Means(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean(dim=[2, 3])

    torch.jit.save(torch.jit.script(Means()), str(tmp_path / "own.pt"))
    extractor = load_extractor(str(tmp_path / "own.pt"), torch.device("cpu"))
    moments = {"mu": np.zeros(3), "sigma": np.eye(3), "n": 50}
    np.savez(tmp_path / "mine.npz", **moments, extractor=extractor.fingerprint)
    np.savez(tmp_path / "theirs.npz", **moments, extractor="0" * 64)
    own, mine = str(tmp_path / "own.pt"), str(tmp_path / "mine.npz")
    path = study(extractor=own, reference=mine, rungs=None)
    code, shown = dry(path)
    assert code == 0 and "a launch knows" not in shown["rounds"]
    assert extractor.fingerprint[:16] in shown["metric"]
    code, said = dry(study(reference=str(tmp_path / "theirs.npz")))
    assert code == 2 and "was made with another extractor" in said


@pytest.mark.parametrize(
    ("extractor", "arrays", "said"),
    [
        ("inception-clean", {"d": 128}, "is 128 wide"),
        ("inception-clean", {"d": 2048}, "belong to inception-legacy"),
        ("inception-legacy", {"d": 2048}, None),
        ("inception-legacy", {"d": 2048, "extractor": "0" * 64}, "made with another extractor"),
        ("inception-clean:./gone.pt", {"d": 128}, "is 128 wide"),
        ("clip-vit-b32", {"d": 1024}, "is 1024 wide"),
        ("dinov2", {"d": 1024, "extractor": "0" * 64, "extractor_name": "mine.pt"}, "(mine.pt)"),
        ("dinov2", {"d": 1024, "extractor": "0" * 64, "extractor_name": "dinov2"}, None),
        ("./gone.pt", {"d": 9, "extractor": "0" * 64, "extractor_name": "bundled"}, "(bundled)"),
        ("./gone.pt", {"d": 9, "extractor": "0" * 64, "extractor_name": "renamed.pt"}, None),
    ],
)
def test_a_reference_that_does_not_belong_is_known_without_the_weights(
    dry, study, tmp_path, extractor, arrays, said
):
    d = arrays.pop("d")
    np.savez(tmp_path / "a.npz", mu=np.zeros(d), sigma=np.eye(d), **arrays)
    code, shown = dry(study(extractor=extractor, reference=str(tmp_path / "a.npz")))
    assert code == (0 if said is None else 2)
    if said is None:
        assert [item["what"] for item in shown["missing"]] == ["extractor"]
    else:
        assert said in shown


def test_few_images_are_refused_without_the_weights(dry, study, tmp_path):
    path = study(extractor="inception-clean", reference=images(tmp_path / "real", 9))
    code, said = dry(path)
    assert code == 2 and "is of 9 images, fewer than the 2,048 features" in said


def test_what_a_launch_fetches_does_not_stop_it(cli, dry, study, monkeypatch):
    path = study(extractor="inception-clean", reference="clean-fid:cifar10/train/32")
    words = {"": "1 of 1 studies can be launched, which fetches", "1": "cannot be launched"}
    for offline, said in words.items():
        for name in ("HF_HUB_OFFLINE", "LAMBDA_SEARCH_OFFLINE"):
            monkeypatch.setenv(name, offline)
        code, out, err = cli("launch", path, "--dry-run")
        assert code == 0 and said in err
        assert ("A launch fetches" in out) == (not offline)
        assert all(words[other] not in err for other in words if other != offline)
        missing = dry(path)[1]["missing"]
        assert [item["what"] for item in missing] == ["extractor", "reference"]
        assert [item["fetched"] for item in missing] == [not offline] * 2


@pytest.mark.parametrize(
    ("n", "size", "mode", "said"),
    [
        (600, (8, 8), "L", []),
        (200, (8, 8), "L", ["is of 200 images; below 512"]),
        (600, (8, 8), "RGB", ["makes grey images, and the reference {} is of colour"]),
        (600, (9, 8), "L", ["8 × 8 pixels, and those of the reference {} have 9 × 8"]),
    ],
)
def test_a_reference_of_another_kind_is_a_caution(dry, study, tmp_path, n, size, mode, said):
    reference = images(tmp_path / "real", n, size, mode)
    path = study(extractor="bundled", reference=reference)
    wanted = [words.format(reference) for words in said]
    for _ in ("the images", "their kept moments"):
        _, shown = dry(path)
        [plan] = plans_of(path)
        assert shown["cautions"] == list(plan.cautions())
        about = [caution for caution in shown["cautions"] if reference in caution]
        assert len(about) == len(wanted)
        assert all(words in caution for words, caution in zip(wanted, about, strict=True))
        assert shown["reference"] == f"{reference}: {n} images: {n} .png"
        assert plan.reference_notes == (shown["reference"],)
        bundled = load_extractor("bundled", torch.device("cpu"))
        assert load_reference(reference, bundled, cache=references_folder()).statistics.count == n


def test_looks_cost_less_than_they_may(dry, study_file):
    code, plain = dry(study_file)
    assert code == 0 and plain["expected_images"] is None
    document = yaml.safe_load(study_file.read_text())
    document["confirm"] |= {"samples": 50_000, "precision": "1%"}
    study_file.write_text(yaml.safe_dump(document))
    code, shown = dry(study_file)
    assert code == 0 and "up to 5 looks from 512 on" in shown["confirmation"]
    assert shown["images"] - plain["images"] == 3 * (50_000 - 80)
    assert plain["images"] < shown["expected_images"] < shown["images"] / 4
