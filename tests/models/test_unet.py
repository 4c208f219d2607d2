"""The U-Net and its encoder half against the authors' own code, in every way they can be built."""

import pytest
import torch

from lambda_search.errors import UsageError
from lambda_search.models.adm.classifier import classifier_arguments
from lambda_search.models.adm.config import read_flags
from lambda_search.models.adm.encoder import Encoder
from lambda_search.models.adm.presets import PRESETS
from lambda_search.models.networks.attention import AttentionBlock
from lambda_search.models.networks.unet import UNet
from lambda_search.models.networks.unet import timestep_embedding
from tests.golden import distance as off
from tests.models.adm_variants import golden
from tests.models.adm_variants import normal
from tests.models.adm_variants import ruled

COMMON = {"in_channels": 3, "model_channels": 32, "attention_resolutions": (2,)}
UNETS = {
    "legacy": {
        "num_res_blocks": 2,
        "num_classes": 5,
        "num_heads": 4,
        "num_heads_upsample": 2,
    },
    "pooled": {
        "num_res_blocks": 1,
        "num_heads": 2,
        "conv_resample": False,
        "use_scale_shift_norm": True,
    },
    "transformer": {
        "num_res_blocks": 1,
        "num_heads": 4,
        "use_spatial_transformer": True,
        "transformer_depth": 2,
        "context_dim": 24,
    },
    "transformer by channels": {
        "num_res_blocks": [1, 1],
        "num_head_channels": 16,
        "use_spatial_transformer": True,
        "context_dim": 24,
        "legacy": False,
        "use_new_attention_order": True,
    },
}
TIMES = torch.tensor([3.25, 811.0])


def build(kind, **arguments):
    network = kind(**COMMON, channel_mult=(1, 2), **arguments)
    network.load_state_dict(ruled(network))
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("name", UNETS)
def test_the_u_net_computes_what_the_authors_do(name):
    network = build(UNet, out_channels=3, **UNETS[name])
    y = torch.tensor([1, 4]) if "num_classes" in UNETS[name] else None
    context = normal("context", 2, 5, 24) if "context_dim" in UNETS[name] else None
    found = network(normal(f"x {name}", 2, 3, 16, 16), TIMES, y=y, context=context)
    assert off(found, golden(name)) < 1e-5


@pytest.mark.parametrize("pool", ["adaptive", "attention", "spatial", "spatial_v2"])
def test_the_encoder_computes_what_the_authors_do(pool):
    other = pool == "attention"
    network = build(
        Encoder,
        image_size=16,
        out_channels=5,
        num_res_blocks=1,
        num_head_channels=16,
        use_scale_shift_norm=other,
        resblock_updown=other,
        pool=pool,
    )
    found = network(normal(f"x encoder {pool}", 2, 3, 16, 16), TIMES)
    assert off(found, golden(f"encoder {pool}")) < 1e-5


@pytest.mark.parametrize(
    ("preset", "parameters", "tensors"),
    [
        ("adm-cifar10", 57_094_662, 494),
        ("adm-lsun-tower64", 295_136_454, 540),
        ("adm-ffhq128", 542_811_398, 638),
        ("adm-imagenet64", 295_904_454, 541),
        ("adm-imagenet128", 421_529_606, 493),
    ],
)
def test_the_published_models_have_the_authors_numbers_of_parameters(preset, parameters, tensors):
    """Counted by running the authors' `create_model` with the flags of ADM-ES's README.

    For ImageNet at 4 bytes each that is 1.18 and 1.69 GB, the sizes of OpenAI's files, and 296 and
    422 million, as in their paper (arXiv:2105.05233, tab. 11).
    """
    flags, _ = read_flags({"preset": preset})
    with torch.device("meta"):
        state = UNet(**flags.network()).state_dict()
    assert len(state) == tensors
    assert sum(tensor.numel() for tensor in state.values()) == parameters


