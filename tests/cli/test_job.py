"""`--submit` before a stand-in for Ray's client: what travels, what is shown, how it ends."""

import asyncio
import json
import os
import shlex
from zipfile import ZipFile

import pytest
from ray.job_submission import JobStatus

HEAD = "http://head:8265"


class Client:
    """Takes jobs as Ray's client does; `log` is handed out in `parts`, and breaks where told."""

    status, code, message = JobStatus.SUCCEEDED, 0, "Job finished successfully."
    parts = ("1 study on 2 workers\n", "λ(i) = 1.02\n")
    interrupted = False
    breaks = 0
    young = 0

    def __init__(self, address):
        type(self).address = address
        type(self).found = {name: os.environ.get(name) for name in ("RAY_ADDRESS",)}

    def submit_job(self, *, entrypoint, submission_id, runtime_env):
        if type(self).young:
            type(self).young -= 1
            raise RuntimeError("Request failed with status code 500: No available agent to …")
        archive = runtime_env.get("working_dir")
        type(self).job = submission_id
        type(self).words = shlex.split(entrypoint)
        type(self).variables = runtime_env["env_vars"]
        type(self).files = {}
        if archive:
            with ZipFile(archive) as packed:
                type(self).files = {name: packed.read(name) for name in packed.namelist()}
        if self.interrupted == "while it is sent":
            raise KeyboardInterrupt
        return submission_id

    async def tail_job_logs(self, job):
        assert job == self.job
        for part in self.parts:
            yield part
            if self.interrupted:
                raise KeyboardInterrupt
            if type(self).breaks:
                type(self).breaks -= 1
                raise RuntimeError("WebSocket connection closed unexpectedly with close code 1006")

    def get_job_logs(self, job):
        return "".join(self.parts)

    def get_job_info(self, job):
        if type(self).breaks:
            raise ConnectionError("Failed to connect to Ray.")

        class Details:
            status, driver_exit_code, message = self.status, self.code, self.message

        return Details


@pytest.fixture
def client(monkeypatch):
    """A client of this test's own; the cluster's door is open.

    A browser that pages are tested in keeps an event loop in this thread; a command has none.
    """
    loop = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    own = type("Own", (Client,), {})
    monkeypatch.setattr("ray.job_submission.JobSubmissionClient", own)
    monkeypatch.setattr("lambda_search.cluster.jobs.knock", lambda address: None)
    monkeypatch.setattr("lambda_search.cluster.jobs._LOOK_SECONDS", 0.0)
    yield own
    asyncio._set_running_loop(loop)


@pytest.fixture
def project(tmp_path):
    """A study file that names weights and a config beside its own folder."""
    (tmp_path / "studies").mkdir()
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.pt").write_bytes(b"weights")
    (tmp_path / "weights" / "model.json").write_text('{"image_size": 8}')
    (tmp_path / "weights" / "other.pt").write_bytes(b"not named")
    file = tmp_path / "studies" / "mine.yaml"
    file.write_text(
        "name: mine\n"
        "model: {framework: adm, checkpoint: ../weights/model.pt, config: ../weights/model.json}\n"
        "sampler: {name: ddim, steps: [3, 4]}\n"
        'metric: {extractor: bundled, reference: "bundled:fashion-mnist"}\n'
    )
    return file


def test_a_study_travels_with_what_it_names_and_its_log_is_shown(cli, client, project):
    code, out, err = cli("launch", project, "--submit", HEAD, "--workers", 2, "--gpus", 1)
    assert (code, out) == (0, "".join(Client.parts)), err
    assert client.words == [
        *("lambda-search", "launch", "studies/mine.yaml", "--workers", "2", "--gpus", "1.0"),
        *("--ray-address", "auto"),
    ]
    root = project.parent.parent
    names = ("studies/mine.yaml", "weights/model.pt", "weights/model.json")
    assert client.files == {name: (root / name).read_bytes() for name in names}
    assert client.job in err and "Ctrl-C leaves it running" in err and "head's own store" in err
    assert int(client.variables["RAY_JOB_STOP_WAIT_TIME_S"]) > 30, "studies are given back"
    assert client.variables["LAMBDA_SEARCH_LUGGAGE"] == "1"


def test_a_driver_needs_no_files(cli, client):
    store = "postgresql://me@db/lambdas"
    code, _, err = cli(
        *("drive", "--submit", "head", "--store", store, "--models", "/shared", "--until-empty")
    )
    assert code == 0, err
    assert (client.address, client.files) == ("http://head:8265", {})
    assert "LAMBDA_SEARCH_LUGGAGE" not in client.variables
    assert client.words[:5] == ["lambda-search", "drive", "--models", "/shared", "--until-empty"]
    assert client.words[-4] == "--store" and "me@db/lambdas" in client.words[-3]


def test_json_is_alone_on_stdout(cli, client, project):
    code, out, err = cli("launch", project, "--submit", HEAD, "--json")
    assert (code, json.loads(out)["status"]) == (0, "SUCCEEDED")
    assert json.loads(out)["job"] == client.job and "λ(i) = 1.02" in err


