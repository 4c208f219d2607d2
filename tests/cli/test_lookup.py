"""`best --nearest`, `rows` and `db import` as people meet them."""

import json

import pytest

from lambda_search.store.store import Store
from tests.exchange.rows import every_kind
from tests.exchange.rows import setting
from tests.store.test_store import row


@pytest.fixture
def filled(home):
    """Every kind of row, and two to interpolate between."""
    store = Store()
    store.add(every_kind())
    store.add(
        [
            row(setting(model="e", steps=steps), f"e{steps}", b=b)
            for steps, b in ((10, 1.02), (20, 1.01))
        ]
    )
    return store


def test_what_is_not_exact_says_so_before_all_else(cli, filled):
    code, out, err = cli("best", "e", "--steps", 14)
    assert code == 3 and "e  10 steps" in err and err.index("10 steps") < err.index("20 steps")
    code, out, _ = cli("best", "e", "--steps", 14, "--nearest")
    assert code == 0 and out.startswith("interpolated, distance 0.4: between 10 and 20 steps")
    assert "not measured" in out and "ls.sample(model, 'euler', 14, ls.LambdaSchedule(" in out
    code, out, _ = cli("best", "e", "--steps", 9, "--nearest")
    assert code == 0 and out.startswith("nearest, distance 0.111: 10 steps, not 9")
    told = json.loads(cli("best", "e", "--steps", 14, "--nearest", "--json")[1])
    assert (told["kind"], len(told["lambdas"]), len(told["rows"])) == ("interpolated", 14, 2)
    told = json.loads(cli("best", "e", "--steps", 10, "--nearest", "--json")[1])
    assert (told["kind"], told["distance"], told["b"]) == ("exact", 0.0, 1.02)
    code, out, err = cli("best", "e", "--steps", 14, "--nearest", "--constant")
    assert code == 0 and 1.01 < float(out) < 1.03 and "interpolated" in err
    told = json.loads(cli("best", "e", "--steps", 9, "--nearest", "--constant", "--json")[1])
    assert told["match"]["kind"] == "nearest" and told["match"]["reasons"] == ["10 steps, not 9"]
    assert cli("best", "e", "--nearest")[0] == 2
    assert cli("best", "e", "--steps", 9, "--nearest", "--all")[0] == 2


def test_rows_are_shown_by_their_ids_whatever_became_of_them(cli, filled):
    superseded, stands, retracted = every_kind()[:3]
    code, out, _ = cli("rows", superseded.id[:12], stands.id, retracted.id[:9])
    assert code == 0 and f"superseded by row {stands.id[:12]}" in out
    assert "it stands" in out and "taken back on 2026-03-01" in out
    told = json.loads(cli("rows", superseded.id, retracted.id, "--json")[1])
    assert [one["id"] for one in told] == [superseded.id, retracted.id]
    assert told[0]["superseded_by"] == stands.id and told[1]["retraction"]["reason"]
    code, out, err = cli("rows", "0" * 12)
    assert (code, out) == (2, "") and "No row is named" in err


def test_rows_are_imported_once_and_say_where_from(cli, filled, tmp_path):
    path, other = tmp_path / "rows.json", tmp_path / "other.db"
    code, _, err = cli("export", "--to", path)
    assert code == 0 and f"{filled.counts()['rows']} rows" in err
    code, out, _ = cli("db", "import", path, "--store", other)
    assert code == 0 and "8 new rows, 32 that were here" in out
    told = json.loads(cli("db", "import", path, "--store", other, "--json")[1])
    assert told == {"new": 0, "doubles": 40, "taken_back": 0}
    out = " ".join(cli("best", "e", "--steps", 10, "--store", other)[1].replace("│", "").split())
    assert "origin me, lambda-search; not measured in this store" in out
    assert "importedon" in out.replace(" ", "") and "rows.json" in out.replace(" ", "")
    told = json.loads(cli("best", "e", "--steps", 10, "--store", other, "--json")[1])
    assert told["imported"]["from"] == str(path)
    filled.retract(every_kind()[1].id, "wrong")
    cli("export", "--to", path)
    assert "1 of these taken back now" in cli("db", "import", path, "--store", other)[1]


def test_what_is_not_imported_is_one_message(cli, filled, tmp_path):
    path = tmp_path / "rows.json"
    path.write_text('{"format": "lambda-search-rows", "version": 9, "rows": []}')
    code, out, err = cli("db", "import", path)
    assert (code, out) == (2, "") and "it has version 9" in err
    code, out, err = cli("db", "import", tmp_path / "none.json")
    assert code == 2 and "cannot be read" in err
    code, out, err = cli("--offline", "db", "import", "https://example.org/rows.json")
    assert code == 2 and "may not be asked" in err


def test_the_export_of_both_forms_is_the_same_on_the_terminal_and_in_a_file(cli, filled, tmp_path):
    for form in ("json", "csv"):
        path = tmp_path / form
        assert cli("export", "--format", form, "--to", path)[0] == 0
        assert cli("export", "--format", form)[1] == path.read_text(encoding="utf-8")
