"""Configs are data within bounds, whatever tags and aliases their YAML has."""

import json
from pathlib import Path

import pytest
import yaml

import lambda_search as ls
from lambda_search.errors import UsageError
from lambda_search.models.checkpoints import read_config
from tests.golden import folder_of
from tests.golden import golden

TAGGED = """\
!!python/object:argparse.Namespace
data: !!python/object:argparse.Namespace
  channels: 3
  image_size: 16
  rescaled: true
device: !!python/object/apply:torch.device
- cuda
diffusion: !!python/object:argparse.Namespace
  beta_end: 0.02
kept: !!python/tuple
- 4
- !!python/unicode 'x'
- !!python/long '7'
folder: !!python/object/apply:pathlib.PosixPath
- /
- tmp
easy: !!python/object/new:easydict.EasyDict
  dictitems:
    a: 1
  state:
    a: 1
"""


def refused(path):
    with pytest.raises(UsageError) as caught:
        read_config(path)
    assert "cannot be read" in caught.value.cause and caught.value.hint
    assert len(str(caught.value)) < 600
    return caught.value.cause


def test_tags_of_pythons_are_data(tmp_path):
    path = tmp_path / "config.yml"
    path.write_text(TAGGED)
    found = read_config(path)
    assert found["data"] == {"channels": 3, "image_size": 16, "rescaled": True}
    assert found["diffusion"] == {"beta_end": 0.02}
    assert found["kept"] == [4, "x", 7]
    assert found["device"] == ["cuda"] and found["folder"] == ["/", "tmp"]
    assert found["easy"] == {"a": 1}


def test_what_ddims_training_writes_loads_as_the_plain_file(tmp_path):
    case = golden("DDIM/cifar_like")
    told = case.config["config"]
    lines = ["!!python/object:argparse.Namespace"]
    for name, section in told.items():
        if isinstance(section, dict):
            lines.append(f"{name}: !!python/object:argparse.Namespace")
            lines += ["  " + line for line in yaml.safe_dump(section).splitlines()]
        else:
            lines.append(f"{name}: {json.dumps(section)}")
    path = tmp_path / "config.yml"
    path.write_text("\n".join(lines))
    checkpoint = folder_of("DDIM/cifar_like") / "model.pth"
    tagged, plain = (ls.load_model("ddim", checkpoint, config) for config in (path, told))
    assert tagged.definition == plain.definition


@pytest.mark.parametrize(
    "text",
    (
        "!!python/object/apply:os.system ['touch {}']",
        "!!python/object/new:os.system ['touch {}']",
        "x: !!python/object/apply:builtins.eval [\"open('{}', 'w')\"]",
        "!!python/object/apply:subprocess.check_output [[touch, '{}']]",
        "!!python/name:os.system",
        "!!python/module:os",
    ),
)
def test_no_tag_runs(text, tmp_path):
    marker = tmp_path / "marker"
    path = tmp_path / "config.yaml"
    path.write_text(text.format(marker))
    try:
        assert isinstance(read_config(path), dict)
    except UsageError as error:
        assert error.hint
    assert not marker.exists()


BOMBS = {
    "nested deeper than 32 levels": "x: " + "[" * 3000 + "]" * 3000,
    "nested deeper": '{"x": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "*r contains itself": "x: &r {y: *r}",
    "20,000 values, aliases followed": "a0: &a0 [1, 2]\n"
    + "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 20)),
    "more than 200 aliases": "a0: &a0 {k: 1}\na1: {<<: [" + ", ".join(["*a0"] * 500) + "]}",
    "mapping of more": "a0: &a0 {"
    + ", ".join(f"k{n}: 1" for n in range(900))
    + "}\na1: &a1 {<<: *a0, "
    + ", ".join(f"m{n}: 1" for n in range(900))
    + "}",
    "more than 100 digits": "x: 0x" + "f" * 50_000,
    "huge number": '{"x": 1' + "0" * 1000 + "}",
    "more than 256 KiB": "x: " + "y" * 300_000,
    "more than 20,000 values": "x: [" + "1, " * 50_000 + "]",
    "stands there twice": "image_size: 8\nimage_size: 16\n",
    "the key 'image_size' stands there twice": '{"image_size": 8, "image_size": 16}',
    "the key 'depth' stands there twice": '{"a": [{"depth": 8, "depth": 8}]}',
    "the key '1' stands": "1: 8\n'1': 16\n",
    "more than 1,000 names": "\n".join(f"n{n}: 1" for n in range(2000)),
    "no mapping": "- 1\n- 2\n",
    "not text": b"\xff\xfe\x80\x81",
    "line 3: expected": "a: 1\nb: [1\n",
    "line 1: the tag !unknown": "x: !unknown 1",
    "line 1: the key in brackets": "? [a]\n: 1",
}


@pytest.mark.parametrize("what", BOMBS)
def test_greedy_and_broken_configs_are_refused_in_one_message(what, tmp_path):
    path = tmp_path / "config.yaml"
    text = BOMBS[what]
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    said = refused(path)
    assert what in said


def test_merges_aliases_and_marks_are_read(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(
        "\ufeffa: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: *a\nd: 1.5\ne: 0x10\n", "utf-8"
    )
    found = read_config(path)
    assert found == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}, "c": {"x": 1, "y": 2}} | {
        "d": 1.5,
        "e": 16,
    }


def test_keys_are_text_and_times_of_base_60_too(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("1: a\nyes: 1:30\nday: 2024-01-01\n")
    assert read_config(path) == {"1": "a", "yes": "1:30", "day": "2024-01-01"}


def test_the_content_decides_which_of_the_two_it_is(tmp_path):
    for name, text in (("a.json", "x: 1\n"), ("a.yaml", '{"x": 1}'), ("a.txt", "{x: 1}")):
        (tmp_path / name).write_text(text)
        assert read_config(tmp_path / name) == {"x": 1}


def test_published_configs_stay_readable():
    for path in Path(folder_of("LDM/celeba_like")).glob("config.*"):
        assert read_config(path)
