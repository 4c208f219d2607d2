"""What a config or a file asks for is bounded before anything of it is built."""

import struct

import pytest
import torch

import lambda_search as ls
from lambda_search.errors import UsageError
from lambda_search.models.checkpoints import load_weights
from lambda_search.models.edm.checkpoint import network_of
from lambda_search.models.edm.model import build
from lambda_search.models.pickles.read import InertObject
from lambda_search.models.pickles.read import PersistentObject
from lambda_search.models.pickles.read import read_pickle
from lambda_search.models.pickles.read import state_dict_of
from lambda_search.models.states import summary
from tests.golden import folder_of
from tests.golden import golden
from tests.models.hostile import name
from tests.models.hostile import raw
from tests.models.hostile import value

FILES = {
    "adm": ("ADM/cifar_like/model.pt", golden("ADM/cifar_like").config["model_flags"]),
    "ddim": ("DDIM/cifar_like/model.pth", golden("DDIM/cifar_like").config["config"]),
    "dit": ("DiT/tiny/model.pt", golden("DiT/tiny").config["model_kwargs"]),
}
EDM = {"img_resolution": 32, "img_channels": 3}


def refused(call):
    with pytest.raises(UsageError) as caught:
        call()
    assert caught.value.hint and len(str(caught.value)) < 1500
    return str(caught.value)


@pytest.mark.parametrize(
    ("framework", "where", "told"),
    (
        ("adm", (), {"image_size": 2**40}),
        ("adm", (), {"num_res_blocks": 10**9}),
        ("adm", (), {"num_channels": 10**9}),
        ("adm", (), {"diffusion_steps": 10**9}),
        ("adm", (), {"num_classes": 10**12, "class_cond": True}),
        ("adm", (), {"channel_mult": "1," * 10_000 + "1"}),
        ("adm", (), {"attention_resolutions": ",".join(map(str, range(1, 5000)))}),
        ("adm", (), {"num_heads": 0, "num_head_channels": -1}),
        ("adm", (), {"in_channels": 10**10}),
        ("ddim", ("data",), {"image_size": 2**60}),
        ("ddim", ("model",), {"num_res_blocks": 10**9}),
        ("ddim", ("model",), {"ch_mult": [1] * 60}),
        ("ddim", ("model",), {"ch_mult": [1, 0]}),
        ("ddim", ("model",), {"ch": 32 * 10**9}),
        ("ddim", ("diffusion",), {"num_diffusion_timesteps": 10**9}),
        ("dit", (), {"depth": 10**9}),
        ("dit", (), {"input_size": 2**30}),
        ("dit", (), {"input_size": 4096, "patch_size": 1}),
        ("dit", (), {"hidden_size": 4 * 10**12, "num_heads": 1}),
        ("dit", (), {"diffusion_steps": 10**9}),
        ("dit", (), {"num_classes": 10**12}),
        ("dit", (), {"mlp_ratio": 1e300}),
        ("dit", (), {"model": "DiT-XL/2", "image_size": [1]}),
    ),
)
def test_sizes_of_configs_are_bounded(framework, where, told):
    file, config = FILES[framework]
    changed = {**config, **told}
    for section in where:
        changed = {**config, section: {**config[section], **told}}
    said = refused(lambda: ls.load_model(framework, folder_of(file), changed))
    assert "do not fit" not in said or "in_channels" in told


@pytest.mark.parametrize(
    "told",
    (
        {"num_blocks": 10**9},
        {"M": 10**9},
        {"img_resolution": 2**50},
        {"label_dim": 10**15},
        {"augment_dim": 10**15},
        {"channel_mult": [1] * 100},
        {"channel_mult": [1, 10**9]},
        {"model_channels": 10**12},
        {"resample_filter": [1] * 10_000},
        {"attn_resolutions": list(range(10_000))},
        {"sigma_max": "80"},
        {"sigma_min": None},
        {"model_type": ["SongUNet"]},
        {"img_channels": None},
        {5: None},
    ),
)
def test_sizes_that_a_pickled_network_records_are_bounded(told):
    for kind in ("EDMPrecond", "VPPrecond", "VEPrecond", "iDDPMPrecond"):
        with torch.device("meta"):
            refused(lambda kind=kind: build(kind, {**EDM, **told}))


def itself():
    found = []
    found.append(found)
    return found


def doubled():
    found = []
    for _ in range(60):
        found = [found, found]
    return found


@pytest.mark.parametrize(
    "part",
    (itself(), doubled(), {"a": {1}}, InertObject("x"), torch.zeros(3), "x" * 0 or {(1, 2): 1}),
    ids=("itself", "doubled", "set", "record", "tensor", "key"),
)
def test_arguments_that_are_no_plain_values_are_refused(part):
    state = {"_init_kwargs": {**EDM, "x": part}, "_parameters": {}, "_buffers": {}, "_modules": {}}
    said = refused(lambda: network_of({"ema": PersistentObject("EDMPrecond", state=state)}))
    assert "no plain values" in said


def test_modules_that_are_shared_again_and_again_are_refused():
    tensor = torch.zeros(1)
    many = {f"p{n}": tensor for n in range(1000)}
    module = InertObject("M", state={"_parameters": many, "_modules": {}})
    for _ in range(40):
        parts = {"A" * 255: module, "B" * 255: module}
        module = InertObject("M", state={"_modules": parts})
    assert "itself" in refused(lambda: state_dict_of(module))
    nothing = {f"p{n}": None for n in range(100_000)}
    empty = InertObject("M", state={"_parameters": nothing})
    wide = InertObject("M", state={"_modules": {f"m{n}": empty for n in range(1000)}})
    assert "itself" in refused(lambda: state_dict_of(wide))


def test_keys_are_told_without_their_parts(tmp_path):
    """A record as a key, whose state holds lists that hold lists twice, sixty deep."""
    path = tmp_path / "a.pkl"
    lists = b"]q\0" + b"".join(
        b"0]r"
        + struct.pack("<I", n)
        + b"(j"
        + struct.pack("<I", n - 1)
        + b"j"
        + struct.pack("<I", n - 1)
        + b"e"
        for n in range(1, 60)
    )
    record = name("argparse", "Namespace") + b")\x81"
    path.write_bytes(raw(lists + b"0}" + record + b"j" + struct.pack("<I", 59) + b"bNs"))
    found = read_pickle(path)
    assert "argparse.Namespace" in repr(next(iter(found)))
    assert summary(found) == "it holds no names"
    for framework, (_, config) in FILES.items():
        refused(lambda f=framework, c=config: ls.load_model(f, path, c))
    refused(lambda: ls.load_model("ldm", path, {}))
    assert value("x")


def test_numbers_that_are_repeated_do_not_fill_the_memory():
    network = torch.nn.Linear(4000, 4000, bias=False).to("meta")
    spread = {"weight": torch.zeros(1).expand(4000, 4000)}
    said = refused(lambda: load_weights(network, spread, "a file"))
    assert "repeat" in said
