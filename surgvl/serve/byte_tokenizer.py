"""A tokenizer whose ids are UTF-8 bytes, for towers whose own tokenizer cannot be written as `tokenizer.json`.

open_clip cleans a text in Python before tokenizing it, and some transformers tokenizers are Python too. The server gets
this tokenizer instead, and the text tower decodes the ids back to the original text.
"""

from collections.abc import Sequence

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from surgvl.models.tokenizer_files import SENTENCE_TEMPLATE

PAD, BOS, EOS = range(256, 259)
# The characters that stand for bytes in this format (Radford et al., 2019): printable ones stand for themselves.
_PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer whose ids 0..255 are bytes; a text is enclosed by a begin and an end token."""
    characters = {chr(byte): byte for byte in _PRINTABLE} | {chr(256 + k): byte for k, byte in enumerate(_OTHERS)}
    inner = Tokenizer(models.BPE({**characters, "<pad>": PAD, "<s>": BOS, "</s>": EOS}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", BOS), ("</s>", EOS)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        clean_up_tokenization_spaces=False,
        split_special_tokens=True,
        chat_template=SENTENCE_TEMPLATE,
    )


def decode_bytes(ids: Sequence[int]) -> str:
    """The text of ids; ids that are not bytes are dropped, and invalid UTF-8 becomes U+FFFD."""
    return bytes(i for i in ids if 0 <= i < 256).decode("utf-8", "replace")
