"""Characters that a byte-level vocabulary cannot spell, and that are lost when text is encoded.

A byte-level tokenizer can spell any text if its vocabulary has all 256 bytes. SmolLM2's lacks 21
of them, of which seven occur in valid UTF-8, and drops them silently.
"""

from collections.abc import Collection


def byte_letters() -> list[str]:
    """The letter that stands for each of the 256 bytes in a byte-level vocabulary.

    From `bytes_to_unicode` of GPT-2's encoder.py: a visible letter of Latin-1 stands for itself,
    and the letters from U+0100 on stand for the other bytes, in order.
    """
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in visible else next(others)) for byte in range(256)]


class LostCharacters:
    """Says which characters of a text the vocabulary of a byte-level tokenizer loses.

    A text without such characters costs one pass in C; a million texts take about a second.
    """

    def __init__(self, vocabulary: Collection[str]) -> None:
        """`vocabulary`: the tokens, spelt in `byte_letters`, as `Tokenizer.get_vocab` has them."""
        known = [letter in vocabulary for letter in byte_letters()]
        self.bytes = bytes(byte for byte in range(256) if not known[byte])
        self._kept = bytes(byte for byte in range(256) if known[byte])

    def __call__(self, text: str) -> str:
        """The characters of `text` with a byte that is lost, each once, in order; "" if none.

        Without the byte 0x9F: "Straße, große" gives "ß" (its bytes are C3 9F). Raises
        UnicodeEncodeError for an unpaired surrogate.
        """
        if not text.encode().translate(None, self._kept):
            return ""
        lost = (letter for letter in text if letter.encode().translate(None, self._kept))
        return "".join(dict.fromkeys(lost))
