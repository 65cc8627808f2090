"""From transcripts to a graded report."""
