"""Pipelines of the diffusers library."""
