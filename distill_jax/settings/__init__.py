"""What a command is told: keys of the config, the task's module and options."""
