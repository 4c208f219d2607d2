"""Where words go: data to stdout, everything else to stderr; and what may not go there.

Names and errors come from files that others wrote. They are shown as text: brackets are no markup,
and characters that move the cursor, open links, write to the clipboard or turn the direction of
writing are shown as signs.
"""

from __future__ import annotations

import codecs
import io
import json
import sys
import unicodedata
from collections.abc import Iterable
from contextlib import AbstractContextManager
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.console import ConsoleOptions
from rich.console import RenderableType
from rich.segment import Segment
from rich.text import Text

from lambda_search.errors import LambdaSearchError
from lambda_search.paths import is_set

__all__ = ["complain", "debugging", "err", "out", "prepare_streams", "print_json", "working"]

_JOINERS = "\u200c\u200d"
"""Invisible, and part of how Persian and emoji are written."""
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Categories of characters that are not seen: controls, marks of direction, half pairs, breaks."""
_SIGNS = {
    "λ": "lambda",
    "σ": "sigma",
    "ε": "epsilon",
    "·": "*",
    "×": "x",
    "±": "+-",
    "−": "-",
    "–": "-",
    "…": "...",
    "→": "->",
    "∞": "inf",
    "′": "'",
    "✓": "ok",
    "✗": "no",
}
"""Our own signs in ASCII."""


class _Screen(Console):
    """Rich's console, for text that is not its own."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or _is_plain(segment.text):
                yield segment
            else:
                yield Segment(_seen(segment.text), segment.style)


out = _Screen(highlight=False, soft_wrap=True, markup=False, emoji=False)
err = _Screen(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)


def complain(error: LambdaSearchError, about: str = "") -> None:
    """Shows an error, of the study `about` if it is named: the cause, then the next step."""
    word = "stopped" if error.exit_code == 130 else "error"
    named = f"{about}: " if about else ""
    err.print(Text.assemble((f"{word}: ", "bold red"), f"{named}{error.cause}"))
    for note in getattr(error, "__notes__", ()):
        err.print(Text(note))
    if error.hint:
        err.print(Text(error.hint, style="dim"))


def debugging() -> bool:
    """Whether tracebacks are wanted: --debug, or LAMBDA_SEARCH_DEBUG."""
    return is_set("LAMBDA_SEARCH_DEBUG")


def print_json(value: Any) -> None:
    """JSON on stdout; characters that are not seen, or that it cannot show, are escaped.

    Moments are in ISO 8601, paths as text.
    """
    words = json.dumps(value, indent=2, ensure_ascii=out.options.ascii_only, default=_as_text)
    print("".join(_escaped(one) if _is_hidden(one) else one for one in words))


def working(what: str) -> AbstractContextManager[object]:
    """A spinner with `what` on a terminal, nothing elsewhere."""
    spinner = "line" if err.options.ascii_only else "dots"
    return err.status(Text(what), spinner=spinner) if err.is_terminal else nullcontext()


def prepare_streams() -> None:
    """Has stdout and stderr take every text, whatever encoding the terminal has."""
    codecs.register_error("lambda_search", _in_other_signs)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="lambda_search")


def _as_text(value: object) -> str:
    if not isinstance(value, datetime | Path):
        raise TypeError(f"a {type(value).__name__} is not shown as JSON")
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _in_other_signs(error: UnicodeError) -> tuple[str | bytes, int]:
    """Characters that a terminal does not have, in those that it has."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    if all(sign in _SIGNS for sign in text):
        return "".join(_SIGNS[sign] for sign in text), error.end
    return codecs.backslashreplace_errors(error)


def _is_plain(text: str) -> bool:
    return (text.isascii() and text.isprintable()) or not any(map(_is_hidden, text))


def _is_hidden(sign: str) -> bool:
    unseen = unicodedata.category(sign) in _HIDDEN
    return unseen and sign not in "\n\t" and sign not in _JOINERS


def _escaped(hidden: str) -> str:
    """As JSON may have it, which also leaves U+007F as it is."""
    return f"\\u{ord(hidden):04x}" if hidden == "\x7f" else json.dumps(hidden)[1:-1]


def _seen(text: str) -> str:
    """`text` with a sign for each character that is not seen."""
    return "".join(_sign(one) if _is_hidden(one) else one for one in text)


def _sign(hidden: str) -> str:
    code = ord(hidden)
    return chr(0x2400 + code) if code < 0x20 else "\N{REPLACEMENT CHARACTER}"
