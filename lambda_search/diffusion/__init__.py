"""Noise, grids and samplers of diffusion models, with Epsilon Scaling at one place in each."""
