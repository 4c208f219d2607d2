"""Nothing in a checkpoint runs, whatever it says; damage is one UsageError, never a crash."""

import contextlib
import copyreg
import io
import json
import pickle
import struct
import subprocess
import sys
import time
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from lambda_search.errors import UsageError
from lambda_search.models.pickles.read import InertObject
from lambda_search.models.pickles.read import PersistentObject
from lambda_search.models.pickles.read import read_pickle
from lambda_search.models.pickles.values import InertClass
from tests.models.hostile import GOLDEN
from tests.models.hostile import instance
from tests.models.hostile import name
from tests.models.hostile import objected
from tests.models.hostile import old
from tests.models.hostile import raw
from tests.models.hostile import reduce
from tests.models.hostile import repacked
from tests.models.hostile import repeated
from tests.models.hostile import stack_name
from tests.models.hostile import storage
from tests.models.hostile import tensor
from tests.models.hostile import value
from tests.models.hostile import zipped

PLAIN = next(path for path in GOLDEN if path.name == "model.pt").read_bytes()
FLOATS = name("torch", "FloatStorage")
PERSISTENT = ("torch_utils.persistence", "_reconstruct_persistent_obj")


def calls(marker):
    """(module, name, arguments) of calls that each make the file `marker`."""
    opened = f"open({marker!r}, 'w').close()"
    return (
        ("os", "system", f"touch {marker}"),
        ("posix", "system", f"touch {marker}"),
        ("posix", "mkdir", marker),
        ("os", "mknod", marker),
        ("os", "popen", f"touch {marker}"),
        ("subprocess", "check_output", ["touch", marker]),
        ("subprocess", "call", ["touch", marker]),
        ("subprocess", "getoutput", f"touch {marker}"),
        ("builtins", "eval", opened),
        ("builtins", "exec", opened),
        ("__builtin__", "eval", opened),
        ("__builtin__", "open", marker, "w"),
        ("builtins", "open", marker, "w"),
        ("io", "open", marker, "w"),
        ("_io", "FileIO", marker, "w"),
        ("codecs", "open", marker, "w"),
        ("shutil", "copyfile", __file__, marker),
        ("timeit", "timeit", "1", opened),
        ("profile", "run", opened),
        ("cProfile", "run", opened),
        ("zipfile", "ZipFile", marker, "w"),
        ("sqlite3", "connect", marker),
        ("logging", "FileHandler", marker),
        ("numpy", "savetxt", marker, [1]),
        ("torch", "save", {}, marker),
        ("torch.serialization", "save", {}, marker),
        ("pickle", "loads", raw_bytes("posix", "system", f"touch {marker}")),
        ("_pickle", "loads", raw_bytes("posix", "system", f"touch {marker}")),
    )


def raw_bytes(*call):
    """Opcodes of the bytes of a pickle that makes a call."""
    data = raw(reduce(*call), 2)
    return b"C" + bytes((len(data),)) + data


def dotted(marker):
    """Calls that hide behind attributes of names that checkpoints do need."""
    return (
        ("torch.nn.modules.module", "torch.os.system", f"touch {marker}"),
        ("torch.storage", "torch.os.system", f"touch {marker}"),
        ("torch._utils", "torch.os.system", f"touch {marker}"),
        ("torch", "os.system", f"touch {marker}"),
        ("argparse", "_os.system", f"touch {marker}"),
        ("pathlib", "os.system", f"touch {marker}"),
        ("collections", "OrderedDict.__init__.__globals__", f"touch {marker}"),
        ("lightning", "os.system", f"touch {marker}"),
        ("lightning.os", "system", f"touch {marker}"),
        ("pytorch_lightning.callbacks", "os.system", f"touch {marker}"),
        ("omegaconf.x", "eval", f"open({marker!r}, 'w')"),
    )


