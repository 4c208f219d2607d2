"""The shell as people meet it: words, exit codes, JSON; every bad input is one message."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from lambda_search import studies
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.launching import plans_of
from lambda_search.launching import run_studies
from lambda_search.spec import parse_specs
from lambda_search.store.store import Store
from lambda_search.work.pool import SerialPool


@pytest.fixture
def finished(study_text):
    """A store with a finished study."""
    store = Store()
    run_studies(plans_of(parse_specs(study_text)), store, SerialPool())
    return store


def test_help_names_every_command_and_the_exit_codes(cli):
    code, out, _ = cli("--help")
    assert code == 0
    for command in (
        "demo",
        "init",
        "launch",
        "submit",
        "drive",
        "status",
        "wait",
        "stop",
        "resume",
        "best",
        "retract",
        "evaluate",
        "report",
        "export",
        "dashboard",
    ):
        assert command in out
    assert "3 no entry" in " ".join(out.split())


def test_best_shows_the_row_with_its_evidence(cli, finished):
    code, out, _ = cli("best", "tiny", "--steps", 4)
    assert code == 0
    for piece in ("λ(i)", "at λ = 1", "80 images", "same noise", "paired", "ls.sample("):
        assert piece in out
    code, out, _ = cli("best", "tiny", "--steps", 4, "--json")
    [row] = finished.rows(finished.study("tiny").id)
    answer = json.loads(out)
    assert (answer["b"], answer["k"], answer["fid"]) == (row.schedule.b, row.schedule.k, row.fid)
    assert len(answer["lambdas"]) == 4


def test_best_of_an_unknown_model_is_exit_code_3(cli, finished):
    code, out, err = cli("best", "nobody", "--steps", 4, "--json")
    assert (code, out) == (3, "")
    assert "No row for the model 'nobody'" in err and "launch" in err
    code, _, err = cli("best", "tiny", "--steps", 50)
    assert code == 3 and "tiny  4 steps" in err


def test_status_and_wait_tell_of_the_study(cli, finished):
    code, out, _ = cli("status")
    assert code == 0 and "tiny" in out and "done" in out and "7/7" in out
    [facts] = json.loads(cli("status", "--json")[1])
    assert (facts["study"], facts["state"], facts["trials"]) == ("tiny", "done", 7)
    code, out, _ = cli("wait", "tiny", "--json")
    assert code == 0 and json.loads(out)["setting"]["model"] == "tiny"
    code, _, err = cli("wait", "nobody")
    assert code == 2 and "Studies: tiny" in err


def test_one_study_tells_who_drove_it_and_what_happened(cli, finished):
    words = " ".join(cli("status", "tiny")[1].split())
    assert "done" in words and "trial 6" in words and "process" in words
    facts = json.loads(cli("status", "tiny", "--json")[1])
    assert [one["outcome"] for one in facts["attempts"]] == ["done"]
    kinds = [one["kind"] for one in facts["events"]]
    assert kinds[0] == "queued" and kinds[-1] == "done" and kinds.count("trial") == 7
    code, _, err = cli("status", "nobody")
    assert code == 2 and "Studies: tiny" in err


def test_a_row_is_retracted_once_and_with_a_reason(cli, finished):
    [row] = finished.rows(finished.study("tiny").id)
    code, _, err = cli("retract", row.id[:12], "--reason", " ")
    assert code == 2 and "needs a reason" in err
    code, out, _ = cli("retract", row.id[:12], "--reason", "the reference was wrong")
    assert code == 0 and "no longer answers" in out
    assert cli("best", "tiny", "--steps", 4)[0] == 3
    assert cli("retract", row.id[:12], "--reason", "again")[0] == 2
    assert "was taken back" in cli("status", "tiny")[1]


def test_a_study_is_submitted_stopped_and_resumed_without_a_driver(cli, study_file, tmp_path):
    text = study_file.read_text()
    away = re.sub('checkpoint: "[^"]*"', "checkpoint: not/here", text)
    study_file.write_text(away)
    code, out, err = cli("submit", study_file)
    assert (code, out.split()) == (0, ["tiny", "queued"])
    assert "Nobody drives" in err and "lambda-search drive" in err
    assert "queued" in cli("status")[1]
    assert json.loads(cli("stop", "tiny", "--json")[1]) == {"study": "tiny", "state": "stopped"}
    code, _, err = cli("stop", "tiny")
    assert code == 2 and "nothing to stop" in err
    code, out, err = cli("resume", "tiny")
    assert code == 0 and "queued" in out and "Nobody drives" in err
    study_file.write_text(away.replace("trials: 7", "trialz: 7"))
    code, _, err = cli("launch", study_file, "--detach")
    assert code == 2 and "did you mean 'trials'" in err
    assert "trials: 7" in Store().study("tiny").spec


def test_submitting_loads_neither_torch_nor_ray_nor_optuna(study_file):
    code = (
        "import sys\n"
        "from lambda_search.cli import main\n"
        f"sys.argv = ['lambda-search', 'submit', {str(study_file)!r}]\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print(sorted({'torch', 'ray', 'optuna', 'diffusers', 'numpy'} & set(sys.modules)))\n"
        "import lambda_search as ls\n"
        f"[study] = ls.submit({str(study_file)!r})\n"
        "print(study.state, sorted({'torch', 'ray', 'optuna'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["[]", "queued []"]


def test_the_report_is_one_file_without_links(cli, finished, tmp_path):
    path = tmp_path / "r.html"
    assert cli("report", "tiny", "--single", "-o", path)[0] == 0
    page = path.read_text()
    assert "{{" not in page.split("<script")[0]
    assert page.count("<figure><img alt=") == 2
    for tag in ('<script src="', '<link rel="stylesheet" href="http', '<img src="http'):
        assert tag not in page
    code, _, err = cli("report", "nobody")
    assert code == 2 and "There is no study" in err
    code, _, err = cli("report", "tiny", "-o", tmp_path / "no" / "r.html")
    assert code == 1 and "--output" in err


def test_dry_run_resolves_everything_and_computes_nothing(cli, study_file):
    code, out, _ = cli("launch", study_file, "--dry-run", "--json")
    [plan] = json.loads(out)
    assert code == 0
    assert plan["trials"] == 7
    assert plan["network_evaluations"] == plan["images"] * 4
    assert Store().studies() == []
    first, second, third = plan["cautions"]
    assert "below 128 images" in first and "no gain can be confirmed" in second
    assert "the model makes images of 8 × 8 pixels" in third and "28 × 28" in third
    out = " ".join(cli("launch", study_file, "--dry-run")[1].split())
    assert f"caution {first}" in out and f"caution {second}" in out


BAD_STUDIES = {
    "a misspelt key": ("steps: 4", "stepps: 4", "did you mean 'steps'?"),
    "an unknown key": ("trials: 7", "trials: 7, colour: red", "there is no such field"),
    "no steps": ("steps: 4", "steps: 0", "greater than or equal to 1"),
    "an empty range": ("[0.97, 1.05]", "[1.05, 0.97]", "is empty"),
    "lambda that reaches zero": ("[0.97, 1.05]", "[0.01, 1.05]", "λ reaches"),
    "a sampler that is none": ("ancestral", "heunn", "sampler.name"),
    "a reference that is none": ("bundled:fashion-mnist", "x.npz", "no reference at x.npz"),
}
BAD_SETTINGS = {
    "an extractor that is none": ("extractor: bundled", "extractor: x", "no extractor 'x'"),
    "a framework that is none": ("framework: diffusers", "framework: x", "no framework 'x'"),
    "an option of another sampler": ("batch: 16", "eta: 0.5", "has no option 'eta'"),
    "steps that the grid cannot have": ("steps: 4", "steps: 1", "grid of 1 step"),
}


@pytest.mark.parametrize(("old", "new", "words"), BAD_STUDIES.values(), ids=BAD_STUDIES)
def test_a_bad_study_is_one_message_and_exit_code_2(cli, study_file, old, new, words):
    is_one_message(cli, study_file, old, new, words)
    assert Store().studies() == []


@pytest.mark.parametrize(("old", "new", "words"), BAD_SETTINGS.values(), ids=BAD_SETTINGS)
def test_a_bad_setting_is_one_message_and_exit_code_2(cli, study_file, old, new, words):
    """Resolved as for a launch, which starts Ray meanwhile: tests beside this one have that."""
    is_one_message(cli, study_file, old, new, words, "--dry-run")


def is_one_message(cli, study_file, old, new, words, *options):
    text = study_file.read_text()
    assert old in text
    study_file.write_text(text.replace(old, new))
    code, out, err = cli("launch", study_file, *options)
    assert (code, out) == (2, "")
    assert words in " ".join(err.split())
    assert "Traceback" not in err


def test_checkpoints_that_are_missing_or_broken(cli, study_file, tiny_pipeline, tmp_path):
    import shutil

    text = study_file.read_text()
    study_file.write_text(text.replace(str(tiny_pipeline), "./nowhere"))
    code, _, err = cli("launch", study_file)
    assert code == 2 and "nowhere" in err
    broken = tmp_path / "broken"
    shutil.copytree(tiny_pipeline, broken)
    weights = broken / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    study_file.write_text(text.replace(str(tiny_pipeline), str(broken)))
    code, _, err = cli("launch", study_file)
    assert code == 2 and "cannot be read" in err and "truncated" in err
    assert "Traceback" not in err and Store().studies() == []


@pytest.mark.parametrize("address", ["postgresql://127.0.0.1:1/x", "sqlite:////proc/x/y.db"])
def test_an_unreachable_store_is_one_message(cli, study_file, address):
    code, _, err = cli("launch", study_file, "--store", address)
    assert code == 1 and "Traceback" not in err and ("failed" in err or "cannot be" in err)


def test_a_missing_file_and_an_empty_folder(cli, tmp_path):
    code, _, err = cli("launch", tmp_path / "none.yaml")
    assert code == 2 and "does not exist" in err
    (tmp_path / "empty").mkdir()
    code, _, err = cli("launch", tmp_path / "empty")
    assert code == 2 and "no study file" in err


def test_doctor_tells_what_is_there(cli):
    code, out, _ = cli("doctor", "--quick", "--json")
    answers = {one["check"]: one for one in json.loads(out)}
    assert code == 0
    assert answers["network"]["answer"].startswith("offline")
    assert answers["Inception"]["answer"].startswith("not here; put it at")
    assert "not there yet" in answers["store"]["answer"]
    assert answers["Ray's TLS"]["answer"].startswith("off") and "Ray's token" in answers
    Store().close()
    assert "0 studies" in cli("doctor", "--quick")[1]


def test_doctor_asks_a_cluster_that_grows_for_what_a_worker_takes(cli, monkeypatch):
    asked = []

    def worker_pool(*given):
        asked.append(given)
        raise LambdaSearchError("No worker.", "")

    monkeypatch.setattr("lambda_search.cluster.opening.worker_pool", worker_pool)
    cli("doctor", "--ray-address", "auto", "--gpus", "0.5")
    assert asked == [(None, "auto", 0.5)]


def test_looking_makes_no_store(cli, tmp_path):
    address = f"{tmp_path}/new/typo.db"
    for command in (
        ["status"],
        ["status", "tiny"],
        ["wait", "tiny"],
        ["stop", "tiny"],
        ["resume", "tiny"],
        ["retract", "abcd", "--reason", "x"],
        ["rename", "tiny", "small"],
        ["remove", "tiny", "--yes"],
        ["export", "tiny"],
        ["export", "--format", "optuna", "--to", f"sqlite:///{tmp_path}/copy.db", "tiny"],
        ["report", "tiny"],
        ["best", "tiny", "--steps", 4],
        ["doctor", "--quick", "--json"],
    ):
        code, out, err = cli(*command, "--store", address)
        assert f"{address}" in (out + err).replace("\n", ""), command
        assert code == 0 or command[0] not in ("status", "doctor") or len(command) == 2
        assert not (tmp_path / "new").exists(), command


def test_asking_about_a_study_in_python_makes_no_store(tmp_path):
    address = f"{tmp_path}/new/typo.db"
    for ask in (
        lambda: studies.stop("tiny", address),
        lambda: studies.resume("tiny", address),
        lambda: studies.wait("tiny", address),
        lambda: studies.retract("abcd", "wrong", address),
        lambda: studies.rename("tiny", "small", address),
        lambda: studies.remove("tiny", address),
    ):
        with pytest.raises(UsageError):
            ask()
        assert not (tmp_path / "new").exists()


def test_looking_up_is_light():
    code = (
        "import sys, lambda_search as ls\n"
        "try: ls.best('x', 10)\n"
        "except ls.NoScheduleFound: pass\n"
        "heavy = {'torch', 'ray', 'optuna', 'diffusers', 'numpy', 'alembic.command'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    Store().close()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_looking_up_needs_only_the_base_installation():
    """Every package of the extras is made to be missing, in a process of its own."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    base = {re.split(r"[<>=\[]", one)[0] for one in project["dependencies"]}
    extras = project["optional-dependencies"]
    extra = {
        re.split(r"[<>=\[]", one)[0] for name in ("diffusers", "search") for one in extras[name]
    } - {project["name"]}
    names = {"clean-fid": "cleanfid", "pillow": "PIL"}
    blocked = sorted({names.get(one, one) for one in extra if one not in base})
    assert {"diffusers", "torch", "ray", "numpy"} <= set(blocked)
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({blocked}))\n"
        "from lambda_search.cli import main\n"
        "sys.argv = ['lambda-search', '--offline', 'best', 'adm-cifar10', '--steps', '20']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "1 + 0.0025·i" in done.stdout
