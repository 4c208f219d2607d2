"""What is asked of a finished study: a proof of its best, again or further."""

from __future__ import annotations

from typing import Any

import yaml

from lambda_search.earlier import driven_by
from lambda_search.errors import Conflict
from lambda_search.errors import UsageError
from lambda_search.events import Events
from lambda_search.records import Study
from lambda_search.shell import command
from lambda_search.spec import ConfirmSpec
from lambda_search.spec import parse_specs
from lambda_search.store.store import Store
from lambda_search.store.waiting import want_proof

__all__ = ["ask_for_proof", "proof_wanted", "queue_proof"]


def proof_wanted(name: str, store: Store, **changed: Any) -> ConfirmSpec:
    """The `confirm` of a proof that is to be made of a finished study, again or further.

    Arguments:
        name: the study's.
        store: where it is.
        changed: what it shall say (samples, precision, top); None leaves it as in its file.

    Raises:
        UsageError: if there is no such study, it has not ended, has nothing to confirm, cannot be
            confirmed so, or (Conflict) a driver is at work on it.
    """
    study = store.study(name)
    if store.is_driven(study):
        busy = driven_by(name, study.driver)
        raise Conflict(busy.cause, busy.hint)
    if study.state != "done" and study.proof_wanted is None:
        waits = study.state in ("queued", "running")
        raise Conflict(
            f"The study '{name}' is {study.state}; only what is done can be confirmed again.",
            f"It goes on with: {command('drive') if waits else command('resume', name)}",
        )
    if not any(trial.number and trial.gain is not None for trial in store.trials(study.id)):
        raise UsageError(
            f"The study '{name}' has no candidate that could be confirmed.",
            f"Give it more trials in its file, and submit that: {command('submit', 'STUDY')}",
        )
    [spec] = parse_specs(study.spec, f"the study '{name}'")
    told = {key: value for key, value in changed.items() if value is not None}
    document = yaml.safe_load(spec.to_yaml())
    document["confirm"] = document.get("confirm", {}) | told
    [spec] = parse_specs(yaml.safe_dump(document), f"the study '{name}', so confirmed,")
    return spec.confirm


def ask_for_proof(name: str, store: Store, **changed: Any) -> Study:
    """Queues a proof of a finished study for any driver; arguments, errors as `proof_wanted`."""
    return queue_proof(name, store, proof_wanted(name, store, **changed), by_any=True)


def queue_proof(name: str, store: Store, confirm: ConfirmSpec, by_any: bool = False) -> Study:
    """Queues a study that is done for a proof.

    Arguments:
        by_any: whether any driver may make it, or only one that names the study.

    Raises:
        Conflict: if it is not done any more, or a driver is at work on it.
    """
    study = want_proof(store, name, confirm.model_dump(mode="json"), by_any)
    Events(name, [store.say]).say("queued", "its proof is wanted again")
    return study
