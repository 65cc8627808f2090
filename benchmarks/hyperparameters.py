"""AdamW on both sides, with GPT-2's usual values and a constant rate."""

LEARNING_RATE = 1e-4
B1, B2, EPSILON = 0.9, 0.95, 1e-8
WEIGHT_DECAY = 0.1  # not of biases and LayerNorms, as in transformers' Trainer and here
CLIP_NORM = 1.0
LORA_ALPHA = 16.0
