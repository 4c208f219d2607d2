import hashlib
import io
import os
import struct
import tracemalloc
import zipfile
import zlib
from contextlib import suppress

import numpy as np
import pytest
import torch
from PIL import Image

from lambda_search.errors import UsageError
from lambda_search.metrics.references.images import open_images


def pictures(n, h=6, w=5, c=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, h, w, c), np.uint8)


def encoded(pixels, kind="PNG", **options):
    stream = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels.squeeze())
    image.save(stream, kind, **options)
    return stream.getvalue()


def put(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def pack(path, files, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def read(path, size=64):
    return torch.cat(list(open_images(path).batches(size)))


def channels_first(pixels):
    return torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())


def refused(path):
    with pytest.raises(UsageError) as caught:
        read(path)
    assert caught.value.hint
    assert str(path) in caught.value.cause
    return caught.value.cause


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "real"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["folder", "zip", "npz"])
def test_pixels_come_as_they_are_stored_in_the_order_of_names(tmp_path, folder, kind, channels):
    pixels = pictures(7, c=channels)
    # Written in another order than that of the names; "/" sorts after "." and before letters.
    names = ["a.png", "a/2.png", "a/b/1.PNG", "ab.png", "b.png", "é.png", "λ.png"]
    files = {name: encoded(one) for name, one in zip(names, pixels, strict=True)}
    files = dict(reversed(files.items()))
    if kind == "folder":
        path = put(folder, files)
    elif kind == "zip":
        path = pack(tmp_path / "real.zip", files)
    else:
        path = tmp_path / "real.npz"
        np.savez(path, pixels, np.arange(7))  # ADM keeps labels in arr_1
    found = read(path)
    assert found.dtype == torch.uint8
    assert found.is_contiguous()
    assert torch.equal(found, channels_first(pixels))
    if kind != "npz":
        assert open_images(path).names == names


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("a.png", "PNG", {}),
        ("a.bmp", "BMP", {}),
        ("a.tif", "TIFF", {}),
        ("a.tiff", "TIFF", {"compression": "tiff_lzw"}),
        ("a.webp", "WEBP", {"lossless": True}),
    ],
)
def test_lossless_formats_give_their_pixels(folder, name, kind, options):
    pixels = pictures(2)
    put(folder, {f"{i}{name}": encoded(one, kind, **options) for i, one in enumerate(pixels)})
    assert torch.equal(read(folder), channels_first(pixels))


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG"])
def test_jpeg_is_read_as_pillow_reads_it(folder, name):
    files = {f"{i}{name}": encoded(one, "JPEG") for i, one in enumerate(pictures(2))}
    expected = [np.asarray(Image.open(io.BytesIO(content))) for content in files.values()]
    assert torch.equal(read(put(folder, files)), channels_first(np.stack(expected)))


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("L", 77, [77]),
        ("1", 1, [255]),
        ("RGB", (9, 8, 7), [9, 8, 7]),
        ("RGBA", (9, 8, 7, 0), [9, 8, 7]),
        ("LA", (77, 3), [77, 77, 77]),
    ],
)
def test_modes_become_grey_or_rgb(folder, mode, colour, expected):
    content = encoded(Image.new(mode, (4, 3), colour))
    found = read(put(folder, {"a.png": content, "b.png": content}))
    assert found.shape == (2, len(expected), 3, 4)
    assert found[1, :, 2, 3].tolist() == expected


def test_a_palette_becomes_its_colours(folder):
    image = Image.new("P", (4, 3), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    found = read(put(folder, {"a.png": encoded(image), "b.png": encoded(image)}))
    assert found[0, :, 0, 0].tolist() == [200, 100, 50]


def test_cmyk_becomes_rgb(folder):
    content = encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 255)), "JPEG", quality=100)
    found = read(put(folder, {"a.jpg": content, "b.jpg": content}))
    assert found.shape == (2, 3, 8, 8)
    assert found.max() <= 1  # all ink is black


