"""Studies that are submitted again: what differs is shown, what cannot be compared is refused."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from lambda_search import studies
from lambda_search.earlier import answered
from lambda_search.earlier import changed
from lambda_search.errors import UsageError
from lambda_search.launching import plans_of
from lambda_search.launching import run_studies
from lambda_search.records import Round
from lambda_search.records import Trial
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import SamplerOptions
from lambda_search.setting import Setting
from lambda_search.spec import Written
from lambda_search.spec import changes
from lambda_search.spec import parse_specs
from lambda_search.spec.seen import keep_stamp
from lambda_search.spec.seen import stamp
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from lambda_search.work.pool import SerialPool
from tests.store.test_store import IDENTITY
from tests.store.test_store import row
from tests.test_held_elsewhere import LAUNCH

TEXT = """
name: mine
model: {framework: diffusers, checkpoint: ./tiny, dataset: digits}
sampler: {name: ddim, steps: 10, clip: true}
search: {proposals: gp, mean: [0.97, 1.06], slope: [-0.01, 0.01], trials: 12, seed: 0}
metric: {extractor: bundled, reference: "bundled:fashion-mnist"}
"""
SETTING = Setting(
    model="mine",
    weights="0" * 64,
    definition="1" * 64,
    framework="diffusers",
    sampler="ddim",
    options=SamplerOptions(clip=True, grid="leading", eta=0.0),
    steps=10,
    extractor="bundled@1",
    reference="bundled:fashion-mnist@2",
)


def spec(old="", new=""):
    assert old in TEXT
    [found] = parse_specs(TEXT.replace(old, new))
    return found


def written(old="", new="", base="/"):
    return [Written(spec(old, new), base)]


@pytest.fixture
def store(tmp_path):
    """A store whose study 'mine' has tried λ̄ from 0.98 to 1.05."""
    opened = Store(f"{tmp_path}/store.db")
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "weights").write_bytes(b"1")
    studies.submit(spec(), opened)
    claim = Queue(opened).claim()
    Queue(opened).bind(claim.lease, SETTING, 10, IDENTITY)
    means = [1.0, *(0.98 + n / 100 for n in range(8))]
    trials = [Trial(n, 0, LambdaSchedule(mean), mean, 0.0) for n, mean in enumerate(means)]
    opened.propose(claim.lease, trials)
    opened.publish(claim.lease, row(SETTING, "mine"), decisive="digest")
    yield opened
    opened.close()


def test_what_is_spelled_otherwise_is_the_same():
    assert changes(spec(), spec("clip: true", "clip: true, guidance: 1")) == []
    assert changes(spec(), spec("digits", "digits, name: mine")) == []


def test_each_field_that_differs_is_named_with_both_values():
    after = spec("mean: [0.97, 1.06]", "mean: [0.99, 1.06], parallel: 2")
    told = [str(one) for one in changes(spec(), after)]
    assert told == ["search.mean: [0.97, 1.06] → [0.99, 1.06]", "search.parallel: 4 → 2"]
    [label] = changes(spec(), spec("digits", "numbers"))
    assert not label.decides and "digits → numbers" in str(label)


def test_new_ranges_tell_which_trials_still_count(store):
    [told] = changed(written("mean: [0.97, 1.06]", "mean: [0.995, 1.025]"), store)
    text = " ".join(told.lines)
    assert "search.mean: [0.97, 1.06] → [0.995, 1.025]" in text
    assert "3 of 8 candidates so far lie in the new ranges" in text
    assert "cannot be confirmed" in text
    [told] = changed(written("trials: 12", "trials: 20"), store)
    assert told.lines[-1] == "All 8 candidates so far count."
    [told] = changed(written("digits", "numbers"), store)
    assert told.lines[-1] == "Nothing that decides numbers has changed."
    assert changed(written(), store) == []


def kg(old="search: {", new="search: {"):
    [found] = parse_specs(TEXT.replace("proposals: gp", "proposals: kg").replace(old, new))
    return [Written(found, "/")]


def test_where_rounds_count_it_is_told_which_ones_do(store):
    """None of another search's, all of rounds wherever they lie; what was only confirmed never."""
    [told] = changed(kg(), store)
    assert "search.proposals: gp → kg" in " ".join(told.lines)
    assert "0 of 8 candidates so far were measured in rounds and count" in told.lines[-1]
    studies.submit(kg()[0].spec, store)
    claim = Queue(store).claim()
    only = Trial(9, 1, LambdaSchedule(1.2), 1.2, 0.0, "complete")
    store.begin_round(
        claim.lease, Round(0, 0, 16, (0, 1, 2, 10)), [Trial(10, 1, LambdaSchedule(1.1), 1.1, 0.0)]
    )
    store.propose(claim.lease, [only])
    [told] = changed(kg("trials: 12", "trials: 40"), store)
    assert "3 of 9 candidates so far were measured in rounds" in told.lines[-1]
    [told] = changed(kg("mean: [0.97, 1.06]", "mean: [0.99, 1.02]"), store)
    assert told.lines[-1].endswith("where to look, those in and near the new ranges tell.")
    store.begin_round(claim.lease, Round(1, 16, 16, tuple(range(9))))
    [told] = changed(kg("trials: 12", "trials: 40"), store)
    assert told.lines[-1] == "All 9 candidates so far count."
    [told] = changed(written(), store)
    assert "8 of 9 candidates so far lie in the new ranges" in told.lines[-1]


