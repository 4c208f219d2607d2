"""What every framework's model owes to the sampler, whoever wrote it.

    import pytest

    import lambda_search as ls
    from lambda_search.testing.frameworks import Case
    from lambda_search.testing.frameworks import FrameworkContract


    class TestMine(FrameworkContract):
        @pytest.fixture(scope="class")
        @classmethod
        def case(cls):
            return Case(lambda: ls.load_model("mine", "tiny.pt"), images=(3, 16, 16))

A tiny network with random weights is enough: the contract is about the machinery around it.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from lambda_search.diffusion import ode
from lambda_search.diffusion import samplers
from lambda_search.diffusion.samplers import Step
from lambda_search.errors import UsageError
from lambda_search.models.base import ON_SIGMA
from lambda_search.models.base import SCHEDULER
from lambda_search.models.base import Model
from lambda_search.models.options import sampling_of
from lambda_search.models.registry import framework_of
from lambda_search.models.registry import frameworks
from lambda_search.models.sampling import default_labels
from lambda_search.models.sampling import sample
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import Sampling

__all__ = ["Case", "FrameworkContract"]

_TILTED = LambdaSchedule(1.01, 0.004)
_BATCH = 3
_SEEN = 7
"""Images of a run: two whole batches and a part of one."""


@dataclass(frozen=True)
class Case:
    """A model under test.

    Arguments:
        load: makes it anew.
        images: (c, h, w) of decoded states; None: it has no decoder.
        steps: a step count that its default grid can have.
        alike: pairs of samplings of equal effect that are spelled differently.
    """

    load: Callable[[], Model]
    images: tuple[int, int, int] | None
    steps: int = 4
    alike: Sequence[tuple[Sampling, Sampling]] = ()

    @cached_property
    def model(self) -> Model:
        """The model, loaded once."""
        return self.load()

    @property
    def samplers(self) -> tuple[str, ...]:
        """The model's, but for a library's scheduler, whose steps are not ours to be held to."""
        return tuple(one for one in self.model.samplers if one != SCHEDULER)

    def run(self, sampler: str, schedule: LambdaSchedule = _TILTED, **how: Any) -> Tensor:
        """The states of a run in small batches; arguments as in `sample`."""
        options = {"batch": _BATCH} | how.pop("options", {})
        usual: dict[str, Any] = {"indices": range(_SEEN), "decode": False, "options": options}
        return sample(self.model, sampler, self.steps, schedule, **usual | how)


class FrameworkContract:
    """A subclass has a fixture `case`."""

    def test_it_is_registered_with_its_samplers(self, case: Case) -> None:
        model = case.model
        assert model.framework in frameworks(), "its entry point is missing"
        assert model.samplers, "a model has a sampler or more"
        assert framework_of(model.framework).samplers == model.samplers

    def test_it_is_named_by_its_content(self, case: Case) -> None:
        again = case.load()
        for name in ("sha256", "definition"):
            told = getattr(case.model, name)
            assert len(told) == 64 and set(told) <= set("0123456789abcdef"), f"{name}: {told}"
            assert told == getattr(again, name), f"loading twice gives another {name}"

    def test_resolving_twice_changes_nothing(self, case: Case) -> None:
        for sampler in case.samplers:
            asked = sampling_of(sampler, case.steps, options={"batch": _BATCH})
            resolved = case.model.resolve(asked)
            assert case.model.resolve(resolved) == resolved
            assert resolved.options.batch == _BATCH

    def test_samplings_of_equal_effect_are_one(self, case: Case) -> None:
        model = case.model
        for pair in case.alike:
            one, other = pair
            assert one != other
            assert model.resolve(one) == model.resolve(other)
            walked = [s.model_copy(update={"options": model.filled(s)}) for s in pair]
            grids = [model.grid(s) for s in (*walked, model.resolve(one))]
            assert grids[0] == grids[1] == grids[2], "they are told apart by their grids"

    def test_grids_rise_and_lead_each_step_to_the_one_below(self, case: Case) -> None:
        for sampler in case.samplers:
            resolved = case.model.resolve(sampling_of(sampler, case.steps))
            grid = case.model.grid(resolved)
            pairs = list(zip(grid.alpha, grid.sigma, strict=True))
            levels = [s / a if a else float("inf") for a, s in pairs]
            assert levels == sorted(set(levels)), "σ/α must rise with the index"
            after = list(zip(grid.alpha_next, grid.sigma_next, strict=True))
            assert after[1:] == pairs[:-1], "step i leads to the level of step i − 1"
            assert after[0][1] / after[0][0] < levels[0]

    def test_steps_are_the_real_number_where_that_names_the_same_grid(self, case: Case) -> None:
        for sampler in case.samplers:
            resolved = case.model.resolve(sampling_of(sampler, case.steps))
            grid = case.model.grid(resolved)
            if len(grid) != resolved.steps:
                real = resolved.model_copy(update={"steps": len(grid)})
                assert case.model.grid(case.model.resolve(real)) != grid

    def test_the_network_says_as_much_as_it_is_given(self, case: Case) -> None:
        model = case.model
        for sampler in model.samplers:
            resolved = model.resolve(sampling_of(sampler, case.steps))
            grid = model.grid(resolved)
            x = torch.randn(2, *model.shape).to(model.device, model.dtype)
            labels = default_labels(model, range(2))
            labels = None if labels is None else labels.to(model.device)
            for i in (0, len(grid) - 1):
                with torch.inference_mode():
                    said = model.predict(x, grid.level(i), labels, resolved)
                for part in (said.epsilon, said.variance_logit, said.score, said.x0):
                    assert part is None or (part.shape, part.dtype) == (x.shape, x.dtype)

    def test_the_network_is_called_from_noisy_to_clean(self, case: Case) -> None:
        for sampler in case.samplers:
            seen: list[Step] = []
            case.run(sampler, indices=range(_BATCH), observe=seen.append)
            grid = case.model.grid(case.model.resolve(sampling_of(sampler, case.steps)))
            told = [step.level.index for step in seen]
            assert told == sorted(told, reverse=True)
            assert set(told) == set(range(len(grid)))
            assert [step.level for step in seen] == [grid.level(i) for i in told]

    def test_lambda_one_changes_no_bit(self, case: Case) -> None:
        for sampler in case.samplers:
            scaled = case.run(sampler, LambdaSchedule())
            with (
                patch.object(samplers, "divided", lambda epsilon, value: epsilon),
                patch.object(ode, "divided", lambda epsilon, value: epsilon),
            ):
                assert torch.equal(case.run(sampler, _TILTED), scaled)
            assert not torch.equal(case.run(sampler, _TILTED), scaled)

    def test_a_sample_depends_on_its_index_alone(self, case: Case) -> None:
        for sampler in case.samplers:
            whole = case.run(sampler)
            assert whole.shape == (_SEEN, *case.model.shape)
            assert whole.dtype == torch.float32
            assert whole.isfinite().all()
            for indices in ([5], [6, 0], range(2, 6)):
                assert torch.equal(case.run(sampler, indices=indices), whole[list(indices)])

    def test_the_start_depends_on_seed_and_index_alone(self, case: Case) -> None:
        start = case.model.prior(1, range(_SEEN))
        assert torch.equal(case.model.prior(1, [4, 2]), start[[4, 2]])
        assert not torch.equal(case.model.prior(0, range(_SEEN)), start)

    def test_states_are_decoded_each_by_itself(self, case: Case) -> None:
        sampler = case.samplers[0]
        if case.images is None:
            _refused(case.model.check_decoder)
            _refused(case.run, sampler, decode=True)
            return
        case.model.check_decoder()
        states, images = case.run(sampler), case.run(sampler, decode=True)
        assert images.shape == (_SEEN, *case.images)
        assert images.isfinite().all()
        alone = case.model.decode(states[1:2].to(case.model.device)).float()
        assert torch.allclose(alone, images[1:2], rtol=1e-4, atol=1e-5)

    def test_the_site_decides_where_lambda_acts(self, case: Case) -> None:
        for sampler in case.samplers:
            if sampler in ON_SIGMA:
                _refused(case.run, sampler, site="x0_only")
            else:
                assert not torch.equal(case.run(sampler, site="x0_only"), case.run(sampler))
            _refused(case.run, sampler, site="elsewhere")

    def test_what_is_not_known_is_refused(self, case: Case) -> None:
        _refused(case.run, "no-such-sampler")
        for sampler in {*ON_SIGMA, "ancestral", "ddim"} - set(case.samplers):
            _refused(case.run, sampler)
        for sampler in case.samplers:
            foreign = {"eta": 0.5} if sampler in ON_SIGMA else {"s_churn": 1.0}
            _refused(case.run, sampler, options=foreign)
            _refused(case.run, sampler, options={"grid": "no such grid"})

    def test_conditions_are_what_the_network_takes(self, case: Case) -> None:
        model, sampler = case.model, case.samplers[0]
        if model.classes is None:
            _refused(case.run, sampler, labels=[0] * _SEEN)
            _refused(case.run, sampler, guidance=2.0)
            return
        most = max(model.classes - 1, model.null_label or 0)
        for wrong in ([most + 1] * _SEEN, [-1] * _SEEN, [0.5] * _SEEN, [0]):
            _refused(case.run, sampler, labels=wrong)
        told = default_labels(model, range(_SEEN))
        assert torch.equal(case.run(sampler, labels=told), case.run(sampler))

    def test_guidance_of_one_is_none(self, case: Case) -> None:
        model, sampler = case.model, case.samplers[0]
        plain = case.run(sampler)
        assert torch.equal(case.run(sampler, guidance=1.0), plain)
        _refused(case.run, sampler, guidance=-1.0)
        if model.null_label is None:
            _refused(case.run, sampler, guidance=2.0)
        else:
            assert not torch.equal(case.run(sampler, guidance=2.0), plain)


def _refused(call: Callable[..., object], *arguments: Any, **how: Any) -> None:
    """Checks for a UsageError that says what is wrong and what to do."""
    try:
        call(*arguments, **how)
    except UsageError as error:
        assert error.cause and error.hint, f"a cause and a hint: {error}"
    else:
        raise AssertionError("it is not refused")
