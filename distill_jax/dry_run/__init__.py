"""What a run will need, on a machine that you may not have yet."""
