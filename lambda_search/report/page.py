"""One self-contained HTML file about a study: no network, no server."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.records import Image
from lambda_search.records import Row
from lambda_search.report.figures import cost_figure
from lambda_search.report.figures import lambda_figure
from lambda_search.report.figures import plane_figure
from lambda_search.report.figures import rung_figure
from lambda_search.shell import command
from lambda_search.store.store import Store

__all__ = ["write_report"]

_TEMPLATE = Path(__file__).with_name("page.html")


def write_report(store: Store, name: str, path: Path) -> None:
    """Writes the report of study `name` to `path`.

    Raises:
        UsageError: if there is no such study, or it has no row yet.
        LambdaSearchError: if the file cannot be written.
    """
    study = store.study(name)
    rows = store.rows(study.id)
    if not rows:
        raise UsageError(
            f"The study '{name}' has no row yet; it is {study.state}.",
            f"Wait for it with: {command('wait', name)}",
        )
    found = rows[-1]
    trials, evaluations = store.trials(study.id), store.evaluations(study.id)
    winner = found.provenance.trial or 0
    figures = {
        "plane": plane_figure(trials, winner),
        "rungs": rung_figure(evaluations, winner),
        "lambdas": lambda_figure(found),
        "cost": cost_figure(trials),
    }
    page = _TEMPLATE.read_text(encoding="utf-8")
    values = _words(name, found) | {"images": _images(store.images(found.provenance.preview))}
    for number, (slot, figure) in enumerate(figures.items()):
        values[slot] = figure.to_html(
            full_html=False,
            include_plotlyjs="inline" if number == 0 else False,
            div_id=slot,
            config={"displayModeBar": False, "responsive": True},
        )
    # at once: a name may look like a slot
    page = re.sub(r"\[\[(\w+)\]\]", lambda slot: values[slot[1]], page)
    try:
        path.write_text(page, encoding="utf-8", errors="replace")
    except OSError as error:
        raise LambdaSearchError(
            f"{path} cannot be written: {error.strerror}.", "Choose another place with --output."
        ) from error


def _words(name: str, found: Row) -> dict[str, str]:
    setting, source = found.setting, found.provenance
    fid, baseline, gain = found.fid_interval, found.baseline_interval, found.gain_interval
    assert fid and baseline and gain and source.confirm_indices and source.identity  # measured
    facts = {
        "model": f"{setting.model} ({setting.framework}), weights {setting.weights[:12]}",
        "sampler": f"{setting.sampler}, {setting.steps} steps, "
        + ", ".join(f"{k} {v}" for k, v in setting.options.model_dump().items() if v is not None),
        "metric": f"{setting.metric} with {setting.extractor} against {setting.reference}",
        "confirmed on": f"{found.n:,} images, indices {source.confirm_indices[0]:,} to "
        f"{source.confirm_indices[1] - 1:,}, seed {source.seed}",
        **{
            name: f"{here:.4g} (λ = 1: {there:.4g})"
            for name, (here, there) in found.beside.items()
        },
        **({"cautions": "; ".join(source.cautions)} if source.cautions else {}),
        "versions": ", ".join(f"{k} {v}" for k, v in source.versions.items()),
        "device": source.identity.device,
        "made": f"{found.created:%Y-%m-%d %H:%M} UTC, row {found.id[:12]}",
    }
    return {
        "title": escape(f"{name}: λ(i) = {found.schedule}"),
        "name": escape(name),
        "schedule": escape(str(found.schedule)),
        "status": escape(found.status),
        "verdict": escape(found.verdict),
        "fid": f"{found.fid:.3f}",
        "fid_pm": f"{fid.half_width:.3f}",
        "baseline": f"{found.baseline_fid:.3f}",
        "baseline_pm": f"{baseline.half_width:.3f}",
        "gain": f"{found.gain:.3f}",
        "gain_interval": f"[{gain.low:.3f}, {gain.high:.3f}] at {gain.level:.1%}",
        "share": f"{found.relative_gain:.1%}",
        "facts": "".join(
            f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in facts.items()
        ),
    }


def _images(images: Sequence[Image]) -> str:
    if not images:
        return "<p>No images are kept with this study.</p>"
    return "".join(
        f'<figure><img alt="{escape(image.caption)}" '
        f'src="data:image/png;base64,{base64.b64encode(image.content).decode()}">'
        f"<figcaption>{escape(image.caption)}</figcaption></figure>"
        for image in images
    )
