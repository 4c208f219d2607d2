import math

import pytest
import torch

from lambda_search.diffusion.ode import Churn
from lambda_search.errors import UsageError
from lambda_search.models.edm.model import build
from lambda_search.models.edm.pfgmpp import radial_prior
from lambda_search.models.edm.preconditioning import Edm
from lambda_search.models.edm.preconditioning import Iddpm
from lambda_search.models.edm.preconditioning import Ve
from lambda_search.models.edm.preconditioning import Vp
from lambda_search.models.registry import load_model
from lambda_search.models.sampling import counter_noise
from lambda_search.models.sampling import sample
from lambda_search.models.sampling import sample_batch
from lambda_search.schedule import LambdaSchedule
from tests.asking import asked
from tests.asking import at
from tests.golden import FINAL
from tests.golden import FORWARD
from tests.golden import distance
from tests.golden import golden

EDM = golden("EDM/ddpmpp_uncond")
PFGMPP = golden("PFGM++/ddpmpp_uncond")
MODELS = {
    "edm": load_model("edm", EDM.folder / "network.pkl"),
    "pfgmpp .pt": load_model("pfgmpp", PFGMPP.folder / "training-state-000123.pt"),
    "pfgmpp .pkl": load_model("pfgmpp", PFGMPP.folder / "training-state-000123.pkl"),
}
CASES = {"edm": EDM, "pfgmpp .pt": PFGMPP, "pfgmpp .pkl": PFGMPP}
RUNS = [("edm", "heun"), ("edm", "euler"), ("pfgmpp .pt", "heun"), ("pfgmpp .pkl", "heun")]
TINY = dict(img_resolution=8, img_channels=3, model_channels=16, num_blocks=1, channel_mult=[1, 2])


def steps_of(case, sampler):
    return case.config["samplers"][sampler]["num_steps"]


@pytest.mark.parametrize("name", MODELS)
def test_the_denoiser_is_the_authors_own(name):
    case = CASES[name]
    for j, sigma in enumerate(case.arrays["fwd_sigma"]):
        x = case.tensor("fwd_x")[j].double()
        epsilon = MODELS[name].predict(x, at(sigma, 1.0, float(sigma)), None, asked()).epsilon
        assert distance(x - float(sigma) * epsilon, case.tensor("fwd_D")[j]) < FORWARD


@pytest.mark.parametrize("level", ["L0", "L1", "L2", "L3"])
@pytest.mark.parametrize(("name", "sampler"), RUNS)
def test_samples_are_the_authors_own(name, sampler, level):
    case = CASES[name]
    found = sample(
        MODELS[name],
        sampler,
        steps_of(case, sampler),
        case.schedules[level],
        initial=case.tensor("x_T"),
    )
    assert distance(found, case.tensor(f"{sampler}__{level}__final")) < FINAL


@pytest.mark.parametrize(("name", "sampler"), RUNS)
def test_every_evaluation_is_the_authors_own(name, sampler):
    """State, σ and D at each call of the network, at the tilted λ."""
    case, model = CASES[name], MODELS[name]
    calls = []
    sample(
        model,
        sampler,
        steps_of(case, sampler),
        case.schedules["L3"],
        initial=case.tensor("x_T"),
        observe=calls.append,
    )
    assert len(calls) == len(case.arrays[f"{sampler}__eval_lambda_index"])
    for j, step in enumerate(calls):
        x, sigma = step.state, step.level.sigma
        denoised = x - sigma * step.prediction.epsilon
        assert step.level.index == case.arrays[f"{sampler}__eval_lambda_index"][j]
        assert math.isclose(sigma, case.arrays[f"{sampler}__L3__eval_sigma"][j], rel_tol=1e-12)
        assert distance(x, case.tensor(f"{sampler}__L3__eval_x")[j]) < FINAL
        assert distance(denoised, case.tensor(f"{sampler}__L3__eval_D")[j]) < FINAL


@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_lambda_one_changes_no_bit(sampler):
    model = MODELS["edm"]
    plain = sample(model, sampler, 4, LambdaSchedule(), range(3))
    assert torch.equal(plain, sample(model, sampler, 4, LambdaSchedule(1.0, 0.0), range(3)))
    assert not torch.equal(plain, sample(model, sampler, 4, LambdaSchedule(1.001), range(3)))


def test_the_prior_of_pfgmpp_is_the_authors_recipe():
    gauss = PFGMPP.tensor("prior_gauss").reshape(3, 3, 16, 16)
    found = radial_prior(gauss, PFGMPP.tensor("prior_beta"), 128, 80.0)
    assert distance(found, PFGMPP.tensor("x_T")) < 1e-6


