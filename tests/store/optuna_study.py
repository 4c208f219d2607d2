"""A study that shows Optuna one trial of every kind."""

from dataclasses import replace

from lambda_search.schedule import LambdaSchedule
from tests.store.test_store import begin
from tests.store.test_store import evaluation
from tests.store.test_store import trial

STUDY = """
name: s
model: {framework: diffusers, checkpoint: x}
sampler: {name: ancestral, steps: 4}
search: {mean: [0.97, 1.05], slope: [-0.01, 0.01]}
metric: {extractor: bundled, reference: r}
"""


def picture(number):
    return f"PNG {number}".encode()


def scored(number, n, gain, name="s"):
    shown = picture(number) if n == 32 else None
    mark = f"{number:05d}{n:059x}"[:64] if name == "s" else f"{number:05d}{n:058x}f"
    return replace(evaluation(mark, gain), trial=number, n=n, picture=shown)


def fill(store, setting, name="s"):
    """λ = 1, a trial at the last rung, one stopped early, one diverged, one open."""
    lease = begin(store, setting, name, spec=STUDY)
    trials = [
        replace(trial(n), schedule=LambdaSchedule(1 + n / 100), mean=1 + n / 100, slope=0.001 * n)
        for n in range(5)
    ]
    store.propose(lease, trials)
    ends = [("complete", 64, 0.0), ("complete", 64, 0.5), ("stopped", 32, -0.25)]
    ended = [
        replace(one, state=state, n=n, gain=gain, fid=5 - gain)
        for one, (state, n, gain) in zip(trials, ends, strict=False)
    ]
    ended.append(replace(trials[3], state="diverged", reason="NaN"))
    rungs = ((0, 32, 0.0), (0, 64, 0.0), (1, 32, 0.4), (1, 64, 0.5), (2, 32, -0.25))
    store.close_rung(lease, [scored(*one, name) for one in rungs], ended)
    return lease


def go_on(store, lease):
    """The open trial ends."""
    [open_one] = [one for one in store.trials(lease.study_id) if one.is_open]
    ended = replace(open_one, state="complete", n=64, gain=0.25, fid=4.75)
    store.close_rung(lease, [scored(4, 32, 0.1), scored(4, 64, 0.25)], [ended])
