"""LDM models against the authors' own code (tests/golden.py) and against diffusers' networks."""

import copy
import shutil

import numpy as np
import pytest
import torch
import yaml
from diffusers import AutoencoderKL
from diffusers import DDPMScheduler
from diffusers import UNet2DConditionModel
from diffusers import UNet2DModel
from diffusers import VQModel
from safetensors.torch import load_file
from safetensors.torch import save_file

from lambda_search.errors import UsageError
from lambda_search.models.ldm.config import read_params
from lambda_search.models.ldm.first_stage import Decoder
from lambda_search.models.ldm.first_stage import FirstStage
from lambda_search.models.ldm.model import LDMModel
from lambda_search.models.ldm.model import build_first_stage
from lambda_search.models.ldm.model import build_unet
from lambda_search.models.ldm.model import load
from lambda_search.models.pickles.read import read_pickle
from lambda_search.models.sampling import sample
from lambda_search.schedule import LambdaSchedule
from tests.asking import asked
from tests.asking import at
from tests.golden import folder_of

FOLDER = folder_of("LDM/celeba_like")
CHECKPOINT = FOLDER / "model.ckpt"
CPU = torch.device("cpu")
RUNS = {  # the golden runs: λ's site and η
    "x0_eta1": ("x0_only", 1.0),
    "x0_eta0": ("x0_only", 0.0),
    "full_eta1": ("full", 1.0),
    "full_eta0": ("full", 0.0),
}


