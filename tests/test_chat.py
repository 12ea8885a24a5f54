"""Template, projector, candidate likelihood, tuning: by construction and against plain forward passes."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from surgvl.chat.answer import candidate_scores, choose, generate
from surgvl.chat.template import IGNORE, answer_ids, prompt_ids, training_batch
from surgvl.chat.tune import Tune, merge_lora
from surgvl.errors import ConfigError, DataError
from surgvl.models.chat import Chat, tiny_language_config
from surgvl.models.folder import load_model, save_model
from surgvl.models.tokenizer import SentencePieceTokenizer
from tests.test_models import PREPROCESS, clips, small_encoder

QUESTION = "what is the surgical phase shown in the image?"
CANDIDATES = ["preparation", "calot_triangle_dissection", "clipping_cutting", "two"]


def small_chat() -> Chat:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    tokenizer = SentencePieceTokenizer()
    config = tiny_language_config(tokenizer, width=32, layers=2, heads=2)
    language = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))  # type: ignore[no-untyped-call]
    # Larger weights than the initial ones, so that likelihoods differ.
    for parameter in language.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return Chat(small_encoder(), language, tokenizer, (1, 2, 2)).eval()


@pytest.fixture(scope="module")
def chat() -> Chat:
    return small_chat()


@pytest.fixture(scope="module")
def pooled(chat: Chat) -> Tensor:
    with torch.no_grad():
        return chat.see(clips(3))


def test_labels_are_the_answer_and_its_end(chat: Chat) -> None:
    tokenizer = chat.tokenizer
    ids, mask, labels = training_batch(tokenizer, [QUESTION, "how many?"], ["clipping_cutting", "two"])
    for row, answer in enumerate(["clipping cutting", "two"]):
        learnt = labels[row][labels[row] != IGNORE].tolist()
        assert tokenizer.decode(learnt) == answer
        assert learnt[-1] == tokenizer.eos_id
        text = ids[row][mask[row]].tolist()
        assert text[0] == tokenizer.bos_id
        # A label stands where its token stands, and the prompt before it carries none.
        first = int((labels[row] != IGNORE).int().argmax())
        assert (labels[row, :first] == IGNORE).all()
        assert torch.equal(labels[row][labels[row] != IGNORE], ids[row][labels[row] != IGNORE])
        assert first == len(prompt_ids(tokenizer, [QUESTION, "how many?"][row]))


def test_nothing_is_cut_silently(chat: Chat) -> None:
    with pytest.raises(DataError, match="more than 20: raise --max_tokens"):
        training_batch(chat.tokenizer, [QUESTION * 3], ["two"], max_tokens=20)
    with pytest.raises(DataError, match="has no tokens"):
        answer_ids(chat.tokenizer, " ")


def test_candidate_scores_equal_one_pass_for_each_candidate(chat: Chat, pooled: Tensor) -> None:
    scores = candidate_scores(chat, pooled, QUESTION, CANDIDATES)
    with torch.no_grad():
        for number, candidate in enumerate(CANDIDATES):
            ids, mask, labels = training_batch(chat.tokenizer, [QUESTION] * 3, [candidate] * 3)
            logp = chat(pooled, ids, mask)[:, :-1].log_softmax(-1)
            expected = labels[:, 1:]
            picked = logp.gather(2, expected.clamp(min=0)[..., None])[..., 0]
            want = torch.where(expected != IGNORE, picked, torch.zeros(())).sum(1)
            assert torch.allclose(scores[:, number], want, atol=1e-4)
    assert scores.std() > 1e-3
    best = scores.argmax(1).tolist()
    assert choose(chat, pooled, QUESTION, CANDIDATES, batch=2) == [CANDIDATES[k] for k in best]


def test_a_candidate_does_not_depend_on_its_neighbours(chat: Chat, pooled: Tensor) -> None:
    every = candidate_scores(chat, pooled, QUESTION, CANDIDATES)
    alone = candidate_scores(chat, pooled, QUESTION, CANDIDATES[2:3])
    assert torch.allclose(every[:, 2], alone[:, 0], atol=1e-4)
    with pytest.raises(DataError, match="give each answer once"):
        candidate_scores(chat, pooled, QUESTION, ["two", "two"])


def test_generation_is_greedy(chat: Chat, pooled: Tensor) -> None:
    """Against a loop of full forward passes without a cache."""
    tokenizer = chat.tokenizer
    got = generate(chat, pooled, QUESTION, max_new_tokens=6)
    for row in range(3):
        ids = prompt_ids(tokenizer, QUESTION)
        written: list[int] = []
        with torch.no_grad():
            while len(written) < 6:
                line = torch.tensor([ids + written])
                logits = chat(pooled[row : row + 1], line, torch.ones_like(line, dtype=torch.bool))
                token = int(logits[0, -1].argmax())
                if token == tokenizer.eos_id:
                    break
                written.append(token)
        assert got[row] == tokenizer.decode(written).strip()


def test_visual_tokens_are_block_means(chat: Chat) -> None:
    tokens = torch.randn(1, 8, 32)
    pooled = chat.projector.pool(tokens)
    # Grid (2, 2, 2) of the encoder to (1, 2, 2): the two time slots are averaged.
    assert torch.allclose(pooled, (tokens[:, :4] + tokens[:, 4:]) / 2, atol=1e-6)
    with pytest.raises(ConfigError, match="finer than the encoder's"):
        Chat(small_encoder(), chat.language, chat.tokenizer, (4, 2, 2))
    with pytest.raises(ConfigError, match="do not fit"):
        chat.inputs(pooled[:, :2], torch.zeros(1, 3, dtype=torch.long))


@pytest.mark.parametrize("train", ["projector", "full", "lora"])
def test_stages_train_what_they_say(train: str) -> None:
    chat = small_chat()
    objective = Tune(chat, train, lora_rank=2)
    batch = {"video": clips(), "question": [QUESTION, "how many?"], "answer": ["clipping_cutting", "two"]}
    objective(batch)["loss"].backward()
    moved = {name for name, p in chat.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert any(name.startswith("projector.") for name in moved)
    assert not any(name.startswith("encoder.") for name in moved)
    language = {name for name in moved if name.startswith("language.")}
    assert bool(language) == (train != "projector")
    assert all("lora" in name for name in language) == (train in ("lora", "projector"))
    if train == "lora":
        before = chat.state_dict().keys()
        chat.language = merge_lora(chat.language)
        assert not any("lora" in name for name in chat.state_dict())
        assert before != chat.state_dict().keys()
    with pytest.raises(ConfigError, match="allowed are projector, full, lora"):
        Tune(chat, "everything")


def test_folder_round_trip(chat: Chat, pooled: Tensor, tmp_path: Path) -> None:
    save_model(chat, tmp_path, PREPROCESS)
    loaded, _ = load_model(tmp_path)
    assert isinstance(loaded, Chat)
    want = candidate_scores(chat, pooled, QUESTION, CANDIDATES)
    assert torch.equal(candidate_scores(loaded, pooled, QUESTION, CANDIDATES), want)
    assert generate(loaded, pooled, QUESTION, 5) == generate(chat, pooled, QUESTION, 5)


def test_tiny_fit_learns_answers_that_need_the_picture() -> None:
    """Black clips and white clips: the same question has two answers, so only the clip can tell."""
    chat = small_chat()
    chat.language.apply(chat.language._init_weights)
    objective = Tune(chat, "full")
    video = torch.stack([torch.zeros(3, 4, 16, 16), torch.full((3, 4, 16, 16), 255.0)])
    batch = {"video": video, "question": ["what?", "what?"], "answer": ["gut", "liver"]}
    optimiser = torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad], lr=3e-3)
    for _ in range(60):
        optimiser.zero_grad()
        objective(batch)["loss"].backward()
        optimiser.step()
    with torch.no_grad():
        assert choose(chat, chat.see(video), "what?", ["gut", "liver"]) == ["gut", "liver"]
