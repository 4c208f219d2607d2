import json
import shutil

import pytest
import torch
from diffusers import EulerDiscreteScheduler
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers import StableDiffusionPipeline
from diffusers import StableDiffusionXLPipeline

from lambda_search.diffusion.noise import balanced_labels
from lambda_search.diffusion.noise import normal
from lambda_search.errors import UsageError
from lambda_search.models.diffusers.prompts import read_text_config
from lambda_search.models.registry import load_model
from lambda_search.models.running import running
from lambda_search.models.sampling import sample
from lambda_search.schedule import LambdaSchedule
from lambda_search.spec import located
from lambda_search.spec import parse_specs
from tests.asking import asked
from tests.models import tiny_pipelines as tiny

ONE = LambdaSchedule()
PROMPTS = ["a cat", "two red dogs", "the sea at night"]
STEPS = 6


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tiny.stable_diffusion(tmp_path_factory.mktemp("text") / "sd")


@pytest.fixture(scope="session")
def folder_xl(tmp_path_factory):
    return tiny.stable_diffusion_xl(tmp_path_factory.mktemp("text") / "sdxl")


@pytest.fixture
def broken(folder, tmp_path):
    """A copy of a good folder, to break."""
    return shutil.copytree(folder, tmp_path / "broken")


def load(folder, **config):
    return load_model("diffusers", folder, {"prompts": PROMPTS} | config)


def refused(call):
    """(cause, hint) of the error that `call` provokes."""
    with pytest.raises(UsageError) as caught:
        call()
    assert caught.value.cause
    assert caught.value.hint
    assert "\n" not in caught.value.cause
    return caught.value.cause, caught.value.hint


def assert_near(found, expected):
    assert found.shape == expected.shape
    assert (found - expected).abs().max() / expected.abs().max() < 1e-4


def ours(model, labels, guidance, decode=True, sampler="ddim", steps=STEPS, size=(8, 8)):
    return sample(
        model,
        sampler,
        steps,
        ONE,
        labels=torch.tensor(labels),
        guidance=guidance,
        initial=normal(3, range(len(labels)), 0, (4, *size)),
        decode=decode,
    )


def theirs(kind, folder, prompts, guidance, output="pt", steps=STEPS, size=(8, 8), **options):
    pipeline = kind.from_pretrained(folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(
        prompt=prompts,
        guidance_scale=1.0 if guidance is None else guidance,
        num_inference_steps=steps,
        latents=normal(3, range(len(prompts)), 0, (4, *size)),
        output_type=output,
        **options,
    ).images


# -- against the library's own pipelines


@pytest.mark.parametrize("guidance", [None, 7.5])
@pytest.mark.parametrize("negative", [None, "", "bad art"])
def test_stable_diffusion_samples_as_the_library_does(folder, guidance, negative):
    model = load(folder, negative_prompt=negative)
    negative = None if negative is None else [negative] * 2  # the library's rule
    prompts, labels = [PROMPTS[2], PROMPTS[0]], [2, 0]
    latents = theirs(
        StableDiffusionPipeline, folder, prompts, guidance, "latent", negative_prompt=negative
    )
    assert_near(ours(model, labels, guidance, decode=False), latents)
    images = theirs(StableDiffusionPipeline, folder, prompts, guidance, negative_prompt=negative)
    assert_near((ours(model, labels, guidance) / 2 + 0.5).clamp(0, 1), images)


@pytest.mark.parametrize("guidance", [None, 5.0])
@pytest.mark.parametrize("negative", [None, "", "bad art"])
def test_stable_diffusion_xl_samples_as_the_library_does(folder_xl, guidance, negative):
    model = load(folder_xl, negative_prompt=negative)
    prompts, labels = [PROMPTS[1], PROMPTS[2]], [1, 2]
    latents = theirs(
        StableDiffusionXLPipeline, folder_xl, prompts, guidance, "latent", negative_prompt=negative
    )
    assert_near(ours(model, labels, guidance, decode=False), latents)
    images = theirs(
        StableDiffusionXLPipeline, folder_xl, prompts, guidance, negative_prompt=negative
    )
    assert_near((ours(model, labels, guidance) / 2 + 0.5).clamp(0, 1), images)


def test_other_sizes_are_told_to_the_network(folder_xl):
    model = load(folder_xl, height=24, width=32)
    assert model.shape == (4, 12, 16)
    expected = theirs(
        StableDiffusionXLPipeline,
        folder_xl,
        PROMPTS[:2],
        4.0,
        size=(12, 16),
        height=24,
        width=32,
    )
    found = ours(model, [0, 1], 4.0, size=(12, 16))
    assert found.shape == (2, 3, 24, 32)
    assert_near((found / 2 + 0.5).clamp(0, 1), expected)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sampler", ["ddim", "euler"])
def test_an_euler_folder_samples_as_the_library_does(tmp_path, sampler, prediction_type):
    scheduler = EulerDiscreteScheduler(
        **tiny.STABLE,
        timestep_spacing="leading",
        steps_offset=1,
        prediction_type=prediction_type,
    )
    folder = tiny.stable_diffusion(tmp_path / "euler", scheduler)
    expected = theirs(StableDiffusionPipeline, folder, PROMPTS[:2], 3.0)
    found = ours(load(folder), [0, 1], 3.0, sampler=sampler)
    assert_near((found / 2 + 0.5).clamp(0, 1), expected)


def test_half_precision_weights_are_read_as_float32(folder, tmp_path):
    half = tmp_path / "half"
    StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float16).save_pretrained(half)
    expected = theirs(StableDiffusionPipeline, half, PROMPTS, 2.0, "latent")
    found = ours(load(half), [0, 1, 2], 2.0, decode=False)
    assert_near(found, expected)


