"""Every scheduler whose ε can be divided by λ: its levels, its networks, its configurations."""

import itertools

import pytest

from tests.diffusion.scaled import by_hand

VP = {"epsilon": "epsilon", "v_prediction": "v", "sample": "sample"}
VE = {"epsilon": "epsilon", "v_prediction": "v exploding", "sample": "sample"}
VE_WITHOUT_SAMPLE = {"epsilon": "epsilon", "v_prediction": "v exploding"}
EDM = {"epsilon": "edm", "v_prediction": "edm v"}
FLOW = {None: "flow"}
SIGMAS = [
    {"use_karras_sigmas": True},
    {"use_exponential_sigmas": True},
    {"use_beta_sigmas": True},
]
SPACINGS = [{"timestep_spacing": word} for word in ("leading", "linspace", "trailing")]
ZERO_SNR = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
TERMINAL = [
    ZERO_SNR | {"prediction_type": "v_prediction"},
    ZERO_SNR | {"prediction_type": "sample"},
]
CLIPPED = [{"clip_sample": False}, {"clip_sample": True}, {"thresholding": True}]
ENDS = [
    {"final_sigmas_type": "sigma_min"},
    {"lower_order_final": False},
    {"lower_order_final": True},
]
FLOWING = [
    {"prediction_type": "flow_prediction"},
    *(
        {"use_flow_sigmas": True, "prediction_type": kind, "flow_shift": shift}
        for kind in ("flow_prediction", "epsilon", "sample", "v_prediction")
        for shift in (1.0, 3.0)
    ),
]
THRESHOLD = [{"thresholding": True}]
LEARNED = [
    {"prediction_type": "epsilon", "variance_type": "learned_range"} | more
    for more in ({}, {"thresholding": True})
]
ORDERS = [{"solver_order": order} for order in (1, 2, 3)]
DPM_SOLVERS = [
    {"algorithm_type": "dpmsolver++", "solver_type": "heun"},
    {"algorithm_type": "sde-dpmsolver++"},
    {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True, "solver_type": "heun"},
    {"algorithm_type": "sde-dpmsolver++", "solver_order": 1},
    {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"},
]
SDE = [{"algorithm_type": "sde-dpmsolver", "final_sigmas_type": "sigma_min"}]
DPM = [*ORDERS, *DPM_SOLVERS, *SIGMAS, *ENDS, *FLOWING, *THRESHOLD, *LEARNED]
SHIFTED = [{"shift": 3.0}, {"shift": 0.7}]
FLOW_GRIDS = [*SHIFTED, *SIGMAS, {"use_dynamic_shifting": True}, {"shift_terminal": 0.1}]

# name: (levels of the calls, {prediction type: how it is read}, configurations beside the first)
WORKS = {
    "CMStochasticIterativeScheduler": (
        by_hand.exploding,
        {None: "consistency"},
        [{"clip_denoised": False}],
    ),
    "CogVideoXDDIMScheduler": (by_hand.of_table, VP, [*SPACINGS, *TERMINAL]),
    "CogVideoXDPMScheduler": (by_hand.of_table, VP, [*SPACINGS, {"snr_shift_scale": 1.0}]),
    "ConsistencyDecoderScheduler": (by_hand.decoder, {None: "decoder"}, []),
    "CosineDPMSolverMultistepScheduler": (
        by_hand.exploding,
        EDM,
        [{"sigma_schedule": "karras"}, {"solver_order": 1}, {"final_sigmas_type": "sigma_min"}],
    ),
    "DDIMInverseScheduler": (
        by_hand.of_table,
        VP,
        [{"timestep_spacing": "trailing"}, {"clip_sample": False}],
    ),
    "DDIMParallelScheduler": (by_hand.of_table, VP, [*SPACINGS, *TERMINAL, *CLIPPED]),
    "DDIMScheduler": (by_hand.of_table, VP, [*SPACINGS, *TERMINAL, *CLIPPED]),
    "DDPMParallelScheduler": (by_hand.of_table, VP, [*SPACINGS, *TERMINAL, *CLIPPED, *LEARNED]),
    "DDPMScheduler": (
        by_hand.of_table,
        VP,
        [*SPACINGS, *TERMINAL, *CLIPPED, *LEARNED, {"variance_type": "fixed_large"}],
    ),
    "DDPMWuerstchenScheduler": (by_hand.cascade, {None: "epsilon"}, [{"scaler": 1.0}]),
    "DEISMultistepScheduler": (
        by_hand.preserving_or_flow,
        VP,
        [*ORDERS, *SPACINGS, *SIGMAS, *FLOWING, *THRESHOLD, {"lower_order_final": False}],
    ),
    "DPMSolverMultistepInverseScheduler": (
        by_hand.preserving_or_flow,
        VP,
        [*ORDERS, *SPACINGS[:2], {"solver_type": "heun"}, *THRESHOLD],
    ),
    "DPMSolverMultistepScheduler": (
        by_hand.preserving_or_flow,
        VP,
        [*DPM, *SDE, *SPACINGS, *TERMINAL, {"use_lu_lambdas": True}, {"euler_at_final": True}],
    ),
    "DPMSolverSDEScheduler": (
        by_hand.halfway,
        VE_WITHOUT_SAMPLE,
        [*SPACINGS[1:], *SIGMAS],
    ),
    "DPMSolverSinglestepScheduler": (by_hand.preserving_or_flow, VP, DPM),
    "EDMDPMSolverMultistepScheduler": (
        by_hand.exploding,
        EDM,
        [*ORDERS, *ENDS, {"sigma_schedule": "exponential"}, {"algorithm_type": "sde-dpmsolver++"}],
    ),
    "EDMEulerScheduler": (
        by_hand.exploding,
        EDM,
        [{"sigma_schedule": "exponential"}, {"final_sigmas_type": "sigma_min"}],
    ),
    "EulerAncestralDiscreteScheduler": (
        by_hand.exploding,
        VE_WITHOUT_SAMPLE,
        [*SPACINGS, *TERMINAL[:1]],
    ),
    "EulerDiscreteScheduler": (
        by_hand.exploding,
        VE,
        [
            *SPACINGS,
            *TERMINAL,
            *SIGMAS,
            {"final_sigmas_type": "sigma_min"},
            {"interpolation_type": "log_linear"},
            {"timestep_type": "continuous", "prediction_type": "v_prediction"},
        ],
    ),
    "FlowMatchEulerDiscreteScheduler": (
        by_hand.flow,
        FLOW,
        [*FLOW_GRIDS, {"stochastic_sampling": True}, {"invert_sigmas": True}],
    ),
    "FlowMatchHeunDiscreteScheduler": (by_hand.flow, FLOW, SHIFTED),
    "FlowMatchLCMScheduler": (by_hand.flow, FLOW, [*SHIFTED, *SIGMAS]),
    "HeliosDMDScheduler": (by_hand.flow, FLOW, [{"shift": 3.0}]),
    "HeliosScheduler": (by_hand.flow, FLOW, [{"scheduler_type": "euler"}, {"shift": 3.0}]),
    "HeunDiscreteScheduler": (
        by_hand.exploding,
        VE,
        [*SPACINGS[1:], *SIGMAS, {"clip_sample": True}],
    ),
    "IPNDMScheduler": (by_hand.sines, {None: "v"}, []),
    "KDPM2AncestralDiscreteScheduler": (
        by_hand.ancestral_halfway,
        VE_WITHOUT_SAMPLE,
        [*SPACINGS[1:], *SIGMAS],
    ),
    "KDPM2DiscreteScheduler": (by_hand.halfway, VE_WITHOUT_SAMPLE, [*SPACINGS[1:], *SIGMAS]),
    "KarrasVeScheduler": (by_hand.churned, {None: "minus epsilon"}, [{"s_churn": 0.0}]),
    "LCMScheduler": (by_hand.of_table, VP, [*TERMINAL, *CLIPPED]),
    "LMSDiscreteScheduler": (by_hand.exploding, VE, [*SPACINGS, *SIGMAS]),
    "LTXEulerAncestralRFScheduler": (by_hand.flow, FLOW, [{"eta": 0.0}]),
    "MiniMaxH3Scheduler": (by_hand.clean_time, {None: "flow to the image"}, SHIFTED),
    "PNDMScheduler": (
        by_hand.of_pndm,
        {kind: VP[kind] for kind in ("epsilon", "v_prediction")},
        [
            {"skip_prk_steps": prk} | spacing
            for prk in (True, False)
            for spacing in [*SPACINGS, {"set_alpha_to_one": True}]
        ],
    ),
    "RFD4ProteinaScheduler": (
        by_hand.clean_time,
        {None: "flow to the image"},
        [{"noise_mode": "tan"}, {"schedule_mode": "power"}],
    ),
    "RePaintScheduler": (by_hand.of_repaint, {None: "epsilon"}, [{"clip_sample": False}]),
    "SASolverScheduler": (
        by_hand.preserving_or_flow,
        VP,
        [
            *SPACINGS,
            *SIGMAS,
            *FLOWING,
            *THRESHOLD,
            {"algorithm_type": "noise_prediction"},
            {"predictor_order": 3, "corrector_order": 4},
            {"lower_order_final": False},
        ],
    ),
    "SCMScheduler": (by_hand.angles, {"trigflow": "v"}, []),
    "ScoreSdeVpScheduler": (by_hand.continuous, {None: "epsilon"}, [{"beta_max": 10}]),
    "TCDScheduler": (by_hand.of_table, VP, TERMINAL),
    "UnCLIPScheduler": (
        by_hand.of_table,
        {kind: VP[kind] for kind in ("epsilon", "sample")},
        [{"clip_sample": False}, *LEARNED[:1]],
    ),
    "UniPCMultistepScheduler": (
        by_hand.preserving_or_flow,
        VP,
        [
            *ORDERS,
            *SPACINGS,
            *SIGMAS,
            ENDS[0],
            {"lower_order_final": False, "final_sigmas_type": "sigma_min"},
            *(config for config in FLOWING if config["prediction_type"] != "epsilon"),
            *TERMINAL,
            *THRESHOLD,
            {"solver_type": "bh1", "final_sigmas_type": "sigma_min"},
            {"predict_x0": False, "final_sigmas_type": "sigma_min"},
            {"disable_corrector": [0, 1]},
        ],
    ),
}
FEW = {"num_train_timesteps": 200}  # they lay a grid of all of them when they are made
ALWAYS = {
    "HeunDiscreteScheduler": FEW,
    "KDPM2AncestralDiscreteScheduler": FEW,
    "KDPM2DiscreteScheduler": FEW,
    "LMSDiscreteScheduler": FEW,
    "DPMSolverSDEScheduler": {"noise_sampler_seed": 3},
    "HeliosDMDScheduler": {"stages": 1},
    "HeliosScheduler": {"stages": 1},
    "RFD4ProteinaScheduler": {
        "schedule_mode": "log",
        "noise_mode": "1/t",
        "tsr_k": 1.2,
        "tsr_sigma": 0.7,
        "tail_steps": 0,
    },
    "DDIMInverseScheduler": {"set_alpha_to_one": False},
}
OF_A_FLOW = {
    "flow_prediction": "flow",
    "epsilon": "epsilon",
    "sample": "sample",
    "v_prediction": "v of a flow",
}


PROVEN_OVER_ALL = {
    "DDIMScheduler",
    "DDPMScheduler",
    "DPMSolverMultistepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "LCMScheduler",
    "UniPCMultistepScheduler",
}


def cases():
    """(name, configuration, levels, how the network is read) of all that works.

    For the schedulers that people run every switch with every prediction type; of the others each
    once, and the rest slowly.
    """
    for name, (levels, kinds, configs) in WORKS.items():
        seen = []
        for (i, prediction), (j, config) in itertools.product(
            enumerate(kinds), enumerate([{}, *configs])
        ):
            often = name in PROVEN_OVER_ALL or j == 0 or j % len(kinds) == i
            often |= "prediction_type" in config
            config = ({} if prediction is None else {"prediction_type": prediction}) | config
            if config in seen:
                continue
            seen.append(config)
            where, kind = levels, kinds.get(config.get("prediction_type"), "flow on a list")
            if config.get("use_flow_sigmas"):
                kind = OF_A_FLOW[config["prediction_type"]]
            if config.get("invert_sigmas"):
                where, kind = by_hand.inverted_flow, "flow to the image"
            yield pytest.param(
                name,
                ALWAYS.get(name, {}) | config,
                where,
                kind,
                id=",".join([name, *(f"{key}={value}" for key, value in config.items())]),
                marks=[] if often else pytest.mark.slow,
            )
