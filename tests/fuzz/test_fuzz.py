"""No file of any format ends the process, takes much memory or time, runs, or goes unexplained.

The budget is the one assertion about time in these tests. LAMBDA_SEARCH_FUZZ_SEED tries a fresh
corpus, LAMBDA_SEARCH_FUZZ_COUNT a longer one.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.formats import FORMATS

COUNT = "150"


HALVES = (
    ("configs", "images", "safetensors", "studies"),
    ("pickles", "pipelines", "statistics", "torchscript"),
)
"""That go side by side, since each file is tried in a child of its own."""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_files_of_every_format_stay_within_the_budget(tmp_path):
    assert sorted(name for half in HALVES for name in half) == sorted(one.NAME for one in FORMATS)
    command = [sys.executable, "-m", "tests.fuzz", "--json", "--count", COUNT]
    running = []
    for place, half in enumerate(HALVES):
        with (tmp_path / f"{place}.err").open("w") as err:
            running.append(
                subprocess.Popen(
                    [*command, *half],
                    cwd=Path(__file__).parents[2],
                    stdout=subprocess.PIPE,
                    stderr=err,
                    text=True,
                )
            )
    outs = [one.communicate()[0] for one in running]
    found = []
    for place, out in enumerate(outs):
        assert out, (tmp_path / f"{place}.err").read_text()[-5000:]
        told = json.loads(out)
        assert told["broken"] == []
        found += told["formats"]
    for summary in found:
        assert summary["executed"] == summary["crashed"] == 0
        # a program is only looked at: what is damaged inside is met when it is run
        least = 0 if summary["format"] == "torchscript" else summary["tried"] / 3
        assert summary["refused"] > least, "hardly anything of it was damaged"
    assert sum(summary["tried"] for summary in found) > 1000
