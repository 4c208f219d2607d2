"""Checkpoints are read as data: the golden files, what else torch and NumPy write, and others."""

import argparse
import collections
import io
import json
import os
import pickle
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lambda_search.errors import UsageError
from lambda_search.models.pickles.read import InertObject
from lambda_search.models.pickles.read import PersistentObject
from lambda_search.models.pickles.read import read_pickle
from lambda_search.models.pickles.read import state_dict_of
from lambda_search.models.pickles.values import InertClass
from tests.models.hostile import GOLDEN

NETWORKS = [path for path in GOLDEN if "ddpmpp_uncond" in path.parts]


class Stock(pickle.Unpickler):
    """Python's own machine, for files that we trust; the classes we lack are namespaces."""

    def find_class(self, module, name):
        if name == "_reconstruct_persistent_obj":
            return lambda meta: SimpleNamespace(**meta["state"])
        if module.startswith("pytorch_lightning"):
            return type(name, (), {"__module__": module})
        return super().find_class(module, name)


def stock(path):
    if zipfile.is_zipfile(path):
        module = SimpleNamespace(Unpickler=Stock, load=pickle.load, __name__="stock")
        return torch.load(path, weights_only=False, pickle_module=module)
    with path.open("rb") as stream:
        return Stock(stream).load()


def same(ours, theirs):
    """Whether what we read is what the independent reader read; raises where it is not."""
    if isinstance(theirs, torch.Tensor):
        assert ours.dtype == theirs.dtype and torch.equal(ours, theirs)
        assert ours.stride() == theirs.stride()
    elif isinstance(theirs, dict):
        assert len(ours) == len(theirs)
        for (a, b), (c, d) in zip(ours.items(), theirs.items(), strict=True):
            same(a, c)
            same(b, d)
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            same(a, b)
    elif isinstance(theirs, type):
        assert ours == InertClass(f"{theirs.__module__}.{theirs.__name__}")
    elif isinstance(ours, InertObject):
        same(ours.state, vars(theirs))
    elif isinstance(theirs, np.ndarray):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    else:
        assert type(ours) is type(theirs) and ours == theirs


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: "/".join(path.parts[-3:]))
def test_golden_files_hold_what_the_stock_reader_finds(path):
    same(read_pickle(path), stock(path))


@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.name)
def test_networks_of_edm_and_pfgmpp_become_state_dicts(path):
    config = json.loads((path.parent / "config.json").read_text())
    ema = read_pickle(path)["ema"]
    state = state_dict_of(ema)
    buffers = {key for key in state if key.endswith("resample_filter")}
    parameters = sum(value.numel() for key, value in state.items() if key not in buffers)
    assert parameters == config["params"]
    assert len(buffers) == 4
    assert len(state) == len({value.data_ptr() for value in state.values()})
    assert isinstance(ema, PersistentObject)
    assert ema.class_name == "EDMPrecond"
    expected = {key: v for key, v in config["network_kwargs"].items() if key != "class_name"}
    assert ema.arguments == expected
    assert ema.meta["version"] == 6


def test_state_dicts_are_those_of_torch(tmp_path):
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3, bias=False),
        torch.nn.BatchNorm2d(2),
        torch.nn.ModuleDict({"a": torch.nn.Linear(2, 2), "b": torch.nn.Identity()}),
    )
    network[1].register_buffer("passing", torch.ones(2), persistent=False)
    torch.save(network, tmp_path / "a.pt")
    state = state_dict_of(read_pickle(tmp_path / "a.pt"))
    expected = network.state_dict()
    assert set(state) == set(expected)
    assert all(torch.equal(state[key], expected[key]) for key in expected)
    assert not any(value.requires_grad for value in state.values())


def inside(levels):
    """A module in a module, and so on; the innermost holds the outermost if `levels` is None."""
    innermost = InertObject("M", state={"_modules": {}})
    outer = innermost
    for _ in range(levels or 3):
        outer = InertObject("M", state={"_modules": {"m": outer, "n": outer}})
    if levels is None:
        innermost.state["_modules"]["m"] = outer
    return outer


