"""Whether an answer is complete, by the finish_reason that came with it.

Only answers that are known to be complete are trained on. Each server may have its own words for an
answer that was cut off, and half an answer can look like a whole one.
"""

# Compared in small letters.
_COMPLETE = frozenset(
    (
        "stop",  # OpenAI and most others; STOP of Gemini
        # "eos" of Together AI; "eos_token" and "stop_sequence" of text-generation-inference:
        # https://github.com/huggingface/text-generation-inference (FinishReason)
        *("eos", "eos_token", "stop_sequence"),
        # Anthropic: https://docs.anthropic.com/en/api/messages (stop_reason)
        "end_turn",
        "complete",  # Cohere: https://docs.cohere.com/reference/chat (finish_reason)
    )
)
_REASONS = {
    "truncated": ("length", "max_tokens", "model_length", "max_length", "max_output_tokens"),
    "content filter": ("content_filter", "safety", "recitation", "prohibited_content", "blocklist"),
    "no text": ("tool_calls", "function_call", "tool_use", "tool_call"),
    "refused": ("refusal",),
}
_REASON_OF = {word: reason for reason, words in _REASONS.items() for word in words}


def incomplete(finish_reason: str) -> str | None:
    """Why an answer is not used, as a reason of rejection; None if it is complete.

    "" means that the server gives no reason (or null); then the answer may be incomplete.

    >>> incomplete("stop"), incomplete("MAX_TOKENS"), incomplete("abort"), incomplete("")
    (None, 'truncated', 'not finished', 'not finished')
    """
    word = finish_reason.strip().lower()
    return None if word in _COMPLETE else _REASON_OF.get(word, "not finished")
