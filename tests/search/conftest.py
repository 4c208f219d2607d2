"""What tests of searches share: a tiny model of each framework."""

import pytest
import torch

from lambda_search.models.registry import load_model
from tests.models.test_contract import CASES
from tests.models.test_contract import Case

FRAMEWORKS = ("adm", "ddim", "edm", "pfgmpp", "ldm", "dit", "diffusers")


@pytest.fixture(scope="module", params=FRAMEWORKS)
def case(request, tmp_path_factory, tiny_pipeline):
    if request.param == "diffusers":
        return Case(lambda: load_model("diffusers", str(tiny_pipeline)), images=(1, 8, 8))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CASES[request.param](tmp_path_factory.mktemp("case"))
