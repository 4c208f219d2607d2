"""DDIM models against the authors' own code (tests/golden.py) and against diffusers' network."""

import numpy as np
import pytest
import torch
import yaml
from diffusers import UNet2DModel
from safetensors.torch import save_file

from lambda_search.diffusion.noise import normal
from lambda_search.errors import UsageError
from lambda_search.models.ddim.model import load
from lambda_search.models.ddim.network import DDIMNetwork
from lambda_search.models.pickles.read import read_pickle
from lambda_search.models.sampling import sample
from lambda_search.schedule import LambdaSchedule
from tests.asking import asked
from tests.asking import at
from tests.golden import folder_of

DATA = folder_of("DDIM")
FILES = {"cifar_like": "model.pth", "train_list": "ckpt.pth"}
RUNS = {  # the golden runs: sampler and options
    "uniform_eta0": ("ddim", {"grid": "uniform", "eta": 0.0}),
    "uniform_eta1": ("ddim", {"grid": "uniform", "eta": 1.0}),
    "quad_eta0": ("ddim", {"grid": "quad", "eta": 0.0}),
    "quad_eta1": ("ddim", {"grid": "quad", "eta": 1.0}),
    "ddpm_uniform": ("ancestral", {"grid": "uniform"}),
}
CASES = [("cifar_like", run) for run in RUNS] + [("train_list", "uniform_eta0")]


