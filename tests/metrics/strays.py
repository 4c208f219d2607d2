"""What downloads leave in the place of a file."""

STRAYS = {
    "git-lfs pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "web page": b"<!doctype html><title>login</title>",
    "text file": b"Entry {0} not found",
    "NumPy array": b"\x93NUMPY\x01\0" + bytes(120),
    "compressed archive": b"\x1f\x8b\x08\0" + bytes(20),
    "checkpoint": b"\x80\x02}q\0.",
}