# Where a call can hide: opcodes → file.
CARRIERS = {
    "bare 2": lambda call: raw(call, 2),
    "bare 5": lambda call: raw(call, 5),
    "in a list in a dict": lambda call: raw(b"}" + value("ema") + b"](" + call + b"es"),
    "as a key": lambda call: raw(b"}" + call + b"Ns"),
    "thrown away": lambda call: raw(call + b"0N"),
    "in a state": lambda call: raw(
        name("argparse", "Namespace") + b")\x81}" + value("a") + call + b"sb"
    ),
    "in meta": lambda call: raw(
        reduce(
            *PERSISTENT,
            b"}" + value("class_name") + value("M") + value("state") + call + b"s" + b"s",
        )
    ),
    "zip": zipped,
    "zip, in a storage's name": lambda call: zipped(storage(FLOATS, "0", 1)[:-2] + call + b"tQ"),
    "zip, before the weights": lambda call: repacked(PLAIN, lambda d: d[:2] + call + b"0" + d[2:]),
    "zip, in a tensor's offset": lambda call: zipped(
        tensor(storage(FLOATS, "0", 1), 0, (1,), (1,)).replace(b"K\x00", call, 1),
        [("0", bytes(4))],
    ),
    "older": old,
    "older, for the magic number": lambda call: old(b"N", magic=call),
    "older, for the machine": lambda call: old(b"N", system=call),
    "older, for the keys": lambda call: old(b"N", keys=call),
    "older, in a storage's name": lambda call: old(
        b"(" + value("storage") + FLOATS + call + b"tQ"
    ),
    "in the bytes of a tensor": lambda call: loaded(old(call)),
    "in bytes that are a pickle": lambda call: loaded(raw(call, 2)),
    "in bytes that are a zip": lambda call: loaded(zipped(call)),
}


def loaded(data):
    """A bare pickle with a tensor's storage inside."""
    data = b"B" + len(data).to_bytes(4, "little") + data
    return raw(name("torch.storage", "_load_from_bytes") + data + b"\x85R")


def run_unsafely(path, monkeypatch):
    """Opens the file as torch and Python do when told to trust it."""

    def reconstruct(meta):
        exec(meta.get("module_src", ""), {})

    module = types.ModuleType("torch_utils.persistence")
    module._reconstruct_persistent_obj = reconstruct
    monkeypatch.setitem(sys.modules, "torch_utils", types.ModuleType("torch_utils"))
    monkeypatch.setitem(sys.modules, "torch_utils.persistence", module)
    with contextlib.suppress(Exception), contextlib.redirect_stdout(None):
        if path.read_bytes().startswith((b"PK", old(b"N")[:10])):
            torch.load(path, weights_only=False)
        else:
            with path.open("rb") as stream:
                pickle.load(stream)


def made(marker):
    """Whether the file is there, or will be when a process that was started is done."""
    deadline = time.monotonic() + 10
    while not marker.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return marker.exists()


COUNT = len(calls("m"))


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("number", range(COUNT), ids=[".".join(c[:2]) for c in calls("m")])
def test_no_call_runs_wherever_it_hides(tmp_path, monkeypatch, number, carrier):
    marker = tmp_path / "marker"
    module, attribute, *arguments = calls(str(marker))[number]
    if carrier == "bare 5" and module == "__builtin__":
        module = "builtins"  # Python 2's names end with protocol 2
    named = name if "2" in carrier or number % 2 else stack_name
    path = tmp_path / "model.pt"
    path.write_bytes(CARRIERS[carrier](reduce(module, attribute, *arguments, named=named)))
    with pytest.raises(UsageError) as caught:
        read_pickle(path)
    assert not marker.exists()
    assert str(path) in caught.value.cause
    if carrier == "in bytes that are a zip":  # never opened: such bytes are in the older format
        assert "kept in an unknown format" in caught.value.cause
    else:
        assert f"'{module}.{attribute}', which no checkpoint needs" in caught.value.cause
        assert "Nothing was run" in caught.value.hint
    run_unsafely(path, monkeypatch)
    assert made(marker), "this file is harmless: it tests nothing"


@pytest.mark.parametrize("protocol", (2, 4))
@pytest.mark.parametrize("number", range(len(dotted("m"))))
def test_no_attribute_is_reached_through_a_name(tmp_path, number, protocol):
    module, attribute, *arguments = dotted(str(tmp_path / "marker"))[number]
    named = name if protocol == 2 else stack_name
    path = tmp_path / "model.pkl"
    for call in (
        reduce(module, attribute, *arguments, named=named),
        instance(module, attribute, *arguments),
        objected(module, attribute, *arguments),
    ):
        path.write_bytes(raw(call, protocol))
        if attribute.isidentifier():  # a name like any of Lightning's: a record, never looked up
            contents = read_pickle(path)
            assert type(contents) is InertObject
            assert contents.class_name == f"{module}.{attribute}"
        else:
            with pytest.raises(UsageError, match="which no checkpoint needs"):
                read_pickle(path)
        assert not list(tmp_path.glob("marker"))


