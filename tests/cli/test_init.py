"""`init`: a study file without writing YAML, for every framework; nothing is run here."""

import json
import os
import pty
import re
import subprocess

import numpy as np
import pytest
import yaml

from lambda_search.spec import parse_specs
from lambda_search.spec import read_specs
from lambda_search.store.catalogue import entries
from tests.drafting import CASES
from tests.drafting import COUNTS
from tests.drafting import checkpoints
from tests.drafting import pictures
from tests.golden import folder_of
from tests.shell import CLI

EDM = "EDM/ddpmpp_uncond/network.pkl"
OWN = {
    "adm": ("adm", "ancestral"),
    "ddim": ("ddim", "ddim"),
    "edm": ("edm", "heun"),
    "ldm": ("ldm", "ddim"),
    "dit": ("dit", "ancestral"),
    "pfgmpp": ("pfgmpp", "heun"),
    "ddpm": ("diffusers", "ancestral"),
    "labelled": ("diffusers", "ddim"),
    "text": ("diffusers", "ddim"),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with checkpoints and real images, and the arguments of each case."""
    folder = tmp_path_factory.mktemp("world")
    pictures(folder / "pictures")
    return folder, checkpoints(folder)


@pytest.fixture
def here(world, monkeypatch):
    monkeypatch.chdir(world[0])
    for path in world[0].glob("*.yaml"):
        path.unlink()
    return world[0]


METRIC = ("--extractor", "bundled", "--reference", "images:pictures")


@pytest.mark.parametrize("case", CASES)
def test_the_file_says_what_was_asked_and_passes_a_dry_run(cli, world, here, case):
    asked = (*world[1][case], *METRIC, *COUNTS, "--name", case, "--json")
    code, out, err = cli("init", *asked)
    assert code == 0, err
    told = json.loads(out)
    assert told["studies"] == [case] and told["fill_in"] == []
    assert told["next"] == [
        f"lambda-search launch {case}.yaml --dry-run",
        f"lambda-search launch {case}.yaml",
    ]
    [spec] = parse_specs((here / f"{case}.yaml").read_text())
    assert (spec.model.framework, spec.sampler.name) == OWN[case]
    assert (spec.sampler.steps, spec.sampler.batch) == (4, 16)
    assert (spec.search.trials, spec.search.parallel, spec.confirm.top) == (3, 2, 1)
    assert (spec.metric.rungs, spec.confirm.samples) == ((16,), 32)
    assert (spec.metric.extractor, spec.metric.reference) == ("bundled", "images:pictures")
    assert spec.sampler.site == ("x0_only" if case == "ldm" else "full")
    assert (spec.sampler.guidance is not None) == (case in ("dit", "text"))
    assert spec.search.mean[0] < 1 < spec.search.mean[1]
    code, out, err = cli("launch", f"{case}.yaml", "--dry-run", "--json")
    assert code == 0, err
    assert json.loads(out)[0]["missing"] == []


def test_ranges_counts_and_words_follow_from_what_is_known(cli, here):
    code, out, err = cli("init", folder_of(EDM), *METRIC, "--name", "own", "--steps", "7,11,18")
    assert code == 0, err
    assert out.strip() == "own.yaml" and "next: lambda-search launch own.yaml --dry-run" in err
    text = (here / "own.yaml").read_text()
    specs = parse_specs(text)
    assert [spec.name for spec in specs] == ["own-7", "own-11", "own-18"]
    for entry in entries():
        setting = entry.setting
        if (setting.framework, setting.sampler) == ("edm", "heun"):
            mean = entry.schedule.mean(setting.steps)
            assert specs[0].search.mean[0] < mean < specs[0].search.mean[1]
    batch, width = specs[0].sampler.batch, 128
    assert specs[0].search.proposals == "kg" and specs[0].metric.rungs is None
    code, _, err = cli(
        "init", folder_of(EDM), *METRIC, "--name", "up", "--set", "search.proposals=gp"
    )
    assert code == 0, err
    [spec] = parse_specs((here / "up.yaml").read_text())
    assert spec.metric.rungs == (width, 2 * width, 4 * width)
    assert specs[0].confirm.samples >= 4 * width and specs[0].confirm.samples % batch == 0
    assert "published optima: 0.9983 to 1.0070" in " ".join(text.replace("#", " ").split())
    assert "s_churn: 0.0" in text and "#classifier_scale" in text


def test_a_bundled_model_brings_its_own_reference(cli, here):
    code, _, err = cli("init", "bundled:fashion-mnist", "--steps", "10")
    assert code == 0, err
    [spec] = parse_specs((here / "fashion-mnist.yaml").read_text())
    assert spec.metric.reference == "bundled:fashion-mnist"
    assert spec.metric.extractor == "bundled"


def test_a_reference_names_its_extractor(cli, here):
    made = ("make", "pictures", "--extractor", "bundled", "--out", "real.npz")
    assert cli("reference", *made)[0] == 0
    code, _, err = cli("init", folder_of(EDM), "--reference", "real.npz", "--name", "own")
    assert code == 0, err
    [spec] = parse_specs((here / "own.yaml").read_text())
    assert (spec.metric.extractor, spec.metric.reference) == ("bundled", "real.npz")
    np.savez(here / "inception.npz", mu=np.zeros(2048), sigma=np.eye(2048))
    code, out, err = cli(
        "init", folder_of(EDM), "--reference", "inception.npz", "--name", "edm", "--json"
    )
    assert code == 0, err
    assert json.loads(out)["fetched"]  # Inception's weights are not here
    [spec] = parse_specs((here / "edm.yaml").read_text())
    assert spec.metric.extractor == "inception-legacy"


def test_a_file_in_another_folder_names_the_same_files(cli, world, here, tmp_path):
    target = tmp_path / "study.yaml"
    arguments = (*world[1]["dit"], *METRIC, *COUNTS, "--out", target)
    code, _, err = cli("init", *arguments)
    assert code == 0, err
    [one] = read_specs(target)
    assert one.spec.model.config["vae"] == str(here / "vae")
    assert one.spec.metric.reference == f"images:{here / 'pictures'}"
    assert cli("launch", target, "--dry-run")[0] == 0


@pytest.mark.parametrize(
    ("case", "blank", "without"),
    [
        ("adm", "model.config", ("--config",)),
        ("ddim", "model.config", ("--config",)),
        ("dit", "model.config.vae", ("--vae",)),
        ("text", "model.config.prompts", ("--prompts",)),
        ("edm", "metric.reference", ("--reference",)),
    ],
)
def test_what_it_cannot_know_is_a_line_that_a_launch_refuses(
    cli, world, here, case, blank, without
):
    arguments = [*map(str, world[1][case]), *METRIC, *COUNTS, "--name", case]
    for option in without:
        at = arguments.index(option)
        del arguments[at : at + 2]
    code, out, err = cli("init", *arguments)
    assert code == 0, err
    text = (here / f"{case}.yaml").read_text()
    [number] = [i for i, line in enumerate(text.splitlines(), 1) if '"???"' in line]
    assert "FILL IN" in text.splitlines()[number - 1]
    assert f"fill in: {blank}, line {number}" in err
    for command in (("launch",), ("launch", "--dry-run"), ("submit",)):
        code, out, err = cli(*command, f"{case}.yaml")
        assert (code, out) == (2, "")
        assert f"line {number}: {blank}" in " ".join(err.split())


REFUSED = {
    "no such checkpoint": (("none.pt",), "no file none.pt"),
    "no checkpoint": (("adm.json",), "adm.json"),
    "no such hub name": (("some/thing",), "some/thing"),
    "several in a folder": (("{dit}",), "several checkpoints: 0050000.pt, model.pt"),
    "none in a folder": (("pictures",), "holds no checkpoint"),
    "no such framework": (("{edm}", "--framework", "edn"), "no framework 'edn'"),
    "another framework": (("{edm}", "--framework", "ldm"), "it looks like one of edm"),
    "no such config": (("{adm}", "--config", "none.json"), "none.json cannot be read"),
    "a config that does not fit": (("{adm}", "--config", "dit.json"), ""),
    "no such prompts": (("text", "--prompts", "none.txt"), "none.txt cannot be read"),
    "no such reference": (("{edm}", "--reference", "images:none"), "no reference at images:none"),
    "no images": (("{edm}", "--reference", "images:vae"), "vae"),
    "another's reference": (("{edm}", "--reference", "wide.npz"), "2048 wide"),
    "no such extractor": (("{edm}", "--extractor", "mine"), "no extractor 'mine'"),
    "no such extractor file": (("{edm}", "--extractor", "./mine.pt"), "no extractor at ./mine.pt"),
    "no such sampler": (("{edm}", "--sampler", "ddim"), "cannot be sampled with 'ddim'"),
    "no sampler's word": (("{edm}", "--sampler", "best"), "sampler.name cannot be 'best'"),
    "impossible steps": (("{edm}", "--steps", "1"), "no 1 step"),
    "too many steps": (("ddpm", "--steps", "5000"), ""),
    "no steps": (("{edm}", "--steps", "many"), "--steps many are no whole numbers"),
    "zero steps": (("{edm}", "--steps", "0"), "sampler.steps cannot be 0"),
    "falling rungs": (("{edm}", "--rungs", "64,32"), "metric.rungs: rungs must rise"),
    "no trials": (("{edm}", "--trials", "1"), "search.trials"),
    "a site that is not there": (("{edm}", "--site", "x0_only"), "no site x0_only"),
    "no guidance": (("{edm}", "--guidance", "2"), "unconditional"),
    "a misspelt field": (("{edm}", "--set", "search.sed=3"), "Did you mean search.seed=…?"),
    "a value that is no YAML": (("{edm}", "--set", "search.seed=[3"), "search.seed is not YAML"),
    "a time": (("{edm}", "--set", "search.seed=1:30"), "it is '1:30'"),
    "an existing file": (("{edm}", "--name", "there"), "there.yaml exists already"),
    "no such folder": (("{edm}", "--out", "nowhere/x.yaml"), "no folder nowhere"),
    "no name": (("{edm}", "--name", "A B"), "name:"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_bad_input_is_one_message_and_no_file(cli, here, what):
    (here / "there.yaml").write_text("mine")
    np.savez(here / "wide.npz", mu=np.zeros(2048), sigma=np.eye(2048))
    places = {
        "edm": folder_of(EDM),
        "adm": folder_of("ADM/cifar_like/model.pt"),
        "dit": folder_of("DiT/tiny"),
    }
    arguments, words = REFUSED[what]
    told = [part.format(**places) for part in arguments]
    if "--reference" not in told:
        told += METRIC[2:]
    if "--extractor" not in told:
        told += METRIC[:2]
    code, out, err = cli("init", *told)
    assert (code, out) == (2, ""), err
    assert words in " ".join(err.split())
    assert err.count("error:") == 1
    assert [path.name for path in here.glob("*.yaml")] == ["there.yaml"]
    assert (here / "there.yaml").read_text() == "mine"


def test_a_file_is_written_over_when_that_is_asked_for(cli, here):
    (here / "own.yaml").write_text("old")
    code, _, err = cli("init", folder_of(EDM), *METRIC, "--name", "own", "--force")
    assert code == 0, err
    assert yaml.safe_load((here / "own.yaml").read_text())["name"] == "own"


@pytest.mark.slow
def test_on_a_terminal_it_asks_for_what_it_cannot_know(here):
    adm = folder_of("ADM/cifar_like/model.pt")
    answers = [("config (", "adm.json"), ("reference (", "nowhere"), ("reference (", "pictures")]
    said = in_a_terminal("init", adm, "--name", "asked", "--extractor", "bundled", answers=answers)
    assert "does not say how its network is built" in said
    assert "There is no reference at nowhere" in said
    [spec] = parse_specs((here / "asked.yaml").read_text())
    assert spec.model.config == "adm.json"
    assert spec.metric.reference == "images:pictures"


def in_a_terminal(*arguments, answers):
    """What a command says in a terminal; each answer is typed when its question stands there."""
    terminal, inside = pty.openpty()
    process = subprocess.Popen(
        [CLI, *map(str, arguments)], stdin=inside, stdout=inside, stderr=inside
    )
    os.close(inside)
    said = ""
    for question, answer in (*answers, ("", "")):
        since = len(said)
        while not question or question not in said[since:]:
            part = _read(terminal)
            said += part
            if not part:
                break
        if question:
            os.write(terminal, f"{answer}\n".encode())
    assert process.wait(60) == 0, said
    os.close(terminal)
    return " ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said).split())


def _read(terminal):
    try:
        return os.read(terminal, 4096).decode(errors="replace")
    except OSError:  # the command has ended
        return ""
