"""Checkpoints that pickle and torch write: bare as EDM's and PFGM++'s, torch's zip and older."""

from __future__ import annotations

import pickle
import shutil
import struct

from lambda_search.models.inspection import inspect
from lambda_search.models.registry import load_model
from tests.fuzz.damage import damaged
from tests.fuzz.damage import nasty
from tests.fuzz.opcodes import contained
from tests.fuzz.opcodes import large
from tests.fuzz.opcodes import program
from tests.golden import folder_of
from tests.models import hostile
from tests.models.hostile import name
from tests.models.hostile import raw
from tests.models.hostile import reduce
from tests.models.hostile import repacked
from tests.models.hostile import value

NAME = "pickles"
_PERSISTENT = ("torch_utils.persistence", "_reconstruct_persistent_obj")
_ARGUMENTS = (
    "img_resolution img_channels label_dim model_type model_channels channel_mult num_blocks "
    "attn_resolutions channel_mult_emb augment_dim embedding_type encoder_type decoder_type "
    "resample_filter sigma_min sigma_max sigma_data M C_1 C_2 beta_d epsilon_t pfgmpp D dropout x"
).split()
_CLASSES = ("EDMPrecond", "VPPrecond", "VEPrecond", "iDDPMPrecond", "Other")


def healthy(folder):
    path = folder / "network.pkl"
    shutil.copy(folder_of("EDM/ddpmpp_uncond/network.pkl"), path)
    return path


def read(path):
    """`models inspect` loads what needs no config; EDM is then asked for by name."""
    inspect(str(path))
    load_model("edm", path)


def cases(rng):
    files = [path.read_bytes() for path in hostile.GOLDEN if path.stat().st_size < 2_000_000]
    while True:
        choice = rng.random()
        if choice < 0.3:
            data = rng.choice(files)
            what, changed = damaged(data, rng)
            if data.startswith(b"PK") and rng.random() < 0.8:
                changed = repacked(data, lambda inner: damaged(inner, rng)[1])
            yield f"damaged: {what}", "model.pt", changed
        elif choice < 0.45:
            yield "arguments", "network.pkl", raw(*network(rng))
        elif choice < 0.5:
            yield "modules", "network.pkl", modules(rng)
        else:
            what, opcodes = program(rng)
            where, data = contained(rng, opcodes)
            yield f"{where}: {what}", rng.choice(("a.pt", "a.pkl", "a.safetensors")), data


def network(rng):
    """(opcodes, protocol) of a network of EDM's kind with arguments that nobody expects."""
    told = {"img_resolution": 32, "img_channels": 3}
    for _ in range(rng.choice((1, 1, 3))):
        told[rng.choice(_ARGUMENTS)] = nasty(rng)
    arguments = pickle.dumps(told, 4)[2:-1]
    if rng.random() < 0.3:
        what = large(rng)[1]
        arguments = b"}" + value(rng.choice(_ARGUMENTS)) + what + b"s"
    return _described(rng.choice(_CLASSES), arguments, b"}"), 4


def modules(rng):
    """A tree of modules that are the same one, with long names."""
    long = [c * rng.choice((1, 250, 500)) for c in "AB"]
    many = rng.choice((1, 100, 1000))
    leaf = b"}(" + value("_parameters") + b"}("
    leaf += b"".join(value(f"p{n}") + b"N" for n in range(many)) + b"u"
    leaf += value("_buffers") + b"}" + value("_modules") + b"}u"
    made = name("torch.nn.modules.linear", "Linear") + b")\x81" + leaf + b"br\0\2\0\0"
    for depth in range(rng.choice((3, 20, 62))):
        below = b"j" + struct.pack("<I", 512 + depth)
        made += b"0" + name("torch.nn.modules.container", "Sequential") + b")\x81}("
        made += value("_parameters") + b"}" + value("_buffers") + b"}" + value("_modules") + b"}("
        made += value(long[0]) + below + value(long[1]) + below + b"uub"
        made += b"r" + struct.pack("<I", 513 + depth)
    told = value({"img_resolution": 32, "img_channels": 3})
    return raw(_described("EDMPrecond", told, b"}" + value("model") + made + b"s"), 4)


def _described(kind, arguments, children):
    state = b"}(" + value("_init_kwargs") + arguments + value("_parameters") + b"}"
    state += value("_buffers") + b"}" + value("_modules") + children + b"u"
    meta = b"}(" + value("class_name") + value(f"training.networks.{kind}")
    meta += value("state") + state + b"u"
    return b"}" + value("ema") + reduce(*_PERSISTENT, meta) + b"s"