@pytest.mark.parametrize("form", (instance, objected), ids=("INST", "OBJ"))
@pytest.mark.parametrize("number", range(COUNT), ids=[".".join(c[:2]) for c in calls("m")])
def test_no_call_runs_in_the_old_forms(tmp_path, monkeypatch, form, number):
    marker = tmp_path / "marker"
    module, attribute, *arguments = calls(str(marker))[number]
    if isinstance(arguments[0], bytes):
        arguments = [raw(reduce("posix", "system", f"touch {marker}"), 2)]
    path = tmp_path / "model.pkl"
    path.write_bytes(raw(form(module, attribute, *arguments), 2))
    with pytest.raises(UsageError, match="which no checkpoint needs"):
        read_pickle(path)
    assert not marker.exists()
    run_unsafely(path, monkeypatch)
    assert made(marker)


def chains(marker):
    """Calls whose function is itself the result of calls."""
    system = f"touch {marker}"
    module = reduce("builtins", "__import__", "os")
    got = reduce("builtins", "getattr", module, "system")
    yield got + value(system) + b"\x85R"
    yield reduce("operator", "attrgetter", "system") + module + b"\x85R" + value(system) + b"\x85R"
    yield reduce("functools", "partial", name("posix", "system"), system) + b")R"
    yield reduce("operator", "methodcaller", "system", system) + module + b"\x85R"
    yield reduce("builtins", "list", reduce("builtins", "map", name("posix", "system"), [system]))
    yield reduce("copyreg", "__newobj_ex__", name("subprocess", "Popen"), (), {})[:-2] + b"tR"
    yield reduce("importlib", "import_module", "os")
    yield name("argparse", "Namespace") + reduce("builtins", "globals") + b"b"
    yield (
        name("torch._utils", "_rebuild_from_type_v2")
        + b"("
        + name("posix", "system")
        + b"N"
        + value((system,))
        + b"NtR"
    )


@pytest.mark.parametrize("number", range(len(list(chains("m")))))
@pytest.mark.parametrize("carrier", ("bare 2", "zip", "older", "in the bytes of a tensor"))
def test_no_chain_of_calls_runs(tmp_path, number, carrier):
    path = tmp_path / "model.pt"
    path.write_bytes(CARRIERS[carrier](list(chains(tmp_path / "marker"))[number]))
    with pytest.raises(UsageError, match="which no checkpoint needs"):
        read_pickle(path)
    assert not list(tmp_path.glob("marker"))


def test_the_source_text_of_a_persistent_object_stays_text(tmp_path, monkeypatch):
    marker = tmp_path / "marker"
    source = f"open({str(marker)!r}, 'w').close()\nclass Net: pass"
    meta = {"type": "class", "version": 6, "module_src": source, "class_name": "Net", "state": {}}
    for write in (raw, zipped, old):
        path = tmp_path / "model.pkl"
        path.write_bytes(write(reduce(*PERSISTENT, meta)))
        found = read_pickle(path)
        assert type(found) is PersistentObject and found.class_name == "Net"
        assert found.meta == {"type": "class", "version": 6, "module_src": source}
        assert not marker.exists()
    run_unsafely(path, monkeypatch)
    assert marker.exists()


def test_classes_of_libraries_are_records_and_their_packages_are_not_imported(tmp_path):
    (tmp_path / "omegaconf").mkdir()
    (tmp_path / "omegaconf" / "__init__.py").write_text("raise SystemExit('imported')")
    path = tmp_path / "model.ckpt"
    call = reduce("omegaconf", "DictConfig", {"a": 1}) + b"}" + value("_x") + value(2) + b"sb"
    path.write_bytes(raw(b"}" + name("lightning.callbacks", "Checkpoint") + call + b"s"))
    sys.path.insert(0, str(tmp_path))
    try:
        contents = read_pickle(path)
    finally:
        sys.path.remove(str(tmp_path))
    config = contents[InertClass("lightning.callbacks.Checkpoint")]
    assert config.class_name == "omegaconf.DictConfig"
    assert config.args == ({"a": 1},) and config.state == {"_x": 2}
    assert "omegaconf" not in sys.modules


