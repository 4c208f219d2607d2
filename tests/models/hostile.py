"""Hostile and damaged checkpoints, made from opcodes.

`python -m tests.models.hostile FOLDER` reads hundreds of damaged files in a process of its own, so
that the end of that process would be seen, and prints one JSON line for each.
"""

import faulthandler
import io
import itertools
import json
import pickle
import pickletools
import random
import struct
import sys
import zipfile
from pathlib import Path

import torch

from lambda_search.errors import UsageError
from lambda_search.models.pickles.read import PersistentObject
from lambda_search.models.pickles.read import read_pickle
from lambda_search.models.pickles.read import state_dict_of
from tests.golden import golden

GOLDEN = tuple(
    golden(case).folder / name
    for case, name in (
        ("ADM/cifar_like", "model.pt"),
        ("DDIM/cifar_like", "model.pth"),
        ("DDIM/train_list", "ckpt.pth"),
        ("DiT/tiny", "0050000.pt"),
        ("DiT/tiny", "model.pt"),
        ("EDM/ddpmpp_uncond", "network.pkl"),
        ("LDM/celeba_like", "model.ckpt"),
        ("PFGM++/ddpmpp_uncond", "training-state-000123.pkl"),
        ("PFGM++/ddpmpp_uncond", "training-state-000123.pt"),
    )
)
MAGIC = 0x1950A86A20F9469CFC6C


def value(thing):
    """Opcodes that push a plain value, without those that begin and end a pickle."""
    return pickletools.optimize(pickle.dumps(thing, 2))[2:-1]


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def stack_name(module, attribute):
    return value(module) + value(attribute) + b"\x93"


def reduce(module, attribute, *arguments, named=name):
    parts = b"".join(a if isinstance(a, bytes) else value(a) for a in arguments)
    return named(module, attribute) + b"(" + parts + b"tR"


def instance(module, attribute, *arguments):
    parts = b"".join(value(a) for a in arguments)
    return b"(" + parts + f"i{module}\n{attribute}\n".encode()


def objected(module, attribute, *arguments):
    parts = b"".join(value(a) for a in arguments)
    return b"(" + name(module, attribute) + parts + b"o"


def raw(opcodes, protocol=2):
    return bytes((0x80, protocol)) + opcodes + b"."


def zipped(opcodes, records=(), compression=zipfile.ZIP_STORED):
    """A file in torch's zip format; `records` are (name, bytes)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        archive.writestr("archive/data.pkl", raw(opcodes, 2))
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
        for key, data in records:
            archive.writestr(f"archive/data/{key}", data)
    return out.getvalue()


def repacked(file, edit):
    """The zip file's bytes, its pickle changed by `edit`, with right checksums."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(file)) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            new.writestr(info.filename, edit(data) if info.filename.endswith(".pkl") else data)
    return out.getvalue()


def old(opcodes, keys=(), records=b"", magic=None, system=None):
    """A file in torch's older format."""
    parts = [
        value(MAGIC) if magic is None else magic,
        value(1001),
        value({"little_endian": True}) if system is None else system,
        opcodes,
        keys if isinstance(keys, bytes) else value(list(keys)),
    ]
    return b"".join(raw(part, 2) for part in parts) + records


def storage(kind, key, count, view=None):
    """Opcodes of a storage outside the pickle; `view` only in the older format."""
    identity = b"(" + value("storage") + kind + value(key) + value("cpu") + value(count)
    return identity + (b"" if view is None else view) + b"tQ"


def tensor(store, offset, size, stride):
    rest = value(offset) + value(size) + value(stride) + value(False)
    return name("torch._utils", "_rebuild_tensor_v2") + b"(" + store + rest + b"}tR"


