import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch import nn
from transformers import BertConfig
from transformers import BertModel
from transformers import CLIPConfig
from transformers import CLIPModel
from transformers import CLIPVisionConfig
from transformers import CLIPVisionModelWithProjection
from transformers import Dinov2Config
from transformers import Dinov2Model
from transformers import ViTConfig
from transformers import ViTModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import MissingFile
from lambda_search.errors import UsageError
from lambda_search.files import sha256_of
from lambda_search.metrics.extractors import inception
from lambda_search.metrics.extractors import transformers
from lambda_search.metrics.extractors.base import NetworkExtractor
from lambda_search.metrics.extractors.registry import load_extractor
from lambda_search.metrics.extractors.torchscript import from_file
from lambda_search.metrics.preprocessing import Preprocessing
from tests.metrics.inception import small
from tests.metrics.strays import STRAYS

CPU = torch.device("cpu")
BOTH = pytest.mark.parametrize("name", ["inception-clean", "inception-legacy"])
TINY = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


def images(n, *shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, *shape), generator=generator, dtype=torch.uint8)


def pil(image):
    """uint8 [3, h, w] → a picture."""
    return Image.fromarray(image.permute(1, 2, 0).numpy())


def apart(vectors):
    """The smallest distance between two."""
    return torch.pdist(vectors).min()


def save(module, path, **fed):
    """A TorchScript file, and what it is fed beside it."""
    torch.jit.save(torch.jit.script(module), str(path))
    if fed:
        path.with_suffix(".json").write_text(json.dumps(fed))
    return str(path)


def refused(name, error=UsageError):
    with pytest.raises(error) as caught:
        load_extractor(str(name), CPU)
    assert caught.value.hint
    return caught.value.cause, caught.value.hint


class Ratio(nn.Module):
    """Ones, and NaN where a pixel is 0."""

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean(dim=[2, 3])
        return means / means


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class Blocks(nn.Module):
    """[n, 2, h, w] where features are asked for."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :2]


class Sum(nn.Module):
    """[2n]."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.sum(dim=[1, 2, 3])] * 2)


