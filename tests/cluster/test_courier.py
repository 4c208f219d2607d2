"""Files of the driver's host on hosts that lack them."""

import hashlib
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from ray.exceptions import RayTaskError

from lambda_search import paths
from lambda_search.cluster import courier
from lambda_search.cluster.courier import Files
from lambda_search.cluster.courier import received
from lambda_search.errors import LambdaSearchError
from lambda_search.models.registry import load_model
from lambda_search.paths import fetched_folder


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a file of several blocks, an empty one, and one below."""
    monkeypatch.setattr(courier, "_BLOCK", 1000)
    folder = tmp_path / "driver" / "model"
    (folder / "unet").mkdir(parents=True)
    (folder / "index.json").touch()
    (folder / "unet" / "weights.bin").write_bytes(os.urandom(2500))
    return folder


def brought(place, files=None, block=None):
    files = files or Files()
    return received(
        place,
        files.contents(str(place)),
        block or (lambda name, number: files.read(str(place), name, number)),
    )


def content_of(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_folder_comes_whole_once(place):
    asked = []

    def block(name, number):
        asked.append((Path(name).name, number))
        return Files().read(str(place), name, number)

    copy = brought(place, block=block)
    assert copy.name == "model" and content_of(copy) == content_of(place)
    assert asked == [("weights.bin", 0), ("weights.bin", 1), ("weights.bin", 2)]
    assert brought(place, block=block) == copy and len(asked) == 3, "it is here already"
    (place / "index.json").write_text("{}")
    assert brought(place) != copy, "another content"


def test_hashes_are_of_the_content(place):
    (index, weights) = Files().contents(str(place))
    assert index.sha256 == hashlib.sha256(b"").hexdigest()
    there = (place / "unet" / "weights.bin").read_bytes()
    assert weights == ("model/unet/weights.bin", 2500, hashlib.sha256(there).hexdigest())


def test_a_converted_file_brings_its_config(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"weights")
    (tmp_path / "x.json").write_text("{}")
    copy = brought(tmp_path / "x.safetensors")
    assert copy.read_bytes() == b"weights" and copy.with_suffix(".json").read_text() == "{}"


def test_what_comes_otherwise_is_thrown_away(place):
    with pytest.raises(LambdaSearchError, match=r"weights\.bin came otherwise"):
        brought(place, block=lambda name, number: b"1" * 1000)
    assert not [path for path in fetched_folder().iterdir() if path.is_dir()]


def test_what_is_not_there_or_too_much_does_not_come(place, monkeypatch):
    assert brought(place / "none") is None
    monkeypatch.setattr(courier, "_MOST_FILES", 1)
    assert brought(place) is None, "a folder of images"


def test_folders_that_are_links_come_too(place, tmp_path):
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "weights.bin").write_bytes(b"vae")
    (place / "vae").symlink_to(tmp_path / "vae")
    (place / "again").symlink_to(place)
    copy = brought(place)
    assert not (copy / "again").exists(), "it leads back"
    assert (copy / "vae" / "weights.bin").read_bytes() == b"vae"
    assert not (copy / "vae").is_symlink()


def test_a_folder_that_cannot_be_read_is_not_left_out(place, monkeypatch):
    look = Path.iterdir

    def iterdir(folder):
        if folder.name == "unet":
            raise PermissionError(13, "Permission denied", str(folder))
        return look(folder)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    with pytest.raises(PermissionError):
        Files().contents(str(place))


def test_of_a_folder_with_too_much_not_all_is_looked_at(place, monkeypatch):
    for number in range(50):
        (place / f"{number}.png").touch()
    looked, is_file = [], Path.is_file
    monkeypatch.setattr(courier, "_MOST_FILES", 10)
    monkeypatch.setattr(Path, "is_file", lambda path: looked.append(path) or is_file(path))
    assert Files().contents(str(place)) == () and len(looked) < 15


def test_what_the_drivers_host_cannot_read_is_not_this_hosts_fault(place, monkeypatch):
    there = RayTaskError("block", "Traceback …\nOSError: gone", OSError(5, "gone"))

    def get(asked):
        if asked == "contents":
            return Files().contents(str(place))
        raise there.as_instanceof_cause()

    asks = {
        name: SimpleNamespace(remote=lambda *_, name=name: name) for name in ("contents", "block")
    }
    ray = SimpleNamespace(get_actor=lambda name: SimpleNamespace(**asks), get=get)
    monkeypatch.setattr(courier, "_RAY", ray)
    with pytest.raises(
        LambdaSearchError, match=r"brought from the driver's host: .*gone"
    ) as caught:
        courier.carried(place)
    assert "space" not in str(caught.value)


def test_a_full_disk_is_told(place, monkeypatch):
    def full(name, number):
        raise OSError(28, "No space left on device")

    with pytest.raises(LambdaSearchError, match="No space left on device") as caught:
        brought(place, block=full)
    assert "LAMBDA_SEARCH_HOME" in caught.value.hint


def test_a_model_is_loaded_from_what_was_brought(tiny_pipeline, tmp_path, monkeypatch):
    """A host with an empty data folder, and nothing at the driver's path."""
    away = tmp_path / "only" / "on" / "the" / "driver"
    here = load_model("diffusers", tiny_pipeline)
    asked = []

    def bring(path):
        asked.append(path)
        return brought(tiny_pipeline) if path == away else None

    monkeypatch.setattr(paths, "_carriers", [])
    paths.carry(bring)
    there = load_model("diffusers", away)
    assert (there.sha256, there.definition) == (here.sha256, here.definition)
    assert set(asked) == {away}, "relative names and what is there are nobody's business"


class Ask:
    """What a worker's host has of a place."""

    def __init__(self, place, home):
        self.place, self.home = place, home

    def run(self, bench):
        os.environ["LAMBDA_SEARCH_HOME"] = str(self.home)
        found = courier.carried(self.place)
        return found and content_of(found)


@pytest.mark.slow
def test_blocks_come_through_rays_object_store(flags, place, tmp_path):
    import ray

    from lambda_search.cluster.pool import RayPool

    pool = RayPool(workers=1)
    try:
        task = Ask(place, tmp_path / "worker")
        assert pool.submit(task).result(60) is None, "one host alone needs no courier"
        actor = courier.start_courier()
        assert pool.submit(task).result(60) == content_of(place)
        ray.kill(actor)
    finally:
        pool.close()
