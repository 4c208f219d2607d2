"""An example workflow, as ComfyUI's editor saves and opens them (its JSON, version 0.4).

    checkpoint ─ Epsilon Scaling λ(σ) ─ sampler ─ decode ─ save

with two prompts, an empty latent and a note. Where ComfyUI has the row's scheduler the sampler is
KSampler; elsewhere it is SamplerCustom, which walks the node's own σ.
"""

from __future__ import annotations

from typing import Any

from lambda_search.integrations.comfyui.matching import Match

__all__ = ["NODE", "workflow"]

NODE = "LambdaSearchEpsilonScaling"
"""The node's name in `node-folder/nodes.py`."""

_LOADER, _GOOD, _BAD, _LATENT, _OURS, _SAMPLER, _DECODE, _SAVE, _NOTE, _CHOSEN = range(1, 11)
_SEED = 0


class _Graph:
    """Nodes and the links between them."""

    def __init__(self) -> None:
        self._nodes: list[dict[str, Any]] = []
        self._links: list[list[Any]] = []

    def add(
        self,
        number: int,
        kind: str,
        place: tuple[int, int],
        size: tuple[int, int],
        outputs: tuple[tuple[str, str], ...] = (),
        values: tuple[Any, ...] = (),
    ) -> None:
        """A node with its outputs (name, type) and what stands in its fields."""
        self._nodes.append(
            {
                "id": number,
                "type": kind,
                "pos": list(place),
                "size": list(size),
                "flags": {},
                "order": len(self._nodes),
                "mode": 0,
                "inputs": [],
                "outputs": [{"name": name, "type": type_, "links": []} for name, type_ in outputs],
                "properties": {"Node name for S&R": kind},
                "widgets_values": list(values),
            }
        )

    def link(self, source: int, slot: int, target: int, name: str) -> None:
        """An output of one node to an input of another; both are there."""
        number = len(self._links) + 1
        output = self._node(source)["outputs"][slot]
        inputs = self._node(target)["inputs"]
        self._links.append([number, source, slot, target, len(inputs), output["type"]])
        output["links"].append(number)
        inputs.append({"name": name, "type": output["type"], "link": number})

    def told(self) -> dict[str, Any]:
        """The workflow."""
        return {
            "last_node_id": max(node["id"] for node in self._nodes),
            "last_link_id": len(self._links),
            "nodes": self._nodes,
            "links": self._links,
            "groups": [],
            "config": {},
            "extra": {},
            "version": 0.4,
        }

    def _node(self, number: int) -> dict[str, Any]:
        return next(node for node in self._nodes if node["id"] == number)


def workflow(table: str, found: Match, note: str) -> dict[str, Any]:
    """The workflow of a table.

    Arguments:
        table: its name in the node's list.
        found: what of ComfyUI takes the row's steps.
        note: what the reader is told.
    """
    graph = _Graph()
    outputs = (("MODEL", "MODEL"), ("CLIP", "CLIP"), ("VAE", "VAE"))
    checkpoint = ("the row's model.safetensors",)
    graph.add(_LOADER, "CheckpointLoaderSimple", (0, 300), (320, 100), outputs, checkpoint)
    for number, height in ((_GOOD, 120), (_BAD, 330)):
        prompt = (("CONDITIONING", "CONDITIONING"),)
        graph.add(number, "CLIPTextEncode", (380, height), (320, 160), prompt, ("",))
    latent = (("LATENT", "LATENT"),)
    graph.add(_LATENT, "EmptyLatentImage", (380, 540), (320, 110), latent, (512, 512, 1))
    patched = (("model", "MODEL"), ("sigmas", "SIGMAS"))
    graph.add(_OURS, NODE, (380, -20), (320, 90), patched, (table,))
    graph.add(_NOTE, "Note", (0, 0), (320, 240), (), (note,))
    graph.link(_LOADER, 0, _OURS, "model")
    graph.link(_LOADER, 1, _GOOD, "clip")
    graph.link(_LOADER, 1, _BAD, "clip")
    _sampler(graph, found)
    graph.link(_OURS, 0, _SAMPLER, "model")
    graph.link(_GOOD, 0, _SAMPLER, "positive")
    graph.link(_BAD, 0, _SAMPLER, "negative")
    if found.scheduler.word is None:
        graph.link(_CHOSEN, 0, _SAMPLER, "sampler")
        graph.link(_OURS, 1, _SAMPLER, "sigmas")
    graph.link(_LATENT, 0, _SAMPLER, "latent_image")
    graph.add(_DECODE, "VAEDecode", (1110, 120), (210, 50), (("IMAGE", "IMAGE"),))
    graph.link(_SAMPLER, 0, _DECODE, "samples")
    graph.link(_LOADER, 2, _DECODE, "vae")
    graph.add(_SAVE, "SaveImage", (1110, 230), (320, 320), (), ("lambda_search",))
    graph.link(_DECODE, 0, _SAVE, "images")
    return graph.told()


def _sampler(graph: _Graph, found: Match) -> None:
    latent = (("LATENT", "LATENT"),)
    if found.scheduler.word is None:
        values: tuple[Any, ...] = (True, _SEED, "fixed", found.cfg)
        both = (("output", "LATENT"), ("denoised_output", "LATENT"))
        graph.add(_SAMPLER, "SamplerCustom", (750, 120), (320, 230), both, values)
        chosen = (("SAMPLER", "SAMPLER"),)
        graph.add(_CHOSEN, "KSamplerSelect", (750, 0), (320, 60), chosen, (found.nearest,))
        return
    values = (
        _SEED,
        "fixed",
        found.steps,
        found.cfg,
        found.nearest,
        found.scheduler.word,
        1.0,
    )
    graph.add(_SAMPLER, "KSampler", (750, 120), (320, 260), latent, values)
