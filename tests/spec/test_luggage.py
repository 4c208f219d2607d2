"""What travels with study files: what they name relatively, as it lies; nothing else."""

from pathlib import Path

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


def laid(folder):
    return {str(path.relative_to(folder)) for path in walk(folder) if path.is_file()}


def walk(folder):
    for path in folder.iterdir():
        yield path
        if path.is_dir():
            yield from walk(path)


def test_files_and_folders_lie_there_as_they_lie_here(root, tmp_path):
    write(
        root / "studies/one.yaml",
        checkpoint="../weights/pipeline",
        config="../weights/own.json",
        reference="images:../photos",
    )
    write(root / "studies/deep/two.yaml", checkpoint="../../weights/pipeline/unet")
    folder = tmp_path / "packed"
    folder.mkdir()
    files = packed([root / "studies"], folder)
    assert sorted(files) == ["studies/deep/two.yaml", "studies/one.yaml"]
    assert laid(folder) == {
        "studies/one.yaml",
        "studies/deep/two.yaml",
        "weights/own.json",
        "weights/prompts.txt",
        "weights/pipeline/model_index.json",
        "weights/pipeline/unet/weights.safetensors",
        "photos/one.png",
    }
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
    folder = tmp_path / "packed"
    folder.mkdir()
    assert packed([file], folder) == ["one.yaml"]
    assert laid(folder) == {"one.yaml"}


def test_an_extractors_file_travels(root, tmp_path):
    file = write(root / "studies/one.yaml", extractor="torchscript:../eyes/eyes.pt")
    folder = tmp_path / "packed"
    folder.mkdir()
    packed([file], folder)
    assert laid(folder) == {"studies/one.yaml", "eyes/eyes.pt"}


def test_more_than_a_job_takes_is_refused_by_its_largest(root, tmp_path, monkeypatch):
    monkeypatch.setattr("lambda_search.spec.luggage.LARGEST", 500)
    (root / "weights/other.pt").write_bytes(b"w" * 1000)
    file = write(root / "studies/one.yaml", checkpoint="../weights/other.pt")
    with pytest.raises(UsageError, match=r"other\.pt the most"):
        packed([file], Path(tmp_path))
