"""Safetensors, under whatever suffix, as an ADM checkpoint."""

from __future__ import annotations

import json
import struct

from safetensors.torch import save

from lambda_search.models.inspection import inspect
from lambda_search.models.pickles.read import read_pickle
from lambda_search.models.registry import load_model
from tests.fuzz.damage import HUGE
from tests.fuzz.damage import damaged
from tests.fuzz.damage import nasty
from tests.fuzz.damage import texts
from tests.golden import folder_of
from tests.golden import golden

NAME = "safetensors"
_FLAGS = golden("ADM/cifar_like").config["model_flags"]
_TYPES = ("F32", "F16", "BF16", "F64", "I64", "U8", "BOOL", "C64", "F8_E4M3", "F4", "X9", "", 7)


def healthy(folder):
    path = folder / "model.safetensors"
    path.write_bytes(_whole())
    return path


def read(path):
    load_model("adm", path, _FLAGS)
    inspect(str(path), _FLAGS)


def cases(rng):
    whole = _whole()
    length = struct.unpack("<Q", whole[:8])[0]
    header, data = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    while True:
        if rng.random() < 0.4:
            what, changed = damaged(whole, rng)
            yield what, rng.choice(("a.safetensors", "a.pt")), changed
            continue
        if rng.random() < 0.5:
            told = {name: dict(entry) for name, entry in header.items()}
            for _ in range(rng.choice((1, 3))):
                what = _spoil(told, rng)
        else:
            what, told = "made up", _made_up(rng)
        text = json.dumps(told).encode()
        stated = rng.choice((len(text), len(text), len(text), *HUGE)) % (1 << 64)
        yield what, "a.safetensors", struct.pack("<Q", stated) + text + data[: 1 << 20]


def _whole():
    state = read_pickle(folder_of("ADM/cifar_like") / "model.pt")
    return save({name: value.contiguous() for name, value in state.items()})


def _spoil(told, rng):
    name = rng.choice(list(told))
    entry = told.get(name)
    kind = rng.choice(("name", "dtype", "shape", "data_offsets", "gone", "more"))
    if kind == "gone" or not isinstance(entry, dict):
        del told[name]
    elif kind == "name":
        told[rng.choice((texts(rng), "module." + name, "_orig_mod." + name))] = told.pop(name)
    elif kind == "more":
        told.update({texts(rng): dict(entry) for _ in range(rng.choice((1, 3)))})
    else:
        entry[kind] = rng.choice(_TYPES) if kind == "dtype" else nasty(rng)
    return f"{kind} of {name}"


def _made_up(rng):
    shape = rng.choice(([0], [0, 2**40], [2**62, 4], [2**31, 2**31, 0], [1] * 1000, [-1]))
    many = rng.choice((1, 100, 5000))
    entry = {"dtype": rng.choice(_TYPES), "shape": shape, "data_offsets": [0, 0]}
    return {f"{texts(rng)[:50]}{n}": entry for n in range(many)}