def test_the_radius_of_pfgmpp_has_its_distribution():
    """‖x‖²/(‖x‖² + r²) with r = σ√D is Beta(N/2, D/2) distributed, whose mean is N/(N + D)."""
    model = MODELS["pfgmpp .pt"]
    x = model.prior(0, range(400))
    squares = x.double().flatten(1).square().sum(1)
    share = squares / (squares + 80.0**2 * 128)
    n, d = 768, 128
    assert abs(float(share.mean()) - n / (n + d)) < 4 * float(share.std()) / 20
    assert torch.equal(model.prior(0, [7]), x[7:8])
    assert not torch.equal(model.prior(1, [7]), x[7:8])


def test_edm_starts_from_a_unit_normal_times_sigma_max():
    model = MODELS["edm"]
    noise = model.prior(0, range(2))
    drawn = sample(model, "euler", 3, LambdaSchedule(), range(2), options={"batch": 2})
    assert torch.equal(drawn, sample(model, "euler", 3, LambdaSchedule(), initial=noise))
    assert float(noise.std()) == pytest.approx(1, abs=0.05)


def test_churn_adds_the_noise_that_was_taken_for_granted():
    """A perfect denoiser of a point (D = 0, ε = x/σ) reaches σ̂ = σ(1 + γ) in distribution."""
    churn = Churn(amount=2.0, low=0.1, high=50.0, noise=1.0)
    assert churn.raised(10.0, 8) == pytest.approx(10 * 1.25)
    assert churn.raised(60.0, 8) == 60.0
    assert churn.raised(10.0, 2) == pytest.approx(10 * math.sqrt(2))
    model = MODELS["edm"]
    noise = [
        torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(j)) for j in range(5)
    ]
    still = sample(model, "heun", 5, LambdaSchedule(), initial=EDM.tensor("x_T"), step_noise=noise)
    churned = [
        sample(
            model,
            "heun",
            5,
            LambdaSchedule(),
            initial=EDM.tensor("x_T"),
            step_noise=noise,
            options={"s_churn": amount, "s_max": s_max},
        )
        for amount, s_max in [(0.0, None), (2.0, 1e-9), (2.0, None)]
    ]
    assert torch.equal(churned[0], still)
    assert torch.equal(churned[1], still)
    assert distance(churned[2], still) > 1e-2


@pytest.mark.parametrize(
    ("churn", "told"),
    [
        ({"s_churn": 2.0, "s_noise": 1.003}, {"s_churn": 2.0, "s_noise": 1.003, "s_min": 0.0}),
        ({"s_churn": 99.0, "s_max": 1e4}, {"s_churn": 3.0, "s_noise": 1.0, "s_min": 0.0}),
        ({"s_churn": 2.5}, {"s_churn": 3.0, "s_noise": 1.0, "s_min": 0.0}),
        ({"s_churn": 2.0, "s_min": 0.1, "s_max": 50.0}, {"s_churn": 2.0, "s_noise": 1.0}),
        ({"s_churn": 2.0, "s_max": 1e-9, "s_noise": 2.0}, {"s_churn": 0.0}),
        ({"s_churn": 0.0, "s_min": 1.0}, {"s_churn": 0.0}),
    ],
)
def test_the_one_spelling_of_churn_makes_the_same_images(churn, told):
    model = MODELS["edm"]
    given = asked("heun", 5, batch=2, **churn)
    filled = given.model_copy(update={"options": model.filled(given)})
    resolved = model.resolve(given)
    said = resolved.options.model_dump(exclude_none=True)
    levels = [said.pop(name) for name in ("s_min", "s_max") if name in said and name not in told]
    assert said == {"precision": "fp32", "batch": 2} | told
    assert set(levels) <= set(model.grid(resolved).sigma)
    draw = counter_noise(model, 0, range(2))
    images = [sample_batch(model, s, LambdaSchedule(1.01), draw) for s in (filled, resolved)]
    assert torch.equal(*images)


@pytest.mark.parametrize(
    ("preconditioning", "relation"),
    [
        (Edm(sigma_data=0.7), lambda s, c: c.c_in**2 * (s**2 + 0.49)),  # unit variance in
        (Vp(), lambda s, c: c.c_in**2 * (s**2 + 1)),
        (Ve(), lambda s, c: c.c_out / s),
        (Iddpm(), lambda s, c: c.c_in**2 * (s**2 + 1)),
    ],
)
def test_preconditioning_identities(preconditioning, relation):
    for sigma in (0.03, 0.7, 5.0, 60.0):
        assert relation(sigma, preconditioning.at(sigma)) == pytest.approx(1)


