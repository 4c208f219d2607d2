"""Models, rows and comparisons: what is shown is what the record says, and nothing else."""

import csv
import io
import json
import re
from dataclasses import replace
from urllib.parse import quote

import pytest

from lambda_search.exchange import import_rows
from lambda_search.exchange import pieces
from lambda_search.exchange import text_of
from lambda_search.records import Origins
from lambda_search.records import lookup_words
from lambda_search.records import pipeline_line
from lambda_search.records import sampling_line
from lambda_search.schedule import LambdaSchedule
from lambda_search.service.pages.comparing import verdict_of
from lambda_search.service.pages.index import MODELS
from lambda_search.service.pages.index import ROWS
from lambda_search.store.lookup import listed
from lambda_search.store.store import Store
from tests.exchange.rows import UNSEEN
from tests.exchange.rows import every_kind
from tests.exchange.rows import setting
from tests.service.reading import Page
from tests.store.test_store import row

HOSTILE = '<script>alert(1)</script>&amp;{{ 7 * 7 }}\' onclick="x" /../\u202egnp.exe\n..?#'


@pytest.fixture
def store(url):
    opened = Store(url)
    opened.add(every_kind())
    yield opened
    opened.close()


@pytest.fixture
def look(serve, store, url):
    """Reads a page, and checks that it is whole."""
    client = serve(url)

    def read(path, status=200):
        page = Page(client.get(path, headers={"Accept": "text/html"}))
        assert (page.status, page.open) == (status, []), path
        assert not re.search("[\u202a-\u202e\u2066-\u2069\x1b]", page.text)
        return page

    read.client = client
    return read