REFUSED = {
    "steps: 10": "steps: 20",
    "name: ddim": "name: euler",
    "clip: true": "clip: false",
    "steps: 10, ": "steps: 10, guidance: 3.0, ",
    "seed: 0": "seed: 1",
    "framework: diffusers": "framework: adm",
    "dataset: digits": "name: another",
    "steps: 10,": "steps: 10, site: x0_only,",
    "steps: 10, clip": "steps: 10, precision: bf16, clip",
}


@pytest.mark.parametrize(("old", "new"), REFUSED.items())
def test_another_study_under_the_name_is_refused_with_the_way_out(store, old, new):
    with pytest.raises(UsageError, match="cannot be compared") as caught:
        studies.submit(spec(old, new), store)
    assert "→" in caught.value.cause
    assert "another name" in caught.value.hint and "remove mine" in caught.value.hint
    assert store.study("mine").spec == spec().to_yaml() and store.study("mine").state == "done"


def test_what_may_come_to_the_same_setting_is_not_refused(store):
    for old, new in {
        ", clip: true": "",
        "checkpoint: ./tiny": "checkpoint: ./moved",
        "steps: 10,": "steps: 9, grid: leading,",
    }.items():
        assert changed(written(old, new), store)


def test_before_a_driver_took_it_a_study_may_become_any(tmp_path):
    with_nobody = Store(f"{tmp_path}/new.db")
    studies.submit(spec(), with_nobody)
    [queued] = studies.submit(spec("steps: 10", "steps: 20"), with_nobody)
    assert "steps: 20" in queued.spec
    with_nobody.close()


def test_a_change_is_kept_as_an_event(store):
    studies.submit(spec("trials: 12", "trials: 20"), store)
    texts = [event.text for event in store.events("mine")]
    assert "its file was changed: search.trials: 12 → 20" in texts


def kept(base):
    keep_stamp("digest", stamp(spec(), base))


def test_the_store_alone_answers_a_finished_study(store, tmp_path):
    assert not answered(written(base=tmp_path), store), "nobody has looked at its files"
    kept(tmp_path)
    found = answered(written(base=tmp_path), store)
    assert [one.provenance.study for one in found.values()] == ["mine"]
    assert answered(written("digits", "numbers", base=tmp_path), store)
    assert not answered(written("trials: 12", "trials: 20", base=tmp_path), store)


