"""The content decides what a file is, not its suffix."""

import io
import os
import struct
import tarfile
import zipfile
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import lambda_search as ls
from lambda_search.errors import UsageError
from lambda_search.models.diffusers.networks import read_state
from lambda_search.models.diffusers.prompts import read_text_config
from lambda_search.models.inspection import inspect
from lambda_search.models.inspection import recognise
from lambda_search.models.pickles.read import read_pickle
from tests.golden import folder_of
from tests.golden import golden
from tests.models.hostile import repacked

ADM = golden("ADM/cifar_like").config["model_flags"]


def refused(call):
    with pytest.raises(UsageError) as caught:
        call()
    assert caught.value.hint
    return str(caught.value)


def packed(*names):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, b"x" * 50)
    return out.getvalue()


def tarred():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.pt"), io.BytesIO(b""))
    return out.getvalue()


def saved(write, *content):
    out = io.BytesIO()
    write(out, *content)
    return out.getvalue()


def script():
    out = io.BytesIO()
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), out)
    return out.getvalue()


OTHERS = {
    "git-lfs pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:"
    + b"a" * 64
    + b"\n",
    "git-annex pointer": b"/annex/objects/SHA256E-s1--00\n",
    "web page": b"<!doctype html><title>login</title>",
    "is empty": b"",
    "TorchScript": script(),
    "Keras": packed("metadata.json", "config.json", "model.weights.h5"),
    "NumPy arrays": saved(np.savez, np.zeros(3)),
    "zip archive": packed("word/document.xml"),
    "tar archive": tarred(),
    "compressed": b"\x1f\x8b\x08\0" + bytes(20),
    "GGUF": b"GGUF\x03\0\0\0" + bytes(30),
    "ONNX": b"\x08\x08\x12\x07pytorch\x1a\x052.1.0" + bytes(40),
    "TensorFlow model": b"\x08\x01\x12\x80\x01" + bytes(40),
    "TensorFlow Lite": b"\x1c\0\0\0TFL3" + bytes(20),
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(20),
    "Flax": b"\x81\xa6params\x82" + bytes(20),
    "NumPy array": saved(np.save, np.zeros(3)),
    "list of a model's parts": b'{"metadata": {}, "weight_map": {"a": "b.safetensors"}}',
    "'Entry not found'": b"Entry not found",
    "protocol 0": b"(dp0\nS'a'\np1\nI1\ns.",
    "zeros": bytes(1000),
    "image": b"\x89PNG\r\n\x1a\n" + bytes(20),
}


@pytest.mark.parametrize("what", OTHERS)
@pytest.mark.parametrize("suffix", ("pt", "safetensors", "ckpt", "pkl"))
def test_files_are_named_for_what_they_are_whatever_their_suffix(what, suffix, tmp_path):
    path = tmp_path / f"model.{suffix}"
    path.write_bytes(OTHERS[what])
    for call in (
        lambda: inspect(str(path)),
        lambda: ls.load_model("adm", path, ADM),
        lambda: ls.load_model("edm", path),
        lambda: ls.load_model("ldm", path),
        lambda: ls.load_model("ddim", path),
    ):
        said = refused(call)
        assert what in said and str(path) in said


@pytest.mark.timeout(120)  # a reader that opens a pipe waits for ever
@pytest.mark.parametrize("kind", ("pipe", "device"))
@pytest.mark.parametrize("what", ("checkpoint", "config", "prompts", "weights of a pipeline"))
def test_pipes_and_devices_are_not_opened(what, kind, tmp_path):
    path = tmp_path / "odd"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    model = str(folder_of("ADM/cifar_like") / "model.pt")
    prompts = {"prompts": ["a cat"]}
    calls = {
        "checkpoint": [
            lambda: inspect(str(path)),
            lambda: recognise(str(path)),
            lambda: ls.load_model("diffusers", path, prompts),
            *(
                partial(ls.load_model, framework, path, ADM)
                for framework in ("adm", "ddim", "dit", "edm", "ldm")
            ),
        ],
        "config": [lambda: ls.load_model("adm", model, path)],
        "prompts": [
            lambda: read_text_config({"prompts": str(path)}),
        ],
        "weights of a pipeline": [lambda: read_state([path], "unet")],
    }
    for call in calls[what]:
        said = refused(call)
        assert ("odd" in said or "/dev/zero" in said) and (
            "not a file" in said or "device or a pipe" in said
        )


def test_a_classifier_is_named_for_what_it_is(tmp_path):
    pointer = tmp_path / "classifier.safetensors"
    pointer.write_bytes(OTHERS["git-lfs pointer"])
    guide = {"checkpoint": str(pointer), "attention_resolutions": [2], "channel_mult": [1, 1]}
    config = ADM | {"classifier": guide}
    model = folder_of("ADM/cifar_like") / "model.pt"
    said = refused(lambda: ls.load_model("adm", model, config))
    assert "git-lfs pointer" in said and str(pointer) in said


@pytest.mark.parametrize("framework", ("adm", "edm"))
def test_torch_under_safetensors_and_the_reverse_are_read(framework, tmp_path):
    if framework == "adm":
        state = read_pickle(folder_of("ADM/cifar_like") / "model.pt")
        torch.save(state, tmp_path / "a.safetensors")
        save_file({key: part.contiguous() for key, part in state.items()}, tmp_path / "b.pt")
        for name in ("a.safetensors", "b.pt"):
            assert ls.load_model("adm", tmp_path / name, ADM).shape == (3, 16, 16)
            assert inspect(str(tmp_path / name), ADM).framework == "adm"
    else:
        pickled = folder_of("EDM/ddpmpp_uncond/network.pkl")
        (tmp_path / "a.safetensors").write_bytes(pickled.read_bytes())
        assert ls.load_model("edm", tmp_path / "a.safetensors").shape == (3, 16, 16)


def test_a_damaged_header_is_no_other_file(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 40) + b"{" + bytes(100))
    assert "header" in refused(lambda: ls.load_model("adm", path, ADM))


def test_an_archive_beside_torchs_stays_torchs(tmp_path):
    plain = folder_of("ADM/cifar_like") / "model.pt"
    path = tmp_path / "a.zip"
    path.write_bytes(repacked(plain.read_bytes(), lambda data: data))
    assert set(read_pickle(path)) == set(read_pickle(plain))
