"""Which of a folder's files are read, and those that are none of a model's."""

import json
import os
import pickle
import shutil

import pytest
import torch
from diffusers import DDPMScheduler
from safetensors.torch import load_file
from safetensors.torch import save_file

from lambda_search.diffusion.noise import normal
from lambda_search.errors import UsageError
from lambda_search.files import sha256_of
from lambda_search.models.json_files import read_json
from lambda_search.models.registry import load_model
from tests.asking import asked
from tests.asking import at
from tests.models import tiny_pipelines as tiny

STEM = "diffusion_pytorch_model"
USUAL = f"{STEM}.safetensors"


@pytest.fixture
def own(ddpm_folder, tmp_path):
    """A copy of a good folder."""
    return shutil.copytree(ddpm_folder, tmp_path / "own")


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory):
    return tiny.stable_diffusion(tmp_path_factory.mktemp("hostile") / "sd")


@pytest.fixture
def text(text_folder, tmp_path):
    return shutil.copytree(text_folder, tmp_path / "text")


def load(folder, config=None):
    return load_model("diffusers", folder, config)


def load_text(folder):
    return load(folder, {"prompts": ["a cat"]})


@torch.no_grad()
def said(model):
    x = normal(0, range(2), 0, model.shape)
    return model.predict(x, at(300.0), None, asked()).epsilon


def refused(call):
    with pytest.raises(UsageError) as caught:
        call()
    assert "\n" not in caught.value.cause
    assert len(caught.value.cause) < 1000
    assert caught.value.hint
    return caught.value.cause


def edit(path, **entries):
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def split(unet, stem=STEM):
    """Shards instead of one file; their names."""
    state = load_file(unet / USUAL)
    (unet / USUAL).unlink()
    shards = [f"{stem}-0000{i}-of-00002.safetensors" for i in (1, 2)]
    weight_map = {name: shards[i % 2] for i, name in enumerate(state)}
    for shard in shards:
        save_file({n: v for n, v in state.items() if weight_map[n] == shard}, unet / shard)
    index = {"metadata": {}, "weight_map": weight_map}
    (unet / f"{USUAL}.index.json").write_text(json.dumps(index))
    return shards


def altered(path):
    """Other weights under that name."""
    save_file({name: value + 1 for name, value in load_file(path).items()}, path)


# -- parts in the root


@pytest.mark.parametrize("moved", [("unet", "scheduler"), ("unet",), ("scheduler",)])
def test_a_part_may_lie_in_the_root(own, ddpm_folder, moved):
    for part in moved:
        for file in (own / part).iterdir():
            file.rename(own / file.name)
        (own / part).rmdir()
    model, whole = load(own), load(ddpm_folder)
    assert torch.equal(said(model), said(whole))
    assert (model.sha256, model.definition) == (whole.sha256, whole.definition)


def test_a_network_alone_takes_its_scheduler_from_beside_it_or_from_the_config(own, ddpm_folder):
    told = json.loads((own / "scheduler" / "scheduler_config.json").read_text())
    assert "names no scheduler" in refused(lambda: load(own / "unet"))
    model = load(own / "unet", {"scheduler": told})
    assert model.definition == load(ddpm_folder).definition
    shutil.copy(own / "scheduler" / "scheduler_config.json", own / "unet")
    assert torch.equal(said(load(own / "unet")), said(load(ddpm_folder)))


def test_another_part_in_the_root_is_not_taken_for_it(text):
    shutil.copy(text / "unet" / "config.json", text)
    shutil.rmtree(text / "vae")
    assert "has no folder vae" in refused(lambda: load_text(text))


# -- variants


@pytest.mark.parametrize("variant", ["fp16", "non_ema", "bf16"])
def test_a_single_variant_is_read(own, ddpm_folder, variant):
    file = own / "unet" / f"{STEM}.{variant}.safetensors"
    (own / "unet" / USUAL).rename(file)
    model = load(own)
    assert torch.equal(said(model), said(load(ddpm_folder)))
    assert model.sha256 == sha256_of(file)


def test_a_pipeline_in_half_precision_alone(text, text_folder):
    for part, stem in (("unet", STEM), ("vae", STEM), ("text_encoder", "model")):
        file = text / part / f"{stem}.safetensors"
        file.rename(text / part / f"{stem}.fp16.safetensors")
    assert load_text(text).sha256 == load_text(text_folder).sha256