@pytest.mark.parametrize(
    ("size", "given", "parameters"),
    [(64, {"classifier_depth": 4}, 65_438_568), (128, {}, 42_568_040)],
)
def test_the_published_classifiers_too(size, given, parameters):
    """Counted by running the authors' `create_classifier`; they say 65 and 43 million."""
    flags, _ = read_flags({"image_size": size, "class_cond": True})
    with torch.device("meta"):
        network = Encoder(**classifier_arguments(given, flags.image_size, flags.classes))
    assert sum(tensor.numel() for tensor in network.state_dict().values()) == parameters


def test_both_attention_orders_are_one_attention():
    """Rows ordered (head, qkv, channel) and (qkv, head, channel) are permutations."""
    channels, heads = 64, 4
    legacy, new = (
        AttentionBlock(channels, heads, order).requires_grad_(False) for order in (False, True)
    )
    state = ruled(legacy)
    legacy.load_state_dict(state)
    rows = torch.arange(3 * channels).reshape(heads, 3, -1).transpose(0, 1).flatten()
    permuted = {name: t[rows] if name.startswith("qkv") else t for name, t in state.items()}
    new.load_state_dict(permuted)
    x = normal("x", 2, channels, 4, 4)
    assert off(new(x), legacy(x)) < 1e-6
    new.load_state_dict(state)
    assert off(new(x), legacy(x)) > 1e-3


def test_attention_by_hand():
    """One head: x + proj(softmax(qᵀk/√c)·v), written out over positions."""
    block = AttentionBlock(32, 1, new_order=True).requires_grad_(False)
    block.load_state_dict(ruled(block))
    x = normal("x", 1, 32, 2, 3)
    normed = torch.nn.functional.group_norm(x, 32, block.norm.weight, block.norm.bias)
    q, k, v = (block.qkv.weight[:, :, 0] @ normed[0].flatten(1) + block.qkv.bias[:, None]).chunk(3)
    share = (q.T @ k / 32**0.5).softmax(dim=1)
    mixed = block.proj_out.weight[:, :, 0] @ (v @ share.T) + block.proj_out.bias[:, None]
    assert off(block(x)[0], x[0] + mixed.reshape(32, 2, 3)) < 1e-6


def test_timestep_embedding():
    """The first frequency is 1, the one in the middle 1/100; fractions of a step count."""
    embedded = timestep_embedding(torch.tensor([0.0, 2.5]), 8)
    assert embedded[0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    angles = torch.tensor([2.5, 0.25, 0.025, 0.0025])
    assert torch.allclose(embedded[1], torch.cat([angles.cos(), angles.sin()]))


def test_half_precision_is_near_single():
    """Under autocast the network differs a little, and its output is float32 still."""
    network = build(UNet, out_channels=3, **UNETS["legacy"])
    x, y = normal("x legacy", 2, 3, 16, 16), torch.tensor([1, 4])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = network(x, TIMES, y=y)
    assert found.dtype == torch.float32
    assert 1e-5 < off(found, golden("legacy")) < 0.1


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        ({"num_res_blocks": [1]}, "1 entries for 2 levels"),
        ({"num_heads": -1}, "num_heads -1"),
        ({"num_heads": 3}, "num_heads 3"),
        ({"num_head_channels": 24}, "num_head_channels 24"),
        ({"model_channels": 40}, "40 channels"),
        ({"context_dim": 24}, "context_dim"),
        ({"use_spatial_transformer": True}, "context_dim"),
    ],
)
def test_sizes_that_do_not_fit(arguments, cause):
    fitting = {**COMMON, "out_channels": 3, "num_res_blocks": 1, "num_heads": 2}
    with pytest.raises(UsageError, match=cause):
        UNet(**{**fitting, "channel_mult": (1, 2), **arguments})


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [({"pool": "max"}, "pool 'max'"), ({"pool": "attention"}, "pool over 64")],
)
def test_heads_that_do_not_exist(arguments, cause):
    with pytest.raises(UsageError, match=cause):
        Encoder(
            **COMMON,
            image_size=16,
            out_channels=5,
            num_res_blocks=1,
            channel_mult=(1, 2),
            **arguments,
        )


def test_every_preset_is_built():
    """No preset names a flag that is none (they are read on top of the defaults)."""
    assert all(read_flags({"preset": name})[0].learn_sigma for name in PRESETS)
