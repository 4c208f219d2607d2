"""Where a row's numbers come from, in typed values with a version.

Version 2 names the candidate that a row is about by its trial. Rows of version 1 (without a
number) named it by its gain; they are read as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from functools import cache
from typing import Any
from typing import Literal
from typing import TypeAlias

from pydantic import TypeAdapter

from lambda_search.records.looks import Looks
from lambda_search.records.worth import Worth

__all__ = [
    "PROVENANCE_VERSION",
    "Candidate",
    "Figures",
    "Identity",
    "Origin",
    "OtherCandidate",
    "OtherMeasure",
    "Provenance",
    "Source",
    "upgraded",
]

PROVENANCE_VERSION: Literal[2] = 2

ModelConfig: TypeAlias = dict[str, Any] | str | None
"""A framework's own configuration, or the name of a file with it."""


@dataclass(frozen=True)
class Origin:
    """Who measured or published a row, with what.

    Arguments:
        by: a person or an organisation, or `USER@HOST`; "" if it is not known.
        tool: the program and its version; "" for what authors published.
    """

    by: str = ""
    tool: str = ""


@dataclass(frozen=True)
class Source:
    """Where a schedule was published: title, arXiv number, address, and the table."""

    paper: str
    arxiv: str
    url: str
    table: str


@dataclass(frozen=True)
class Figures:
    """λ = 1 in numbers: plain and corrected FID, FID∞, KID."""

    fid: float
    corrected: float
    fid_at_infinity: float | None = None
    kid: float | None = None


@dataclass(frozen=True, kw_only=True)
class OtherCandidate:
    """A candidate of the confirmation, compared with λ = 1 on the same indices and noise.

    Arguments:
        trial: its number in the study.
        fid, corrected: plain, and with the half-split correction.
        gain, raw_gain: FID(1) − FID(λ), corrected and plain.
        gain_standard_error: of `gain`, paired.
        correlation: of the paired features.
        fid_at_infinity, kid: FID∞, and KID where the reference keeps features.
    """

    trial: int
    fid: float
    corrected: float
    gain: float
    raw_gain: float
    gain_standard_error: float
    correlation: float
    fid_at_infinity: float | None = None
    kid: float | None = None


@dataclass(frozen=True, kw_only=True)
class Candidate(OtherCandidate):
    """The same by the study's own distance, with its schedule λ(i) = b + k·i."""

    b: float
    k: float


@dataclass(frozen=True)
class OtherMeasure:
    """A further distance of the confirmation's images; it ranks nothing."""

    extractor: str
    reference: str
    baseline: Figures
    candidates: tuple[OtherCandidate, ...]


@dataclass(frozen=True)
class Identity:
    """What images and features depend on besides the setting and the weights.

    Arguments:
        seed: of the noise.
        device: the kind of hardware.
        noise: the seed scheme.
        sampler_revision: of our samplers' arithmetic.
        versions: of the libraries that decide bits, by name.
    """

    seed: int
    device: str
    noise: str
    sampler_revision: int
    versions: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        told: dict[str, Any] = _adapter(Identity).dump_python(self, mode="json")
        return told

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Identity:
        """Reads it; the first version had the libraries beside the rest."""
        known = {"seed", "device", "noise", "sampler_revision", "versions"}
        beside = {name: value for name, value in told.items() if name not in known}
        found: Identity = _adapter(Identity).validate_python(
            {name: told[name] for name in known if name in told}
            | {"versions": {**beside, **told.get("versions", {})}}
        )
        return found

    def differences(self, other: Identity) -> dict[str, tuple[str, str]]:
        """What differs, by name: (here, there). A library that either does not name may be any."""
        own, their = self._flat(), other._flat()
        return {
            name: (own[name], their[name])
            for name in own
            if name in their and own[name] != their[name]
        }

    def _flat(self) -> dict[str, str]:
        told = {
            "seed": str(self.seed),
            "device": self.device,
            "noise": self.noise,
            "sampler revision": str(self.sampler_revision),
        }
        return told | dict(self.versions)


@dataclass(frozen=True)
class Provenance:
    """Where a row's numbers come from; a published row has a `source`, a measured one the rest.

    Arguments:
        study: the study's name.
        framework, checkpoint, config: the model, as the study file names it.
        extractor, reference: what was measured, with fingerprints, under the names it had.
        seed: of the noise.
        rungs: numbers of images of the search.
        search: how it went and ended, in words, where it had rounds instead.
        confirm_indices: the first sample index of the confirmation, and the one after the last.
        looks: how it went, if it looked several times.
        baseline: λ = 1 on these.
        candidates: what was confirmed against it.
        trial: the trial that the row is about, whether it is recommended or not.
        worth: what k is worth, where the study asked for `family: both`.
        companion: of a row of the best constant, the id of its study's own row; "" of all others.
        also: further distances.
        identity: what the numbers depend on besides the setting.
        versions: of the libraries, for people.
        preview: the name of the images kept for people.
        source: where it was published.
        cautions: what makes it weaker than its numbers look, a sentence each; rows of before the
            list was kept have none.
        version: of this format.
    """

    study: str = ""
    framework: str = ""
    checkpoint: str = ""
    config: ModelConfig = None
    extractor: str = ""
    reference: str = ""
    seed: int | None = None
    rungs: tuple[int, ...] = ()
    search: str = ""
    confirm_indices: tuple[int, int] | None = None
    looks: Looks | None = None
    baseline: Figures | None = None
    candidates: tuple[Candidate, ...] = ()
    trial: int | None = None
    worth: Worth | None = None
    companion: str = ""
    also: tuple[OtherMeasure, ...] = ()
    identity: Identity | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    preview: str = ""
    source: Source | None = None
    cautions: tuple[str, ...] = ()
    version: Literal[2] = PROVENANCE_VERSION

    @property
    def candidate(self) -> Candidate | None:
        """The candidate that the row is about."""
        return next((one for one in self.candidates if one.trial == self.trial), None)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; what is not known is left out."""
        told: dict[str, Any] = _adapter(Provenance).dump_python(
            self, mode="json", exclude_defaults=True
        )
        return told | {"version": self.version}

    @classmethod
    def from_json(cls, told: Mapping[str, Any], gain: float | None = None) -> Provenance:
        """Reads what `to_json` wrote, or version 1.

        Arguments:
            told: plain JSON values.
            gain: the row's, which tells the candidate in version 1.

        Raises:
            ValueError: for what is no provenance.
        """
        if "version" not in told:
            told = upgraded(told, gain)
        found: Provenance = _adapter(Provenance).validate_python(dict(told))
        return found


def upgraded(told: Mapping[str, Any], gain: float | None) -> dict[str, Any]:
    """Version 1 as version 2; a row of its time is about the candidate with the row's gain."""
    new: dict[str, Any] = {
        name: told[name]
        for name in (
            "study",
            "framework",
            "checkpoint",
            "config",
            "seed",
            "confirm_indices",
            "baseline",
            "candidates",
            "also",
            "versions",
            "preview",
            "source",
        )
        if told.get(name) is not None
    }
    if "search_images" in told:
        new["rungs"] = told["search_images"]
    if told.get("identity"):
        new["identity"] = Identity.from_json(told["identity"]).to_json()
    matching = [one["trial"] for one in told.get("candidates", ()) if one["gain"] == gain]
    if matching:
        new["trial"] = matching[0]
    return new | {"version": 2}


@cache
def _adapter(kind: type[object]) -> TypeAdapter[Any]:
    """Reads and writes `kind`; making it takes a while, and not every command needs it."""
    return TypeAdapter(kind)
