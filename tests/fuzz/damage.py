"""Damage to bytes, and values that nobody expects where a number or a name should be."""

from __future__ import annotations

__all__ = ["HUGE", "damaged", "nasty", "texts"]

HUGE = (2**31, 2**40, 2**62, 2**63, 2**64, 10**9, 10**30)


def damaged(data, rng):
    """(what was done, changed bytes)."""
    data = bytearray(data)
    kind = rng.choice(("flip", "cut", "remove", "swap", "fill", "insert", "number", "repeat"))
    at = rng.randrange(max(1, min(len(data), rng.choice((64, 1024, 1 << 30)))))
    length = rng.choice((1, 4, 8, 64, 1024))
    match kind:
        case "flip":
            for _ in range(rng.choice((1, 2, 8, 64))):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case "cut":
            del data[at:]
        case "remove":
            del data[at : at + length]
        case "swap":
            other = rng.randrange(len(data))
            first, second = data[at : at + length], data[other : other + length]
            data[at : at + length], data[other : other + length] = second, first
        case "fill":
            data[at : at + length] = rng.choice((b"\0", b"\xff", b"A")) * length
        case "insert":
            data[at:at] = rng.randbytes(length)
        case "number":
            size = rng.choice((2, 4, 8))
            value = rng.choice((0, 1, *HUGE)) % (1 << 8 * size)
            data[at : at + size] = value.to_bytes(size, rng.choice(("little", "big")))
        case "repeat":
            data[at:at] = bytes(data[at : at + length]) * rng.choice((2, 100, 1000))
    return f"{kind} at {at}", bytes(data[: 1 << 20]) if len(data) < 1 << 21 else bytes(data)


def texts(rng):
    """A text that a name should not be."""
    return rng.choice(
        (
            "",
            "x" * rng.choice((300, 5000, 100_000)),
            "\x1b]0;owned\x07\x1b[2J",
            "\u202e\u2028\0",
            "../../etc/passwd",
            "[red]x[/red]",
            "{x}%s",
            "9" * 5000,
            "ü" * 40,
        )
    )


def nasty(rng, depth=3):
    """A value of JSON's kinds that is too large, too small, too deep, or of another type."""
    kind = rng.randrange(9)
    if kind < 3 or depth == 0:
        return rng.choice(
            (0, -1, 1, 3, 7, 1000, 10**5, *HUGE, 10**400 if rng.random() < 0.2 else 5)
        )
    if kind == 3:
        return rng.choice((0.0, -0.5, 1e308, 5e-324, float("inf"), float("nan")))
    if kind == 4:
        return rng.choice((None, True, False))
    if kind == 5:
        return texts(rng)
    if kind == 6:
        return [nasty(rng, 0)] * rng.choice((0, 1, 12, 13, 1000, 20_000))
    if kind == 7:
        found = []
        for _ in range(rng.choice((2, 30, 60))):
            found = [found]
        return found
    return {texts(rng)[:50]: nasty(rng, depth - 1) for _ in range(rng.choice((0, 1, 5)))}
