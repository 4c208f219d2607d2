"""DiT models against the authors' own code (tests/golden.py) and against diffusers' decoder."""

import json
from argparse import Namespace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from diffusers import DDIMScheduler
from safetensors.torch import save_file

from lambda_search.diffusion.noise import normal
from lambda_search.errors import UsageError
from lambda_search.models.dit.model import DiTConfig
from lambda_search.models.dit.model import load
from lambda_search.models.dit.network import DiTNetwork
from lambda_search.models.dit.network import sin_cos_positions
from lambda_search.models.pickles.read import read_pickle
from lambda_search.models.sampling import sample
from lambda_search.schedule import LambdaSchedule
from tests.asking import asked
from tests.asking import at
from tests.golden import folder_of

DATA = folder_of("DiT/tiny")
PLAIN, TRAINED = DATA / "model.pt", DATA / "0050000.pt"
GUIDANCE = {"cfg15": 1.5, "nocfg": None}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def golden():
    with np.load(DATA / "golden.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def config_of(**changes):
    told = json.loads((DATA / "config.json").read_text())
    return told["model_kwargs"] | told["diffusion"] | changes


def load_file(file=PLAIN, **changes):
    return load(str(file), config_of(**changes), CPU)


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


@pytest.mark.parametrize("file", [PLAIN, TRAINED])
@pytest.mark.parametrize("kind", ["fwd_out", "fwd_out_null", "fwd_out_cfg"])
def test_forward(golden, file, kind):
    model = load_file(file)
    labels = torch.full((3,), 10) if kind == "fwd_out_null" else golden["labels"]
    guidance = 1.5 if kind == "fwd_out_cfg" else None
    for x, t, out in zip(golden["fwd_x"], golden["fwd_t"], golden[kind], strict=True):
        said = model.predict(x, at(t), labels, asked(guidance=guidance))
        assert off(torch.cat([said.epsilon, said.variance_logit], dim=1), out) < 1e-5


@pytest.mark.parametrize("file", [PLAIN, TRAINED])
@pytest.mark.parametrize("setting", range(4))
@pytest.mark.parametrize("run", GUIDANCE)
def test_samples(golden, run, setting, file):
    found = sample(
        load_file(file),
        "ancestral",
        10,
        schedule_of(golden, setting),
        labels=golden["labels"],
        guidance=GUIDANCE[run],
        initial=golden["x_T"],
        step_noise=list(golden["noise"]),
        decode=False,
    )
    assert off(found, golden[f"{run}__L{setting}__final"]) < 1e-4


@pytest.mark.parametrize("run", GUIDANCE)
def test_every_state_and_estimate_of_a_run(golden, run):
    model = load_file()
    seen = []
    final = sample(
        model,
        "ancestral",
        10,
        schedule_of(golden, 3),
        labels=golden["labels"],
        guidance=GUIDANCE[run],
        initial=golden["x_T"],
        step_noise=list(golden["noise"]),
        decode=False,
        observe=seen.append,
    )
    assert [step.level.timestep for step in seen] == golden[f"{run}__timestep_map"].flip(
        0
    ).tolist()
    states = [step.state for step in seen[1:]] + [final]
    grid = model.grid(asked("ancestral", 10))
    assert [1 - (a / b) ** 2 for a, b in zip(grid.alpha, grid.alpha_next, strict=True)] == (
        pytest.approx(golden[f"{run}__betas"].tolist(), rel=1e-9)
    )
    for j, step in enumerate(seen):
        level = step.level
        epsilon = step.prediction.epsilon / float(golden[f"{run}__lambda"][3, level.index])
        x0 = (step.state - level.sigma * epsilon) / level.alpha
        assert off(x0, golden[f"{run}__L3__x0_steps"][j]) < 1e-4
        assert off(states[j], golden[f"{run}__L3__x_steps"][j]) < 1e-4


def test_the_ema_is_taken_from_a_training_checkpoint(golden):
    content = read_pickle(TRAINED)
    raw = load_file()
    raw._network.network.load_state_dict(content["model"])
    x, t, out = golden["fwd_x"][1], float(golden["fwd_t"][1]), golden["fwd_out"][1, :, :4]
    said = raw.predict(x, at(t), golden["labels"], asked()).epsilon
    assert off(said, out) > 0.02
    assert raw.sha256 != load_file(TRAINED).sha256


# -- the network


def test_positions_are_those_of_the_checkpoint():
    """The golden weights are rounded to bfloat16, exactly."""
    stored = read_pickle(PLAIN)["pos_embed"]
    assert torch.equal(sin_cos_positions(64, 4).bfloat16().float(), stored)


def test_a_file_without_positions_has_the_same_model(golden, tmp_path):
    """The fixed embedding is computed; it differs from the stored one by its rounding."""
    state = dict(read_pickle(PLAIN))
    del state["pos_embed"]
    save_file(state, tmp_path / "model.safetensors")
    model = load_file(tmp_path / "model.safetensors")
    x, t, out = golden["fwd_x"][1], float(golden["fwd_t"][1]), golden["fwd_out"][1, :, :4]
    said = model.predict(x, at(t), golden["labels"], asked()).epsilon
    assert 0 < off(said, out) < 5e-3


@torch.no_grad()
def test_tokens_are_normalised_with_a_small_constant():
    """A token of variance v becomes token/√(v + 10⁻⁶), here with v near 10⁻⁶."""
    network = DiTNetwork(2, 2, 1, 2, 8, depth=0, num_heads=1, mlp_ratio=4.0, labels=1)
    for parameter in network.parameters():
        parameter.zero_()
    network.final_layer["linear"].weight.copy_(torch.eye(8))
    network.pos_embed[0, 0] = torch.tensor([1.0, -1.0] * 4) * 1e-3
    out = network(torch.zeros(1, 1, 2, 2), torch.zeros(1), torch.zeros(1, dtype=torch.long))
    assert out.abs().flatten().tolist() == pytest.approx([0.5**0.5] * 8, rel=1e-4)


@pytest.mark.parametrize(
    ("name", "millions"),
    [("DiT-S/8", 33), ("DiT-B/4", 130), ("DiT-L/2", 458), ("DiT-XL/2", 675)],
)
def test_named_models_have_the_papers_sizes(name, millions):
    """Parameters as in the paper (arXiv:2212.09748, tab. 1 and 4), XL/2 counted by hand."""
    config = DiTConfig.model_validate({"model": name, "image_size": 256})
    with torch.device("meta"):
        network = build(config)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert round(count / 1e6) == pytest.approx(millions, abs=1)
    if name == "DiT-XL/2":
        d = 1152
        block = (4 * d * d + 4 * d) + (8 * d * d + 5 * d) + (6 * d * d + 6 * d)
        embedders = (16 * d + d) + (256 * d + d + d * d + d) + 1001 * d + 256 * d
        final = (2 * d * d + 2 * d) + (32 * d + 32)
        assert count == 28 * block + embedders + final == 675_129_632


def build(config):
    return DiTNetwork(
        input_size=config.input_size,
        patch_size=config.patch_size,
        in_channels=config.in_channels,
        out_channels=2 * config.in_channels,
        hidden_size=config.hidden_size,
        depth=config.depth,
        num_heads=config.num_heads,
        mlp_ratio=config.mlp_ratio,
        labels=config.num_classes + 1,
    )


# -- configs


def test_a_name_stands_for_sizes_and_sizes_win():
    found = DiTConfig.model_validate({"model": "DiT-L/4", "image_size": 512, "depth": 2})
    sizes = (found.input_size, found.patch_size, found.hidden_size, found.depth, found.num_heads)
    assert sizes == (64, 4, 1024, 2, 16)
    assert (found.num_classes, found.learn_sigma, found.diffusion_steps) == (1000, True, 1000)


def test_the_config_wins_over_what_training_noted():
    """`args` names DiT-S/2, which the golden weights are not."""
    assert load_file(TRAINED).shape == (4, 8, 8)
    cause = refused(lambda: load(str(TRAINED), None, CPU))
    assert "do not fit the configuration: blocks.2.attn.qkv.weight is missing" in cause


def test_without_a_config_the_model_that_training_noted_is_built(tmp_path):
    """DiT-S/8 on 64 pixels: 8 × 8 latents, one token."""
    config = DiTConfig.model_validate({"model": "DiT-S/8", "image_size": 64, "num_classes": 3})
    torch.manual_seed(0)
    state = build(config).state_dict()
    state["pos_embed"] = sin_cos_positions(384, 1)
    args = Namespace(model="DiT-S/8", image_size=64, num_classes=3, vae="ema", epochs=7)
    torch.save({"model": {}, "ema": state, "opt": {}, "args": args}, tmp_path / "7.pt")
    model = load(str(tmp_path / "7.pt"), None, CPU)
    assert (model.shape, model.classes, model.null_label) == ((4, 8, 8), 3, 3)
    given = {"model": "DiT-S/8", "image_size": 64, "num_classes": 3}
    assert load(str(tmp_path / "7.pt"), given, CPU).definition == model.definition


def test_plain_weights_need_a_config():
    assert "does not say which DiT it is" in refused(lambda: load(str(PLAIN), None, CPU))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"num_classes": 1000},
            "y_embedder.embedding_table.weight is 11×64 and should be 1001×64",
        ),
        ({"class_dropout_prob": 0.0}, "table.weight is 11×64 and should be 10×64"),
        ({"learn_sigma": False}, "final_layer.linear.weight is 32×64 and should be 16×64"),
        ({"depth": 1}, "blocks.1.attn.qkv.weight is left over"),
    ],
)
def test_a_wrong_config_lists_the_first_names_that_differ(changes, said):
    assert said in refused(lambda: load_file(**changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_clases": 10}, "no argument 'num_clases'"),
        ({"num_heads": 5}, "num_heads"),
        ({"patch_size": 3}, "patch_size"),
        ({"hidden_size": "wide"}, "hidden_size: "),
        ({"noise_schedule": "squared"}, "noise_schedule: "),
        ({"model": "DiT-M/2"}, "model must be DiT-S, -B, -L or -XL"),
        ({"image_size": 100}, "image_size must be a multiple of 8"),
    ],
)
def test_a_config_that_cannot_be(changes, said):
    cause = refused(lambda: load_file(**changes))
    assert cause.startswith("The DiT config: ")
    assert said in cause


