"""What makes a reference a weak one, or one of another kind than what is compared with it."""

from __future__ import annotations

from lambda_search.metrics.evidence import enough_images
from lambda_search.metrics.references.load import Reference

__all__ = ["doubts"]


def doubts(reference: Reference, shape: tuple[int, int, int] | None) -> tuple[str, ...]:
    """Cautions, a sentence each.

    Arguments:
        reference: what samples are measured against.
        shape: (c, h, w) of the images that the model makes, or None where that is not known.
    """
    found, name, enough = [], reference.name, enough_images(reference.dim)
    count, distinct, rank = reference.count, reference.distinct, reference.missing_rank
    if count is not None and min(count, distinct or count) < enough:
        copies = f", of which {distinct:,} differ" if distinct and distinct < count else ""
        found.append(
            f"the reference {name} is of {count:,} images{copies}; below {enough:,}, four times "
            "the features' width, its own error shifts every distance"
        )
    if rank is not None:
        found.append(
            f"the covariance of the reference {name} has rank {rank:,} in {reference.dim:,} "
            f"features, as that of {rank + 1:,} images would: along all others it cannot tell how "
            "images vary"
        )
    if shape is None or reference.shape is None:
        return tuple(found)
    (c, h, w), (height, width, channels) = shape, reference.shape
    if (c == 1) != (channels == 1):
        here, there = ("grey", "colour") if c == 1 else ("colour", "grey")
        found.append(f"the model makes {here} images, and the reference {name} is of {there} ones")
    if not height:
        found.append(f"the images of the reference {name} are of several sizes")
    elif (h, w) != (height, width):
        found.append(
            f"the model makes images of {w} × {h} pixels, and those of the reference {name} have "
            f"{width} × {height}"
        )
    return tuple(found)
