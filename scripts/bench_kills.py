#!/usr/bin/env python
"""Twenty random kills over one launch of three studies, beside the same launch undisturbed.

    python scripts/bench_kills.py [--seed 0] [--workers 2] [--json results/kills.json]

Workers, the driver and the PostgreSQL server get SIGKILL at moments that the seed decides; who
watches starts driver and server again. Both launches are the real command line with real Ray on
the bundled model, each with a store and a data folder of its own. Every shard that a worker begins
or ends is logged (`logged_shards`). What they leave must be the same, digit by digit, and what was
computed twice must have been under way at a kill. With `--json` the tables lie beside that file,
as Markdown.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from typing import Any

import typer
from killed_launch import Kill
from killed_launch import Launched
from killed_launch import Planned
from killed_launch import Server
from killed_launch import Victim
from killed_launch import planned
from logged_shards import Computation
from rich.console import Console
from rich.table import Table

from lambda_search.store.store import Store

MODEL = """
model: {framework: diffusers, checkpoint: "bundled:fashion-mnist"}
confirm: {top: 2, samples: 600}
"""
METRIC = 'extractor: bundled, reference: "bundled:fashion-mnist"'
STUDIES = {
    "rungs": f"""
sampler: {{name: ancestral, steps: 5, batch: 50}}
search: {{mean: [0.99, 1.05], slope: [-0.01, 0.002], trials: 8, proposals: gp, seed: 0}}
metric: {{{METRIC}, rungs: [150, 300]}}
""",
    "rounds": f"""
sampler: {{name: ancestral, steps: 6, batch: 50}}
search: {{mean: [0.99, 1.05], slope: [-0.01, 0.002], trials: 8, proposals: kg, seed: 1}}
metric: {{{METRIC}}}
""",
    "noiseless": f"""
sampler: {{name: ddim, steps: 5, batch: 50}}
search: {{mean: [0.96, 1.04], slope: [-0.01, 0.002], trials: 8, proposals: qmc, seed: 2}}
metric: {{{METRIC}, rungs: [150, 300]}}
""",
}
_TIMES = ("created", "finished")
_HEARD_SECONDS = 1.0
"""In which a worker's answer is heard; until then a shard is under way."""

console = Console(width=120)


@dataclass(frozen=True)
class Went:
    """A launch that has ended.

    Arguments:
        seconds: from the command to the rows.
        drivers: how many were started.
        kills: in order.
        goes: of workers at shards, in order.
        left: what each study left in the store, times apart, and its rows.
    """

    seconds: float
    drivers: int
    kills: Sequence[Kill]
    goes: Sequence[Computation]
    left: dict[str, dict[str, list[Any]]]

    @property
    def shards(self) -> set[str]:
        """The names of all that was computed."""
        return {one.shard for one in self.goes}


def launched(
    studies: Path, server: Server, folder: Path, workers: int, plan: Sequence[Planned] = ()
) -> Went:
    """Launches into a new database, with the kills of `plan`."""
    folder.mkdir()
    url = server.new(folder.name)
    launch = Launched(studies, url, server, folder, workers)
    seconds = launch.run(plan)
    store = Store(url)
    left = {name: left_behind(store, name) for name in STUDIES}
    store.close()
    return Went(seconds, launch.starts, launch.kills, launch.computations(), left)


def left_behind(store: Store, name: str) -> dict[str, list[Any]]:
    """All that the record holds of a study, without times."""
    study = store.study(name)
    found: dict[str, Sequence[object]] = {
        "trials": store.trials(study.id),
        "evaluations": store.evaluations(study.id),
        "rounds": store.rounds(study.id),
        "rows": store.rows(study.id),
    }
    return {
        what: [{k: v for k, v in vars(one).items() if k not in _TIMES} for one in several]
        for what, several in found.items()
    }


def lost(went: Went) -> list[Computation]:
    """Goes that ended with their worker: before they did, or before anybody heard of it.

    Where a driver dies that has not heard of a shard, the next one finds it kept.
    """
    ends = {worker: kill for kill in went.kills for worker in kill.workers}
    return [
        one
        for one in went.goes
        if (kill := ends.get(one.worker)) is not None
        and (
            one.ended is None or (kill.victim == "worker" and one.ended > kill.at - _HEARD_SECONDS)
        )
    ]


