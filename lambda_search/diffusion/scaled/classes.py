"""Which scheduler of diffusers reads its network in which way, and which cannot be scaled.

A class that is not named here counts as its parent that is.
"""

from __future__ import annotations

from lambda_search.diffusion.scaled.readings import Exploding
from lambda_search.diffusion.scaled.readings import Flow
from lambda_search.diffusion.scaled.readings import Halfway
from lambda_search.diffusion.scaled.readings import Preconditioned
from lambda_search.diffusion.scaled.readings import Preserving
from lambda_search.diffusion.scaled.readings import Reading
from lambda_search.diffusion.scaled.unusual import Cascade
from lambda_search.diffusion.scaled.unusual import CleanTime
from lambda_search.diffusion.scaled.unusual import Consistency
from lambda_search.diffusion.scaled.unusual import ConsistencyDecoder
from lambda_search.diffusion.scaled.unusual import Helios
from lambda_search.diffusion.scaled.unusual import HeliosDmd
from lambda_search.diffusion.scaled.unusual import Inverse
from lambda_search.diffusion.scaled.unusual import Ipndm
from lambda_search.diffusion.scaled.unusual import KarrasVe
from lambda_search.diffusion.scaled.unusual import Pndm
from lambda_search.diffusion.scaled.unusual import ScoreVp
from lambda_search.diffusion.scaled.unusual import TrigFlow
from lambda_search.errors import UsageError

__all__ = ["READINGS", "REFUSED", "reading_of"]

_STEP = ("model_output", "timestep", "sample")
_BATCH = ("model_output", "timesteps", "sample")

READINGS: dict[str, Reading] = {
    "CMStochasticIterativeScheduler": Consistency(),
    "CogVideoXDDIMScheduler": Reading("never"),
    "CogVideoXDPMScheduler": Reading("never"),
    "ConsistencyDecoderScheduler": ConsistencyDecoder("never"),
    "CosineDPMSolverMultistepScheduler": Preconditioned(),
    "DDIMInverseScheduler": Inverse("x0"),
    "DDIMParallelScheduler": Reading("x0", step=_STEP, batch_step_no_noise=_BATCH),
    "DDIMScheduler": Reading("x0"),
    "DDPMParallelScheduler": Reading(step=_STEP, batch_step_no_noise=_BATCH),
    "DDPMScheduler": Reading(),
    "DDPMWuerstchenScheduler": Cascade(),
    "DEISMultistepScheduler": Preserving(),
    "DPMSolverMultistepInverseScheduler": Preserving(),
    "DPMSolverMultistepScheduler": Preserving(),
    "DPMSolverSDEScheduler": Halfway(lambda scheduler, at: scheduler.mid_point_sigma),
    "DPMSolverSinglestepScheduler": Preserving(),
    "EDMDPMSolverMultistepScheduler": Preconditioned(),
    "EDMEulerScheduler": Preconditioned(),
    "EulerAncestralDiscreteScheduler": Exploding(),
    "EulerDiscreteScheduler": Exploding(),
    "FlowMatchEulerDiscreteScheduler": Flow(),
    "FlowMatchHeunDiscreteScheduler": Flow(),
    "FlowMatchLCMScheduler": Flow(),
    "HeliosDMDScheduler": HeliosDmd(),
    "HeliosScheduler": Helios(),
    "HeunDiscreteScheduler": Exploding(),
    "IPNDMScheduler": Ipndm(),
    "KDPM2AncestralDiscreteScheduler": Halfway(lambda s, at: s.sigmas_interpol[at - 1]),
    "KDPM2DiscreteScheduler": Halfway(lambda s, at: s.sigmas_interpol[at]),
    "KarrasVeScheduler": KarrasVe(
        step=("model_output", "sigma_hat", "sample_hat"),
        step_correct=("model_output", "sigma_prev", "sample_prev"),
    ),
    "LCMScheduler": Reading(),
    "LMSDiscreteScheduler": Exploding(),
    "LTXEulerAncestralRFScheduler": Flow(),
    "MiniMaxH3Scheduler": CleanTime(),
    "PNDMScheduler": Pndm(),
    "RFD4ProteinaScheduler": CleanTime(),
    "RePaintScheduler": Reading("x0"),
    "SASolverScheduler": Preserving(),
    "SCMScheduler": TrigFlow(),
    "ScoreSdeVpScheduler": ScoreVp(step_pred=("score", "t", "x")),
    "TCDScheduler": Reading("never"),
    "UnCLIPScheduler": Reading(),
    "UniPCMultistepScheduler": Preserving(),
}

_TOKENS = "it draws tokens, and its network predicts their probabilities, not the noise ε"

REFUSED: dict[str, str] = {
    "AmusedScheduler": _TOKENS,
    "BlockRefinementScheduler": _TOKENS,
    "DiscreteDDIMScheduler": _TOKENS,
    "EntropyBoundScheduler": _TOKENS,
    "FlowMapEulerDiscreteScheduler": "its network predicts the mean velocity between two noise "
    "levels, which says neither ε nor x0 at one",
    "PiflowScheduler": "its network predicts x0 along a whole stretch of noise levels from one "
    "of them, and λ(i) is of one",
    "ScoreSdeVeScheduler": "its corrector takes steps in inverse proportion to the square of the "
    "score, so that a smaller ε moves further, and is not told the noise level",
    "VQDiffusionScheduler": _TOKENS,
}


def reading_of(kind: type) -> Reading:
    """How schedulers of class `kind` read their network.

    Raises:
        UsageError: for a class whose ε cannot be divided by λ, and one that is not known.
    """
    for name in (cls.__name__ for cls in kind.__mro__):
        if name in READINGS:
            return READINGS[name]
        if name in REFUSED:
            raise UsageError(
                f"The ε of {kind.__name__} cannot be divided by λ: {REFUSED[name]}.",
                "Choose another scheduler, or leave λ out.",
            )
    raise UsageError(
        f"How {kind.__name__} reads what its network says is not known.",
        "Choose a scheduler of diffusers, or derive yours from the one that it resembles.",
    )
