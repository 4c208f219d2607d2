"""Six study files, one command, six rows: a tiny checkpoint of each framework, end to end."""

import json

import numpy as np
import pytest
import torch
import yaml
from diffusers import AutoencoderKL
from PIL import Image

from lambda_search.store.lookup import best
from tests.golden import folder_of
from tests.golden import golden
from tests.test_end_to_end import start

pytestmark = pytest.mark.slow

STUDIES = {
    "adm": ("ADM/cifar_like/model.pt", {"name": "ancestral"}),
    "ddim": ("DDIM/cifar_like/model.pth", {"name": "ddim"}),
    "edm": ("EDM/ddpmpp_uncond/network.pkl", {"name": "heun"}),
    "ldm": ("LDM/celeba_like/model.ckpt", {"name": "ddim", "site": "x0_only"}),
    "dit": ("DiT/tiny/0050000.pt", {"name": "ancestral", "guidance": 1.5}),
    "pfgmpp": ("PFGM++/ddpmpp_uncond/training-state-000123.pt", {"name": "heun"}),
}


@pytest.fixture
def studies(tmp_path):
    """A folder with six study files, the reference's images, and a decoder for DiT's latents."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    generator = np.random.default_rng(0)
    for i in range(130):
        coarse = generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((16, 16), Image.Resampling.BICUBIC).save(
            pictures / f"{i}.png"
        )
    torch.manual_seed(0)
    AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
    ).save_pretrained(tmp_path / "vae")
    flags, dit = golden("ADM/cifar_like").config["model_flags"], golden("DiT/tiny").config
    (tmp_path / "adm.json").write_text(json.dumps(flags))
    configs = {
        "adm": "adm.json",
        "ddim": str(folder_of("DDIM/cifar_like/config.yml")),
        "dit": dit["model_kwargs"] | {"vae": "vae"},
    }
    for name, (checkpoint, sampler) in STUDIES.items():
        study = {
            "name": name,
            "model": {
                "framework": name,
                "checkpoint": str(folder_of(checkpoint)),
                "config": configs.get(name),
            },
            "sampler": sampler | {"steps": 4, "batch": 16},
            "search": {"mean": [0.98, 1.04], "trials": 3, "parallel": 2},
            "metric": {
                "name": "fid",
                "extractor": "bundled",
                "reference": "images:pictures",
                "rungs": [16],
            },
            "confirm": {"top": 1, "samples": 32},
        }
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(study))
    return tmp_path


def test_six_rows_from_six_study_files_in_one_command(studies, home):
    launched = start("launch", studies, "--workers", 2, home=home)
    _, err = launched.communicate(timeout=400)
    assert launched.returncode == 0, err
    for name, (_, sampler) in STUDIES.items():
        row = best(name, 4, sampler["name"])
        assert row.setting.framework == name
        assert row.status in ("confirmed", "measured")
        assert row.n == 32
        assert np.isfinite(row.fid) and np.isfinite(row.baseline_fid)
        assert row.setting.reference.startswith("pictures@")
    guided = best("dit", 4, "ancestral")
    assert guided.setting.guidance == 1.5
    assert best("ldm", 4, "ddim").setting.site == "x0_only"
