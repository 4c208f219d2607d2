"""The record as plain values: what the store gives and takes, and everyone shows.

They stand on neither SQLAlchemy nor torch.
"""

from __future__ import annotations

from lambda_search.records.answers import match_from_json
from lambda_search.records.answers import match_json
from lambda_search.records.answers import row_from_json
from lambda_search.records.answers import row_json
from lambda_search.records.diagnosis import Diagnosis
from lambda_search.records.diagnosis import NormsAt
from lambda_search.records.diagnosis import Tried
from lambda_search.records.evaluations import Evaluation
from lambda_search.records.evaluations import Phase
from lambda_search.records.evaluations import Terms
from lambda_search.records.evaluations import steps_of
from lambda_search.records.evidence import Evidence
from lambda_search.records.evidence import Extras
from lambda_search.records.evidence import Interval
from lambda_search.records.looks import Looks
from lambda_search.records.matches import Match
from lambda_search.records.matches import MatchKind
from lambda_search.records.models import ModelFacts
from lambda_search.records.models import ModelSummary
from lambda_search.records.progress import Progress
from lambda_search.records.progress import Stage
from lambda_search.records.provenance import Candidate
from lambda_search.records.provenance import Figures
from lambda_search.records.provenance import Identity
from lambda_search.records.provenance import Origin
from lambda_search.records.provenance import OtherCandidate
from lambda_search.records.provenance import OtherMeasure
from lambda_search.records.provenance import Provenance
from lambda_search.records.provenance import Source
from lambda_search.records.rounds import Ending
from lambda_search.records.rounds import Judgement
from lambda_search.records.rounds import Round
from lambda_search.records.rounds import told_of_rounds
from lambda_search.records.row_parts import Arrival
from lambda_search.records.row_parts import NoiseLevel
from lambda_search.records.row_parts import Origins
from lambda_search.records.row_parts import Retraction
from lambda_search.records.row_parts import RowStatus
from lambda_search.records.rows import Row
from lambda_search.records.rows import network_evaluations
from lambda_search.records.studies import Attempt
from lambda_search.records.studies import Driven
from lambda_search.records.studies import Event
from lambda_search.records.studies import EventKind
from lambda_search.records.studies import Image
from lambda_search.records.studies import Study
from lambda_search.records.studies import StudyState
from lambda_search.records.studies import Trial
from lambda_search.records.studies import TrialState
from lambda_search.records.studies import leading
from lambda_search.records.usage import loading_line
from lambda_search.records.usage import lookup_words
from lambda_search.records.usage import pipeline_line
from lambda_search.records.usage import sampling_line
from lambda_search.records.usage import using_lines
from lambda_search.records.warm_start import WarmStart
from lambda_search.records.worth import Worth

__all__ = [
    "Arrival",
    "Attempt",
    "Candidate",
    "Diagnosis",
    "Driven",
    "Ending",
    "Evaluation",
    "Event",
    "EventKind",
    "Evidence",
    "Extras",
    "Figures",
    "Identity",
    "Image",
    "Interval",
    "Judgement",
    "Looks",
    "Match",
    "MatchKind",
    "ModelFacts",
    "ModelSummary",
    "NoiseLevel",
    "NormsAt",
    "Origin",
    "Origins",
    "OtherCandidate",
    "OtherMeasure",
    "Phase",
    "Progress",
    "Provenance",
    "Retraction",
    "Round",
    "Row",
    "RowStatus",
    "Source",
    "Stage",
    "Study",
    "StudyState",
    "Terms",
    "Trial",
    "TrialState",
    "Tried",
    "WarmStart",
    "Worth",
    "leading",
    "loading_line",
    "lookup_words",
    "match_from_json",
    "match_json",
    "network_evaluations",
    "pipeline_line",
    "row_from_json",
    "row_json",
    "sampling_line",
    "steps_of",
    "told_of_rounds",
    "using_lines",
]
