"""The small Fashion-MNIST classifier whose features the bundled FID compares."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch import nn

WEIGHTS = "model.safetensors"
CONFIG = "config.json"


class FashionClassifier(nn.Module):
    """Four convolutions, one hidden layer, ten classes, on grey 28x28 images in [0, 1].

    The features are the ReLU outputs of the hidden layer. The network holds no batch norm:
    training folds it into the convolutions, so that evaluation is cheap and each image's features
    do not depend on its batch.
    """

    def __init__(
        self, widths: tuple[int, ...] = (16, 32, 48, 64), hidden: int = 128, classes: int = 10
    ) -> None:
        super().__init__()
        a, b, c, d = widths
        self.conv1 = nn.Conv2d(1, a, 3, padding=1)  # 28 x 28, pooled to 14 x 14
        self.conv2 = nn.Conv2d(a, b, 3, padding=1)  # 14 x 14, pooled to 7 x 7
        self.conv3 = nn.Conv2d(b, c, 3, padding=1)  # 7 x 7
        self.conv4 = nn.Conv2d(c, d, 3, padding=0)  # 5 x 5
        self.hidden = nn.Linear(d * 25, hidden)
        self.head = nn.Linear(hidden, classes)

    def maps(self, x: Tensor) -> Tensor:
        """The last convolution's output [n, d, 5, 5]."""
        x = nn.functional.max_pool2d(self.conv1(x), 2).relu()
        x = nn.functional.max_pool2d(self.conv2(x), 2).relu()
        x = self.conv3(x).relu()
        return cast(Tensor, self.conv4(x).relu())

    def features(self, x: Tensor) -> Tensor:
        """Features [n, hidden] of images `x` [n, 1, 28, 28] with values in [0, 1]."""
        return cast(Tensor, self.hidden(self.maps(x).flatten(1)).relu())

    def forward(self, x: Tensor) -> Tensor:
        """Class logits [n, classes]."""
        return cast(Tensor, self.head(self.features(x)))


def load(folder: str | Path) -> FashionClassifier:
    """The classifier saved in `folder`, in evaluation mode, on the CPU."""
    folder = Path(folder)
    config = json.loads((folder / CONFIG).read_text())
    network = FashionClassifier(tuple(config["widths"]), config["hidden"], config["classes"])
    network.load_state_dict(load_file(folder / WEIGHTS))
    # channels_last runs three times as fast on a CPU
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.eval().requires_grad_(False)
    return cast(FashionClassifier, network)