@pytest.fixture(scope="module")
def golden():
    with np.load(FOLDER / "golden.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


@pytest.fixture(scope="module")
def state():
    return read_pickle(CHECKPOINT)["state_dict"]


@pytest.fixture(scope="module")
def model():
    return load(str(CHECKPOINT), None, CPU)  # config.yaml lies beside it


def config_of(section="", /, **entries):
    """The golden config with entries of model.params(.section) replaced; None removes one."""
    config = yaml.safe_load((FOLDER / "config.yaml").read_text())
    place = config["model"]["params"]
    for name in filter(None, section.split(".")):
        place = place[name]
    for name, value in entries.items():
        place.pop(name, None)
        if value is not None:
            place[name] = value
    return config


def model_of(state, config):
    return LDMModel(read_params(config), state, "0" * 64, "model.ckpt", CPU)


def epsilon(model, x, time=301, labels=None, guidance=None):
    with torch.inference_mode():
        alpha_bar = model._alpha_bar[int(time)]
        level = at(time, alpha_bar**0.5, (1 - alpha_bar) ** 0.5)
        return model.predict(x, level, labels, asked(guidance=guidance)).epsilon


def grid_of(model, steps, grid="uniform"):
    return model.grid(asked("ddim", steps, eta=1.0, grid=grid, clip=False))


def off(found, expected):
    """max|found − expected| in units of max|expected|."""
    return float((found - expected).abs().max() / expected.abs().max())


def refused(call, *said):
    with pytest.raises(UsageError) as caught:
        call()
    assert caught.value.hint
    for word in said:
        assert word in str(caught.value)


# -- golden data


def test_forward(model, golden):
    for x, t, out in zip(golden["fwd_x"], golden["fwd_t"], golden["fwd_out"], strict=True):
        assert off(epsilon(model, x, float(t)), out) < 1e-5


@pytest.mark.parametrize("setting", range(4))
@pytest.mark.parametrize("run", RUNS)
def test_samples(model, golden, run, setting):
    site, eta = RUNS[run]
    latents = sample(
        model,
        "ddim",
        10,
        LambdaSchedule(*golden["lambda_bk"][setting].tolist()),
        site=site,
        initial=golden["x_T"],
        step_noise=list(golden["noise"]),
        options={"eta": eta},
        decode=False,
    )
    assert off(latents, golden[f"{run}__L{setting}__final_latent"]) < 1e-4


@pytest.mark.parametrize("run", RUNS)
def test_every_step_of_a_tilted_schedule(model, golden, run):
    site, eta = RUNS[run]
    seen = []
    sample(
        model,
        "ddim",
        10,
        LambdaSchedule(*golden["lambda_bk"][3].tolist()),
        site=site,
        initial=golden["x_T"],
        step_noise=list(golden["noise"]),
        options={"eta": eta},
        observe=seen.append,
    )
    assert len(seen) == 10
    expected = golden[f"{run}__L3__x_steps"]
    for j in range(9):  # what the network is given next is what step j has made
        assert off(seen[j + 1].state, expected[j]) < 1e-4


@pytest.mark.parametrize("setting", range(2))
@pytest.mark.parametrize("run", RUNS)
def test_decoding(model, golden, run, setting):
    images = model.decode(golden[f"{run}__L{setting}__final_latent"])
    assert off(images, golden[f"{run}__L{setting}__decoded"]) < 1e-4


def test_defaults_are_the_authors_sampling_script(model, golden):
    resolved = model.resolve(asked("ddim", 10)).options
    assert (resolved.grid, resolved.eta, resolved.clip) == ("uniform", 1.0, False)
    images = sample(
        model,
        "ddim",
        10,
        LambdaSchedule(1.017),
        initial=golden["x_T"],
        step_noise=list(golden["noise"]),
    )
    assert off(images, golden["full_eta1__L1__decoded"]) < 1e-3  # of our own latents


def test_grid_has_the_authors_levels(model, golden):
    grid = grid_of(model, 10)
    assert list(grid.timesteps) == golden["full_eta1__ddim_timesteps"].tolist()
    levels = torch.tensor(grid.alpha, dtype=torch.float64) ** 2
    after = torch.tensor(grid.alpha_next, dtype=torch.float64) ** 2
    torch.testing.assert_close(levels, golden["full_eta1__alphas"].double(), rtol=1e-14, atol=0)
    torch.testing.assert_close(after, golden["full_eta1__alphas_prev"], rtol=1e-14, atol=0)


def test_the_table_is_the_checkpoints(state):
    assert torch.equal(read_params(config_of()).alpha_bar(), state["alphas_cumprod"])


# -- weights


def test_averages_are_used_unless_the_config_forbids_it(model, state, golden):
    x = golden["fwd_x"][0]
    raw = model_of(state, config_of(use_ema=False))
    assert 0.05 < off(epsilon(raw, x), epsilon(model, x)) < 0.5
    without = {name: t for name, t in state.items() if not name.startswith("model_ema.")}
    assert torch.equal(epsilon(model_of(without, config_of()), x), epsilon(raw, x))


def test_averages_alone_are_enough(model, state, golden):
    lean = {name: t for name, t in state.items() if not name.startswith("model.")}
    x = golden["fwd_x"][0]
    assert torch.equal(epsilon(model_of(lean, config_of()), x), epsilon(model, x))


def test_safetensors(model, state, golden, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    assert len(load_file(path)) == len(state)
    converted = load(str(path), config_of(), CPU)
    assert torch.equal(epsilon(converted, golden["x_T"]), epsilon(model, golden["x_T"]))
    assert converted.definition == model.definition
    assert converted.sha256 != model.sha256


def test_measured_scale_of_the_checkpoint_wins(model, state, golden):
    z = golden["full_eta1__L0__final_latent"]
    measured = {**state, "scale_factor": torch.tensor(0.4)}
    assert torch.equal(model_of(measured, config_of()).decode(z / 2), model.decode(z))


def test_scale_that_nobody_knows(state):
    config = config_of(scale_by_std=True, scale_factor=None)
    refused(lambda: model_of(state, config), "scale_factor")


def test_missing_vae_is_missed_by_decoding_only(model, state, golden):
    lean = {name: t for name, t in state.items() if not name.startswith("first_stage_model.")}
    bare = model_of(lean, config_of())
    z = golden["x_T"]
    assert torch.equal(epsilon(bare, z), epsilon(model, z))
    refused(lambda: bare.decode(z), "a missing VAE", "first_stage_model.decoder", "decode=False")


def test_wrong_config_lists_what_differs(state):
    wider = config_of("unet_config.params", model_channels=64)
    refused(lambda: model_of(state, wider), "do not fit", "time_embed.0.weight is 128×32")
    deeper = config_of("unet_config.params", num_res_blocks=2)
    refused(lambda: model_of(state, deeper), "input_blocks.2.0.in_layers.0.weight is missing")
    other = config_of("first_stage_config.params", n_embed=32)
    refused(lambda: model_of(state, other), "quantize.embedding.weight is 64×3")
    for entries in ({"linear_end": 0.0155}, {"timesteps": 500}, {"beta_schedule": "cosine"}):
        refused(lambda entries=entries: model_of(state, config_of(**entries)), "noise schedule")


def test_files_that_are_none_of_ours(tmp_path):
    torch.save([1, 2], tmp_path / "list.ckpt")
    refused(lambda: load(str(tmp_path / "list.ckpt"), config_of(), CPU), "it holds none")
    refused(lambda: load(str(tmp_path / "none.ckpt"), config_of(), CPU), "no checkpoint at")
    refused(lambda: load(str(tmp_path / "list.ckpt"), None, CPU), "it holds none")
    alone = shutil.copy(CHECKPOINT, tmp_path / "alone.ckpt")
    refused(lambda: load(str(alone), None, CPU), "no config.yaml beside it")


# -- configs


@pytest.mark.parametrize(
    ("section", "entries", "said"),
    [
        ("", {"unet_config": None}, "model.params.unet_config"),
        ("", {"first_stage_config": None}, "model.params.first_stage_config"),
        ("", {"cond_stage_config": None}, "model.params.cond_stage_config"),
        ("", {"image_size": 9}, "multiple of 2"),
        ("", {"channels": 4}, "channels"),
        ("", {"beta_schedule": "cubic"}, "beta_schedule"),
        ("", {"given_betas": [0.1]}, "given_betas"),
        ("", {"parameterization": "score"}, "parameterization"),
        ("unet_config", {"target": "os.system"}, "unet_config.target"),
        ("unet_config.params", {"num_classes": 10}, "num_classes"),
        ("unet_config.params", {"dims": 3}, "dims"),
        ("unet_config.params", {"num_head_channels": 5}, "num_head_channels"),
        ("unet_config.params", {"context_dim": 8}, "context_dim"),
        ("first_stage_config", {"target": "os.system"}, "first_stage_config.target"),
        ("first_stage_config.params", {"n_embed": None}, "n_embed"),
        ("first_stage_config.params", {"ddconfig": None}, "ddconfig"),
        ("first_stage_config.params", {"embed_dim": 4}, "embed_dim"),
        ("first_stage_config.params.ddconfig", {"attn_type": "linear"}, "attn_type"),
    ],
)
def test_config_that_cannot_be(state, section, entries, said):
    refused(lambda: model_of(state, config_of(section, **entries)), said)


def test_config_without_its_sections():
    for config in ({}, {"model": None}, {"model": {"target": "x"}}, {"data": {}}):
        refused(lambda config=config: read_params(config), "model")


CLASSES = {
    "target": "ldm.modules.encoders.modules.ClassEmbedder",
    "params": {"embed_dim": 512, "n_classes": 1001, "key": "class_label"},
}


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"cond_stage_config": {"target": "ldm.modules.encoders.modules.BERTEmbedder"}}, "BERT"),
        ({"cond_stage_config": "__is_first_stage__"}, "__is_first_stage__"),
        ({"cond_stage_config": CLASSES, "concat_mode": True}, "'concat'"),
        ({"cond_stage_config": CLASSES, "conditioning_key": "hybrid"}, "'hybrid'"),
    ],
)
def test_conditions_of_other_kinds_are_sent_elsewhere(entries, said):
    refused(lambda: read_params(config_of(**entries)), said, "diffusers framework")
    other = config_of()
    other["model"]["target"] = "ldm.models.diffusion.ddpm.Layout2ImgDiffusion"
    refused(lambda: read_params(other), "Layout2ImgDiffusion", "diffusers framework")


