"""Rows of every kind: measured, confirmed, published, superseded, retracted, hostile."""

from dataclasses import replace
from datetime import UTC
from datetime import datetime
from datetime import timedelta

from lambda_search.records import Looks
from lambda_search.records import NoiseLevel
from lambda_search.records import Origin
from lambda_search.records import Origins
from lambda_search.records import OtherCandidate
from lambda_search.records import OtherMeasure
from lambda_search.records import Provenance
from lambda_search.records import Retraction
from lambda_search.records import Source
from lambda_search.setting import SamplerOptions
from lambda_search.setting import Setting
from tests.store.test_store import row

BEGAN = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
UNSEEN = '=cmd|"/c"!A1 \\n \x1b[31m\u202e\u2028 λ 😀 \U000e0041,\n;"'


def setting(**values):
    told = {
        "model": "m",
        "weights": "0" * 64,
        "framework": "edm",
        "definition": "1" * 64,
        "sampler": "euler",
        "options": SamplerOptions(s_churn=0),
        "steps": 4,
        "extractor": "bundled@1",
        "reference": "bundled:x@2",
    }
    return Setting(**told | values)


def at(minutes):
    return BEGAN + timedelta(minutes=minutes)


def every_kind():
    """One row of each kind, the oldest first."""
    found = [
        row(setting(), "first", status="measured", b=1.0, k=0.0, gain=0.1),
        row(setting(), "first", fid=4.0),
        row(setting(guidance=1.5, site="x0_only", sampler="ddim"), "second", k=-0.002),
        row(setting(model=UNSEEN, extractor=f"{UNSEEN}@1"), UNSEEN, b=0.9985, k=0.0),
        row(setting(steps=1, sampler="heun", options=SamplerOptions(s_churn=40.5, batch=3))),
    ]
    found = [replace(one, created=at(place)) for place, one in enumerate(found)]
    found[2] = replace(found[2], retraction=Retraction(UNSEEN, at(50)))
    levels = tuple(NoiseLevel(float(t), None if t == 3 else 0.1 * 7**t) for t in range(4))
    other = OtherMeasure(
        "dinov2@9",
        "r@8",
        found[3].provenance.baseline,
        (
            OtherCandidate(
                trial=1,
                fid=2.0,
                corrected=1.5,
                gain=0.5,
                raw_gain=0.4,
                gain_standard_error=0.1,
                correlation=0.9,
                kid=1e-300,
            ),
        ),
    )
    found[3] = replace(
        found[3],
        levels=levels,
        verdict=UNSEEN,
        origin=Origin("somebody@elsewhere", "another tool 2"),
        origins=Origins("data", "owner/name", "f" * 40, "weights.pkl"),
        provenance=replace(
            found[3].provenance, also=(other,), config={"a": [1, 2.5, None, {"b": True}]}
        ),
    )
    looks = Looks(0.01, 5, (found[4].n // 2, found[4].n), 2.5, "proven", 0.1)
    found[4] = replace(
        found[4], provenance=replace(found[4].provenance, looks=looks, search="2 rounds")
    )
    source = Source("A paper", "0000.00000", "https://example.org/x", "table 1")
    published = replace(
        row(setting(model="p", weights="unknown", extractor="theirs", reference="theirs")),
        status="published",
        fid_interval=None,
        baseline_interval=None,
        gain=None,
        gain_interval=None,
        provenance=Provenance(source=source),
        created=at(9),
    )
    return [*found, published]
