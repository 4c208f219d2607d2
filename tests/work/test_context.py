"""What a worker keeps loaded is bounded."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from safetensors.torch import save_file

from lambda_search.errors import LambdaSearchError
from lambda_search.models.registry import load_model
from lambda_search.work.contents import libraries_of
from lambda_search.work.contents import size_of
from lambda_search.work.context import LruCache
from lambda_search.work.context import WorkerContext
from tests.search.running import plan_of


def test_the_longest_unused_goes_first():
    shelf = LruCache(room=1000)
    loads = []

    def get(name, count):
        def load():
            loads.append(name)
            return {"weights": [torch.zeros(count)]}

        return shelf.get(name, load)

    get("a", 100), get("b", 100), get("a", 100)
    assert loads == ["a", "b"] and len(shelf) == 2
    get("c", 100)
    assert len(shelf) == 2, "b went"
    get("a", 100)
    assert loads == ["a", "b", "c"]
    get("huge", 10_000)
    assert len(shelf) == 1, "the one in use stays"
    get("a", 100)
    assert len(shelf) == 1


def test_a_number_of_things_stays_however_large():
    shelf = LruCache(room=1, at_least=3)
    for k in range(5):
        shelf.get(k, lambda: torch.zeros(100))
        assert len(shelf) == min(k + 1, 3)


def test_sizes_count_what_a_model_is_made_of_once(tiny_pipeline):
    model = load_model("diffusers", str(tiny_pipeline))
    weights = 4 * sum(p.numel() for p in model._unet.parameters())
    assert weights <= size_of(model) <= 1.5 * weights
    assert size_of(model, model) == size_of(model)
    shared = torch.zeros(10)
    assert size_of([shared, {"x": shared[:5]}, lambda: shared], np.zeros(3)) == 64


def test_libraries_are_those_whose_classes_it_holds(tiny_pipeline):
    assert "diffusers" in libraries_of(load_model("diffusers", str(tiny_pipeline)))
    assert libraries_of(torch.nn.Linear(1, 1)) == ("torch",)


def test_a_worker_forgets_models_of_studies_that_ended(study_text, tiny_pipeline, tmp_path):
    recipes = []
    for name in "abc":
        folder = tmp_path / name
        shutil.copytree(tiny_pipeline, folder)
        recipes.append(plan_of(study_text.replace(str(tiny_pipeline), str(folder))).recipe)
    model = load_model("diffusers", str(tiny_pipeline))
    context = WorkerContext(torch.device("cpu"), room=2 * size_of(model) + 1000)
    for recipe in recipes:
        context.model(recipe)
    assert len(context._models) == 2
    assert context.model(recipes[-1]) is context.model(recipes[-1])


def test_what_a_worker_got_ready_for_is_not_loaded_again(
    study_text, tiny_pipeline, tmp_path, monkeypatch
):
    loads = []

    def load(*arguments):
        loads.append(arguments)
        return load_model(*arguments)

    copy = shutil.copytree(tiny_pipeline, tmp_path / "copy")
    plan = plan_of(study_text.replace(str(tiny_pipeline), str(copy)))
    monkeypatch.setattr("lambda_search.work.context.load_model", load)
    context = WorkerContext(torch.device("cpu"))
    context.get_ready(plan.spec)
    model = context.model(plan.recipe)
    assert len(loads) == 1 and model.sha256 == plan.recipe.weights
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({name: tensor + 1 for name, tensor in load_file(weights).items()}, weights)
    context = WorkerContext(torch.device("cpu"))
    context.get_ready(plan.spec)
    assert len(loads) == 2
    with pytest.raises(LambdaSearchError, match="another file on this worker"):
        context.model(plan.recipe)
