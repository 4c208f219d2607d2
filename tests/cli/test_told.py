"""What `launch`, `submit` and dry runs say before anything is computed, and what was read."""

import json
from contextlib import contextmanager

import pytest
import yaml

from lambda_search.store.store import Store
from lambda_search.work.pool import SerialPool
from tests.cli.test_dry_run import images


@pytest.fixture
def serial(monkeypatch):
    """A launch computes in this process."""

    class One(SerialPool):
        size = 1
        busy_seconds = 1.0

        def notes(self):
            return []

    @contextmanager
    def worker_pool(*options):
        yield One()

    monkeypatch.setattr("lambda_search.cluster.opening.worker_pool", worker_pool)


@pytest.fixture
def study(study_file):
    """Writes the study with other values in one of its parts."""

    def write(part, **values):
        document = yaml.safe_load(study_file.read_text())
        document[part] |= values
        study_file.write_text(yaml.safe_dump(document))
        return study_file

    return write


@pytest.mark.slow
def test_what_changed_in_a_file_is_printed_wherever_it_goes(cli, serial, study):
    assert cli("submit", study("search", trials=7))[0] == 0
    path = study("search", trials=5)
    said = "The file of 'tiny' is not the one that is stored: search.trials: 7 → 5"
    for told in (("launch", path, "--dry-run"), ("launch", path)):
        code, _, err = cli(*told)
        assert code == 0 and said in " ".join(err.split()), told
    assert said not in " ".join(cli("launch", path, "--dry-run")[2].split())
    path = study("search", trials=6)
    for told in (("launch", path, "--dry-run"), ("submit", path)):
        words = " ".join(cli(*told)[2].split())
        assert "search.trials: 5 → 6" in words and "candidates so far count" in words, told


@pytest.mark.slow
def test_images_that_are_left_out_are_told_by_all_that_read_them(cli, serial, study, tmp_path):
    reference = images(tmp_path / "real", 130)
    for name in ("notes.txt", "model.ckpt", ".hidden.png"):
        (tmp_path / "real" / name).write_text("no image")
    words = "130 images: 130 .png; left out: "
    path = study("metric", extractor="bundled", reference=reference)
    code, out, _ = cli("launch", path, "--dry-run", "--json")
    told = json.loads(out)[0]["reference"].removeprefix(f"{reference}: ")
    assert code == 0 and told.startswith(words)
    assert all(what in told for what in ("1 .ckpt", "1 .txt", "1 hidden"))
    _, _, err = cli("reference", "make", tmp_path / "real", "--extractor", "bundled")
    assert told in " ".join(err.split())
    code, _, err = cli("launch", path)
    assert code == 0
    notes = [one.text for one in Store().events("tiny") if one.kind == "note"]
    assert notes == [f"{reference}: {told}"]


@pytest.mark.parametrize("command", ["launch", "evaluate"])
def test_where_features_cannot_be_is_told_before_anything(cli, serial, study_file, command):
    options = ("--b", "1.01") if command == "evaluate" else ()
    code, _, err = cli(command, study_file, *options, "--features", "nowhere://bucket/x")
    words = " ".join(err.split())
    assert code == 2 and "Features cannot lie at nowhere://bucket/x" in words
    assert "a folder that all hosts share, or an address like s3://" in words