class Stubborn(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[2] == 17, "I take 17 rows"
        return x.flatten(1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return small(tmp_path_factory.mktemp("inception") / "weights.pt")


# The user's own TorchScript


def test_without_a_sidecar_a_file_gets_colour_in_bytes_at_the_images_own_size(tmp_path):
    extractor = load_extractor(save(nn.Flatten(), tmp_path / "mine.pt"), CPU)
    assert (extractor.name, extractor.dim, extractor.published) == ("mine.pt", 3 * 64 * 64, "")
    colour, grey = images(3, 3, 64, 64), images(3, 1, 64, 64)
    assert torch.equal(extractor(colour), colour.float().flatten(1))
    assert torch.equal(extractor(grey), grey.float().repeat(1, 3, 1, 1).flatten(1))


def test_images_of_another_size_than_the_file_is_made_for_are_refused(tmp_path):
    extractor = load_extractor(save(nn.Flatten(), tmp_path / "mine.pt"), CPU)
    with pytest.raises(LambdaSearchError, match=r"makes \[3, 192\] of 3 images of \[3, 8, 8\]"):
        extractor(images(3, 3, 8, 8))


def test_an_image_too_long_for_the_crop_is_refused(tmp_path):
    path = save(nn.Flatten(), tmp_path / "c.pt", size=[4, 4], fit="crop", resize=224)
    extractor = load_extractor(path, CPU)
    with pytest.raises(UsageError, match="1 × 2000000 would be 224 × 448000000 before"):
        extractor(images(1, 3, 2_000_000, 1))


def test_a_program_that_must_not_run_is_described(tmp_path):
    path = save(Stubborn(), tmp_path / "mine.pt", size=[17, 2])
    found, loaded = load_extractor(path, CPU, run=False), load_extractor(path, CPU)
    assert (found.name, found.fingerprint, found.dim) == ("mine.pt", loaded.fingerprint, 0)


def test_pipes_and_devices_are_no_programs(tmp_path):
    os.mkfifo(tmp_path / "pipe.pt")
    (tmp_path / "zero.pt").symlink_to("/dev/zero")
    for name in ("pipe.pt", "zero.pt"):
        assert "not a file" in refused(tmp_path / name)[0]


@pytest.mark.timeout(120)  # a reader that opens a pipe waits for ever
def test_pipes_and_devices_are_no_sidecars(tmp_path):
    path = save(nn.Flatten(), tmp_path / "mine.pt")
    os.mkfifo(tmp_path / "mine.json")
    assert "not a file" in refused(path)[0]


@pytest.mark.parametrize(("what", "content"), STRAYS.items())
def test_what_lies_in_the_place_of_a_program_is_named(tmp_path, what, content):
    path = tmp_path / "mine.pt"
    path.write_bytes(content)
    for run in (True, False):
        with pytest.raises(UsageError) as caught:
            load_extractor(str(path), CPU, run=run)
        assert f"it is a {what}, not TorchScript" in caught.value.cause


@pytest.mark.parametrize(
    ("fed", "side", "chunks"),
    [
        ({"resize": 1024, "fit": "crop", "size": (8, 8)}, 32, [16, 4]),
        ({"size": (2048, 2048)}, 8, [4] * 5),
        ({"size": (2048, 512), "quantise": True}, 2048, [4] * 5),
        ({}, 1024, [16, 4]),
        ({"size": (299, 299)}, 32, [20]),
    ],
)
def test_as_many_images_at_once_as_have_room(fed, side, chunks):
    """Large ones take gigabytes where 128 are resized together."""
    seen = []

    def network(x):
        seen.append(len(x))
        return x.mean(dim=(2, 3))

    extractor = NetworkExtractor("x", network, Preprocessing(channels=1, **fed), "", 1, CPU)
    assert extractor(images(20, 1, side, side)).shape == (20, 1)
    assert seen == chunks


@pytest.mark.parametrize("ending", [".pt", ".ts"])
def test_a_file_in_the_working_folder_is_found_by_its_ending(tmp_path, monkeypatch, ending):
    save(nn.Flatten(), tmp_path / f"mine{ending}", size=[4, 4])
    monkeypatch.chdir(tmp_path)
    assert load_extractor(f"mine{ending}", CPU).dim == 48


@pytest.mark.parametrize(
    ("word", "pillows"),
    [("bicubic", Image.Resampling.BICUBIC), ("bilinear", Image.Resampling.BILINEAR)],
)
def test_the_sidecar_says_what_the_file_gets(tmp_path, word, pillows):
    path = save(
        nn.Flatten(), tmp_path / "mine.pt", size=[4, 6], filter=word, mean=[1, 2, 3], std=[4, 5, 6]
    )
    extractor = load_extractor(path, CPU)
    given = images(5, 3, 8, 20)
    found = extractor(given).view(5, 3, 4, 6)
    assert extractor.dim == 72
    for k, channel in ((k, c) for k in range(5) for c in range(3)):
        plane = Image.fromarray(given[k, channel].float().numpy()).resize((6, 4), pillows)
        wanted = (np.asarray(plane).clip(0, 255) - (channel + 1)) / (channel + 4)
        assert np.abs(found[k, channel].numpy() - wanted).max() < 1e-3


def test_the_sidecar_may_ask_for_grey(tmp_path):
    path = save(nn.Flatten(), tmp_path / "g.pt", channels=1, size=[7, 7], mean=[10], std=[2])
    extractor = load_extractor(path, CPU)
    colour = images(4, 3, 7, 7)
    wanted = (colour.numpy().astype(float).mean(1).reshape(4, 49) - 10) / 2
    assert np.abs(extractor(colour).numpy() - wanted).max() < 1e-4
    grey = images(4, 1, 7, 7)
    assert torch.equal(extractor(grey), (grey.float().flatten(1) - 10) / 2)


def test_the_sidecar_may_ask_for_a_crop(tmp_path):
    path = save(nn.Flatten(), tmp_path / "c.pt", size=[4, 4], fit="crop", resize=6, quantise=True)
    given = images(1, 3, 12, 20)
    wanted = np.asarray(pil(given[0]).resize((10, 6), Image.Resampling.BICUBIC))[1:5, 3:7]
    found = load_extractor(path, CPU)(given).view(3, 4, 4).permute(1, 2, 0).numpy()
    assert np.abs(found - wanted).max() <= 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "Expecting property name"),
        ("", "Expecting value"),
        (b"\xff\xfe", "codec can't decode"),
        ("[]", "it holds no names"),
        ('{"colour": 3}', "colour: Extra inputs are not permitted"),
        ('{"channels": 2}', "channels: Input should be 1 or 3"),
        ('{"size": 32}', "size: Input should be a valid tuple"),
        ('{"size": [32]}', "size.1: Field required"),
        ('{"size": [20000, 20000]}', "size.0: Input should be less than or equal to 4096"),
        ('{"size": [4096, 4096]}', "size: it has more than 4,194,304 pixels"),
        ('{"size": [8, 8], "resize": 20000}', "resize: Input should be less than or equal"),
        ("[" * 100_000, "32 levels deep"),
        ('{"filter": "lanczos"}', "filter: Input should be"),
        ('{"mean": [NaN]}', "it holds NaN"),
        ('{"mean": [Infinity]}', "mean.0: Input should be a finite number"),
        ('{"channels": 1, "channels": 3}', "it says 'channels' twice"),
        (" " * (1 << 21) + "{}", "more than 1,048,576 bytes"),
        ('{"mean": [1, 2]}', "mean: it has one value, or one for each channel"),
        ('{"channels": 1, "std": [1, 2, 3]}', "std: it has one value"),
        ('{"std": [1, 0, 1]}', "std: it is not 0"),
        ('{"size": [8, 9], "fit": "crop", "resize": 8}', "resize: the crop does not"),
    ],
)
def test_a_broken_sidecar_is_refused(tmp_path, text, said):
    path = save(nn.Flatten(), tmp_path / "mine.pt")
    beside = tmp_path / "mine.json"
    beside.write_bytes(text if isinstance(text, bytes) else text.encode())
    cause, hint = refused(path)
    assert cause.startswith(f"{beside} does not say what the extractor is fed: ")
    assert said in cause
    assert hint.startswith("Its entries are channels, size, ")


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "marked"])
def test_a_sidecar_is_utf_8_whatever_the_locale(tmp_path, mark):
    """Editors put a byte order mark before it, and a locale may be another."""
    path = Path(save(nn.Flatten(), tmp_path / "mine.pt"))
    (tmp_path / "mine.json").write_text(f'{mark}{{"size": [4, 4], "gr\u00f6\u00dfe": 1}}', "utf-8")
    code = (
        "import sys, torch\n"
        "from pathlib import Path\n"
        "from lambda_search.metrics.extractors.torchscript import from_file\n"
        "try: from_file(Path(sys.argv[1]), torch.device('cpu'))\n"
        "except Exception as error: print(ascii(error.cause))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path],
        env=os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        text=True,
    )
    assert "gr\\xf6\\xdfe: Extra inputs are not permitted" in done.stdout, done.stderr
    (tmp_path / "mine.json").write_text(f'{mark}{{"size": [4, 4]}}', "utf-8")
    assert from_file(path, torch.device("cpu")).dim == 48