def test_edm_preconditioning_gives_unit_variance_targets():
    """c_skip²σ² + c_skip-error: (σ_data²(1 − c_skip)² + c_skip²σ²)/c_out² = 1 (eq. 7 of EDM)."""
    for sigma in (0.01, 0.5, 30.0):
        c = Edm().at(sigma)
        assert (0.25 * (1 - c.c_skip) ** 2 + (c.c_skip * sigma) ** 2) / c.c_out**2 == (
            pytest.approx(1)
        )


def test_vp_time_inverts_sigma():
    vp = Vp()
    for t in (1e-5, 0.01, 0.3, 1.0):
        assert vp.time(vp.sigma(t)) == pytest.approx(t)
    assert vp.sigma_max == pytest.approx(152.2, abs=0.1)  # EDM's table 1: σ(1) ≈ 152


def test_iddpm_levels_are_the_cosine_schedule():
    """u_j² = 1/ᾱ_j − 1 wherever the ratio is not capped."""
    levels = Iddpm()
    for r in (1, 10, 500, 900):  # r counts from clean
        j = 1000 - r
        alpha_bar = math.sin(0.5 * math.pi * j / 1000 / 1.008) ** 2
        clean = math.sin(0.5 * math.pi / 1.008) ** 2  # ᾱ_M, which the authors leave below 1
        assert levels.rounded(math.sqrt(clean / alpha_bar - 1)) == pytest.approx(
            math.sqrt(clean / alpha_bar - 1), rel=1e-9
        )
        assert levels.at(math.sqrt(clean / alpha_bar - 1)).c_noise == r - 1


@pytest.mark.parametrize(
    ("class_name", "arguments"),
    [
        ("EDMPrecond", {"model_type": "SongUNet"}),
        ("EDMPrecond", {"model_type": "DhariwalUNet", "model_channels": 64}),
        ("VPPrecond", {"embedding_type": "positional"}),
        (
            "VEPrecond",
            {
                "embedding_type": "fourier",
                "encoder_type": "residual",
                "resample_filter": [1, 3, 3, 1],
                "channel_mult_noise": 2,
            },
        ),
        ("VEPrecond", {"encoder_type": "skip", "decoder_type": "skip"}),
        ("iDDPMPrecond", {"model_channels": 64}),
    ],
)
def test_every_kind_of_network_runs(class_name, arguments):
    torch.manual_seed(0)
    network = build(f"training.networks.{class_name}", TINY | {"label_dim": 4} | arguments)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    x = torch.randn(2, 3, 8, 8)
    labels = torch.eye(4)[:2]
    out = network(x, 0.8, labels)
    assert out.shape == x.shape
    assert out.isfinite().all()
    assert not torch.equal(out, network(x, 0.8, labels.flip(0)))


CIFAR10 = TINY | dict(
    img_resolution=32,
    augment_dim=9,
    model_channels=128,
    channel_mult=[2, 2, 2],
    num_blocks=4,
    model_type="SongUNet",
)
NCSNPP = dict(
    embedding_type="fourier",
    encoder_type="residual",
    channel_mult_noise=2,
    resample_filter=[1, 3, 3, 1],
)
IMAGENET64 = dict(
    img_resolution=64,
    img_channels=3,
    label_dim=1000,
    model_type="DhariwalUNet",
    model_channels=192,
    channel_mult=[1, 2, 3, 4],
)


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        # counted from the authors' own classes (NVlabs/edm, training/networks.py) with the
        # arguments of their train.py; the paper rounds them to 56 M, 56 M and 296 M
        (CIFAR10, 55_733_891),
        (CIFAR10 | NCSNPP, 56_397_827),
        (IMAGENET64, 295_899_267),
        (CIFAR10 | {"pfgmpp": True, "D": 2048}, 55_733_891),
    ],
    ids=["DDPM++", "NCSN++", "ADM", "PFGM++"],
)
def test_published_networks_have_the_authors_size(arguments, count):
    with torch.device("meta"):
        network = build("training.networks.EDMPrecond", arguments)
    assert sum(parameter.numel() for parameter in network.parameters()) == count


def test_one_step_is_refused():
    with pytest.raises(UsageError, match="no 1 step"):
        sample(MODELS["edm"], "heun", 1, LambdaSchedule(), range(1))
