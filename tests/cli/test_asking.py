"""Asking for λ as people do: without steps, with a typing error, for a node of one number."""

import json

import pytest

from lambda_search import studies
from lambda_search.setting import SamplerOptions
from lambda_search.setting import Setting
from lambda_search.spec import parse_specs
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from tests.store.test_store import begin
from tests.store.test_store import publish
from tests.test_earlier import TEXT

SETTING = Setting(
    model="m",
    weights="0" * 64,
    definition="1" * 64,
    framework="diffusers",
    sampler="ancestral",
    options=SamplerOptions(grid="leading"),
    steps=4,
    extractor="bundled@1",
    reference="bundled:x@2",
)


@pytest.fixture
def store():
    opened = Store()
    for steps, b, k in ((4, 1.01, 0.002), (20, 1.0125, 0.0)):
        setting = SETTING.model_copy(update={"steps": steps})
        publish(opened, setting, name=f"m-{steps}", b=b, k=k)
    yield opened
    opened.close()


def test_without_steps_all_that_is_known_is_listed(cli, store):
    code, out, err = cli("best", "m")
    assert code == 0 and "1.01 + 0.002·i" in out and "1.0125" in out
    assert [line.split()[0] for line in out.splitlines()] == ["steps", "4", "20"]
    assert "best m --steps 20" in err
    told = json.loads(cli("best", "m", "--json")[1])
    assert [(one["setting"]["steps"], one["b"]) for one in told] == [(4, 1.01), (20, 1.0125)]
    code, out, _ = cli("best", "adm-cifar10", "--store", "sqlite://")
    assert code == 0 and "published" in out


@pytest.mark.parametrize("steps", [[], ["--steps", 20]])
@pytest.mark.parametrize("model", ["adm-cifer10", "ADM-CIFAR10", "cifar10"])
def test_a_misspelt_model_is_known_all_the_same(cli, store, model, steps):
    code, out, err = cli("best", model, *steps)
    assert (code, out) == (3, "")
    assert "Did you mean" in err and "adm-cifar10" in err


def test_studies_of_the_model_that_are_under_way_are_mentioned(cli, store):
    studies.submit(parse_specs(TEXT), store)
    code, _, err = cli("best", "mine", "--steps", 10)
    assert code == 3 and "mine (ddim, 10 steps) is queued" in " ".join(err.split())
    lease = begin(store, SETTING, "m-50", parse_specs(TEXT)[0].renamed("m-50").to_yaml())
    code, _, err = cli("best", "mine")
    assert code == 3 and "m-50 (ddim, 10 steps) is running" in " ".join(err.split())
    text = TEXT.replace("name: mine", "name: m-8").replace("digits", "x, name: m")
    Queue(store).submit("m-8", text)
    code, out, err = cli("best", "m", "--steps", 4)
    assert code == 0 and "under way: m-8" in err and "λ(i)" in out
    lease.forget()


def test_one_number_for_a_node_that_takes_one(cli, store):
    code, out, err = cli("best", "m", "--steps", 20, "--constant")
    assert (code, out.strip(), err) == (0, "1.0125", "")
    code, out, err = cli("best", "m", "--steps", 4, "--constant")
    assert (code, out.strip()) == (0, "1.013")
    assert "mean of λ(i) = 1.01 + 0.002·i" in " ".join(err.split()) and "not this constant" in err
    told = json.loads(cli("best", "m", "--steps", 4, "--constant", "--json")[1])
    assert (told["constant"], told["is_the_schedule"]) == (1.013, False)
    code, _, err = cli("best", "m", "--constant")
    assert code == 2 and "--steps" in err


def test_the_lines_that_use_a_row_are_a_whole_program(cli, store):
    """Nothing stands before or behind them that would be copied along."""
    out = cli("best", "m", "--steps", 4)[1]
    lines = out[out.index("import lambda_search as ls") :].splitlines()
    assert lines[1].startswith("model = ls.load_model(")
    assert lines[2].startswith("images = ls.sample(model, ") and len(lines) == 3
    compile("\n".join(lines), "printed", "exec")


# `evaluate`


@pytest.fixture
def several(tmp_path):
    path = tmp_path / "several.yaml"
    path.write_text(TEXT.replace("steps: 10", "steps: [10, 20]"))
    return path


def test_evaluating_lambda_one_is_refused_at_once(cli, several):
    code, _, err = cli("evaluate", several, "--b", 1)
    assert code == 2 and "λ = 1 is what a schedule is compared with" in err


def test_of_several_studies_one_has_to_be_named(cli, several):
    code, _, err = cli("evaluate", several, "--b", 1.02)
    words = " ".join(err.split())
    assert code == 2 and "mine-10 (10 steps), mine-20 (20 steps)" in words and "--steps" in words
    for option in (("--steps", 30), ("--study", "mine")):
        code, _, err = cli("evaluate", several, "--b", 1.02, *option)
        assert code == 2 and "no such study" in err
    code, _, err = cli("evaluate", several, "--b", 1.02, "--k", -0.06, "--steps", 20)
    assert code == 2 and "must stay positive" in err, "said of the chosen one, nothing is loaded"


# `rename` and `remove`


def test_a_study_is_renamed_and_removed(cli, store):
    studies.submit(parse_specs(TEXT), store)
    code, out, err = cli("rename", "mine", "theirs")
    assert code == 0 and out.split() == ["theirs", "queued"] and '"name: mine"' in err
    code, _, err = cli("remove", "theirs")
    assert code == 2 and "nobody to ask" in err and "--yes" in err
    assert store.study("theirs").state == "queued"
    code, out, _ = cli("remove", "theirs", "--yes")
    assert code == 0 and "removed" in out
    assert cli("remove", "theirs", "--yes")[0] == 2


def test_a_study_whose_file_is_of_another_release_hides_no_other_one(cli, store):
    Queue(store).submit("older", "name: older\nwords: of another release\n")
    studies.submit(parse_specs(TEXT), store)
    code, out, _ = cli("status")
    assert code == 0 and "0/–" in out and "mine" in out
    told = {one["study"]: one["budget"] for one in json.loads(cli("status", "--json")[1])}
    assert told["older"] is None and told["mine"] > 0