# -- options, grids, conditions


@pytest.mark.parametrize(
    ("sampler", "given", "expected"),
    [
        ("ancestral", {}, {"grid": "20", "variance": "learned", "clip": False}),
        ("ancestral", {"grid": "ddim", "variance": "small"}, {"grid": "ddim20", "clip": False}),
        ("ddim", {}, {"grid": "20", "eta": 0.0, "clip": False}),
        ("ddim", {"eta": 1.0, "clip": True}, {"grid": "20"}),
    ],
)
def test_open_options_are_the_authors_own(sampler, given, expected):
    model = load_file()
    found = model.resolve(asked(sampler, 20, **given))
    said = found.options.model_dump(exclude_none=True)
    assert said == {"precision": "fp32", "batch": 64} | given | expected
    assert model.resolve(found) == found


@pytest.mark.parametrize(
    ("sampler", "options", "said"),
    [
        ("heun", {}, "cannot be sampled with 'heun'"),
        ("ddim", {"variance": "small"}, "no option 'variance'"),
        ("ancestral", {"eta": 0.5}, "no option 'eta'"),
        ("ancestral", {"grid": "uniform"}, "is no step grid"),
    ],
)
def test_options_that_it_does_not_have(sampler, options, said):
    model = load_file()
    assert said in refused(lambda: model.resolve(asked(sampler, 10, **options)))


