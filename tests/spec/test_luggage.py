"""What travels with study files: what they name relatively, as it lies; nothing else."""

import json
from zipfile import ZipFile

import pytest

from lambda_search.errors import UsageError
from lambda_search.spec import packed
from lambda_search.spec import read_specs

STUDY = """
name: {name}
model: {{framework: diffusers, checkpoint: "{checkpoint}", config: {config}}}
sampler: {{name: ancestral, steps: [4, 8]}}
metric: {{name: fid, extractor: "{extractor}", reference: "{reference}"}}
"""


@pytest.fixture
def root(tmp_path):
    for name in ("studies/deep", "weights/pipeline/unet", "photos", "eyes"):
        (tmp_path / "mine" / name).mkdir(parents=True)
    root = tmp_path / "mine"
    (root / "weights/pipeline/model_index.json").write_text("{}")
    (root / "weights/pipeline/unet/weights.safetensors").write_bytes(b"w" * 10)
    (root / "weights/other.pt").write_bytes(b"not named")
    (root / "photos/one.png").write_bytes(b"picture")
    (root / "eyes/eyes.pt").write_bytes(b"eyes")
    (root / "weights/own.json").write_text('{"prompts": "prompts.txt"}')
    (root / "weights/prompts.txt").write_text("a cat\n")
    return root


def write(path, **fields):
    known = {
        "name": path.stem,
        "checkpoint": "bundled:fashion-mnist",
        "config": "null",
        "extractor": "bundled",
        "reference": "bundled:fashion-mnist",
    }
    path.write_text(STUDY.format(**known | fields))
    return path


def laid(archive):
    with ZipFile(archive) as written:
        return set(written.namelist())


def test_files_and_folders_lie_there_as_they_lie_here(root, tmp_path):
    write(
        root / "studies/one.yaml",
        checkpoint="../weights/pipeline",
        config="../weights/own.json",
        reference="images:../photos",
    )
    write(root / "studies/deep/two.yaml", checkpoint="../../weights/pipeline/unet")
    files = packed([root / "studies"], tmp_path / "packed.zip")
    assert sorted(files) == ["studies/deep/two.yaml", "studies/one.yaml"]
    assert laid(tmp_path / "packed.zip") == {
        "studies/one.yaml",
        "studies/deep/two.yaml",
        "weights/own.json",
        "weights/prompts.txt",
        "weights/pipeline/model_index.json",
        "weights/pipeline/unet/weights.safetensors",
        "photos/one.png",
    }
    folder = tmp_path / "unpacked"
    with ZipFile(tmp_path / "packed.zip") as written:
        written.extractall(folder)
    here = [one.spec for one in read_specs(root / "studies")]
    assert [one.spec for one in read_specs(folder / "studies")] == here


def test_what_is_the_clusters_own_stays(root, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(root))
    file = write(
        root / "studies/one.yaml",
        checkpoint=f"{root}/weights/other.pt",
        extractor="torchscript:~/eyes/eyes.pt",
        reference="nowhere/reference.npz",
    )
    assert packed([file], tmp_path / "packed.zip") == ["one.yaml"]
    assert laid(tmp_path / "packed.zip") == {"one.yaml"}


def test_what_is_written_beside_a_file_travels_with_it(root, tmp_path):
    (root / "eyes/eyes.json").write_text('{"size": 299}')
    (root / "weights/own.safetensors").write_bytes(b"w")
    file = write(
        root / "studies/one.yaml",
        checkpoint="../weights/own.safetensors",
        extractor="torchscript:../eyes/eyes.pt",
    )
    packed([file], tmp_path / "packed.zip")
    assert laid(tmp_path / "packed.zip") == {
        "studies/one.yaml",
        "eyes/eyes.pt",
        "eyes/eyes.json",
        "weights/own.safetensors",
        "weights/own.json",
        "weights/prompts.txt",
    }


def test_what_a_config_names_travels_from_the_configs_folder_on(root, tmp_path, monkeypatch):
    told = {"image_size": 32, "classifier": {"checkpoint": "../eyes/eyes.pt"}}
    (root / "weights/adm.json").write_text(json.dumps(told))
    file = write(root / "studies/one.yaml", config="../weights/adm.json")
    packed([file], tmp_path / "packed.zip")
    assert "eyes/eyes.pt" in laid(tmp_path / "packed.zip")
    monkeypatch.setenv("HOME", str(root))
    file = write(root / "studies/one.yaml", config="~/weights/adm.json")
    packed([file], tmp_path / "other.zip")
    assert laid(tmp_path / "other.zip") == {"one.yaml"}, "the config is the cluster's own"


def test_no_file_is_left_out_and_a_link_that_leads_back_is_followed_once(root, tmp_path):
    (root / "photos/.gitignore").write_text("*.png")
    (root / "photos/again").symlink_to(root / "photos")
    (root / "photos/.git").mkdir()
    (root / "photos/.git/history").write_bytes(b"all of it")
    (root / "photos/eyes").symlink_to(root / "eyes")
    file = write(root / "studies/one.yaml", reference="images:../photos")
    packed([file], tmp_path / "packed.zip")
    names = {"studies/one.yaml", "photos/.gitignore", "photos/one.png", "photos/eyes/eyes.pt"}
    assert laid(tmp_path / "packed.zip") == names


def test_a_study_in_a_linked_folder_finds_its_files_there(root, tmp_path):
    (tmp_path / "home").symlink_to(root)
    write(root / "studies/one.yaml", checkpoint="../weights/other.pt")
    [file] = packed([tmp_path / "home/studies/one.yaml"], tmp_path / "packed.zip")
    assert (file, laid(tmp_path / "packed.zip")) == (
        "studies/one.yaml",
        {"studies/one.yaml", "weights/other.pt"},
    )


def test_what_cannot_be_packed_is_one_error(root, tmp_path):
    file = write(root / "studies/one.yaml")
    with pytest.raises(UsageError, match="cannot be packed: No such file"):
        packed([file], tmp_path / "nowhere" / "packed.zip")


def test_more_than_a_job_takes_is_refused_by_its_largest(root, tmp_path, monkeypatch):
    monkeypatch.setattr("lambda_search.spec.luggage.LARGEST", 500)
    (root / "weights/other.pt").write_bytes(b"w" * 1000)
    file = write(root / "studies/one.yaml", checkpoint="../weights/other.pt")
    with pytest.raises(UsageError, match=r"With .*other\.pt the studies"):
        packed([file], tmp_path / "packed.zip")
