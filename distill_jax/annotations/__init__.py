"""Which annotations are trained on: sources, checks, leaks, mixtures."""
