"""The lookup finds by an index what reading every row finds, and follows rows that come and go."""

import random
from dataclasses import replace

import pytest
from sqlalchemy import event

from lambda_search.errors import NoScheduleFound
from lambda_search.errors import UsageError
from lambda_search.records import Retraction
from lambda_search.setting import SamplerOptions
from lambda_search.store.lookup import best
from lambda_search.store.lookup import how_many
from lambda_search.store.lookup import matches
from lambda_search.store.question import spelled
from lambda_search.store.store import Store
from lambda_search.store.tables import ContestRow
from tests.exchange.rows import at
from tests.exchange.rows import setting as a_setting
from tests.store.test_store import publish
from tests.store.test_store import row

QUESTIONS = [
    {"steps": 4},
    {"steps": 5, "sampler": "heun"},
    {"nfe": 9},
    {"steps": 4, "eta": 0.5},
    {"steps": 4, "eta": None},
    {"steps": 4, "batch": 64, "precision": "fp32"},
    {"steps": 4, "clip": True},
    {"steps": 4, "grid": 3},
    {"steps": 4, "guidance": 1},
    {"steps": 4, "guidance": 2},
    {"steps": 4, "guidance": None},
    {"steps": 4, "weights": "0b"},
    {"steps": 4, "extractor": "b"},
    {"steps": 4, "extractor": "B"},
    {"steps": 4, "extractor": "@2"},
    {"steps": 4, "extractor": "2"},
    {"steps": 4, "reference": "r@"},
    {"steps": 4, "site": "x0_only", "framework": "edm"},
    {"steps": 4, "metric": "kid"},
    {"steps": 4, "seed_scheme": "philox-numpy-1"},
]


def population(random, count):
    """Rows that differ in everything that a lookup looks at."""
    rows = []
    for minute in range(count):
        pick = random.choice
        options = SamplerOptions(
            eta=pick((None, 0, 0.5)), clip=pick((None, True)), grid=pick((None, "uniform"))
        )
        about = a_setting(
            sampler=pick(("ddim", "heun")),
            steps=pick((4, 5)),
            options=options,
            guidance=pick((None, 2.0)),
            site=pick(("full", "full", "x0_only")),
            weights=pick(("0a" * 32, "0b" * 32)),
            extractor=pick(("b@1", "b@2", "B@1", "c@1")),
            reference="r@7",
        )
        status = pick(("confirmed", "measured"))
        new = row(
            about,
            pick(("s", "t", "")),
            fid=pick((4.0, 5.0, 6.5)),
            status=status,
            b=pick((1.01, 1.02)),
            n=pick((100, 200)),
        )
        new = replace(new, created=at(minute))
        gone = Retraction("wrong", at(999)) if random.random() < 0.1 else None
        rows.append(replace(new, retraction=gone))
    return list({one.id: one for one in rows}.values())


def standing(rows):
    """What the first release did: read all, the newest first, and compare."""
    kept = {}
    for one in sorted(rows, key=lambda one: one.created, reverse=True):
        if one.retraction is None:
            study = one.provenance.study or one.id
            kept.setdefault((study, one.setting.key), one)
    again = {}
    for one in kept.values():
        key = one.setting.key, str(one.schedule), one.status
        if key not in again or one.n > again[key].n:
            again[key] = one
    return again.values()


def asked(one, question):
    told = one.setting.model_dump()
    told |= told.pop("options") | {"nfe": one.nfe}
    for name, value in question.items():
        found = told[name]
        if name == "guidance":
            good = found == (None if value == 1 else value)
        elif name == "weights":
            good = found.startswith(value)
        elif name in ("extractor", "reference"):
            label, digits = found.split("@")
            good = value in (label, digits, f"@{digits}", f"{label}@")
        else:
            good = found == value
        if not good:
            return False
    return True


@pytest.fixture(scope="module", params=[1, 2, 3])
def rows(request):
    return population(random.Random(request.param), 150)


@pytest.fixture
def filled(store, rows):
    store.add(rows[::2])
    store.add(rows[1::2])
    return store


def test_it_finds_what_reading_every_row_finds(filled, rows):
    stands = standing(rows)
    for question in QUESTIONS:
        expected = {one.id for one in stands if asked(one, question)}
        try:
            found = matches("m", store=filled, **question)
        except NoScheduleFound:
            found = []
        assert {one.id for one in found} == expected, question
        assert len(expected) == (how_many("m", store=filled, **question) if expected else 0)
        order = [(one.status != "confirmed", one.score, -one.n) for one in found]
        assert order == sorted(order)
        if found:
            try:
                assert best("m", store=filled, **question).score == found[0].score
            except UsageError as error:
                assert "agree" in error.cause