def test_the_usual_weights_come_before_variants(own, ddpm_folder):
    shutil.copy(own / "unet" / USUAL, own / "unet" / f"{STEM}.fp16.safetensors")
    altered(own / "unet" / f"{STEM}.fp16.safetensors")
    assert torch.equal(said(load(own)), said(load(ddpm_folder)))
    assert not torch.equal(said(load(own, {"variant": "fp16"})), said(load(ddpm_folder)))


def test_several_variants_are_named(own, ddpm_folder):
    unet = own / "unet"
    shutil.copy(unet / USUAL, unet / f"{STEM}.fp16.safetensors")
    (unet / USUAL).rename(unet / f"{STEM}.non_ema.safetensors")
    assert "2 variants: fp16, non_ema" in refused(lambda: load(own))
    assert torch.equal(said(load(own, {"variant": "fp16"})), said(load(ddpm_folder)))


def test_a_single_variant_of_pickles_is_read(own, ddpm_folder):
    unet = own / "unet"
    torch.save(load_file(unet / USUAL), unet / f"{STEM}.fp16.bin")
    (unet / USUAL).unlink()
    for config in (None, {"variant": "fp16"}):
        model = load(own, config)
        assert torch.equal(said(model), said(load(ddpm_folder)))
        assert model.sha256 == sha256_of(unet / f"{STEM}.fp16.bin")
    shutil.copy(unet / f"{STEM}.fp16.bin", unet / f"{STEM}.ema.bin")
    assert "2 variants: ema, fp16" in refused(lambda: load(own))


def test_a_variant_that_no_part_has_is_refused_with_those_that_are_there(own, text):
    for call in (
        lambda: load(own, {"variant": "fp61"}),
        lambda: load(text, {"prompts": ["a cat"], "variant": "fp61"}),
    ):
        with pytest.raises(UsageError, match="variant 'fp61'") as caught:
            call()
        assert "It has none" in caught.value.hint
    for folder, config in ((own, {}), (text, {"prompts": ["a cat"]})):
        shutil.copy(folder / "unet" / USUAL, folder / "unet" / f"{STEM}.fp16.safetensors")
        with pytest.raises(UsageError, match="variant 'fp61'") as caught:
            load(folder, config | {"variant": "fp61"})
        assert "The variants are fp16." in caught.value.hint
        load(folder, config | {"variant": "fp16"})  # other parts have their usual weights alone


# -- what is hashed is what is loaded


def test_shards_are_hashed_and_loaded_and_a_decoy_is_not(own, ddpm_folder):
    decoy = (own / "unet" / USUAL).read_bytes()
    shards = split(own / "unet")
    (own / "unet" / USUAL).write_bytes(decoy)
    altered(own / "unet" / USUAL)
    (own / "unet" / f"{STEM}-00003-of-00003.safetensors").write_bytes(decoy)
    model = load(own)
    assert torch.equal(said(model), said(load(ddpm_folder)))
    assert model.sha256 == sha256_of(*(own / "unet" / shard for shard in shards))


def test_shards_of_a_variant(own, ddpm_folder):
    split(own / "unet", f"{STEM}.fp16")
    index = own / "unet" / f"{USUAL}.index.json"
    index.rename(own / "unet" / f"{USUAL}.index.fp16.json")
    assert torch.equal(said(load(own)), said(load(ddpm_folder)))


