"""How rows of the lookup table look on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Group
from rich.console import RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from lambda_search.records import Interval
from lambda_search.records import Match
from lambda_search.records import Row
from lambda_search.records import pipeline_line
from lambda_search.records import using_lines

__all__ = [
    "match_line",
    "match_panel",
    "row_panel",
    "rows_table",
    "standing_line",
]

_STYLES = {"confirmed": "bold green", "published": "bold cyan", "measured": "bold yellow"}


def row_panel(found: Row) -> RenderableType:
    """A row with its evidence, and the lines that use it."""
    setting = found.setting
    lowest, highest = min(found.lambdas), max(found.lambdas)
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column()
    facts.add_row("λ(i)", Text(f"{found.schedule}", style="bold"))
    facts.add_row(
        "", Text(f"i = 0 is the least noisy step; λ from {lowest:.5g} to {highest:.5g}", "dim")
    )
    for name, words in _published(found) if found.status == "published" else _measured(found):
        facts.add_row(name, words)
    for caution in found.provenance.cautions:
        facts.add_row("caution", Text(caution, "yellow"))
    title = f"{setting.model} · {setting.solver} · {setting.steps} steps"
    if found.nfe != setting.steps:
        title += f" · {found.nfe} network evaluations"
    return Group(
        Panel(facts, title=Text(title), title_align="left", expand=False),
        # not in the panel: lines of Python are there to be copied
        *_use(found),
    )


def match_panel(found: Match) -> RenderableType:
    """An answer; what is not exact says so before all else."""
    if found.kind != "interpolated":
        panel = row_panel(found.rows[0])
        return panel if found.kind == "exact" else Group(match_line(found), panel)
    low, high = found.rows
    setting = low.setting.model_copy(update={"steps": found.steps})
    as_used = replace(low, schedule=found.schedule, lambdas=found.lambdas, setting=setting)
    return Group(
        match_line(found),
        Text.assemble("λ(i) = ", (f"{found.schedule}", "bold"), f" at {found.steps} steps"),
        rows_table([low, high]),
        *_use(as_used),
    )


def _use(found: Row) -> Iterator[Text]:
    """The lines that use a row; a whole program at the end, to be copied."""
    own = pipeline_line(found)
    if own is not None:
        yield Text("in a pipeline of these weights whose scheduler takes these steps:", "dim")
        yield Text(own, "cyan", no_wrap=True)
    yield Text("use it:" if own is None else "or without one:", "dim")
    for line in using_lines(found):
        yield Text(line, "cyan", no_wrap=True)


def match_line(found: Match) -> Text:
    """What is otherwise than asked."""
    words = f"{found.kind}, distance {found.distance:.3g}: {'; '.join(found.reasons)}"
    return Text(words, "bold yellow")


def standing_line(found: Row, instead: Row | None) -> Text:
    """What became of a row."""
    if found.retraction is not None:
        told = found.retraction
        return Text(f"taken back on {told.at:%Y-%m-%d}: {told.reason}", "bold red")
    if instead is None:
        return Text("it stands", "green")
    return Text(f"superseded by row {instead.id[:12]}: λ(i) = {instead.schedule}", "yellow")


def rows_table(rows: Sequence[Row]) -> RenderableType:
    """Rows in a line each."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("steps", "sampler", "λ(i)", "FID", "at λ = 1", "status", "row"):
        table.add_column(heading, justify="right" if heading == "steps" else "left")
    for row in rows:
        setting = row.setting
        marks = [
            setting.solver,
            "" if setting.guidance is None else f"guidance {setting.guidance:g}",
            "" if setting.site == "full" else setting.site,
        ]
        table.add_row(
            str(setting.steps),
            ", ".join(mark for mark in marks if mark),
            Text(str(row.schedule), "bold"),
            f"{row.fid:.4g}",
            f"{row.baseline_fid:.4g}",
            Text(row.status, _STYLES[row.status]),
            row.id[:12],
        )
    return table


def _measured(found: Row) -> Iterator[tuple[str, RenderableType]]:
    yield "FID", f"{_with_interval(found.fid, found.fid_interval)}   on {found.n:,} images"
    at_one = _with_interval(found.baseline_fid, found.baseline_interval)
    yield "at λ = 1", f"{at_one}   same noise"
    gain = found.gain_interval
    assert gain is not None  # only published rows have none
    yield (
        "gain" if found.status == "confirmed" else "best found",
        f"{found.gain:.3f}  [{gain.low:.3f}, {gain.high:.3f}] at {gain.level:.1%}, paired, "
        f"bias-corrected ({found.relative_gain:.1%})",
    )
    beside = [f"{name} {a:.4g} (λ = 1: {b:.4g})" for name, (a, b) in found.beside.items()]
    if beside:
        yield "beside it" if found.status == "confirmed" else "of the best", "; ".join(beside)
    if found.worth_words:
        yield "is k worth it", found.worth_words
    yield "status", _status(found)
    told = found.provenance
    yield (
        "from",
        Text(f"study {told.study}, trial {told.trial}, seed {told.seed}, row {found.id[:12]}"),
    )
    yield from _origin(found)


def _published(found: Row) -> Iterator[tuple[str, RenderableType]]:
    yield "FID", f"{found.fid:g}   on {found.n:,} images; no interval is published"
    yield "at λ = 1", f"{found.baseline_fid:g}"
    yield "gain", f"{found.baseline_fid - found.fid:.2f} ({found.relative_gain:.1%})"
    yield "status", _status(found)
    source = found.provenance.source
    assert source is not None
    yield "from", Text(f"{source.paper} (arXiv:{source.arxiv}), row {found.id[:12]}")
    yield "", Text(f"{source.url}: {source.table}")
    setting = found.setting
    yield "metric", Text(f"{setting.extractor}, {setting.reference}; the authors' own evaluation")
    yield from _origin(found)


def _origin(found: Row) -> Iterator[tuple[str, RenderableType]]:
    """Who says so, where it was not measured in this store."""
    if found.arrival is not None:
        who = f"{found.origin.by or 'unknown'}, {found.origin.tool or 'without a tool'}"
        yield "origin", Text(f"{who}; not measured in this store", "yellow")
        came = f"imported on {found.arrival.at:%Y-%m-%d} from {found.arrival.source}"
        yield "", Text(came, overflow="fold")


def _status(found: Row) -> Text:
    return Text.assemble((found.status, _STYLES[found.status]), f": {found.verdict}")


def _with_interval(value: float, interval: Interval | None) -> str:
    assert interval is not None  # only published rows have none
    return f"{value:.3f} ± {interval.half_width:.3f}"
