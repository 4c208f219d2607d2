"""A row in words, for who reads it for the first time: what it says, and why to believe it."""

from __future__ import annotations

from collections.abc import Iterator

from lambda_search.records import Interval
from lambda_search.records import Row
from lambda_search.report.words import looks_of
from lambda_search.report.words import provenance_of
from lambda_search.report.words import signed
from lambda_search.setting import Setting

__all__ = [
    "evidence_of",
    "facts_of",
    "gain_of",
    "number",
    "origin_of",
    "uncertain",
    "walk_of",
]


def number(value: float | None, form: str = ".4g") -> str:
    """A number, with a minus that is one; a dash where there is none."""
    return "–" if value is None else signed(value, form)


def uncertain(value: float, interval: Interval | None) -> str:
    """A number with half the width of its interval, as far as it has one."""
    if interval is None:
        return f"{value:g}"
    return f"{signed(value, '.3f')} ± {interval.half_width:.3f}"


def walk_of(setting: Setting) -> str:
    """How a setting samples besides its steps: sampler, guidance, and where λ acts."""
    words = [setting.solver]
    if setting.guidance is not None:
        words.append(f"guidance {setting.guidance:g}")
    if setting.site != "full":
        words.append(setting.site)
    return ", ".join(words)


def gain_of(row: Row) -> str:
    """What λ gains, with its interval where it was measured."""
    if row.gain is None or row.gain_interval is None:
        return signed(row.baseline_fid - row.fid, ".4g")
    low, high = (signed(end, ".3f") for end in (row.gain_interval.low, row.gain_interval.high))
    return f"{signed(row.gain, '.3f')} [{low}, {high}]"


def evidence_of(row: Row) -> list[str]:
    """Why to believe a row, in sentences."""
    return [*_measured(row), *(f"Caution: {one}" for one in row.provenance.cautions)]


def _measured(row: Row) -> Iterator[str]:
    told = row.provenance
    if row.gain is None or row.gain_interval is None:
        yield (
            f"FID {row.fid:g} with this λ and {row.baseline_fid:g} with λ = 1, on {row.n:,} "
            "images, as its authors published them: nobody measured it here, and no interval is "
            "given."
        )
        return
    gain = row.gain_interval
    yield (
        f"FID {uncertain(row.fid, row.fid_interval)} with this λ and "
        f"{uncertain(row.baseline_fid, row.baseline_interval)} with λ = 1, both on the same noise "
        f"and {row.n:,} images."
    )
    share = f"{signed(100 * row.relative_gain, '.1f')}\u00a0% of the FID at λ = 1"
    proves = "above zero" if gain.low > 0 else "not above zero, so it is not proven"
    what = "The gain is" if gain.low > 0 else "The best found gains"
    yield (
        f"{what} {signed(row.gain, '.3f')} ({share}); at {100 * gain.level:.4g}\u00a0% it lies "
        f"between {signed(gain.low, '.3f')} and {signed(gain.high, '.3f')}: {proves}. It is "
        "paired and corrected for the bias of FID."
    )
    if told.confirm_indices is not None:
        first, end = told.confirm_indices
        yield f"The search never saw these images (sample indices {first:,} to {end - 1:,})."
    if told.search:
        yield f"The search had {told.search}."
    if row.worth_words:
        yield f"Is k worth it? {row.worth_words[0].upper()}{row.worth_words[1:]}."
    if looks := looks_of(row):
        yield f"The confirmation looked at them several times: {looks}."


def origin_of(row: Row) -> str:
    """Who says so."""
    source = row.provenance.source
    if source is not None:
        return f"Published in {source.paper} (arXiv:{source.arxiv}), {source.table}."
    words = [f"Measured {row.created:%Y-%m-%d}"]
    if row.origin.by:
        words.append(f"by {row.origin.by}")
    if row.origin.tool:
        words.append(f"with {row.origin.tool}")
    if row.provenance.study:
        words.append(f"in the study {row.provenance.study}")
    told = f"{' '.join(words)}."
    if row.arrival is None:
        return told
    return f"{told} Not measured in this store: it came from {row.arrival.source} on " + (
        f"{row.arrival.at:%Y-%m-%d}."
    )


def facts_of(row: Row) -> list[tuple[str, str]]:
    """All that a row was measured with, name by name."""
    told = row.provenance
    facts = provenance_of(row)
    beside = {
        "configuration": row.setting.definition,
        "seed": "" if told.seed is None else str(told.seed),
        "rungs": ", ".join(f"{n:,}" for n in told.rungs) + " images" * bool(told.rungs),
        "search": told.search,
        "device": "" if told.identity is None else told.identity.device,
        "hub": " at ".join(one for one in (row.origins.hub, row.origins.revision) if one),
        "file": row.origins.file or "",
        "trained on": row.origins.dataset or "",
    }
    return [*facts, *((name, value) for name, value in beside.items() if value)]
