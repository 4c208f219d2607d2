import math

import pytest
import yaml
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from lambda_search.errors import UsageError
from lambda_search.search.space import Space
from lambda_search.spec import ConfirmSpec
from lambda_search.spec import MetricSpec
from lambda_search.spec import ModelSpec
from lambda_search.spec import SamplerSpec
from lambda_search.spec import SearchSpec
from lambda_search.spec import StudySpec
from lambda_search.spec import load_specs
from lambda_search.spec import located
from lambda_search.spec import parse_specs

STUDY = {
    "name": "cifar10-adm",
    "model": {"framework": "adm", "checkpoint": "cifar10_adm.pt", "dataset": "cifar10"},
    "sampler": {"name": "ancestral", "steps": 20},
    "search": {"mean": [0.99, 1.05], "slope": [-0.002, 0.004], "trials": 40, "seed": 7},
    "metric": {"extractor": "inception-clean", "reference": "clean-fid:cifar10/train/32"},
}


def study(**changes):
    """The text of STUDY; a change names a place like `sampler__steps`, None removes it."""
    document = yaml.safe_load(yaml.safe_dump(STUDY))
    for place, value in changes.items():
        *parents, leaf = place.split("__")
        target = document
        for parent in parents:
            target = target.setdefault(parent, {})
        if value is None:
            del target[leaf]
        else:
            target[leaf] = value
    return yaml.safe_dump(document)


def refused(text):
    """(cause, hint) of the error that `text` provokes."""
    with pytest.raises(UsageError) as caught:
        parse_specs(text, source="my.yaml")
    assert caught.value.cause
    assert caught.value.hint
    return caught.value.cause, caught.value.hint


words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words
configs = st.dictionaries(words, scalars | st.lists(scalars, max_size=3), max_size=3)


@st.composite
def ranges(draw, low, high):
    return tuple(sorted((draw(st.floats(low, high)), draw(st.floats(low, high) | st.just(high)))))


@st.composite
def specs(draw):
    steps = draw(st.integers(1, 100))
    span = max(steps - 1, 1)
    return StudySpec(
        name=draw(st.from_regex(r"[a-z0-9][a-z0-9._-]{0,99}", fullmatch=True)),
        model=ModelSpec(
            framework=draw(words),
            checkpoint=draw(words),
            config=draw(st.none() | words | configs),
            dataset=draw(st.none() | words),
            name=draw(words),
        ),
        sampler=SamplerSpec(
            name=draw(st.sampled_from(["ancestral", "ddim"])),
            steps=steps,
            guidance=draw(st.none() | st.floats(0, 20)),
            site=draw(st.sampled_from(["full", "x0_only"])),
            eta=draw(st.none() | st.floats(0, 1)),
            grid=draw(st.none() | words),
            clip=draw(st.none() | st.booleans()),
            variance=draw(st.none() | st.sampled_from(["learned", "small", "large"])),
            precision=draw(st.sampled_from(["fp32", "bf16", "fp16"])),
            batch=draw(st.integers(1, 65536)),
        ),
        search=SearchSpec(
            mean=draw(ranges(0.9, 1.1).filter(lambda ends: ends[0] < ends[1])),
            slope=draw(st.none() | ranges(-0.5 / span, 0.5 / span)),
            trials=draw(st.integers(2, 100_000)),
            parallel=draw(st.integers(1, 1024)),
            proposals=draw(st.sampled_from(["gp", "tpe", "random", "qmc", "grid"])),
            seed=draw(st.integers(0, 2**32 - 1)),
        ),
        metric=MetricSpec(
            extractor=draw(words),
            reference=draw(words),
            rungs=draw(st.sets(st.integers(16, 10**6), min_size=1, max_size=4).map(sorted)),
        ),
        confirm=ConfirmSpec(
            top=draw(st.integers(1, 100)), samples=draw(st.integers(16, 1_000_000))
        ),
    )