# -- grids and options


def test_grids(model):
    assert list(grid_of(model, 4).timesteps) == [1, 251, 501, 751]
    assert list(grid_of(model, 12).timesteps) == list(range(1, 998, 83))  # 13, as theirs
    assert list(grid_of(model, 500).timesteps)[-1] == 999
    assert list(grid_of(model, 4, "quad").timesteps) == [1, 89, 356, 801]
    assert list(grid_of(model, 200, "quad").timesteps)[:6] == [1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(("steps", "instead"), [(1000, 500), (501, 500), (333, 334), (9, 8)])
def test_grids_that_run_past_the_table(model, steps, instead):
    refused(lambda: grid_of(model, steps), f"{steps} steps", f"Take {instead} steps")
    assert grid_of(model, instead).timesteps[-1] < 1000


@pytest.mark.parametrize("steps", [1, 1001])
def test_grids_that_are_none(model, steps):
    refused(lambda: grid_of(model, steps), f"{steps} steps")


@pytest.mark.parametrize(
    "options",
    [{"clip": True}, {"grid": "ddim10"}, {"variance": "small"}, {"s_churn": 1.0}],
)
def test_options_that_are_none(model, options):
    refused(lambda: model.resolve(asked("ddim", 10, **options)))


def test_other_samplers(model):
    refused(lambda: model.resolve(asked("ancestral", 10)), "ddim")


@pytest.mark.parametrize(
    ("ours", "theirs", "end"),
    [
        ("linear", "scaled_linear", 0.0195),
        ("sqrt_linear", "linear", 0.0195),
        ("cosine", "squaredcos_cap_v2", 0.0195),
    ],
)
def test_noise_schedules_are_diffusers(ours, theirs, end):
    config = read_params(config_of(beta_schedule=ours, linear_end=end))
    scheduler = DDPMScheduler(beta_schedule=theirs, beta_start=0.0015, beta_end=end)
    expected = scheduler.alphas_cumprod
    torch.testing.assert_close(config.alpha_bar(), expected, rtol=1e-4, atol=1e-6)


def test_noise_schedule_of_roots():
    entries = {"beta_schedule": "sqrt", "linear_start": 0.01, "linear_end": 0.04, "timesteps": 10}
    alpha_bar = read_params(config_of(**entries)).alpha_bar()
    assert alpha_bar[0].item() == pytest.approx(1 - 0.1, rel=1e-6)
    assert (alpha_bar[-1] / alpha_bar[-2]).item() == pytest.approx(1 - 0.2, rel=1e-5)


def test_grid_from_pure_noise(state):
    entries = {"beta_schedule": "sqrt", "linear_start": 0.01, "linear_end": 0.04}
    table = read_params(config_of(**entries)).alpha_bar()  # float32 has no number that small
    noisy = model_of({**state, "alphas_cumprod": table}, config_of(**entries))
    refused(lambda: grid_of(noisy, 10), "pure noise")


def test_parameterizations_say_the_same_of_a_state(model, state, golden):
    x, time = golden["x_T"], 301
    out = epsilon(model, x, time)  # the network's bare output
    alpha_bar = read_params(config_of()).alpha_bar()[time].item()
    alpha, sigma = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
    of_x0 = epsilon(model_of(state, config_of(parameterization="x0")), x, time)
    torch.testing.assert_close(alpha * out + sigma * of_x0, x)
    of_v = epsilon(model_of(state, config_of(parameterization="v")), x, time)
    x0 = (x - sigma * of_v) / alpha
    torch.testing.assert_close(alpha * of_v - sigma * x0, out, rtol=1e-4, atol=1e-4)


# -- the first stage against diffusers


def decoder_in_diffusers_words(state, levels):
    """The state dict of FirstStage under the names of diffusers' autoencoders."""
    renamed = {}
    for name, tensor in state.items():
        for level in range(levels):
            name = name.replace(f"decoder.up.{level}.", f"decoder.up_blocks.{levels - 1 - level}.")
        for ours, theirs in {
            ".block.": ".resnets.",
            ".attn.": ".attentions.",
            ".upsample.": ".upsamplers.0.",
            ".mid.block_1.": ".mid_block.resnets.0.",
            ".mid.block_2.": ".mid_block.resnets.1.",
            ".mid.attn_1.": ".mid_block.attentions.0.",
            ".nin_shortcut.": ".conv_shortcut.",
            ".norm_out.": ".conv_norm_out.",
        }.items():
            name = name.replace(ours, theirs)
        if ".attentions." in name:
            name = name.replace(".norm.", ".group_norm.").replace(".proj_out.", ".to_out.0.")
            for part in "qkv":
                name = name.replace(f".{part}.", f".to_{part}.")
            tensor = tensor.reshape(tensor.shape[:2])
        renamed[name] = tensor
    return renamed


@pytest.mark.parametrize("codes", [None, 16])
@pytest.mark.parametrize("attn_type", ["vanilla", "none"])
def test_first_stage_decodes_as_diffusers(codes, attn_type):
    torch.manual_seed(0)
    multipliers, attends = (1, 2, 2), attn_type == "vanilla"  # attention at 16 of 16, 8, 4
    resolutions = [8] if attends else []
    decoder = Decoder(
        ch=32,
        out_ch=3,
        num_res_blocks=1,
        attn_resolutions=resolutions,
        resolution=16,
        z_channels=4,
        ch_mult=multipliers,
        attn_type=attn_type,
    )
    ours = FirstStage(decoder, 4, codes).eval()
    for parameter in ours.parameters():  # norms and biases too
        torch.nn.init.normal_(parameter, std=0.1)
    up = ["UpDecoderBlock2D"] * 3
    up[1] = "AttnUpDecoderBlock2D" if attends else up[1]
    shared = {
        "block_out_channels": [32 * m for m in multipliers],
        "layers_per_block": 1,
        "latent_channels": 4,
        "down_block_types": ["DownEncoderBlock2D"] * 3,
        "up_block_types": up,
        "mid_block_add_attention": attends,
    }
    kind = VQModel(num_vq_embeddings=codes, **shared) if codes else AutoencoderKL(**shared)
    result = kind.load_state_dict(decoder_in_diffusers_words(ours.state_dict(), 3), strict=False)
    assert not result.unexpected_keys
    assert all(name.startswith(("encoder.", "quant_conv.")) for name in result.missing_keys)
    z = torch.randn(2, 4, 4, 4)
    with torch.inference_mode():
        torch.testing.assert_close(
            ours(z), kind.eval().decode(z).sample, rtol=1e-4, atol=1e-4 * ours(z).abs().max()
        )


def test_vq_model_is_given_codes_and_its_interface_is_not(state, golden):
    z = golden["full_eta1__L0__final_latent"]
    interface = model_of(state, config_of())
    plain = model_of(
        state, config_of("first_stage_config", target="ldm.models.autoencoder.VQModel")
    )
    codes = state["first_stage_model.quantize.embedding.weight"]
    cells = (z / 0.8).permute(0, 2, 3, 1)
    nearest = codes[torch.cdist(cells.reshape(-1, 3), codes).argmin(1)]
    snapped = nearest.reshape(cells.shape).permute(0, 3, 1, 2) * 0.8
    torch.testing.assert_close(plain.decode(snapped), interface.decode(z), rtol=1e-4, atol=1e-5)
    assert off(plain.decode(z), interface.decode(z)) > 1e-3


def test_identity_first_stage(state, golden):
    config = config_of(first_stage_config={"target": "ldm.models.autoencoder.IdentityFirstStage"})
    assert torch.equal(model_of(state, config).decode(golden["x_T"]), golden["x_T"] / 0.8)


# -- labels and guidance


def conditional_config(n_classes=5):
    unet = {
        "in_channels": 3,
        "out_channels": 3,
        "model_channels": 32,
        "attention_resolutions": [2, 1],
        "num_res_blocks": 1,
        "channel_mult": [1, 2],
        "num_heads": 1,
        "use_spatial_transformer": True,
        "transformer_depth": 1,
        "context_dim": 12,
    }
    condition = copy.deepcopy(CLASSES)
    condition["params"].update(embed_dim=12, n_classes=n_classes)
    config = config_of(
        cond_stage_config=condition,
        conditioning_key="crossattn",
        first_stage_config={"target": "ldm.models.autoencoder.IdentityFirstStage"},
    )
    config["model"]["params"]["unet_config"]["params"] = unet
    return config


def conditional_state(config):
    params = read_params(config)
    torch.manual_seed(1)
    unet = {
        f"model.diffusion_model.{name}": torch.randn(tensor.shape) * 0.08
        for name, tensor in build_unet(params).state_dict().items()
    }
    return {**unet, "cond_stage_model.embedding.weight": torch.randn(params.condition.rows, 12)}


@pytest.fixture(scope="module")
def conditional():
    config = conditional_config()
    return model_of(conditional_state(config), config)


def unet_in_diffusers_words(state, levels, count):
    """A guided-diffusion state dict under the names of diffusers' U-Nets."""
    renamed = {}
    parts = {
        "in_layers.0": "norm1",
        "in_layers.2": "conv1",
        "emb_layers.1": "time_emb_proj",
        "out_layers.0": "norm2",
        "out_layers.3": "conv2",
        "skip_connection": "conv_shortcut",
    }
    outer = {
        "time_embed.0": "time_embedding.linear_1",
        "time_embed.2": "time_embedding.linear_2",
        "input_blocks.0.0": "conv_in",
        "out.0": "conv_norm_out",
        "out.2": "conv_out",
        "middle_block.0": "mid_block.resnets.0",
        "middle_block.1": "mid_block.attentions.0",
        "middle_block.2": "mid_block.resnets.1",
    }
    for level in range(levels):
        for j in range(count):
            place = f"input_blocks.{1 + level * (count + 1) + j}"
            outer[f"{place}.0"] = f"down_blocks.{level}.resnets.{j}"
            outer[f"{place}.1"] = f"down_blocks.{level}.attentions.{j}"
        outer[f"input_blocks.{(level + 1) * (count + 1)}.0.op"] = (
            f"down_blocks.{level}.downsamplers.0.conv"
        )
        for j in range(count + 1):
            place = f"output_blocks.{level * (count + 1) + j}"
            outer[f"{place}.0"] = f"up_blocks.{level}.resnets.{j}"
            outer[f"{place}.1"] = f"up_blocks.{level}.attentions.{j}"
            outer[f"{place}.2.conv"] = f"up_blocks.{level}.upsamplers.0.conv"
    for name, tensor in state.items():
        start = max((old for old in outer if name.startswith(f"{old}.")), key=len)
        rest = name.removeprefix(f"{start}.")
        part = next((old for old in parts if rest.startswith(f"{old}.")), None)
        if part is not None:
            rest = parts[part] + rest.removeprefix(part)
        renamed[f"{outer[start]}.{rest}"] = tensor
    return renamed


def test_conditional_network_is_diffusers(conditional):
    config = conditional_config()
    state = conditional_state(config)
    theirs = UNet2DConditionModel(
        sample_size=8,
        in_channels=3,
        out_channels=3,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=["CrossAttnDownBlock2D"] * 2,
        up_block_types=["CrossAttnUpBlock2D"] * 2,
        cross_attention_dim=12,
        attention_head_dim=1,  # in this class that is the number of heads
    ).eval()
    prefix = "model.diffusion_model."
    own = {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix)
    }
    theirs.load_state_dict(unet_in_diffusers_words(own, 2, 1))
    torch.manual_seed(2)
    x, labels = torch.randn(3, 3, 8, 8), torch.tensor([0, 3, 4])
    context = state["cond_stage_model.embedding.weight"][labels][:, None]
    with torch.inference_mode():
        expected = theirs(x, 301, encoder_hidden_states=context).sample
    assert off(epsilon(conditional, x, 301, labels), expected) < 1e-5