def _edit(data, kind, rng):
    """One kind of damage."""
    data = bytearray(data)
    at = rng.randrange(len(data))
    if kind == "flips":
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "truncated":
        del data[at:]
    elif kind == "swapped":
        length = rng.randint(1, min(400, len(data) // 3))
        a = rng.randrange(len(data) - 2 * length)
        b = rng.randrange(a + length, len(data) - length + 1)
        first, second = data[a : a + length], data[b : b + length]
        data[a : a + length], data[b : b + length] = second, first
    elif kind == "removed":
        del data[at : at + rng.randint(1, 100)]
    else:
        spots = [at]
        try:
            spots = [spot for _, _, spot in pickletools.genops(bytes(data))]
        except ValueError:
            pass
        for _ in range(rng.randint(1, 4)):
            code = rng.choice(pickletools.opcodes).code.encode("latin-1")
            spot = rng.choice(spots)
            tail = rng.randbytes(rng.choice((0, 0, 1, 4)))
            if kind == "inserted":
                data[spot:spot] = code + tail
            else:  # replaced
                data[spot : spot + 1] = code
    return bytes(data)


KINDS = ("flips", "truncated", "swapped", "removed", "inserted", "replaced")


def damaged(count, seed):
    """(name, bytes) of `count` damaged copies of the golden files, whole or their pickle only."""
    rng = random.Random(seed)
    files = [path.read_bytes() for path in GOLDEN]
    for number in range(count):
        which = rng.randrange(len(files))
        kind = KINDS[number % len(KINDS)]
        file = files[which]
        inside = zipfile.is_zipfile(io.BytesIO(file)) and (number % 3 > 0 or kind == "replaced")
        changed = repacked(file, lambda d, k=kind: _edit(d, k, rng)) if inside else None
        yield f"{GOLDEN[which].name} {kind} {number}", changed or _edit(file, kind, rng)


def bombs():
    """(name, bytes) of small files that ask for much memory, stack or time."""
    many = 20_000
    text = value("x" * 400_000)
    floats = name("torch", "FloatStorage")
    yield "tuples as a key", raw(b"}" + b")" + b"\x85" * 200_000 + b"Ns")
    yield "tuples in a set", raw(b"\x8f(" + b")" + b"\x85" * 200_000 + b"\x90")
    yield "a long key again and again", raw(b"}(" + b"N" * 100_000 + b"t\x940" + b"h\0Ns" * many)
    yield "a huge number as a key", raw(b"}" + value(1 << 80_000) + b"Ns")
    yield "lists in lists", raw(b"]" * 200_000 + b"a" * 199_999)
    yield "memo far away", raw(b"Nr\xff\xff\xff\xff")
    for code in (b"\x8e", b"\x8d", b"\x96", b"\x95"):
        yield f"length {code!r}", raw(code + struct.pack("<Q", 1 << 62) + b"abc")
        yield f"length {code!r} 1", raw(code + struct.pack("<Q", 1 << 34) + b"abc")
    yield "long number", raw(b"\x8b" + struct.pack("<i", (1 << 31) - 1) + b"abc")
    encode = name("_codecs", "encode") + b"\x94" + text + value("latin1") + b"\x86\x94"
    yield "bytes again and again", raw(b"(" + encode + b"h\0h\1R" * many + b"l")
    pairs = name("collections", "OrderedDict") + b"\x94}("
    pairs += b"".join(value(n) + b"N" for n in range(20_000)) + b"u\x85\x94"
    yield "mappings again and again", raw(b"(" + pairs + b"h\0h\1R" * many + b"l")
    kind = reduce("numpy", "dtype", "S400000", False, True)
    array = name("numpy.core.multiarray", "scalar") + b"\x94" + kind + text + b"\x86\x94"
    yield "arrays again and again", raw(b"(" + array + b"h\0h\1R" * many + b"l")
    payload = old(
        storage(floats, "0", 100_000, b"N"), ["0"], struct.pack("<q", 100_000) + bytes(400_000)
    )
    load = name("torch.storage", "_load_from_bytes") + b"\x94"
    load += b"B" + struct.pack("<I", len(payload)) + payload + b"\x85\x94"
    yield "storages again and again", raw(b"(" + load + b"h\0h\1R" * many + b"l")
    yield "storage larger than the file", zipped(storage(floats, "0", 1 << 40), [("0", b"abcd")])
    yield "older storage larger than the file", old(storage(floats, "0", 1 << 40, b"N"), ["0"])
    yield "negative storage", zipped(storage(floats, "0", -4), [("0", b"abcd")])
    for size, stride, offset in (
        ((1 << 40,), (0,), 0),
        ((1 << 40,), (1,), 0),
        ((2, 2), (1, 1 << 62), 0),
        ((4,), (-1,), 3),
        ((-4,), (1,), 0),
        ((1,), (1,), 1 << 62),
        ((1,), (1,), -1),
        ((1 << 62, 1 << 62, 4), (0, 0, 0), 0),
        ((2,), (1, 1), 0),
        ((1 << 70,), (0,), 0),
        ((1,) * 100_000, (1,) * 100_000, 0),
        ((2.0,), (1,), 0),
    ):
        file = zipped(tensor(storage(floats, "0", 4), offset, size, stride), [("0", bytes(16))])
        yield f"tensor {str(size)[:30]} {str(stride)[:30]} {offset}", file
    for shape in ((1 << 62,), (-1,), (1 << 40, 1 << 40), (2,) * 100, ((1 << 60),) * 8):
        state = (
            b"("
            + value(1)
            + value(shape)
            + reduce("numpy", "dtype", "f8")
            + b"\x89C\x08"
            + bytes(8)
        )
        new = reduce("numpy.core.multiarray", "_reconstruct", name("numpy", "ndarray"), (0,), "b")
        yield f"array {str(shape)[:30]}", raw(new + state + b"tb")
    for code in ("O8", "V8", "S0", "f8,O", "M8[s]", "f3", "U9999999", ">", "f8" * 1000):
        kind = reduce("numpy", "dtype", code, False, True)
        yield (
            f"array of {code[:9]}",
            raw(name("numpy.core.multiarray", "scalar") + kind + b"C\x08" + bytes(8) + b"\x86R"),
        )


def repeated():
    """(name, bytes) of files that have one thing done again and again."""
    deep = b")" + b"\x85" * 150_000
    yield "deep tuples among the older format's names", old(b"N", b"]" + deep + b"a")
    many = b"(" + b"N" * 100_000 + b"t\x94"
    empty = name("numpy.core.multiarray", "_reconstruct") + b"\x94"
    yield "a long call", raw(b"(" + many + empty + b"h\1h\0R0" * 50_000 + b"l")
    array = reduce("numpy.core.multiarray", "_reconstruct", name("numpy", "ndarray"), (0,), "b")
    record = name("argparse", "Namespace") + b")\x81"
    yield "a long state", raw(many + b"0" + record + b"h\0b" * 60_000)
    yield "an array's long state", raw(many + b"0" + array + b"h\0b" * 60_000)
    spelled = value("torch.nn.modules." + "x" * 200_000) + b"\x94" + value("Linear") + b"\x94"
    yield "a long name", raw(b"(" + spelled + b"h\0h\1\x93" * 40_000 + b"l", 4)
    huge = value(1 << (8 * 400_000)) + b"\x94"
    floats = name("torch", "FloatStorage")
    kept = b"(" + value("storage") + floats + huge + value("cpu") + value(0) + b"Nt\x94"
    yield "a huge storage's name", old(b"(" + kept + b"h\1Q" * 100_000 + b"l")
    yield "sets", raw(b"\x8f" * 20_000_000, 4)
    classes = name("numpy", "dtype") + value("c16") + b"\x85R\x94"
    scalar = name("numpy.core.multiarray", "scalar") + b"\x94"
    keys = b"".join(
        b"h\1h\0C\x10" + struct.pack("<dd", 1000003.0 * n, -float(n)) + b"\x86RN"
        for n in range(25_000)
    )
    yield "complex keys of one hash", raw(classes + b"0" + scalar + b"0}(" + keys + b"u", 4)
    keys = b"".join(value((n, colliding(n))) + b"N" for n in range(20_000))
    yield "tuples of one hash", raw(b"}(" + keys + b"u", 4)
    signs = itertools.islice(itertools.product((-1, -2), repeat=16), 20_000)
    keys = b"".join(value(key) + b"N" for key in signs)
    yield "tuples of signs of one hash", raw(b"}(" + keys + b"u", 4)
    modulus = sys.hash_info.modulus
    names = [n * modulus + 7 for n in range(20_000)]
    yield "older names of one hash", old(empty_storages(len(names)), names)
    puts = b"".join(b"p" + str(n * modulus + 7).encode() + b"\n" for n in range(30_000))
    yield "memos of one hash", raw(b"N" + puts)
    nested = b"(" + b"\x8f" * 50_000 + b"1" + storage(floats, "0", 1, b"N")
    inner = old(nested, ["0"], struct.pack("<q", 1) + bytes(4))
    load = name("torch.storage", "_load_from_bytes") + b"\x94B"
    load += struct.pack("<I", len(inner)) + inner + b"\x85\x94"
    yield "pickles in bytes", raw(b"(" + load + b"h\0h\1R0" * 20_000 + b"l")


def empty_storages(count):
    """Opcodes of so many storages of torch's older format, all of them empty."""
    floats = name("torch", "FloatStorage") + b"\x940"
    return floats + b"(" + b"".join(storage(b"h\0", n, 0, b"N") for n in range(count)) + b"l"


def colliding(first):
    """A second part with which tuples of two whole numbers have one hash, or nearly so."""
    two, five, turn = 14029467366897019727, 2870177450012600261, (1 << 64) - 1
    lane = (five + first * two) & turn
    lane = (((lane << 31) | (lane >> 33)) * 11400714785074694791) & turn
    return (-lane * pow(two, -1, 1 << 64) & turn) % sys.hash_info.modulus


def verdict(path):
    """How a file is taken: "read", the words of a UsageError, or ERROR and what came instead."""
    try:
        contents = read_pickle(path)
        for part in contents.values() if isinstance(contents, dict) else ():
            if isinstance(part, PersistentObject):
                state_dict_of(part)
    except UsageError as error:
        return str(error)
    except BaseException as error:
        return f"ERROR {error!r}"
    return "read"


def main(folder):
    """Reads all files and reports, last of all, the most memory that was in use, in MiB."""
    import resource

    faulthandler.enable()
    torch.set_num_threads(1)
    for case, data in (*damaged(220, seed=1), *bombs(), *repeated()):
        path = Path(folder) / "file"
        path.write_bytes(data)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        said = verdict(path)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        print(json.dumps([case, said, after - before]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