MAGICS = ("__setstate__", "__class__", "__dict__", "__reduce__", "__del__", "state", "class_name")


@pytest.mark.parametrize("attribute", MAGICS)
def test_a_state_sets_no_attribute(tmp_path, attribute):
    path = tmp_path / "model.pkl"
    evil = b"}" + value(attribute) + name("lightning", "x") + b"s"
    for state in (evil, b"N" + evil + b"\x86", evil + evil + b"\x86"):
        path.write_bytes(raw(name("argparse", "Namespace") + b")\x81" + state + b"b"))
        found = read_pickle(path)
        assert type(found) is InertObject and found.class_name == "argparse.Namespace"
        assert set(vars(found)) == {"class_name", "args", "kwargs", "state", "items", "entries"}
        assert not hasattr(InertObject, "__setstate__")
        for target in (
            name("lightning", "Trainer"),
            name("torch._utils", "_rebuild_tensor_v2"),
            name("collections", "OrderedDict"),
            name("torch", "float32"),
            name("torch", "FloatStorage"),
            value("text"),
            b"]",
            b")",
            b"N",
        ):
            path.write_bytes(raw(target + state + b"b"))
            with pytest.raises(UsageError, match="sets the state"):
                read_pickle(path)


def test_mappings_keep_their_methods(tmp_path):
    path = tmp_path / "model.pkl"
    hidden = b"}" + value("items") + name("lightning", "x") + b"sb"
    path.write_bytes(raw(reduce("collections", "OrderedDict") + hidden + value("a") + b"Ns"))
    found = read_pickle(path)
    assert type(found) is dict and list(found.items()) == [("a", None)]


def test_registered_extensions_are_not_followed(tmp_path):
    path = tmp_path / "model.pkl"
    marker = tmp_path / "marker"
    copyreg.add_extension("posix", "mkdir", 240)
    try:
        path.write_bytes(raw(b"\x82\xf0" + value(str(marker)) + b"\x85R"))
        with pytest.raises(UsageError, match="EXT1"):
            read_pickle(path)
        assert not marker.exists()
        pickle.loads(path.read_bytes())
        assert marker.exists()
    finally:
        copyreg.remove_extension("posix", "mkdir", 240)


def test_bytes_are_read_in_bare_pickles_alone(tmp_path):
    """In the other formats, and within those bytes, nothing reads bytes: there is no nesting."""
    path = tmp_path / "model.pkl"
    call = reduce("torch.storage", "_load_from_bytes", b"C\1x")
    for data in (zipped(call), old(call), loaded(old(call))):
        path.write_bytes(data)
        with pytest.raises(UsageError, match=r"torch\.storage\._load_from_bytes"):
            read_pickle(path)