def test_guidance(conditional):
    torch.manual_seed(2)
    x, labels = torch.randn(3, 3, 8, 8), torch.tensor([0, 3, 1])
    assert (conditional.classes, conditional.null_label) == (4, 4)
    given = epsilon(conditional, x, labels=labels)
    without = epsilon(conditional, x, labels=torch.full((3,), 4))
    assert off(given, without) > 1e-3
    assert torch.equal(epsilon(conditional, x, labels=labels, guidance=1.0), given)
    close = {"rtol": 1e-4, "atol": 1e-5}
    zero = epsilon(conditional, x, labels=labels, guidance=0.0)
    torch.testing.assert_close(zero, without, **close)
    triple = epsilon(conditional, x, labels=labels, guidance=3.0)
    torch.testing.assert_close(triple, 3 * given - 2 * without, **close)


def test_samples_of_classes(conditional):
    def draw(labels=None):
        settings = {"labels": labels, "guidance": 1.5, "options": {"batch": 4}}
        return sample(conditional, "ddim", 4, LambdaSchedule(), range(3), **settings)

    drawn, fixed = draw(), draw(torch.tensor([2, 2, 2]))
    assert drawn.shape == fixed.shape == (3, 3, 8, 8)
    assert not torch.equal(drawn, fixed)


