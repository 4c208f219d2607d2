"""A study in words: the lines that a reader needs first, and where its numbers come from."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from lambda_search.records import Interval
from lambda_search.records import Row
from lambda_search.records import lookup_words
from lambda_search.records import pipeline_line
from lambda_search.records import using_lines
from lambda_search.report.effort import Effort
from lambda_search.report.findings import Findings

__all__ = [
    "Line",
    "duration",
    "looks_of",
    "provenance_of",
    "signed",
    "summary_of",
    "verdict_of",
]


_ENDS = {
    "proven": "it ended as the gain is proven, and known to {}",
    "precise": "it ended as the gains are known to {}; none is proven",
    "samples": "it ended with the last of the images, before the gains were known to {}",
}


@dataclass(frozen=True)
class Line:
    """A line of the summary.

    Arguments:
        name: what it is about.
        text: in words.
        code: lines to copy, instead of or after words.
        several: points of a list, instead of words.
    """

    name: str
    text: str = ""
    code: tuple[str, ...] = ()
    several: tuple[str, ...] = ()


def verdict_of(findings: Findings) -> tuple[str, str]:
    """A study's standing in one word, and why."""
    study, row = findings.study, findings.row
    if row is not None and row.retraction is not None:
        at = f"{row.retraction.at:%Y-%m-%d}"
        return "retracted", f"taken back on {at}: {row.retraction.reason}"
    if row is not None and study.state == "done":
        return row.status, row.verdict
    if findings.is_abandoned:
        return "queued", "its driver is gone; the next one goes on"
    if study.state == "running":
        return "running", study.message or "a driver is at work on it"
    return study.state, study.message or "waits for a driver"


def summary_of(findings: Findings, spent: Effort) -> list[Line]:
    """The lines that come first.

    Arguments:
        findings: of the study.
        spent: all of its phases together.
    """
    row, status = findings.row, Line("status", ": ".join(verdict_of(findings)))
    lines = [Line("searched", _searched(findings))]
    lines += [status] if row is None else [*_proposed(row), status, *_proven(row)]
    if row is None or findings.study.state != "done":
        lines += _so_far(findings)
    return [*lines, Line("time and cost", _cost(spent))]


def _proposed(row: Row) -> Iterator[Line]:
    """What a row says, and the lines that use it."""
    low, high = row.lambdas[0], row.lambdas[-1]
    yield Line(
        "λ(i)",
        f"{row.schedule}: {low:.5g} at i = 0, the least noisy step, to {high:.5g} at "
        f"i = {len(row.lambdas) - 1}, the noisiest; the predicted noise is divided by it",
    )
    if row.gain is not None and row.gain_interval is not None:
        gain = row.gain_interval
        yield Line(
            "gain" if gain.low > 0 else "best found",
            f"{signed(row.gain, '.3f')}, between {signed(gain.low, '.3f')} and "
            f"{signed(gain.high, '.3f')} at {100 * gain.level:.4g}\u00a0% "
            f"({signed(100 * row.relative_gain, '.1f')}\u00a0% of the FID at λ = 1; paired, "
            "bias-corrected)",
        )
    yield Line("in Python", code=tuple(using_lines(row)))
    own = pipeline_line(row)
    if own is not None:
        yield Line("in a pipeline", code=(own,))
    words = ["lambda-search", *lookup_words(row.setting)]
    yield Line("in the shell", code=(shlex.join(words),))


def _proven(row: Row) -> Iterator[Line]:
    """What it stands on."""
    cautions = row.provenance.cautions
    yield Line("cautions", "" if cautions else "none were noted", several=cautions)
    yield Line("images", _images(row))
    if row.worth_words:
        yield Line("is k worth it", row.worth_words)
    if looks := looks_of(row):
        yield Line("looks", looks)
    yield Line("FID at λ", f"{_with_interval(row.fid, row.fid_interval)} on {row.n:,} images")
    yield Line(
        "FID at λ = 1",
        f"{_with_interval(row.baseline_fid, row.baseline_interval)}, the baseline: the same "
        "indices and the same noise",
    )
    yield Line("measured", _when_and_where(row))


def _so_far(findings: Findings) -> Iterator[Line]:
    """Of a study that has not ended well: how far it is, and what to do."""
    study, spec, best = findings.study, findings.spec, findings.winner
    ended = sum(not (one.is_open or one.is_unmeasured) for one in findings.trials)
    budget = "" if spec is None else f" of {spec.search.trials}"
    yield Line("trials", f"{ended}{budget} ended")
    if findings.row is None and best is not None and best.gain is not None:
        yield Line(
            "best so far",
            f"λ(i) = {best.schedule}, gain {signed(best.gain, '.3f')} on {best.n:,} images of the "
            "search; not confirmed, and the best of several looks better than it is",
        )
    command = {"failed": "resume", "stopped": "resume", "running": "wait", "queued": "drive"}
    if study.state in command:
        word = "drive" if findings.is_abandoned else command[study.state]
        words = ["lambda-search", word, *([] if word == "drive" else [study.name])]
        yield Line("next", code=(shlex.join(words),))


