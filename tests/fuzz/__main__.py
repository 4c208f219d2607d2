"""Tries a corpus: prints counts and worst cases by format, and exits with 1 if any broke."""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # a child of a process with threads may hang

import torch  # noqa: E402

from lambda_search.models.registry import framework_of  # noqa: E402
from lambda_search.models.registry import frameworks  # noqa: E402
from tests.fuzz.formats import FORMATS  # noqa: E402
from tests.fuzz.harness import tried  # noqa: E402


def fuzzed(form, count, seed, keep=None):
    """The summary of one format, and (case, faults) of what broke."""
    rng = random.Random(f"{seed} {form.NAME}")
    told = {"format": form.NAME, "tried": 0, "read": 0, "refused": 0, "executed": 0, "crashed": 0}
    worst = {"MiB": (0.0, ""), "seconds": (0.0, "")}
    broken = []
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        whole = form.healthy(Path(folder))
        form.read(whole)  # whatever it imports or starts is there before the first fork
        gc.collect()
        gc.freeze()
        healthy = tried(form.read, whole)
        if healthy.said != "read":
            raise SystemExit(f"{form.NAME}: the healthy file is not read: {healthy.said}")
        for number, (case, name, content) in zip(range(count), form.cases(rng), strict=False):
            path = Path(folder) / f"{number}-{name}"
            _write(path, content)
            outcome = tried(form.read, path)
            told["tried"] += 1
            told["read"] += outcome.said == "read"
            told["refused"] += outcome.said != "read"
            told["executed"] += bool(outcome.executed)
            told["crashed"] += bool(outcome.crashed or outcome.said.startswith("ERROR"))
            label = f"{number} {case}"
            worst["MiB"] = max(worst["MiB"], (outcome.mib - healthy.mib, label))
            worst["seconds"] = max(worst["seconds"], (outcome.seconds - healthy.seconds, label))
            if faults := outcome.faults(healthy):
                broken.append([form.NAME, label, faults])
                if keep is not None:
                    _write(keep / f"{form.NAME}-{path.name}", content)
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    told |= {f"worst {kind}": [round(most, 1), case] for kind, (most, case) in worst.items()}
    return told, broken


def _write(path, content):
    if isinstance(content, bytes):
        path.write_bytes(content)
        return
    for name, part in content.items():
        place = path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(part)


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    names = [form.NAME for form in FORMATS]
    parser.add_argument("formats", nargs="*", help=f"of {', '.join(names)}; by default all")
    parser.add_argument("--seed", default=os.environ.get("LAMBDA_SEARCH_FUZZ_SEED", "0"))
    parser.add_argument(
        "--count",
        type=int,
        default=int(os.environ.get("LAMBDA_SEARCH_FUZZ_COUNT", "400")),
        help="files of each format (%(default)s)",
    )
    parser.add_argument("--keep", type=Path, help="folder for the files that break something")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for name in frameworks():  # or each child would import its own
        framework_of(name)
    summaries, broken = [], []
    for form in FORMATS:
        if asked.formats and form.NAME not in asked.formats:
            continue
        summary, faults = fuzzed(form, asked.count, asked.seed, asked.keep)
        summaries.append(summary)
        broken += faults
        shown = "  ".join(f"{name} {value}" for name, value in summary.items())
        print(shown, file=sys.stderr, flush=True)
    for name, case, faults in broken:
        print(f"{name}: {case}: {'; '.join(faults)}", file=sys.stderr)
    if asked.json:
        print(json.dumps({"seed": asked.seed, "formats": summaries, "broken": broken}))
    raise SystemExit(1 if broken else 0)


if __name__ == "__main__":
    main()
