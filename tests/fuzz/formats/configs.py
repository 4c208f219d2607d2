"""Configs in YAML and JSON of the frameworks that need one, beside their authors' checkpoint."""

from __future__ import annotations

import copy
import json

import yaml

from lambda_search.models.registry import load_model
from tests.fuzz.damage import damaged
from tests.fuzz.damage import nasty
from tests.fuzz.damage import texts
from tests.fuzz.harness import CANARY
from tests.golden import folder_of
from tests.golden import golden

NAME = "configs"
_KNOWN = {
    "adm": ("ADM/cifar_like/model.pt", golden("ADM/cifar_like").config["model_flags"]),
    "ddim": ("DDIM/cifar_like/model.pth", golden("DDIM/cifar_like").config["config"]),
    "dit": ("DiT/tiny/model.pt", golden("DiT/tiny").config["model_kwargs"]),
    "ldm": (
        "LDM/celeba_like/model.ckpt",
        yaml.safe_load((folder_of("LDM/celeba_like") / "config.yaml").read_text()),
    ),
}
_RUNS = (
    f"!!python/object/apply:os.system ['touch {CANARY}']",
    f"!!python/object/apply:builtins.eval [\"open('{CANARY}', 'w')\"]",
    f"!!python/object/new:subprocess.Popen [[touch, {CANARY}]]",
    f"!!python/object/new:type {{args: [x, !!python/tuple [], {{}}], listitems: {CANARY}}}",
    "!!python/name:os.system",
    "!!python/module:antigravity",
    "!!python/object:argparse.Namespace {a: 1}",
    "!!python/tuple [1, 2]",
    "!!binary AAAA",
    "!!set {a, b}",
    "!!omap [a: 1]",
    "!unknown x",
    "!!timestamp 2001-01-01",
)


def healthy(folder):
    path = folder / "adm.yaml"
    path.write_text(yaml.safe_dump(_KNOWN["adm"][1]))
    return path


def read(path):
    framework = path.stem.rpartition("-")[2]
    checkpoint, _ = _KNOWN[framework]
    load_model(framework, folder_of(checkpoint), path)


def cases(rng):
    while True:
        framework = rng.choice(sorted(_KNOWN))
        told = copy.deepcopy(_KNOWN[framework][1])
        choice = rng.random()
        suffix = rng.choice(("yaml", "json"))
        if choice < 0.2:
            what, data = damaged(_written(told, suffix).encode(), rng)
        elif choice < 0.65:
            what = f"values {[_spoil(told, rng) for _ in range(rng.choice((1, 2, 4)))]}"
            data = _written(told, suffix).encode()
        else:
            what, text = _text(rng)
            own = yaml.safe_dump(told) if rng.random() < 0.5 else ""
            suffix, data = "yaml", (own + text).encode("utf-8", "surrogatepass")
        yield f"{framework}, {what}"[:200], f"{framework}.{suffix}", data[: 1 << 20]


def _written(told, suffix):
    if suffix == "json":
        return json.dumps(told)
    try:
        return yaml.safe_dump(told)
    except RecursionError:  # JSON is YAML too
        return json.dumps(told)


def _spoil(told, rng):
    inner = [value for value in told.values() if isinstance(value, dict) and value]
    if inner and rng.random() < 0.9:
        return _spoil(rng.choice(inner), rng)
    name = rng.choice(list(told)) if told else "x"
    if rng.random() < 0.1:
        told[texts(rng)] = told.pop(name, None)
    else:
        told[name] = nasty(rng)
    return name


def _text(rng):
    """(what, YAML) that unfolds, recurs, nests, or is tagged."""
    many = rng.choice((10, 100, 1000, 60_000))
    name = rng.choice(("x", "image_size", "model", "data", "channel_mult"))
    bombs = {
        "aliases": "\n".join(
            [f"a0: &a0 {{k: [{', '.join('xxxxxxxx')}]}}"]
            + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, min(many, 40))]
        ),
        "merges": "\n".join(
            ["a0: &a0 {k0: 1}"]
            + [
                f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 9)}]\n  k{n}: 1"
                for n in range(1, min(many, 40))
            ]
        ),
        "recursive": f"{name}: &r {{x: [*r, *r]}}",
        "a recursive merge": f"{name}: &r {{<<: *r}}",
        "deep lists": f"{name}: {'[' * many}{']' * many}",
        "deep mappings": f"{name}: {'{a: ' * many}{'}' * many}",
        "deep blocks": "\n".join(" " * n + "a:" for n in range(min(many, 1000))),
        "base 60": f"{name}: 1{':10' * many}",
        "base 60 with a fraction": f"{name}: 1{':10' * many}.5",
        "digits": f"{name}: {'9' * many}",
        "hexadecimal": f"{name}: 0x{'f' * many}",
        "binary": f"{name}: 0b{'1' * many}",
        "many names": "\n".join(f"n{n}: 1" for n in range(many)),
        "numbers of one hash": "\n".join(
            f"{n * ((1 << 61) - 1)}: 1" for n in range(min(many, 9000))
        ),
        "anchors": "\n".join(f"n{n}: &n{n} 1" for n in range(many)),
        "documents": "---\na: 1\n" * many,
        "tags": "\n".join(f"t{n}: {tag}" for n, tag in enumerate(rng.sample(_RUNS, 3))),
        "a tag": f"{name}: {rng.choice(_RUNS)}",
        "a tagged whole": rng.choice(_RUNS),
        "a long line": f"{name}: {'x ' * many}",
        "a long name": f"{'x' * many}: 1",
        "quotes": f'{name}: "{chr(92)}x41{"a" * many}',
        "tabs": f"{name}:\t{chr(9) * many}1",
        "no text": "\0" * many,
    }
    what = rng.choice(sorted(bombs))
    return f"{what} {many}", "\n" + bombs[what] + "\n"
