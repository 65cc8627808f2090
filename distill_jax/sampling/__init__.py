"""Alternating generation on the device."""
