"""Whether an answer is complete, by the finish_reason that came with it.

Only what is known to be complete is trained on. Every server may have words of its own for an
answer that was cut off, and half an answer looks like a whole one.
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

    "" is what a server says that says nothing (or null): that is not known to be complete.

    >>> incomplete("stop"), incomplete("MAX_TOKENS"), incomplete("abort"), incomplete("")
    (None, 'truncated', 'not finished', 'not finished')
    """
    word = finish_reason.strip().lower()
    return None if word in _COMPLETE else _REASON_OF.get(word, "not finished")