@settings(max_examples=60)
@given(specs())
def test_a_study_written_out_reads_back_equal(spec):
    assert parse_specs(spec.to_yaml()) == [spec]


CONFIGS = [{"a": None}, {"a": {"b": [None, {"c": None}]}}, {"a": [math.inf, -math.inf]}]


@pytest.mark.parametrize("config", CONFIGS)
def test_nothing_is_lost_from_a_models_own_options(config):
    (spec,) = parse_specs(study(model__config=config))
    assert spec.model.config == config
    assert parse_specs(spec.to_yaml()) == [spec]


def test_fields_are_read_and_left_out_ones_have_defaults():
    (spec,) = parse_specs(study())
    assert (spec.name, spec.model.name) == ("cifar10-adm", "cifar10-adm")
    assert spec.model.framework == "adm"
    assert (spec.sampler.name, spec.sampler.steps, spec.sampler.site) == ("ancestral", 20, "full")
    assert spec.search.mean == (0.99, 1.05)
    assert spec.search.slope == spec.slope_range() == (-0.002, 0.004)
    assert (spec.search.trials, spec.search.parallel, spec.search.seed) == (40, 3, 7)
    assert spec.metric.rungs is None, "they depend on the width of the features"
    assert (spec.confirm.top, spec.confirm.samples) == (3, 10_000)


def test_the_default_slope_tilts_lambda_by_the_same_amount_at_any_step_count():
    for steps in (2, 11, 101):
        (spec,) = parse_specs(study(search__slope=None, sampler__steps=steps))
        low, high = spec.slope_range()
        assert low * (steps - 1) == pytest.approx(-0.08)
        assert high * (steps - 1) == pytest.approx(0.05)


def test_one_step_has_a_slope_range_too():
    (spec,) = parse_specs(study(search__slope=None, sampler__steps=1))
    assert spec.slope_range() == (-0.08, 0.05)


def test_sampler_options_may_stand_under_options_as_in_python():
    (nested,) = parse_specs(study(sampler__options={"eta": 0.5, "clip": False}))
    (flat,) = parse_specs(study(sampler__eta=0.5, sampler__clip=False))
    assert nested == flat
    assert nested.sampler.options.model_dump(exclude_defaults=True) == {"eta": 0.5, "clip": False}


def test_a_list_of_steps_makes_one_study_each():
    found = parse_specs(study(sampler__steps=[20, 50, 100]))
    assert [spec.name for spec in found] == ["cifar10-adm-20", "cifar10-adm-50", "cifar10-adm-100"]
    assert [spec.sampler.steps for spec in found] == [20, 50, 100]
    assert {spec.model.name for spec in found} == {"cifar10-adm"}
    (alone,) = parse_specs(study())
    same = {"name": alone.name, "sampler": alone.sampler}
    assert all(spec.model_copy(update=same) == alone for spec in found)


def test_a_list_of_one_step_count_is_no_reason_for_another_name():
    (spec,) = parse_specs(study(sampler__steps=[20]))
    assert (spec.name, spec.sampler.steps) == ("cifar10-adm", 20)


def test_a_matrix_makes_one_study_per_combination():
    matrix = {"model.checkpoint": ["nets/A_1.pt", "b.pt"], "sampler.eta": [0, 0.5]}
    found = parse_specs(study(matrix=matrix, sampler__name="ddim", sampler__steps=[10, 20]))
    assert [spec.name for spec in found] == [
        f"cifar10-adm-{net}-{eta}-{steps}"
        for net in ("a-1", "b")
        for eta in ("0", "0.5")
        for steps in (10, 20)
    ]
    assert [(s.model.checkpoint, s.sampler.eta, s.sampler.steps) for s in found] == [
        (net, eta, steps)
        for net in ("nets/A_1.pt", "b.pt")
        for eta in (0, 0.5)
        for steps in (10, 20)
    ]
    assert [spec.model.name for spec in found] == ["cifar10-adm-a-1"] * 4 + ["cifar10-adm-b"] * 4