def test_classes_without_a_null_label():
    config = conditional_config(n_classes=None)  # the authors' cin256: ImageNet's 1000, no more
    model = model_of(conditional_state(config), config)
    assert (model.classes, model.null_label) == (1000, None)
    refused(lambda: model.check_conditions(torch.tensor([1]), 1.5), "guidance")


def test_class_embedding_must_be_there():
    config = conditional_config()
    state = conditional_state(config)
    del state["cond_stage_model.embedding.weight"]
    refused(lambda: model_of(state, config), "weight is missing")


# -- the released models: facts of the public repository's YAML files


def released(unet, first_stage, **params):
    shared = {
        "linear_start": 0.0015,
        "linear_end": 0.0195,
        "num_timesteps_cond": 1,
        "log_every_t": 200,
        "timesteps": 1000,
        "first_stage_key": "image",
        "monitor": "val/loss",
        "unet_config": {
            "target": "ldm.modules.diffusionmodules.openaimodel.UNetModel",
            "params": unet,
        },
        "first_stage_config": first_stage,
        "cond_stage_config": "__is_unconditional__",
    }
    target = "ldm.models.diffusion.ddpm.LatentDiffusion"
    return read_params({"model": {"target": target, "params": {**shared, **params}}})


def first_stage(kind, channels, ch_mult, attn_resolutions=(), **params):
    ddconfig = {
        "double_z": kind == "AutoencoderKL",
        "z_channels": channels,
        "resolution": 256,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 128,
        "ch_mult": list(ch_mult),
        "num_res_blocks": 2,
        "attn_resolutions": list(attn_resolutions),
        "dropout": 0.0,
    }
    loss = {"target": "torch.nn.Identity"}
    params = {"embed_dim": channels, "ddconfig": ddconfig, "lossconfig": loss, **params}
    return {"target": f"ldm.models.autoencoder.{kind}", "params": params}