def _searched(findings: Findings) -> str:
    setting, ranges = findings.study.setting, findings.ranges
    what = [findings.model]
    if setting is not None:
        what[0] += f" ({setting.framework}, weights {setting.weights[:12]})"
    if findings.sampler and findings.steps:
        what.append(f"{findings.sampler}, {findings.steps} steps")
    if ranges is not None:
        mean, slope = ranges
        what.append(f"mean of λ {_extent(mean)}, slope k {_extent(slope)}")
        what[-1] += " to begin with" if findings.rounds else ""
    if (start := findings.study.warm_start) is not None:
        what.append(f"begun at mean {start.mean:.5g}, slope {start.slope:.3g} of {start.words}")
    what.append(f"{len(findings.trials)} trials")
    if findings.rounds and (components := findings.rounds[0].components) is not None:
        what[-1] += f", ranked by the projected distance ({components} components), not the FID"
    return "; ".join(what)


def _extent(limits: tuple[float, float]) -> str:
    low, high = (signed(end, ".4g") for end in limits)
    return f"{low} to {high}" if low != high else f"fixed at {low}"


def _images(row: Row) -> str:
    told = row.provenance
    words = f"{row.n:,} for each FID"
    if told.confirm_indices is not None:
        first, end = told.confirm_indices
        words += f", which the search has not seen (indices {first:,} to {end - 1:,}"
        words += ")" if told.seed is None else f", seed {told.seed})"
    if told.search:
        words += f"; the search had {told.search}"
    elif told.rungs:
        words += f"; the search compared trials on {_listed(told.rungs)}"
    return words


def looks_of(row: Row) -> str:
    """How a confirmation in several looks went, and what of its gain may be luck; "" of others."""
    told = row.provenance.looks
    if told is None:
        return ""
    asked = f"±{100 * told.precision:g}\u00a0% of the FID at λ = 1"
    words = f"{len(told.made)} of at most {told.planned}, at {_listed(told.made)}; "
    words += _ENDS[told.ended].format(asked)
    several = len(row.provenance.candidates)
    if several > 1:
        words += f"; as that of the best of {several}, the gain may be {told.luck:.2g} too high"
    return words


def _when_and_where(row: Row) -> str:
    words = [f"{row.created:%Y-%m-%d %H:%M} UTC"]
    if row.origin.by:
        words.append(f"by {row.origin.by}")
    if row.provenance.identity is not None:
        words.append(f"on {row.provenance.identity.device}")
    if row.origin.tool:
        words.append(f"with {row.origin.tool}")
    return f"{' '.join(words)}; row {row.id[:12]}"


def _cost(spent: Effort) -> str:
    words = [f"{spent.images:,} images"]
    if spent.network_evaluations is not None:
        words.append(f"{spent.network_evaluations:,} network evaluations")
    if spent.seconds is not None:
        words.insert(0, duration(spent.seconds))
    return ", ".join(words)


def provenance_of(row: Row) -> list[tuple[str, str]]:
    """Where a row's numbers come from: what, and what it was."""
    setting, told = row.setting, row.provenance
    options = setting.options.model_dump(exclude_none=True)
    facts = {
        "model": f"{setting.model}, {setting.framework}, from {told.checkpoint or 'no file'}",
        "weights": setting.weights,
        "sampler": f"{setting.solver}, {setting.steps} steps",
        "options": ", ".join(f"{name} {value}" for name, value in options.items()),
        "guidance": "" if setting.guidance is None else f"{setting.guidance:g}",
        "λ acts on": "all that follows from the predicted noise"
        if setting.site == "full"
        else "the estimate of the clean image alone",
        "metric": f"{setting.metric} with {setting.extractor} against {setting.reference}",
        **{
            name: f"{here:.4g} (at λ = 1: {there:.4g})"
            for name, (here, there) in row.beside.items()
        },
        "versions": ", ".join(f"{name} {value}" for name, value in told.versions.items()),
        "noise": "" if told.identity is None else told.identity.noise,
        "row": row.id,
    }
    return [(name, value) for name, value in facts.items() if value]


def duration(seconds: float) -> str:
    """A time in its two largest units."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    for large, small, words in (
        (days, hours, "{} d {} h"),
        (hours, minutes, "{} h {} min"),
        (minutes, left, "{} min {} s"),
    ):
        if large:
            return words.format(large, small)
    return f"{left} s"


def signed(value: float, form: str) -> str:
    """A number that may be negative, with a minus sign and not a hyphen."""
    return format(value, form).replace("-", "−")


def _listed(numbers: tuple[int, ...]) -> str:
    *others, last = (f"{n:,}" for n in numbers)
    return f"{', '.join(others)} and {last} images" if others else f"{last} images"


def _with_interval(value: float, interval: Interval | None) -> str:
    return f"{value:.3f}" if interval is None else f"{value:.3f} ± {interval.half_width:.3f}"