def test_latents_mean_and_deviation_are_undone(folder_xl, tmp_path):
    """As in folders of Playground's kind."""
    own = shutil.copytree(folder_xl, tmp_path / "own")
    path = own / "vae" / "config.json"
    told = {"latents_mean": [0.1, -0.2, 0.3, 1.0], "latents_std": [1.0, 2.0, 0.5, 3.0]}
    path.write_text(json.dumps(json.loads(path.read_text()) | told))
    expected = theirs(StableDiffusionXLPipeline, own, PROMPTS[:2], 2.0)
    assert_near((ours(load(own), [0, 1], 2.0) / 2 + 0.5).clamp(0, 1), expected)


# -- prompts and labels


def test_guidance_one_is_the_condition_alone(folder):
    model = load(folder)
    assert torch.equal(ours(model, [0, 1], 1.0), ours(model, [0, 1], None))
    assert not torch.equal(ours(model, [0, 1], 1.5), ours(model, [0, 1], None))


def test_guidance_zero_is_the_negative_prompt(folder):
    model = load(folder, negative_prompt="bad art")
    assert (model.classes, model.null_label) == (3, 3)
    null = ours(model, [3, 3], None, decode=False)
    assert_near(ours(model, [0, 1], 0.0, decode=False), null)
    assert_near(null, ours(load(folder, prompts=["bad art"]), [0, 0], None, decode=False))


def test_a_sample_has_the_prompt_of_its_balanced_label(folder):
    model = load(folder)
    drawn = sample(model, "ddim", 3, ONE, range(6), 5, guidance=2.0, options={"batch": 3})
    labels = balanced_labels(range(6), 3)
    assert sorted(labels[:3].tolist()) == sorted(labels[3:].tolist()) == [0, 1, 2]
    for index in range(6):
        alone = load(folder, prompts=[PROMPTS[labels[index]]])
        one = sample(alone, "ddim", 3, ONE, [index], 5, guidance=2.0, options={"batch": 3})
        assert_near(drawn[index : index + 1], one)


def test_images_do_not_depend_on_what_else_was_asked_for(folder):
    model = load(folder)
    options = {"options": {"batch": 4}, "guidance": 3.0}
    some = sample(model, "ddim", 3, ONE, [5], **options)
    every = sample(load(folder), "ddim", 3, ONE, range(8), **options)
    assert torch.equal(some[0], every[5])


def test_lambda_changes_images_and_one_changes_no_bit(folder):
    model = load(folder)
    x = {"indices": range(2), "guidance": 3.0, "options": {"batch": 2}}
    plain = sample(model, "ddim", 3, ONE, **x)
    assert torch.equal(plain, sample(model, "ddim", 3, LambdaSchedule(1.0, 0.0), **x))
    assert not torch.equal(plain, sample(model, "ddim", 3, LambdaSchedule(1.01, 0.0), **x))


def test_a_prompt_is_encoded_once(folder, monkeypatch):
    asked = []
    encode = StableDiffusionPipeline.encode_prompt

    def counted(self, prompt, *args, **options):
        asked.append(prompt)
        return encode(self, prompt, *args, **options)

    monkeypatch.setattr(StableDiffusionPipeline, "encode_prompt", counted)
    model = load(folder)
    assert asked == []
    sample(model, "ddim", 3, ONE, range(12), guidance=3.0, options={"batch": 4})
    assert sorted(asked) == sorted(["", *PROMPTS])


