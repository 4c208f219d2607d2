"""The folder that ComfyUI loads: what is in it, its names, and what is never overwritten."""

import ast
import json
import tomllib
from dataclasses import replace
from datetime import UTC
from datetime import datetime

import pytest

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.integrations.comfyui import check_levels
from lambda_search.integrations.comfyui import check_row
from lambda_search.integrations.comfyui import known_levels
from lambda_search.integrations.comfyui import write_node
from lambda_search.records import NoiseLevel
from lambda_search.records import Retraction
from lambda_search.store.catalogue import entries
from tests.integrations.comfyui.harness import load_node
from tests.integrations.comfyui.rows import row_on

LEVELS = tuple(NoiseLevel(t, s) for t, s in ((1, 0.0413), (400, 1.0), (600, 2.29), (900, 9.0)))
HOSTILE = [
    "../../etc/passwd",
    "a/b\\c:d*e?f|g",
    "$(rm -rf ~)`x`",
    "\x1b]0;x\x07\u202e\nb",
    ".hidden",
    "...",
    "con",
    "ü" * 300,
    "x" * 300,
    "'; import os #",
    "<img src=x onerror=alert(1)>|",
    "",
]


def files(folder):
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*.*")}


@pytest.mark.parametrize("model", HOSTILE)
def test_names_are_fit_for_every_file_system_whatever_the_models_name_is(tmp_path, model):
    row = row_on(LEVELS, model=model)
    name = write_node(row, LEVELS, tmp_path / "custom_nodes/node")
    assert name.isascii() and set(name) <= set("-_" + "0123456789" + LETTERS) and len(name) < 90
    assert name.endswith(row.id[:12])
    folder = tmp_path / "custom_nodes/node"
    assert set(files(tmp_path)) == {
        f"custom_nodes/node/{one}"
        for one in (
            "__init__.py",
            "nodes.py",
            "pyproject.toml",
            "README.md",
            f"tables/{name}.json",
            f"tables/{name}.md",
            f"example_workflows/{name}.json",
        )
    }
    told = json.loads((folder / f"tables/{name}.json").read_text())
    assert told["setting"]["model"] == model, "the name itself is kept as data"
    about = (folder / f"tables/{name}.md").read_text()
    assert "\x1b" not in about and "\u202e" not in about and "<img" not in about
    assert about.splitlines()[0] == f"# {told['title']}"
    load_node(folder)


LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def test_the_table_holds_each_sigma_with_its_lambda(tmp_path):
    row = row_on((*LEVELS, NoiseLevel(999, None)), 1.01, 0.002)
    name = write_node(row, row.levels, tmp_path / "node")
    told = json.loads((tmp_path / f"node/tables/{name}.json").read_text())
    assert [one["sigma"] for one in told["levels"]] == [*(s for _, s in LEVELS), None]
    assert [one["lambda"] for one in told["levels"]] == [*row.lambdas[:-1], 1.0]
    assert (told["row"], told["status"]) == (row.id, "confirmed")


def test_it_is_installable_as_comfyuis_nodes_are(tmp_path):
    write_node(row_on(LEVELS), LEVELS, tmp_path / "node")
    project = tomllib.loads((tmp_path / "node/pyproject.toml").read_text())
    assert project["project"]["name"] and project["project"]["version"]
    assert project["project"]["dependencies"] == [] and project["tool"]["comfy"]["DisplayName"]
    module = load_node(tmp_path / "node")
    [(name, node)] = module.NODE_CLASS_MAPPINGS.items()
    assert module.NODE_DISPLAY_NAME_MAPPINGS[name] and hasattr(node, node.FUNCTION)
    assert len(node.RETURN_TYPES) == len(node.RETURN_NAMES)
    for file in (tmp_path / "node").glob("*.py"):
        imported = {
            name.split(".")[0]
            for one in ast.walk(ast.parse(file.read_text()))
            if isinstance(one, ast.Import | ast.ImportFrom) and not getattr(one, "level", 0)
            for name in (
                [a.name for a in one.names] if isinstance(one, ast.Import) else [one.module]
            )
        }
        assert imported <= {
            "__future__",
            "json",
            "logging",
            "math",
            "bisect",
            "pathlib",
            "typing",
        } | {"torch"}, "what every ComfyUI has"


