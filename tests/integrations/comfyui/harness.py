"""A stand-in of ComfyUI's calling convention, written from its interface (release 0.8).

What a node meets there: a folder loaded by its path; a patcher that is cloned and takes functions
to be called after guidance, with ComfyUI's arguments; `sample_sigmas` among the transformer's
options; a model whose sampling object says how x, σ and the network's output make an estimate of
x0; and samplers on σ in x = x0 + σ·noise.
"""

import copy
import importlib.util
import itertools
import sys

import torch


class EPS:
    """The network says ε of x/√(σ² + 1)."""

    def scaled(self, x, sigma):
        return x / (sigma**2 + 1) ** 0.5

    def denoised(self, x, sigma, output):
        return x - sigma * output


class V_PREDICTION(EPS):
    """The network says v."""

    def denoised(self, x, sigma, output):
        return x / (sigma**2 + 1) - output * sigma / (sigma**2 + 1) ** 0.5


class X0(EPS):
    """The network says x0."""

    def denoised(self, x, sigma, output):
        return output


class IMG_TO_IMG(X0):
    """The same, of a state that is not scaled."""


class CONST:
    """A flow: x = (1 − σ)·x0 + σ·noise, and the network says the velocity."""


class COSMOS_RFLOW:
    """A flow whose x is x0 + σ·noise."""


class Discrete:
    """A table of σ, and the timesteps that are told for them."""

    def __init__(self, sigmas):
        self.sigmas = torch.as_tensor(sigmas, dtype=torch.float32)
        self.sigma_max = self.sigmas[-1]

    def timestep(self, sigma):
        place = (sigma.log() - self.sigmas.log()[:, None]).abs().argmin(dim=0)
        return place.view(sigma.shape)


def sampling(*kinds, sigmas=(0.03, 14.6)):
    """The sampling object of a model: a class made of a table and a parametrisation."""
    return type("ModelSampling", (Discrete, *kinds), {})(sigmas)


class BaseModel:
    """A network with its sampling object; `network(x, timestep, condition)` is its output."""

    def __init__(self, model_sampling, network):
        self.model_sampling, self.network = model_sampling, network

    def denoised(self, x, sigma, condition):
        wide = sigma.view(-1, *[1] * (x.ndim - 1))
        scaled = self.model_sampling.scaled(x, wide)
        output = self.network(scaled, self.model_sampling.timestep(sigma), condition)
        return self.model_sampling.denoised(x, wide, output)


class ModelPatcher:
    """What goes from node to node as MODEL."""

    def __init__(self, model, options=None):
        self.model = model
        self.model_options = {"transformer_options": {}} if options is None else options

    def clone(self):
        return ModelPatcher(self.model, copy.deepcopy(self.model_options))

    def get_model_object(self, name):
        return getattr(self.model, name)

    def set_model_sampler_post_cfg_function(self, function, disable_cfg1_optimization=False):
        there = self.model_options.get("sampler_post_cfg_function", [])
        self.model_options["sampler_post_cfg_function"] = [*there, function]


def stock_epsilon_scaling(patcher, factor):
    """ComfyUI's own node: one constant, by its formula."""
    patched = patcher.clone()
    patched.set_model_sampler_post_cfg_function(
        lambda args: args["input"] - (args["input"] - args["denoised"]) / factor
    )
    return patched


def guided(patcher, x, sigma, options, cfg):
    """The estimate of x0 after guidance and what follows it."""
    model = patcher.model
    positive = model.denoised(x, sigma, "positive")
    negative = positive if cfg == 1 else model.denoised(x, sigma, "negative")
    found = negative + (positive - negative) * cfg
    for function in options.get("sampler_post_cfg_function", []):
        found = function(
            {
                "denoised": found,
                "cond": "positive",
                "uncond": None if cfg == 1 else "negative",
                "cond_scale": cfg,
                "model": model,
                "uncond_denoised": negative,
                "cond_denoised": positive,
                "sigma": sigma,
                "model_options": options,
                "input": x,
            }
        )
    return found


def sample(patcher, x, sigmas, cfg=1.0, heun=False):
    """Every state of a run from x at sigmas[0], the first included."""
    options = copy.deepcopy(patcher.model_options)
    options["transformer_options"]["sample_sigmas"] = sigmas
    ones, states = x.new_ones(len(x)), [x]
    for now, after in itertools.pairwise(sigmas):
        slope = (x - guided(patcher, x, now * ones, options, cfg)) / now
        ahead = x + slope * (after - now)
        if heun and after > 0:
            there = (ahead - guided(patcher, ahead, after * ones, options, cfg)) / after
            ahead = x + (slope + there) / 2 * (after - now)
        x = ahead
        states.append(x)
    return states


def load_node(folder):
    """The module of a folder in custom_nodes, loaded by its path as ComfyUI does it."""
    name = str(folder).replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(name, folder / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def run_node(module, patcher, table):
    """What the node makes of a model: (MODEL, SIGMAS)."""
    node = module.NODE_CLASS_MAPPINGS["LambdaSearchEpsilonScaling"]
    assert table in node.INPUT_TYPES()["required"]["table"][0]
    return getattr(node(), node.FUNCTION)(model=patcher, table=table)
