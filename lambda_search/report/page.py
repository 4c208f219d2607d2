"""One self-contained HTML file about a study: no network, no server."""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.paths import previews_folder
from lambda_search.report.figures import cost_figure
from lambda_search.report.figures import lambda_figure
from lambda_search.report.figures import plane_figure
from lambda_search.report.figures import rung_figure
from lambda_search.store.lookup import BestSchedule
from lambda_search.store.lookup import as_best
from lambda_search.store.previews import load_preview
from lambda_search.store.store import Store

__all__ = ["write_report"]

_TEMPLATE = Path(__file__).with_name("page.html")
_COLUMNS = 8
_SCALE = 2


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
            f"Wait for it with: lambda-search wait {name}",
        )
    found = as_best(rows[-1])
    trials, evaluations = store.trials(study.id), store.evaluations(study.id)
    winner = int(found.candidate["trial"])
    figures = {
        "plane": plane_figure(trials, winner),
        "rungs": rung_figure(evaluations, winner),
        "lambdas": lambda_figure(found),
        "cost": cost_figure(trials),
    }
    page = _TEMPLATE.read_text(encoding="utf-8")
    values = _words(name, found) | {"images": _images(found)}
    for number, (slot, figure) in enumerate(figures.items()):
        values[slot] = figure.to_html(
            full_html=False,
            include_plotlyjs="inline" if number == 0 else False,
            div_id=slot,
            config={"displayModeBar": False, "responsive": True},
        )
    for slot, value in values.items():
        page = page.replace(f"[[{slot}]]", value)
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise LambdaSearchError(
            f"{path} cannot be written: {error.strerror}.", "Choose another place with --output."
        ) from error


def _words(name: str, found: BestSchedule) -> dict[str, str]:
    setting, source = found.setting, found.provenance
    assert found.gain_interval and found.fid_interval and found.baseline_interval  # measured
    low, high = found.gain_interval
    facts = {
        "model": f"{setting.model} ({setting.framework}), weights {setting.weights[:12]}",
        "sampler": f"{setting.sampler}, {setting.steps} steps, "
        + ", ".join(f"{k} {v}" for k, v in setting.options.model_dump().items() if v is not None),
        "metric": f"{setting.metric} with {setting.extractor} against {setting.reference}",
        "confirmed on": f"{found.n:,} images, indices {source['confirm_indices'][0]:,} to "
        f"{source['confirm_indices'][1] - 1:,}, seed {source['seed']}",
        **{
            name: f"{here:.4g} (λ = 1: {there:.4g})"
            for name, (here, there) in found.beside.items()
        },
        "versions": ", ".join(f"{k} {v}" for k, v in source["versions"].items()),
        "device": str(source["identity"]["device"]),
        "made": f"{found.created:%Y-%m-%d %H:%M} UTC, row {found.row}",
    }
    return {
        "title": escape(f"{name}: λ(i) = {found.schedule}"),
        "name": escape(name),
        "schedule": escape(str(found.schedule)),
        "status": escape(found.status),
        "verdict": escape(found.verdict),
        "fid": f"{found.fid:.3f}",
        "fid_pm": f"{(found.fid_interval[1] - found.fid_interval[0]) / 2:.3f}",
        "baseline": f"{found.baseline_fid:.3f}",
        "baseline_pm": f"{(found.baseline_interval[1] - found.baseline_interval[0]) / 2:.3f}",
        "gain": f"{found.gain:.3f}",
        "gain_interval": f"[{low:.3f}, {high:.3f}] at {found.gain_level:.1%}",
        "share": f"{found.relative_gain:.1%}",
        "facts": "".join(
            f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in facts.items()
        ),
    }


def _images(found: BestSchedule) -> str:
    kept = load_preview(previews_folder(), found.provenance.get("preview", ""))
    if kept is None:
        return "<p>The images of this study are on the machine that ran it.</p>"
    return "".join(
        f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{_png(images)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, images in zip(("λ = 1", "best candidate, same noise"), kept, strict=True)
    )


def _png(images: NDArray[np.uint8]) -> str:
    """uint8 [n, c, h, w] as one PNG, base64."""
    n, c, h, w = images.shape
    rows = -(-n // _COLUMNS)
    sheet = np.full((rows * _COLUMNS, c, h, w), 255, np.uint8)
    sheet[:n] = images
    tiled = sheet.reshape(rows, _COLUMNS, c, h, w).transpose(0, 3, 1, 4, 2)
    tiled = tiled.reshape(rows * h, _COLUMNS * w, c)
    picture = Image.fromarray(tiled[..., 0] if c == 1 else tiled)
    if w < 128:
        picture = picture.resize(
            (picture.width * _SCALE, picture.height * _SCALE), Image.Resampling.NEAREST
        )
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