@pytest.mark.parametrize(
    "module",
    [
        InertObject("M"),
        InertObject("M", state={"_modules": {"m": 3}}),
        InertObject("M", state={"_modules": [1]}),
        InertObject("M", state={"_parameters": {3: torch.ones(1)}}),
        InertObject("M", state={"_buffers": {"x" * 1000: torch.ones(1)}}),
        inside(None),
        inside(40),  # 2^40 modules
    ],
    ids=("no state", "a number", "a list", "key", "name", "cycle", "many"),
)
def test_what_is_no_tree_of_modules_is_refused(module):
    with pytest.raises(UsageError):
        state_dict_of(module)


EVERYTHING = {
    "tensors": [
        torch.arange(12, dtype=kind).reshape(3, 4)
        for kind in (torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.int64)
    ],
    "bool": torch.tensor([True, False]),
    "complex": torch.tensor([1 + 2j]),
    "empty": torch.empty(0, 3),
    "scalar": torch.tensor(3.5),
    "transposed": torch.arange(6.0).reshape(2, 3).t(),
    "expanded": torch.ones(1).expand(5),
    "part": torch.arange(10.0)[3:7],
    "parameter": torch.nn.Parameter(torch.ones(2)),
    "attributes": [1, -(2**40), 2**100, 1.5, float("inf"), None, True, False, "λ", b"\0\xff", b""],
    "sets": [{1, 2}, frozenset({"a"}), 1 + 2j, bytearray(b"abc")],
    "ordered": collections.OrderedDict(a=1, b=(1, 2, (3, 4, 5, 6))),
    "numpy": [np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3))],
    "text": np.array(["a", "bc"]),
    "bytes": np.array([b"a", b"bc"]),
    "swapped": np.arange(3, dtype=">i4"),
    "no array": np.empty((0, 3), np.float32),
    "scalars": [np.float64(0.5), np.float32(1.5), np.int64(-3), np.bool_(True), np.str_("x")],
}


@pytest.mark.parametrize("protocol", (2, 3, 4, 5))
def test_bare_pickles_of_every_protocol(tmp_path, protocol):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(EVERYTHING, protocol))
    same(read_pickle(path), stock(path))


@pytest.mark.parametrize("new", (True, False), ids=("zip", "older"))
@pytest.mark.parametrize("protocol", (2, 4))
def test_both_formats_of_torch(tmp_path, new, protocol):
    path = tmp_path / "a.pt"
    more = {**EVERYTHING, "dtype": torch.float32, "size": torch.ones(2, 3).shape}
    if new:  # the stock reader of the older format does not know this kind
        more["uint16"] = torch.arange(3).to(torch.uint16)
    torch.save(more, path, pickle_protocol=protocol, _use_new_zipfile_serialization=new)
    same(read_pickle(path), torch.load(path, weights_only=False))


def test_tensors_that_share_memory_still_do(tmp_path):
    base = torch.arange(6.0)
    for new in (True, False):
        torch.save([base, base[2:]], tmp_path / "a.pt", _use_new_zipfile_serialization=new)
        whole, part = read_pickle(tmp_path / "a.pt")
        whole[3] = 9
        assert part[1] == 9


def test_files_without_checksums_are_read_and_others_are_checked(tmp_path):
    path = tmp_path / "a.pt"
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.arange(1000.0)}, path)
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(read_pickle(path)["a"], torch.arange(1000.0))
    torch.save({"a": torch.arange(1000.0)}, path)
    data = bytearray(path.read_bytes())
    data[data.index(torch.arange(1000.0).numpy().tobytes()) + 8] ^= 1
    path.write_bytes(data)
    with pytest.raises(UsageError, match="damaged"):
        read_pickle(path)


