"""Study files of any kind end in studies or in one message that names the line."""

import os
import resource
import subprocess
import sys
import time

import pytest

from lambda_search.errors import UsageError
from lambda_search.spec import load_specs
from lambda_search.spec import parse_specs
from lambda_search.spec.documents import read_yaml
from tests.test_spec import study


def refused(text):
    with pytest.raises(UsageError) as caught:
        parse_specs(text, "my.yaml")
    assert caught.value.hint and len(str(caught.value)) < 2000
    return caught.value.cause


def doubled(first, more, levels=40):
    lines = [f"a0: &a0 {first}"]
    lines += [f"a{k}: &a{k} {more.format(a=f'*a{k - 1}')}" for k in range(1, levels)]
    return "\n".join(lines)


REFUSED = {
    "aliases that multiply": (doubled("[x, x]", "[{a}, {a}, {a}]"), "more than 20,000 values"),
    "merges that multiply": (doubled("{x: y}", "{{<<: [{a}, {a}]}}"), "more than 20,000 values"),
    "many aliases": ("a: &a x\nb: [" + "*a, " * 300 + "]", "more than 200 aliases"),
    "an alias of itself": ("name: x\nmodel: &a [*a]", "line 2: *a contains itself"),
    "a mapping that merges itself": ("model: &a\n  <<: *a", "line 2: *a contains itself"),
    "deep lists": ("a: " + "[" * 100_000, "line 1: it is nested deeper"),
    "deep blocks": ("\n".join(" " * k + "a:" for k in range(300)), "nested deeper"),
    "a key that stands twice": ("name: a\nmodel: {}\nname: b", "line 3: the key 'name'"),
    "an inner key that stands twice": ("name: a\nm: {b: 1, c: 2, b: 3}", "line 2: the key 'b'"),
    "a number as a key": ("name: a\n1: b", "line 2: the key 1"),
    "no as a key": ("name: a\nno: b", "line 2: the key no"),
    "a list as a key": ("? [a]\n: b", "line 1: the key in brackets"),
    "a huge integer": ("name: " + "9" * 5000, "line 1: a number has more than 100 digits"),
    "a huge hexadecimal": ("seed: 0x" + "f" * 5000, "line 1: a number has more than"),
    "a tag of Python": ("name: !!python/object/apply:os.system [ls]", "line 1: the tag"),
    "a set": ("name: x\nmodel: !!set {a, b}", "line 2: the tag"),
    "a tag that does not fit": ("name: !!int x", "line 1: 'x' is no int"),
    "two documents": ("name: a\n---\nname: b", "line 2"),
    "an unknown alias": ("name: *nobody", "line 1: found undefined alias 'nobody'"),
    "a control character": ("name: a\nmodel: \x00", "line 2"),
    "bytes that are no text": (b"name: a\n\xff\xfe\xfd", "line 2"),
    "too much": ("# " + "x" * 300_000, "more than 256 KiB"),
    "a matrix that multiplies": (
        study(matrix={f"model.{name}": list(range(30)) for name in "abcdef"}),
        "make 729,000,000 studies",
    ),
    "a field of many dots": (study(matrix={"a." * 5000 + "b": [1, 2]}), "dots deep"),
    "many wrong fields": (study(**{f"x{k}": 1 for k in range(5000)}), "5000 problems"),
    "a field's name that drives the terminal": (
        study(**{"search__\x1b]0;owned\x07\u202e": 1}),
        r"search.\x1b]0;owned\x07\u202e: there is no such field",
    ),
    "long names of many fields": (study(**{f"{k}{'x' * 900}": 1 for k in range(9)}), "…: there"),
    "a long wrong value": (study(sampler__steps="x" * 50_000), "…"),
}


@pytest.mark.parametrize(("text", "words"), REFUSED.values(), ids=REFUSED)
def test_a_hostile_study_file_is_one_message(text, words):
    began = time.process_time()
    assert words in refused(text)
    assert time.process_time() - began < 10


def test_a_hostile_file_stays_within_a_gigabyte(tmp_path):
    path = tmp_path / "bomb.yaml"
    path.write_text(doubled("[x, x]", "[{a}, {a}, {a}]"))
    code = (
        "import sys\nfrom lambda_search.cli import main\n"
        f"sys.argv = ['lambda-search', 'submit', {str(path)!r}]\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30)),
    )
    assert done.returncode == 2 and "more than 20,000 values" in done.stderr, done.stderr


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_byte_order_marks_are_no_part_of_the_text(tmp_path, encoding):
    path = tmp_path / "study.yaml"
    mark = "\ufeff" if encoding[-3:] in ("-le", "-be") else ""
    path.write_bytes((mark + study(model__dataset="λ 😀")).encode(encoding))
    assert load_specs(path)[0].model.dataset == "λ 😀"


def test_what_other_readers_take_for_numbers_and_dates_is_text():
    assert read_yaml("{a: 1:30, b: 2024-01-01, c: 1:30.5, d: =}", "x") == {
        "a": "1:30",
        "b": "2024-01-01",
        "c": "1:30.5",
        "d": "=",
    }
    assert read_yaml("{a: 1_000, b: 0x10, c: 1e3, d: .inf, e: ~, f: yes}", "x") == {
        "a": 1000,
        "b": 16,
        "c": "1e3",
        "d": float("inf"),
        "e": None,
        "f": True,
    }
    assert read_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2, x: 3}", "x")["b"] == {"x": 3, "y": 2}


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(UsageError, match="is a device or a pipe"):
        load_specs(tmp_path / "pipe.yaml")
    with pytest.raises(UsageError, match="does not exist"):
        load_specs(tmp_path / "none.yaml")
