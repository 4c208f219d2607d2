"""What a posted study may name: nothing outside of what its operator allows."""

from pathlib import Path

import pytest

from lambda_search.errors import MissingFile
from lambda_search.errors import UsageError
from lambda_search.spec import Bounds
from lambda_search.spec import parse_specs
from lambda_search.spec.bounds import USUAL_PIPELINES
from lambda_search.spec.places import unpacked

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
    for name in (published, "self:250"):
        assert bounds.located(spec(reference=name), {}, {}).metric.reference == name


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


@pytest.mark.parametrize("said", ["vae: owner/unlisted", "classifier: {checkpoint: ../secret.pt}"])
def test_what_stands_beside_a_checkpoint_is_bounded_too(root, said):
    (root / "w.safetensors").write_bytes(b"weights")
    (root / "w.json").write_text(f"{{framework: adm, config: {{{said}}}}}")
    one, bounds = spec(framework="adm", checkpoint="w.safetensors"), Bounds.of([root])
    for look in (bounds.check, lambda spec, files: bounds.located(spec, files, {})):
        with pytest.raises(UsageError, match="may not name"):
            look(one, {})


def test_a_link_beside_a_checkpoint_is_not_followed_out(root):
    (root / "w.safetensors").write_bytes(b"weights")
    (root.parent / "w.json").write_text("{secret: 1}")
    (root / "w.json").symlink_to(root.parent / "w.json")
    with pytest.raises(UsageError, match="out of the roots"):
        Bounds.of([root]).check(spec(framework="adm", checkpoint="w.safetensors"), {})


def test_what_is_well_beside_a_checkpoint_is_read_once_and_for_all(root):
    (root / "w.safetensors").write_bytes(b"weights")
    (root / "w.json").write_text("{framework: dit, config: {vae: photos, classes: 10}}")
    one = spec(framework="dit", checkpoint="w.safetensors")
    found = Bounds.of([root]).located(one, {}, {}).model.config
    assert found == {"vae": str(root / "photos"), "classes": 10}


@pytest.mark.parametrize("checkpoint", ["w.pt", "elsewhere.safetensors"])
def test_only_a_listed_pipeline_describes_a_single_file(root, checkpoint):
    v1, xl = USUAL_PIPELINES
    one = spec(checkpoint=checkpoint, config=", config: {prompts: [a cat]}")
    with pytest.raises(UsageError, match="may not be fetched"):
        Bounds.of([root], ["owner/listed"]).check(one, {})
    named = spec(checkpoint=checkpoint, config=", config: {prompts: [a], config: photos}")
    Bounds.of([root]).check(named, {})
    Bounds.of([root], [v1]).check(one, {})
    if checkpoint == "w.pt":
        for listed, told in (([v1], v1), ([xl], xl), ([v1, xl], None)):
            found = Bounds.of([root], listed).located(one, {}, {}).model.config
            assert found.get("config") == told
    folder = spec(checkpoint="photos", config=", config: {prompts: [a cat]}")
    assert Bounds.of([root]).located(folder, {}, {}).model.config == {"prompts": ["a cat"]}


def test_these_are_the_pipelines_that_diffusers_takes():
    library = pytest.importorskip("diffusers.loaders.single_file_utils")
    told = [library.DIFFUSERS_DEFAULT_PIPELINE_PATHS[one] for one in ("v1", "xl_base")]
    assert tuple(one["pretrained_model_name_or_path"] for one in told) == USUAL_PIPELINES


@pytest.mark.parametrize("field", ["checkpoint", "reference", "images", "vae", "nested"])
def test_what_came_with_a_study_is_its_config_or_prompts_and_nothing_else(root, field):
    name = "mine.pt"
    one = {
        "checkpoint": lambda: spec(checkpoint=name),
        "reference": lambda: spec(reference=name),
        "images": lambda: spec(reference=f"images:{name}"),
        "vae": lambda: spec(config=f", config: {{prompts: {name}, vae: {name}}}"),
        "nested": lambda: spec(config=f", config: {{classifier: {{checkpoint: {name}}}}}"),
    }[field]()
    files, places = {name: b"anything"}, {name: Path("/kept/1-mine.pt")}
    with pytest.raises(UsageError, match=r"mine\.pt"):
        Bounds.of([root]).located(one, files, places)
    with pytest.raises(UsageError, match=r"mine\.pt"):
        Bounds().check(one, files)


def test_lists_are_looked_into(root):
    for config in ("{parts: [{vae: ../secret.pt}]}", "{parts: [[{x: {checkpoint: /etc/x}}]]}"):
        with pytest.raises(UsageError, match="may not name"):
            Bounds.of([root]).check(spec(config=f", config: {config}"), {})
    kept = {"channels": [1, [2, 3]], "parts": [{"vae": str(root / "photos")}], "words": ["../x"]}
    told = spec(config=", config: {channels: [1, [2, 3]], parts: [{vae: photos}], words: [../x]}")
    assert Bounds.of([root]).located(told, {}, {}).model.config == kept


@pytest.mark.parametrize("letter", ["x", "λ", "𝓍"])
def test_what_came_with_a_study_can_be_written_whatever_it_is_called(tmp_path, letter):
    name = f"{letter * 250}.yaml"
    [(told, place)] = unpacked({name: b"prompts: [a]"}, tmp_path / "kept").items()
    assert told == name and place.read_bytes() == b"prompts: [a]" and place.suffix == ".yaml"


def test_nothing_is_read_in_the_folder_that_a_service_was_started_in(root, tmp_path, monkeypatch):
    (tmp_path / "started").mkdir()
    monkeypatch.chdir(tmp_path / "started")
    for name in ("mine.yaml", "here.json"):
        Path(name).write_text("vae: owner/unlisted")
    Path("here.safetensors").write_bytes(b"weights")
    Bounds.of([root]).check(spec(config=", config: mine.yaml"), {})
    Bounds.of([root]).check(spec(framework="dit", checkpoint="here.safetensors"), {})


@pytest.mark.parametrize("name", ["bundled:fashion-mnist", "owner/listed"])
def test_a_config_is_a_file(root, name):
    with pytest.raises(UsageError, match=r"model\.config"):
        Bounds.of([root], ["owner/listed"]).located(spec(config=f', config: "{name}"'), {}, {})