def counted(went: Went) -> dict[str, Any]:
    """What a launch computed, and why what was computed twice was.

    A go beside another one at the same shard is a second copy: who has nothing to do helps who is
    slow, and the first answer counts. One at what was kept, or was not lost, has no reason.
    """
    gone = {id(one) for one in lost(went)}
    goes: dict[str, list[Computation]] = defaultdict(list)
    again = second = unexplained = 0
    for one in went.goes:
        before = goes[one.shard]
        sound = [other for other in before if id(other) not in gone]
        if any(other.ended is None or other.ended > one.began for other in sound):
            second += 1
        elif sound:
            unexplained += 1
        elif before:
            again += 1
        before.append(one)
    return {
        "seconds": round(went.seconds),
        "drivers started": went.drivers,
        "shards": len(went.shards),
        "goes at them": len(went.goes),
        "again, lost with a worker": again,
        "second copies of slow ones": second,
        "again without a reason": unexplained,
    }


def told(went: Went) -> list[dict[str, Any]]:
    """Each kill, what was under way (begun, and not ended), and what was computed again for it."""
    first, found, alive = went.goes[0].began, [], list(went.goes)
    last = {one.shard: one for one in went.goes}
    again = [one for one in lost(went) if one is not last[one.shard]]
    for number, kill in enumerate(went.kills, start=1):
        found.append(
            {
                "kill": number,
                "victim": kill.victim,
                "second": round(kill.at - first, 1),
                "kept": len({one.shard for one in went.goes if one.ended and one.ended < kill.at}),
                "under way": sum(
                    one.began < kill.at and (one.ended is None or one.ended > kill.at)
                    for one in alive
                ),
                "computed again": sum(one.worker in kill.workers for one in again),
            }
        )
        alive = [one for one in alive if one.worker not in kill.workers]
    return found


def compared(calm: Went, wild: Went) -> list[dict[str, Any]]:
    """Each study: how much it left, its row, and whether both launches left the same."""
    found = []
    for name, left in calm.left.items():
        row = left["rows"][-1]
        found.append(
            {
                "study": name,
                **{what: len(several) for what, several in left.items()},
                "row": f"{row['schedule']}",
                "FID": f"{row['fid']!r}",
                "same": "yes" if left == wild.left[name] else "NO",
            }
        )
    return found


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """A table."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([str(v) for v in r.values()] for r in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(
    seed: Annotated[int, typer.Option(help="Of the kills.")] = 0,
    of_workers: Annotated[int, typer.Option(min=0, help="Kills of workers.")] = 7,
    of_drivers: Annotated[int, typer.Option(min=0, help="Kills of the driver.")] = 7,
    of_servers: Annotated[int, typer.Option(min=0, help="Kills of PostgreSQL.")] = 6,
    workers: Annotated[int, typer.Option(min=1, help="Of the launch.")] = 2,
    to: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
) -> None:
    """Launches twice and compares; exits with 1 where anything differs."""
    each: dict[Victim, int] = {"worker": of_workers, "driver": of_drivers, "server": of_servers}
    with tempfile.TemporaryDirectory(prefix="k-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        studies = folder / "studies"
        studies.mkdir()
        for study, text in STUDIES.items():
            (studies / f"{study}.yaml").write_text(f"name: {study}{text}{MODEL}")
        server = Server(folder / "data")
        try:
            calm = launched(studies, server, folder / "calm", workers)
            plan = planned(seed, each, len(calm.shards))
            wild = launched(studies, server, folder / "wild", workers, plan)
        finally:
            server.close()
    launches = [
        {"launch": "undisturbed", **counted(calm)},
        {"launch": f"{len(plan)} kills, seed {seed}", **counted(wild)},
    ]
    kills, studies_ = told(wild), compared(calm, wild)
    for rows in (kills, launches, studies_):
        show(rows)
    at_work = sum(one["under way"] > 0 for one in kills)
    words = f"{at_work} of {len(kills)} kills came while shards were under way."
    console.print(words)
    if to is not None:
        figures = {"seed": seed, "kills": kills, "launches": launches, "studies": studies_}
        to.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
        parts = [markdown(rows) for rows in (launches, studies_, kills)]
        to.with_suffix(".md").write_text("\n\n".join([*parts, words]) + "\n")
    alike = calm.left == wild.left and calm.shards == wild.shards
    if not alike or launches[1]["again without a reason"]:
        raise SystemExit("They differ.")


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Prints a table."""
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*map(str, row.values()))
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
