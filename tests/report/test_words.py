"""Rows in words, as reports and services tell them."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from lambda_search.report.effort import Effort
from lambda_search.report.words import looks_of
from lambda_search.report.words import summary_of
from lambda_search.service.telling import evidence_of
from tests.exchange.rows import every_kind

ENDS = {
    "proven": "it ended as the gain is proven, and known to ±1\u00a0% of the FID at λ = 1",
    "precise": "it ended as the gains are known to ±1\u00a0% of the FID at λ = 1; none is proven",
    "samples": "it ended with the last of the images, before the gains were known to ±1\u00a0%",
}


@pytest.mark.parametrize("ended", ENDS)
def test_a_row_of_several_looks_tells_them_what_ended_them_and_the_luck(ended):
    [row] = [one for one in every_kind() if one.provenance.looks is not None]
    told = row.provenance
    [candidate] = told.candidates
    looks = replace(told.looks, ended=ended, made=(512, row.n), luck=0.125)
    several = replace(told, looks=looks, candidates=(candidate, replace(candidate, trial=9)))
    words = looks_of(replace(row, provenance=several))
    assert words.startswith(f"2 of at most 5, at 512 and {row.n:,} images; {ENDS[ended]}")
    assert words.endswith("as that of the best of 2, the gain may be 0.12 too high")
    assert "too high" not in looks_of(replace(row, provenance=replace(told, looks=looks)))
    assert any(words in one for one in evidence_of(replace(row, provenance=several)))
    study = SimpleNamespace(setting=None, state="done", message="", warm_start=None)
    told = {"study": study, "row": replace(row, provenance=several), "model": "m", "trials": []}
    rest = {"sampler": "", "steps": 0, "ranges": None, "rounds": ()}
    found = SimpleNamespace(is_abandoned=False, **rest, **told)
    summary = summary_of(found, Effort("all", 2, 10, None, None))
    assert words in [line.text for line in summary if line.name == "looks"]


def test_other_rows_tell_nothing_of_looks():
    assert not any(looks_of(one) for one in every_kind() if one.provenance.looks is None)
