"""One run: its config checked, its data, its students, their training and evaluation."""