def test_the_librarys_own_choice_among_a_text_encoders_files(text, text_folder):
    """transformers takes one file before an index, diffusers the index."""
    folder = text / "text_encoder"
    decoy = {"metadata": {}, "weight_map": {"a": "other.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(decoy))
    assert load_text(text).sha256 == load_text(text_folder).sha256


@pytest.mark.parametrize(
    "name",
    [
        "../diffusion_pytorch_model.safetensors",
        "/etc/passwd",
        "a/b.safetensors",
        "weights.bin",
        "..safetensors/../x.safetensors",
        ".safetensors",
        "a\\b.safetensors",
        "",
        None,
        3,
        ["a.safetensors"],
        "absent.safetensors",
        "\x1b]0;title\x07.safetensors",
    ],
)
def test_an_index_names_plain_files_beside_it(own, name):
    shards = split(own / "unet")
    index = own / "unet" / f"{USUAL}.index.json"
    told = json.loads(index.read_text())
    told["weight_map"]["conv_in.weight"] = name
    index.write_text(json.dumps(told))
    shutil.copy(own / "unet" / shards[0], own / "diffusion_pytorch_model.safetensors")
    cause = refused(lambda: load(own))
    assert "index.json" in cause
    assert "\x1b" not in cause


@pytest.mark.parametrize("told", [{}, {"weight_map": {}}, {"weight_map": []}, [], "x"])
def test_an_index_that_is_none(own, told):
    split(own / "unet")
    (own / "unet" / f"{USUAL}.index.json").write_text(json.dumps(told))
    assert "index.json" in refused(lambda: load(own))


def test_shards_without_an_index(own):
    split(own / "unet")
    (own / "unet" / f"{USUAL}.index.json").unlink()
    assert "no index" in refused(lambda: load(own))


def test_links_lead_nowhere_but_to_the_hubs_own_files(own, tmp_path):
    weights, elsewhere = own / "unet" / USUAL, tmp_path / "elsewhere"
    weights.rename(elsewhere)
    weights.symlink_to(elsewhere)
    assert "leads out of" in refused(lambda: load(own))
    kept = tmp_path / "models--a--b"
    (kept / "blobs").mkdir(parents=True)
    elsewhere.rename(kept / "blobs" / "0a1b")
    shutil.copytree(own, kept / "snapshots" / "abc", symlinks=True)
    linked = kept / "snapshots" / "abc" / "unet" / USUAL
    linked.unlink()
    linked.symlink_to("../../../blobs/0a1b")
    assert load(kept / "snapshots" / "abc").shape == (1, 8, 8)


def test_weights_that_lack_a_tensor_are_not_made_up(own, text):
    for folder, file, reading in (
        (own, own / "unet" / USUAL, load),
        (text, text / "text_encoder" / "model.safetensors", load_text),
        (text, text / "vae" / USUAL, load_text),
    ):
        whole = file.read_bytes()
        state = load_file(file)
        last = sorted(state)[-1]
        save_file({name: value for name, value in state.items() if name != last}, file)
        assert str(folder) in refused(lambda reading=reading, folder=folder: reading(folder))
        file.write_bytes(whole)


# -- pickles


class Runs:
    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_pickles_are_read_as_data(text, text_folder, part, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    [file] = (text / part).glob("*.safetensors")
    state = load_file(file)
    file.unlink()
    pickled = text / part / ("pytorch_model.bin" if part == "text_encoder" else f"{STEM}.bin")
    torch.save(state, pickled)
    model = load_text(text)
    assert (model.shape, model.definition) == ((4, 8, 8), load_text(text_folder).definition)
    pickled.write_bytes(pickle.dumps({"a": Runs()}))
    assert "wants to run" in refused(lambda: load_text(text))
    assert not (tmp_path / "executed").exists()


# -- configurations


HOSTILE = {
    "too deep": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "deep": '{"a":' * 100 + "1" + "}" * 100,
    "twice": '{"a": 1, "b": 2, "a": 3}',
    "twice and long": "{" + ",".join(f'"k{i % 50_000}": 1' for i in range(50_001)) + "}",
    "nan": '{"a": NaN}',
    "infinite": '{"a": 1e999}',
    "digits": '{"a": ' + "9" * 900_000 + "}",
    "large": '{"a": "' + "x" * (1 << 20) + '"}',
    "no mapping": "[1]",
    "no text": "\udcff",
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize(
    "file", ["model_index.json", "unet/config.json", "scheduler/scheduler_config.json"]
)
def test_json_that_no_model_needs(own, file, name):
    (own / file).write_bytes(HOSTILE[name].encode(errors="surrogateescape"))
    assert file.rpartition("/")[2] in refused(lambda: load(own))


@pytest.mark.parametrize("kind", [os.mkfifo, os.mkdir])
def test_a_configuration_is_a_regular_file(own, kind):
    (own / "unet" / "config.json").unlink()
    kind(own / "unet" / "config.json")
    assert "config.json" in refused(lambda: load(own))


CODE = {"auto_map": {"AutoModel": "mine.Mine"}}


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("text_encoder/config.json", CODE),
        ("text_encoder/config.json", {"text_config": CODE}),
        ("text_encoder/config.json", {"a": [{"b": [CODE]}]}),
        ("text_encoder/config.json", {"attn_implementation": "owner/kernels"}),
        ("tokenizer/tokenizer_config.json", CODE),
        ("tokenizer/tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["mine.Mine", None]}}),
        ("unet/config.json", CODE),
        ("vae/config.json", CODE),
        ("scheduler/scheduler_config.json", CODE),
        ("model_index.json", CODE),
    ],
)
def test_names_of_code_are_refused_wherever_they_stand(text, file, told, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question was asked"))
    edit(text / file, **told)
    assert "none is ever run" in refused(lambda: load_text(text))


@pytest.mark.parametrize(
    "entry",
    [
        {"_class_name": ["pipeline", "Mine"]},
        {"_class_name": {"a": 1}},
        {"unet": ["mine", "Mine"]},
        {"vae": ["mine.code", "AutoencoderKL"]},
        {"scheduler": ["..scheduler", "DDIMScheduler"]},
        {"tokenizer": ["builtins", "exec"]},
    ],
)
def test_code_in_the_index_is_refused_by_name(text, entry):
    edit(text / "model_index.json", **entry)
    cause = refused(lambda: load_text(text))
    assert "code of its own" in cause
    assert next(iter(entry)) in cause


def test_a_text_encoder_of_another_type_is_refused(text):
    edit(text / "text_encoder" / "config.json", model_type="t5")
    assert "'t5'" in refused(lambda: load_text(text))


HUGE = 10**9


@pytest.mark.parametrize(
    ("file", "entry"),
    [
        ("unet/config.json", {"block_out_channels": [HUGE, HUGE]}),
        ("unet/config.json", {"layers_per_block": HUGE}),
        ("unet/config.json", {"transformer_layers_per_block": HUGE}),
        ("unet/config.json", {"cross_attention_dim": HUGE}),
        ("unet/config.json", {"in_channels": HUGE}),
        ("unet/config.json", {"sample_size": HUGE}),
        ("unet/config.json", {"sample_size": [8, HUGE]}),
        ("unet/config.json", {"sample_size": "8"}),
        ("unet/config.json", {"sample_size": -8}),
        ("unet/config.json", {"down_block_types": ["DownBlock2D"] * 10_000}),
        ("unet/config.json", {"block_out_channels": 8}),
        ("unet/config.json", {"act_fn": "x" * 100_000}),
        ("vae/config.json", {"latent_channels": HUGE}),
        ("vae/config.json", {"layers_per_block": HUGE}),
        ("text_encoder/config.json", {"vocab_size": HUGE}),
        ("text_encoder/config.json", {"num_hidden_layers": HUGE}),
        ("text_encoder/config.json", {"hidden_size": 4 * HUGE}),
        ("text_encoder/config.json", {"max_position_embeddings": HUGE}),
        ("text_encoder/config.json", {"num_hidden_layers": "12"}),
        ("tokenizer/tokenizer_config.json", {"model_max_length": HUGE}),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": HUGE}),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": 0}),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": "1000"}),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": True}),
        ("scheduler/scheduler_config.json", {"trained_betas": [0.1] * 100_001}),
        ("scheduler/scheduler_config.json", {"trained_betas": "x"}),
        ("scheduler/scheduler_config.json", {"trained_betas": [1.5] * 10}),
        ("scheduler/scheduler_config.json", {"beta_start": "a"}),
        ("scheduler/scheduler_config.json", {"beta_start": -1.0, "beta_schedule": "linear"}),
        ("scheduler/scheduler_config.json", {"beta_schedule": "own"}),
    ],
)
def test_sizes_that_the_weights_do_not_bear_are_refused(text, file, entry):
    edit(text / file, **entry)
    refused(lambda: load_text(text))


def test_entries_that_no_text_encoder_needs_change_nothing(text, text_folder):
    edit(text / "text_encoder" / "config.json", num_labels=HUGE, quantization_config={"a": 1})
    assert load_text(text).sha256 == load_text(text_folder).sha256


def test_infinite_numbers_are_the_libraries_own_word(tmp_path):
    (tmp_path / "a.json").write_text('{"lambda_min_clipped": -Infinity, "model_max_length": 1e30}')
    assert read_json(tmp_path / "a.json")["lambda_min_clipped"] == -float("inf")


def test_few_training_timesteps(make_pipeline):
    for count in (1, 2, 5, 10):
        model = load(make_pipeline(DDPMScheduler(num_train_timesteps=count)))
        assert len(model.grid(model.resolve(asked("ancestral", count)))) == count
        cause = refused(lambda model=model, n=count + 1: model.resolve(asked("ancestral", n)))
        assert f"{count + 1} steps" in cause