def test_a_job_goes_where_it_is_sent_whatever_ray_is_told_elsewhere(
    cli, client, project, monkeypatch
):
    monkeypatch.setenv("RAY_ADDRESS", "another:6379")
    assert cli("launch", project, "--submit", HEAD)[0] == 0
    assert client.found == {"RAY_ADDRESS": None} and os.environ["RAY_ADDRESS"] == "another:6379"


def test_a_head_that_has_just_started_is_waited_for(cli, client, project):
    client.young = 2
    assert cli("launch", project, "--submit", HEAD)[0] == 0


def test_a_log_that_breaks_off_goes_on_without_repeating_itself(cli, client, project):
    client.breaks = 2
    code, out, _ = cli("launch", project, "--submit", HEAD)
    assert (code, out) == (0, "".join(Client.parts))


def test_ctrl_c_leaves_the_job_running_and_says_how_to_follow_and_end_it(cli, client, project):
    client.interrupted = True
    code, _, err = cli("launch", project, "--submit", HEAD)
    assert code == 130
    assert f"the job {client.job} goes on" in err
    for verb in ("logs --follow", "stop"):
        assert f"ray job {verb} --address {HEAD} {client.job}" in err


def test_ctrl_c_while_it_is_sent_names_what_the_head_may_have_taken(cli, client, project):
    client.interrupted = "while it is sent"
    code, _, err = cli("launch", project, "--submit", HEAD)
    assert code == 130 and "may have been submitted" in err
    assert f"ray job stop --address {HEAD} {client.job}" in err


def test_no_password_of_the_heads_address_is_shown(cli, client, project):
    code, out, err = cli("launch", project, "--submit", "http://me:word@head:8265", "--json")
    assert code == 0 and client.address == "http://me:word@head:8265"
    assert "word" not in out + err and json.loads(out)["address"] == "http://***@head:8265"


@pytest.mark.parametrize(
    ("status", "number", "message", "code", "words"),
    [
        ("FAILED", 2, "Job entrypoint command failed", 2, ""),
        ("FAILED", 127, "Job entrypoint command failed", 1, "does not find the command"),
        ("FAILED", -9, "Job entrypoint command failed", 1, "killed by signal 9"),
        ("FAILED", None, "The actor died: out of memory.\n", 1, "out of memory"),
        ("STOPPED", None, "Job was intentionally stopped.", 130, "was stopped"),
    ],
)
def test_its_end_is_this_commands(status, number, message, code, words, cli, client, project):
    client.status, client.code, client.message = JobStatus(status), number, message
    found, _, err = cli("launch", project, "--submit", HEAD)
    assert found == code and words in err


@pytest.mark.parametrize(
    ("head", "options", "words"),
    [
        (HEAD, ("--store", "mine.db"), "a file of this machine, which head does not have"),
        (HEAD, ("--store", "postgresql://me:word@db/x"), "holds a password"),
        (HEAD, ("--features", "s3://me:word@bucket/x"), "holds a password"),
        (HEAD, ("--features", "here"), "a path from this working folder on"),
        (HEAD, ("--ray-address", "auto"), "--ray-address names one as well"),
        (HEAD, ("--dry-run",), "does not go with --dry-run"),
        (HEAD, ("--detach",), "does not go with --detach"),
        ("ray://head:10001", (), "no address of a Ray head's dashboard"),
        ("http://head:port", (), "no address of a Ray head's dashboard"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_sent(
    head, options, words, cli, client, project
):
    code, out, err = cli("launch", project, "--submit", head, *options)
    assert (code, out) == (2, "") and words in err and "word@" not in err
    assert not hasattr(client, "job")


def test_a_file_is_a_store_for_a_head_on_this_machine(cli, client, project, tmp_path):
    where = tmp_path / "mine.db"
    code, _, err = cli("launch", project, "--submit", "http://127.0.0.1:8265", "--store", where)
    assert code == 0, err
    assert client.words[client.words.index("--store") + 1] == f"sqlite:///{where}"


def test_nobody_at_the_address_is_one_error(cli, project):
    code, _, err = cli("launch", project, "--submit", "http://127.0.0.1:1")
    assert code == 2 and "No dashboard of a Ray head answers at http://127.0.0.1:1" in err


def test_what_is_missing_here_is_named(cli, client, project, monkeypatch):
    monkeypatch.setattr("lambda_search.cluster.jobs.find_spec", lambda name: None)
    code, _, err = cli("launch", project, "--submit", HEAD)
    assert code == 1 and "pip install 'lambda-search[cluster]'" in err


def test_what_is_too_large_for_a_job_is_refused(cli, client, project, monkeypatch):
    monkeypatch.setattr("lambda_search.spec.luggage.LARGEST", 3)
    code, _, err = cli("launch", project, "--submit", HEAD)
    assert (
        code == 2
        and "mine.yaml the studies name more" in err
        and "all nodes of the cluster" in err
    )
