"""Where a drafted study looks for λ."""

import pytest

from lambda_search.models.registry import framework_of
from lambda_search.models.registry import frameworks
from lambda_search.search.ranges import ranges_for
from lambda_search.spec.searching import DEFAULT_TILT
from lambda_search.store.catalogue import entries


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.name)
def test_what_is_published_lies_in_the_ranges(entry):
    setting, schedule = entry.setting, entry.schedule
    for name in ("", setting.model):
        found = ranges_for(setting.framework, setting.sampler, setting.steps, name=name)
        assert found.mean[0] < schedule.mean(setting.steps) < found.mean[1]
        tilt = (
            DEFAULT_TILT if found.slope is None else [k * (setting.steps - 1) for k in found.slope]
        )
        assert tilt[0] <= schedule.k * (setting.steps - 1) <= tilt[1]


def test_every_framework_and_sampler_has_ranges_around_one():
    for framework in frameworks():
        for sampler in framework_of(framework).samplers:
            few, usual = (ranges_for(framework, sampler, steps) for steps in (4, 20))
            on_x0 = ranges_for(framework, sampler, 20, "x0_only")
            assert few.mean[0] <= usual.mean[0] < 1 < usual.mean[1] <= few.mean[1]
            if sampler == "scheduler":  # which has no other site
                continue
            assert usual.mean[0] < on_x0.mean[0] < 1 < on_x0.mean[1] < usual.mean[1]
    assert ranges_for("mine", "own", 20).mean[0] < 1


def test_a_published_model_is_looked_at_where_its_own_study_looks():
    own, all_of_them = (
        ranges_for("adm", "ancestral", 20, name=name) for name in ("adm-imagenet64", "")
    )
    assert own.mean[1] < all_of_them.mean[1] and "adm-imagenet64" in own.why
