"""What a run says while it runs: terminal, metrics.jsonl, trackers."""