@pytest.mark.parametrize(
    ("module", "made"),
    [(Blocks(), r"[2, 2, 64, 64]"), (Sum(), "[4]"), (Pair(), "tuple")],
)
def test_a_file_that_makes_no_vectors_is_refused(tmp_path, module, made):
    cause, _ = refused(save(module, tmp_path / "mine.pt"))
    assert f"makes {made} of 2 images; features [2, d] are needed" in cause


def test_a_file_that_fails_is_asked_what_it_is_fed(tmp_path):
    path = save(Stubborn(), tmp_path / "mine.pt")
    cause, hint = refused(path)
    assert f"{path} fails on images [2, 3, 64, 64]: " in cause
    assert "I take 17 rows" in cause
    assert "mine.json" in hint
    assert load_extractor(save(Stubborn(), tmp_path / "mine.pt", size=[17, 2]), CPU).dim == 102


@pytest.mark.parametrize("name", ["{}", "inception-clean:{}", "inception-legacy:{}"])
@pytest.mark.parametrize("kind", ["text", "empty", "pickle", "truncated"])
def test_what_is_no_torchscript_is_refused(tmp_path, weights, kind, name):
    path = tmp_path / "mine.pt"
    if kind == "pickle":
        torch.save({"weight": torch.zeros(3)}, path)
    else:
        whole = weights.read_bytes()
        contents = {"text": b"not a network", "empty": b"", "truncated": whole[: len(whole) // 2]}
        path.write_bytes(contents[kind])
    cause, hint = refused(name.format(path))
    assert cause.startswith(f"{path} cannot be read as TorchScript: ")
    assert "torch.jit.save" in hint or kind == "empty"


def test_a_file_in_training_mode_is_run_for_inference(tmp_path):
    module = nn.Sequential(nn.Flatten(), nn.Dropout(0.5)).train()
    extractor = load_extractor(save(module, tmp_path / "mine.pt", size=[4, 4]), CPU)
    given = images(2, 3, 4, 4)
    assert torch.equal(extractor(given), given.float().flatten(1))


@pytest.mark.parametrize("make", ["frozen", "traced"])
def test_frozen_and_traced_files_are_read(tmp_path, make):
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Flatten()).eval()
    module = (
        torch.jit.freeze(torch.jit.script(network))
        if make == "frozen"
        else torch.jit.trace(network, torch.zeros(2, 3, 6, 6))
    )
    path = tmp_path / "mine.pt"
    torch.jit.save(module, str(path))
    path.with_suffix(".json").write_text('{"size": [6, 6]}')
    given = images(9, 3, 6, 6)
    with torch.no_grad():
        wanted = network(given.float())
    assert torch.allclose(load_extractor(str(path), CPU)(given), wanted, rtol=1e-4, atol=1e-3)


def test_nan_features_stay_nan(tmp_path):
    extractor = load_extractor(save(Ratio(), tmp_path / "mine.pt"), CPU)
    given = images(4, 3, 8, 8)
    given[2] = 0
    found = extractor(given)
    assert found[2].isnan().all()
    assert torch.equal(found[[0, 1, 3]], torch.ones(3, 3))


# Names


@pytest.mark.parametrize(
    "name",
    [
        "none.pt",
        "./none",
        "/nowhere/none.pt",
        "inception-clean:none.pt",
        "inception-legacy:/nowhere/none.pt",
        "inception-clean:",
        "clip-vit-b32:none",
        "dinov2:./none",
        "bundled:something",
    ],
)
def test_a_missing_path_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cause, hint = refused(name, MissingFile)
    assert cause == f"There is no extractor at {name}."
    assert "path" in hint


def test_the_bundled_extractor_takes_no_other_weights(weights):
    cause, hint = refused(f"bundled:{weights}")
    assert cause == "The bundled extractor has its own weights."
    assert "'bundled'" in hint


@pytest.mark.parametrize("name", ["resnet", "Inception-clean", "resnet:mine"])
def test_an_unknown_name_is_refused_with_the_known_ones(name):
    cause, hint = refused(name)
    assert cause == f"There is no extractor '{name}'."
    assert "bundled, clip-vit-b32, dinov2, inception-clean, inception-legacy" in hint


# Inception


@BOTH
def test_torchscript_that_is_not_the_evaluators_inception_is_refused(tmp_path, name):
    path = save(nn.Flatten(), tmp_path / "mine.pt")
    cause, hint = refused(f"{name}:{path}")
    assert cause == f"{path} is TorchScript, but not the Inception that evaluators use."
    assert inception.INCEPTION.url in hint


@BOTH
def test_inception_takes_weights_from_a_path(name, weights):
    extractor = load_extractor(f"{name}:{weights}", CPU)
    found = extractor(images(3, 1, 20, 24))
    assert (extractor.name, extractor.dim, extractor.published) == (name, 2048, "")
    assert (found.shape, found.dtype, found.requires_grad) == ((3, 2048), torch.float32, False)


@BOTH
def test_inceptions_features_may_come_as_one_pixel_images(name, weights, tmp_path):
    pooled = load_extractor(f"{name}:{small(tmp_path / 'pooled.pt', pooled=True)}", CPU)
    given = images(3, 3, 20, 24)
    flat = load_extractor(f"{name}:{weights}", CPU)(given)
    assert torch.allclose(pooled(given), flat, rtol=1e-4, atol=1e-4)


@BOTH
def test_grey_images_have_the_features_of_the_same_in_colour(name, weights):
    extractor = load_extractor(f"{name}:{weights}", CPU)
    grey = images(6, 1, 30, 30)
    found = extractor(grey)
    assert apart(found) > 0.1
    assert torch.allclose(extractor(grey.repeat(1, 3, 1, 1)), found, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@BOTH
def test_features_do_not_depend_on_the_batch(name, weights):
    extractor = load_extractor(f"{name}:{weights}", CPU)
    given = images(300, 1, 16, 16)
    whole = extractor(given)
    parts = torch.cat([extractor(part) for part in given.split([1, 99, 129, 71])])
    assert whole.shape == (300, 2048)
    assert torch.allclose(parts, whole, rtol=0, atol=1e-4)
    assert torch.allclose(extractor(given[130:132]), whole[130:132], rtol=0, atol=1e-4)


def test_a_fingerprint_tells_weights_and_what_they_are_fed_apart_and_nothing_else(
    weights, tmp_path
):
    other = small(tmp_path / "weights.pt", seed=1)
    copy = shutil.copy(weights, tmp_path / "copy.pt")
    mine = [save(nn.Flatten(), tmp_path / f"{k}.pt", size=[4, 4]) for k in range(2)]
    shutil.copy(mine[0], mine[1])
    names = [
        f"inception-clean:{weights}",
        f"inception-legacy:{weights}",
        f"inception-clean:{other}",
        f"inception-legacy:{other}",
        str(weights),  # the same file and input, but the module's own output
        mine[0],
    ]
    found = [load_extractor(name, CPU).fingerprint for name in names]
    assert len(set(found)) == len(names)
    assert load_extractor(f"inception-clean:{copy}", CPU).fingerprint == found[0]
    assert load_extractor(f"inception-legacy:{copy}", CPU).fingerprint == found[1]
    assert load_extractor(mine[1], CPU).fingerprint == found[-1]
    for fed in ({}, {"size": [4, 5]}, {"size": [4, 4], "filter": "bilinear"}):
        (tmp_path / "1.json").write_text(json.dumps(fed))
        found.append(load_extractor(mine[1], CPU).fingerprint)
    assert len(set(found)) == len(names) + 3


@pytest.mark.parametrize(
    ("name", "word"), [("inception-clean", "clean"), ("inception-legacy", "legacy_tensorflow")]
)
def test_the_published_weights_are_taken_from_the_data_folder(
    name, word, weights, home, monkeypatch
):
    monkeypatch.setattr(
        inception, "INCEPTION", replace(inception.INCEPTION, sha256=sha256_of(weights))
    )
    (home / "extractors").mkdir(parents=True)
    shutil.copy(weights, home / "extractors" / "inception-2015-12-05.pt")
    extractor = load_extractor(name, CPU)
    named = load_extractor(f"{name}:{weights}", CPU)
    assert extractor.published == named.published == word
    assert extractor.fingerprint == named.fingerprint
    given = images(2, 3, 40, 40)
    assert torch.equal(extractor(given), named(given))


# Models of the transformers library


def clip_folder(folder, whole=False, **config):
    """Random weights: the vision tower, or all of CLIP as OpenAI publishes it."""
    torch.manual_seed(0)
    vision = {**TINY, "projection_dim": 16, "image_size": 224, "patch_size": 32, **config}
    if whole:
        text = {**TINY, "projection_dim": 16, "vocab_size": 50}
        model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16))
    else:
        model = CLIPVisionModelWithProjection(CLIPVisionConfig(**vision))
    return folder, _spread(model, folder)