@pytest.mark.parametrize("scheduled", [True, False])
def test_the_workflow_is_whole(tmp_path, scheduled):
    row = row_on(LEVELS, guidance=7.5)
    if scheduled:
        row = next(one.row for one in entries() if one.setting.sampler == "heun")
    name = write_node(row, known_levels(row), tmp_path / "node")
    told = json.loads((tmp_path / f"node/example_workflows/{name}.json").read_text())
    nodes = {node["id"]: node for node in told["nodes"]}
    assert len(nodes) == len(told["nodes"]) and told["last_node_id"] == max(nodes)
    ends = set()
    for number, source, slot, target, place, kind in told["links"]:
        output, entry = nodes[source]["outputs"][slot], nodes[target]["inputs"][place]
        assert number in output["links"] and entry["link"] == number
        assert output["type"] == entry["type"] == kind
        ends.add((nodes[source]["type"], nodes[target]["type"], kind))
    ours = "LambdaSearchEpsilonScaling"
    assert ("CheckpointLoaderSimple", ours, "MODEL") in ends
    kinds = {node["type"]: node["widgets_values"] for node in told["nodes"]}
    assert kinds[ours] == [name]
    if scheduled:
        assert (ours, "KSampler", "MODEL") in ends
        assert kinds["KSampler"][2:] == [18, 1.0, "heun", "karras", 1.0]
    else:
        assert (ours, "SamplerCustom", "SIGMAS") in ends
        assert kinds["KSamplerSelect"] == ["euler"] and kinds["SamplerCustom"][3] == 7.5


def test_a_second_row_joins_the_node_and_the_same_changes_nothing(tmp_path):
    first, second = row_on(LEVELS), row_on(LEVELS, b=0.99)
    names = [write_node(one, LEVELS, tmp_path / "node") for one in (first, second)]
    before = {one: one.stat().st_mtime_ns for one in (tmp_path / "node").rglob("*.*")}
    assert write_node(first, LEVELS, tmp_path / "node") == names[0]
    assert before == {one: one.stat().st_mtime_ns for one in (tmp_path / "node").rglob("*.*")}
    node = load_node(tmp_path / "node").NODE_CLASS_MAPPINGS["LambdaSearchEpsilonScaling"]
    assert node.INPUT_TYPES()["required"]["table"][0] == sorted(names)
    assert write_node(row_on(LEVELS, b=1.03), LEVELS, tmp_path / "node"), (
        "with Python's __pycache__"
    )


@pytest.mark.parametrize("name", ["nodes.py", "tables/{name}.json"])
def test_what_was_changed_is_not_overwritten(tmp_path, name):
    row = row_on(LEVELS)
    changed = tmp_path / "node" / name.format(name=write_node(row, LEVELS, tmp_path / "node"))
    changed.write_text("mine")
    before = files(tmp_path)
    with pytest.raises(UsageError, match="is not what would be written"):
        write_node(row, LEVELS, tmp_path / "node")
    assert files(tmp_path) == before


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/extra.py").write_text("theirs")
    (tmp_path / "file.txt").write_text("theirs")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    before = files(tmp_path)
    for target in (tmp_path / "other", tmp_path / "file.txt", tmp_path / "dangling", tmp_path):
        with pytest.raises(UsageError, match="has a folder of its own"):
            write_node(row_on(LEVELS), LEVELS, target)
    assert files(tmp_path) == before
    (tmp_path / "empty").mkdir()
    assert write_node(row_on(LEVELS), LEVELS, tmp_path / "empty")


def test_a_place_that_cannot_be_written_is_one_message(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LambdaSearchError, match="Choose another place"):
        write_node(row_on(LEVELS), LEVELS, tmp_path / "file/node")


def test_a_row_that_says_nothing_about_comfyui_is_refused():
    check_row(row_on(LEVELS))
    with pytest.raises(UsageError, match="x0 alone"):
        check_row(row_on(LEVELS, sampler="ddim", site="x0_only"))
    taken_back = replace(row_on(LEVELS), retraction=Retraction("wrong weights", datetime.now(UTC)))
    with pytest.raises(UsageError, match="taken back: wrong weights"):
        check_row(taken_back)
    with pytest.raises(UsageError, match="no noise levels"):
        check_levels(replace(row_on(LEVELS), levels=()), ())
    adm = next(one.row for one in entries() if one.setting.framework == "adm")
    with pytest.raises(UsageError, match="its authors published none"):
        check_levels(adm, known_levels(adm))


def test_cautions_are_told(tmp_path):
    row = row_on(LEVELS)
    row = replace(row, provenance=replace(row.provenance, cautions=("few | images",)))
    name = write_node(row, LEVELS, tmp_path / "node")
    assert "Caution: few _ images" in (tmp_path / f"node/tables/{name}.md").read_text()