def test_a_matrix_may_fill_a_section_that_the_file_leaves_out():
    found = parse_specs(study(matrix={"confirm.top": [1, 2]}))
    assert [spec.confirm.top for spec in found] == [1, 2]


def test_a_given_model_name_stays():
    found = parse_specs(study(model__name="adm-cifar10", sampler__steps=[10, 20]))
    assert {spec.model.name for spec in found} == {"adm-cifar10"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"search__trials": None}, ("kg", 100)),
        ({"search": None}, ("kg", 100)),
        ({"metric__rungs": [500]}, ("gp", 40)),
        ({"metric__rungs": [500], "search": None}, ("gp", 24)),
        ({"search": {"proposals": "tpe"}}, ("tpe", 24)),
        ({"metric__rungs": [500], "search__proposals": "qmc"}, ("qmc", 40)),
    ],
)
def test_a_search_goes_in_rounds_unless_its_file_has_rungs(changes, expected):
    [spec] = parse_specs(study(**changes))
    assert (spec.search.proposals, spec.search.trials) == expected


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        # unknown and misspelt
        ({"serach": {}}, "serach: there is no such field; did you mean 'search'?"),
        ({"sampler__stepz": 3}, "sampler.stepz: there is no such field; did you mean 'steps'?"),
        ({"search__trails": 3}, "search.trails: there is no such field; did you mean 'trials'?"),
        ({"model__chekpoint": "a"}, "model.chekpoint: there is no such field; did you mean 'che"),
        ({"metric__rung": [500]}, "metric.rung: there is no such field; did you mean 'rungs'?"),
        ({"confirm__sample": 50}, "confirm.sample: there is no such field; did you mean 'samples"),
        ({"sampler__options": {"etta": 1}}, "sampler.etta: there is no such field; did you mean"),
        ({"matrix": {"sampler.stepz": [1, 2]}}, "sampler.stepz: there is no such field; did you"),
        ({"metric__zzz": 1}, "known: extractor, reference, name, also, rungs"),
        # missing
        ({"model": None}, "model: is missing"),
        ({"sampler": None}, "sampler: is missing"),
        ({"metric": None}, "metric: is missing"),
        ({"sampler__steps": None}, "sampler.steps: is missing"),
        ({"model__framework": None}, "model.framework: is missing"),
        ({"metric__reference": None}, "metric.reference: is missing"),
        # impossible values
        ({"sampler__steps": 0}, "sampler.steps: input should be greater than or equal to 1"),
        ({"sampler__steps": -5}, "(it is -5)"),
        ({"sampler__steps": [20, 0]}, "sampler.steps: input should be greater than or equal to 1"),
        ({"sampler__steps": "many"}, "sampler.steps: input should be a valid integer"),
        ({"sampler__steps": 2.5}, "(it is 2.5)"),
        ({"sampler__name": "heune"}, "sampler.name: input should be 'ancestral', 'ddim', 'euler'"),
        ({"sampler__eta": 2}, "sampler.eta: input should be less than or equal to 1 (it is 2)"),
        ({"sampler__batch": 0}, "sampler.batch: input should be greater than or equal to 1"),
        ({"sampler__site": "half"}, "sampler.site: input should be 'full' or 'x0_only'"),
        ({"search__mean": [1.05, 0.99]}, "search.mean: the range [1.05, 0.99] is empty"),
        ({"search__slope": [0.004, -0.002]}, "search.slope: the range [0.004, -0.002] is empty"),
        ({"search__mean": [1.0]}, "search.mean"),
        ({"search__mean": [1.0, float("nan")]}, "search.mean.1: input should be a finite number"),
        ({"search__mean": [1.0, float("inf")]}, "search.mean.1: input should be a finite number"),
        ({"search__mean": [1, 1], "search__slope": [0, 0]}, "single points; widen one of them"),
        ({"search__trials": 1}, "search.trials: input should be greater than or equal to 2"),
        ({"search__proposals": "gpp"}, "search.proposals: input should be 'gp', 'tpe', 'cmaes'"),
        (
            {"search__proposals": "kg", "metric__rungs": [500]},
            "has no rungs; leave metric.rungs out",
        ),
        (
            {"search__tolerance": 0.01, "search__proposals": "gp"},
            "search: tolerance is for proposals: kg",
        ),
        (
            {"search__budget": {"images": 5000}, "metric__rungs": [500]},
            "search: budget is for proposals: kg",
        ),
        (
            {"search__score": "projected", "search__proposals": "tpe"},
            "search: score is for proposals: kg",
        ),
        (
            {"search__components": 64, "metric__rungs": [500]},
            "search: components is for proposals: kg",
        ),
        (
            {"search__proposals": "kg", "search__score": "fid", "search__components": 64},
            "the FID has all components",
        ),
        ({"search__seed": -1}, "search.seed: input should be greater than or equal to 0"),
        ({"metric__rungs": [1000, 500]}, "rungs must rise and start at 16 images or more"),
        ({"metric__rungs": [500, 500]}, "rungs must rise"),
        ({"metric__rungs": [15, 500]}, "rungs must rise"),
        ({"metric__rungs": []}, "rungs must rise"),
        ({"confirm__samples": 15}, "confirm.samples: input should be greater than or equal to 16"),
        ({"name": "../etc"}, "name: "),
        ({"name": "CIFAR"}, "(it is 'CIFAR')"),
        ({"model": 3}, "model: input should be a valid dictionary"),
        # λ that can reach zero
        ({"search__mean": [0, 1]}, "λ reaches -0.019 at mean 0 and slope -0.002 over 20 steps"),
        ({"search__slope": [-0.2, 0]}, "slope -0.2 over 20 steps"),
        ({"search__slope": [0, 0.2]}, "slope 0.2 over 20 steps"),
    ],
)
def test_what_makes_no_sense_is_named(changes, cause):
    found, hint = refused(study(**changes))
    assert found.startswith("my.yaml is not a valid study:\n  ")
    assert cause in found
    assert hint == "Mend the file and launch again."