@pytest.fixture(scope="module")
def unguided():
    """A network without null label and learned variance, as its config says."""
    state = {name: value for name, value in read_pickle(PLAIN).items()}
    state["y_embedder.embedding_table.weight"] = state["y_embedder.embedding_table.weight"][:10]
    rows = torch.arange(32).reshape(2, 2, 8)[..., :4].flatten()  # ε of each patch's pixels
    for name in ("final_layer.linear.weight", "final_layer.linear.bias"):
        state[name] = state[name][rows]
    return state


def test_fixed_variance_and_no_null_label(golden, unguided, tmp_path):
    """The same ε without v; sampled with the large variance, as the authors do; no guidance."""
    path = tmp_path / "model.pt"
    torch.save(unguided, path)
    model = load_file(path, learn_sigma=False, class_dropout_prob=0.0)
    assert (model.classes, model.null_label) == (10, None)
    assert model.resolve(asked("ancestral", 10)).options.variance == "large"
    learned = asked("ancestral", variance="learned")
    assert "has not learned" in refused(lambda: model.resolve(learned))
    assert "no classifier-free guidance" in refused(lambda: model.check_conditions(None, 1.5))
    x, t, out = golden["fwd_x"][1], float(golden["fwd_t"][1]), golden["fwd_out"][1, :, :4]
    said = model.predict(x, at(t), golden["labels"], asked())
    assert said.variance_logit is None
    assert off(said.epsilon, out) < 1e-5