def dinov2_folder(folder, side):
    torch.manual_seed(0)
    config = {k: v for k, v in TINY.items() if k != "intermediate_size"}
    model = Dinov2Model(Dinov2Config(**config, image_size=side, patch_size=14))
    return folder, _spread(model, folder)


def _spread(model, folder):
    """Weights so large that features tell images apart."""
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    return model.eval()


def cubic(positions, count):
    """[m, m, d] → [count, count, d] by Keys' cubic convolution, a = −0.75, at DINOv2's scale."""
    m, a = len(positions), -0.75

    def weight(distance):
        s = abs(distance)
        if s <= 1:
            return (a + 2) * s**3 - (a + 3) * s**2 + 1
        return a * (s**3 - 5 * s**2 + 8 * s - 4) if s < 2 else 0.0

    matrix = np.zeros((count, m))
    for row in range(count):
        source = (row + 0.5) * m / (count + 0.1) - 0.5
        for k in range(int(np.floor(source)) - 1, int(np.floor(source)) + 3):
            matrix[row, min(max(k, 0), m - 1)] += weight(source - k)
    return np.einsum("ia,jb,abd->ijd", matrix, matrix, positions)


@pytest.mark.parametrize("whole", [False, True])
def test_clip_gives_the_librarys_own_image_embeddings(tmp_path, whole):
    folder, model = clip_folder(tmp_path, whole)
    extractor = load_extractor(f"clip-vit-b32:{folder}", CPU)
    given = images(5, 3, 40, 60)
    pixels = extractor.preprocessing(given)
    theirs = CLIPImageProcessorPil()(images=[pil(x) for x in given], return_tensors="pt")
    assert (pixels - theirs["pixel_values"]).abs().max() < 1.01 / 255 / 0.26
    with torch.no_grad():
        if whole:
            wanted = model.get_image_features(pixels).pooler_output
        else:
            wanted = model(pixel_values=pixels).image_embeds
    assert (extractor.name, extractor.dim, extractor.published) == ("clip-vit-b32", 16, "")
    assert apart(wanted) > 0.1
    assert torch.allclose(extractor(given), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("side", [42, 518, 224])
def test_dinov2_gives_the_class_token_with_positions_as_its_authors_fit_them(tmp_path, side):
    folder, model = dinov2_folder(tmp_path, side)
    whole = model.embeddings.position_embeddings.detach()
    m = side // 14
    grid = whole[0, 1:].view(m, m, -1).numpy().astype(float)
    fitted = grid if m == 16 else cubic(grid, 16)
    wanted = torch.cat([whole[0, :1], torch.from_numpy(fitted).float().flatten(0, 1)])[None]
    extractor = load_extractor(f"dinov2:{folder}", CPU)
    found = extractor._network.model.embeddings.position_embeddings
    assert found.shape == (1, 257, 32)
    assert torch.allclose(found, wanted, atol=1e-4)
    given = images(3, 3, 64, 48)
    small = [
        Image.fromarray(plane.float().numpy()).resize((224, 224), Image.Resampling.BICUBIC)
        for plane in given.flatten(0, 1)
    ]
    x = torch.from_numpy(np.stack([np.array(plane).clip(0, 255) for plane in small]) / 255)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    model.embeddings.position_embeddings = nn.Parameter(wanted)
    with torch.no_grad():
        hidden = model((x.view(3, 3, 224, 224).float() - mean) / std, output_hidden_states=True)
        features = model.layernorm(hidden.hidden_states[-1])[:, 0]
    assert (extractor.name, extractor.dim, extractor.published) == ("dinov2", 32, "")
    assert apart(features) > 0.1
    assert torch.allclose(extractor(given), features, atol=1e-3)


def test_a_folders_own_preprocessing_is_taken_crop(tmp_path):
    folder, model = clip_folder(tmp_path / "my-clip", image_size=64)
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": 72}, crop_size={"height": 64, "width": 64}
    )
    processor.save_pretrained(folder)
    extractor = load_extractor(str(folder), CPU)
    given = images(4, 3, 90, 120)
    pixels = extractor.preprocessing(given)
    theirs = processor(images=[pil(x) for x in given], return_tensors="pt")
    assert (pixels - theirs["pixel_values"]).abs().max() < 1.01 / 255 / 0.26
    with torch.no_grad():
        wanted = model(pixel_values=pixels).image_embeds
    assert (extractor.name, extractor.dim) == ("my-clip", 16)
    assert apart(wanted) > 0.1
    assert torch.allclose(extractor(given), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("resample", [2, 3])
def test_a_folders_own_preprocessing_is_taken_stretch(tmp_path, resample):
    torch.manual_seed(0)
    model = ViTModel(ViTConfig(**TINY, image_size=(32, 48), patch_size=16))
    _spread(model, tmp_path)
    processor = ViTImageProcessorPil(
        size={"height": 32, "width": 48},
        resample=resample,
        image_mean=[0.5, 0.4, 0.3],
        image_std=[0.5, 0.25, 1.0],
    )
    processor.save_pretrained(tmp_path)
    extractor = load_extractor(str(tmp_path), CPU)
    given = images(4, 3, 61, 90)  # Pillow 13 begins with the height of tall ones
    pixels = extractor.preprocessing(given)
    theirs = processor(images=[pil(x) for x in given], return_tensors="pt")
    assert (pixels - theirs["pixel_values"]).abs().max() < 1.01 / 255 / 0.25
    with torch.no_grad():
        wanted = model(pixel_values=pixels).pooler_output
    assert extractor.dim == 32
    assert apart(wanted) > 0.1
    assert torch.allclose(extractor(given), wanted, rtol=1e-4, atol=1e-4)


def test_a_folders_fingerprint_is_of_its_weights_and_config(tmp_path):
    first, _ = clip_folder(tmp_path / "a")
    found = [load_extractor(f"clip-vit-b32:{first}", CPU).fingerprint]
    copy = shutil.copytree(first, tmp_path / "b")
    assert load_extractor(f"clip-vit-b32:{copy}", CPU).fingerprint == found[0]
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"hidden_act": "gelu"}))
    found.append(load_extractor(f"clip-vit-b32:{copy}", CPU).fingerprint)
    for resample in (2, 3):
        CLIPImageProcessorPil(resample=resample).save_pretrained(first)
        found.append(load_extractor(str(first), CPU).fingerprint)
    other, _ = clip_folder(tmp_path / "c", projection_dim=8)
    found.append(load_extractor(f"clip-vit-b32:{other}", CPU).fingerprint)
    assert len(set(found)) == 5


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("name", ["clip-vit-b32:{}", "dinov2:{}", "{}"])
def test_a_folder_without_a_model_is_refused(tmp_path, missing, name):
    folder, _ = clip_folder(tmp_path)
    CLIPImageProcessorPil().save_pretrained(folder)
    (folder / missing).unlink()
    cause, hint = refused(name.format(folder))
    assert cause == f"{folder} has no config.json with model.safetensors."
    assert "save_pretrained" in hint