def test_all_problems_are_told_at_once():
    cause, _ = refused(study(sampler__steps=0, serach={}, confirm__top=0))
    lines = cause.splitlines()[1:]
    assert len(lines) == 3
    for place in ("sampler.steps: ", "serach: ", "confirm.top: "):
        assert sum(line.strip().startswith(place) for line in lines) == 1


@pytest.mark.parametrize(
    ("slope", "steps", "legal"),
    [([0, 0.1], 19, True), ([0, 0.1], 20, False), ([-0.1, 0], 19, True), ([-0.1, 0], 20, False)],
)
def test_lambda_is_checked_at_the_corners_of_the_space(slope, steps, legal):
    # the lowest λ is 0.95 − 0.1·(steps − 1)/2: 0.05 at 19 steps, 0 at 20
    text = study(search__mean=[0.95, 1], search__slope=slope, sampler__steps=steps)
    if legal:
        (spec,) = parse_specs(text)
        assert spec.search.slope == tuple(slope)
    else:
        assert "narrow search.mean or search.slope" in refused(text)[0]


@pytest.mark.parametrize(
    "text", ["a: [1", "name: 'x", "a: b: c", "\tname: x", "a: 1\n---\nb: 2", "!!python/name:os.x"]
)
def test_what_is_not_yaml_says_so(text):
    cause, hint = refused(text)
    assert cause.startswith("my.yaml is not YAML: ")
    assert hint == "Check its indentation and quotes."


@pytest.mark.parametrize("text", ["", "just words", "- a\n- b", "3"])
def test_yaml_that_is_no_study_says_what_a_study_needs(text):
    assert refused(text) == (
        "my.yaml is not a study.",
        "It needs name, model, sampler and metric.",
    )


