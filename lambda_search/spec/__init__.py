"""Study files: what they say, how they are read, and the files that they name."""

from __future__ import annotations

from lambda_search.spec.bounds import SERVICE
from lambda_search.spec.bounds import Bounds
from lambda_search.spec.bounds import registered
from lambda_search.spec.changes import Change
from lambda_search.spec.changes import changes
from lambda_search.spec.luggage import packed
from lambda_search.spec.measuring import CONFIRM_FROM
from lambda_search.spec.measuring import EXTRACTOR_FILES
from lambda_search.spec.measuring import MeasureSpec
from lambda_search.spec.measuring import MetricSpec
from lambda_search.spec.models import StudySpec
from lambda_search.spec.places import attachments
from lambda_search.spec.places import located
from lambda_search.spec.places import named_files
from lambda_search.spec.places import unpacked
from lambda_search.spec.pretrained import CONFIG_PATHS
from lambda_search.spec.pretrained import ModelSpec
from lambda_search.spec.pretrained import SourceSpec
from lambda_search.spec.proof import ConfirmSpec
from lambda_search.spec.reading import Written
from lambda_search.spec.reading import check_names
from lambda_search.spec.reading import load_specs
from lambda_search.spec.reading import parse_specs
from lambda_search.spec.reading import read_specs
from lambda_search.spec.reading import stored_spec
from lambda_search.spec.sampling import SamplerSpec
from lambda_search.spec.searching import BudgetSpec
from lambda_search.spec.searching import Range
from lambda_search.spec.searching import SearchSpec
from lambda_search.spec.turns import QueueSpec

__all__ = [
    "CONFIG_PATHS",
    "EXTRACTOR_FILES",
    "SERVICE",
    "Bounds",
    "BudgetSpec",
    "CONFIRM_FROM",
    "Change",
    "ConfirmSpec",
    "MeasureSpec",
    "MetricSpec",
    "ModelSpec",
    "QueueSpec",
    "Range",
    "SamplerSpec",
    "SearchSpec",
    "SourceSpec",
    "StudySpec",
    "Written",
    "attachments",
    "changes",
    "check_names",
    "load_specs",
    "located",
    "named_files",
    "packed",
    "parse_specs",
    "read_specs",
    "registered",
    "stored_spec",
    "unpacked",
]
