"""What decides a study's numbers: its digest stays what releases before have stored."""

import pytest

from lambda_search.search.resolving import assemble
from lambda_search.spec import parse_specs
from lambda_search.work.recipe import Measure

TEXT = """
name: finished
model: {framework: diffusers, checkpoint: ./weights, name: m}
sampler: {name: ddim, steps: 20, clip: true}
search: {mean: [0.98, 1.05], slope: [-0.004, 0.003], trials: 24, parallel: 4, seed: 3}
metric: {extractor: bundled, reference: "bundled:fashion-mnist"}
confirm: {top: 2, samples: 5000}
"""
DIGESTS = {
    "gp": "6f3987e756719ed917bc0cf2dc3766443833def0875b9ace41fa65a375e8f8c7",
    "qmc": "d457a6c624121542165e357a18512ea2e1337757b3b9f6dafab23ac9ffeecc76",
}
"""As the code before knowledge gradients and looks computed them."""


def digest(text):
    [spec] = parse_specs(text)
    measure = Measure("bundled@1", "e" * 16, "bundled:fashion-mnist@2", "f" * 16, 128)
    return assemble(spec, spec.sampler.sampling, 20, ("0" * 64, "1" * 64), (measure,)).digest()


@pytest.mark.parametrize("proposals", DIGESTS)
def test_studies_that_are_done_are_not_run_again(proposals):
    text = TEXT.replace("seed: 3", f"seed: 3, proposals: {proposals}")
    assert digest(text) == DIGESTS[proposals]
    assert digest(text.replace("5000", "5000, precision: 1%")) != DIGESTS[proposals]


def test_nor_are_those_in_rounds_whatever_number_of_schedules_a_round_has_now():
    """The digest is that of the release in which it was four unless given."""
    text = TEXT.replace("trials: 24, parallel: 4, seed: 3", "seed: 3, proposals: kg")
    assert digest(text) == "72053b3f335379f6c5ce0479600a3e2816ab55c9d960d4b97b5f6a0e77855cbc"
    for parallel in (5, 32):  # whose open budgets differ
        assert digest(text.replace("seed: 3", f"seed: 3, parallel: {parallel}")) == digest(text)
    for images in (7_500, 10_000, 16_384):
        given = text.replace("seed: 3", f"seed: 3, budget: {{images: {images}}}")
        assert digest(given) != digest(text)
