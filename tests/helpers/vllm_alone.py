"""Both models in vLLM without a server, in one process of its own, because importing vLLM changes much of one.

`python -m tests.helpers.vllm_alone IN.json OUT.json`: `embed` holds the arguments of `embed_model_alone.check`, `chat`
those of `chat_model_alone.answer`; what they return goes to the same keys.
"""

import json
import sys
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

from tests.helpers import chat_model_alone, embed_model_alone


def main(given: str, out: str) -> None:
    """Run both; the embedding model first, because it looks at what registering the plug-in imports."""
    # It would be written into a note at each reading, which takes longer than the reading.
    config: Any = PreTrainedConfig
    config.__repr__ = object.__repr__
    asked = json.loads(Path(given).read_text(encoding="utf-8"))
    found = {"embed": embed_model_alone.check(*asked["embed"]), "chat": chat_model_alone.answer(*asked["chat"])}
    Path(out).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
