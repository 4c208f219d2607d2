"""Drafted study files, without a model: every field has its words, and blanks are refused."""

import inspect
from typing import get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from pydantic import BaseModel

from lambda_search.errors import UsageError
from lambda_search.spec import StudySpec
from lambda_search.spec import parse_specs
from lambda_search.spec.blanks import BLANK
from lambda_search.spec.drafting import Choice
from lambda_search.spec.drafting import nested
from lambda_search.spec.drafting import study_file
from lambda_search.spec.fields import FIELDS

CHOICES = {
    "name": Choice("mine"),
    "model.framework": Choice("adm"),
    "model.checkpoint": Choice("model.pt"),
    "sampler.name": Choice("ancestral"),
    "sampler.steps": Choice([10, 20], "As asked."),
    "metric.extractor": Choice("bundled"),
    "metric.reference": Choice("images:real"),
}


def fields_of(model, place=""):
    """The places of a model's fields, and whether each is a section."""
    for own, field in model.model_fields.items():
        name = field.alias or own
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation))]
        inner = [k for k in kinds if inspect.isclass(k) and issubclass(k, BaseModel)]
        yield f"{place}{name}", bool(inner)
        for kind in inner:
            yield from fields_of(kind, f"{place}{name}.")


def test_every_field_of_a_study_file_has_words_and_no_other():
    fields = dict(fields_of(StudySpec))
    assert set(FIELDS) == set(fields)
    for place, section in fields.items():
        assert FIELDS[place].what.endswith(".")
        assert bool(FIELDS[place].example) != section


def test_a_drafted_file_reads_as_what_was_chosen_with_all_fields_in_it():
    text = study_file(CHOICES, ["A heading."])
    assert yaml.safe_load(text) == nested(CHOICES)
    assert [spec.name for spec in parse_specs(text)] == ["mine-10", "mine-20"]
    lines = text.splitlines()
    assert lines[0] == "# A heading." and max(map(len, lines)) <= 99
    for place in FIELDS:
        name = place.rpartition(".")[2]
        [at, *_] = [i for i, line in enumerate(lines) if line.lstrip(" #").startswith(f"{name}:")]
        assert lines[at - 1].lstrip().startswith("# ")
    assert "# Solver steps: λ suits one number of them. As asked." in text


def test_what_is_left_open_can_be_put_in_by_taking_its_mark_away():
    text = study_file(CHOICES, [])
    opened = text.replace("#", "").replace(" name: my-model", " name: other")
    kept = [line for line in opened.splitlines() if not line.lstrip().startswith(" ")]
    assert len(kept) > len(FIELDS) / 2
    marked = "\n".join(
        line.replace("#", "", 1) if line.lstrip().startswith("#") and "# " not in line else line
        for line in text.splitlines()
    )
    document = yaml.safe_load(marked)
    assert document["search"]["trials"] == 100 and document["confirm"]["top"] == 3
    assert document["model"]["source"]["url"].startswith("https://")
    document["sampler"]["steps"] = 10
    del document["metric"]["rungs"]  # of other proposals
    StudySpec.model_validate(document)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


@settings(max_examples=40)
@given(st.dictionaries(st.text(), values, min_size=1), st.text(min_size=1))
def test_any_value_is_written_so_that_it_is_read_back(config, checkpoint):
    chosen = {"model.config": Choice(config), "model.checkpoint": Choice(checkpoint)}
    choices = CHOICES | chosen
    assert yaml.safe_load(study_file(choices, [])) == nested(choices)


def test_blanks_are_refused_with_the_lines_to_fill_in():
    chosen = {"model.config": Choice({"vae": BLANK}), "metric.reference": Choice(BLANK)}
    text = study_file(CHOICES | chosen, [])
    with pytest.raises(UsageError) as caught:
        parse_specs(text, source="mine.yaml")
    lines = text.splitlines()
    places = {"model.config.vae": "  config:", "metric.reference": "  reference:"}
    for place, start in places.items():
        [number] = [i for i, line in enumerate(lines, 1) if line.startswith(start)]
        assert "FILL IN" in lines[number - 1]
        assert f"line {number}: {place}" in caught.value.cause
    assert caught.value.cause.startswith("mine.yaml has blanks") and caught.value.hint
    filled = text.replace(f'"{BLANK}"', "there")
    assert parse_specs(filled)[0].metric.reference == "there"
