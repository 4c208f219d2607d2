"""What holds itself, or unfolds, in a file is never walked through."""

from functools import partial

import pytest
import torch

import lambda_search as ls
from lambda_search.errors import UsageError
from lambda_search.models.inspection import inspect
from lambda_search.models.states import state_of
from tests.golden import golden
from tests.models.hostile import name
from tests.models.hostile import storage
from tests.models.hostile import tensor
from tests.models.hostile import value
from tests.models.hostile import zipped

ADM = golden("ADM/cifar_like").config["model_flags"]
DIT = golden("DiT/tiny").config["model_kwargs"]
DDIM = golden("DDIM/cifar_like").config["config"]


def refused(call):
    with pytest.raises(UsageError) as caught:
        call()
    assert caught.value.hint
    return str(caught.value)


def records(depth):
    """A file of records in records, each beside a number; with depth 0 one that holds itself."""
    one = tensor(storage(name("torch", "FloatStorage"), "0", 1), 0, (), ())
    if depth == 0:
        opcodes = b"}q\1" + value("a") + b"h\1s" + value("t") + one + b"s"
    else:
        opcodes = one + b"q\0" + (b"}" + value("t") + b"h\0s" + value("a")) * depth
        opcodes += b"}" + value("w") + b"h\0s" + b"s" * depth
    return zipped(opcodes, [("0", bytes(4))])


@pytest.mark.parametrize("depth", (0, 1000))
@pytest.mark.parametrize("framework", ("adm", "ddim", "dit", "edm", "ldm", "diffusers", None))
def test_records_in_records_without_end_are_refused(framework, depth, tmp_path):
    path = tmp_path / "a.ckpt"
    path.write_bytes(records(depth))
    config = {"adm": ADM, "dit": DIT, "ddim": DDIM, "edm": {"class_name": "EDMPrecond"}}
    config |= {"diffusers": {"prompts": ["a cat"]}}
    read = partial(ls.load_model, framework) if framework else inspect
    assert path.name in refused(lambda: read(str(path), config=config.get(framework)))


def test_many_names_of_one_record_are_looked_at_once(tmp_path, monkeypatch):
    seen = []

    class Record(dict):
        def values(self):
            seen.append(self)
            return super().values()

    one = Record(a=1)
    content = {str(number): one for number in range(50)} | {"state_dict": {"w": torch.ones(2)}}
    assert state_of(content).keys() == {"w"}
    assert len(seen) == 1


SETTINGS = {
    "a list that holds itself": b"]\x94h\0a",
    "lists that unfold": b"]\x94" + b"".join(
        b"0](" + b"h%c" % n * 9 + b"e\x94" for n in range(40)
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SETTINGS)
def test_recorded_settings_that_are_no_plain_values_are_refused(what, tmp_path):
    """As `models inspect --json` would print them, and `convert` and `init` write them."""
    held = b"}" + value("image_size") + SETTINGS[what] + b"s"
    args = name("argparse", "Namespace") + b")\x81" + held + b"b"
    weight = tensor(storage(name("torch", "FloatStorage"), "0", 1), 0, (1,), (1,))
    weights = b"}" + value("x_embedder.proj.weight") + weight + b"s"
    path = tmp_path / "a.pt"
    opcodes = b"}" + value("args") + args + b"s" + value("ema") + weights + b"s"
    path.write_bytes(zipped(opcodes, [("0", bytes(4))]))
    for call in (lambda: inspect(str(path)), lambda: ls.load_model("dit", path)):
        assert "that training recorded are no plain values" in refused(call)
