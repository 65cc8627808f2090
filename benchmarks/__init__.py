"""Compares training here with the same training in PyTorch; `train.py` is the command."""
