"""The published schedules: in every store, beside measured rows, open about what they lack."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from sqlalchemy import text

from lambda_search.errors import NoScheduleFound
from lambda_search.errors import UsageError
from lambda_search.paths import store_url
from lambda_search.records import Interval
from lambda_search.schedule import LambdaSchedule
from lambda_search.store.lookup import best
from lambda_search.store.lookup import listed
from lambda_search.store.lookup import matches
from lambda_search.store.store import Store
from tests.store.test_store import begin
from tests.store.test_store import publish

# Typed from the authors' two tables: (steps, FID before, FID after, b, k).
ADM = {
    "adm-cifar10": "100 3.37 2.17 1.017 0; 50 4.43 2.49 1.017 0; 20 10.36 5.15 1.017 0; "
    "20 10.36 4.31 1.0 .0025",
    "adm-lsun-tower64": "100 3.59 2.91 1.006 0; 50 7.28 3.68 1.007 0; 20 23.92 8.22 1.011 0; "
    "20 23.92 7.60 1.0034 .0008",
    "adm-ffhq128": "100 14.52 6.77 1.005 0; 50 26.15 9.50 1.007 0; 20 59.35 26.14 1.008 0; "
    "20 59.35 24.83 1.0042 .0004",
    "adm-imagenet64": "100 2.71 2.39 1.006 0; 50 3.75 3.07 1.006 0; 20 10.96 7.52 1.006 0; "
    "20 10.96 7.37 1.0041 .0002",
    "adm-imagenet128": "100 3.55 3.37 1.004 0; 50 5.15 4.33 1.004 0; 20 12.48 9.95 1.005 0; "
    "20 12.48 9.86 1.00291 .00022",
}
# (network evaluations, FID before, FID after, b)
EDM = {
    ("edm-cifar10-uncond", "heun"): "35 1.97 1.95 1.0005; 21 2.33 2.24 .9985; 13 7.16 6.54 1.006",
    ("edm-cifar10-uncond", "euler"): "35 3.81 2.80 1.0034; 21 6.29 4.32 1.0043; "
    "13 12.28 8.39 1.0048",
    ("edm-cifar10-cond", "heun"): "35 1.82 1.80 1.0006; 21 2.17 2.08 .9983; 13 6.69 6.16 1.007",
    ("edm-cifar10-cond", "euler"): "35 3.74 2.59 1.0035; 21 5.91 3.74 1.0045; "
    "13 10.66 6.59 1.0051",
}
HEUN_STEPS = {35: 18, 21: 11, 13: 7}


def published():
    """All rows as (model, sampler, steps, FID before, FID after, b, k)."""
    for model, rows in ADM.items():
        for row in rows.split(";"):
            steps, before, after, b, k = map(float, row.split())
            yield model, "ancestral", int(steps), before, after, b, k
    for (model, sampler), rows in EDM.items():
        for row in rows.split(";"):
            nfe, before, after, b = map(float, row.split())
            steps = HEUN_STEPS[int(nfe)] if sampler == "heun" else int(nfe)
            yield model, sampler, steps, before, after, b, 0.0


PUBLISHED = sorted(published())


def test_every_published_number_is_a_row_of_a_new_store(store):
    rows = store.lookup_rows()
    assert len(PUBLISHED) == 32
    found = [
        (
            row.setting.model,
            row.setting.sampler,
            row.setting.steps,
            row.baseline_fid,
            row.fid,
            row.schedule.b,
            row.schedule.k,
        )
        for row in rows
    ]
    assert sorted(found) == PUBLISHED
    for row in rows:
        b, k = row.schedule.b, row.schedule.k
        assert row.lambdas == tuple(b + k * i for i in range(row.setting.steps))
        assert (row.status, row.n, row.provenance.source.arxiv) == (
            "published",
            50_000,
            "2308.15321",
        )


@pytest.fixture(scope="module")
def published_store(tmp_path_factory):
    url = f"sqlite:///{tmp_path_factory.mktemp('published')}/store.db"
    Store(url).close()
    return url


@pytest.mark.parametrize("expected", PUBLISHED, ids=lambda e: f"{e[0]}-{e[1]}-{e[2]}-{e[5]}")
def test_the_best_published_fid_is_recommended_and_the_others_are_listed(
    expected, published_store
):
    model, sampler, steps, *_ = expected
    rivals = sorted(
        ((after, b, k) for m, s, t, _, after, b, k in PUBLISHED if (m, s, t) == expected[:3]),
    )
    found = matches(model, steps, sampler, published_store)
    assert [(one.fid, one.schedule.b, one.schedule.k) for one in found] == rivals
    first = best(model, steps, sampler, published_store)
    assert (first.fid, first.status) == (rivals[0][0], "published")
    assert first.fid_interval is first.baseline_interval is first.gain_interval is None
    assert first.gain is None
    assert first.setting.weights == "unknown"
    assert first.verdict == "published by the authors; not measured here"
    assert first.relative_gain == pytest.approx(
        (first.baseline_fid - first.fid) / first.baseline_fid
    )


def test_the_shell_answers_before_anything_was_run(cli, url, tmp_path):
    code, out, err = cli("best", "adm-cifar10", "--steps", 20, "--json", "--store", url)
    answer = json.loads(out)
    assert (code, answer["b"], answer["k"], answer["fid"]) == (0, 1.0, 0.0025, 4.31)
    assert (answer["status"], answer["gain"], answer["gain_interval"]) == ("published", None, None)
    assert answer["provenance"]["source"]["url"] == "https://github.com/forever208/ADM-ES"
    assert list(tmp_path.glob("*.db")) == [], "looking up makes no files"
    assert ("There is no store at" in err) == url.startswith("sqlite")
    code, out, err = cli("best", "adm-cifar10", "--steps", 20, "--store", url)
    words = " ".join(out.split())
    for piece in ("1 + 0.0025·i", "4.31", "10.36", "no interval is published", "arXiv:2308.15321"):
        assert piece in words
    assert "not measured here" in words and "±" not in words and "same noise" not in words
    assert "1 more with --all" in err
    rows = json.loads(
        cli("best", "adm-cifar10", "--steps", 20, "--all", "--json", "--store", url)[1]
    )
    assert [row["fid"] for row in rows] == [4.31, 5.15]


def test_evaluations_ask_as_well_as_steps(cli, url):
    for asked in (["--nfe", 35], ["--steps", 18], ["--steps", 18, "--sampler", "heun"]):
        code, out, _ = cli("best", "edm-cifar10-uncond", *asked, "--json", "--store", url)
        answer = json.loads(out)
        assert (code, answer["setting"]["sampler"], answer["b"]) == (0, "heun", 1.0005)
        assert (answer["setting"]["steps"], answer["nfe"], answer["fid"]) == (18, 35, 1.95)
    assert best("edm-cifar10-uncond", sampler="euler", store=url, nfe=35).schedule.b == 1.0034
    assert best("edm-cifar10-cond", store=url, nfe=21).setting.steps == 11
    code, _, err = cli("best", "edm-cifar10-cond", "--nfe", 12, "--store", url)
    assert code == 3 and "with nfe 12" in err and err.index("13 steps") < err.index("35 steps")
    for asked in ({}, {"steps": 18, "nfe": 35}):
        with pytest.raises(UsageError, match="of steps and nfe"):
            best("edm-cifar10-cond", store=url, **asked)


def test_a_miss_names_what_is_published(store):
    with pytest.raises(NoScheduleFound, match=r"Published: adm-cifar10, .*edm-cifar10-uncond"):
        best("nobody", 20, store=store)
    with pytest.raises(NoScheduleFound, match=r"It has:\n  \w{12}  adm-cifar10  20 steps"):
        best("adm-cifar10", 21, store=store)


def test_confirmed_rows_come_before_published_and_published_before_measured(store, setting):
    own = setting.model_copy(update={"model": "adm-cifar10", "steps": 20})
    publish(store, own, "a", status="measured", fid=1.0)
    found = best("adm-cifar10", 20, store=store)
    assert (found.status, found.fid) == ("published", 4.31)
    publish(store, own, "b", fid=30.0, b=1.02)
    found = best("adm-cifar10", 20, store=store)
    assert (found.status, found.fid) == ("confirmed", 30.0), "FIDs of two metrics never compete"
    assert [one.status for one in matches("adm-cifar10", 20, store=store)] == [
        "confirmed",
        "published",
        "published",
        "measured",
    ]
    assert best("adm-cifar10", 20, store=store, extractor="bundled").status == "confirmed"


def test_a_published_row_that_is_taken_back_stays_so(store):
    [row] = [row for row in store.lookup_rows() if row.fid == 4.31]
    store.retract(row.id, "a misprint")
    Store(store.url).close()
    assert store.counts()["rows"] == 32
    assert best("adm-cifar10", 20, store=store).fid == 5.15


def test_processes_that_open_a_new_store_at_once_fill_it_once(url):
    code = f"from lambda_search.store.store import Store; Store({url!r}).close()"
    openers = [
        subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(3)
    ]
    for opener in openers:
        _, errors = opener.communicate()
        assert opener.returncode == 0, errors.decode()
    store = Store(url)
    names = [row.id for row in store.lookup_rows()]
    assert len(names) == len(set(names)) == 32


def test_an_older_store_keeps_its_rows(url, setting):
    engine = create_engine(store_url(url))
    config = Config()
    config.set_main_option("script_location", "lambda_search.store:migrations")
    told = setting.model_dump(mode="json", exclude={"seed_scheme"})  # of which keys did not speak
    spelt_out = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert '"guidance":null' in spelt_out
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        at = {"at": "2026-01-02 03:04:05.000000+00:00"}
        connection.execute(
            text(
                "INSERT INTO ls_model (id, name, weights, framework, created) "
                "VALUES (1, 'm', :weights, 'diffusers', :at)"
            ),
            at | {"weights": setting.weights},
        )
        connection.execute(
            text(
                "INSERT INTO ls_setting (id, key, digest, model_id, sampler, steps) "
                "VALUES (1, :key, 'old', 1, 'ancestral', 4)"
            ),
            {"key": spelt_out},
        )
        connection.execute(
            text(
                "INSERT INTO ls_schedule (id, setting_id, trial, b, k, lambdas, status, verdict, "
                "n, fid, fid_low, fid_high, baseline_fid, baseline_low, baseline_high, gain, "
                "gain_low, gain_high, gain_level, provenance, created) VALUES (7, 1, 3, 1.01, "
                "0.001, '[1.01, 1.011]', 'confirmed', 'v', 100, 5, 4, 6, 8, 7, 9, 3, 2, 4, "
                '0.95, \'{"study": "s"}\', :at)'
            ),
            at,
        )
        if engine.dialect.name == "postgresql":  # ids given by hand do not move the counters
            for table in ("ls_model", "ls_setting", "ls_schedule"):
                connection.execute(
                    text(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), 7)")
                )
    store = Store(url)
    [row] = store.lookup_rows("m")
    assert (row.schedule, row.n, row.fid) == (LambdaSchedule(1.01, 0.001), 100, 5.0)
    assert (row.gain, row.gain_interval) == (3.0, Interval(2.0, 4.0, 0.95))
    assert row.created.isoformat() == "2026-01-02T03:04:05+00:00"
    assert best("m", 4, store=store).setting == setting
    begin(store, setting)
    with create_engine(store.url).connect() as connection:
        query = "SELECT count(*) FROM ls_setting JOIN ls_model ON model_id = ls_model.id "
        count = connection.execute(text(query + "WHERE name = 'm'")).scalar()
    assert count == 1, "the same setting, one row"
    assert store.row(row.id) == row
    assert store.counts()["rows"] == 33


def test_looking_up_published_rows_is_light(home):
    code = (
        "import sys, lambda_search as ls\n"
        "assert ls.best('adm-cifar10', 20).fid == 4.31\n"
        "heavy = {'torch', 'ray', 'optuna', 'diffusers', 'numpy', 'fastapi', 'urllib.request'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert not home.exists(), "looking up makes no files"


def test_the_readmes_table_is_what_lookups_answer(tmp_path):
    """Each λ in it is the best row of its setting, and none is left out."""
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    store = Store(f"{tmp_path}/s.db")
    told = {}
    for model, sampler, cell in re.findall(r"^\| `(\w\S*)` \| (\w+) \| (\d+: .*) \|$", text, re.M):
        for one in cell.split(" · "):
            steps, b, k, before, after = re.fullmatch(
                r"(\d+): ([\d.]+)(?: \+ ([\d.]+)·i)? \(([\d.]+) → ([\d.]+)\)", one
            ).groups()
            told[model, sampler, int(steps)] = (float(b), float(k or 0), before, after)
    known = {(model, "ancestral") for model in ADM} | {*EDM}
    assert {*told} == {
        (model, sampler, row.setting.steps)
        for model, sampler in known
        for row in listed(model, store=store, sampler=sampler)
    }
    for (model, sampler, steps), (b, k, before, after) in told.items():
        found = best(model, steps, sampler, store)
        assert (found.schedule.b, found.schedule.k) == (b, k)
        assert (f"{found.baseline_fid:g}", f"{found.fid:g}") == (before, after)
