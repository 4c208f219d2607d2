"""Stable Diffusion and SDXL as one file, beside the folders with the same weights."""

import json
import shutil

import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers import StableDiffusionXLPipeline

from lambda_search.errors import MissingFile
from lambda_search.errors import UsageError
from lambda_search.files import sha256_of
from lambda_search.models.inspection import inspect
from lambda_search.models.registry import load_model
from lambda_search.models.sampling import sample
from lambda_search.schedule import LambdaSchedule
from tests.models import single_files
from tests.models import tiny_pipelines as tiny

PROMPTS = ["a cat", "two red dogs"]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tiny.stable_diffusion(tmp_path_factory.mktemp("single") / "sd")


@pytest.fixture(scope="session")
def folder_xl(tmp_path_factory):
    return tiny.stable_diffusion_xl(tmp_path_factory.mktemp("single") / "sdxl")


@pytest.fixture(scope="session")
def file(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "sd15.safetensors"
    return single_files.saved(single_files.tensors_of(folder), path)


@pytest.fixture(scope="session")
def described(folder, tmp_path_factory):
    """The folder's configuration alone."""
    left_out = shutil.ignore_patterns("*.safetensors")
    return shutil.copytree(folder, tmp_path_factory.mktemp("config") / "sd", ignore=left_out)


def load(path, **config):
    return load_model("diffusers", path, {"prompts": PROMPTS} | config)


def images(model):
    schedule = LambdaSchedule(1.01, 0.0)
    return sample(model, "ddim", 2, schedule, range(2), labels=torch.tensor([0, 1]), guidance=3.0)


def refused(error, call):
    with pytest.raises(error) as caught:
        call()
    assert "\n" not in caught.value.cause
    return caught.value.cause, caught.value.hint


def test_a_file_samples_as_the_folder_with_its_weights(file, folder, described):
    model, whole = load(file, config=str(described)), load(folder)
    assert torch.equal(images(model), images(whole))
    assert model.sha256 == sha256_of(file)
    assert model.definition == whole.definition


def test_every_tensor_of_sdxl_is_that_of_the_folder(folder_xl, tmp_path):
    path = single_files.saved(single_files.tensors_of(folder_xl), tmp_path / "xl.safetensors")
    ours, whole = load(path, config=str(folder_xl))._pipeline, load(folder_xl)._pipeline
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        found, expected = (getattr(one, part).state_dict() for one in (ours, whole))
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_file_of_sdxl_samples_as_the_folder_with_its_weights(folder_xl, tmp_path):
    path = single_files.saved(single_files.tensors_of(folder_xl), tmp_path / "xl.safetensors")
    found, expected = images(load(path, config=str(folder_xl))), images(load(folder_xl))
    assert torch.allclose(found, expected, atol=1e-5)


def test_a_file_of_version_2_wants_its_configuration_named(folder, tmp_path):
    path = single_files.saved(single_files.second_version(folder), tmp_path / "sd2.safetensors")
    assert torch.equal(images(load(path, config=str(folder))), images(load(folder)))
    cause, hint = refused(UsageError, lambda: load(path))
    assert "does not say what its network predicts" in cause
    assert "config" in hint


@pytest.mark.parametrize("kind", ["sd", "xl"])
def test_the_names_are_those_that_the_library_reads(kind, request, tmp_path):
    folder = request.getfixturevalue("folder" if kind == "sd" else "folder_xl")
    family = StableDiffusionPipeline if kind == "sd" else StableDiffusionXLPipeline
    path = single_files.saved(single_files.tensors_of(folder), tmp_path / "one.safetensors")
    theirs = family.from_single_file(str(path), config=str(folder), local_files_only=True)
    ours = load(path, config=str(folder))._pipeline
    # of SDXL's two text encoders the library tells one from the other by widths, here equal
    for part in ("unet", "vae", "text_encoder"):
        found, expected = (getattr(one, part).state_dict() for one in (ours, theirs))
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_pickled_file_is_read_as_data(file, described, tmp_path):
    state = single_files.load_file(file)
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "sd15.ckpt")
    model = load(tmp_path / "sd15.ckpt", config=str(described))
    assert torch.equal(images(model), images(load(file, config=str(described))))


def test_a_configuration_that_is_not_here_is_named(file):
    cause, hint = refused(MissingFile, lambda: load(file))
    assert "needs the configuration of stable-diffusion-v1-5/stable-diffusion-v1-5" in cause
    assert "hf download stable-diffusion-v1-5/stable-diffusion-v1-5" in hint
    assert "{config: FOLDER" in hint


@pytest.mark.parametrize("lost", ["model.diffusion_model.middle_block", "first_stage_model.dec"])
def test_a_file_that_lacks_tensors_is_refused(file, described, tmp_path, lost):
    state = single_files.load_file(file)
    kept = {name: value for name, value in state.items() if not name.startswith(lost)}
    path = single_files.saved(kept, tmp_path / "part.safetensors")
    cause, _ = refused(UsageError, lambda: load(path, config=str(described)))
    assert str(path) in cause


def test_a_file_without_a_text_encoder_or_of_other_weights_is_refused(file, described, tmp_path):
    state = single_files.load_file(file)
    kept = {name: value for name, value in state.items() if "cond_stage" not in name}
    path = single_files.saved(kept, tmp_path / "unet.safetensors")
    assert "is no Stable Diffusion" in refused(UsageError, lambda: load(path))[0]


def test_a_configuration_of_another_kind_is_refused(file, folder_xl):
    cause, hint = refused(UsageError, lambda: load(file, config=str(folder_xl)))
    assert "StableDiffusionPipeline" in cause
    assert "StableDiffusionXLPipeline" in cause
    assert "config" in hint


def test_a_configuration_of_other_sizes_is_refused(file, described, tmp_path):
    other = shutil.copytree(described, tmp_path / "other")
    for entry in ({"block_out_channels": [16, 16]}, {"layers_per_block": 2}):
        path = other / "unet" / "config.json"
        told = json.loads((described / "unet" / "config.json").read_text())
        path.write_text(json.dumps(told | entry))
        assert str(file) in refused(UsageError, lambda: load(file, config=str(other)))[0]


def test_prompts_are_needed_still(file, described):
    cause, _ = refused(UsageError, lambda: load_model("diffusers", file))
    assert "needs prompts" in cause
    with pytest.raises(UsageError):
        load_model("diffusers", file, {"config": str(described)})


def test_a_file_is_told_from_other_checkpoints(file, described):
    found = inspect(str(file))
    assert found.framework == "diffusers"
    assert "config" in str(found.missing)
    whole = inspect(str(file), {"prompts": PROMPTS, "config": str(described)})
    assert whole.missing is None
    assert whole.shape == (4, 8, 8)
