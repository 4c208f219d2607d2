"""A store with one of everything that pages show: rows of all kinds, studies in all states."""

from dataclasses import replace
from datetime import UTC
from datetime import datetime
from datetime import timedelta

from lambda_search.events import Events
from lambda_search.records import Origins
from lambda_search.records import Progress
from lambda_search.store.queue import Queue
from tests.report.studies import STUDY
from tests.report.studies import simulate

MODEL = "photos-unet"


def slope(steps):
    return -0.09 / (steps - 1), 0.05 / (steps - 1)


def fill(store, pictures=None):
    """What came of it: rows by name, and the claim of the study that runs."""
    found = {}
    for steps in (10, 20, 50):
        *_, found[steps] = simulate(
            store,
            f"photos-{steps}",
            steps,
            slope=slope(steps),
            model=MODEL,
            pictures=pictures,
            seed=steps,
        )
    found["superseded"], found["retracted"] = _fallen(store, found[20], found[50])
    told = {"name": "photos-100", "model": MODEL, "steps": 100, "trials": 40, "mean": [0.99, 1.06]}
    text = STUDY.format(slope=list(slope(100)), **told)
    claim = simulate(
        store, "photos-100", 100, slope=slope(100), until="search", model=MODEL, text=text
    )
    Queue(store).report({claim.lease: progress()})
    failed = simulate(store, "faces-20", 20, slope=slope(20), until="began", model="faces")
    told = "The checkpoint faces.safetensors has other shapes than its config says."
    Events("faces-20", [store.say]).say("failed", told)
    Queue(store).end(failed.lease, "failed", "failed", told)
    Queue(store).submit("waits", spec("waits"))
    Queue(store).submit("stopped", spec("stopped"))
    Queue(store).stop("stopped")
    return found, claim


def spec(name):
    return f"""\
name: {name}
model: {{framework: diffusers, checkpoint: owner/faces, name: faces}}
sampler: {{name: ddim, steps: 20}}
search: {{mean: [0.99, 1.05], slope: [-0.002, 0.004], trials: 40}}
metric: {{name: fid, extractor: inception-clean, reference: "images:faces", rungs: [500, 1000]}}
confirm: {{top: 3, samples: 10000}}
"""


def progress(images=7400, phase="search"):
    done = 16 if phase == "search" else 40
    return Progress(
        study="photos-100",
        phase=phase,
        trials_done=done,
        trials_total=40,
        images=images,
        images_expected=21000,
        made=images,
        images_per_second=38.2,
        useful_seconds=190.0,
        best=None,
        best_gain=None,
        best_n=None,
        at=datetime.now(UTC),
        workers=4,
    )


def _fallen(store, one, other):
    """A row that `one` stands instead of, and one that was taken back."""
    before = replace(
        one,
        n=1000,
        status="measured",
        verdict="on too few images to be proven",
        created=one.created - timedelta(days=3),
        origins=Origins("photos", "owner/photos-unet", "f" * 40, "unet.safetensors"),
    )
    wrong = replace(
        other,
        setting=other.setting.model_copy(update={"guidance": 3.0}),
        provenance=replace(other.provenance, study="by hand", preview=""),
        created=other.created - timedelta(days=9),
    )
    store.add([before, wrong])
    store.retract(wrong.id, "its reference was of other images")
    return before, wrong
