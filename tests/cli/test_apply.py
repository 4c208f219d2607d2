"""`apply` draws what a row does, for the very model that it was measured with, or says why not."""

import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import lambda_search as ls
from lambda_search.models.options import sampling_of
from lambda_search.models.sampling import to_uint8
from lambda_search.setting import Setting
from lambda_search.store.store import Store
from lambda_search.work.contact_sheet import side_by_side
from tests.store.test_store import begin
from tests.store.test_store import row

STEPS = 4


@pytest.fixture(scope="module")
def model(tiny_pipeline):
    return ls.load_model("diffusers", tiny_pipeline)


@pytest.fixture
def store():
    opened = Store()
    yield opened
    opened.close()


def measured(store, model, folder, name="tiny", sampler="ddim", b=1.3, k=-0.01, site="full"):
    sampling = model.resolve(sampling_of(sampler, STEPS, site=site))
    setting = Setting(
        **sampling.model_dump(),
        model=name,
        weights=model.sha256,
        framework="diffusers",
        definition=model.definition,
        extractor="bundled@1",
        reference="r@2",
    )
    found = row(setting, name, b=b, k=k)
    told = replace(found.provenance, checkpoint=str(folder), config=None)
    return store.publish(begin(store, setting, name), replace(found, provenance=told))


@pytest.fixture
def found(store, model, tiny_pipeline):
    return measured(store, model, tiny_pipeline)


def halves(place, n):
    """The grids of the picture, uint8 [n, h, w] each."""
    columns = int(np.ceil(np.sqrt(n)))
    pixels = np.asarray(Image.open(place))[..., 0]
    width = (pixels.shape[1] - 3 * 16) // 2
    side = width // columns
    rows = -(-n // columns)
    bottom = pixels[-16 - rows * side : -16]
    for start in (16, width + 32):
        grid = bottom[:, start : start + width]
        cells = grid.reshape(rows, side, columns, side).transpose(0, 2, 1, 3)
        yield cells.reshape(-1, side, side)[:n]


def test_both_grids_are_what_the_model_samples(cli, found, model, tmp_path):
    code, out, err = cli("apply", "tiny", "--steps", STEPS, "--out", tmp_path, "-n", 5, "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["row"]["id"] == found.id and told["evidence"] is None
    for grid, schedule in zip(
        halves(told["picture"], 5), (ls.LambdaSchedule(), found.schedule), strict=True
    ):
        images = to_uint8(ls.sample(model, "ddim", STEPS, schedule, range(5)))[:, 0].numpy()
        enlarged = grid.shape[1] // images.shape[1]
        np.testing.assert_array_equal(
            grid, images.repeat(enlarged, axis=1).repeat(enlarged, axis=2)
        )


def test_the_picture_lies_where_it_is_said(cli, found, tmp_path):
    folder = tmp_path / "a" / "b"
    code, _, err = cli("apply", "tiny", "--steps", STEPS, "--out", folder, "-n", 2)
    assert code == 0, err
    assert [one.name for one in folder.iterdir()] == ["tiny-ddim-4.png"]
    assert str(folder / "tiny-ddim-4.png") in err and found.id[:12] in err


def test_the_distances_are_those_of_evaluate(cli, found, model, tmp_path):
    real = tmp_path / "real.npz"
    images = np.random.default_rng(0).integers(0, 256, (400, 8, 8, 1), np.uint8)
    np.savez(real, arr_0=images)
    words = ("--reference", f"images:{real}", "--samples", 16, "--json")
    code, out, err = cli("apply", "tiny", "--steps", STEPS, "--out", tmp_path, *words)
    assert code == 0, err
    with pytest.warns(UserWarning):
        alone = ls.evaluate(
            model,
            "ddim",
            STEPS,
            found.schedule,
            n=16,
            extractor="bundled",
            reference=f"images:{real}",
        )
    told = json.loads(out)["evidence"]
    assert (told["fid"], told["baseline_fid"]) == (alone.fid, alone.baseline_fid)
    assert "caution" in err  # of 400 images


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--steps", 7), 3, "No row"),
        (("--steps", STEPS, "--reference", "nowhere.npz"), 2, "nowhere.npz"),
        (("--steps", STEPS, "--extractor", "bundled"), 2, "--reference"),
        (("--steps", STEPS, "--checkpoint", "nowhere"), 2, "nowhere"),
        (("--steps", STEPS, "--device", "moon"), 2, "moon"),
        (("--steps", STEPS, "--row", "ffff"), 2, "ffff"),
    ],
)
def test_what_cannot_be_drawn_is_said_before_anything_is(cli, found, tmp_path, words, code, said):
    answer, _, err = cli("apply", "tiny", *words, "--out", tmp_path / "pictures")
    assert answer == code and said in err.replace("\n", " ")
    assert not list(tmp_path.rglob("*.png"))


