"""What a student's own samples are worth: one module per reward (docs/rewards.md)."""
