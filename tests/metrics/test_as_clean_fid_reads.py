"""What is read of a folder or an archive is what clean-fid reads, to the same values."""

import io
import os
import zipfile

import numpy as np
import pytest
import torch
from cleanfid.fid import get_folder_features
from PIL import Image

from lambda_search.metrics.preprocessing import Preprocessing
from lambda_search.metrics.references.images import open_images
from tests.metrics.test_images import encoded
from tests.metrics.test_images import pack
from tests.metrics.test_images import png
from tests.metrics.test_images import put
from tests.metrics.test_images import refused
from tests.metrics.test_images import tiff

CLEAN = Preprocessing(size=(299, 299))


def numbers(x):
    """A few that tell inputs of the network [n, 3, 299, 299] apart."""
    return x.float()[:, :, 7::97, 5::59].flatten(1)


def theirs(path):
    """Of all that clean-fid reads, as a set: its order is another."""
    found = get_folder_features(
        str(path), numbers, num_workers=0, batch_size=1, device=torch.device("cpu"), verbose=False
    )
    return sorted(map(tuple, found.round(2).tolist()))


def ours(path):
    inputs = [CLEAN(batch) for batch in open_images(path).batches(4)]
    found = numbers(torch.cat(inputs)).numpy()
    return sorted(map(tuple, found.round(2).tolist()))


def assert_same(path):
    found, wanted = np.array(ours(path)), np.array(theirs(path))
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() < 0.03


def picture(seed, mode="RGB", size=(9, 7)):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def oriented(image, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, "JPEG", exif=exif)


def array(pixels):
    stream = io.BytesIO()
    np.save(stream, pixels)
    return stream.getvalue()


def palette(alpha=False):
    image = picture(4, "RGB").quantize(16)
    return encoded(image, "PNG", **({"transparency": bytes(range(0, 256, 16))} if alpha else {}))


def files(suffix, *images, kind="PNG", **options):
    return {f"{i}{suffix}": encoded(one, kind, **options) for i, one in enumerate(images)}


def pair(mode):
    return picture(0, mode), picture(1, mode)


KINDS = {
    "colour": files(".png", *pair("RGB")),
    "grey": files(".png", *pair("L")),
    "grey among colours": files(".jpg", picture(0), picture(1, "L"), kind="JPEG"),
    "several sizes": files(".png", *(picture(i, size=(9 + i, 7)) for i in range(4))),
    "sizes that come again": files(".png", *(picture(i, size=(9 + i % 2, 7)) for i in range(5))),
    "ppm": files(".ppm", *pair("RGB"), kind="PPM"),
    "pgm": files(".pgm", *pair("L"), kind="PPM"),
    "upper case": files(".PNG", *pair("RGB")) | files(".JPG", *pair("RGB"), kind="JPEG"),
    "arrays": {f"{i}.npy": array(np.asarray(picture(i))) for i in range(3)},
    "arrays of other types": {
        "a.npy": array(np.asarray(picture(0)).astype(np.float64)),
        "b.npy": array(np.asfortranarray(np.asarray(picture(1)).astype(">i4"))),
        "c.npy": array(np.asarray(picture(2, "RGBA"))),
    },
    "palettes": {"a.png": palette(), "b.png": palette(alpha=True)},
    "bilevel": files(".png", *pair("1")) | files(".tif", *pair("1"), kind="TIFF"),
    "alpha": files(".png", *pair("RGBA")) | files("la.png", *pair("LA")),
    "16 bits a channel": {"a.png": png(16, 2, 3), "b.png": png(16, 6, 4), "c.tif": tiff("<", 16)},
    "CMYK": files(".jpg", *pair("CMYK"), kind="JPEG") | files(".tif", *pair("CMYK"), kind="TIFF"),
    "turned by EXIF": {"a.jpg": oriented(picture(0), 6), "b.jpg": oriented(picture(1), 3)},
    "animated": {
        "a.webp": encoded(picture(0), "WEBP", save_all=True, append_images=[picture(1)]),
        "b.png": encoded(picture(2), "PNG", save_all=True, append_images=[picture(3)]),
        "c.tif": encoded(picture(4), "TIFF", save_all=True, append_images=[picture(5)]),
    },
    "of other formats than they are called": {
        "a.jpg": encoded(picture(0), "GIF"),
        "b.png": encoded(picture(1), "WEBP"),
        "c.bmp": encoded(picture(2), "JPEG"),
    },
    "nested": {
        f"{name}.png": encoded(picture(i)) for i, name in enumerate(("a/0", "b/c/1", "b/1", "2"))
    },
    "beside others": files(".png", *pair("RGB"))
    | dict.fromkeys(("Thumbs.db", "labels.csv", ".hidden.png", ".cache/d.png"), b"x"),
}


@pytest.mark.parametrize("files", KINDS.values(), ids=KINDS)
def test_a_folder_has_clean_fids_values(tmp_path, files):
    assert_same(put(tmp_path / "real", files))


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if "array" not in kind and "beside" not in kind]
)
def test_an_archive_has_clean_fids_values(tmp_path, kind):
    assert_same(pack(tmp_path / "real.zip", KINDS[kind]))


def test_a_name_that_comes_twice_in_an_archive_is_the_later_file(tmp_path):
    path = tmp_path / "real.zip"
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "w") as archive:
        for seed, name in enumerate(("a.png", "b.png", "a.png")):
            archive.writestr(name, encoded(picture(seed)))
    assert_same(path)
    assert open_images(path).summary == "2 images: 2 .png; left out: 1 earlier of the same name"


