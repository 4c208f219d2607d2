"""Every framework passes the contract that ships."""

import json

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers import EulerDiscreteScheduler

from lambda_search.models.registry import frameworks
from lambda_search.models.registry import load_model
from lambda_search.testing.frameworks import Case
from lambda_search.testing.frameworks import FrameworkContract
from tests.asking import asked
from tests.golden import folder_of
from tests.golden import golden
from tests.models import tiny_pipelines as tiny


def _adm(tmp_path):
    flags = golden("ADM/cifar_like").config["model_flags"]
    return Case(
        lambda: load_model("adm", folder_of("ADM/cifar_like/model.pt"), flags),
        images=(3, 16, 16),
        alike=[
            (asked("ddim", 20, grid="4,3,5"), asked("ddim", 12, grid="4, 3,5")),
            (asked("ddim", 20), asked("ddim", 20, grid="20", clip=True, eta=-0.0)),
            (asked("ddim", 334, grid="ddim"), asked("ddim", 334)),
            (asked("ancestral", 9, grid="1,1"), asked("ancestral", 2, grid="ddim2")),
        ],
    )


def _ddim(tmp_path):
    folder = folder_of("DDIM/cifar_like")
    return Case(
        lambda: load_model("ddim", folder / "model.pth", folder / "config.yml"),
        images=(3, 16, 16),
        steps=3,  # the grid has 4
        alike=[
            (asked("ddim", 600), asked("ddim", 1000, grid="uniform")),
            (asked("ddim", 400), asked("ddim", 500)),
            (asked("ddim", 72), asked("ddim", 76)),
        ],
    )


def _edm(tmp_path):
    path = folder_of("EDM/ddpmpp_uncond/network.pkl")
    return Case(
        lambda: load_model("edm", path),
        images=(3, 16, 16),
        alike=[
            (asked("heun", 5), asked("heun", 5, s_churn=0.0, s_noise=1.003)),
            (asked("heun", 5), asked("heun", 5, s_churn=2.0, s_max=1e-9)),
            (asked("heun", 5, s_churn=50.0), asked("heun", 5, s_churn=99.0, s_max=1e4)),
            (asked("heun", 5, s_churn=1.0, s_min=0.1), asked("heun", 5, s_churn=1.0, s_min=0.11)),
        ],
    )


def _pfgmpp(tmp_path):
    path = folder_of("PFGM++/ddpmpp_uncond/training-state-000123.pt")
    return Case(lambda: load_model("pfgmpp", path), images=(3, 16, 16))


def _ldm(tmp_path):
    path = folder_of("LDM/celeba_like/model.ckpt")
    image = tuple(golden("LDM/celeba_like").tensor("full_eta1__L0__decoded").shape[1:])
    alike = [(asked("ddim", 400), asked("ddim", 500, clip=False, eta=1.0))]
    return Case(lambda: load_model("ldm", path), image, alike=alike)


def _latents_only(tmp_path):
    """DiT without a decoder."""
    path = next(iter(sorted(folder_of("DiT/tiny").glob("*.pt"))))
    config = golden("DiT/tiny").config["model_kwargs"]
    return Case(lambda: load_model("dit", path, config), images=None)


def _dit(tmp_path):
    tiny.autoencoder().save_pretrained(tmp_path / "vae")
    path = next(iter(sorted(folder_of("DiT/tiny").glob("*.pt"))))
    config = golden("DiT/tiny").config["model_kwargs"] | {"vae": str(tmp_path / "vae")}
    alike = [(asked("ancestral", 7, guidance=1.0), asked("ancestral", 7, grid="7"))]
    return Case(lambda: load_model("dit", path, config), images=(3, 16, 16), alike=alike)


def _diffusers(make_pipeline):
    folder = make_pipeline(DDPMScheduler())
    alike = [
        (asked("ddim", 1000, grid="linspace"), asked("ddim", 1000)),
        (asked("euler", 5), asked("euler", 5, s_churn=0.0)),
    ]
    return Case(lambda: load_model("diffusers", folder), images=(1, 8, 8), alike=alike)


def _on_sigma(make_pipeline):
    """A scheduler that walks σ between timesteps, and a network that says v."""
    folder = make_pipeline(DDPMScheduler())
    scheduler = EulerDiscreteScheduler(prediction_type="v_prediction", use_karras_sigmas=True)
    scheduler.save_pretrained(folder / "scheduler")
    index = json.loads((folder / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", "EulerDiscreteScheduler"]
    (folder / "model_index.json").write_text(json.dumps(index))
    return Case(lambda: load_model("diffusers", folder), images=(1, 8, 8))


def _text_to_image(tmp_path):
    folder = tiny.stable_diffusion(tmp_path / "pipeline")
    prompts = {"prompts": ["a b", "c", "d e"]}
    return Case(lambda: load_model("diffusers", folder, prompts), images=(3, 16, 16))


CASES = {
    "adm": _adm,
    "ddim": _ddim,
    "edm": _edm,
    "pfgmpp": _pfgmpp,
    "ldm": _ldm,
    "dit": _dit,
    "dit latents only": _latents_only,
    "diffusers": _diffusers,
    "diffusers on sigma": _on_sigma,
    "diffusers text": _text_to_image,
}


class TestEveryFramework(FrameworkContract):
    @pytest.fixture(scope="class", params=CASES)
    @classmethod
    def case(cls, request, tmp_path_factory, make_pipeline):
        make = CASES[request.param]
        from_noise = make in (_diffusers, _on_sigma)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return make(make_pipeline if from_noise else tmp_path_factory.mktemp("case"))


def test_no_framework_is_left_out():
    assert {name.partition(" ")[0] for name in CASES} == set(frameworks())
