#!/usr/bin/env python
"""Train the bundled feature extractor, a small classifier, and its reference moments.

    python scripts/train_features.py --out lambda_search/models/bundled/fashion-mnist-features

Writes `model.safetensors`, `config.json` (widths, accuracy, recipe) and `reference.npz` (the mean
and covariance of the features of all 60,000 training images). Runs on one or more CPU cores in
minutes, or on a GPU, and resumes from `--checkpoint` if it exists.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import fashion_mnist
import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.functional import pad
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lambda_search.metrics.extractors.bundled import extractor_in
from lambda_search.metrics.extractors.fashion_classifier import CONFIG
from lambda_search.metrics.extractors.fashion_classifier import WEIGHTS
from lambda_search.metrics.extractors.fashion_classifier import FashionClassifier
from lambda_search.metrics.references.statistics import Statistics
from lambda_search.metrics.references.statistics import write_statistics

KEPT = 2000
"""Features that the reference keeps for KID."""

CONVOLUTIONS = ("conv1", "conv2", "conv3", "conv4")


class Regularised(nn.Module):
    """`FashionClassifier` in training: batch norm after convolutions, dropout around `hidden`."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.network = FashionClassifier()
        self.dropout = nn.Dropout(dropout)
        for name in CONVOLUTIONS:
            conv = getattr(self.network, name)
            setattr(self.network, name, nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels)))

    def forward(self, x: Tensor) -> Tensor:
        """Class logits [n, 10]."""
        maps = self.dropout(self.network.maps(x).flatten(1))
        logits: Tensor = self.network.head(self.dropout(self.network.hidden(maps).relu()))
        return logits

    def folded(self) -> FashionClassifier:
        """The same function without batch norm: γ(Wx + c − μ)/σ + β is itself a convolution."""
        self.eval()
        plain = FashionClassifier()
        for name in CONVOLUTIONS:
            conv, norm = getattr(self.network, name)
            setattr(plain, name, fuse_conv_bn_eval(conv, norm))
        plain.hidden.load_state_dict(self.network.hidden.state_dict())
        plain.head.load_state_dict(self.network.head.state_dict())
        return plain.eval().requires_grad_(False)


def augment(images: Tensor, shift: int = 2) -> Tensor:
    """Mirror and translate by up to `shift` pixels, each image on its own."""
    n, size = len(images), images.shape[-1]
    mirrored = torch.where(torch.rand(n, 1, 1, 1) < 0.5, images, images.flip(-1))
    padded = pad(mirrored, (shift,) * 4)
    offsets = torch.randint(0, 2 * shift + 1, (2, n, 1))
    rows, columns = offsets + torch.arange(size)
    return padded[torch.arange(n)[:, None, None], 0, rows[:, :, None], columns[:, None, :]][
        :, None
    ]


def as_images(raw: fashion_mnist.Bytes) -> Tensor:
    """uint8 [n, 28, 28] -> float32 [n, 1, 28, 28] in [0, 1]."""
    return torch.from_numpy(raw.copy()).float().div(255)[:, None]


def train(args: argparse.Namespace, images: Tensor, labels: Tensor) -> Regularised:
    """AdamW, one-cycle learning rate, label smoothing; a checkpoint after each epoch."""
    model = Regularised(args.dropout).to(args.device)
    steps = len(images) // args.batch
    optimiser = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, args.lr, total_steps=args.epochs * steps, pct_start=0.2
    )
    parts = {"model": model, "optimiser": optimiser, "schedule": schedule}
    first = 0
    if args.checkpoint and args.checkpoint.exists():
        saved = torch.load(args.checkpoint, weights_only=True)
        first = saved.pop("epoch")
        for name, part in parts.items():
            part.load_state_dict(saved[name])
    for epoch in range(first, args.epochs):
        torch.manual_seed(args.seed * 1000 + epoch)
        start, total = time.perf_counter(), 0.0
        model.train()
        for rows in torch.randperm(len(images))[: steps * args.batch].view(steps, args.batch):
            x, y = augment(images[rows]).to(args.device), labels[rows].to(args.device)
            loss = cross_entropy(model(x), y, label_smoothing=args.smoothing)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        seconds = time.perf_counter() - start
        print(f"epoch {epoch + 1}: loss {total / steps:.4f}, {seconds:.0f} s", flush=True)
        if args.checkpoint:
            state: dict[str, Any] = {name: part.state_dict() for name, part in parts.items()}
            torch.save(state | {"epoch": epoch + 1}, args.checkpoint.with_suffix(".part"))
            os.replace(args.checkpoint.with_suffix(".part"), args.checkpoint)
    return model.cpu()


@torch.inference_mode()
def evaluate(network: FashionClassifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features and logits of all `images`."""
    features = torch.cat([network.features(x) for x in images.split(500)])
    return features, network.head(features)


def save(folder: Path, network: FashionClassifier, images: Tensor, card: dict[str, Any]) -> None:
    """Write weights, config and the moments of `images`, which name the weights they belong to."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(tensors, folder / WEIGHTS)
    (folder / WEIGHTS).chmod(0o644)  # safetensors writes for the owner alone
    (folder / CONFIG).write_text(json.dumps(card, indent=2) + "\n")
    extractor = extractor_in(folder, torch.device("cpu"))
    found = extractor((images * 255).round().to(torch.uint8)).double().numpy()
    spread = np.linspace(0, len(found) - 1, KEPT).round().astype(int)
    statistics = Statistics(
        found.mean(0),
        np.cov(found, rowvar=False),
        len(found),
        found[spread].astype(np.float32),
        extractor.fingerprint,
        extractor.name,
        "Fashion-MNIST, 60,000 training images",
        (28, 28, 1),
    )
    write_statistics(folder / "reference.npz", statistics)


def main() -> None:
    """Train, fold, evaluate, save."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=fashion_mnist.DEFAULT_FOLDER)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--checkpoint", type=Path, help="resume from here, save here")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--smoothing", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    images, labels = fashion_mnist.load(args.data, "train")
    x = as_images(images)
    network = train(args, x, torch.from_numpy(labels.copy()).long()).folded()

    test_images, test_labels = fashion_mnist.load(args.data, "test")
    guesses = evaluate(network, as_images(test_images))[1].argmax(1).numpy()
    accuracy = float((guesses == test_labels).mean())
    card = {
        "architecture": "FashionClassifier",
        "widths": [16, 32, 48, 64],
        "hidden": 128,
        "classes": 10,
        "features": "penultimate layer, after ReLU",
        "test_accuracy": accuracy,
        "training": {
            name: getattr(args, name)
            for name in ("epochs", "batch", "lr", "dropout", "smoothing", "seed")
        },
    }
    save(args.out, network, x, card)
    print(f"test accuracy {accuracy:.4f}, written to {args.out}")


if __name__ == "__main__":
    main()
