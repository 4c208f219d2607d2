"""Studies are renamed and removed while nobody drives them; what they proved stays."""

from dataclasses import replace

import pytest

from lambda_search import studies
from lambda_search.errors import UsageError
from lambda_search.records import Image
from lambda_search.spec import parse_specs
from lambda_search.store.lookup import best
from lambda_search.store.queue import Queue
from tests.store.test_store import begin
from tests.store.test_store import evaluation
from tests.store.test_store import row
from tests.store.test_store import trial

SPEC = """
name: s
model: {framework: diffusers, checkpoint: tiny, name: m}
sampler: {name: ancestral, steps: 4}
metric: {extractor: bundled, reference: "bundled:fashion-mnist"}
"""


@pytest.fixture
def done(store, setting):
    """A study that has come to its row, with all that belongs to it."""
    [spec] = parse_specs(SPEC)
    lease = begin(store, setting, spec=spec.to_yaml())
    store.propose(lease, [trial(0), trial(1)])
    store.close_rung(lease, [evaluation("a")])
    published = store.publish(lease, row(setting), [Image("λ", b"png")])
    Queue(store).submit("other", spec.renamed("other").to_yaml(), files={"a.yaml": b"a: 1"})
    return published


def test_a_renamed_study_keeps_its_trials_and_its_models_name(store, done, setting):
    renamed = studies.rename("s", "a-better-name", store)
    assert (renamed.name, renamed.state) == ("a-better-name", "done")
    [spec] = parse_specs(renamed.spec)
    assert (spec.name, spec.model.name) == ("a-better-name", "m")
    assert len(store.trials(renamed.id)) == 2 and store.rows(renamed.id) == [done]
    assert best("m", 4, store=store).id == done.id
    assert "was named s" in store.events("a-better-name")[-1].text
    with pytest.raises(UsageError, match="no study 's'"):
        store.study("s")
    assert begin(store, setting, "a-better-name", renamed.spec + "# more") is not None


def test_a_model_that_was_named_after_its_study_keeps_that_name(store):
    [spec] = parse_specs(SPEC.replace(", name: m", ""))
    Queue(store).submit("s", spec.to_yaml())
    [spec] = parse_specs(studies.rename("s", "t", store).spec)
    assert (spec.name, spec.model.name) == ("t", "s")


@pytest.mark.parametrize("new", ["other", "s", "No Name", ""])
def test_a_name_that_is_taken_or_none_is_refused(store, done, new):
    with pytest.raises(UsageError, match=r"is no name of a study|There is a study"):
        studies.rename("s", new, store)
    assert store.study("s").state == "done"


def test_a_removed_study_leaves_its_rows_and_nothing_else(store, done):
    assert [one.id for one in studies.remove("s", store)] == [done.id]
    assert best("m", 4, store=store).id == done.id
    assert best("m", 4, store=store).provenance.study == "s"
    counts = store.counts()
    assert (counts["studies"], counts["trials"], counts["evaluations"]) == (1, 0, 0)
    assert store.images(done.provenance.preview) == []
    studies.remove("other", store)
    assert store.studies() == []
    assert studies.retract(done.id, "it was wrong", store).retraction is not None


def test_pictures_of_images_that_another_study_made_too_stay(store, setting):
    for name in ("s", "twin"):
        [spec] = parse_specs(SPEC)
        lease = begin(store, setting, name, spec.renamed(name).to_yaml())
        store.propose(lease, [trial(0)])
        both = replace(evaluation("both"), picture=b"png")
        store.close_rung(lease, [both, replace(evaluation(name), picture=b"png")])
        Queue(store).end(lease, "stopped", "stopped", "by hand")
    studies.remove("s", store)
    assert [len(store.images(one)) for one in ("both", "s", "twin")] == [1, 0, 1]
    studies.remove("twin", store)
    assert store.images("both") == []


def test_a_study_that_is_driven_or_is_none_is_refused(store, done):
    claim = Queue(store).claim(["other"])
    for act in (studies.remove, lambda name, store: studies.rename(name, "another", store)):
        with pytest.raises(UsageError, match="is being driven by process") as caught:
            act("other", store)
        assert "stop other" in caught.value.hint
        with pytest.raises(UsageError, match="no study 'nobody'"):
            act("nobody", store)
    claim.lease.drop()  # its driver died
    studies.remove("other", store)
    assert [one.name for one in store.studies()] == ["s"]