def imagenet(n_classes):
    condition = copy.deepcopy(CLASSES)
    if n_classes is None:
        del condition["params"]["n_classes"]
    return {"cond_stage_config": condition, "conditioning_key": "crossattn"}


VQ4 = first_stage("VQModelInterface", 3, (1, 2, 4), n_embed=8192)
RELEASED = {
    # celeba256, ffhq256 and lsun_beds256 are the same network
    "faces and bedrooms": lambda: released(
        {
            "image_size": 64,
            "in_channels": 3,
            "out_channels": 3,
            "model_channels": 224,
            "attention_resolutions": [8, 4, 2],
            "num_res_blocks": 2,
            "channel_mult": [1, 2, 3, 4],
            "num_head_channels": 32,
        },
        VQ4,
        image_size=64,
        channels=3,
    ),
    "lsun_churches256": lambda: released(
        {
            "image_size": 32,
            "in_channels": 4,
            "out_channels": 4,
            "model_channels": 192,
            "attention_resolutions": [1, 2, 4, 8],
            "num_res_blocks": 2,
            "channel_mult": [1, 2, 2, 4, 4],
            "num_heads": 8,
            "use_scale_shift_norm": True,
            "resblock_updown": True,
        },
        first_stage("AutoencoderKL", 4, (1, 2, 4, 4), monitor="val/rec_loss"),
        image_size=32,
        channels=4,
        linear_end=0.0155,
        scale_by_std=True,
    ),
    "cin256-v2": lambda: released(
        {
            "image_size": 64,
            "in_channels": 3,
            "out_channels": 3,
            "model_channels": 192,
            "attention_resolutions": [8, 4, 2],
            "num_res_blocks": 2,
            "channel_mult": [1, 2, 3, 5],
            "num_heads": 1,
            "use_spatial_transformer": True,
            "transformer_depth": 1,
            "context_dim": 512,
        },
        VQ4,
        image_size=64,
        channels=3,
        use_ema=False,
        **imagenet(1001),
    ),
    "cin256": lambda: released(
        {
            "image_size": 32,
            "in_channels": 4,
            "out_channels": 4,
            "model_channels": 256,
            "attention_resolutions": [4, 2, 1],
            "num_res_blocks": 2,
            "channel_mult": [1, 2, 4],
            "num_head_channels": 32,
            "use_spatial_transformer": True,
            "transformer_depth": 1,
            "context_dim": 512,
        },
        first_stage("VQModelInterface", 4, (1, 2, 2, 4), [32], n_embed=16384),
        image_size=32,
        channels=4,
        **imagenet(None),
    ),
}