def lines(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_each_row_is_shown_with_the_numbers_of_its_record(look, store):
    for one in store.all_rows():
        page = look(f"/rows/{one.id[:12]}")
        assert f"λ(i) = {one.schedule}" in page.text and one.id in page.text
        assert f"{one.n:,} images" in page.text and one.setting.weights in page.text
        if one.gain is None:
            assert f"FID {one.fid:g} with this λ and {one.baseline_fid:g} with λ = 1" in page.text
            assert one.provenance.source.paper in page.text
        else:
            ends = [f"{one.gain_interval.low:.3f}", f"{one.gain_interval.high:.3f}"]
            shown = [end.replace("-", "−") for end in ends]
            assert f"it lies between {shown[0]} and {shown[1]}" in page.text
            assert f"FID {one.fid:.3f} ± {one.fid_interval.half_width:.3f}" in page.text
        steps = [line for line in page.tables[-1][1:]]
        assert [float(line[-1]) for line in steps] == pytest.approx(one.lambdas, rel=1e-6)


def test_what_fell_says_so_and_leads_to_what_stands(look, store):
    first, second, retracted = every_kind()[:3]
    page = look(f"/rows/{first.id[:12]}")
    assert "Superseded" in page.text and f"/rows/{second.id[:12]}" in page.links
    assert "taken back" in look(f"/rows/{retracted.id[:12]}").text
    [table] = [one for one in look("/models/m").tables if one[0][0].strip() == "row"]
    told = {line[0].strip(): line[-1] for line in table[1:]}
    assert "superseded" in told[first.id[:12]] and "retracted" in told[retracted.id[:12]]
    assert "superseded" not in told[second.id[:12]]


def test_a_model_shows_its_best_rows_with_lines_to_copy(look, store):
    page = look("/models/m")
    for one in listed("m", store=store):
        assert f"{one.setting.steps} steps" in page.text and str(one.schedule) in page.text
        assert sampling_line(one).replace("\n", " ") in page.text
        assert " ".join(lookup_words(one.setting)) in page.text
    diffusers = row(setting(framework="diffusers", model="d"))
    store.add([diffusers])
    assert pipeline_line(diffusers) in look("/models/d").text
    assert "no pipeline of diffusers" in page.text


def test_hostile_names_are_text(look, store):
    store.add([row(setting(model=HOSTILE), HOSTILE)])
    for name in (HOSTILE, UNSEEN):
        path = f"/models/{quote(name, safe='')}"
        assert path in look("/").links
        page = look(path)
        assert len(page.with_("script")) == 4  # Plotly's, ours, and data for them
        assert not [told for _, told in page.tags if "onclick" in told]
        assert "\\u202e" in page.text and look.client.get(f"{path}.json").text == "".join(
            pieces(store, [name])
        )
    page = look(f"/models/{quote(HOSTILE, safe='')}")
    assert "<script>alert(1)</script>" in page.text and "{{ 7 * 7 }}" in page.text
    found = look(f"/?q={quote(HOSTILE[:20])}")
    assert found.with_("input", id="q")[0]["value"] == HOSTILE[:20]


@pytest.mark.parametrize(
    ("query", "models"),
    [
        ("q=owner/model", ["hub-and-file"]),
        ("q=WEIGHTS-7", ["hub-and-file"]),
        ("q=abcd", ["hub-and-file"]),
        ("q=%25", []),
        ("framework=adm&status=published&steps=20", None),
        ("sampler=heun&steps=1&framework=edm", ["m"]),
        ("status=confirmed&sampler=other", ["hub-and-file"]),
        ("q=m&status=published&sampler=ddim", []),
    ],
)
def test_filters(look, store, query, models):
    own = row(setting(model="hub-and-file", weights="abcdef" + "0" * 58, sampler="other"))
    store.add([replace(own, origins=Origins("photos", "owner/model", "1" * 40, "weights-7.pt"))])
    page = look(f"/?{query}")
    groups = [told["href"].rpartition("/")[2] for told in page.with_("a")]
    names = [one for one in groups if f"/models/{one}" in page.links]
    if models is None:
        published = {one.setting.model for one in Store.look("sqlite://").lookup_rows()}
        assert names == sorted(one for one in published if one.startswith("adm"))
    else:
        assert list(dict.fromkeys(names)) == models
    twin = json.loads(look.client.get(f"/models.json?{query}").text)["rows"]
    assert {one["setting"]["model"] for one in twin} == set(names)


def test_a_row_is_found_by_its_id_and_wrong_filters_are_refused(look, store):
    one = every_kind()[1]
    assert f"/rows/{one.id[:12]}" in look(f"/?q={one.id[:16]}").links
    assert "no number of steps" in look("/?steps=many", 400).text
    assert "no such status" in look("/?status=good", 400).text
    assert "no row of the model" in look("/models/nobody", 404).text
    assert look("/rows/ffff", 404).status == 404


def test_all_models_are_on_some_page(look, store):
    several = [f"model-{place:03}" for place in range(2 * MODELS)]
    store.add([row(setting(model=name), name) for name in several])
    wide = [row(setting(model="wide", steps=n), f"wide {n}") for n in range(2, ROWS + 5)]
    store.add(wide)
    seen, path = [], "/"
    while path:
        page = look(path)
        seen += [one for one in page.links if one.startswith("/models/")]
        [path] = [f"/{told['href']}" for told in page.with_("a", rel="next")] or [""]
    assert list(dict.fromkeys(seen)) == [
        f"/models/{quote(name, safe='')}" for name in sorted(store.models())
    ]
    assert "3 more" in Page(look.client.get("/?q=wide")).text or "more of these" in page.text


def test_twins_are_the_exchanges_forms(look, store, tmp_path):
    get = look.client.get
    for one in every_kind():
        [kept] = [known for known in store.all_rows() if known.id == one.id]
        for form in ("json", "csv"):
            assert get(f"/rows/{one.id}.{form}").text == text_of([kept], form)
    for form in ("json", "csv"):
        assert get(f"/models/m.{form}").text == "".join(pieces(store, ["m"], form))
    (tmp_path / "rows.csv").write_text(get("/models/m.csv").text)
    there = Store(f"sqlite:///{tmp_path}/there.db")
    import_rows(tmp_path / "rows.csv", there)
    assert list(there.all_rows("m")) == list(store.all_rows("m"))
    steps = lines(get(f"/rows/{every_kind()[3].id}/steps.csv").text)
    assert [float(line["lambda"]) for line in steps] == list(every_kind()[3].lambdas)
    [candidate] = get(f"/rows/{every_kind()[1].id}/candidates.json").json()
    assert candidate["gain"] == every_kind()[1].candidate.gain
    assert get("/models/nobody.json").status_code == 404
    # the first page's twin has the best row of each setting
    twin = lines(get("/models.csv?sampler=euler&status=confirmed").text)
    assert {line["id"] for line in twin} == {every_kind()[1].id, every_kind()[3].id}


def test_every_table_leads_to_its_twins(look, store):
    one = every_kind()[1]
    for path in ("/", "/models/m", f"/rows/{one.id[:12]}", f"/compare?a={one.id}&b={one.id}"):
        page = look(path)
        twins = [href for href in page.links if re.search(r"\.(json|csv)(\?|$)", href)]
        assert len(twins) >= 2
        for href in twins:
            if not href.startswith("/v1/"):
                assert look.client.get(href).status_code == 200, href


VERDICTS = {
    "themselves": ({}, {}, "yes"),
    "more images": ({}, {"n": 200}, "with care"),
    "other steps": ({"steps": 8}, {"lambdas": LambdaSchedule(1.01, 0.001).values(8)}, "with care"),
    "another extractor": ({"extractor": "other@9"}, {}, "no"),
    "a renamed extractor": ({"extractor": "renamed@1"}, {}, "yes"),
    "another site": ({"site": "x0_only"}, {}, "no"),
    "other guidance": ({"guidance": 2.0}, {}, "no"),
    "another model": ({"model": "n", "weights": "2" * 64}, {}, "no"),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_whether_two_rows_may_be_compared(case):
    fields, others, word = VERDICTS[case]
    one = row(setting())
    other = replace(one, setting=one.setting.model_copy(update=fields), **others)
    assert verdict_of(one, other).word == word
    assert verdict_of(other, one).word == word


def test_two_rows_side_by_side(look, store):
    a, b = every_kind()[1], every_kind()[4]
    page = look(f"/compare?a={a.id[:12]}&b={b.id[:12]}")
    assert "may not be ranked" in page.text
    marked = [line for line in page.tables[1] if "differs" in line[0]]
    assert {line[0].split()[0] for line in marked} >= {"steps", "sampler", "s_churn"}
    [steps] = [line for line in marked if line[0].startswith("steps")]
    assert [cell.strip() for cell in steps[1:]] == ["4", "1"]
    assert "Name two rows" in look("/compare").text
    assert look("/compare?a=zz&b=1", 404).status == 404
