"""Text around the sampler: problems go in, predictions come out."""
