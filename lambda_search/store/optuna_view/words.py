"""What is said of a study: its attributes, and a note for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from lambda_search.records import Interval
from lambda_search.records import Row
from lambda_search.records import Study
from lambda_search.records import loading_line
from lambda_search.records import lookup_words
from lambda_search.records import sampling_line
from lambda_search.setting import Setting
from lambda_search.shell import command
from lambda_search.spec import stored_spec

__all__ = ["METRIC_NAME", "system_attributes", "user_attributes"]

METRIC_NAME = "FID(λ) − FID(1), bias-corrected"

_CODE_CHARACTERS = 88

_NOTE_CHARACTERS = 2045
"""The dashboard keeps a note in pieces of at most so many."""


def user_attributes(study: Study, row: Row | None) -> dict[str, Any]:
    """What came of a study, and what tells it from others; the dashboard shows five a page."""
    told: dict[str, Any] = {"state": study.state}
    if row is not None:
        told |= {
            "λ(i)": str(row.schedule),
            "row status": "retracted" if row.retraction else row.status,
            "gain": row.gain,
            "gain interval": None if row.gain_interval is None else _ends(row.gain_interval),
            "use it": command(*lookup_words(row.setting)),
            "verdict": row.verdict,
            "b": row.schedule.b,
            "k": row.schedule.k,
            "n": row.n,
            "row": row.id[:12],
        }
    if study.setting is not None:
        setting = study.setting
        told |= {
            "model": setting.model,
            "weights": setting.weights[:12],
            "sampler": setting.solver,
            "steps": study.steps,
            "guidance": setting.guidance,
            "site": setting.site,
            "extractor": setting.extractor,
            "reference": setting.reference,
        }
    return {name: value for name, value in told.items() if value is not None}


def system_attributes(study: Study, row: Row | None, cautions: Sequence[str]) -> dict[str, Any]:
    """The metric's name, and the note in the dashboard's own words."""
    note = _note(study, row, cautions)
    pieces = [note[at : at + _NOTE_CHARACTERS] for at in range(0, len(note), _NOTE_CHARACTERS)]
    return {
        "study:metric_names": [METRIC_NAME],
        "dashboard:note_ver": 1,
        **{f"dashboard:note_str:{place}": piece for place, piece in enumerate(pieces)},
    }


def _note(study: Study, row: Row | None, cautions: Iterable[str]) -> str:
    """Markdown."""
    parts = [_outcome(study, row), _table(_facts(study, row))]
    if row is not None and row.retraction is None:
        parts += [
            "#### Use it",
            f"```sh\n{command(*lookup_words(row.setting))}\n```",
            f"```python\n{_program(row)}\n```",
        ]
    warned = dict.fromkeys((*cautions, *(() if row is None else row.provenance.cautions)))
    if warned:
        parts += ["#### Cautions", "\n".join(f"- {_plain(caution)}" for caution in warned)]
    parts += [
        "Values are FID(λ) − FID(1), bias-corrected, on each trial's own number of images, and of "
        "common noise: lower is better, and λ = 1 has 0. In a search by rounds the best so far "
        "may stand between a trial and λ = 1. Pruned trials were stopped early, on fewer images.",
        "All of this can only be read. A copy that can be changed is made with:",
        f"```sh\n{_copying(study.name)}\n```",
    ]
    return "\n\n".join(parts)


def _copying(name: str) -> str:
    """The command that copies a study."""
    return command("export", name, "--format", "optuna", "--to", "sqlite:///copy.db")


def _program(row: Row) -> str:
    """The lines that use a row, no wider than a page: breaking a call at a space changes nothing.

    Only the call's own words have spaces there; a path, which may have some, is not broken.
    """
    call = textwrap.wrap(
        sampling_line(row),
        _CODE_CHARACTERS,
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(["import lambda_search as ls", "", loading_line(row), *call])


def _outcome(study: Study, row: Row | None) -> str:
    if row is None:
        return f"**{study.state}** {_plain(study.message)}".strip()
    if row.retraction is not None:
        return f"**The row {row.id[:12]} was taken back**: {_plain(row.retraction.reason)}"
    again = "" if study.state == "done" else f" The study is {study.state} again."
    return f"λ(i) = **{row.schedule}** ({row.status}: {_plain(row.verdict)}).{again}"


def _facts(study: Study, row: Row | None) -> dict[str, str]:
    spec, setting = stored_spec(study.spec), study.setting
    told = {}
    if setting is None and spec is not None:
        told = {"model": f"{spec.model.name or spec.name} ({spec.model.framework})"}
    if setting is not None:
        told = {
            "model": f"{setting.model} ({setting.framework}), weights {setting.weights[:12]}",
            "setting": _sampling(setting),
            "metric": f"{setting.metric}, {setting.extractor} against {setting.reference}",
        }
    if spec is not None:
        (low, high), (left, right) = spec.search.mean, spec.slope_range(study.steps)
        told["search"] = (
            f"mean {low:g} to {high:g}, slope {left:.4g} to {right:.4g}, "
            f"{spec.search.trials} trials"
        )
    if row is not None:
        told["baseline"] = f"λ = 1: FID {_about(row.baseline_fid, row.baseline_interval)}"
        told["at λ"] = f"FID {_about(row.fid, row.fid_interval)} on {row.n:,} images"
        if row.gain is not None and row.gain_interval is not None:
            low, high = _ends(row.gain_interval)
            told["gain of the best"] = (
                f"{row.gain:.3f} [{low:.3f}, {high:.3f}] at {row.gain_interval.level:.1%}, paired"
            )
        told["row"] = f"{row.id[:12]}, {row.status}, {row.created:%Y-%m-%d}"
    return told


def _sampling(setting: Setting) -> str:
    options = setting.options.model_dump(exclude_none=True)
    words = [f"{setting.solver}, {setting.steps} steps"]
    words += [f"{name} {value}" for name, value in options.items()]
    if setting.guidance is not None:
        words.append(f"guidance {setting.guidance:g}")
    return ", ".join([*words, f"site {setting.site}"])


def _table(facts: Mapping[str, str]) -> str:
    rows = "\n".join(f"| {name} | {_plain(value)} |" for name, value in facts.items())
    return f"| | |\n|---|---|\n{rows}"


def _plain(text: str) -> str:
    """`text` as Markdown that shows it as it is, on one line."""
    escaped = "".join(f"\\{sign}" if sign in "\\`*_[]<>|#~$" else sign for sign in text)
    return " ".join(escaped.split())


def _about(value: float, interval: Interval | None) -> str:
    return f"{value:.3f}" if interval is None else f"{value:.3f} ± {interval.half_width:.3f}"


def _ends(interval: Interval) -> list[float]:
    return [interval.low, interval.high]
