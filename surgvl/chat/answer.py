"""Answers of a language model: closed ones by the likelihood of each candidate, free ones by greedy decoding.

A closed question is one sequence: clip, question, then all candidates as a prefix tree of their tokens (tree attention,
arXiv 2305.09781). Each token attends to the clip, the question and its ancestors, at the position it would have alone.
Shared prefixes are computed once, and the score of a candidate is log p(candidate, end | clip, question), independent
of the other candidates.
Shapes: B questions, A candidates, V stored tokens of a clip.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import LogitsProcessorList

from surgvl.chat.chosen_tokens import ChosenTokens
from surgvl.chat.template import answer_ids, prompt_ids
from surgvl.core.errors import DataError
from surgvl.models.chat import Chat


@torch.no_grad()
def candidate_scores(chat: Chat, pooled: Tensor, question: str, candidates: Sequence[str]) -> Tensor:
    """Log-likelihood of each candidate answer to one question about B clips.

    Args:
        chat: the model.
        pooled: from `chat.encode_visual`, [B, V, D].
        question: asked of every clip.
        candidates: A different answers.

    Returns:
        float32 [B, A], natural logarithms summed over the candidate's tokens and the end token.

    Raises:
        DataError: no candidates, or two of them are equal.
    """
    if not candidates or len(set(candidates)) != len(candidates):
        distinct = len(set(candidates))
        raise DataError(f"answers to choose from must be distinct, got {len(candidates)}, of which {distinct} distinct")
    processor, device = chat.ready, pooled.device
    prompt = prompt_ids(processor, question)
    # The last token of a candidate predicts nothing that is scored, so it is not an input. Nodes of the tree are the
    # prefixes of all candidates, each once.
    tails = [answer_ids(processor, candidate) for candidate in candidates]
    nodes: dict[tuple[int, ...], int] = {}
    for tail in tails:
        for end in range(1, len(tail)):
            nodes.setdefault(tuple(tail[:end]), len(nodes))
    prefix, length = len(prompt), len(prompt) + len(nodes)
    allowed = torch.ones(length, length, dtype=torch.bool).tril()
    allowed[prefix:, prefix:] = torch.eye(len(nodes), dtype=torch.bool)
    for path, node in nodes.items():
        if len(path) > 1:
            allowed[prefix + node, prefix:] |= allowed[prefix + nodes[path[:-1]], prefix:]
    body = [path[-1] for path in nodes]
    place = torch.tensor([prefix + len(path) - 1 for path in nodes], dtype=torch.long)

    B = pooled.shape[0]
    ids = torch.tensor(prompt + body, device=device).expand(B, -1)
    embeddings = chat.embed(ids, pooled)
    mask = torch.zeros(length, length, dtype=embeddings.dtype)
    mask.masked_fill_(~allowed, torch.finfo(embeddings.dtype).min)
    positions = torch.cat([torch.arange(prefix), place]).to(device)
    out = chat.language(
        inputs_embeds=embeddings,
        attention_mask=mask[None, None].expand(B, 1, -1, -1).to(device),
        position_ids=positions.expand(B, -1),
        use_cache=False,
    )
    # Row prefix-1 predicts each candidate's first token, and each node's row the token after it.
    logp = out.logits[:, prefix - 1 :].float().log_softmax(-1)
    source, target, candidate = [], [], []
    for number, tail in enumerate(tails):
        source += [0, *(1 + nodes[tuple(tail[:end])] for end in range(1, len(tail)))]
        target += tail
        candidate += [number] * len(tail)
    picked = logp[:, torch.tensor(source, device=device), torch.tensor(target, device=device)]
    scores = torch.zeros(B, len(tails), device=device)
    return scores.index_add_(1, torch.tensor(candidate, device=device), picked)


class Written(NamedTuple):
    """A free answer: its text, and the log-probabilities of its tokens, the end token included."""

    text: str
    logprobs: list[float]


def write(chat: Chat, pooled: Tensor, question: str, max_new_tokens: int = 32) -> list[Written]:
    """Greedy free answers to one question about B clips."""
    ids = torch.tensor(prompt_ids(chat.ready, question), device=pooled.device).expand(pooled.shape[0], -1)
    chosen = ChosenTokens()
    out = chat.generate(
        ids, pooled=pooled, max_new_tokens=max_new_tokens, logits_processor=LogitsProcessorList([chosen])
    )
    end = chat.language.generation_config.eos_token_id
    ends = end if isinstance(end, list) else [end]
    found = []
    for row, values in zip(out.tolist(), chosen.logprobs(out).tolist(), strict=True):
        # What follows the first end token fills the batch.
        length = next((at + 1 for at, token in enumerate(row) if token in ends), len(row))
        found.append(Written(chat.tokenizer.decode(row).strip(), values[:length]))
    return found


def generate(chat: Chat, pooled: Tensor, question: str, max_new_tokens: int = 32) -> list[str]:
    """The texts of `write`."""
    return [each.text for each in write(chat, pooled, question, max_new_tokens)]
