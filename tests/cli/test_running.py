"""Progress fits the terminal, tells what counts, and is never worse than λ = 1."""

import json
import os
from dataclasses import replace
from datetime import UTC
from datetime import datetime

import pytest
from rich.console import Console

from lambda_search.cli.options import gpus_of
from lambda_search.cli.running import RunningStudies
from lambda_search.cli.running import elided
from lambda_search.cli.running import whereabouts
from lambda_search.errors import UsageError
from lambda_search.records import Progress
from lambda_search.records import Trial
from lambda_search.records import leading
from lambda_search.schedule import LambdaSchedule

RUNNING = Progress(
    study="my-diffusion-model-of-cats-ancestral-20",
    phase="search",
    trials_done=103,
    trials_total=120,
    images=1_203_000,
    images_expected=2_400_000,
    made=1_000_000,
    images_per_second=152.4,
    useful_seconds=10.0,
    best=LambdaSchedule(1.06421, -0.007255),
    best_gain=2.584,
    best_n=10_000,
    at=datetime.now(UTC),
    workers=16,
)


def shown(width, *studies, **notes):
    console = Console(width=width, record=True, file=open(os.devnull, "w"), soft_wrap=True)
    console.print(RunningStudies(studies, notes))
    return console.export_text().splitlines()


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize("phase", ["preparing", "search", "confirm"])
def test_nothing_that_counts_is_cut(width, phase):
    other = replace(RUNNING, study=RUNNING.study[:-2] + "50", phase=phase)
    lines = shown(width, RUNNING, other)
    assert all(len(line) <= width for line in lines), lines
    text = "\n".join(lines)
    for word in (phase, "103/120", "1,203,000", "152", "16", "2:10:54", "workers", "time left"):
        assert word in text
    names = [line.split()[0] for line in lines[1::2]]
    assert names[0].endswith("20") and names[1].endswith("50") and names[0].startswith("my-diff")
    assert "best so far λ(i) = 1.06421 − 0.007255·i, gain +2.584 (n = 10,000)" in text


def test_a_name_is_elided_in_the_middle():
    assert elided("short", 8) == "short"
    assert elided("a-long-name-20", 8) == "a-l…e-20"
    assert all(len(elided("x" * 50, width)) == width for width in range(12, 50))


def test_what_is_not_known_yet_is_not_made_up():
    [_, line] = shown(80, replace(RUNNING, phase="preparing", images_per_second=0.0, best=None))
    assert line.split()[-1] == "…"
    assert RUNNING.seconds_left == pytest.approx(1_197_000 / 152.4)
    for phase in ("done", "failed", "stopped"):
        assert replace(RUNNING, phase=phase).seconds_left is None


def test_the_best_so_far_is_never_worse_than_lambda_one():
    def ended(number, gain, n=100):
        return Trial(number, 0, LambdaSchedule(1 + number / 100), 1.0, 0.0, "complete", n, gain)

    assert leading([]) is None
    assert leading([replace(ended(1, None), n=None, state="diverged")]) is None
    worse = leading([ended(1, -0.5, 50), ended(2, -0.3)])
    assert (worse.schedule.is_identity, worse.gain, worse.n) == (True, 0.0, 100)
    better = leading([ended(0, 0.0), ended(1, 9.0, 50), ended(2, 0.3), ended(3, 0.2)])
    assert (better.schedule.b, better.gain, better.n) == (1.02, 0.3, 100)
    alone = leading([ended(0, 0.0, 200), ended(1, 0.3)])
    assert (alone.schedule.is_identity, alone.n) == (True, 200), "no other was scored on as many"
    judged = leading([ended(0, 0.0, 200), ended(1, 0.3, 50), ended(2, 0.4)], best=1)
    assert (judged.schedule.b, judged.gain, judged.n) == (1.01, 0.3, 50)
    text = "\n".join(shown(80, replace(RUNNING, best=LambdaSchedule(), best_gain=0.0)))
    assert "nothing better than λ = 1 so far" in text and "-" not in text.split("gain")[-1][:3]


def test_progress_of_an_older_driver_is_read():
    told = RUNNING.to_json()
    assert Progress.from_json(told) == RUNNING
    for name in ("workers", "places", "made_in_all", "seconds_in_all"):
        del told[name]
    older = Progress.from_json(told)
    assert (older.workers, older.places, older.seconds_in_all) == (0, (), 0.0)


def test_of_many_hosts_only_their_number_is_told():
    many = tuple((f"gpu-{i}", "A100", 8) for i in range(100))
    one = replace(RUNNING, places=(*many, ("gpu-x", "H100", 1)))
    assert list(whereabouts([("me", one), ("me", replace(RUNNING, study="b"))])) == [
        "workers of me: 800 on A100 (100 hosts); 1 on H100 (1 on gpu-x)"
    ]


def test_as_many_workers_share_a_gpu_as_was_said():
    """Ray counts in ten-thousandths."""
    for count in range(1, 40):
        ten_thousandths = round(gpus_of(None, count) * 10_000)
        assert 10_000 // ten_thousandths == count


def test_the_share_of_a_gpu_is_said_once():
    assert gpus_of(0.5, None) == gpus_of(None, 2) == 0.5 and gpus_of(None, None) is None
    with pytest.raises(UsageError, match="say the same thing"):
        gpus_of(0.5, 2)


def test_more_workers_a_gpu_than_ray_can_count_are_no_workers_on_the_cpu(cli):
    code, _, err = cli("drive", "--workers-per-gpu", "20000")
    assert code == 2 and "--workers-per-gpu" in err


@pytest.mark.parametrize("width", [80, 120])
def test_status_tells_of_a_confirmation_what_a_launch_tells(cli, width, monkeypatch):
    from lambda_search import studies
    from lambda_search.cli.console import out
    from lambda_search.spec import parse_specs
    from lambda_search.store.queue import Queue
    from lambda_search.store.store import Store
    from tests.test_earlier import TEXT

    monkeypatch.setattr(out, "_width", width)
    store = Store()
    studies.submit(parse_specs(TEXT), store)
    claim = Queue(store).claim()
    places = (("gpu-1", "A100", 12), ("gpu-2", "A100", 4))
    progress = replace(
        RUNNING, study="mine", phase="confirm", places=places, seconds_in_all=5400.0
    )
    Queue(store).report({claim.lease: progress})
    text = cli("status")[1]
    assert all(len(line) <= width for line in text.splitlines())
    for word in ("mine", "confirm", "103/120", "152", "16", "2:10:54", "driven by process"):
        assert word in text
    assert "1.50 h of workers' devices so far" in text
    assert "16 on A100 (12 on gpu-1, 4 on gpu-2)" in " ".join(text.split())
    [facts] = json.loads(cli("status", "--json")[1])
    assert facts["places"] == [["gpu-1", "A100", 12], ["gpu-2", "A100", 4]]
    assert facts["worker_seconds"] == 5400.0
    claim.lease.forget()
    store.close()
