"""Checks that an annotation may be trained on."""
