"""`export`: rows for programs and tables, studies for Optuna's tools."""

import csv
import io
import json

import optuna
import pytest

from lambda_search.records import Row
from lambda_search.setting import Setting
from lambda_search.store.optuna_view import optuna_storage
from lambda_search.store.store import Store
from tests.store.optuna_study import fill
from tests.store.test_store import begin
from tests.store.test_store import row


@pytest.fixture
def setting():
    return Setting(
        model="m, or 'n'",
        weights="0" * 64,
        definition="1" * 64,
        framework="edm",
        sampler="heun",
        steps=4,
        extractor="bundled@1",
        reference="r@2",
    )


@pytest.fixture
def store(setting):
    """A study with a row, and one that runs."""
    opened = Store()
    opened.publish(begin(opened, setting, "done"), row(setting, "done"))
    fill(opened, setting)
    return opened


def test_rows_as_json_are_rows_again(cli, store, setting, tmp_path):
    code, out, _ = cli("export", setting.model)
    assert code == 0
    told = [Row.from_json(one) for one in json.loads(out)["rows"]]
    assert told == store.lookup_rows(setting.model)
    path = tmp_path / "rows.json"
    code, out, err = cli("export", "--to", path)
    assert (code, out) == (0, "") and str(path) in err.replace("\n", "")
    told = json.loads(path.read_text())["rows"]
    assert len(told) == store.counts()["rows"], "all, published ones too"


def test_rows_as_csv_are_a_table(cli, store, setting):
    code, out, _ = cli("export", setting.model, "--format", "csv")
    [line] = csv.DictReader(io.StringIO(out))
    [there] = store.lookup_rows(setting.model)
    assert code == 0 and line["model"] == setting.model and line["nfe"] == "7"
    assert (float(line["b"]), float(line["gain_low"])) == (1.01, there.gain_interval.low)
    assert json.loads(line["lambdas"]) == list(there.lambdas)


def test_studies_go_into_a_storage_of_the_users_own(cli, store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = cli("export", "s", "--format", "optuna", "--to", "sqlite:///mine.db")
    assert code == 0 and "s: 5 trials, written" in err
    copy = optuna.load_study(study_name="s", storage="sqlite:///mine.db")
    view = optuna.load_study(study_name="s", storage=optuna_storage(store))
    assert [one.values for one in copy.trials] == [one.values for one in view.trials]
    code, _, err = cli("export", "--format", "optuna", "--to", "mine.db")
    assert code == 0 and "s: 5 trials, unchanged" in err and "done: 0 trials, written" in err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nobody"], 3, "no row of the model 'nobody'"),
        (["--format", "optuna"], 2, "--to sqlite:///copy.db"),
        (["nobody", "--format", "optuna", "--to", "x.db"], 2, "no study 'nobody'"),
        (["--format", "csv", "--to", "sqlite:///x.db"], 2, "is no file"),
        (["--artifacts", "x"], 2, "Leave --artifacts out"),
        (["--to", "nowhere/x.json"], 1, "cannot be written"),
        (["--format", "optuna", "--to", "home/lambda_search.db"], 2, "a store of lambda_search"),
    ],
)
def test_what_cannot_be_exported_is_one_message(
    cli, store, tmp_path, monkeypatch, arguments, code, words
):
    monkeypatch.chdir(tmp_path)
    found, out, err = cli("export", *arguments)
    assert (found, out) == (code, "") and words in " ".join(err.split())
    assert not (tmp_path / "x.db").exists()
