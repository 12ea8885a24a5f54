"""Texts as ids of their UTF-8 bytes, for towers whose own tokenizer cannot be written as `tokenizer.json`.

open_clip mends a text in Python before it cuts it into tokens, and some transformers tokenizers are Python too. A
server is given this tokenizer instead, and the text tower reads the text that it was.
"""

from collections.abc import Sequence

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from surgvl.models.tokenizer_files import SENTENCE_TEMPLATE

PAD, BOS, EOS = range(256, 259)
# The letters that stand for bytes in this format (Radford et al., 2019): what can be printed stands for itself.
_PLAIN = [*range(33, 127), *range(161, 173), *range(174, 256)]
_HIDDEN = [byte for byte in range(256) if byte not in _PLAIN]


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer whose ids 0..255 are bytes; a begin and an end token stand around a text."""
    letters = {chr(byte): byte for byte in _PLAIN} | {chr(256 + k): byte for k, byte in enumerate(_HIDDEN)}
    inner = Tokenizer(models.BPE({**letters, "<pad>": PAD, "<s>": BOS, "</s>": EOS}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", BOS), ("</s>", EOS)]
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=inner,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        clean_up_tokenization_spaces=False,
        split_special_tokens=True,
        chat_template=SENTENCE_TEMPLATE,
    )


def read_bytes(ids: Sequence[int]) -> str:
    """The text of ids; what is no byte is left out, and bytes that are no UTF-8 become U+FFFD."""
    return bytes(i for i in ids if 0 <= i < 256).decode("utf-8", "replace")