def test_a_file_is_no_folder_with_a_model(weights):
    cause, _ = refused(f"clip-vit-b32:{weights}")
    assert cause == f"{weights} has no config.json with model.safetensors."


def test_broken_weights_are_refused(tmp_path):
    folder, _ = clip_folder(tmp_path)
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:1000])
    cause, _ = refused(f"clip-vit-b32:{folder}")
    assert cause.startswith(f"The model in {folder} cannot be used: ")


def test_a_model_for_images_of_another_size_is_refused(tmp_path):
    folder, _ = clip_folder(tmp_path, image_size=64)
    cause, hint = refused(f"clip-vit-b32:{folder}")
    assert cause.startswith(f"The model in {folder} cannot be used: ")
    assert "size" in hint


def test_a_model_of_text_is_refused(tmp_path):
    BertModel(BertConfig(**TINY, vocab_size=30)).save_pretrained(tmp_path)
    CLIPImageProcessorPil().save_pretrained(tmp_path)
    cause, hint = refused(tmp_path)
    assert cause.startswith(f"The model in {tmp_path} cannot be used: ")
    assert "vision model" in hint


@pytest.mark.parametrize(
    "told",
    [
        {"auto_map": {"AutoModel": "mine.Mine"}},
        {"text_config": {"auto_map": {"AutoModel": "mine.Mine"}}},
        {"vision_config": {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine"}}},
        {"a": [[{"auto_map": {"AutoConfig": "mine.Mine"}}]]},
        {"model_type": "llava", "vision_config": {"model_type": "clip_vision_model"}},
        {"model_type": "timm_wrapper"},
        {"model_type": ["clip"]},
        {"model_type": None},
        {"hidden_size": 10**9},
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": 10**6},
        {"image_size": 10**6},
        {"num_labels": 10**9},
    ],
)
def test_a_configuration_names_no_code_and_no_network_larger_than_its_weights(
    tmp_path, told, monkeypatch
):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question was asked"))
    folder, _ = clip_folder(tmp_path)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | told))
    (folder / "mine.py").write_text("raise SystemExit('executed')")
    cause, _ = refused(f"clip-vit-b32:{folder}")
    assert cause.startswith(f"The model in {folder} cannot be used: ")