def golden(case):
    with np.load(DATA / case / "golden.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def config_of(case="cifar_like", **entries):
    """The case's config with `section__entry` values replaced; None removes one."""
    config = yaml.safe_load((DATA / case / "config.yml").read_text())
    for name, value in entries.items():
        section, entry = name.split("__")
        config[section].pop(entry, None)
        if value is not None:
            config[section][entry] = value
    return config


def load_case(case="cifar_like", config=None):
    config = DATA / case / "config.yml" if config is None else config
    return load(str(DATA / case / FILES[case]), config, torch.device("cpu"))


def schedule_of(data, setting):
    b, k = data["lambda_bk"][setting].tolist()
    return LambdaSchedule(b, k)


def off(found, expected):
    """max|found − expected| in units of max|expected|."""
    return float((found - expected).abs().max() / expected.abs().max())


def refused(call):
    with pytest.raises(UsageError) as caught:
        call()
    assert caught.value.hint
    return caught.value.cause


# -- golden data


@pytest.mark.parametrize("case", FILES)
def test_forward(case):
    model, data = load_case(case), golden(case)
    for x, t, out in zip(data["fwd_x"], data["fwd_t"], data["fwd_out"], strict=True):
        prediction = model.predict(x, at(t), None, asked())
        assert off(prediction.epsilon, out) < 1e-5
        assert prediction.variance_logit is None


@pytest.mark.parametrize("setting", range(4))
@pytest.mark.parametrize(("case", "run"), CASES)
def test_samples(case, run, setting):
    data = golden(case)
    sampler, options = RUNS[run]
    found = sample(
        load_case(case),
        sampler,
        10,
        schedule_of(data, setting),
        initial=data["x_T"],
        step_noise=list(data["noise"]),
        options=options,
    )
    assert off(found, data[f"{run}__L{setting}__final"]) < 1e-4


@pytest.mark.parametrize(("case", "run"), CASES)
def test_every_state_and_estimate_of_a_run(case, run):
    """The states that the network sees are the golden run's, and so is x0 where it is recorded."""
    data = golden(case)
    model = load_case(case)
    sampler, options = RUNS[run]
    seen = []
    final = sample(
        model,
        sampler,
        10,
        schedule_of(data, 3),
        initial=data["x_T"],
        step_noise=list(data["noise"]),
        options=options,
        observe=seen.append,
    )
    times = [step.level.timestep for step in seen]
    assert times == data[f"{run}__seq"].flip(0).tolist()
    states = [step.state for step in seen[1:]] + [final]
    for state, expected in zip(states, data[f"{run}__L3__x_steps"], strict=True):
        assert off(state, expected) < 1e-4
    for j, expected in enumerate(data.get(f"{run}__L3__x0_steps", [])):
        level, said = seen[j].level, seen[j].prediction
        epsilon = said.epsilon / float(data[f"{run}__lambda"][3, level.index])
        assert off((seen[j].state - level.sigma * epsilon) / level.alpha, expected) < 1e-4


def test_the_training_list_holds_two_sets_of_weights():
    """The EMA by default; the raw weights, with their prefix taken off, where `ema` is false."""
    data = golden("train_list")
    ema, raw = (
        load_case("train_list"),
        load_case("train_list", config_of("train_list", model__ema=False)),
    )
    assert ema.sha256 == raw.sha256
    assert ema.definition != raw.definition
    x, t, out = data["fwd_x"][1], float(data["fwd_t"][1]), data["fwd_out"][1]
    assert off(ema.predict(x, at(t), None, asked()).epsilon, out) < 1e-5
    assert off(raw.predict(x, at(t), None, asked()).epsilon, out) > 0.02


def test_noise_levels():
    """ᾱ is the float32 product of the golden β."""
    model, betas = load_case(), golden("cifar_like")["betas"]
    grid = model.grid(model.resolve(asked("ddim", 1000)))
    alpha_bar = (1 - betas).cumprod(0).tolist()
    assert grid.alpha == tuple(a**0.5 for a in alpha_bar)
    assert grid.alpha_next == (1.0, *grid.alpha[:-1])


# -- the network against another library's


def released_unet(**changes):
    config = {
        "resolution": 32,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 128,
        "ch_mult": (1, 2, 2, 2),
        "num_res_blocks": 2,
        "attn_resolutions": (16,),
    }
    return DDIMNetwork(**(config | changes))


def library_unet(**changes):
    """google/ddpm-cifar10-32, the same network in diffusers."""
    down = ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D")
    up = ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D")
    config = {
        "sample_size": 32,
        "block_out_channels": (128, 256, 256, 256),
        "down_block_types": down,
        "up_block_types": up,
        "layers_per_block": 2,
        "attention_head_dim": None,
        "downsample_padding": 0,
        "flip_sin_to_cos": False,
        "freq_shift": 1,
        "norm_eps": 1e-6,
    }
    return UNet2DModel(**(config | changes))


def test_the_cifar10_network_has_the_papers_size():
    """35.7 million parameters (Ho et al. 2020, app. B), as many as the library's."""
    with torch.device("meta"):
        ours, theirs = released_unet(), library_unet()
    count = sum(parameter.numel() for parameter in ours.parameters())
    assert count == 35_746_307
    assert count == sum(parameter.numel() for parameter in theirs.parameters())


def test_two_attention_levels_agree_with_the_library():
    """Widths 32, 64, 96, with attention at 16 and 4: the golden networks attend at 8 alone."""
    torch.manual_seed(0)
    attn = ("AttnDownBlock2D", "DownBlock2D", "AttnDownBlock2D")
    theirs = library_unet(
        sample_size=16,
        block_out_channels=(32, 64, 96),
        down_block_types=attn,
        up_block_types=tuple(name.replace("Down", "Up") for name in reversed(attn)),
        layers_per_block=1,
    ).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    with torch.device("meta"):
        ours = released_unet(
            resolution=16, ch=32, ch_mult=(1, 2, 3), num_res_blocks=1, attn_resolutions=(16, 4)
        )
    names = {
        "temb.dense.0": "time_embedding.linear_1",
        "temb.dense.1": "time_embedding.linear_2",
        "temb_proj": "time_emb_proj",
        "nin_shortcut": "conv_shortcut",
        "downsample": "downsamplers.0",
        "upsample": "upsamplers.0",
        "mid.block_1": "mid_block.resnets.0",
        "mid.block_2": "mid_block.resnets.1",
        "mid.attn_1": "mid_block.attentions.0",
        ".attn.": ".attentions.",
        ".block.": ".resnets.",
        "norm_out": "conv_norm_out",
        "proj_out": "to_out.0",
        ".q.": ".to_q.",
        ".k.": ".to_k.",
        ".v.": ".to_v.",
        "down.": "down_blocks.",
        "up.0": "up_blocks.2",
        "up.1": "up_blocks.1",
        "up.2": "up_blocks.0",
    }
    state, theirs_by_name = {}, theirs.state_dict()
    for name, parameter in ours.state_dict().items():
        other = name
        for old, new in names.items():
            starts = old.startswith(("up.", "down.", "mid.", "temb.", "norm_out"))
            if other.startswith(old) if starts else old in other:
                other = other.replace(old, new, 1)
        if "attentions" in other:
            other = other.replace(".norm.", ".group_norm.")
        state[name] = theirs_by_name[other].reshape(parameter.shape)
    ours.load_state_dict(state, assign=True)
    x, t = normal(0, range(2), 0, (3, 16, 16)), torch.tensor([7.0, 930.0])
    with torch.no_grad():
        assert off(ours(x, t), theirs(x, t).sample) < 1e-5


def test_resampling_without_convolutions():
    """Averages of 2 × 2 pixels down, repeated pixels up, and no parameters."""
    with torch.device("meta"):
        names = released_unet(resamp_with_conv=False).state_dict()
    assert not any("sample" in name for name in names)
    network = released_unet(
        resolution=4, ch=32, ch_mult=(1, 1), num_res_blocks=1, resamp_with_conv=False
    )
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    down = network.down[0].downsample(x)
    assert down.flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert torch.equal(
        network.up[1].upsample(down), down.repeat_interleave(2, 2).repeat_interleave(2, 3)
    )
    assert network(torch.zeros(1, 3, 4, 4), torch.zeros(1)).shape == (1, 3, 4, 4)


# -- grids and options


def times_of(model, word, steps):
    return list(model.grid(asked("ddim", steps, grid=word)).timesteps)


def test_a_uniform_grid_may_have_more_steps_than_asked_for():
    model = load_case()
    assert times_of(model, "uniform", 10) == list(range(0, 1000, 100))
    assert times_of(model, "uniform", 12) == list(range(0, 1000, 83))
    assert len(times_of(model, "uniform", 12)) == 13
    assert len(times_of(model, "uniform", 501)) == 1000


def test_a_quadratic_grid_repeats_its_lowest_timesteps():
    model = load_case()
    assert times_of(model, "quad", 5) == [0, 50, 200, 450, 800]
    times = times_of(model, "quad", 50)
    assert times[:4] == [0, 0, 1, 2]
    assert len(times) == 50
    x = normal(0, range(2), 0, model.shape)
    runs = [
        sample(model, name, 40, LambdaSchedule(), initial=x, options={"grid": "quad"} | options)
        for name, options in [("ddim", {}), ("ddim", {"eta": 1}), ("ancestral", {})]
    ]
    assert all(run.isfinite().all() for run in runs)


@pytest.mark.parametrize("steps", [1, 1001])
@pytest.mark.parametrize("word", ["uniform", "quad"])
def test_impossible_steps(word, steps):
    model = load_case()
    cause = refused(lambda: model.grid(asked("ddim", steps, grid=word)))
    assert cause == f"A DDIM grid cannot have {steps} steps."


def test_a_grid_that_starts_in_pure_noise_is_refused():
    """`jsd` has β = 1/(1000 − t), so that ᾱ = (999 − t)/1000, which is 0 at the end."""
    model = load_case(config=config_of(diffusion__beta_schedule="jsd"))
    grid = model.grid(asked("ddim", 10, grid="uniform"))
    alpha_bar = [(999 - t) / 1000 for t in range(0, 1000, 100)]
    assert [a**2 for a in grid.alpha] == pytest.approx(alpha_bar, rel=1e-4)
    cause = refused(lambda: model.grid(asked("ddim", 1000, grid="uniform")))
    assert cause == "1000 steps start at timestep 999, which is pure noise."


@pytest.mark.parametrize(
    ("name", "first", "middle", "last"),
    [
        ("linear", 1e-4, (1e-4 + 0.02) / 2, 0.02),
        ("quad", 1e-4, ((1e-4**0.5 + 0.02**0.5) / 2) ** 2, 0.02),
        ("const", 0.02, 0.02, 0.02),
        (
            "sigmoid",
            1e-4 + 0.0199 / (1 + np.exp(6)),
            (1e-4 + 0.02) / 2,
            1e-4 + 0.0199 / (1 + np.exp(-6)),
        ),
    ],
)
def test_beta_schedules(name, first, middle, last):
    """β of the first, middle and last of 999 timesteps, read off a full grid's ᾱ."""
    config = config_of(diffusion__beta_schedule=name, diffusion__num_diffusion_timesteps=999)
    model = load_case(config=config)
    grid = model.grid(asked("ddim", 999, grid="uniform"))
    betas = [1 - (a / b) ** 2 for a, b in zip(grid.alpha, grid.alpha_next, strict=True)]
    assert [betas[0], betas[499], betas[998]] == pytest.approx([first, middle, last], rel=1e-3)


@pytest.mark.parametrize(
    ("sampler", "given", "expected"),
    [
        ("ddim", {}, {"grid": "uniform", "eta": 0.0, "clip": False}),
        ("ddim", {"eta": 0.5, "clip": True}, {"grid": "uniform", "eta": 0.5, "clip": True}),
        ("ancestral", {}, {"grid": "uniform", "variance": "large", "clip": True}),
        ("ancestral", {"variance": "small", "clip": False, "grid": "quad"}, {}),
    ],
)
def test_open_options_are_the_authors_own(sampler, given, expected):
    model = load_case()
    found = model.resolve(asked(sampler, 10, **given))
    said = found.options.model_dump(exclude_none=True)
    assert said == {"precision": "fp32", "batch": 64} | given | expected
    assert model.resolve(found) == found


@pytest.mark.parametrize(
    ("sampler", "options", "said"),
    [
        ("heun", {}, "cannot be sampled with 'heun'"),
        ("ddim", {"grid": "ddim20"}, "no grid 'ddim20'"),
        ("ddim", {"variance": "small"}, "no option 'variance'"),
        ("ancestral", {"eta": 0.5}, "no option 'eta'"),
        ("ancestral", {"s_churn": 1.0}, "no option 's_churn'"),
        ("ancestral", {"variance": "learned"}, "has not learned its variance"),
    ],
)
def test_options_that_it_does_not_have(sampler, options, said):
    model = load_case()
    assert said in refused(lambda: model.resolve(asked(sampler, 10, **options)))


# -- images


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"data__rescaled": True}, [-1.2, 0.0, 0.5]),
        ({"data__rescaled": False}, [-3.4, -1.0, 0.0]),
        ({"data__rescaled": False, "data__logit_transform": True}, None),
    ],
)
def test_images_lie_between_minus_one_and_one(data, expected):
    """The authors' inverse transform gives [0, 1]; twice that less 1 is asked for here."""
    model = load_case(config=config_of(**data))
    x = torch.tensor([-1.2, 0.0, 0.5])
    expected = (x / 2).tanh().tolist() if expected is None else expected  # 2·sigmoid(x) − 1
    assert model.decode(x).tolist() == pytest.approx(expected, abs=1e-6)
    images = torch.linspace(-1, 1, 5)
    states = model.encode(images)
    assert states.isfinite().all()
    assert model.decode(states).tolist() == pytest.approx(images.tolist(), abs=1e-5)