def test_embeddings_are_in_float32_whatever_the_networks_precision(folder):
    model = load(folder)
    with torch.inference_mode(), running(torch.device("cpu"), "bf16"):
        embeddings, pooled = model._encode(0)
    assert pooled is None
    assert embeddings.dtype == torch.float32
    expected = StableDiffusionPipeline.from_pretrained(folder).encode_prompt(
        PROMPTS[0], "cpu", 1, False
    )[0]
    assert torch.equal(embeddings, expected)


def test_a_file_has_one_prompt_a_line(folder, tmp_path):
    (tmp_path / "prompts.txt").write_text("a cat\n\n  two red dogs \n\t\nthe sea at night\n\n")
    (tmp_path / "config.yaml").write_text("prompts: prompts.txt\n")
    listed = load(folder)
    for config in ({"prompts": str(tmp_path / "prompts.txt")}, tmp_path / "config.yaml"):
        model = load_model("diffusers", folder, config)
        assert (model.classes, model.definition) == (3, listed.definition)


def test_a_study_finds_the_prompts_beside_its_file(folder, tmp_path):
    (tmp_path / "prompts.txt").write_text("a cat\n")
    study = f"""
name: text
model: {{framework: diffusers, checkpoint: {folder}, config: {{prompts: ./prompts.txt}}}}
sampler: {{name: ddim, steps: 3, guidance: 3.0}}
metric: {{extractor: bundled, reference: none}}
"""
    spec = located(parse_specs(study)[0], [tmp_path])
    model = load_model(spec.model.framework, spec.model.checkpoint, spec.model.config)
    assert model.classes == 1


# -- what names the model


def test_the_definition_holds_all_that_the_weights_are_run_with(folder, folder_xl, tmp_path):
    models = [
        load(folder),
        load(folder, prompts=PROMPTS[:2]),
        load(folder, prompts=PROMPTS[::-1]),
        load(folder, negative_prompt="bad art"),
        load(folder, height=32),
        load(folder_xl),
    ]
    for part, entry in (
        ("unet/config.json", {"freq_shift": 1}),
        ("vae/config.json", {"scaling_factor": 0.2}),
        ("scheduler/scheduler_config.json", {"timestep_spacing": "trailing"}),
        ("text_encoder/config.json", {"hidden_act": "gelu"}),
        ("tokenizer/tokenizer_config.json", {"model_max_length": 9}),
    ):
        other = shutil.copytree(folder, tmp_path / part.replace("/", "-"))
        path = other / part
        path.write_text(json.dumps(json.loads(path.read_text()) | entry))
        models.append(load(other))
        assert models[-1].sha256 == models[0].sha256
    assert len({model.definition for model in models}) == len(models)
    same = load(shutil.copytree(folder, tmp_path / "elsewhere"))
    assert (same.definition, same.sha256) == (models[0].definition, models[0].sha256)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_the_name_is_of_all_weights(folder, tmp_path, part):
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    next(iter(getattr(pipeline, part).parameters())).data.mul_(2)
    pipeline.save_pretrained(tmp_path / "other")
    assert load(tmp_path / "other").sha256 != load(folder).sha256


# -- errors


@pytest.mark.parametrize(
    ("config", "cause"),
    [
        (None, "needs prompts"),
        ({}, "prompts: Field required"),
        ({"prompts": []}, "prompts: "),
        ({"prompts": ["a cat", " "]}, "Prompt 1 of the config is blank"),
        ({"prompts": 3}, "prompts: "),
        ({"prompts": "missing.txt"}, "missing.txt cannot be read: there is no such file."),
        ({"prompts": ["a cat"], "promts": []}, "promts: "),
        ({"prompts": ["a cat"], "height": 0}, "height: "),
        ({"prompts": ["a cat"], "height": 17}, "height cannot be 17"),
        ({"prompts": ["a cat"], "width": 33}, "width cannot be 33"),
    ],
)
def test_a_config_that_makes_no_sense(folder, config, cause):
    assert cause in refused(lambda: load_model("diffusers", folder, config))[0]


@pytest.mark.parametrize("content", [b"", b"\n \n\t\n", b"\xff\xfe\x00"])
def test_a_file_without_prompts(folder, tmp_path, content):
    (tmp_path / "prompts.txt").write_bytes(content)
    cause, hint = refused(lambda: load(folder, prompts=str(tmp_path / "prompts.txt")))
    assert "prompts" in cause
    assert "one prompt a line" in hint


def test_a_prompt_ends_with_its_line_and_not_before(folder, tmp_path):
    text = "\ufeffa cat\u2028on a mat\r\na\x0bdog\x85\n"
    (tmp_path / "prompts.txt").write_text(text, "utf-8", newline="")
    found = read_text_config({"prompts": str(tmp_path / "prompts.txt")})
    assert found.prompts == ("a cat\u2028on a mat", "a\x0bdog")