def test_the_weights_that_are_hashed_are_loaded_and_none_is_made_up(tmp_path):
    folder, model = clip_folder(tmp_path)
    state = model.state_dict()
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    decoy = {"metadata": {}, "weight_map": {name: "decoy.safetensors" for name in state}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(decoy))
    save_file({name: value + 1 for name, value in state.items()}, folder / "decoy.safetensors")
    given = images(2, 3, 224, 224)
    found = load_extractor(f"clip-vit-b32:{folder}", CPU)(given)
    (folder / "model.safetensors.index.json").unlink()
    (folder / "decoy.safetensors").unlink()
    assert torch.equal(found, load_extractor(f"clip-vit-b32:{folder}", CPU)(given))
    last = sorted(state)[-1]
    lacking = {name: value for name, value in state.items() if name != last}
    for more in ({}, {"another": state[last]}):
        torch.save(lacking | more, folder / "pytorch_model.bin")
        cause, _ = refused(f"clip-vit-b32:{folder}")
        assert cause.startswith(f"The model in {folder} cannot be used: ")
    assert last in cause


@pytest.mark.parametrize(
    "change",
    [
        None,  # no file
        "{",
        "[]",
        "{}",
        {"size": {"shortest_edge": 224}, "do_center_crop": False},
        {"size": {"longest_edge": 224}, "do_center_crop": False},
        {"size": 224, "crop_size": None},
        {"resample": 1},
        {"image_mean": None},
        {"image_std": [0.5, 0.5]},
        {"size": {"shortest_edge": 200}},
        {"do_resize": False},
        {"do_normalize": False},
        {"rescale_factor": 0},
    ],
)
def test_preprocessing_that_gives_no_fixed_size_is_refused(tmp_path, change):
    folder, _ = clip_folder(tmp_path)
    CLIPImageProcessorPil().save_pretrained(folder)
    path = folder / "preprocessor_config.json"
    whole = json.loads(path.read_text())
    assert load_extractor(str(folder), CPU).dim == 16
    if change is None:
        path.unlink()
    else:
        path.write_text(change if isinstance(change, str) else json.dumps(whole | change))
    cause, hint = refused(folder)
    assert cause.startswith(f"{path} does not say how images are resized to one size: ")
    assert "crop_size" in hint


