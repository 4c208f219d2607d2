import pytest
import torch
from torch import nn

from lambda_search.errors import UsageError
from lambda_search.models import running as module
from lambda_search.models.running import Replayed
from lambda_search.models.running import running
from lambda_search.models.running import sent

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def products():
    cudnn = torch.backends.cudnn
    return (
        torch.backends.cuda.matmul.allow_tf32,
        cudnn.allow_tf32,
        cudnn.benchmark,
        cudnn.deterministic,
    )


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_the_process_is_set_as_it_was_afterwards(precision):
    before = products()
    with pytest.raises(ZeroDivisionError), running(CUDA, precision):
        wanted = precision == "tf32"
        assert products() == (wanted, wanted, False, True)
        raise ZeroDivisionError
    assert products() == before


@pytest.mark.parametrize("precision, half", [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_half_precision_is_autocast(precision, half):
    with pytest.raises(ZeroDivisionError), running(CPU, precision):
        assert torch.is_autocast_enabled("cpu")
        assert torch.get_autocast_dtype("cpu") == half
        raise ZeroDivisionError
    assert not torch.is_autocast_enabled("cpu")


def test_on_a_cpu_float32_is_what_torch_makes_it():
    before = products()
    with running(CPU, "fp32"):
        assert products() == before
        assert not torch.is_autocast_enabled("cpu")


def test_a_network_on_a_cpu_is_called_as_it_is():
    network = nn.Bilinear(3, 3, 4)
    found, (x, y) = Replayed(network, CPU), torch.randn(2, 5, 3)
    assert torch.equal(found(x, y), network(x, y))
    assert not network.weight.requires_grad and not network.training
    assert found._known.recordings == {}


def test_a_network_is_compiled_once_and_only_inside(monkeypatch):
    asked = []

    def compile(network, **how):
        asked.append(how)
        return lambda x: network(x) + 1

    monkeypatch.setattr(torch, "compile", compile)
    found, x = Replayed(nn.Identity(), CPU), torch.zeros(2)
    assert found(x).sum() == 0
    with running(CPU, "fp32", compiled=True):
        assert found(x).sum() == found(x).sum() == 2
        with running(CPU, "fp32"):
            assert found(x).sum() == 0
    assert found(x).sum() == 0
    [how] = asked
    assert how["dynamic"] is False and how["options"].get("deterministic", True) is True


def test_what_cannot_be_compiled_is_said(monkeypatch):
    def compile(network, **how):
        def fail(*told):
            raise torch._dynamo.exc.TorchDynamoException("no compiler\nand much more")

        return fail

    monkeypatch.setattr(torch, "compile", compile)
    with running(CPU, "fp32", compiled=True), pytest.raises(UsageError) as caught:
        Replayed(nn.Identity(), CPU)(torch.zeros(1))
    assert "no compiler" in caught.value.cause and "much" not in caught.value.cause
    assert "kernels" in caught.value.hint


def test_what_is_there_already_is_not_copied():
    x = torch.zeros(3)
    assert sent(x, CPU, torch.float32) is x
    assert sent(x, CPU, torch.float64).dtype == torch.float64


@pytest.mark.slow
def test_a_compiled_network_on_a_cpu_is_near():
    network = nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.Linear(16, 2))
    found, x = Replayed(network, CPU), torch.randn(5, 8)
    with torch.inference_mode(), running(CPU, "fp32", compiled=True):
        torch.testing.assert_close(found(x), network(x))
        assert module._COMPILED.get()
