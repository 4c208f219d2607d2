"""What every extractor owes to a study, whoever wrote it.

    import pytest
    import torch

    from lambda_search.metrics.extractors.registry import load_extractor
    from lambda_search.testing.extractors import Case
    from lambda_search.testing.extractors import ExtractorContract


    class TestMine(ExtractorContract):
        @pytest.fixture(scope="class")
        @classmethod
        def case(cls):
            return Case(lambda: load_extractor("mine", torch.device("cpu")), size=(32, 32))

Features of random weights are enough.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lambda_search.errors import LambdaSearchError
from lambda_search.metrics.extractors.base import Extractor

__all__ = ["Case", "ExtractorContract"]


@dataclass(frozen=True)
class Case:
    """An extractor under test.

    Arguments:
        load: makes it anew.
        size: (h, w) of images that it reads.
    """

    load: Callable[[], Extractor]
    size: tuple[int, int] = (32, 32)

    @cached_property
    def extractor(self) -> Extractor:
        """The extractor, loaded once."""
        return self.load()

    def images(self, n: int, channels: int = 3) -> Tensor:
        """N images of noise, uint8 [n, channels, h, w]."""
        generator = torch.Generator().manual_seed(0)
        shape = (n, channels, *self.size)
        return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


class ExtractorContract:
    """A subclass has a fixture `case`."""

    def test_it_is_named_by_its_content(self, case: Case) -> None:
        extractor, again = case.extractor, case.load()
        assert extractor.name
        told = extractor.fingerprint
        assert len(told) == 64 and set(told) <= set("0123456789abcdef"), f"fingerprint: {told}"
        assert (again.fingerprint, again.dim) == (told, extractor.dim), "it changes by loading"

    def test_each_image_has_its_vector(self, case: Case) -> None:
        for channels in (1, 3):
            for n in (1, 2, 5):
                found = case.extractor(case.images(n, channels))
                assert found.shape == (n, case.extractor.dim)
                assert (found.dtype, found.device.type) == (torch.float32, "cpu")
                assert found.isfinite().all()
                assert not found.requires_grad

    def test_the_same_images_have_the_same_bits(self, case: Case) -> None:
        images = case.images(4)
        kept = images.clone()
        found = case.extractor(images)
        assert torch.equal(images, kept), "it writes into what it is given"
        assert torch.equal(case.extractor(images), found)
        assert torch.equal(case.load()(images), found)

    def test_a_vector_does_not_depend_on_its_batch(self, case: Case) -> None:
        images = case.images(6)
        whole = case.extractor(images)
        near = 1e-4 * float(whole.abs().max())
        parts = torch.cat([case.extractor(part) for part in torch.split(images, [1, 3, 2])])
        assert torch.allclose(parts, whole, rtol=1e-4, atol=near)
        assert torch.allclose(case.extractor(images.flip(0)).flip(0), whole, rtol=1e-4, atol=near)

    def test_images_of_one_colour_have_finite_vectors(self, case: Case) -> None:
        for value in (0, 128, 255):
            plain = torch.full((2, 3, *case.size), value, dtype=torch.uint8)
            assert case.extractor(plain).isfinite().all(), f"pixels of {value}"

    def test_what_are_no_images_is_refused(self, case: Case) -> None:
        for shape in ((2, 2, *case.size), (2, 4, *case.size), (3, *case.size)):
            try:
                case.extractor(torch.zeros(shape, dtype=torch.uint8))
            except LambdaSearchError as error:
                assert error.cause and error.hint, f"a cause and a hint: {error}"
            else:
                raise AssertionError(f"{list(shape)} is not refused")