def moved_over(tiny):
    (tiny.parent / "other").write_bytes(b"2")
    os.utime(tiny.parent / "other", (1, 1))
    (tiny.parent / "other").rename(tiny / "weights")


def written_and_dated_back(tiny):
    before = (tiny / "weights").stat()
    (tiny / "weights").write_bytes(b"2")
    os.utime(tiny / "weights", ns=(before.st_atime_ns, before.st_mtime_ns))


def another_folder(tiny):
    shutil.copytree(tiny, tiny.parent / "other")
    tiny.rename(tiny.parent / "away")
    (tiny.parent / "other").rename(tiny)


def a_link_elsewhere(tiny):
    (tiny.parent / "older").mkdir()
    (tiny.parent / "older" / "weights").write_bytes(b"2")
    tiny.rename(tiny.parent / "away")
    tiny.symlink_to("older")


def gone(tiny):
    (tiny / "weights").unlink()


def one_more(tiny):
    (tiny / "more").write_bytes(b"")


CHANGES = [moved_over, written_and_dated_back, another_folder, a_link_elsewhere, gone, one_more]


@pytest.mark.parametrize("change", CHANGES, ids=lambda one: one.__name__)
def test_the_store_does_not_answer_for_files_that_changed(store, tmp_path, change):
    """None of these need leave a time of writing behind that is later than the row's."""
    kept(tmp_path)
    assert answered(written(base=tmp_path), store)
    time.sleep(0.02)  # longer than file systems' clocks stand still
    change(tmp_path / "tiny")
    assert not answered(written(base=tmp_path), store)


def test_files_that_a_config_names_and_reached_by_links_count(tmp_path):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "c.yaml").write_text("text: {prompts: p.txt}\nvae: v.pt\n")
    for name in ("p.txt", "v.pt"):
        (tmp_path / "conf" / name).write_text("1")
    (tmp_path / "conf" / "loop").symlink_to(".")
    one = spec("checkpoint: ./tiny,", "checkpoint: ./conf, config: conf/c.yaml,")
    alone = spec("checkpoint: ./tiny,", "checkpoint: ./nothing, config: conf/c.yaml,")
    for name in ("p.txt", "v.pt"):
        before = stamp(one, tmp_path), stamp(alone, tmp_path)
        assert before == (stamp(one, tmp_path), stamp(alone, tmp_path))
        (tmp_path / "conf" / name).write_text("12")
        after = stamp(one, tmp_path), stamp(alone, tmp_path)
        assert before[0] != after[0] and before[1] != after[1]


@pytest.mark.slow
def test_a_launch_of_a_finished_study_loads_no_torch_until_its_weights_are_others(
    url, study_text, study_file, tiny_pipeline, tmp_path
):
    own = tmp_path / "weights"
    shutil.copytree(tiny_pipeline, own)
    study_file.write_text(study_text.replace(str(tiny_pipeline), str(own)))
    store = Store(url)
    [row] = run_studies(plans_of(study_file), store, SerialPool())

    def launched():
        command = (sys.executable, "-c", LAUNCH, study_file, "--store", store.url, "--json")
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True)
        *shown, told = done.stdout.strip().splitlines()
        code, _, modules = json.loads(told)
        return code, "\n".join(shown), {"torch", "ray", "optuna", "numpy"} & set(modules), done

    code, shown, heavy, done = launched()
    assert code in (0, None) and json.loads(shown)[0]["id"] == row.id, done.stderr
    assert heavy, "nobody has looked at its files for their own sake"
    code, shown, heavy, done = launched()
    assert code in (0, None) and json.loads(shown)[0]["id"] == row.id, done.stderr
    assert not heavy

    weights = own / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    other = tmp_path / "other"
    other.write_bytes(content)
    os.utime(other, (1, 1))
    other.rename(weights)
    code, shown, heavy, done = launched()
    assert code == 2 and not shown and heavy, "`mv other.pt w.pt` keeps an old time"
    assert "of another setting" in done.stderr
    store.close()
