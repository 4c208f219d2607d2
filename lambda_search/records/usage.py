"""The Python lines that sample with a row, exactly what it measured, and how it is asked for."""

from __future__ import annotations

from lambda_search.records.rows import Row
from lambda_search.setting import Setting

__all__ = ["loading_line", "lookup_words", "pipeline_line", "sampling_line", "using_lines"]


def using_lines(row: Row) -> list[str]:
    """A whole Python program that samples with the row."""
    return ["import lambda_search as ls", loading_line(row), sampling_line(row)]


def pipeline_line(row: Row) -> str | None:
    """The line for a pipeline of diffusers with the row's weights.

    None for other frameworks, and where λ acts at x0 alone, which no pipeline does.
    """
    if row.setting.framework != "diffusers" or row.setting.site != "full":
        return None
    schedule = row.schedule
    return f"ls.scale_epsilon(pipeline, ls.LambdaSchedule({schedule.b!r}, {schedule.k!r}))"


def lookup_words(setting: Setting) -> list[str]:
    """The shell's words that find what holds for a setting, without the program's name."""
    words = ["best", setting.model, "--steps", str(setting.steps), "--sampler", setting.solver]
    if setting.guidance is not None:
        words += ["--guidance", f"{setting.guidance:g}"]
    if setting.site != "full":
        words += ["--site", setting.site]
    return words


def loading_line(row: Row) -> str:
    """The line that loads the row's model; of a published row, a place holder for its file."""
    told = row.provenance
    checkpoint = told.checkpoint or "CHECKPOINT"
    config = "" if told.config is None else f", {told.config!r}"
    return f"model = ls.load_model({row.setting.framework!r}, {checkpoint!r}{config})"


def sampling_line(row: Row) -> str:
    """The line that samples with the row's λ as its images were sampled.

    What is at its default is left out. With the row's seed and first index as `seed=` and
    `indices=`, it gives the very images that were measured.
    """
    sampling, schedule = row.setting.sampling, row.schedule
    words = [
        f"{sampling.sampler!r}",
        f"{sampling.steps}",
        f"ls.LambdaSchedule({schedule.b!r}, {schedule.k!r})",
    ]
    if sampling.guidance is not None:
        words.append(f"guidance={sampling.guidance!r}")
    if sampling.site != "full":
        words.append(f"site={sampling.site!r}")
    options = sampling.options.model_dump(exclude_defaults=True)
    if options:
        words.append(f"options={options!r}")
    return f"images = ls.sample(model, {', '.join(words)})"
