"""How texts are scored."""

from dataclasses import dataclass

from charrnn.tokenizers.utf8 import Errors


@dataclass(frozen=True)
class ScoringOptions:
    """How texts are scored.

    Attributes:
        errors: what becomes of invalid UTF-8: "strict" and "skip" refuse it, "replace" reads U+FFFD. With "skip" the
            texts after one that cannot be used are scored too.
        window: tokens after which the state is reset; 0: never.
        streams: pieces of equal length that a text is cut in, each scored from `<s>`, side by side: fast, and an
            approximation. 1: none. Records are separate as it is: they are not cut.
        prompt: what each text continues: it is read before the text, tokenised apart from it, and not scored. A row may
            have its own.
        end: whether the end of a row is scored with it.
        boundary: what ends the lines of a whole text, whose blocks `Score.units` are; empty: a newline, or what
            separates the model's records.
    """

    errors: str = "strict"
    window: int = 0
    streams: int = 1
    prompt: bytes = b""
    end: bool = True
    boundary: bytes = b""

    @property
    def decoding(self) -> Errors:
        """What a decoder does with invalid UTF-8: "strict" or "replace"."""
        return "replace" if self.errors == "replace" else "strict"


DEFAULT_OPTIONS = ScoringOptions()
"""Whole texts, strictly decoded."""
