"""The pictures of a store as Optuna's artifacts, to be read."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Mapping
from typing import BinaryIO

from optuna.artifacts.exceptions import ArtifactNotFound
from sqlalchemy import select

from lambda_search.records import Row
from lambda_search.store.optuna_view.read_only import ReadOnly
from lambda_search.store.store import Store
from lambda_search.store.tables import EvaluationRow
from lambda_search.store.tables import ImageRow

__all__ = ["PREFIX", "Pictures", "artifacts_of_rows", "artifacts_of_trials"]

PREFIX = "artifacts:"
"""Of Optuna's attributes that name artifacts."""


class Pictures:
    """An artifact store (`optuna.artifacts`) over the pictures of `store`.

    An artifact's id is its preview's name and its place there, so that it is the same everywhere.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def open_reader(self, artifact_id: str) -> BinaryIO:
        preview, _, place = artifact_id.rpartition("-")
        found = select(ImageRow.content).where(
            ImageRow.preview == preview, ImageRow.place == (int(place) if place.isdigit() else -1)
        )
        content = self._store.read(lambda session: session.scalar(found))
        if content is None:
            raise ArtifactNotFound(f"there is no picture {artifact_id}")
        return io.BytesIO(content)

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        raise ReadOnly

    def remove(self, artifact_id: str) -> None:
        raise ReadOnly


def artifacts_of_trials(store: Store, study_id: int) -> Mapping[int, dict[str, str]]:
    """System attributes that name the pictures of a study's trials, by trial number."""
    pictured = (
        select(EvaluationRow.trial, ImageRow.preview, ImageRow.place)
        .join(ImageRow, ImageRow.preview == EvaluationRow.fingerprint)
        .where(EvaluationRow.study_id == study_id)
        .order_by(EvaluationRow.id, ImageRow.place)
    )
    found: dict[int, dict[str, str]] = defaultdict(dict)
    for trial, preview, place in store.read(lambda session: session.execute(pictured).all()):
        found[trial] |= _artifact(preview, place, f"trial {trial}, first images")
    return found


def artifacts_of_rows(store: Store, rows: Iterable[Row]) -> Mapping[str, dict[str, str]]:
    """System attributes that name the pictures of rows, by the row's id."""
    previews = {row.provenance.preview: row.id for row in rows if row.provenance.preview}
    pictures = (
        select(ImageRow.preview, ImageRow.place, ImageRow.caption)
        .where(ImageRow.preview.in_(previews))
        .order_by(ImageRow.place)
    )
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for preview, place, caption in store.read(lambda session: session.execute(pictures).all()):
        found[previews[preview]] |= _artifact(preview, place, f"confirmation, {caption}")
    return found


def _artifact(preview: str, place: int, title: str) -> dict[str, str]:
    """An artifact in Optuna's own words; `title` is what people see."""
    name = f"{preview}-{place}"
    told = {
        "artifact_id": name,
        "filename": f"{title}.png",
        "mimetype": "image/png",
        "encoding": None,
    }
    return {PREFIX + name: json.dumps(told, ensure_ascii=False)}