@pytest.mark.parametrize(
    "matrix", [{"sampler.steps": 20}, {"sampler.steps": []}, ["sampler.steps"], "sampler.steps"]
)
def test_a_matrix_that_maps_no_field_to_a_list_is_refused(matrix):
    cause, hint = refused(study(matrix=matrix))
    assert cause == "my.yaml: matrix must map fields to lists."
    assert "{sampler.steps: [20, 50]}" in hint


def test_a_matrix_over_what_is_no_field_is_refused():
    assert "matrix names name.x, which is no field" in refused(study(matrix={"name.x": [1, 2]}))[0]


def test_an_empty_list_of_steps_is_refused():
    assert "steps" in refused(study(sampler__steps=[]))[0]


def test_a_matrix_over_a_number_is_refused():
    assert "the key 5" in refused(study(matrix={5: [1, 2]}))[0]


def test_an_impossible_date_is_an_error_of_the_file():
    assert refused(study() + "date: 2024-13-45\n")[0].startswith("my.yaml is not ")


def test_a_missing_name_is_called_missing():
    assert "name: is missing" in refused(study(name=None))[0]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError) as caught:
        load_specs(tmp_path / "none.yaml")
    assert caught.value.cause == f"The study file {tmp_path / 'none.yaml'} does not exist."
    assert caught.value.hint == "Name a .yaml file or a folder."


def test_a_file_that_is_no_text_is_unreadable(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"name: \x81")
    with pytest.raises(UsageError) as caught:
        load_specs(path)
    assert f"{path} is not YAML: line 1" in caught.value.cause
    assert caught.value.hint