def unet_of_diffusers(name):
    """The same network as diffusers describes it, on the meta device."""
    shared = {"layers_per_block": 2}
    attends = ["AttnDownBlock2D", "AttnUpBlock2D"]
    crosses = ["CrossAttnDownBlock2D", "CrossAttnUpBlock2D"]
    with torch.device("meta"):
        match name:
            case "faces and bedrooms":
                return UNet2DModel(
                    block_out_channels=(224, 448, 672, 896),
                    down_block_types=["DownBlock2D", *[attends[0]] * 3],
                    up_block_types=[*[attends[1]] * 3, "UpBlock2D"],
                    attention_head_dim=32,
                    **shared,
                )
            case "lsun_churches256":
                return UNet2DModel(
                    in_channels=4,
                    out_channels=4,
                    block_out_channels=(192, 384, 384, 768, 768),
                    down_block_types=[*[attends[0]] * 4, "DownBlock2D"],
                    up_block_types=["ResnetUpsampleBlock2D", *[attends[1]] * 4],
                    downsample_type="resnet",
                    upsample_type="resnet",
                    resnet_time_scale_shift="scale_shift",
                    attn_norm_num_groups=32,
                    **shared,
                )
            case "cin256-v2":
                return UNet2DConditionModel(
                    in_channels=3,
                    out_channels=3,
                    block_out_channels=(192, 384, 576, 960),
                    down_block_types=["DownBlock2D", *[crosses[0]] * 3],
                    up_block_types=[*[crosses[1]] * 3, "UpBlock2D"],
                    cross_attention_dim=512,
                    attention_head_dim=1,
                    **shared,
                )
            case "cin256":
                return UNet2DConditionModel(
                    in_channels=4,
                    out_channels=4,
                    block_out_channels=(256, 512, 1024),
                    down_block_types=[crosses[0]] * 3,
                    up_block_types=[crosses[1]] * 3,
                    cross_attention_dim=512,
                    attention_head_dim=[8, 16, 32],
                    **shared,
                )


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