def test_linked_class_folders_are_read_and_links_back_are_not(tmp_path):
    put(tmp_path / "elsewhere", files(".png", *pair("RGB")))
    folder = put(tmp_path / "real", {"a/x.png": encoded(picture(7))})
    (folder / "b").symlink_to(tmp_path / "elsewhere")
    (folder / "c").symlink_to(tmp_path / "elsewhere")
    assert_same(folder)
    (folder / "a" / "up").symlink_to(folder)
    found = open_images(folder)
    assert found.names == ["a/x.png", "b/0.png", "b/1.png", "c/0.png", "c/1.png"]
    assert found.summary == "5 images: 5 .png; left out: 1 links back to a folder above"


def test_what_clean_fid_leaves_out_and_pillow_reads_is_read(tmp_path):
    """As the frames that clean-fid reads of the same files under other names."""
    images = {"a.gif": encoded(picture(0), "GIF", save_all=True, append_images=[picture(1)])}
    images |= files(".jfif", *pair("RGB"), kind="JPEG") | files(".avif", *pair("RGB"), kind="AVIF")
    found = put(tmp_path / "real", images)
    renamed = {name.replace(".", "-") + ".png": content for name, content in images.items()}
    assert ours(found) == ours(put(tmp_path / "renamed", renamed))
    assert_same(tmp_path / "renamed")
    assert open_images(found).summary == "5 images: 2 .avif, 1 .gif, 2 .jfif"


def test_what_is_left_out_is_told(tmp_path):
    others = ("Thumbs.db", "labels.csv", "more.CSV", "README", ".DS_Store", "._0.png", "a.heic")
    images = files(".png", *pair("RGB")) | dict.fromkeys(others, b"x")
    told = "2 images: 2 .png; left out: 2 .csv, 1 .db, 1 .heic, 2 hidden, 1 without a suffix"
    assert open_images(put(tmp_path / "real", images)).summary == told
    assert open_images(pack(tmp_path / "real.zip", images)).summary == told
    assert "(left out: 1 .heic)" in refused(put(tmp_path / "none", {"a.heic": b"x"}))


def test_a_folder_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    folder = put(tmp_path / "real", files(".png", *pair("RGB")) | {"a/b/c.png": b"x"})
    look = os.scandir

    def locked(path):
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied", str(path))
        return look(path)

    monkeypatch.setattr(os, "scandir", locked)
    assert refused(folder) == f"a/b in {folder} cannot be read: Permission denied."


def test_a_web_of_links_is_refused(tmp_path):
    folder = put(tmp_path / "real", files(".png", *pair("RGB")))
    for level in range(20):
        (folder / f"{level}").mkdir()
        for name in "ab":
            (folder / f"{level}" / name).symlink_to(folder / f"{level + 1}")
    (folder / "20").mkdir()
    assert "more than 100 times" in refused(folder)


def test_neither_pipes_nor_devices_nor_broken_links_are_waited_for(tmp_path):
    for name, said in (
        ("pipe.png", "pipe or a device"),
        ("zero.png", "pipe or a device"),
        ("class", "link to nowhere"),
        ("loop", "link to nowhere"),
    ):
        folder = put(tmp_path / name / "real", files(".png", *pair("RGB")))
        if name == "pipe.png":
            os.mkfifo(folder / name)
        else:
            (folder / name).symlink_to({"zero.png": "/dev/zero", "loop": "loop"}.get(name, "gone"))
        assert refused(folder) == f"{name} in {folder} is a {said}."
    folder = put(tmp_path / "other" / "real", files(".png", *pair("RGB")))
    os.mkfifo(folder / "queue")
    assert open_images(folder).summary.endswith("left out: 1 pipes and devices")
    for name in ("a.zip", "a.npz"):
        os.mkfifo(tmp_path / name)
        assert "not a file" in refused(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"<!DOCTYPE html>", "a page of text"),
        (b"BM", "no image in one of the formats PNG, JPEG"),
    ],
)
@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.npy"])
def test_a_file_that_is_no_image_is_called_what_it_is(tmp_path, name, content, said):
    folder = put(tmp_path / "real", files(".png", *pair("RGB")) | {name: content})
    cause = refused(folder)
    assert cause.startswith(f"{name} in {folder} cannot be read: ")
    assert " object at " not in cause
    if name != "x.npy":
        assert said in cause


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.full((4, 4, 3), 0.5),
        np.full((4, 4, 3), 256),
        np.full((4, 4, 3), np.nan),
        np.full((4, 4), -1),
        np.zeros((4, 4, 3), [("r", "u1")]),
        np.zeros((4, 4, 3), complex),
    ],
    ids="channels four-axes empty fractions large nan negative structured complex".split(),
)
def test_an_array_that_is_no_image_is_refused(tmp_path, pixels):
    folder = put(tmp_path / "real", files(".png", *pair("RGB")) | {"x.npy": array(pixels)})
    assert refused(folder).startswith(f"x.npy in {folder} cannot be read: its array ")


def test_an_array_of_objects_or_of_more_than_there_is_is_refused(tmp_path):
    stream = io.BytesIO()
    np.save(stream, np.array([1, "a"], object), allow_pickle=True)
    header = array(np.zeros((4, 4, 3), np.uint8))
    for content in (stream.getvalue(), header.replace(b"(4, 4, 3)", b"(9, 9, 3)"), header[:-1]):
        folder = put(tmp_path / "real", files(".png", *pair("RGB")) | {"x.npy": content})
        assert refused(folder).startswith(f"x.npy in {folder} cannot be read: its array is ")
    for shape in (b"(4, -4, 3)", b"(4, 4, 3.0)", b"(10**99, 4, 3)"):
        padded = header.replace(b"(4, 4, 3)", shape).replace(
            b" " * (len(shape) - 9) + b"\n", b"\n"
        )
        folder = put(tmp_path / "real", files(".png", *pair("RGB")) | {"x.npy": padded})
        assert refused(folder).startswith(f"x.npy in {folder} cannot be read: ")
