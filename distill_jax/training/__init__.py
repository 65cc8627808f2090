"""Data order, train step, loop and checkpoints."""