WHOLE = tensor(storage(FLOATS, "0", 2), 0, (2,), (1,))
VIEW = b"(" + value("1") + value(1) + value(9) + b"t"
BROKEN = {
    "no record": zipped(WHOLE),
    "short record": zipped(WHOLE, [("0", bytes(4))]),
    "long record": zipped(WHOLE, [("0", bytes(12))]),
    "packed": zipped(WHOLE, [("0", bytes(8))], zipfile.ZIP_DEFLATED),
    "two lengths": zipped(
        b"(" + WHOLE + storage(FLOATS, "0", 1) + b"t", [("0", bytes(8))]
    ),
    "older, no keys": old(storage(FLOATS, "0", 2, b"N")),
    "older, other keys": old(storage(FLOATS, "0", 2, b"N"), ["1"], (2).to_bytes(8, "little")),
    "older, twice": old(storage(FLOATS, "0", 2, b"N"), ["0", "0"], bytes(100)),
    "older, no bytes": old(storage(FLOATS, "0", 2, b"N"), ["0"]),
    "older, other length": old(storage(FLOATS, "0", 2, b"N"), ["0"], bytes(100)),
    "older, beyond": old(
        storage(FLOATS, "0", 2, VIEW), ["0"], (2).to_bytes(8, "little") + bytes(8)
    ),
    "older, big-endian": old(b"N", system=value({"little_endian": False})),
    "bare, outside": raw(storage(FLOATS, "0", 2)),
    "bytes, no storage": loaded(old(b"N")),
    "bytes, no format": loaded(raw(b"N")),
    "no storage": raw(tensor(b"N", 0, (2,), (1,))),
    "conjugate": zipped(
        WHOLE[:-2] + b"}" + value("conj") + b"\x88stR", [("0", bytes(8))]
    ),
    "parameter": raw(reduce("torch._utils", "_rebuild_parameter", 3, True, {})),
    "id as text": raw(b"Pabc\n"),
    "buffer": raw(b"\x97", 5),
    "unknown code": raw(b"\xff"),
    "empty stack": raw(b"0"),
    "no mark": raw(b"t"),
    "few parts": raw(b"N\x87"),
    "no memo": raw(b"h\7"),
    "tensor as a key": zipped(b"}" + WHOLE + b"Ns", [("0", bytes(8))]),
    "odd items": raw(b"}(" + value("a") + b"u"),
    "named arguments": raw(name("collections", "OrderedDict") + b")}" + value("a") + b"Ns\x92"),
    "bytearray's length": raw(reduce("builtins", "bytearray", 1 << 40)),
    "bytes' length": raw(reduce("builtins", "bytes", 1 << 40)),
    "other codec": raw(reduce("_codecs", "encode", "x", "zlib")),
    "no class name": raw(reduce(*PERSISTENT, {"state": {}})),
    "objects": pickle.dumps(np.array([{}], dtype=object)),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_what_does_not_fit_together_is_refused(tmp_path, case):
    path = tmp_path / "model.pt"
    path.write_bytes(BROKEN[case])
    with pytest.raises(UsageError) as caught:
        read_pickle(path)
    assert str(path) in caught.value.cause and caught.value.hint


@pytest.mark.parametrize("case", ("tuples of signs of one hash", "older names of one hash"))
def test_keys_of_one_hash_are_refused_before_they_are_hashed(tmp_path, case):
    """Each would be compared with all before it."""
    path = tmp_path / "model.pt"
    path.write_bytes(dict(repeated())[case])
    with pytest.raises(UsageError, match="it has a key that is"):
        read_pickle(path)


@pytest.mark.parametrize("part", (("layer", 3), (0, 1, 2, 65_536), (None, -1), (True, b"x")))
def test_short_tuples_are_keys(tmp_path, part):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({part: 1}))
    assert read_pickle(path) == {part: 1}


def test_records_that_overlap_do_not_fill_the_memory(tmp_path):
    """A megabyte that a thousand records share is read once at most."""
    path = tmp_path / "model.pt"
    size = 1 << 18
    data = bytearray(
        zipped(
            b"(" + b"".join(storage(FLOATS, str(n), size) for n in range(1000)) + b"l",
            [(str(n), bytes(4 * size) if n == 0 else b"") for n in range(1000)],
        )
    )
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        first = archive.getinfo("archive/data/0")
        directory = archive.start_dir
    for n in range(1, 1000):  # every record of the directory: place and length of the first
        at = data.index(f"archive/data/{n}".encode(), directory) - 46
        struct.pack_into("<III", data, at + 16, first.CRC, first.file_size, first.file_size)
        struct.pack_into("<I", data, at + 42, first.header_offset)
    path.write_bytes(data)
    with pytest.raises(UsageError):
        read_pickle(path)


@pytest.mark.slow
def test_damaged_and_greedy_files_never_end_the_process_nor_fill_its_memory(tmp_path):
    command = [sys.executable, "-m", "tests.models.hostile", str(tmp_path)]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) > 260
    assert not [row for row in rows if row[1].startswith("ERROR")]
    said = [row[1] for row in rows if row[1] != "read"]
    assert len(said) > 200
    assert all(str(tmp_path / "file") in words and "\n" in words for words in said)
    assert not [words for words in said if "not enough memory" in words]
    assert not [row for row in rows if row[2] > 400]  # MiB, for files of at most 7
    outcome = dict(row[:2] for row in rows)
    assert outcome["lists in lists"] == outcome["memo far away"] == "read"
    for case in ("bytes", "mappings", "arrays"):
        assert "more than it holds" in outcome[f"{case} again and again"]
    for case in ("a long call", "a long state", "sets"):
        assert "more than it holds" in outcome[case]
    assert "a NumPy array's state is none" in outcome["an array's long state"]
    for case in ("complex keys", "tuples", "tuples of signs", "older names"):
        assert "has a key" in outcome[f"{case} of one hash"]