# millions, as the authors' paper lists them (arXiv:2112.10752, tables 12 to 14)
PAPER = {"faces and bedrooms": 274, "cin256-v2": 400}


@pytest.mark.parametrize("name", RELEASED)
def test_released_networks_have_as_many_parameters_as_diffusers(name):
    config = RELEASED[name]()
    count = parameters(build_unet(config))
    assert count == parameters(unet_of_diffusers(name))
    if name in PAPER:
        assert count // 10**6 == PAPER[name]


@pytest.mark.parametrize("name", RELEASED)
def test_released_first_stages_have_as_many_parameters_as_diffusers(name):
    config = RELEASED[name]().first_stage_config
    decoder = config.params.ddconfig
    levels = len(decoder.ch_mult)
    up = ["UpDecoderBlock2D"] * levels
    for resolution in decoder.attn_resolutions:
        up[levels - 1 - (256 // resolution).bit_length() + 1] = "AttnUpDecoderBlock2D"
    shared = {
        "block_out_channels": [128 * m for m in decoder.ch_mult],
        "layers_per_block": 2,
        "latent_channels": decoder.z_channels,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": up,
    }
    with torch.device("meta"):
        theirs = (
            VQModel(num_vq_embeddings=config.codes, **shared)
            if config.codes
            else AutoencoderKL(**shared)
        )
    unused = parameters(theirs.encoder) + parameters(theirs.quant_conv)
    assert parameters(build_first_stage(config)) == parameters(theirs) - unused