def png(bits, colour, channels):
    """A 4 × 4 PNG of any depth; Pillow writes only some."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = (b"\0" + b"\x80" * (4 * channels * bits // 8)) * 4
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, bits, colour, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def tiff(order, bits):
    """A 2 × 2 RGB TIFF with `bits` per channel."""
    data = b"\x80" * (2 * 2 * 3 * bits // 8)
    tags = [(256, 4, 1, 2), (257, 4, 1, 2), (258, 3, 3, 8), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 1, 14), (277, 3, 1, 3), (278, 4, 1, 2), (279, 4, 1, len(data))]
    depth = struct.pack(f"{order}3H", bits, bits, bits)
    entries = b""
    for tag, kind, count, value in tags:
        packed = struct.pack(f"{order}{'HI'[kind == 4]}", value).ljust(4, b"\0")
        entries += struct.pack(f"{order}HHI", tag, kind, count) + packed
        if tag == 258:
            entries = entries[:-4] + struct.pack(f"{order}I", 8)
    magic = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}H", 42)
    body = depth + data
    head = magic + struct.pack(f"{order}I", 8 + len(body))
    return head + body + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("grey.png", png(16, 0, 1)),
        ("float.tif", encoded(Image.new("F", (4, 4)), "TIFF")),
        ("int.tif", encoded(Image.new("I", (4, 4)), "TIFF")),
    ],
)
def test_grey_of_more_than_eight_bits_is_refused(folder, name, content):
    assert f"{name} in" in (cause := refused(put(folder, {name: content, "z.png": content})))
    assert "more than 8 bits per channel" in cause


def test_the_writers_of_the_test_above_write_images_of_eight_bits(folder):
    found = read(put(folder / "png", {"a.png": png(8, 2, 3), "b.png": png(8, 6, 4)}))
    assert torch.equal(found, torch.full((2, 3, 4, 4), 0x80, dtype=torch.uint8))
    found = read(put(folder / "tiff", {"a.tif": tiff("<", 8), "b.tif": tiff(">", 8)}))
    assert torch.equal(found, torch.full((2, 3, 2, 2), 0x80, dtype=torch.uint8))


def test_sixteen_bits_for_all_channels_together_are_eight_or_less_for_each(folder):
    # 5, 6 and 5 bits: Pillow calls this layout BGR;16.
    header = struct.pack("<IiiHHIIiiII", 40, 2, 2, 1, 16, 3, 8, 0, 0, 0, 0)
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    content = b"BM" + struct.pack("<IHHI", 74, 0, 0, 66) + header + masks + b"\xff" * 8
    found = read(put(folder, {"a.bmp": content, "b.bmp": content}))
    assert (found == 255).all()


def test_hidden_and_other_files_are_left_out(tmp_path):
    a, b = (encoded(one) for one in pictures(2))
    others = {"._a.png": b"x", "__MACOSX/._b.png": b"x", ".cache/c.png": b"x", "labels.csv": b"x"}
    files = {"a.png": a, "b.png": b} | others
    assert open_images(put(tmp_path / ".real", files)).names == ["a.png", "b.png"]
    assert open_images(pack(tmp_path / "real.zip", files)).names == ["a.png", "b.png"]


def test_no_name_in_an_archive_reaches_the_disk(tmp_path):
    names = ["/abs.png", "../up.png", "a/../../b.png", "c:/d.png"]
    files = {name: encoded(one) for name, one in zip(names, pictures(4), strict=True)}
    place = tmp_path / "a" / "b"
    place.mkdir(parents=True)
    path = pack(place / "real.zip", files)
    assert sorted(open_images(path).names) == sorted(names)
    assert len(read(path)) == 4
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]
    assert not os.path.exists("/abs.png")


@pytest.mark.parametrize("n", [2, 3, 4, 7, 9, 10, 12, 13, 64])
def test_batches_hold_all_and_none_is_alone(tmp_path, n):
    pixels = pictures(n, 2, 2, 1)
    np.savez(tmp_path / "real.npz", pixels)
    batches = list(open_images(tmp_path / "real.npz").batches(3))
    assert {len(batch) for batch in batches} <= {2, 3}
    assert torch.equal(torch.cat(batches), channels_first(pixels))


@pytest.mark.parametrize("packed", [False, True], ids=["stored", "compressed"])
def test_an_array_is_streamed(tmp_path, packed):
    save = np.savez_compressed if packed else np.savez
    save(tmp_path / "real.npz", np.zeros((2000, 64, 64, 3), np.uint8))  # 25 MB
    images = open_images(tmp_path / "real.npz")
    tracemalloc.start()
    assert sum(len(batch) for batch in images.batches(16)) == 2000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6


def test_digests_are_of_the_files(folder):
    files = {"b.png": encoded(pictures(1)[0]), "a.png": encoded(pictures(1, seed=1)[0])}
    images = open_images(put(folder, files))
    assert images.digests == [hashlib.sha256(files[name]).digest() for name in ("a.png", "b.png")]


def test_of_several_frames_the_first_counts(folder):
    first, second = (Image.fromarray(one) for one in pictures(2))
    content = encoded(first, "TIFF", save_all=True, append_images=[second])
    found = read(put(folder, {"a.tif": content, "b.tif": content}))
    assert torch.equal(found[0], channels_first(pictures(2))[0])


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_images_of_several_sizes_come_one_size_after_the_other(tmp_path, kind):
    sides = [5, 5, 6, 6, 6, 5]
    pixels = [pictures(1, side, side, seed=i)[0] for i, side in enumerate(sides)]
    files = {f"{i}.png": encoded(one) for i, one in enumerate(pixels)}
    path = put(tmp_path / "real", files) if kind == "folder" else pack(tmp_path / "a.zip", files)
    batches = list(open_images(path).batches(4))
    assert [tuple(batch.shape) for batch in batches] == [
        (2, 3, 5, 5),
        (1, 3, 6, 6),
        (2, 3, 6, 6),
        (1, 3, 5, 5),
    ]
    found = [one for batch in batches for one in batch]
    for one, wanted in zip(found, pixels, strict=True):
        assert torch.equal(one, channels_first(wanted[None])[0])
    assert open_images(path).shape == (0, 0, 3)
    for start, left in ((2, 3), (3, 2), (5, 1), (6, 0)):
        assert len(list(open_images(path).batches(4, start))) == left


def test_grey_among_colours_becomes_rgb(folder):
    files = {"a.png": encoded(pictures(1, c=1)[0]), "b.png": encoded(pictures(1)[0])}
    found = read(put(folder, files))
    assert torch.equal(found[0], channels_first(pictures(1, c=1))[0].expand(3, -1, -1))
    assert open_images(folder).shape == (6, 5, 3)


def test_large_images_come_in_smaller_batches(tmp_path):
    np.savez(tmp_path / "real.npz", np.zeros((6, 2**12, 2**11, 3), np.uint8))  # 24 MiB each
    assert [len(batch) for batch in open_images(tmp_path / "real.npz").batches(64)] == [2, 2, 2]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP", "TIFF"])
@pytest.mark.parametrize("share", [0, 0.3, 0.7])
def test_a_truncated_image_is_named(tmp_path, kind, share):
    whole = encoded(pictures(1, 64, 64)[0], kind)
    name = f"deep/b.{kind.lower()}".replace("tiff", "tif")
    files = {"a.png": encoded(pictures(1, 64, 64)[0]), name: whole[: int(len(whole) * share)]}
    for path in (put(tmp_path / "real", files), pack(tmp_path / "real.zip", files)):
        assert refused(path).startswith(f"{name} in {path} cannot be read: ")


def test_a_text_file_with_the_name_of_an_image_is_named(folder):
    cause = refused(put(folder, {"a.png": encoded(pictures(1)[0]), "b.png": b"a,b,c\n1,2,3\n"}))
    assert cause.startswith("b.png in ")


def test_no_other_format_is_opened(folder):
    content = encoded(pictures(1)[0], "ICO")
    assert "a.png in" in refused(put(folder, {"a.png": content, "b.png": content}))


def test_an_image_that_would_fill_the_memory_is_named(folder):
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")
    assert "a.png in" in refused(put(folder, {"a.png": content, "b.png": content}))


def test_a_link_to_nowhere_is_named(folder):
    put(folder, {"a.png": encoded(pictures(1)[0])})
    (folder / "b.png").symlink_to(folder / "gone")
    assert refused(folder) == f"b.png in {folder} is a link to nowhere."


@pytest.mark.parametrize("kind", ["folder", "zip", "npz"])
def test_too_few_images_are_refused(tmp_path, kind):
    one = pictures(1)
    for n, said in ((0, "There are no images in"), (1, "There is one image in")):
        files = {"a.txt": b"x"} | ({"a.png": encoded(one[0])} if n else {})
        path = tmp_path / f"{n}.{kind}"
        if kind == "npz":
            np.savez(path, one[:n])
        else:
            {"folder": put, "zip": pack}[kind](path, files)
        assert refused(path).startswith(said)


@pytest.mark.parametrize("name", ["a.tar", "a.png", "a", "a.npy"])
def test_other_files_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    assert "is a text file, not an archive of images" in refused(tmp_path / name)


@pytest.mark.parametrize("name", ["a.zip", "a.npz"])
@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "is empty"), (b"not an archive", "is a text file"), (b"PK\x03\x04", "cannot be read")],
)
def test_an_unreadable_archive_is_refused(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    assert words in refused(tmp_path / name)


def test_a_damaged_archive_is_refused(tmp_path):
    files = {f"{i}.png": encoded(one) for i, one in enumerate(pictures(2, 32, 32))}
    path = pack(tmp_path / "real.zip", files)
    content = bytearray(path.read_bytes())
    content[1000] ^= 0xFF
    path.write_bytes(content)
    assert refused(path).startswith("0.png in ")


def test_a_damaged_array_is_refused(tmp_path):
    path = tmp_path / "real.npz"
    np.savez(path, pictures(4, 32, 32))
    content = bytearray(path.read_bytes())
    content[5000] ^= 0xFF
    path.write_bytes(content)
    assert "cannot be read" in refused(path)


def test_an_encrypted_archive_is_refused(tmp_path):
    path = pack(tmp_path / "real.zip", {"a.png": b"x", "b.png": b"x"})
    content = path.read_bytes()
    for record, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # bit 0 of the flags
        for start in [i for i in range(len(content)) if content.startswith(record, i)]:
            content = content[: start + at] + b"\x01" + content[start + at + 1 :]
    path.write_bytes(content)
    assert "a.png in" in refused(path)


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"images": pictures(3)},
        {"arr_0": pictures(3).astype(np.float32)},
        {"arr_0": pictures(3).astype(np.int64)},
        {"arr_0": pictures(3)[0]},
        {"arr_0": pictures(3).transpose(0, 3, 1, 2).copy()},
        {"arr_0": np.asfortranarray(pictures(3))},
        {"arr_0": np.array(["a", "b"], object)},
        {"arr_0": np.zeros((3, 0, 5, 3), np.uint8)},
    ],
    ids="empty unnamed float int64 single nchw fortran pickle flat".split(),
)
def test_an_array_of_another_kind_is_refused(tmp_path, arrays):
    np.savez(tmp_path / "real.npz", **arrays)
    refused(tmp_path / "real.npz")


def test_an_array_that_ends_early_is_refused(tmp_path):
    np.save(tmp_path / "arr_0.npy", pictures(4))
    short = (tmp_path / "arr_0.npy").read_bytes()[:-1]
    path = pack(tmp_path / "real.npz", {"arr_0.npy": short})
    assert "arr_0[3] in" in refused(path)


def test_an_image_that_changes_under_way_is_named(folder):
    put(folder, {f"{i}.png": encoded(one) for i, one in enumerate(pictures(3))})
    images = open_images(folder)
    assert len(images.digests) == 3
    (folder / "1.png").write_bytes(encoded(pictures(1, seed=9)[0]))
    with pytest.raises(UsageError, match=r"^1\.png in .* changed while it was read"):
        list(images.batches(64))


def test_an_image_that_vanishes_under_way_is_named(folder):
    put(folder, {f"{i}.png": encoded(one) for i, one in enumerate(pictures(3))})
    images = open_images(folder)
    (folder / "2.png").unlink()
    with pytest.raises(UsageError, match=r"^2\.png in .* cannot be read"):
        list(images.batches(64))


def opened():
    """The files that this process has open; others may close theirs meanwhile."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return found


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs Linux")
def test_nothing_stays_open(tmp_path):
    np.savez(tmp_path / "real.npz", pictures(3))
    files = {f"{i}.png": encoded(one) for i, one in enumerate(pictures(3))}
    for path in (tmp_path / "real.npz", pack(tmp_path / "real.zip", files)):
        images = open_images(path)
        assert len(images.digests) == len(torch.cat(list(images.batches(2)))) == 3
        assert str(path) not in opened()
