"""What a run needs, said before the machine is there."""