def test_a_folder_of_prompts_is_no_file(folder, tmp_path):
    assert str(tmp_path) in refused(lambda: load(folder, prompts=str(tmp_path)))[0]


def test_labels_that_name_no_prompt(folder):
    refused(lambda: ours(load(folder), [4], None))


def test_prompts_for_a_pipeline_without_text(ddpm_folder):
    cause, hint = refused(lambda: load(ddpm_folder))
    assert "needs no config" in cause
    assert "model.config" in hint


@pytest.mark.parametrize("part", ["vae", "text_encoder", "tokenizer", "unet", "scheduler"])
def test_a_missing_part(broken, part):
    shutil.rmtree(broken / part)
    assert f"has no folder {part}" in refused(lambda: load(broken))[0]


@pytest.mark.parametrize("part", ["vae", "text_encoder", "text_encoder_2", "tokenizer_2"])
def test_a_part_that_the_index_leaves_out(folder_xl, tmp_path, part):
    own = shutil.copytree(folder_xl, tmp_path / "own")
    index = json.loads((own / "model_index.json").read_text())
    (own / "model_index.json").write_text(json.dumps(index | {part: [None, None]}))
    cause, hint = refused(lambda: load(own))
    assert f"names no {part}" in cause
    assert "AutoencoderKL" in hint or "CLIP" in hint


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
@pytest.mark.parametrize("kept", [0, 1000, -1])
def test_truncated_weights(broken, part, kept):
    [weights] = (broken / part).glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:kept])
    assert "cannot be read" in refused(lambda: load(broken))[0]


@pytest.mark.parametrize("name", ["vocab.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_broken_tokenizer(broken, name):
    for file in (broken / "tokenizer").iterdir():
        file.write_text("{")
    assert "cannot be read" in refused(lambda: load(broken))[0]


@pytest.mark.parametrize(
    ("entry", "cause"),
    [
        ({"_class_name": "StableDiffusionInpaintPipeline"}, "it is a StableDiffusionInpaint"),
        ({"unet": ["diffusers", "UNet3DConditionModel"]}, "its unet is a UNet3DConditionModel"),
        ({"unet": ["my_code", "UNet2DConditionModel"]}, "code of its own (my_code.UNet2D"),
        ({"vae": ["diffusers", "AsymmetricAutoencoderKL"]}, "its vae is a Asymmetric"),
        ({"text_encoder": ["transformers", "T5EncoderModel"]}, "its text_encoder is a T5"),
        ({"scheduler": ["diffusers", "LCMScheduler"]}, "its scheduler is a LCMScheduler"),
    ],
)
def test_a_pipeline_of_another_kind(broken, entry, cause):
    index = json.loads((broken / "model_index.json").read_text())
    (broken / "model_index.json").write_text(json.dumps(index | entry))
    assert cause in refused(lambda: load(broken))[0]


def test_code_in_the_folder_is_not_run(broken):
    """The library itself would import the file."""
    (broken / "unet" / "mine.py").write_text("raise SystemExit('executed')")
    (broken / "pipeline.py").write_text("raise SystemExit('executed')")
    index = json.loads((broken / "model_index.json").read_text())
    for entry in ({"unet": ["mine", "Mine"]}, {"_class_name": ["pipeline", "Mine"]}):
        (broken / "model_index.json").write_text(json.dumps(index | entry))
        refused(lambda: load(broken))


def test_flow_matching_is_refused(tmp_path):
    folder = tiny.stable_diffusion(tmp_path / "flow", FlowMatchEulerDiscreteScheduler())
    cause, hint = refused(lambda: load(folder))
    assert "FlowMatchEulerDiscreteScheduler" in cause
    assert "variance-preserving" in hint
    assert "EulerDiscreteScheduler" in hint


def test_a_network_with_more_inputs_is_refused(tmp_path):
    folder = tiny.stable_diffusion(tmp_path / "inpaint", unet={"in_channels": 9})
    assert "9" in refused(lambda: load(folder))[0]
    folder = tiny.stable_diffusion(tmp_path / "distilled", unet={"time_cond_proj_dim": 8})
    assert "time_cond_proj_dim" in refused(lambda: load(folder))[0]


def test_a_size_that_is_not_known_must_be_given(tmp_path):
    folder = tiny.stable_diffusion(tmp_path / "sd")
    path = folder / "unet" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sample_size": None}))
    assert "height is not known" in refused(lambda: load(folder))[0]
    assert load(folder, height=16, width=8).shape == (4, 8, 4)


def test_latents_have_the_options_of_the_scheduler(folder):
    model = load(folder)
    found = model.resolve(asked("ddim", 4)).options
    assert (found.grid, found.clip, found.eta) == ("leading", False, 0.0)
