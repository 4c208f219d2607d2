"""`export --format comfyui`: the constant, the settings that take the steps, and the node."""

import json
import subprocess
import sys

import pytest

from lambda_search.store.catalogue import entries
from lambda_search.store.store import Store
from tests.cli.test_export import setting  # noqa: F401
from tests.store.test_store import begin
from tests.store.test_store import row


def told(text):
    return " ".join(text.split())


def test_a_published_row_becomes_a_node_without_a_store(cli, home, tmp_path):
    asked = ("edm-cifar10-uncond", "--steps", 11, "--format", "comfyui")
    code, out, err = cli("export", *asked)
    assert code == 0 and not err and not home.exists()
    assert "constant 0.9985 (published)" in told(out)
    assert "published by the authors; not measured here" in out
    assert "Take sampler heun, scheduler karras, 11 steps, cfg 1." in out
    assert "its limits are 1 and 1.05" in told(out) and "it takes steps of 0.001" in told(out)
    code, again, err = cli("export", *asked, "--to", tmp_path / "node")
    [table] = (tmp_path / "node/tables").glob("*.json")
    assert (code, again) == (0, out) and f"the table {table.stem} is in" in told(err)
    levels = json.loads(table.read_text())["levels"]
    assert [one["lambda"] for one in levels] == [0.9985] * 11
    assert not home.exists(), "a look at the catalogue makes no store"


def test_a_row_that_no_sampler_takes_is_told_as_such(cli, tmp_path):
    asked = ("adm-cifar10", "--steps", 20, "--format", "comfyui")
    code, out, _ = cli("export", *asked)
    assert code == 0 and "not measured" in out and "No sampler of ComfyUI" in out
    code, out, err = cli("export", *asked, "--to", tmp_path / "node")
    assert (code, out) == (2, "") and "no noise levels" in err
    assert not (tmp_path / "node").exists()


def test_a_row_is_named_by_its_id(cli, tmp_path):
    row = next(one.row for one in entries() if one.setting.sampler == "euler")
    code, out, _ = cli("export", "--format", "comfyui", "--row", row.id[:12])
    assert code == 0 and row.id[:12] in out


def test_of_two_rows_that_cannot_be_ranked_one_is_asked_for(cli, setting):  # noqa: F811
    opened = Store()
    for study, guidance in (("a", 2.0), ("b", 3.0)):
        other = setting.model_copy(update={"guidance": guidance, "sampler": "ddim"})
        opened.publish(begin(opened, other, study), row(other, study))
    asked = ("export", setting.model, "--steps", 4, "--format", "comfyui")
    code, out, err = cli(*asked)
    assert (code, out) == (2, "") and "Name one with --row ID" in err
    [first, _] = opened.lookup_rows(setting.model)
    assert cli("export", "--format", "comfyui", "--row", first.id)[0] == 0
    opened.retract(first.id, "wrong")
    code, out, err = cli("export", "--format", "comfyui", "--row", first.id)
    assert (code, out) == (2, "") and "was taken back: wrong" in told(err)
    assert cli(*asked)[0] == 0, "the other stands"


def test_a_row_of_another_site_is_refused(cli, setting):  # noqa: F811
    opened = Store()
    other = setting.model_copy(update={"site": "x0_only", "sampler": "ddim"})
    opened.publish(begin(opened, other, "s"), row(other, "s"))
    asked = ("export", setting.model, "--steps", 4, "--format", "comfyui")
    code, out, err = cli(*asked)
    assert (code, out) == (2, "") and "x0 alone" in told(err)
    full = setting.model_copy(update={"sampler": "ddim"})
    opened.publish(begin(opened, full, "t"), row(full, "t", fid=9.0))
    assert cli(*asked)[0] == 0, "of both sites the one that ComfyUI has"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "Name a model with --steps N"),
        (["edm-cifar10-cond"], 2, "Name a model with --steps N"),
        (["edm-cifar10-cond", "adm-cifar10", "--steps", "20"], 2, "made of one row"),
        (["edm-cifar10-cond", "--steps", "19"], 3, "No row for edm-cifar10-cond"),
        (["nobody", "--steps", "19"], 3, "No row for the model"),
        (["--row", "zzz"], 2, "No row is named zzz"),
        (["edm-cifar10-cond", "--steps", "18", "--to", "sqlite:///x.db"], 2, "is no folder"),
        (["edm-cifar10-cond", "--steps", "18", "--to", "taken"], 2, "a folder of its own"),
        (["edm-cifar10-cond", "--steps", "18", "--artifacts", "x"], 2, "--artifacts"),
    ],
)
def test_what_cannot_be_exported_is_one_message(
    cli, tmp_path, monkeypatch, arguments, code, words
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/theirs.py").write_text("")
    found, out, err = cli("export", "--format", "comfyui", *arguments)
    assert (found, out) == (code, "") and words in told(err)
    assert [one.name for one in tmp_path.rglob("*") if "home" not in str(one)] == [
        "taken",
        "theirs.py",
    ]


def test_it_needs_nothing_heavy(tmp_path):
    asked = [
        "edm-cifar10-cond",
        "--steps",
        "18",
        "--format",
        "comfyui",
        "--to",
        str(tmp_path / "n"),
    ]
    code = (
        "import sys\nfrom lambda_search.cli.app import app\n"
        f"app(['export', *{asked!r}], standalone_mode=False)\n"
        "heavy = {'torch', 'ray', 'optuna', 'diffusers', 'numpy', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]" and (tmp_path / "n/nodes.py").exists()


def test_other_formats_name_no_single_row(cli):
    code, _, err = cli("export", "--format", "csv", "--steps", 20)
    assert code == 2 and "Leave --steps" in told(err)
