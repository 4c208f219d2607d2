"""The JSON schema that lies in the package says what files are, to programs that are not ours."""

import json
from importlib import resources

import pytest

from lambda_search.exchange import export_rows
from lambda_search.exchange.json_form import VERSION
from lambda_search.exchange.json_form import schema
from lambda_search.store.store import Store
from tests.exchange.rows import every_kind

jsonschema = pytest.importorskip("jsonschema")
FILE = f"rows-{VERSION}.schema.json"


@pytest.fixture(scope="module")
def shipped():
    return json.loads(resources.files("lambda_search.exchange").joinpath(FILE).read_text())


@pytest.fixture
def told(tmp_path):
    store = Store(f"{tmp_path}/filled.db")
    store.add(every_kind())
    export_rows(tmp_path / "rows.json", store)
    return json.loads((tmp_path / "rows.json").read_text())


def test_it_is_the_one_of_this_release(shipped):
    assert shipped == schema(), "write it anew with scripts/write_schema.py"


def test_exported_files_have_it(shipped, told):
    jsonschema.Draft202012Validator.check_schema(shipped)
    jsonschema.Draft202012Validator(shipped).validate(told)


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told.update(version=2),
        lambda told: told["rows"][0].update(status="proven"),
        lambda told: told["rows"][0].update(more=1),
        lambda told: told["rows"][0].update(fid="5"),
        lambda told: told["rows"][0].update(id="abc"),
        lambda told: told["rows"][0]["table"][0].update({"lambda": -1.0}),
        lambda told: told["rows"][0]["setting"].pop("model"),
    ],
)
def test_other_files_have_it_not(shipped, told, change):
    change(told)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(shipped).validate(told)
