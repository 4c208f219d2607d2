"""Any request that the OpenAPI document allows, and many that it does not, with the token.

None is answered with a failure of the service, and each operation has one that succeeds.
"""

from collections import defaultdict

import pytest
import schemathesis
from hypothesis import HealthCheck
from hypothesis import Phase
from hypothesis import given
from hypothesis import settings
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode

from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from tests.exchange.rows import every_kind
from tests.report.studies import simulate
from tests.service.conftest import AT

SPEC = """
name: waits
model: {framework: diffusers, checkpoint: "bundled:fashion-mnist"}
sampler: {name: ancestral, steps: 4}
metric: {extractor: bundled, reference: "bundled:fashion-mnist"}
"""
MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]


@pytest.fixture
def client(serve, tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    store = Store(url)
    store.add(every_kind())
    simulate(store, "valley")
    Queue(store).submit("waits", SPEC)
    store.close()
    return serve(url)


def _ask(client, bearer, operation, mode, share, statuses):
    @settings(
        max_examples=share,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case):
        sent = case.as_transport_kwargs(base_url=AT)
        headers = {**(sent.pop("headers", None) or {}), **bearer}
        for name in ("timeout", "verify", "cert", "proxies", "auth", "cookies"):
            sent.pop(name, None)
        answer = client.request(headers=headers, **sent)
        statuses.append(answer.status_code)
        assert answer.status_code < 500, (case, answer.text)
        if answer.status_code >= 400:
            kind = answer.headers["content-type"]
            assert kind == "application/problem+json", (case, answer.status_code)

    ask()


def asked(client, bearer, cases):
    """The statuses of each operation's answers, over so many generated requests."""
    schema = schemathesis.openapi.from_dict(client.get("/v1/openapi.json").json())
    statuses = defaultdict(list)
    several = [found.ok() for found in schema.get_all_operations()]
    share = 1 + cases // (2 * len(several) - 9)  # some have but one request that can be made
    for operation in several:
        for mode in MODES:
            try:
                _ask(client, bearer, operation, mode, share, statuses[operation.label])
            except Unsatisfiable:
                assert mode == GenerationMode.NEGATIVE  # nothing that can be wrong
    return statuses


@pytest.mark.parametrize("cases", [200, pytest.param(5000, marks=pytest.mark.slow)])
def test_none_fails(client, bearer, cases):
    statuses = asked(client, bearer, cases)
    assert sum(map(len, statuses.values())) >= cases
    assert len(statuses) == sum(
        len(one) for one in client.get("/v1/openapi.json").json()["paths"].values()
    )


def test_each_operation_has_an_answer_that_succeeds(client, bearer):
    answers = {
        ("get", "/v1/schedules/best"): {"params": {"model": "adm-cifar10", "steps": 20}},
        ("get", "/v1/schedules/matches"): {"params": {"model": "adm-cifar10"}},
        ("get", "/v1/schedules/under-way"): {"params": {"model": "adm-cifar10"}},
        ("get", "/v1/schedules"): {},
        ("get", "/v1/models"): {},
        ("get", "/v1/rows"): {},
        ("post", "/v1/rows"): {"content": client.get("/v1/rows").content},
        ("get", "/v1/rows/{id}"): {"path": "/v1/rows/881eef3622cd"},
        ("get", "/v1/studies/{name}/events"): {"path": "/v1/studies/valley/events"},
        ("get", "/v1/studies"): {},
        ("get", "/v1/allowed"): {},
        ("post", "/v1/studies"): {"json": {"study": SPEC}},
        ("get", "/v1/studies/{name}"): {"path": "/v1/studies/waits"},
        ("delete", "/v1/studies/{name}"): {"path": "/v1/studies/waits"},
        ("post", "/v1/studies/{name}/resume"): {"path": "/v1/studies/waits/resume"},
        ("post", "/v1/studies/{name}/confirm"): {"path": "/v1/studies/valley/confirm"},
        ("get", "/healthz"): {},
        ("get", "/metrics"): {},
    }
    paths = client.get("/v1/openapi.json").json()["paths"]
    assert {(method, path) for path, one in paths.items() for method in one} == set(answers)
    for (method, path), sent in answers.items():
        told = client.request(method, sent.pop("path", path), headers=bearer, **sent)
        assert told.is_success, (method, path, told.text)
        declared = paths[path][method]["responses"]
        assert str(told.status_code) in declared
        kind = told.headers["content-type"].partition(";")[0]
        assert kind in declared[str(told.status_code)].get("content", {kind: {}})
