"""The output of a run while it runs: terminal, metrics.jsonl, trackers."""