def test_namespaces_and_containers_become_records(tmp_path):
    path = tmp_path / "a.pt"
    counted = collections.Counter("aab")
    defaults = collections.defaultdict(dict, a=1)
    torch.save({"args": argparse.Namespace(model="DiT-S/2"), "c": counted, "d": defaults}, path)
    contents = read_pickle(path)
    assert contents["args"].class_name == "argparse.Namespace"
    assert contents["args"].state == {"model": "DiT-S/2"}
    assert contents["c"] == {"a": 2, "b": 1}
    assert contents["d"] == {"a": 1}


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def zip_bytes(names, compression=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for each in names:
            archive.writestr(each, b"\x80\x02N." if each.endswith("data.pkl") else b"x" * 100)
    return out.getvalue()


NOT_CHECKPOINTS = {
    "empty": (b"", "is empty", "again"),
    "git-lfs": (LFS, "git-lfs pointer", "Fetch the real file"),
    "html": (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "web page", "Fetch it again"),
    "jpeg": (b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(50), "an image", "Pass"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(50), "an image", "Pass"),
    "gzip": (b"\x1f\x8b\x08\0" + bytes(50), "compressed archive", "Unpack"),
    "text": (b"hello, world\n", "begins 'hello, world'", "Pass"),
    "json": (b'{"message": "Not Found"}', "is a text file", "Pass"),
    "zeros": (bytes(1000), "begins with zeros", "again"),
    "zip": (zip_bytes(["a.txt", "b/c.txt"]), "zip archive without", "Unpack"),
    "two": (zip_bytes(["a/data.pkl", "b/data.pkl"]), "zip archive without", "Unpack"),
    "script": (zip_bytes(["a/data.pkl", "a/constants.pkl"]), "TorchScript", "weights"),
    "packed": (zip_bytes(["a/data.pkl"], zipfile.ZIP_DEFLATED), "compressed again", "again"),
    "protocol 0": (pickle.dumps({"a": 1}, 0), "protocol 0 or 1", "Save it again"),
    "protocol 9": (b"\x80\x09N.", "not a checkpoint of any known format", "Pass"),
    "two bytes": (b"\x80\x04", "damaged or incomplete", "again"),
    "zip's beginning": (b"PK\x03\x04" + bytes(100), "damaged or incomplete", "again"),
}


@pytest.mark.parametrize("case", NOT_CHECKPOINTS)
def test_other_files_are_named_for_what_they_are(tmp_path, case):
    data, cause, step = NOT_CHECKPOINTS[case]
    path = tmp_path / "model.pt"
    path.write_bytes(data)
    with pytest.raises(UsageError) as caught:
        read_pickle(path)
    assert str(path) in caught.value.cause and cause in caught.value.cause
    assert step in caught.value.hint


def test_safetensors_are_named(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(3)}, path)
    with pytest.raises(UsageError, match="safetensors"):
        read_pickle(path)


def test_folders_pipes_and_missing_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, cause in (
        (tmp_path, "is a folder"),
        (tmp_path / "pipe", "is not a file"),
        (tmp_path / "none.pt", "There is no file"),
        (GOLDEN[0] / "none.pt", "There is no file"),
        (tmp_path / ("x" * 300), "File name too long"),
    ):
        with pytest.raises(UsageError, match=cause) as caught:
            read_pickle(path)
        assert str(path) in caught.value.cause
        assert caught.value.hint


def test_files_without_permission(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({}, path)
    path.chmod(0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)  # nobody: root may read everything
    try:
        with pytest.raises(UsageError, match="Permission denied"):
            read_pickle(path)
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize("error", (MemoryError(), RuntimeError("DefaultCPUAllocator: no memory")))
def test_a_lack_of_memory_is_named(tmp_path, monkeypatch, error):
    torch.save({"a": torch.ones(3)}, tmp_path / "a.pt")

    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(torch, "empty", refuse)
    with pytest.raises(UsageError, match="not enough memory"):
        read_pickle(tmp_path / "a.pt")