def test_a_problem_in_a_file_names_the_file(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(study(sampler__steps=0))
    with pytest.raises(UsageError) as caught:
        load_specs(path)
    assert str(path) in caught.value.cause


def test_a_folder_holds_its_studies_in_order(tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "b.yaml").write_text(study(name="b"))
    (tmp_path / "a.yml").write_text(study(name="a", sampler__steps=[3, 4]))
    (tmp_path / "more" / "c.yaml").write_text(study(name="c"))
    (tmp_path / "notes.txt").write_text("no study")
    assert [spec.name for spec in load_specs(tmp_path)] == ["a-3", "a-4", "b", "c"]


def test_a_folder_without_studies_says_so(tmp_path):
    with pytest.raises(UsageError) as caught:
        load_specs(tmp_path)
    assert caught.value.cause == f"There is no study file in {tmp_path}."
    assert caught.value.hint == "Study files end in .yaml."


@pytest.mark.parametrize("split", [False, True], ids=["one file", "two files"])
def test_two_studies_of_one_name_are_refused(tmp_path, split):
    if split:
        (tmp_path / "a.yaml").write_text(study())
        (tmp_path / "b.yaml").write_text(study())
    else:
        (tmp_path / "a.yaml").write_text(study(sampler__steps=[10, 10]))
    with pytest.raises(UsageError) as caught:
        load_specs(tmp_path)
    assert caught.value.cause.startswith("Several studies are named cifar10-adm")
    assert caught.value.hint == "Give each its own name."


def test_relative_paths_start_beside_the_file(tmp_path, monkeypatch):
    folder = tmp_path / "studies"
    folder.mkdir()
    for name in ("net.pt", "net.json", "real.npz"):
        (folder / name).write_text("")
    (folder / "a.yaml").write_text(
        study(model__checkpoint="net.pt", model__config="net.json", metric__reference="real.npz")
    )
    monkeypatch.chdir(tmp_path)
    (spec,) = load_specs((folder / "a.yaml").relative_to(tmp_path))
    assert spec.model.checkpoint == str(folder / "net.pt")
    assert spec.model.config == str(folder / "net.json")
    assert spec.metric.reference == str(folder / "real.npz")


def test_paths_beside_the_working_folder_do_not_count(tmp_path, monkeypatch):
    (tmp_path / "studies").mkdir()
    (tmp_path / "net.pt").write_text("")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studies" / "a.yaml").write_text(study(model__checkpoint="net.pt"))
    (spec,) = load_specs(tmp_path / "studies" / "a.yaml")
    assert spec.model.checkpoint == "net.pt"


def test_what_is_spelt_as_a_path_becomes_absolute_though_it_is_missing(tmp_path):
    (tmp_path / "a.yaml").write_text(study(model__checkpoint="./none.pt"))
    (spec,) = load_specs(tmp_path / "a.yaml")
    assert spec.model.checkpoint == str(tmp_path / "none.pt")


@pytest.mark.parametrize("name", ["google/ddpm-cifar10-32", "bundled:fashion-mnist", "/abs/x.pt"])
def test_hub_names_bundled_names_and_absolute_paths_stay(tmp_path, name):
    (tmp_path / "a.yaml").write_text(study(model__checkpoint=name, metric__reference=name))
    (spec,) = load_specs(tmp_path / "a.yaml")
    assert (spec.model.checkpoint, spec.metric.reference) == (name, name)


def test_only_what_names_a_file_becomes_a_path(tmp_path):
    for name in ("adm-cifar10", "vae"):
        (tmp_path / name).mkdir()
    config = {"preset": "adm-cifar10", "vae": "vae", "classifier": {"checkpoint": "vae"}}
    text = study(model__config=config)
    spec = located(parse_specs(text)[0], [tmp_path])
    assert spec.model.config == {
        "preset": "adm-cifar10",
        "vae": str(tmp_path / "vae"),
        "classifier": {"checkpoint": str(tmp_path / "vae")},
    }


def test_lambda_stays_positive_over_the_grid_that_is_really_walked():
    (spec,) = parse_specs(study(sampler__steps=5, search__slope=[0.2, 0.3]))
    Space.of(spec, 5)
    with pytest.raises(UsageError, match="in 12 steps"):
        Space.of(spec, 12)


def test_values_of_a_matrix_are_not_shared_between_studies():
    text = (
        "name: s\nmodel: {framework: adm, checkpoint: a.pt}\nsampler: {}\n"
        "metric: {extractor: bundled, reference: r}\n"
        "matrix: {sampler: [{name: ddim}, {name: ancestral}], sampler.steps: [20, 50]}\n"
    )
    found = [(one.sampler.name, one.sampler.steps) for one in parse_specs(text)]
    assert found == [("ddim", 20), ("ddim", 50), ("ancestral", 20), ("ancestral", 50)]


@pytest.mark.parametrize(
    ("written", "share"),
    [
        *(("1%", 0.01), ("0.7 %", 0.007), ("0.01", 0.01), ("'0.01'", 0.01)),
        *(("0.01%", 1e-4), ("1e-4", 1e-4), ("50%", 0.5)),
    ],
)
def test_precision_and_tolerance_are_shares(written, share):
    for text in SHARES.values():
        [spec] = parse_specs(text.format(written))
        assert share in (spec.confirm.precision, spec.search.tolerance)
        assert parse_specs(spec.to_yaml()) == [spec]


@pytest.mark.parametrize(
    "written",
    [
        *("1", "0", "-1%", "100%", "51%", "true", "much", ".nan", "[1%]"),
        *("0.009%", "9e-5", "1e-9", "'%'"),
    ],
)
def test_what_is_no_share_says_how_to_write_one(written):
    for place, text in SHARES.items():
        with pytest.raises(UsageError) as caught:
            parse_specs(text.format(written))
        said = f"{place}: write a share of the FID at λ = 1 from 0.01% to 50%, like 1% or 0.01"
        assert said in str(caught.value)


_SHORT = """
name: s
model: {{framework: diffusers, checkpoint: x}}
sampler: {{name: ddim, steps: 4}}
metric: {{extractor: bundled, reference: r.npz}}
"""
SHARES = {
    "confirm.precision": _SHORT + "confirm: {{precision: {}}}",
    "search.tolerance": _SHORT + "search: {{proposals: kg, tolerance: {}}}",
}
