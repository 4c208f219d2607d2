"""What `init` writes is launched unedited, from a checkpoint of every framework to its report."""

import pytest

from lambda_search.spec import read_specs
from tests.drafting import CASES
from tests.drafting import COUNTS
from tests.drafting import checkpoints
from tests.drafting import pictures
from tests.shell import start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]


def test_from_init_to_launch_to_best_to_report(cli, tmp_path, home, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "pictures")
    cases = checkpoints(tmp_path)
    metric = ("--extractor", "bundled", "--reference", "images:pictures")
    for case in CASES:
        code, _, err = cli("init", *cases[case], *metric, *COUNTS, "--name", case)
        assert code == 0, err
    files = [f"{case}.yaml" for case in CASES]
    launched = start("launch", *files, "--workers", 2, home=home)
    _, err = launched.communicate(timeout=2400)
    assert launched.returncode == 0, err
    for case in CASES:
        [one] = read_specs(tmp_path / f"{case}.yaml")
        sampler = one.spec.sampler
        code, out, err = cli("best", case, "--steps", sampler.steps, "--sampler", sampler.name)
        assert code == 0, err
        assert "λ(i)" in out and "32 images" in out
        code, _, err = cli("report", case, "--output", f"{case}.html")
        assert code == 0, err
        assert case in (tmp_path / f"{case}.html").read_text()
