"""Everything that knows the text format: tokenizer, transcripts, training rows."""
