"""Whole emulated studies: what they cost, and what their rows say."""

from dataclasses import replace

import pytest

from tests.search.emulator import Emulator
from tests.search.landscapes import BUNDLED
from tests.search.landscapes import NO_GAIN
from tests.search.landscapes import SMALL_GAINS
from tests.search.whole import studied


def quiet(truth):
    """With a third of the noise."""
    return replace(truth, noise=truth.noise.times(0.3))


@pytest.mark.parametrize("truth", SMALL_GAINS, ids=lambda one: one.name)
def test_a_small_gain_is_one(truth):
    assert truth.gain == pytest.approx(0.03, abs=1e-4)


def test_a_gain_is_found_and_proven():
    found = studied(Emulator(quiet(BUNDLED[2]), 0), 0)
    assert (found.ending, found.status) == ("found", "confirmed")
    assert found.worth > 0.08 and found.held and found.half_width <= 0.0151
    assert found.images >= found.searched + 2 * 4 * 128


def test_where_there_is_no_gain_the_row_recommends_one():
    found = studied(Emulator(quiet(NO_GAIN), 0), 0)
    assert (found.ending, found.status) == ("no gain", "measured")
    assert found.recommended.mean == 1 and found.worth == 0
