"""What a run will need, said before the machine is there."""
