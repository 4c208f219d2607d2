"""What is told of a row that goes to ComfyUI: on the terminal, in its `.md`, in ComfyUI's log."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence

from lambda_search.integrations.comfyui.constants import FIELDS
from lambda_search.integrations.comfyui.constants import constant_of
from lambda_search.integrations.comfyui.matching import Match
from lambda_search.records import NoiseLevel
from lambda_search.records import Row

__all__ = ["constant_facts", "facts", "note", "title", "use"]


def title(row: Row) -> str:
    """A row in a few words."""
    setting = row.setting
    return f"{_plain(setting.model)}, {setting.solver}, {setting.steps} steps ({row.id[:12]})"


def use(found: Match) -> str:
    """How to have ComfyUI take the row's steps, in a sentence or two."""
    cfg = f"cfg {found.cfg:g}"
    if found.sampler.word is None:
        return (
            f"No sampler of ComfyUI takes the row's steps: {found.sampler.why}. What λ does with "
            f"another, such as {found.nearest}, nobody measured."
        )
    if found.scheduler.word is None:
        grid = " with SamplerCustom and the node's output sigmas" * found.known
        return (
            f"Take sampler {found.sampler.word} and {cfg}{grid}. No scheduler is the row's: "
            f"{found.scheduler.why}."
        )
    needs = f" The model needs {found.table.setup}." if found.table and found.table.setup else ""
    return (
        f"Take sampler {found.sampler.word}, scheduler {found.scheduler.word}, {found.steps} "
        f"steps, {cfg}.{needs}"
    )


def facts(row: Row, found: Match) -> Iterator[tuple[str, str]]:
    """A row, what is known of it and what of ComfyUI takes its steps, name by name."""
    setting = row.setting
    yield "λ(i)", f"{row.schedule}; i = 0 is the least noisy step"
    yield (
        "evidence",
        f"{row.status}: {setting.metric.upper()} {row.fid:.4g} (λ = 1: {row.baseline_fid:.4g}) on "
        f"{row.n:,} images",
    )
    if row.verdict:
        yield "verdict", _plain(row.verdict)
    yield "row", row.id[:12]
    yield "model", f"{_plain(setting.model)}, weights {setting.weights[:12]}"
    guidance = "" if setting.guidance is None else f", guidance {setting.guidance:g}"
    yield "measured with", f"{setting.solver}, {setting.steps} steps{guidance}"
    yield "sampler in ComfyUI", _found(found.sampler.word, found.sampler.why)
    words = ", ".join(f"{name} with {steps} steps" for name, steps in found.others)
    scheduler = f"{found.scheduler.word} with {found.steps} steps" + f" (or {words})" * bool(words)
    named = scheduler if found.scheduler.word else None
    yield "scheduler in ComfyUI", _found(named, found.scheduler.why)
    yield "cfg in ComfyUI", f"{found.cfg:g}"
    if found.table is not None:
        yield "noise table", found.table.name
    if found.remark:
        yield "remark", found.remark


def constant_facts(row: Row, beside: Row | None = None) -> Iterator[tuple[str, str]]:
    """The constant for the programs that take one number, field by field.

    Arguments:
        row: whose constant it is.
        beside: a row with k = 0 in the same setting.
    """
    constant = constant_of(row, beside)
    mean = f"the mean of λ(i) = {row.schedule}, " * (constant.evidence == "not measured")
    own = f", row {constant.row}" * bool(constant.row)
    yield "constant", f"{constant.value:.7g} ({mean}{constant.evidence}{own})"
    if row.worth_words:
        yield "is k worth it", row.worth_words
    for field in FIELDS:
        complaint = field.complaint(constant.value)
        held = f"cannot be set: {complaint}" if complaint else f"{constant.value:.7g}"
        yield field.program, f"{field.name}: {held}"


def note(row: Row, found: Match, levels: Sequence[NoiseLevel]) -> str:
    """The `.md` of a table: what is true of the row whatever else a store holds."""
    lines = [f"# {title(row)}", "", use(found), "", "| | |", "|---|---|"]
    lines += [f"| {name} | {told} |" for name, told in facts(row, found)]
    lines += ["", "For programs that take one number:", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {told} |" for name, told in constant_facts(row)]
    lines += [f"\nCaution: {_plain(caution)}" for caution in row.provenance.cautions]
    lines += ["", "| i | timestep | σ | λ |", "|---|---|---|---|"]
    for i, ((timestep, sigma), value) in enumerate(zip(levels, row.lambdas, strict=True)):
        told = "pure noise | 1" if sigma is None else f"{sigma:.6g} | {value:.6g}"
        lines.append(f"| {i} | {timestep:.6g} | {told} |")
    return "\n".join(lines) + "\n"


def _found(word: str | None, why: str) -> str:
    return f"none: {why}" if word is None else word


def _plain(text: str) -> str:
    """`text` in one line of letters that mean nothing to a terminal or in Markdown."""
    return "".join(c if c.isprintable() and c not in "|`<>[]*\\" else "_" for c in text)
