"""How fast training is here, beside the same training in PyTorch; `train.py` is the command."""
