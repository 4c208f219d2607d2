"""Tiny pipelines as one file, in the names of their authors' code: diffusers' renaming undone."""

import re

import torch
from diffusers import AutoencoderKL
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from safetensors.torch import save_file

LAYERS = 1 + 1  # of a tiny block, and its sampler

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
OPEN_CLIP = {
    "embeddings.token_embedding": "token_embedding",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm": "ln_final",
    "encoder.layers": "transformer.resblocks",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
PLACE = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)")


def replaced(name, table):
    for old, new in table.items():
        name = name.replace(old, new)
    return name


def unet_names(state):
    attended = {name.split(".")[1] for name in state if re.match(r"up.*attentions", name)}

    def name_of(name):
        told = PLACE.match(name)
        if told is None:
            begin = next(old for old in UNET if name.startswith(old))
            inner = name[len(begin) :]
            return UNET[begin] + (replaced(inner, RESNET) if "resnets" in begin else inner)
        way, block, what, layer = told[1], int(told[2]), told[3], int(told[4])
        rest = name[told.end() :]
        first = block * LAYERS + (1 if way == "down" else 0)
        blocks = "input_blocks" if way == "down" else "output_blocks"
        match what:
            case "resnets":
                return f"{blocks}.{first + layer}.0{replaced(rest, RESNET)}"
            case "attentions":
                return f"{blocks}.{first + layer}.1{rest}"
            case "downsamplers":
                return f"{blocks}.{first + LAYERS - 1}.0{rest.replace('conv', 'op')}"
        return f"{blocks}.{first + LAYERS - 1}.{2 if told[2] in attended else 1}{rest}"

    return {f"model.diffusion_model.{name_of(name)}": value for name, value in state.items()}


def vae_names(state, count=2):
    found = {}
    for name, value in state.items():
        name = re.sub(r"up_blocks\.(\d)", lambda told: f"up.{count - 1 - int(told[1])}", name)
        name = re.sub(r"mid_block\.resnets\.(\d)", lambda t: f"mid.block_{int(t[1]) + 1}", name)
        table = {
            "down_blocks": "down",
            "resnets": "block",
            "samplers.0": "sample",
            "conv_shortcut": "nin_shortcut",
            "conv_norm_out": "norm_out",
            "mid_block.attentions.0.group_norm": "mid.attn_1.norm",
            "mid_block.attentions.0.to_out.0": "mid.attn_1.proj_out",
            "mid_block.attentions.0.to_": "mid.attn_1.",
        }
        name = replaced(name, table)
        if "attn_1" in name and value.ndim == 2:
            value = value[:, :, None, None]
        found[f"first_stage_model.{name}"] = value
    return found


def clip_names(state, prefix):
    return {
        f"{prefix}text_model.{name.removeprefix('text_model.')}": v for name, v in state.items()
    }


def open_clip_names(state, prefix):
    found = {}
    for name, value in state.items():
        name = name.removeprefix("text_model.")
        if name == "text_projection.weight":
            found[f"{prefix}text_projection"] = value.T.contiguous()
            continue
        told = re.match(r"(.*)self_attn\.q_proj\.(\w+)$", name)
        if told:
            others = [
                state[key] for key in state if key.endswith(name.replace("q_proj", "k_proj"))
            ]
            last = [state[key] for key in state if key.endswith(name.replace("q_proj", "v_proj"))]
            name, value = f"{told[1]}attn.in_proj_{told[2]}", torch.cat([value, *others, *last])
        elif re.search(r"[kv]_proj", name):
            continue
        found[prefix + replaced(name, OPEN_CLIP)] = value
    return found


def tensors_of(folder):
    """The folder's tensors by the names of a single file; its first text encoder is CLIP's."""
    xl = (folder / "text_encoder_2").is_dir()
    unet = UNet2DConditionModel.from_pretrained(folder / "unet").state_dict()
    vae = AutoencoderKL.from_pretrained(folder / "vae").state_dict()
    first = load_file(folder / "text_encoder" / "model.safetensors")
    prefix = "conditioner.embedders.0.transformer." if xl else "cond_stage_model.transformer."
    found = {**unet_names(unet), **vae_names(vae), **clip_names(first, prefix)}
    if xl:
        second = load_file(folder / "text_encoder_2" / "model.safetensors")
        found |= open_clip_names(second, "conditioner.embedders.1.model.")
    return found


def second_version(folder):
    """As `tensors_of`, with OpenCLIP for a text encoder as Stable Diffusion 2 has it."""
    found = {n: v for n, v in tensors_of(folder).items() if not n.startswith("cond_stage_model.")}
    first = load_file(folder / "text_encoder" / "model.safetensors")
    return found | open_clip_names(first, "cond_stage_model.model.")


def saved(tensors, path):
    save_file({name: value.clone().contiguous() for name, value in tensors.items()}, path)
    return path
