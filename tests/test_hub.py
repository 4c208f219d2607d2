"""The hub's repositories, by a library that is told what to answer; no network."""

import errno
import shutil
from types import SimpleNamespace

import httpx2
import huggingface_hub
import pytest
from huggingface_hub import errors

from lambda_search.errors import MissingFile
from lambda_search.errors import UsageError
from lambda_search.hub import NotOnHub
from lambda_search.hub import listing
from lambda_search.hub import snapshot
from lambda_search.models.registry import load_model

REQUEST = httpx2.Request("GET", "https://huggingface.co/api/models/owner/name")


def answered(kind, status):
    return kind("said the hub", response=httpx2.Response(status, request=REQUEST))


def caused(error, cause):
    error.__cause__ = cause
    return error


WHYS = [
    (httpx2.ConnectError("no route"), "the network failed (no route)", "proxy"),
    (httpx2.ProxyError("wants a password"), "the network failed (wants a pass", "proxy"),
    (httpx2.ReadTimeout("too slow"), "the network failed (too slow)", "network"),
    (ConnectionResetError("reset"), "the network failed (reset)", "network"),
    (answered(errors.RepositoryNotFoundError, 404), "the hub has no repository owner/name", "hf"),
    (answered(errors.GatedRepoError, 403), "accept their terms", "hf auth login"),
    (answered(errors.RevisionNotFoundError, 404), "no such revision", "revision"),
    (answered(errors.HfHubHTTPError, 503), "status 503", "later"),
    (answered(errors.HfHubHTTPError, 401), "status 401", "hf auth login"),
    (errors.OfflineModeIsEnabled("off"), "offline mode is on", "HF_HUB_OFFLINE"),
    (OSError(errno.ENOSPC, "No space left"), "its cache cannot be written", "HF_HOME"),
    (errors.LocalEntryNotFoundError("nothing"), "not in the hub's cache", "hf download"),
    (
        caused(errors.LocalEntryNotFoundError("got"), httpx2.ConnectError("no route")),
        "the network failed (no route)",
        "network",
    ),
]


