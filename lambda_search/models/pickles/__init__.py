"""Pickles read as data: formats, opcodes, and what a checkpoint may name."""