def test_other_weights_have_another_row(cli, found, tiny_pipeline, tmp_path):
    from safetensors.torch import load_file
    from safetensors.torch import save_file

    other = tmp_path / "other"
    shutil.copytree(tiny_pipeline, other)
    [file] = (other / "unet").glob("*.safetensors")
    state = load_file(file)
    save_file({name: 2 * one for name, one in state.items()}, file)
    code, _, err = cli("apply", "tiny", "--steps", STEPS, "--checkpoint", other)
    assert code == 2 and "other weights" in err and f"init {other}" in err


def test_a_row_without_a_gain_has_no_picture(cli, store, model, tiny_pipeline):
    measured(store, model, tiny_pipeline, "flat", b=1.0, k=0.0)
    code, _, err = cli("apply", "flat", "--steps", STEPS)
    assert code == 1 and "λ = 1" in err


def test_a_published_row_asks_for_its_file(cli):
    code, _, err = cli("apply", "adm-cifar10", "--steps", 20)
    assert code == 2 and "--checkpoint" in err


def test_a_row_of_another_question_says_where_it_belongs(cli, found):
    code, _, err = cli("apply", "tiny", "--steps", 9, "--row", found.id[:12])
    assert code == 2 and f"apply tiny --steps {STEPS} --row {found.id[:12]}" in err


def test_a_place_that_cannot_be_written_is_said_before_anything_is_sampled(cli, found, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "there" / "tiny-ddim-4.png").mkdir(parents=True)
    for folder in ("file", "file/below", "there"):
        code, _, err = cli("apply", "tiny", "--steps", STEPS, "--out", tmp_path / folder)
        assert code == 1 and "cannot be written" in err and "--out" in err
    assert (tmp_path / "file").read_text() == "mine"


def test_a_row_by_its_id_is_not_asked_for_otherwise_too(cli, found):
    words = ("--row", found.id[:12], "--sampler", "euler")
    code, _, err = cli("apply", "tiny", "--steps", STEPS, *words)
    assert code == 2 and "--sampler" in err


@pytest.mark.parametrize(("site", "has"), [("full", True), ("x0_only", False)])
def test_a_pipelines_line_is_for_what_a_pipeline_does(cli, store, model, tiny_pipeline, site, has):
    measured(store, model, tiny_pipeline, f"at-{site}".replace("_", "-"), site=site)
    out = cli("best", f"at-{site}".replace("_", "-"), "--steps", STEPS)[1]
    assert ("scale_epsilon" in out) is has


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 40, 24), (4, 600, 500)])
def test_any_images_make_a_picture(shape):
    images = np.random.default_rng(0).integers(0, 256, (3, *shape), np.uint8)
    png = side_by_side(images, images[::-1].copy(), (["lambda = 1", "FID 3"], ["lambda = 2"]))
    picture = Image.open(io.BytesIO(png))
    assert picture.format == "PNG" and picture.width > 2 * 64