# -- files


def test_safetensors_hold_the_same_model(tmp_path):
    state = read_pickle(DATA / "cifar_like" / "model.pth")
    save_file(
        {f"module.{name}": value for name, value in state.items()}, tmp_path / "m.safetensors"
    )
    model = load(str(tmp_path / "m.safetensors"), config_of(), torch.device("cpu"))
    x = golden("cifar_like")["fwd_x"][0]
    said = [m.predict(x, at(5.0), None, asked()).epsilon for m in (model, load_case())]
    assert torch.equal(*said)
    assert model.sha256 != load_case().sha256


def test_a_wrong_config_lists_the_first_names_that_differ():
    cause = refused(lambda: load_case(config=config_of(model__num_res_blocks=2)))
    assert "down.0.block.1.norm1.weight is missing" in cause
    cause = refused(lambda: load_case(config=config_of(model__attn_resolutions=[])))
    assert "down.1.attn.0.norm.weight is left over" in cause
    cause = refused(lambda: load_case(config=config_of(model__ch=64)))
    assert "temb.dense.0.weight is 128×32" in cause


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"model__ch": 40}, "model.ch: "),
        ({"model__ch": None}, "model.ch: Field required"),
        ({"data__image_size": 15}, "data.image_size must be a multiple of 2"),
        ({"diffusion__beta_schedule": "cosine"}, "diffusion.beta_schedule: "),
        ({"model__ch_mult": "1,2"}, "model.ch_mult: "),
    ],
)
def test_a_config_that_cannot_be(entries, said):
    cause = refused(lambda: load_case(config=config_of(**entries)))
    assert cause.startswith("The DDIM config: ")
    assert said in cause


