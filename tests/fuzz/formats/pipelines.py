"""Folders of diffusers pipelines: configurations that lie, and weights that are damaged."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from diffusers import DDPMPipeline
from diffusers import DDPMScheduler
from diffusers import UNet2DModel

from lambda_search.models.registry import load_model
from tests.fuzz.damage import damaged
from tests.fuzz.formats import configs

NAME = "pipelines"


def healthy(folder):
    return _saved(folder / "pipeline")


def read(path):
    load_model("diffusers", path)


def cases(rng):
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        place = _saved(Path(folder))
        found = [path for path in place.rglob("*") if path.is_file()]
        whole = {str(path.relative_to(place)): path.read_bytes() for path in found}
    told = sorted(name for name in whole if name.endswith(".json"))
    while True:
        name = rng.choice(told if rng.random() < 0.8 else sorted(whole))
        if name in told and rng.random() < 0.7:
            said = json.loads(whole[name])
            what = f"values {[configs._spoil(said, rng) for _ in range(rng.choice((1, 2, 4)))]}"
            changed = json.dumps(said).encode("utf-8", "surrogatepass")
        else:
            what, changed = damaged(whole[name], rng)
        yield f"{name}: {what}"[:200], "a", whole | {name: changed[: 1 << 20]}


def _saved(folder):
    network = UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        layers_per_block=1,
        attention_head_dim=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )
    DDPMPipeline(network, DDPMScheduler()).save_pretrained(folder)
    return folder
