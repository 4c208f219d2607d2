"""Weights that are named by an address."""

import threading
from http.server import SimpleHTTPRequestHandler
from http.server import ThreadingHTTPServer

import fsspec
import pytest
import torch

from lambda_search.errors import MissingFile
from lambda_search.errors import NotFetched
from lambda_search.errors import UsageError
from lambda_search.fetching import obtained
from lambda_search.launching import plans_of
from lambda_search.metrics.extractors.registry import load_extractor
from lambda_search.models.registry import load_model
from lambda_search.paths import copy_of
from lambda_search.paths import fetched_folder
from lambda_search.paths import locate
from lambda_search.spec import parse_specs


@pytest.fixture(autouse=True)
def online(monkeypatch):
    for name in ("LAMBDA_SEARCH_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def memory():
    """An object store without a server."""
    fs = fsspec.filesystem("memory")
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


@pytest.fixture
def hosted(tiny_pipeline, memory):
    """The tiny pipeline in the object store, and its address."""
    memory.put(str(tiny_pipeline), "/models/tiny", recursive=True)
    return "memory://models/tiny"


def test_a_folder_is_fetched_once_and_is_the_same_model(tiny_pipeline, hosted, memory):
    here = load_model("diffusers", tiny_pipeline)
    there = load_model("diffusers", hosted)
    assert (there.sha256, there.definition) == (here.sha256, here.definition)
    memory.store.clear()
    assert load_model("diffusers", hosted).sha256 == here.sha256, "its copy is used"


def test_a_study_names_its_checkpoint_by_an_address(tiny_pipeline, hosted, study_text):
    text = study_text.replace(str(tiny_pipeline), hosted)
    assert hosted in text
    (there,), (here,) = plans_of(parse_specs(text)), plans_of(parse_specs(study_text))
    assert there.recipe.checkpoint == hosted, "each host fetches it for itself"
    assert there.setting.key == here.setting.key, "where weights lie is no part of a setting"


def test_a_file_is_whole_and_named_as_there(memory):
    memory.pipe("/b/model.pt", b"0" * 5_000_000)
    assert locate("memory://b/model.pt") is None
    found = obtained("memory://b/model.pt")
    assert found.name == "model.pt" and found.read_bytes() == b"0" * 5_000_000
    assert found.is_relative_to(fetched_folder()) and found == locate("memory://b/model.pt")
    assert not list(found.parent.glob("*.part"))


def test_a_path_behind_file_is_that_path(tiny_pipeline):
    assert obtained(f"file://{tiny_pipeline}") == tiny_pipeline.resolve()
    with pytest.raises(MissingFile, match="There is no checkpoint at file:///nowhere"):
        load_model("diffusers", "file:///nowhere")


def test_what_is_not_there_is_told_and_leaves_nothing(memory):
    with pytest.raises(MissingFile, match="There is nothing at memory://b/none"):
        obtained("memory://b/none")
    assert locate("memory://b/none") is None
    with pytest.raises(UsageError, match=r"cannot be fetched from nosuch://b/x"):
        obtained("nosuch://b/x")
    with pytest.raises(MissingFile, match=r"Weights cannot be fetched from http://\[b/x"):
        obtained("http://[b/x")


def test_the_network_is_asked_neither_offline_nor_for_a_look(memory, monkeypatch):
    memory.pipe("/b/net.pt", b"0")
    with pytest.raises(NotFetched, match=r"memory://b/net\.pt is not on this machine"):
        load_extractor("memory://b/net.pt", torch.device("cpu"), fetch=False)
    monkeypatch.setenv("LAMBDA_SEARCH_OFFLINE", "1")
    with pytest.raises(MissingFile, match="may not be asked") as caught:
        obtained("memory://b/net.pt")
    assert str(fetched_folder()) in caught.value.hint


def test_an_address_with_a_key_is_refused_and_not_repeated():
    signed = (
        "s3://b/x.pt?X-Amz-Signature=abc",
        "https://x.blob.core.windows.net/x.pt?sv=1&sig=abc",
    )
    for address in ("https://me:pass@host/x.pt", *signed):
        with pytest.raises(UsageError, match="holds a password or a key") as caught:
            obtained(address)
        assert "pass@" not in str(caught.value) and "abc" not in str(caught.value)


@pytest.mark.parametrize("there", ["https://me:pass@host/x.pt", "s3://b/x.pt?token=pass@"])
def test_a_study_with_a_key_is_refused_before_it_is_stored(there, tiny_pipeline, study_text):
    with pytest.raises(UsageError, match="holds a password or a key") as caught:
        parse_specs(study_text.replace(str(tiny_pipeline), there))
    assert "pass@" not in str(caught.value)


def test_no_name_leads_out_of_an_address_s_own_folder(memory):
    for address in ("memory://b/..", "memory://b/a/../..", "s3://[b/.."):
        assert copy_of(address).parent.parent == fetched_folder() and locate(address) is None
    memory.pipe("/b/lock", b"0")
    assert obtained("memory://b/lock").read_bytes() == b"0"


def test_what_a_killed_process_left_of_a_folder_goes(hosted):
    whole = copy_of(hosted)
    left = whole.with_name(f"{whole.name}.abc.part")
    (left / "whole").mkdir(parents=True)
    assert obtained(hosted) == whole.resolve() and not left.exists()


def test_it_is_fetched_by_http_too(tmp_path):
    (tmp_path / "x.pt").write_bytes(b"weights")

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *given):
            super().__init__(*given, directory=str(tmp_path))

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/x.pt"
        assert obtained(address).read_bytes() == b"weights"
        server.shutdown()
    assert obtained(address).read_bytes() == b"weights", "nobody is asked again"
