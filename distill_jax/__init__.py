"""Distil step-by-step reasoning into small students with JAX."""
