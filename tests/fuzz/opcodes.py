"""Pickles put together from opcodes: something large, and something done to it again and again."""

from __future__ import annotations

import struct

from tests.fuzz.damage import HUGE
from tests.fuzz.damage import texts
from tests.fuzz.harness import CANARY
from tests.models.hostile import colliding
from tests.models.hostile import name
from tests.models.hostile import old
from tests.models.hostile import raw
from tests.models.hostile import reduce
from tests.models.hostile import storage
from tests.models.hostile import tensor
from tests.models.hostile import value
from tests.models.hostile import zipped

__all__ = ["contained", "large", "program", "pushed"]

MEMO = b"q"
FLOATS = name("torch", "FloatStorage")
CALLS = (
    ("collections", "OrderedDict"),
    ("collections", "Counter"),
    ("collections", "deque"),
    ("collections", "defaultdict"),
    ("builtins", "set"),
    ("builtins", "frozenset"),
    ("builtins", "bytearray"),
    ("builtins", "complex"),
    ("_codecs", "encode"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"),
    ("torch", "Size"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch._tensor", "_rebuild_from_type_v2"),
    ("torch.storage", "_load_from_bytes"),
    ("torch_utils.persistence", "_reconstruct_persistent_obj"),
    ("argparse", "Namespace"),
    ("datetime", "datetime"),
    ("pathlib", "PosixPath"),
    ("omegaconf.dictconfig", "DictConfig"),
)
FORBIDDEN = (
    ("os", "system", f"touch {CANARY}"),
    ("posix", "system", f"touch {CANARY}"),
    ("builtins", "eval", f"open('{CANARY}', 'w')"),
    ("builtins", "exec", f"open('{CANARY}', 'w')"),
    ("subprocess", "check_output", ["touch", CANARY]),
    ("builtins", "getattr", "x"),
    ("torch.hub", "load", "x"),
    ("importlib", "import_module", "antigravity"),
)


def counted(rng, most):
    return rng.choice((1, 10, 100, most // 10, most))


def large(rng):
    """(what, opcodes) that push something large, deep, or often the same."""
    many = counted(rng, 60_000)
    deep = rng.choice((b"\x85", b"]a" if rng.random() < 0.5 else b"\x85"))
    kinds = {
        "a tuple": lambda: b"(" + rng.choice((b"N", b"K\1", b")", b"]")) * many + b"t",
        "a list": lambda: b"(" + rng.choice((b"N", b"K\1", b")", b"}")) * many + b"l",
        "a text": lambda: value("x" * 6 * many),
        "bytes": lambda: b"B" + struct.pack("<I", 6 * many) + bytes(6 * many),
        "a deep tuple": lambda: b")" + b"\x85" * 2 * many,
        "a deep list": lambda: b"]" * many + b"a" * (many - 1),
        "a number": lambda: value(1 << (8 * min(many, 200_000))),
        "a mapping": lambda: b"}(" + b"".join(value(n) + b"N" for n in range(many // 4)) + b"u",
        "colliding keys": lambda: (
            b"}(" + b"".join(value((n, colliding(n))) + b"N" for n in range(many // 8)) + b"u"
        ),
        "numbers of one hash": lambda: (
            b"}(" + b"".join(value(n * ((1 << 61) - 1)) + b"N" for n in range(many // 8)) + b"u"
        ),
        "a set": lambda: b"\x8f(" + b"".join(value(n) for n in range(many // 4)) + b"\x90",
        "a list of itself": lambda: b"]r\xff\0\0\0j\xff\0\0\0a",
        "lists of twice the same": lambda: (
            b"]r\0\1\0\0"
            + b"".join(
                b"0]("
                + b"j"
                + struct.pack("<I", 255 + n)
                + b"j"
                + struct.pack("<I", 255 + n)
                + b"er"
                + struct.pack("<I", 256 + n)
                for n in range(1, min(60, many))
            )
        ),
        "an array": lambda: _array(8 * (many // 8)),
        "a deep record": lambda: name("argparse", "Namespace") + b")\x81" + deep * many,
    }
    what = rng.choice(sorted(kinds))
    return what, kinds[what]()


def _array(size):
    kind = reduce("numpy", "dtype", "f8", False, True)
    data = b"B" + struct.pack("<I", size) + bytes(size)
    new = reduce("numpy.core.multiarray", "_reconstruct", name("numpy", "ndarray"), (0,), "b")
    return new + b"(K\1" + value((size // 8,)) + kind + b"\x89" + data + b"tb"


def pushed(rng):
    """Opcodes that push something small."""
    return rng.choice(
        (
            b"N",
            b"\x88",
            b")",
            b"]",
            b"}",
            b"\x8f",
            value(rng.choice((0, 1, -1, 65_537, *HUGE))),
            value(1.5),
            value(texts(rng)[:2000]),
            value((1, 2)),
            value({"a": [1, "b"]}),
            name("argparse", "Namespace") + b")\x81",
            reduce("numpy", "dtype", rng.choice(("f8", "U100", "S9", "O8")), False, True),
            FLOATS,
        )
    )


def done(rng, times):
    """(what, opcodes) that do one thing with memo 1, `times` times; each leaves the stack even."""
    call = rng.choice(CALLS)
    got, kept = b"h\1", rng.choice((b"0", b"0", b""))
    kinds = {
        "called with": name(*call) + b"q\2(" + (b"h\2" + got + b"R" + kept) * times,
        "called with one": name(*call) + b"q\2(" + (b"h\2" + got + b"\x85R" + kept) * times,
        "called with three": name(*call)
        + b"q\2("
        + (b"h\2" + got + got + pushed(rng) + b"\x87R" + kept) * times,
        "a state": name("argparse", "Namespace") + b")\x81" + (got + b"b") * times,
        "an array's state": reduce(
            "numpy.core.multiarray", "_reconstruct", name("numpy", "ndarray"), (0,), "b"
        )
        + (got + b"b") * times,
        "a key": b"}(" + (got + b"N") * times + b"u",
        "a member": b"\x8f(" + got * times + b"\x90",
        "frozen": b"(" + (b"(" + got + b"\x91" + kept) * times,
        "appended": b"](" + got * times + b"e",
        "a name": b"(" + (got + value("x") + b"\x93" + kept) * times,
        "named by": b"(" + (value("argparse") + got + b"\x93" + kept) * times,
        "kept outside": b"(" + (got + b"Q" + kept) * times,
        "a storage's name": b"("
        + (b"(" + value("storage") + FLOATS + got + value("cpu") + value(1) + b"tQ" + kept)
        * times,
        "made new": name("argparse", "Namespace")
        + b"q\2("
        + (b"h\2" + got + b"\x81" + kept) * times,
        "in tuples": b"(" + (got + b"\x85" + kept) * times,
        "a persistent object's": reduce(
            "torch_utils.persistence",
            "_reconstruct_persistent_obj",
            b"}(" + value("class_name") + value("x.EDMPrecond") + value("state") + got + b"u",
        ),
    }
    what = rng.choice(sorted(kinds))
    return what, kinds[what]


def flooded(rng):
    """(what, opcodes) of one opcode, or a few, as often as a megabyte holds."""
    few = rng.choice(
        (
            b"\x8f",
            b"]",
            b"}",
            b")",
            b"(",
            b"N",
            b"\x94",
            b"K\1",
            b"N\x94",
            b"(t",
            b"(l",
            b"(d",
            b"2",
        )
    )
    times = counted(rng, 1_000_000 // len(few))
    return f"{few!r} {times} times", b"N" + few * times


def program(rng):
    """(what, opcodes) that push one thing."""
    choice = rng.random()
    if choice < 0.15:
        return flooded(rng)
    if choice < 0.25:
        module, attribute, *arguments = rng.choice(FORBIDDEN)
        return f"{module}.{attribute}", reduce(module, attribute, *arguments)
    if choice < 0.35:
        return "small things", b"(" + b"".join(pushed(rng) for _ in range(50)) + rng.choice(
            (b"t", b"l", b"d", b"\x91", b"\x90", b"u", b"e")
        )
    what, opcodes = large(rng)
    times = counted(rng, 60_000)
    doing, rest = done(rng, times)
    return f"{what}, {doing} {times} times", opcodes + b"q\1" + rest


def contained(rng, opcodes):
    """(container, bytes) of a file around `opcodes`."""
    floats = storage(FLOATS, "0", 1)
    kinds = {
        "bare": lambda: raw(opcodes, rng.choice((2, 4, 5))),
        "under ema": lambda: raw(b"}" + value("ema") + opcodes + b"s", 4),
        "as the first name": lambda: raw(b"}" + opcodes + b"Ns", 4),
        "zip": lambda: zipped(opcodes),
        "zip, with weights": lambda: zipped(
            b"}("
            + value("x_embedder.proj.weight")
            + tensor(floats, 0, (1,), (1,))
            + value("args")
            + opcodes
            + b"u",
            [("0", bytes(4))],
        ),
        "older": lambda: old(opcodes),
        "older, names": lambda: old(b"N", opcodes),
        "older, machine": lambda: old(b"N", system=opcodes),
        "in bytes": lambda: _in_bytes(old(opcodes)),
    }
    where = rng.choice(sorted(kinds))
    return where, kinds[where]()


def _in_bytes(data):
    data = b"B" + struct.pack("<I", len(data)) + data
    return raw(name("torch.storage", "_load_from_bytes") + data + b"\x85R", 4)
