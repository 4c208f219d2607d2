"""What a posted study may name: nothing outside of what its operator allows."""

from pathlib import Path

import pytest

from lambda_search.errors import MissingFile
from lambda_search.errors import UsageError
from lambda_search.spec import Bounds
from lambda_search.spec import parse_specs

SPEC = """
name: s
model: {{framework: {framework}, checkpoint: "{checkpoint}"{config}}}
sampler: {{name: ancestral, steps: 4}}
metric: {{extractor: "{extractor}", reference: "{reference}"}}
"""


def spec(**told):
    values = {
        "framework": "diffusers",
        "checkpoint": "bundled:fashion-mnist",
        "config": "",
        "extractor": "bundled",
        "reference": "bundled:fashion-mnist",
    }
    [found] = parse_specs(SPEC.format(**values | told))
    return found


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    (folder / "photos").mkdir(parents=True)
    (folder / "w.pt").write_bytes(b"weights")
    (folder / "config.yaml").write_text("vae: owner/unlisted\n")
    secret = tmp_path / "secret.pt"
    secret.write_bytes(b"not theirs")
    (folder / "way-out.pt").symlink_to(secret)
    (folder / "inside.pt").symlink_to(folder / "w.pt")
    (folder / "leaky").mkdir()
    (folder / "leaky" / "x.png").symlink_to(secret)
    (folder / "up").symlink_to(tmp_path)
    return folder


OUTSIDE = [
    *(
        "/etc/passwd",
        "../secret.pt",
        "./../secret.pt",
        "photos/../../secret.pt",
        "~/x.pt",
        "~root",
    ),
    *("way-out.pt", "leaky", "up/secret.pt", "up", "", "owner/unlisted", "C:\\\\x.pt"),
    *("http://169.254.169.254/x", "https://h/x.pt", "file:///etc/passwd", "hf://owner/listed"),
    *("bundled:../../spec", "bundled:/etc", "bundled:", "owner/listed/../../x", "//etc/passwd"),
]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("field", ["checkpoint", "reference", "images", "vae", "nested", "file"])
def test_what_is_outside_is_refused_wherever_it_stands(root, tmp_path, name, field):
    (tmp_path / "attached").mkdir()
    bounds, files, places = Bounds.of([root], ["owner/listed"]), {}, {}
    match field:
        case "checkpoint" | "reference":
            one = spec(**{field: name})
        case "images":
            one = spec(reference=f"images:{name}")
        case "vae":
            one = spec(config=f', config: {{vae: "{name}"}}')
        case "nested":
            one = spec(config=f', config: {{classifier: {{checkpoint: "{name}"}}}}')
        case "file":
            one = spec(config=", config: mine.yaml")
            files = {"mine.yaml": f'prompts: "{name}"'.encode()}
            places = {"mine.yaml": tmp_path / "attached" / "mine.yaml"}
    with pytest.raises(UsageError) as before:
        bounds.check(one, files)
    with pytest.raises(UsageError) as driven:
        bounds.located(one, files, places)
    assert not isinstance(before.value, MissingFile)
    assert "not theirs" not in str(driven.value)


@pytest.mark.parametrize(
    "extractor",
    ["./x.pt", "w.pt", "inception-clean:w.pt", "bundled:x", "/etc/passwd", "nobody", "photos/"],
)
def test_an_extractor_is_one_that_is_registered(root, extractor):
    with pytest.raises(UsageError, match="extractor"):
        Bounds.of([root]).check(spec(extractor=extractor), {})


def test_a_framework_is_one_that_is_registered():
    with pytest.raises(UsageError, match="Known: adm, ddim"):
        Bounds().check(spec(framework="os"), {})


def test_what_is_inside_is_named_in_full(root):
    bounds = Bounds.of([root], ["owner/listed"])
    found = bounds.located(spec(checkpoint="./w.pt", reference="images:photos"), {}, {})
    assert found.model.checkpoint == str(root / "w.pt")
    assert found.metric.reference == f"images:{root / 'photos'}"
    assert bounds.located(spec(checkpoint="inside.pt"), {}, {}).model.checkpoint == str(
        root / "w.pt"
    )
    for name in ("owner/listed", "bundled:fashion-mnist"):
        assert bounds.located(spec(checkpoint=name), {}, {}).model.checkpoint == name
    published = "clean-fid:cifar10/train/32"
    assert bounds.located(spec(reference=published), {}, {}).metric.reference == published


def test_what_is_not_here_may_be_where_it_is_driven(root):
    bounds, one = Bounds.of([root]), spec(checkpoint="other.pt")
    bounds.check(one, {})
    with pytest.raises(MissingFile, match=r"other\.pt"):
        bounds.located(one, {}, {})


def test_without_roots_nothing_but_what_ships_is_named():
    Bounds().check(spec(), {})
    with pytest.raises(UsageError):
        Bounds().check(spec(checkpoint="w.pt"), {})


def test_a_config_in_a_root_cannot_lead_out_of_it(root):
    with pytest.raises(UsageError, match="owner/unlisted"):
        Bounds.of([root]).check(spec(config=", config: config.yaml"), {})


def test_a_variant_is_a_word():
    Bounds().check(spec(config=", config: {variant: fp16}"), {})
    with pytest.raises(UsageError, match="variant"):
        Bounds().check(spec(config=', config: {variant: "/../../x"}'), {})


def test_prompts_are_texts_and_what_came_with_the_study_lies_where_it_was_put(root):
    told = spec(config=", config: {prompts: prompts.txt, negative_prompt: ../../etc}")
    places = {"prompts.txt": Path("/kept/1-prompts.txt")}
    found = Bounds.of([root]).located(told, {"prompts.txt": b"a cat"}, places)
    assert found.model.config == {
        "prompts": "/kept/1-prompts.txt",
        "negative_prompt": "../../etc",
    }
    free = spec(config=', config: {prompts: ["/etc/passwd", "../x"]}')
    assert Bounds().located(free, {}, {}).model.config["prompts"] == ["/etc/passwd", "../x"]
    with pytest.raises(UsageError):
        Bounds().check(spec(config=", config: {vae: [/etc/passwd]}"), {})


def test_an_operator_names_folders_and_repositories(root):
    with pytest.raises(UsageError, match="no folder"):
        Bounds.of([root / "w.pt"])
    with pytest.raises(UsageError, match="repository"):
        Bounds.of([], ["nobody"])
