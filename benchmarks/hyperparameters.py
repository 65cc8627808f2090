"""AdamW on both sides: GPT-2's usual values; the rate stays what it is."""

LEARNING_RATE = 1e-4
B1, B2, EPSILON = 0.9, 0.95, 1e-8
WEIGHT_DECAY = 0.1  # not of biases and LayerNorms, as transformers' Trainer and ours have it
CLIP_NORM = 1.0
