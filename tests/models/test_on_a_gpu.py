"""What holds on a GPU, for every framework; without one these tests are left out."""

from functools import partial

import pytest
import torch

from lambda_search.metrics.extractors.own_network import OwnNetworkExtractor
from lambda_search.models.base import SCHEDULER
from lambda_search.models.registry import load_model
from lambda_search.models.running import Replayed
from lambda_search.models.running import unrecorded
from lambda_search.models.sampling import counter_noise
from lambda_search.models.sampling import default_labels
from lambda_search.models.sampling import sample
from lambda_search.models.sampling import sample_batch
from lambda_search.schedule import LambdaSchedule
from lambda_search.testing.frameworks import FrameworkContract
from tests.asking import asked
from tests.models import test_contract

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

TILTED = LambdaSchedule(1.01, 0.004)
WAYS = {"fp32": 2e-4, "tf32": 2e-2, "bf16": 1e-1}
"""How far, in units of the largest value, one evaluation may be from the CPU's in float32."""


@pytest.fixture(scope="module", params=test_contract.CASES)
def on_gpu(request, tmp_path_factory, make_pipeline):
    """A case whose model lies on the GPU, and how to load it on the CPU."""
    make = test_contract.CASES[request.param]
    from_noise = make in (test_contract._diffusers, test_contract._on_sigma)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        case = make(make_pipeline if from_noise else tmp_path_factory.mktemp("case"))
    cpu = case.load()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(test_contract, "load_model", partial(load_model, device="cuda"))
        assert case.model.device.type == "cuda"
    return case, cpu


def networks(model):
    """The recording wrappers of a model."""
    inner = [getattr(model, name, None) for name in ("_network", "_unet")]
    found = [part for one in inner if one is not None for part in one.modules()]
    return [one for one in found if isinstance(one, Replayed)]


def batch_of(model, case, sampler, precision="fp32", labels=None, **options):
    sampling = model.resolve(asked(sampler, case.steps, precision=precision, batch=3, **options))
    labels = default_labels(model, range(3)) if labels is None else labels
    return sample_batch(model, sampling, TILTED, counter_noise(model, 0, range(3)), labels)


@pytest.mark.parametrize("precision", WAYS)
def test_an_evaluation_agrees_with_the_cpu(on_gpu, precision):
    case, cpu = on_gpu
    sampler = case.samplers[0]
    sampling = cpu.resolve(asked(sampler, case.steps, precision=precision, batch=3))
    level = cpu.grid(sampling).level(case.steps // 2)
    x = torch.randn(3, *cpu.shape, generator=torch.Generator().manual_seed(0)).to(cpu.dtype)
    labels = default_labels(cpu, range(3))
    with torch.inference_mode():
        expected = cpu.predict(x, level, labels, sampling).epsilon
        with case.model.running(sampling.options):
            there = None if labels is None else labels.cuda()
            found = case.model.predict(x.cuda(), level, there, sampling).epsilon.cpu()
    apart = (found - expected).abs().max() / expected.abs().max()
    assert apart < WAYS[precision]


def test_every_sampler_gives_each_index_the_same_bits_in_any_split(on_gpu):
    case, _ = on_gpu
    for sampler in case.samplers:
        run = partial(
            sample, case.model, sampler, case.steps, TILTED, decode=False, options={"batch": 4}
        )
        whole = run(range(10))
        assert whole.isfinite().all()
        for indices in ([7], [9, 0, 4], range(3, 8), range(9, -1, -1)):
            assert torch.equal(run(indices), whole[list(indices)])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_recorded_calls_have_the_bits_of_ordinary_ones(on_gpu, precision):
    case, _ = on_gpu
    for sampler in case.samplers:
        assert networks(case.model)
        with unrecorded():
            expected = batch_of(case.model, case, sampler, precision)
        for _turn in range(3):
            assert torch.equal(batch_of(case.model, case, sampler, precision), expected)
    assert any(one._known.recordings for one in networks(case.model))


def test_nobody_waits_for_the_gpu_inside_a_trajectory(on_gpu):
    case, _ = on_gpu
    labels = default_labels(case.model, range(3))
    labels = None if labels is None else labels.cuda()
    for sampler in case.samplers:
        run = partial(batch_of, case.model, case, sampler, "bf16", labels)
        run()
        run()
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            found = run()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert found.isfinite().all()


def test_what_the_process_is_set_to_decides_nothing(on_gpu):
    case, _ = on_gpu
    sampler = case.samplers[0]
    with unrecorded():
        expected = batch_of(case.model, case, sampler)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
        try:
            found = batch_of(case.model, case, sampler)
        finally:
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
            torch.backends.cudnn.benchmark = False
    assert torch.equal(found, expected)


def test_the_librarys_scheduler_runs(on_gpu):
    case, _ = on_gpu
    if SCHEDULER not in case.model.samplers:
        return
    named = {"class": "DPMSolverMultistepScheduler"}
    first, again = (batch_of(case.model, case, SCHEDULER, **named) for _ in range(2))
    assert torch.equal(first, again) and first.isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("on_gpu", ["adm", "edm"], indirect=True)
def test_compiled_kernels_are_near_and_give_the_same_bits_again(on_gpu):
    case, _ = on_gpu
    for sampler in case.samplers[:1]:
        plain = batch_of(case.model, case, sampler)
        found = [batch_of(case.model, case, sampler, kernels="compiled") for _ in range(3)]
        assert torch.equal(found[0], found[1]) and torch.equal(found[1], found[2])
        assert (found[0] - plain).abs().max() < 1e-3 * plain.abs().max()


class TestTheContract(FrameworkContract):
    @pytest.fixture
    def case(self, on_gpu):
        return on_gpu[0]


def test_the_extractor_that_it_is_sees_the_same_however_often_it_was_called(on_gpu):
    case, _ = on_gpu
    states = counter_noise(case.model, 0, range(3))
    extractor = OwnNetworkExtractor("model", case.model)
    first = extractor.seen(states)
    for _ in range(3):
        batch_of(case.model, case, case.samplers[0])
        assert torch.equal(extractor.seen(states), first)
