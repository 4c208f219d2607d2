"""ADM models against the authors' own code (tests/golden.py)."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lambda_search.errors import UsageError
from lambda_search.models.adm.classifier import classifier_arguments
from lambda_search.models.adm.config import read_flags
from lambda_search.models.adm.encoder import Encoder
from lambda_search.models.adm.model import load
from lambda_search.models.guidance import class_score
from lambda_search.models.networks.unet import UNet
from lambda_search.models.pickles.read import read_pickle
from lambda_search.models.respacing import DiscreteSchedule
from lambda_search.models.sampling import sample
from lambda_search.schedule import LambdaSchedule
from tests.asking import asked
from tests.asking import at
from tests.golden import distance as off
from tests.golden import folder_of
from tests.models import adm_variants
from tests.models.adm_variants import normal
from tests.models.adm_variants import ruled

DATA = folder_of("ADM/cifar_like")
FLAGS = json.loads((DATA / "config.json").read_text())["model_flags"]
PATH = str(DATA / "model.pt")
RUNS = {
    "anc": ("ancestral", {}),
    "ddim": ("ddim", {}),
    "ddim_stride": ("ddim", {"grid": "ddim"}),
}
SMALL = {
    "image_size": 16,
    "num_channels": 32,
    "num_res_blocks": 1,
    "num_heads": 2,
    "attention_resolutions": "8",
    "channel_mult": "1,2",
    "class_cond": True,
    "num_classes": 5,
}
CLASSIFIER = {
    "model_channels": 32,
    "num_res_blocks": 1,
    "attention_resolutions": [2],
    "channel_mult": [1, 2],
    "num_head_channels": 16,
    "use_scale_shift_norm": True,
    "resblock_updown": True,
    "pool": "attention",
}
X0 = {
    "noise_schedule": "cosine",
    "predict_xstart": True,
    "rescale_timesteps": True,
    "diffusion_steps": 500,
}
VARIANTS = {  # the golden run: sampler, flags, options, λ
    "guided ancestral": ("ancestral", {"learn_sigma": True}, {"classifier_scale": 2.0}, 1.017),
    "guided ddim": ("ddim", {"learn_sigma": True}, {"classifier_scale": 2.0}, 1.0),
    "x0 ancestral": ("ancestral", X0, {}, 1.0),  # the authors scale no x0-prediction
    "large ancestral": ("ancestral", {**X0, "noise_schedule": "linear", "predict_xstart": False},
                        {"grid": "2,1,2"}, 0.9985),
    "unclipped ddim eta": ("ddim", {**X0, "noise_schedule": "linear", "predict_xstart": False},
                           {"clip": False, "eta": 0.5}, 1.017),
}  # fmt: skip


@pytest.fixture(scope="module")
def golden():
    with np.load(DATA / "golden.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


@pytest.fixture
def small(tmp_path):
    """(flags) → a loaded model with weights by rule, guided where `guided`."""

    def make(guided=False, **flags):
        told, _ = read_flags({**SMALL, **flags})
        save_file(ruled(UNet(**told.network())), tmp_path / "model.safetensors")
        config = {**SMALL, **flags}
        if guided:
            network = Encoder(**classifier_arguments(CLASSIFIER, told.image_size, told.classes))
            save_file(ruled(network), tmp_path / "classifier.safetensors")
            config["classifier"] = {**CLASSIFIER, "checkpoint": "classifier.safetensors"}
        return load(str(tmp_path / "model.safetensors"), config, torch.device("cpu"))

    return make


def load_case(**flags):
    return load(PATH, {**FLAGS, **flags}, torch.device("cpu"))


def states_of(model, *arguments, **options):
    """The states after each step of a run, as the network and the caller see them."""
    seen = []
    final = sample(model, *arguments, **options, observe=seen.append)
    return [*(step.state for step in seen[1:]), final]


def refused(call):
    with pytest.raises(UsageError) as caught:
        call()
    assert caught.value.hint
    return str(caught.value)


# -- golden data


def test_forward(golden):
    model = load_case()
    for x, t, out in zip(golden["fwd_x"], golden["fwd_t"], golden["fwd_out"], strict=True):
        prediction = model.predict(x, at(t), None, asked())
        assert off(prediction.epsilon, out[:, :3]) < 1e-5
        assert off(prediction.variance_logit, out[:, 3:]) < 1e-5
        assert prediction.score is None


@pytest.mark.parametrize("setting", range(4))
@pytest.mark.parametrize("run", RUNS)
def test_samples(golden, run, setting):
    sampler, options = RUNS[run]
    b, k = golden["lambda_bk"][setting].tolist()
    found = sample(
        load_case(),
        sampler,
        10,
        LambdaSchedule(b, k),
        initial=golden["x_T"],
        step_noise=list(golden["noise"]),
        options=options,
    )
    assert off(found, golden[f"{run}__L{setting}__final"]) < 1e-4


@pytest.mark.parametrize("run", RUNS)
def test_every_state_and_estimate_of_a_run(golden, run):
    sampler, options = RUNS[run]
    b, k = golden["lambda_bk"][3].tolist()
    model = load_case()
    states = states_of(
        model,
        sampler,
        10,
        LambdaSchedule(b, k),
        initial=golden["x_T"],
        step_noise=list(golden["noise"]),
        options=options,
    )
    expected = golden[f"{run}__L3__x_steps"]
    for state, after in zip(states, expected, strict=True):
        assert off(state, after) < 1e-4
    resolved = model.resolve(asked(sampler, 10, **options))
    grid = model.grid(resolved)
    assert list(grid.timesteps) == golden[f"{run}__timestep_map"].tolist()
    before = [golden["x_T"], *expected]
    for j, x0 in enumerate(golden.get(f"{run}__L3__x0_steps", [])):
        i = 9 - j
        epsilon = model.predict(before[j], grid.level(i), None, resolved).epsilon
        found = (before[j] - grid.sigma[i] * epsilon / (b + k * i)) / grid.alpha[i]
        assert off(found.clamp(-1, 1), x0) < 1e-4


@pytest.mark.parametrize("run", VARIANTS)
def test_other_kinds_of_models_and_guidance(run, small):
    """x0-prediction, rescaled times, fixed variances, labels, a classifier: all states."""
    sampler, flags, options, b = VARIANTS[run]
    # oneDNN's kernels differ between CPUs, and a classifier's gradient amplifies that to 2e-4
    with torch.backends.mkldnn.flags(enabled=False):
        states = states_of(
            small(guided=run.startswith("guided"), **flags),
            sampler,
            5,
            LambdaSchedule(b, 0.0),
            labels=torch.tensor([1, 4]),
            initial=normal("x_T", 2, 3, 16, 16),
            step_noise=[normal(f"z{j}", 2, 3, 16, 16) for j in range(5)],
            options=options,
        )
    for state, after in zip(states, adm_variants.golden(run), strict=True):
        assert off(state, after) < 1e-4


# -- the classifier


def test_the_score_is_the_gradient_of_the_log_likelihood():
    """Against central differences in double precision, along random directions."""
    flags, _ = read_flags(SMALL)
    classifier = Encoder(**classifier_arguments(CLASSIFIER, flags.image_size, flags.classes))
    classifier.load_state_dict(ruled(classifier))
    x, times, labels = normal("x", 2, 3, 16, 16), torch.tensor([3.0, 500.0]), torch.tensor([0, 3])
    with torch.inference_mode():
        score = class_score(classifier, x + 0, times + 0, labels + 0).double()
    step = 0.05

    def likelihood(x):
        return classifier(x, times).double().log_softmax(1)[range(2), labels]

    with torch.no_grad():
        for name in ("u", "v", "w"):
            u = normal(name, *x.shape)
            u /= u.flatten(1).norm(dim=1)[:, None, None, None]
            slope = (likelihood(x + step * u) - likelihood(x - step * u)) / (2 * step)
            found = (score * u).sum(dim=(1, 2, 3))
            assert torch.allclose(found, slope, atol=2e-3 * float(score.norm()))
            assert slope.abs().max() > 2e-2 * score.norm()


def test_the_scale_multiplies_the_score_and_zero_leaves_it_out(small):
    model = small(guided=True)
    x, labels = normal("x", 2, 3, 16, 16), torch.tensor([1, 4])
    one, three, none = (
        model.predict(x, at(400.0), labels, asked(classifier_scale=scale)).score
        for scale in (1.0, 3.0, 0.0)
    )
    assert none is None
    assert torch.equal(three, 3 * one)


def test_guidance_in_half_precision_is_near_single(small, monkeypatch):
    model = small(guided=True, learn_sigma=True)
    states = states_of(
        model,
        "ancestral",
        5,
        LambdaSchedule(1.017, 0.0),
        labels=torch.tensor([1, 4]),
        initial=normal("x_T", 2, 3, 16, 16),
        step_noise=[normal(f"z{j}", 2, 3, 16, 16) for j in range(5)],
        options={"classifier_scale": 2.0, "precision": "bf16"},
    )
    assert 1e-5 < off(states[0], adm_variants.golden("guided ancestral")[0]) < 0.1


def test_a_classifier_guides_an_unconditional_network_too(small):
    model = small(guided=True, class_cond=False)
    assert model.classes == 5
    out = sample(model, "ddim", 2, LambdaSchedule(), range(3), options={"batch": 3})
    free = sample(
        model, "ddim", 2, LambdaSchedule(), range(3), options={"batch": 3, "classifier_scale": 0}
    )
    assert off(out, free) > 1e-3


def test_both_spellings_of_a_classifier_are_one():
    """The scripts' flags, with their defaults, and the constructor's arguments."""
    flags, beside = read_flags(
        {"image_size": 64, "classifier": {"checkpoint": "c.pt"}, "classifier_depth": 4}
    )
    spelled = {
        "num_res_blocks": 4,
        "attention_resolutions": "2,4,8",
        "channel_mult": [1, 2, 3, 4],
        "num_head_channels": 64,
        "use_scale_shift_norm": True,
        "resblock_updown": True,
        "pool": "attention",
    }
    built = []
    for given in (beside, spelled):
        with torch.device("meta"):
            network = Encoder(**classifier_arguments(given, flags.image_size, flags.classes))
        built.append({name: t.shape for name, t in network.state_dict().items()})
    assert built[0] == built[1]


# -- options and flags


def test_defaults_are_the_scripts():
    learned = load_case()
    assert learned.classes is None and learned.shape == (3, 16, 16)
    ancestral = learned.resolve(asked("ancestral", 20)).options
    assert (ancestral.grid, ancestral.clip, ancestral.variance) == ("20", True, "learned")
    assert ancestral.eta is ancestral.classifier_scale is None
    ddim = learned.resolve(asked("ddim", 20, grid="ddim")).options
    assert (ddim.grid, ddim.clip, ddim.eta, ddim.variance) == ("ddim20", True, 0.0, None)
    respaced = load_case(timestep_respacing=20, clip_denoised="False")
    assert respaced.resolve(asked("ancestral", 20)).options.grid == "20"
    assert respaced.resolve(asked("ancestral", 20)).options.clip is False
    assert respaced.resolve(asked("ancestral", 10)).options.grid == "10"
    sections = load_case(timestep_respacing="4,3,5")
    assert sections.resolve(asked("ancestral", 12)).options.grid == "4,3,5"
    assert "does not have 10 steps" in refused(
        lambda: respaced.resolve(asked("ancestral", 10, grid="20"))
    )


def test_defaults_of_networks_without_learned_variance(small):
    model = small()
    assert model.classes == 5
    assert model.resolve(asked("ancestral", 5)).options.variance == "large"
    model = small(sigma_small=True, guided=True, classifier_scale=0.5)
    resolved = model.resolve(asked("ancestral", 5)).options
    assert (resolved.variance, resolved.classifier_scale) == ("small", 0.5)
    learned = asked("ancestral", 5, variance="learned")
    assert "has not learned" in refused(lambda: model.resolve(learned))


@pytest.mark.parametrize(
    ("sampler", "options", "cause"),
    [
        ("euler", {}, "cannot be sampled with 'euler'"),
        ("ancestral", {"eta": 0.5}, "no option 'eta'"),
        ("ddim", {"variance": "small"}, "no option 'variance'"),
        ("ddim", {"s_churn": 1.0}, "no option 's_churn'"),
        ("ddim", {"classifier_scale": 1.0}, "no option 'classifier_scale'"),
        ("ddim", {"grid": "uniform"}, "'uniform' is no step grid"),
    ],
)
def test_options_that_it_cannot_do(sampler, options, cause):
    model = load_case()
    assert cause in refused(lambda: model.resolve(asked(sampler, 10, **options)))


def test_flags_that_contradict_the_weights():
    said = refused(lambda: load_case(resblock_updown=False, class_cond=True))
    assert "label_emb.weight is missing" in said and "left over" not in said.split("missing")[0]
    said = refused(lambda: load_case(num_channels=64))
    assert "time_embed.0.weight is 128×32 and should be 256×64" in said


@pytest.mark.parametrize(
    ("flags", "cause"),
    [
        ({"learn_sigmas": True}, "Did you mean learn_sigma?"),
        ({"preset": "adm-cifar"}, "adm-cifar10"),
        ({"image_size": 24, "channel_mult": ""}, "channel_mult must be given"),
        ({"image_size": 15}, "cannot be halved"),
        ({"num_channels": "many"}, "num_channels"),
        ({"noise_schedule": "sqrt"}, "noise_schedule"),
        ({"classifier": "c.pt"}, "classifier must be a mapping"),
        ({"classifier": {}}, "classifier has no checkpoint"),
        ({"classifier": {"checkpoint": PATH, "pol": "attention"}}, "Did you mean pool?"),
        (
            {
                "classifier": {
                    "checkpoint": PATH,
                    "classifier_width": 32,
                    "pool": "adaptive",
                }
            },
            "described twice",
        ),
        (
            {"classifier": {"checkpoint": PATH}},
            "ADM classifier config: channel_mult must be given",
        ),
        (
            {"classifier": {"checkpoint": PATH, "image_size": 64}},
            "images of 64 pixels",
        ),
        (
            {
                "classifier": {
                    **CLASSIFIER,
                    "out_channels": 7,
                    "checkpoint": PATH,
                },
                "class_cond": True,
            },
            "knows 7 classes, the network 1000",
        ),
        ({"classifier": {**CLASSIFIER, "checkpoint": "c.pt"}}, "no checkpoint at c.pt"),
    ],
)
def test_configs_that_cannot_be(flags, cause):
    assert cause in refused(lambda: load_case(**flags))


def test_a_config_is_needed():
    said = refused(lambda: load(PATH, None, torch.device("cpu")))
    assert "adm-imagenet64" in said


def test_flags_of_the_scripts_that_change_nothing_are_ignored():
    plain = load_case()
    scripts = load_case(
        batch_size=4, num_samples=100, use_ddim=False, model_path="x", eps_scaler=0, lr=1e-4
    )
    other = load_case(use_fp16=True, dropout=0.1, use_kl=True, timestep_respacing="10")
    assert plain.definition == scripts.definition == other.definition
    assert load_case(noise_schedule="linear").definition != plain.definition


def test_files_of_both_kinds_hold_the_same(tmp_path, golden):
    save_file(dict(read_pickle(DATA / "model.pt")), tmp_path / "model.safetensors")
    (tmp_path / "flags.json").write_text(json.dumps(FLAGS))
    other = load(str(tmp_path / "model.safetensors"), tmp_path / "flags.json", torch.device("cpu"))
    x = golden["fwd_x"][0]
    said = [m.predict(x, at(5.0), None, asked()).epsilon for m in (load_case(), other)]
    assert torch.equal(*said)
    assert other.sha256 != load_case().sha256


def test_a_guided_model_is_named_by_both_files(small):
    assert small(guided=True).sha256 != small().sha256
    assert small(guided=True).definition != small().definition


IMPROVED = {
    "image_size": 32,
    "num_channels": 128,
    "num_res_blocks": 3,
    "learn_sigma": True,
    "dropout": 0.3,
    "diffusion_steps": 4000,
    "noise_schedule": "cosine",
}


@pytest.mark.parametrize(
    ("more", "first"),
    (
        ({}, 999.75),
        ({"use_kl": True, "sigma_small": False, "predict_xstart": False}, 999.75),
        ({"rescale_timesteps": False}, 3999),
        ({"rescale_timesteps": True}, 999.75),
        ({"num_head_channels": 64}, 3999),
        ({"resblock_updown": True}, 3999),
        ({"num_head_channels": 64, "rescale_timesteps": True}, 999.75),
        ({"diffusion_steps": 1000}, 999),
    ),
)
def test_networks_of_improved_diffusion_are_told_what_its_scripts_tell_them(more, first):
    """Its scripts rescale timesteps to 1000 by default; those that came from it do not."""
    flags, _ = read_flags({**IMPROVED, **more})
    schedule = DiscreteSchedule.of(
        flags.noise_schedule, flags.diffusion_steps, flags.rescale_timesteps
    )
    assert schedule.grid("10", 10).timesteps[-1] == first


def test_a_thousand_steps_are_one_definition_whether_rescaled_or_not():
    assert not read_flags({**IMPROVED, "diffusion_steps": 1000})[0].rescale_timesteps


@pytest.mark.parametrize("more", ({}, {"in_channels": 1}, {"in_channels": 1, "out_channels": 2}))
def test_grey_models_are_read(more, tmp_path):
    state = dict(read_pickle(DATA / "model.pt"))
    state["input_blocks.0.0.weight"] = state["input_blocks.0.0.weight"][:, :1].clone()
    for name in ("out.2.weight", "out.2.bias"):
        state[name] = state[name][[0, 3]].clone()
    torch.save(state, tmp_path / "grey.pt")
    model = load(str(tmp_path / "grey.pt"), {**FLAGS, **more}, torch.device("cpu"))
    assert model.shape == (1, 16, 16)
    assert sample(model, "ddim", 2, LambdaSchedule(1.0), range(2)).shape == (2, 1, 16, 16)


def test_channels_that_do_not_belong_together_are_named(tmp_path):
    said = refused(lambda: load(PATH, {**FLAGS, "out_channels": 3}, torch.device("cpu")))
    assert "out_channels is 3" in said and "need 6" in said
    said = refused(lambda: load(PATH, {**FLAGS, "in_channels": 1}, torch.device("cpu")))
    assert "should be 64×1×3×3" in said or "×1×3×3" in said