def test_a_config_is_needed():
    path = str(DATA / "cifar_like" / "model.pth")
    cause = refused(lambda: load(path, None, torch.device("cpu")))
    assert cause == "A DDIM model needs a config."


@pytest.mark.parametrize("content", [7, [1, 2, 3, 4, 5], {"epoch": 3}])
def test_files_that_are_no_checkpoint(tmp_path, content):
    torch.save(content, tmp_path / "model.pth")
    cause = refused(lambda: load(str(tmp_path / "model.pth"), config_of(), torch.device("cpu")))
    assert "where one state dict is needed, it holds none" in cause


def test_a_list_without_ema_needs_a_config_without_it(tmp_path):
    content = read_pickle(DATA / "train_list" / "ckpt.pth")[:4]
    torch.save(content, tmp_path / "ckpt.pth")

    def read(ema):
        config = config_of("train_list", model__ema=ema)
        return load(str(tmp_path / "ckpt.pth"), config, torch.device("cpu"))

    assert "holds no EMA weights" in refused(lambda: read(True))
    assert read(False).shape == (3, 8, 8)


def test_broken_safetensors(tmp_path):
    (tmp_path / "m.safetensors").write_bytes(b"\x00" * 40)
    path = str(tmp_path / "m.safetensors")
    assert "begins with zeros" in refused(lambda: load(path, config_of(), torch.device("cpu")))