@torch.no_grad()
def test_ddim_on_the_even_grid(golden):
    """DDIM with η = 0 from each retained timestep to the one below it, written out in float64."""
    model = load_file()
    labels = golden["labels"]
    found = sample(
        model,
        "ddim",
        10,
        LambdaSchedule(1.01, 0.001),
        labels=labels,
        initial=golden["x_T"],
        decode=False,
    )
    table = DDIMScheduler(beta_start=1e-4, beta_end=0.02).alphas_cumprod.double()
    times = golden["nocfg__timestep_map"].tolist()
    x = golden["x_T"].double()
    for i in reversed(range(10)):
        now, after = table[times[i]], table[times[i - 1]] if i else torch.tensor(1.0).double()
        said = model.predict(x.float(), at(times[i]), labels, asked())
        epsilon = said.epsilon.double() / (1.01 + 0.001 * i)
        x0 = (x - (1 - now).sqrt() * epsilon) / now.sqrt()
        x = after.sqrt() * x0 + (1 - after).sqrt() * epsilon
    assert off(found, x) < 1e-4


# -- images


@pytest.fixture(scope="module")
def vae_folder(tmp_path_factory):
    """An autoencoder with random weights that doubles 8 × 8 latents."""
    torch.manual_seed(0)
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
    )
    folder = tmp_path_factory.mktemp("vae")
    vae.save_pretrained(folder)
    return folder


@torch.no_grad()
def test_latents_are_decoded_as_the_library_does(golden, vae_folder):
    model = load_file(vae=str(vae_folder))
    initial = {"initial": golden["x_T"], "labels": golden["labels"]}
    images = sample(model, "ddim", 4, LambdaSchedule(), **initial)
    latents = sample(model, "ddim", 4, LambdaSchedule(), **initial, decode=False)
    vae = AutoencoderKL.from_pretrained(vae_folder)
    assert images.shape == (3, 3, 16, 16)
    assert off(images, vae.decode(latents / 0.18215).sample) < 1e-5


def test_the_decoder_is_part_of_the_definition(vae_folder):
    bare, whole = load_file(), load_file(vae=str(vae_folder))
    assert bare.sha256 == whole.sha256
    assert bare.definition != whole.definition


def test_without_a_decoder_there_are_latents_only():
    model = load_file()
    x = normal(0, range(2), 0, model.shape)
    run = {"initial": x, "labels": torch.tensor([1, 2])}
    cause = refused(lambda: sample(model, "ddim", 2, LambdaSchedule(), **run))
    assert "no entry `vae`" in cause
    assert sample(model, "ddim", 2, LambdaSchedule(), **run, decode=False).shape == x.shape


def test_decoders_that_cannot_be_read(tmp_path, vae_folder):
    assert "cannot be read" in refused(lambda: load_file(vae=str(tmp_path)))
    assert "There is no autoencoder" in refused(lambda: load_file(vae=str(tmp_path / "none")))
    assert "There is no autoencoder" in refused(lambda: load_file(vae="nobody/no-such-vae"))


def test_a_decoder_of_other_latents(vae_folder, tmp_path):
    vae = AutoencoderKL(latent_channels=3, norm_num_groups=4, block_out_channels=(8,))
    vae.save_pretrained(tmp_path)
    cause = refused(lambda: load_file(vae=str(tmp_path)))
    assert "has latents of 3 channels, the model of 4" in cause


def test_a_missing_decoder_is_said_before_the_network_runs(monkeypatch):
    model = load_file()
    monkeypatch.setattr(model, "predict", lambda *_: pytest.fail("the network was called"))
    assert "no decoder" in refused(lambda: sample(model, "ancestral", 4, LambdaSchedule(), [0]))
