"""Weights as training leaves them: wrapped, recorded, renamed; and other programs' weights."""

import argparse
import collections
import datetime
import decimal
import fractions
import http
import json
import os
import pickle
import platform
import re
import signal
import sys
import time
import types
import uuid
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from safetensors.torch import save_file

import lambda_search as ls
from lambda_search.errors import UsageError
from lambda_search.models.edm.checkpoint import network_of
from lambda_search.models.inspection import convert
from lambda_search.models.inspection import inspect
from lambda_search.models.pickles.read import InertObject
from lambda_search.models.pickles.read import read_pickle
from lambda_search.models.states import unwrapped
from tests.golden import folder_of
from tests.golden import golden
from tests.models.hostile import name
from tests.models.hostile import raw
from tests.models.hostile import value

ADM = golden("ADM/cifar_like").config["model_flags"]
DIT = golden("DiT/tiny").config["model_kwargs"]
DDIM = golden("DDIM/cifar_like").config["config"]
PREFIXES = ("module.", "_orig_mod.", "_forward_module.", "_orig_mod.module.", "module._orig_mod.")


def refused(call):
    with pytest.raises(UsageError) as caught:
        call()
    assert caught.value.hint
    return str(caught.value)


def adm(tmp_path, names, wrap=lambda state: state):
    state = read_pickle(folder_of("ADM/cifar_like") / "model.pt")
    path = tmp_path / "adm.pt"
    torch.save(wrap({names(key): part for key, part in state.items()}), path)
    return path


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("framework", ("adm", "ddim", "dit", "ldm", "edm"))
def test_wrappers_are_read_past_on_every_framework(framework, prefix, tmp_path):
    plain, config = {
        "adm": ("ADM/cifar_like/model.pt", ADM),
        "ddim": ("DDIM/cifar_like/model.pth", DDIM),
        "dit": ("DiT/tiny/model.pt", DIT),
        "ldm": (
            "LDM/celeba_like/model.ckpt",
            str(folder_of("LDM/celeba_like") / "config.yaml"),
        ),
        "edm": ("EDM/ddpmpp_uncond/network.pkl", None),
    }[framework]
    source = folder_of(plain)
    if framework == "edm":
        source = convert(str(source), tmp_path / "edm.safetensors")
        config = source.with_suffix(".json")
        state = dict(load_file(source))
    else:
        content = read_pickle(source)
        state = content.get("state_dict", content)
    state = {prefix + key: part for key, part in state.items() if isinstance(part, torch.Tensor)}
    path = tmp_path / "wrapped.pt"
    record = {"ldm": {"state_dict": state}, "dit": {"model": state, "ema": state, "opt": {}}}
    torch.save(record.get(framework, state), path)
    found, plain = (ls.load_model(framework, file, config) for file in (path, source))
    assert (found.shape, found.definition) == (plain.shape, plain.definition)
    assert inspect(str(path), config).framework == framework


def test_names_lose_their_wrappers_and_nothing_else():
    assert unwrapped("_orig_mod.module.a.b") == "a.b"
    assert unwrapped("blocks.0._orig_mod.attn.weight") == "blocks.0.attn.weight"
    assert unwrapped("a.module.b") == "a.module.b"
    assert unwrapped("modules.a") == "modules.a"


@pytest.mark.parametrize("record", ("state_dict", "model", "module", "ema"))
def test_one_state_dict_in_a_record_is_found(record, tmp_path):
    path = adm(tmp_path, str, lambda state: {record: state, "step": 3, "opt": {"state": {}}})
    assert ls.load_model("adm", path, ADM).shape == (3, 16, 16)
    assert inspect(str(path), ADM).framework == "adm"


def test_several_state_dicts_are_named(tmp_path):
    path = adm(tmp_path, str, lambda state: {"model": state, "average": state})
    said = refused(lambda: ls.load_model("adm", path, ADM))
    assert "several: model, average" in said


def test_names_twice_are_named(tmp_path):
    path = adm(
        tmp_path, str, lambda state: state | {"module." + key: v for key, v in state.items()}
    )
    assert "twice" in refused(lambda: ls.load_model("adm", path, ADM))


def test_missing_and_left_over_names_are_both_told(tmp_path):
    said = refused(lambda: ls.load_model("adm", adm(tmp_path, lambda key: f"net.{key}"), ADM))
    assert (
        "time_embed.0.weight is missing" in said and "net.time_embed.0.weight is left over" in said
    )
    said = refused(
        lambda: ls.load_model(
            "adm", adm(tmp_path, lambda key: f"\x1b[31m{key}\n" + "x" * 999), ADM
        )
    )
    assert "\x1b" not in said and len(said) < 3000


def test_a_network_of_edm_in_its_wrappers(tmp_path):
    """DistributedDataParallel and a compiled module around what `ema` holds."""
    plain = read_pickle(folder_of("EDM/ddpmpp_uncond/network.pkl"))["ema"]
    compiled = InertObject(
        "torch._dynamo.OptimizedModule", state={"_modules": {"_orig_mod": plain}}
    )
    parallel = InertObject(
        "torch.nn.DistributedDataParallel", state={"_modules": {"module": compiled}}
    )
    found, expected = network_of({"ema": parallel}), network_of({"ema": plain})
    assert found.arguments == expected.arguments and set(found.state) == set(expected.state)
    for module, kind in (
        ("torch.nn.parallel.distributed", "DistributedDataParallel"),
        ("torch._dynamo.eval_frame", "OptimizedModule"),
    ):
        path = tmp_path / f"{kind}.pkl"
        path.write_bytes(raw(name(module, kind) + b")\x81}" + value("_modules") + b"}sb"))
        assert read_pickle(path).state == {"_modules": {}}


