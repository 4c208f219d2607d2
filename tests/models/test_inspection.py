"""What `models inspect` and `models convert` say and write, for each framework's own files."""

import json

import pytest
import torch
from safetensors.torch import load_file
from safetensors.torch import save_file
from typer.testing import CliRunner

from lambda_search.cli.app import app
from lambda_search.errors import UsageError
from lambda_search.models.inspection import convert
from lambda_search.models.inspection import inspect
from lambda_search.models.registry import frameworks
from lambda_search.models.registry import load_model
from lambda_search.models.sampling import sample
from lambda_search.schedule import LambdaSchedule
from tests.golden import folder_of
from tests.golden import golden

ADM = golden("ADM/cifar_like").config["model_flags"]
DIT = golden("DiT/tiny").config["model_kwargs"]
DDIM = golden("DDIM/cifar_like").config["config"]
TRAINED = golden("DDIM/train_list").config["config"]
FILES = {  # file: framework, config, parameters, shape, sampler
    "ADM/cifar_like/model.pt": ("adm", ADM, 681_382, (3, 16, 16), "ancestral"),
    "DDIM/cifar_like/model.pth": ("ddim", DDIM, 702_499, (3, 16, 16), "ddim"),
    "DDIM/train_list/ckpt.pth": ("ddim", TRAINED, 505_667, (3, 8, 8), "ddim"),
    "EDM/ddpmpp_uncond/network.pkl": ("edm", None, 189_491, (3, 16, 16), "heun"),
    "LDM/celeba_like/model.ckpt": ("ldm", None, None, (3, 8, 8), "ddim"),
    "DiT/tiny/model.pt": ("dit", DIT, 183_200, (4, 8, 8), "ancestral"),
    "DiT/tiny/0050000.pt": ("dit", DIT, 183_200, (4, 8, 8), "ancestral"),
    "PFGM++/ddpmpp_uncond/training-state-000123.pt": (
        "pfgmpp",
        None,
        189_491,
        (3, 16, 16),
        "heun",
    ),
    "PFGM++/ddpmpp_uncond/training-state-000123.pkl": (
        "pfgmpp",
        None,
        189_491,
        (3, 16, 16),
        "heun",
    ),
}


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("file", FILES)
def test_every_file_is_known_for_what_it_is(file):
    framework, config, parameters, shape, sampler = FILES[file]
    found = inspect(str(folder_of(file)), config)
    assert (found.framework, found.shape, found.missing) == (framework, shape, None)
    assert parameters is None or found.parameters == parameters
    assert sampler in found.samplers
    assert found.licence != "unknown"
    assert found.conditioning == (
        "10 classes, classifier-free guidance" if framework == "dit" else "unconditional"
    )


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_a_converted_file_samples_the_same_images(file, tmp_path):
    framework, config, _, _, sampler = FILES[file]
    original = load_model(framework, folder_of(file), config)
    written = convert(str(folder_of(file)), tmp_path / "copy", config)
    told = json.loads(written.with_suffix(".json").read_text())
    assert told["framework"] == framework
    assert len(told["source"]["sha256"]) == 64
    copy = load_model(framework, written)
    made = [
        sample(model, sampler, 4, LambdaSchedule(1.01), range(2), decode=False)
        for model in (original, copy)
    ]
    assert torch.equal(*made)
    assert copy.definition == original.definition
    assert inspect(str(written)).framework == framework
    assert written.stat().st_size <= folder_of(file).stat().st_size  # no optimiser, no second copy


@pytest.mark.parametrize("file", ["ADM/cifar_like/model.pt", "DiT/tiny/model.pt"])
def test_without_its_config_a_file_is_known_but_not_ready(file):
    found = inspect(str(folder_of(file)))
    assert found.framework == FILES[file][0]
    assert found.parameters == FILES[file][2]
    assert found.shape is None
    assert "config" in found.missing


def test_the_shell_says_how_a_study_file_names_it():
    file = folder_of("EDM/ddpmpp_uncond/network.pkl")
    shown = run("models", "inspect", file)
    assert shown.exit_code == 0
    assert "189,491" in shown.output
    assert "CC BY-NC-SA" in shown.output
    assert f"model: {{framework: edm, checkpoint: {file}}}" in shown.output
    told = json.loads(run("models", "inspect", file, "--json").output)
    assert told["shape"] == [3, 16, 16]


def test_the_shell_converts(tmp_path):
    target = tmp_path / "copy.safetensors"
    config = tmp_path / "dit.json"
    config.write_text(json.dumps(DIT))
    file = folder_of("DiT/tiny/0050000.pt")
    assert run("models", "convert", file, "--out", target, "--config", config).exit_code == 0
    assert "x_embedder.proj.weight" in load_file(target)


def test_bundled_folders_are_known():
    found = inspect("bundled:fashion-mnist")
    assert (found.framework, found.parameters) == ("diffusers", 709_722)


def refused(call):
    with pytest.raises(UsageError) as caught:
        call()
    return str(caught.value)


def test_what_is_no_checkpoint_is_said_in_one_message(tmp_path):
    other = tmp_path / "other.safetensors"
    save_file({"conv.weight": torch.zeros(2)}, other)
    said = refused(lambda: inspect(str(other)))
    assert "holds the tensors conv.weight" in said and ", ".join(frameworks()) in said
    text = tmp_path / "notes.pt"
    text.write_text("not a checkpoint")
    assert "notes.pt" in refused(lambda: inspect(str(text)))
    assert "no file" in refused(lambda: inspect(str(tmp_path / "absent.pt")))
    assert "model_index.json" in refused(lambda: inspect(str(tmp_path)))


def test_what_does_not_fit_is_not_converted(tmp_path):
    wrong = ADM | {"num_channels": 64}
    file = str(folder_of("ADM/cifar_like/model.pt"))
    said = refused(lambda: convert(file, tmp_path / "copy", wrong))
    assert "do not fit the configuration" in said and "should be" in said
    assert not list(tmp_path.iterdir())
    (tmp_path / "kept.json").write_text("{}")
    assert "exists already" in refused(lambda: convert(file, tmp_path / "kept", ADM))
    assert (tmp_path / "kept.json").read_text() == "{}"
    assert "no folder" in refused(lambda: convert(file, tmp_path / "absent" / "copy", ADM))
    assert "folder" in refused(lambda: convert("bundled:fashion-mnist", tmp_path / "copy"))
