"""Parts of diffusers pipelines: files, step grids, networks, prompts, decoders."""