FOREIGN = {
    "a Stable Diffusion checkpoint": {
        "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
        "first_stage_model.decoder.conv_in.weight": (8, 4, 3, 3),
        "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": (9, 768),
    },
    "a Stable Diffusion 2 checkpoint": {
        "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
        "cond_stage_model.model.positional_embedding": (77, 8),
    },
    "a Stable Diffusion XL checkpoint": {
        "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
        "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight": (9, 8),
    },
    "a Stable Diffusion 3 checkpoint": {
        "model.diffusion_model.joint_blocks.0.context_block.attn.qkv.weight": (9, 8)
    },
    "a LoRA": {"lora_unet_down_blocks_0.lora_down.weight": (4, 8)},
    "a ControlNet": {"control_model.input_blocks.0.0.weight": (8, 4, 3, 3)},
    "a network of diffusers": {"conv_in.weight": (8, 4, 3, 3), "down_blocks.0.x.weight": (8, 8)},
}


@pytest.mark.parametrize("what", FOREIGN)
@pytest.mark.parametrize("framework", ("adm", "ddim", "dit", "edm", "ldm"))
def test_other_programs_weights_are_named_with_the_way_to_load_them(what, framework, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({key: torch.zeros(shape) for key, shape in FOREIGN[what].items()}, path)
    config = {"adm": ADM, "dit": DIT, "ddim": DDIM, "edm": {"class_name": "EDMPrecond"}}
    said = refused(lambda: ls.load_model(framework, path, config.get(framework)))
    assert what in said and "config" not in said.lower()
    assert "framework: diffusers" in said or "belongs to" in said
    torch.save({"state_dict": load_file(path)}, path.with_suffix(".ckpt"))
    said = refused(lambda: ls.load_model("ldm", path.with_suffix(".ckpt")))
    assert what in said


RECORDS = {
    "deque": collections.deque([1, 2], maxlen=5),
    "datetime": datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC),
    "timedelta": datetime.timedelta(3),
    "version": torch.__version__,
    "ordered": collections.OrderedDict(a=1),
    "defaults": collections.defaultdict(list, a=[1]),
    "namespace": argparse.Namespace(lr=0.1),
    "simple": types.SimpleNamespace(lr=0.1),
    "path": Path("/a/b"),
    "scalar": np.float64(0.5),
    "kind": np.float32,
    "decimal": decimal.Decimal("1.5"),
    "fraction": fractions.Fraction(1, 3),
    "uuid": uuid.UUID(int=7),
    "range": range(3),
    "random": np.random.default_rng(0),
    "state": np.random.RandomState(0),
    "device": torch.device("cpu"),
    "optimiser": torch.optim.SGD,
    "time": time.gmtime(0),
    "machine": platform.uname(),
    "file": os.stat("/"),
    "partial": partial(torch.nn.functional.softplus, beta=2),
    "pattern": re.compile("a+", re.IGNORECASE),
    "flags": re.IGNORECASE | re.MULTILINE,
    "flag": re.IGNORECASE,
    "member": http.HTTPStatus.OK,
    "signal": signal.SIGUSR1,
    "date": np.datetime64("2024-01-02"),
    "dates": np.array(["2024-01-02"], "datetime64[s]"),
    "span": np.timedelta64(3, "h"),
    "ellipsis": ...,
}


@pytest.mark.parametrize("record", RECORDS)
@pytest.mark.parametrize("new", (True, False), ids=("zip", "older"))
def test_inert_records_around_weights_are_read_as_data(record, new, tmp_path):
    path = adm(tmp_path, str, lambda state: {"model": state, "more": {"x": RECORDS[record]}})
    content = torch.load(path, weights_only=False)
    torch.save(content, path, _use_new_zipfile_serialization=new)
    found = read_pickle(path)["more"]["x"]
    assert found is not None
    assert ls.load_model("adm", path, ADM).shape == (3, 16, 16)


@pytest.mark.parametrize("protocol", (2, 4, 5))
def test_records_keep_what_they_were_made_of(protocol, tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(RECORDS, protocol))
    found = read_pickle(path)
    assert found["deque"] == [1, 2]
    assert found["timedelta"].args == (3, 0, 0)
    assert found["version"].class_name == "torch.torch_version.TorchVersion"
    assert found["namespace"].state == found["simple"].state == {"lr": 0.1}
    assert found["path"].args == ("/", "a", "b")
    assert found["machine"].class_name == "platform.uname_result"
    assert found["pattern"].args[0] == "a+" and found["partial"].state[2] == {"beta": 2}
    assert found["span"] == 3 and found["dates"].tolist() == [1704153600]
    assert found["ordered"] == {"a": 1} and found["defaults"] == {"a": [1]}


@pytest.mark.parametrize("module", ("pathlib", "pathlib._local"))
def test_paths_of_newer_pythons(module, tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(raw(name(module, "PosixPath") + value(("/", "a")) + b"R"))
    found = read_pickle(path)
    assert isinstance(found, InertObject) and found.args == ("/", "a")


def test_libraries_for_settings_stay_unimported(tmp_path):
    path = tmp_path / "a.pkl"
    easy = (
        name("easydict", "EasyDict") + b")\x81" + value("lr") + b"K\1s}" + value("lr") + b"K\1sb"
    )
    path.write_bytes(raw(easy))
    found = read_pickle(path)
    assert found.items == {"lr": 1} and "easydict" not in sys.modules


def test_a_config_noted_beside_is_only_what_convert_wrote(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"a.weight": torch.zeros(2)}, path)
    for text in ("[1]", "{", json.dumps({"framework": ["adm"]})):
        path.with_suffix(".json").write_text(text)
        assert "no checkpoint" in refused(lambda: inspect(str(path)))
