"""Pretrained diffusion models: safe loading, one module per framework."""