@pytest.fixture(autouse=True)
def online(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub that gives `held` when asked, and what it was asked, by (revision, cache alone)."""
    found = SimpleNamespace(asked=[], held={True: None, False: tmp_path}, error=None)

    def snapshot_download(name, *, revision, allow_patterns, local_files_only):
        found.asked.append((revision, local_files_only))
        if found.held[local_files_only] is None:
            raise errors.LocalEntryNotFoundError("nothing here\nbut more words")
        if found.error and not local_files_only:
            raise found.error
        return str(found.held[local_files_only])

    def model_info(self, name):
        if found.error:
            raise found.error
        names = [str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.*")]
        return SimpleNamespace(sha="abc", siblings=[SimpleNamespace(rfilename=n) for n in names])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    return found


def refused(call):
    with pytest.raises(NotOnHub) as caught:
        call()
    assert "\n" not in caught.value.reason
    return caught.value


def test_the_newest_is_asked_for_and_a_commit_only_where_it_is_not_kept(hub, tmp_path):
    (tmp_path / "config.json").touch()
    assert snapshot("owner/name", ["*.json"]) == tmp_path
    assert snapshot("owner/name", ["config.json"], "abc") == tmp_path
    assert hub.asked == [(None, False), ("abc", True), ("abc", False)]
    hub.held[True] = tmp_path
    assert snapshot("owner/name", ["config.json"], "abc") == tmp_path
    assert hub.asked[3:] == [("abc", True)]


def test_a_snapshot_with_a_file_too_few_is_none(hub):
    refused(lambda: snapshot("owner/name", ["config.json"], "abc"))


@pytest.mark.parametrize("revision", [None, "abc"])
@pytest.mark.parametrize("way", ["offline", "fetch"])
def test_the_hub_is_not_asked_where_nothing_may_be_fetched(hub, monkeypatch, way, revision):
    if way == "offline":
        monkeypatch.setenv("LAMBDA_SEARCH_OFFLINE", "1")
    told = refused(lambda: snapshot("owner/name", ["a.json"], revision, fetch=way != "fetch"))
    assert "not in the hub's cache" in told.reason
    assert ("offline mode is on" in told.reason) == (way == "offline")
    assert "hf download owner/name" in told.step
    assert all(local for _, local in hub.asked)


@pytest.mark.parametrize("name", ["name", "a/b/c", "./name", "/owner", "~/name", "a/..b", "a/b "])
def test_what_cannot_be_a_name_of_the_hubs_has_no_reason(hub, name):
    for ask in (lambda: snapshot(name, ["config.json"]), lambda: listing(name)):
        assert refused(ask).reason == ""
    assert hub.asked == []


@pytest.mark.parametrize(("error", "reason", "step"), WHYS, ids=lambda v: str(v)[:30])
def test_what_went_wrong_is_told_apart(hub, error, reason, step):
    hub.error = error
    for ask in (lambda: snapshot("owner/name", ["a.json"]), lambda: listing("owner/name")):
        told = refused(ask)
        assert reason in told.reason
        assert step in told.step


# -- pipelines


@pytest.fixture
def published(hub, tmp_path, tiny_pipeline):
    """The tiny pipeline, as the hub's newest commit; its folder in the cache."""
    shutil.copytree(tiny_pipeline, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_a_pipeline_is_fetched_and_names_its_commit(hub, published, tiny_pipeline):
    model, whole = load_model("diffusers", "owner/name"), load_model("diffusers", tiny_pipeline)
    assert (model.sha256, model.definition) == (whole.sha256, whole.definition)
    assert model.revision == published.name
    assert {revision for revision, _ in hub.asked} == {"abc"}


def test_a_pipeline_in_the_root_and_of_one_variant_is_fetched(hub, published, tiny_pipeline):
    stem = "diffusion_pytorch_model"
    for file in [*(published / "unet").iterdir(), *(published / "scheduler").iterdir()]:
        file.rename(published / file.name.replace(stem, f"{stem}.fp16"))
    (published / "unet").rmdir()
    (published / "scheduler").rmdir()
    whole = load_model("diffusers", tiny_pipeline)
    assert load_model("diffusers", "owner/name").sha256 == whole.sha256


def test_the_cache_serves_while_the_network_is_away(hub, published, tiny_pipeline):
    hub.error, hub.held[True] = httpx2.ConnectError("no route"), published
    whole = load_model("diffusers", tiny_pipeline)
    assert load_model("diffusers", "owner/name").sha256 == whole.sha256
    (published / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(MissingFile) as caught:
        load_model("diffusers", "owner/name")
    assert "owner/name is not whole in the hub's cache, and the network failed (no route)" in (
        caught.value.cause
    )
    assert "proxy" in caught.value.hint


@pytest.mark.parametrize(("error", "reason", "step"), WHYS, ids=lambda v: str(v)[:30])
def test_a_pipeline_that_cannot_be_fetched_says_why(hub, error, reason, step):
    hub.error = error
    with pytest.raises(MissingFile) as caught:
        load_model("diffusers", "owner/name")
    assert reason in caught.value.cause
    assert step in caught.value.hint


def test_a_repository_that_is_no_pipeline_is_told(hub, tmp_path):
    (tmp_path / "weights.gguf").touch()
    with pytest.raises(UsageError) as caught:
        load_model("diffusers", "owner/name")
    assert "has no model_index.json" in caught.value.cause


def test_weights_that_no_part_has_are_told_before_anything_large_is_fetched(hub, published):
    (published / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    for variant in ("fp16", "non_ema"):
        (published / "unet" / f"diffusion_pytorch_model.{variant}.safetensors").touch()
    with pytest.raises(UsageError) as caught:
        load_model("diffusers", "owner/name")
    assert "2 variants: fp16, non_ema" in caught.value.cause
