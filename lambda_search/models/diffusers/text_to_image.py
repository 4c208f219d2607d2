"""Stable Diffusion 1.x, 2.x and XL: latents sampled from prompts.

The label of a sample is the index of its prompt. diffusers' own pipeline encodes prompts; its
safety checker is left out, since a blackened image would spoil statistics. Guidance leads away
from the negative prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from typing import cast

import torch
from torch import Tensor

from lambda_search.errors import UsageError
from lambda_search.models.decoders import autoencoder
from lambda_search.models.diffusers.files import check_size
from lambda_search.models.diffusers.functions import Prompted
from lambda_search.models.diffusers.model import DiffusersModel
from lambda_search.models.diffusers.prompts import TextConfig
from lambda_search.models.guidance import guided
from lambda_search.setting import fingerprint

__all__ = ["TextToImageModel"]

_KEPT = 1024
"""Prompts whose embeddings are kept; one of Stable Diffusion XL takes 0.6 MB."""


class TextToImageModel(DiffusersModel):
    """A pipeline and its prompts; the null label, one above the prompts', is the negative prompt.

    Arguments:
        pipeline: StableDiffusionPipeline or StableDiffusionXLPipeline, in float32.
        text: the prompts; height and width in pixels, the network's own unless given.
        sha256: of the weights.
        configs: of the pipeline's parts, by their names.
        device: where to compute.

    Raises:
        UsageError: for a size that the pipeline cannot have, or a network of another kind.
    """

    _function = Prompted

    def __init__(
        self,
        pipeline: Any,
        text: TextConfig,
        sha256: str,
        configs: dict[str, Any],
        device: torch.device,
    ) -> None:
        unet, cells = pipeline.unet, pipeline.vae_scale_factor
        _check_network(unet.config)
        height, width = _size(text, unet.config.sample_size, cells)
        words = text.model_dump(mode="json", include={"prompts", "negative_prompt"})
        told = {**words, "height": height, "width": width}
        channels = unet.config.in_channels
        super().__init__(
            unet,
            pipeline.scheduler,
            sha256,
            fingerprint([told, configs]),
            (channels, height // cells, width // cells),
            device,
            decoder=autoencoder(pipeline.vae, channels, device),
            classes=len(text.prompts),
            null_label=len(text.prompts),
        )
        for encoder in (pipeline.text_encoder, getattr(pipeline, "text_encoder_2", None)):
            if encoder is not None:
                encoder.eval().requires_grad_(False).to(device)
        self._pipeline = pipeline
        self._text = text
        self._time_ids = torch.tensor([[height, width, 0, 0, height, width]], device=device)
        self._asked: tuple[Tensor | None, tuple[int, ...]] = None, ()
        self._encoded = lru_cache(_KEPT)(self._encode)
        self._conditions = lru_cache(1)(self._gather)  # all steps of a batch have the same

    def _output(
        self, x: Tensor, timestep: Tensor, labels: Tensor | None, guidance: float | None
    ) -> Tensor:
        assert labels is not None
        asked, told = self._asked
        if labels is not asked:  # a GPU's are asked for once a batch
            told = tuple(labels.tolist())
            self._asked = labels, told
        assert self.null_label is not None
        without = () if guidance is None else (self.null_label,) * len(x)
        embeddings, pooled = self._conditions(without + told)
        times = None
        if pooled is not None:
            times = self._time_ids.to(embeddings.dtype).repeat(len(embeddings), 1)

        def network(states: Tensor, labels: Tensor) -> Tensor:
            out = self._network(states, timestep, embeddings, pooled, times)
            return cast(Tensor, out.to(x.dtype))

        return guided(network, x, labels, self.null_label, guidance)

    def _gather(self, labels: tuple[int, ...]) -> tuple[Tensor, Tensor | None]:
        """Embeddings [n, tokens, d] and, where there are some, pooled ones [n, d'] of labels."""
        embeddings, pooled = zip(*(self._encoded(label) for label in labels), strict=True)
        if pooled[0] is None:
            return torch.cat(embeddings).to(self.device), None
        return torch.cat(embeddings).to(self.device), torch.cat(pooled).to(self.device)

    @torch.inference_mode()
    def _encode(self, label: int) -> tuple[Tensor, Tensor | None]:
        """One prompt's embeddings [1, tokens, d] and pooled ones [1, d'] or None, on the CPU."""
        null = label == self.null_label
        with torch.autocast(self.device.type, enabled=False):
            encoded = self._pipeline.encode_prompt(
                prompt="" if null else self._text.prompts[label],
                device=self.device,
                num_images_per_prompt=1,
                do_classifier_free_guidance=null,
                negative_prompt=self._text.negative_prompt,
            )
        # (given, null), then of Stable Diffusion XL (given, null) pooled
        embeddings, pooled = (*encoded[null::2], None)[:2]
        return embeddings.cpu(), None if pooled is None else pooled.cpu()


def _check_network(config: Any) -> None:
    special = (
        "time_cond_proj_dim",
        "class_embed_type",
        "num_class_embeds",
        "encoder_hid_dim_type",
    )
    for name in special:
        if config.get(name) is not None:
            raise UsageError(
                f"The network takes more than a prompt: its {name} is {config[name]}.",
                "Use the folder of a plain text-to-image pipeline.",
            )


def _size(text: TextConfig, own: int | Sequence[int] | None, cells: int) -> tuple[int, int]:
    """Height and width in pixels, multiples of a latent's `cells` pixels."""
    usual = (own, own) if own is None or isinstance(own, int) else tuple(own)
    sizes = []
    if own is not None:
        check_size(usual)
    for name, asked, side in (("height", text.height, usual[0]), ("width", text.width, usual[1])):
        pixels = asked or (side and side * cells)
        if not pixels or pixels % cells:
            said = f"cannot be {pixels}" if pixels else "is not known"
            raise UsageError(
                f"The images' {name} {said}.",
                f"Set {name} in model.config to a multiple of {cells} pixels.",
            )
        sizes.append(pixels)
    return sizes[0], sizes[1]
