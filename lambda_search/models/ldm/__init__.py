"""Latent diffusion of CompVis: network, first stage, configs."""
