"""One number for ComfyUI, Forge and reForge, and whether they hold it."""

import pytest

from lambda_search.integrations.comfyui.constants import FIELDS
from lambda_search.integrations.comfyui.constants import constant_of
from lambda_search.integrations.comfyui.words import constant_facts
from lambda_search.records import NoiseLevel
from tests.integrations.comfyui.rows import row_on

LEVELS = [NoiseLevel(t, s) for t, s in ((1, 0.04), (400, 1.0), (600, 2.3), (900, 9.0))]
COMFYUI, FORGE, REFORGE = FIELDS


@pytest.mark.parametrize(
    ("value", "comfyui", "forge"),
    [
        (1.005, "", ""),
        (1.03, "", ""),
        (1.05, "", ""),
        (1.017, "", "steps of 0.005: 1.015 is the nearest"),
        (1.0005, "steps of 0.001", "steps of 0.005: 1 is the nearest"),
        (0.998, "", "limits are 1 and 1.05: do not take 1 instead"),
        (0.9985, "steps of 0.001", "limits are 1 and 1.05"),
        (1.06, "", "limits are 1 and 1.05: do not take 1.05 instead"),
        (1.6, "limits are 0.5 and 1.5", "limits are 1 and 1.05"),
        (0.4, "limits are 0.5 and 1.5", "limits are 1 and 1.05"),
    ],
)
def test_a_field_says_when_it_does_not_hold_a_value(value, comfyui, forge):
    for field, words in ((COMFYUI, comfyui), (REFORGE, comfyui), (FORGE, forge)):
        complaint = field.complaint(value)
        assert words in complaint and bool(words) == bool(complaint)
        nearest = field.nearest(value)
        assert field.low <= nearest <= field.high
        steps = (nearest - field.low) / field.step
        assert steps == pytest.approx(round(steps), abs=1e-6)
        if not complaint:
            assert nearest == value


def test_a_constant_row_is_its_own_constant():
    found = constant_of(row_on(LEVELS, 1.017, 0.0))
    assert (found.value, found.evidence) == (1.017, "confirmed")


def test_of_a_slope_the_mean_is_left_and_nobody_measured_it():
    row = row_on(LEVELS, 1.0, 0.004)
    found = constant_of(row)
    assert found.value == pytest.approx(sum(row.lambdas) / 4) == 1.006
    told = dict(constant_facts(row))
    assert (
        "not measured" in told["constant"] and "the mean of λ(i) = 1 + 0.004·i" in told["constant"]
    )
    assert "cannot be set" in told["Forge"] and told["ComfyUI"].endswith("1.006")
