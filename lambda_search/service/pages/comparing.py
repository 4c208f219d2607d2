"""Two rows side by side: what differs in their settings, and whether they may be compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated
from typing import Any

from fastapi import APIRouter
from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from lambda_search.records import Row
from lambda_search.report import figures
from lambda_search.service.context import Here
from lambda_search.service.pages.drawing import drawn
from lambda_search.service.pages.twins import Form
from lambda_search.service.pages.twins import rows_twin
from lambda_search.service.telling import gain_of
from lambda_search.service.telling import number
from lambda_search.service.telling import origin_of
from lambda_search.service.telling import uncertain
from lambda_search.service.words import TAKEN
from lambda_search.setting import Setting

__all__ = ["Verdict", "router", "verdict_of"]

router = APIRouter()
_Row = Annotated[str, Query(max_length=64, pattern=TAKEN)]
_METRIC = ("metric", "extractor", "reference")
_MEANING = {
    "model": "They are of different models.",
    "weights": "They are of different weights.",
    "definition": "Their weights are run with different configurations.",
    "framework": "Their weights are read by different frameworks.",
    "site": "λ acts in different places, and in one it is 2 to 19 times as strong.",
    "guidance": "Their guidance differs.",
    "sampler": "Their samplers differ.",
}


@dataclass(frozen=True)
class Verdict:
    """Whether two rows may be compared.

    Arguments:
        word: `yes`, `with care` or `no`.
        says: the same in a sentence.
        reasons: why, a sentence each.
    """

    word: str
    says: str
    reasons: tuple[str, ...]


def verdict_of(a: Row, b: Row) -> Verdict:
    """Whether the FIDs of two rows, and their λ, may be compared."""
    differing = _differing(a, b)
    never = [
        *_metrics(a, b),
        *(words for name, words in _MEANING.items() if name in differing),
    ]
    if never:
        says = "They may not be ranked against each other."
        return Verdict("no", says, tuple(never))
    care = list(_cautions(a, b, differing))
    if care:
        return Verdict("with care", "They may be compared, with care.", tuple(care))
    same = "They were measured in one setting, with one metric, on as many images."
    return Verdict("yes", "They may be compared.", (same,))


def _metrics(a: Row, b: Row) -> Iterator[str]:
    if (a.status == "published") != (b.status == "published"):
        yield (
            "One was published by its authors, who evaluated it themselves, and the other was "
            "measured with this tool."
        )
    elif any(_bare(getattr(a.setting, n)) != _bare(getattr(b.setting, n)) for n in _METRIC):
        yield "Their distances are of different metrics, extractors or references."


def _cautions(a: Row, b: Row, differing: set[str]) -> Iterator[str]:
    if "steps" in differing or len(a.lambdas) != len(b.lambdas):
        yield (
            "Their steps differ: k is per step, so b and k say nothing across; compare FIDs, "
            "and λ over the share of the steps."
        )
    options = differing - {"steps", *_METRIC}
    if options:
        yield f"Other options of the sampler differ: {', '.join(sorted(options))}."
    if a.n != b.n:
        yield (
            f"FID is biased by the number of images, and they have {a.n:,} and {b.n:,}: compare "
            "their gains, which are corrected, and not their FIDs."
        )


def _differing(a: Row, b: Row) -> set[str]:
    here, there = _fields(a.setting), _fields(b.setting)
    return {name for name in here | there if here.get(name) != there.get(name)}


def _fields(setting: Setting) -> dict[str, Any]:
    told: dict[str, Any] = setting.model_dump(mode="json", exclude_none=True)
    options: dict[str, Any] = told.pop("options")
    return told | options | {name: _bare(told[name]) for name in ("extractor", "reference")}


def _bare(name: str) -> str:
    """What decides of an extractor or reference: its fingerprint, where that is known."""
    return name.partition("@")[2] or name


def _lines(a: Row, b: Row) -> list[tuple[str, str, str, bool]]:
    """A name, both values, and whether they differ where they should not."""
    differing = _differing(a, b)
    known = a.setting.model_dump(mode="json", exclude={"options"})
    names = [*known, *sorted((_fields(a.setting) | _fields(b.setting)).keys() - known.keys())]
    lines = []
    for name in names:
        values = [_shown(_told(row.setting, name)) for row in (a, b)]
        if any(value != "–" for value in values):
            lines.append((name, values[0], values[1], name in differing))
    return lines


def _told(setting: Setting, name: str) -> Any:
    dumped = setting.model_dump(mode="json")
    return dumped.get(name, dumped["options"].get(name))


def _shown(value: Any) -> str:
    if isinstance(value, str) and len(value) == 64:
        return value[:12]
    return "–" if value is None else str(value)


def _results(a: Row, b: Row) -> list[tuple[str, str, str]]:
    def line(name: str, told: Any) -> tuple[str, str, str]:
        return name, str(told(a)), str(told(b))

    def mean(row: Row) -> str:
        return number(row.schedule.mean(len(row.lambdas)), ".6g")

    return [
        line("λ(i)", lambda row: row.schedule),
        line("mean of λ", mean),
        line("evidence", lambda row: row.status),
        line("images", lambda row: f"{row.n:,}"),
        line("FID with λ", lambda row: uncertain(row.fid, row.fid_interval)),
        line("FID with λ = 1", lambda row: uncertain(row.baseline_fid, row.baseline_interval)),
        line("gain", gain_of),
        line("origin", origin_of),
    ]


@router.get("/compare.{form}")
def twin(service: Here, form: Form, a: _Row, b: _Row) -> Response:
    """Both rows as a file."""
    return rows_twin([service.store.row(a), service.store.row(b)], form)


@router.get("/compare")
def compare(request: Request, service: Here, a: _Row = "", b: _Row = "") -> Response:
    """The page; it asks for what is not named."""
    store = service.store
    first, second = (store.row(id) if id else None for id in (a.strip(), b.strip()))
    if first is None or second is None:
        return service.page(
            request, "compare.html", a=a, b=b, rows=None, verdict=None, **drawn({})
        )
    named = {f"A, {first.id[:6]}": first, f"B, {second.id[:6]}": second}
    return service.page(
        request,
        "compare.html",
        a=a,
        b=b,
        rows=(first, second),
        verdict=verdict_of(first, second),
        lines=_lines(first, second),
        results=_results(first, second),
        **drawn({"lambdas": figures.lambdas_figure(named)}),
    )
