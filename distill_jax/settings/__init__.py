"""What the user sets: keys of the config, the task's module and its options."""
