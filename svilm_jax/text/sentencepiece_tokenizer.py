"""SentencePiece tokenizer, from the *.model file of its trainer."""

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import sentencepiece

from svilm_jax.filesystem.unicode_repair import repaired
from svilm_jax.text.tokenizer_interface import Tokenizer, TokenizerError, check_content

_SPACE = "\u2581"  # SentencePiece's symbol for the space before a word


class SentencePieceTokenizer(Tokenizer):
    """A SentencePiece model.

    Such models differ in their special tokens. The rule here: padding, first and end token are the model's own `pad`,
    `bos` and `eos` if it defines them; else its pieces `<pad>`, `[CLS]` and `[SEP]` if it has those (ALBERT); else new
    ids after its vocabulary, in the order pad, first, end, and `vocab_size` includes them. A T5 model (pad 0, </s> 1,
    no bos) therefore has a `vocab_size` one above the model's.

    A model with [CLS] and [SEP] is an ALBERT model, trained on normalized text: see `_albert`.
    """

    kind = "sentencepiece"

    def __init__(self, content: bytes, lowercase: bool = True, origin: str = ""):
        """Loads the model.

        Args:
          content: content of a *.model file.
          lowercase: whether to lower-case sentences first.
          origin: name of the file in errors.

        Raises:
          TokenizerError: not a SentencePiece model.
        """
        origin = origin or "tokenizer.model"
        self._content = content
        self.lowercase = lowercase
        check_content(content, origin)
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            loaded = self._processor.LoadFromSerializedProto(content) if content else False
        except RuntimeError as error:
            raise TokenizerError(f"{origin}: not a SentencePiece model ({error})") from error
        if not loaded:
            raise TokenizerError(f"{origin}: not a SentencePiece model; expected the *.model file of its trainer")
        self.unk_id = self._processor.unk_id()
        self.vocab_size = self._processor.vocab_size()
        self.pad_id = self._special(self._processor.pad_id(), "<pad>")
        self.first_id = self._special(self._processor.bos_id(), "[CLS]")
        self.end_id = self._special(self._processor.eos_id(), "[SEP]")
        unknown = self._processor.unk_id()
        self._is_albert = unknown not in (self._processor.piece_to_id(piece) for piece in ("[CLS]", "[SEP]"))

    def _special(self, number: int, piece: str) -> int:
        if number >= 0:
            return number
        number = self._processor.piece_to_id(piece)
        if number != self.unk_id:
            return number
        self.vocab_size += 1
        return self.vocab_size - 1

    def pieces(self, text: str) -> list[int]:
        """Returns the ids of one sentence; see `Tokenizer.pieces`."""
        text = repaired(text)[0]
        if self._is_albert:
            return self._albert(text)
        return list(self._processor.encode(text.lower() if self.lowercase else text))

    def _albert(self, text: str) -> list[int]:
        """Tokenizes like ALBERT's own code (google-research/albert, `tokenization.py`).

        Plain quotes, no accents; and a comma after a digit is a separate piece, which the model's own pieces such as
        "9," would hide.
        """
        text = " ".join(text.split()).replace("``", '"').replace("''", '"')
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
        pieces: list[str] = []
        for piece in self._processor.encode(text.lower() if self.lowercase else text, out_type=str):
            if len(piece) < 2 or piece[-1] != "," or not piece[-2].isdigit():
                pieces.append(piece)
                continue
            number = self._processor.encode(piece[:-1].replace(_SPACE, ""), out_type=str)
            if not piece.startswith(_SPACE) and number[0].startswith(_SPACE):  # encoding a part adds a leading space
                number = [number[0][1:], *number[1:]] if len(number[0]) > 1 else number[1:]
            pieces += [*number, ","]
        return [self._processor.piece_to_id(piece) for piece in pieces]

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Returns the sentence of one row of ids; see `Tokenizer.decode`."""
        special = {self.pad_id, self.first_id, self.end_id}
        own = range(self._processor.vocab_size())
        return str(self._processor.decode([int(i) for i in ids if int(i) not in special and int(i) in own]))

    def files(self) -> dict[str, bytes]:
        """Returns the model as a file; see `Tokenizer.files`."""
        return {"tokenizer.model": self._content}

    def __reduce__(self) -> tuple[Any, ...]:
        return SentencePieceTokenizer, (self._content, self.lowercase)
