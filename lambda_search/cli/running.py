"""How running studies look on a terminal: at 80 columns nothing that counts is cut."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field

from rich.console import Console
from rich.console import ConsoleOptions
from rich.text import Text

from lambda_search.records import Progress

__all__ = ["RunningStudies", "counted", "elided", "whereabouts"]

_HEADINGS = ("phase", "trials", "images", "images/s", "workers", "time left")
_STYLES = {"done": "green", "failed": "red", "stopped": "yellow"}
_GAP = "  "
_ENDED_SHOWN = 10
_SHORTEST = 12
_HOSTS_SHOWN = 8
_BAR_FROM, _BAR = 100, 20
"""The width from which on there is room for a bar, and the bar's own."""


@dataclass(frozen=True)
class RunningStudies:
    """Studies with their progress, a few lines each, in the width that there is.

    Arguments:
        studies: how far they are; of those that have ended the last ones are shown.
        notes: what else is known of a study, by its name.
    """

    studies: Sequence[Progress]
    notes: Mapping[str, str] = field(default_factory=dict)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        hidden = [one.study for one in self.studies if one.has_ended][:-_ENDED_SHOWN]
        shown = [one for one in self.studies if one.study not in hidden]
        cells = [_cells(one) for one in shown]
        widths = [max(map(len, column)) for column in zip(_HEADINGS, *cells, strict=True)]
        bar = _BAR + len(_GAP) if options.max_width >= _BAR_FROM else 0
        room = options.max_width - bar - sum(width + len(_GAP) for width in widths)
        longest = max((len(one.study) for one in shown), default=0)
        name = max(_SHORTEST, min(room, longest))
        numbers = _aligned(_HEADINGS, widths)
        yield Text(f"{'study':<{name}}{_GAP}{' ' * bar}{numbers}", "dim")
        for one, own in zip(shown, cells, strict=True):
            line = Text.assemble((f"{elided(one.study, name):<{name}}", "bold"), _GAP)
            if bar:
                line.append(_bar(one.share_done, options.ascii_only) + _GAP)
            yield line.append(_aligned(own, widths), _STYLES.get(one.phase, ""))
            for below in (_best(one), self.notes.get(one.study, "")):
                if below:
                    yield Text(f"  {elided(below, options.max_width - 2)}", "dim")


def counted(workers: int) -> str:
    """How many workers, in words."""
    return "1 worker" if workers == 1 else f"{workers} workers"


def whereabouts(studies: Iterable[tuple[str, Progress]]) -> Iterator[str]:
    """A line for each driver's workers: on which hosts and devices; of many hosts only how many.

    Arguments:
        studies: with the names of their drivers; those of one driver share its workers.
    """
    latest: dict[str, Progress] = {}
    for driver, progress in studies:
        if progress.places and (driver not in latest or progress.at > latest[driver].at):
            latest[driver] = progress
    for driver, progress in latest.items():
        hosts: dict[str, list[tuple[str, int]]] = {}
        for host, kind, count in progress.places:
            hosts.setdefault(kind, []).append((host, count))
        told = [
            f"{sum(count for _, count in there)} on {kind} ("
            + (
                ", ".join(f"{count} on {host}" for host, count in there)
                if len(there) <= _HOSTS_SHOWN
                else f"{len(there)} hosts"
            )
            + ")"
            for kind, there in hosts.items()
        ]
        if told:
            yield f"workers of {driver}: {'; '.join(told)}"


def elided(text: str, width: int) -> str:
    """`text` in at most `width` characters: the middle goes, since names differ at their ends."""
    if len(text) <= width:
        return text
    tail = width // 2
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"


def _cells(one: Progress) -> tuple[str, ...]:
    running = not one.has_ended
    return (
        one.phase,
        f"{one.trials_done}/{one.trials_total}",
        f"{one.images:,}",
        f"{one.images_per_second:.{0 if one.images_per_second >= 10 else 1}f}" if running else "–",
        f"{one.workers}" if running else "–",
        _left(one.seconds_left) if running else "–",
    )


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    return _GAP.join([f"{first[0]:<{first[1]}}", *(f"{cell:>{width}}" for cell, width in others)])


def _bar(share: float, ascii_only: bool) -> str:
    full, empty = ("#", ".") if ascii_only else ("━", "╌")
    done = round(share * _BAR)
    return full * done + empty * (_BAR - done)


def _best(one: Progress) -> str:
    if one.best is None or one.best_gain is None or one.best_n is None:
        return ""
    if one.best.is_identity:
        return f"nothing better than λ = 1 so far (n = {one.best_n:,})"
    return f"best so far λ(i) = {one.best}, gain {one.best_gain:+.3f} (n = {one.best_n:,})"


def _left(seconds: float | None) -> str:
    if seconds is None:
        return "…"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