def test_rows_stand_whatever_the_order_in_which_they_came(filled, rows, tmp_path):
    other = Store(f"{tmp_path}/other.db")
    other.add(list(reversed(rows)))
    for question in QUESTIONS:
        one, two = (
            {row.id for row in store.competing("m", question)} for store in (filled, other)
        )
        assert one == two


def test_a_row_that_is_taken_back_lets_the_one_before_stand(store, setting):
    first = publish(store, setting, "s", fid=5.0)
    second = publish(store, setting, "s", fid=4.5, b=1.02)
    assert store.instead_of(first.id) == second and best("m", 4, store=store) == second
    store.retract(second.id, "wrong")
    assert store.instead_of(first.id) is None and best("m", 4, store=store) == first


def test_all_stays_citable(store, setting):
    first = publish(store, setting, "s")
    second = publish(store, setting, "s", b=1.02)
    third = publish(store, setting, "t", b=1.02, n=1000)
    store.retract(third.id, "wrong")
    assert store.row(first.id) == first
    assert store.row(third.id[:12].upper()).retraction.reason == "wrong"
    assert store.instead_of(first.id) == second
    for wrong in ("", "g", "%", "_", first.id + "0", "0" * 12):
        with pytest.raises(UsageError, match="named"):
            store.row(wrong)


def test_a_question_reads_an_index(filled):
    """However small the tables are here; `scripts/bench_lookup.py` has the plans of large ones."""
    statements, engine = [], filled._engine
    event.listen(engine, "before_cursor_execute", lambda *told: statements.append(told[2:4]))
    filled.firsts("m", {"steps": 4, "eta": 0.5})
    is_postgres = engine.dialect.name == "postgresql"
    explain = "EXPLAIN" if is_postgres else "EXPLAIN QUERY PLAN"
    with engine.connect() as connection:
        if is_postgres:
            connection.exec_driver_sql("SET enable_seqscan = off")
        plans = [
            " ".join(map(str, connection.exec_driver_sql(f"{explain} {text}", values).all()))
            for text, values in list(statements)
            if text.startswith("SELECT")
        ]
    assert len(plans) == 1 and "ix_ls_schedule_contest" in plans[0]
    if is_postgres:  # which of a model's contests' indexes it takes, statistics decide
        assert not any("Seq Scan" in plan for plan in plans)
    else:
        assert "ix_ls_contest_steps (model=? AND steps=?)" in plans[0]
        assert "ix_ls_contest_length (model=? AND length=?)" in plans[0]
        assert not any("SCAN ls" in plan for plan in plans)


def test_what_is_asked_for_may_be_anything(store, setting):
    publish(store, setting)
    for name, value in (
        ("eta", "x"),
        ("eta", [1]),
        ("grid", 0.5),
        ("batch", True),
        ("clip", 1.0),
        ("guidance", "x"),
        ("site", None),
        ("options_", None),
        ("steps", 2**40),
        ("steps", -3),
        ("nfe", 10**30),
    ):
        counted = {} if name in ("steps", "nfe") else {"steps": 4}
        with pytest.raises((NoScheduleFound, UsageError)):
            best("m", store=store, **counted, **{name: value})
    with pytest.raises(UsageError, match="whole number"):
        best("m", "4", store=store)
    with pytest.raises(UsageError, match="whole number"):
        best("m", nfe=4.5, store=store)


def test_equal_values_have_one_spelling():
    assert spelled(1) == spelled(1.0) != spelled(True)
    assert spelled("1.0") == spelled(1.0), "fields have one type each"
    assert spelled({"b": 1, "a": [2]}) == '{"a":[2],"b":1}'


def test_contests_are_few(store, setting):
    for place in range(5):
        options = SamplerOptions(clip=True, variance="small", grid="leading", eta=place / 10)
        publish(
            store, setting.model_copy(update={"options": options}), f"s{place}", b=1 + place / 100
        )
    rows = store.read(lambda session: session.query(ContestRow).filter_by(model="m").all())
    assert len(rows) == 1 and (rows[0].length, rows[0].nfe) == (4, 4)