# Weights that are not on this machine


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of the hub."""
    folder = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    return folder


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("inception-clean", inception.INCEPTION.url),
        ("inception-legacy", inception.INCEPTION.url),
        ("clip-vit-b32", "https://huggingface.co/openai/clip-vit-base-patch32"),
        ("dinov2", "https://huggingface.co/facebook/dinov2-large"),
    ],
)
@pytest.mark.parametrize("why", ["HF_HUB_OFFLINE", "LAMBDA_SEARCH_OFFLINE", "fetch"])
def test_weights_that_may_not_be_fetched_are_named_by_their_url(
    name, url, why, hub, home, monkeypatch
):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    if why != "fetch":
        monkeypatch.setenv(why, "1")
    with pytest.raises(MissingFile) as caught:
        load_extractor(name, CPU, fetch=why != "fetch")
    assert "not on this machine" in caught.value.cause
    assert url in caught.value.hint
    assert not home.exists()
    assert not hub.exists()


@pytest.mark.parametrize("right", [True, False])
def test_models_are_taken_from_the_hubs_cache_at_one_revision(hub, tmp_path, right, monkeypatch):
    folder, model = clip_folder(tmp_path / "model", whole=True)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    known = transformers._CLIP
    stored = hub / "models--openai--clip-vit-base-patch32" / "snapshots"
    shutil.copytree(folder, stored / ("1" * 40))  # another revision does not count
    with pytest.raises(MissingFile):
        load_extractor("clip-vit-b32", CPU)
    shutil.copytree(folder, stored / known.revision)
    if not right:
        cause, hint = refused("clip-vit-b32")
        assert "is not the file that openai/clip-vit-base-patch32 publishes" in cause
        assert known.sha256[:12] in cause and "fetched again" in hint
        return
    sha256 = sha256_of(folder / "pytorch_model.bin")
    monkeypatch.setattr(transformers, "_CLIP", replace(known, sha256=sha256))
    extractor = load_extractor("clip-vit-b32", CPU)
    named = load_extractor(f"clip-vit-b32:{folder}", CPU)
    given = images(2, 3, 30, 30)
    assert extractor.published == named.published == "clean_clip_vit_b_32"
    assert extractor.fingerprint == named.fingerprint
    assert torch.equal(extractor(given), named(given))
