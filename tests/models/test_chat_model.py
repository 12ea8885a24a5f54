"""The chat model: labels, likelihoods, tuning and folders, by construction and against plain forward passes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from surgvl.chat.answerers import candidate_scores, generate, write
from surgvl.chat.template import (
    IGNORE,
    Batch,
    answer_ids,
    conversation,
    end_of_turn,
    prompt_ids,
    training_batch,
)
from surgvl.chat.tune import Tune, merge_lora
from surgvl.core.errors import CheckpointError, ConfigError, DataError
from surgvl.models.chat import Chat, tiny_language_config
from surgvl.models.checkpoint import load_model, save_model
from surgvl.models.projector import Projector
from surgvl.models.tokenizer import SentencePieceTokenizer
from surgvl.video.clip import Preprocess
from tests.models.test_models import PREPROCESS, clips, small_encoder

QUESTION = "what is the surgical phase shown in the image?"
CANDIDATES = ["preparation", "calot_triangle_dissection", "clipping_cutting", "two"]


CLIP = Preprocess(num_frames=4, fps=2.0, size_px=16)


def small_chat(projector: dict[str, Any] | None = None, width: int = 32) -> Chat:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    tokenizer = SentencePieceTokenizer()
    config = tiny_language_config(tokenizer, width=width, layers=2, heads=2)
    language = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    # Larger weights than the initial ones, so that likelihoods differ.
    for parameter in language.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    chat = Chat.of(
        small_encoder(),
        language,
        tokenizer,
        projector or {"grid": [2, 2, 1]},
        CLIP,
    )
    chat.train(False)
    return chat


@pytest.fixture(scope="module")
def chat() -> Chat:
    return small_chat()


@pytest.fixture(scope="module")
def pooled(chat: Chat) -> Tensor:
    with torch.no_grad():
        return chat.encode_visual(clips(3))


def learnt(batch: Batch, row: int) -> list[int]:
    labels: list[int] = batch.labels[row][batch.labels[row] != IGNORE].tolist()
    return labels


@pytest.mark.slow
def test_labels_are_the_answer_and_its_end(chat: Chat) -> None:
    processor = chat.ready
    batch, order = training_batch(processor, [QUESTION, "how many?"], ["clipping_cutting", "two"])
    assert order == [0, 1]
    for row, answer in enumerate(["clipping cutting", "two"]):
        assert chat.tokenizer.decode(learnt(batch, row)) == answer
        assert learnt(batch, row)[-1] == chat.tokenizer.eos_id
        text = batch.ids[row][batch.segment_ids[row] == 0].tolist()
        assert text[0] == chat.tokenizer.bos_id
        assert text.count(chat.config.video_token_id) == 4
        # A label stands where its token stands, and the prompt before it carries none.
        first = int((batch.labels[row] != IGNORE).int().argmax())
        assert (batch.labels[row, :first] == IGNORE).all()
        assert learnt(batch, row) == batch.ids[row][batch.labels[row] != IGNORE].tolist()
        assert first == len(prompt_ids(processor, [QUESTION, "how many?"][row]))


def test_labels_of_several_turns(chat: Chat) -> None:
    """One pass over all turns is the text of the template; what is learnt are the answers, each with its end."""
    processor, end = chat.ready, chat.tokenizer.eos_id
    turns = [("what phase?", "preparation"), ("and which tool?", "hook"), ("how many?", "two")]
    ids, labels = conversation(processor, turns)
    assert len(ids) == len(labels)
    parts: list[list[int]] = [[]]
    for token, label in zip(ids, labels, strict=True):
        assert label in (token, IGNORE)
        if label != IGNORE:
            parts[-1].append(token)
            if token == end:
                parts.append([])
    assert [chat.tokenizer.decode(part) for part in parts[:-1]] == ["preparation", "hook", "two"]
    messages: list[dict[str, Any]] = []
    for question, answer in turns:
        content: Any = [{"type": "video"}, {"type": "text", "text": question}] if not messages else question
        messages += [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]
    whole = processor.expand(processor.encode(processor.render(messages, add_generation_prompt=False)))
    assert ids == whole


def test_a_template_that_thinks_before_it_answers_has_no_end_of_turn() -> None:
    chat = small_chat()
    assert end_of_turn(chat.ready) == chat.tokenizer.eos_id
    template = str(chat.ready.chat_template)
    for text in ("' so ' + text + eos_token", "' ' + text + '.'"):
        chat.ready.chat_template = template.replace("' ' + text + eos_token", text)
        assert chat.ready.chat_template != template
        assert end_of_turn(chat.ready) is None


def test_nothing_is_cut_silently(chat: Chat) -> None:
    with pytest.raises(DataError, match="more than 20: raise --max_tokens"):
        training_batch(chat.ready, [QUESTION * 3], ["two"], max_tokens=20)
    with pytest.raises(DataError, match="has no tokens"):
        answer_ids(chat.ready, " ")
    with pytest.raises(DataError, match="2 placeholders for 1 visuals"):
        prompt_ids(chat.ready, "what is in <video>?")


@pytest.mark.slow
def test_packed_conversations_do_not_see_one_another(chat: Chat, pooled: Tensor) -> None:
    questions, answers = [QUESTION, "how many?", "which verb?"], ["preparation", "two", "clipping_cutting"]
    plain = Tune(small_chat(), "full")
    packed = Tune(small_chat(), "full", max_tokens=96, pack=True)
    batch = {"pooled": pooled, "question": questions, "answer": answers}
    rows, order = training_batch(chat.ready, questions, answers, 96, pack=True)
    assert len(rows.ids) < 3
    assert sorted(order) == [0, 1, 2]
    one, two = plain(batch), packed(batch)
    assert torch.allclose(one["loss"], two["loss"], atol=1e-5)
    assert torch.allclose(one["token_accuracy"], two["token_accuracy"])
    one["loss"].backward()
    two["loss"].backward()
    for (name, a), (_, b) in zip(plain.named_parameters(), packed.named_parameters(), strict=True):
        if a.grad is not None and b.grad is not None:
            assert torch.allclose(a.grad, b.grad, atol=1e-4), name


def test_candidate_scores_equal_one_pass_for_each_candidate(chat: Chat, pooled: Tensor) -> None:
    scores = candidate_scores(chat, pooled, QUESTION, CANDIDATES)
    with torch.no_grad():
        for number, candidate in enumerate(CANDIDATES):
            batch, _ = training_batch(chat.ready, [QUESTION] * 3, [candidate] * 3)
            logp = chat(batch.ids, pooled=pooled).logits[:, :-1].log_softmax(-1)
            expected = batch.labels[:, 1:]
            picked = logp.gather(2, expected.clamp(min=0)[..., None])[..., 0]
            want = torch.where(expected != IGNORE, picked, torch.zeros(())).sum(1)
            assert torch.allclose(scores[:, number], want, atol=1e-4)
    assert scores.std() > 1e-3


def test_candidates_that_begin_alike_share_tokens_and_keep_their_scores(chat: Chat, pooled: Tensor) -> None:
    alike = ["clip", "clipper", "clipper clip cystic duct", "clipper clip cystic artery", "clip cystic duct", "hook"]
    lengths = []
    forward = chat.language.forward

    def counted(**given: Any) -> Any:
        lengths.append(given["inputs_embeds"].shape[1])
        return forward(**given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chat.language, "forward", counted)
        together = candidate_scores(chat, pooled, QUESTION, alike)
        for number, candidate in enumerate(alike):
            one = candidate_scores(chat, pooled, QUESTION, [candidate])
            assert torch.allclose(together[:, number], one[:, 0], atol=1e-4)
    prompt = len(prompt_ids(chat.ready, QUESTION))
    begun = {tuple(ids[:end]) for ids in map(chat.ready.encode, alike) for end in range(1, len(ids) + 1)}
    assert lengths[0] == prompt + len(begun)
    assert lengths[0] < prompt + sum(len(chat.ready.encode(candidate)) for candidate in alike)


def test_a_candidate_does_not_depend_on_its_neighbours(chat: Chat, pooled: Tensor) -> None:
    every = candidate_scores(chat, pooled, QUESTION, CANDIDATES)
    alone = candidate_scores(chat, pooled, QUESTION, CANDIDATES[2:3])
    assert torch.allclose(every[:, 2], alone[:, 0], atol=1e-4)
    with pytest.raises(DataError, match="must be distinct, got 2, of which 1 distinct"):
        candidate_scores(chat, pooled, QUESTION, ["two", "two"])


@pytest.mark.slow
@pytest.mark.parametrize("question", [QUESTION, ["Why?", QUESTION, f"{QUESTION} Here and there?"]])
def test_generation_is_greedy(question: str | list[str], chat: Chat, pooled: Tensor) -> None:
    """Against a loop of full forward passes without a cache; questions of different lengths are asked together."""
    tokenizer = chat.tokenizer
    got, sure = generate(chat, pooled, question, max_new_tokens=6), write(chat, pooled, question, max_new_tokens=6)
    for row in range(3):
        ids = prompt_ids(chat.ready, question if isinstance(question, str) else question[row])
        written: list[int] = []
        logprobs: list[float] = []
        with torch.no_grad():
            while len(written) < 6:
                logits = chat(torch.tensor([ids + written]), pooled=pooled[row : row + 1]).logits
                token = int(logits[0, -1].argmax())
                logprobs.append(float(logits[0, -1].log_softmax(-1)[token]))
                if token == tokenizer.eos_id:
                    break
                written.append(token)
        assert got[row] == sure[row].text == tokenizer.decode(written).strip()
        assert sure[row].logprobs == pytest.approx(logprobs, abs=1e-4)


def test_visual_tokens_fill_their_places(chat: Chat, pooled: Tensor) -> None:
    tokens = torch.randn(1, 8, 32)
    # Grid (2, 2, 2) of the encoder to (2, 2, 1): columns are averaged.
    want = (tokens[:, 0::2] + tokens[:, 1::2]) / 2
    assert torch.allclose(chat.projector.pool(tokens), want, atol=1e-6)
    with pytest.raises(ConfigError, match="at most the encoder's"):
        small_chat({"grid": [4, 2, 2]})
    ids = torch.tensor([prompt_ids(chat.ready, QUESTION)])
    embeddings = chat.embed(ids, pooled[:1])
    places = ids[0] == chat.config.video_token_id
    assert torch.allclose(embeddings[0, places], chat.projector(pooled[:1])[0])
    words = chat.language.get_input_embeddings()(ids)
    assert torch.equal(embeddings[0, ~places], words[0, ~places])
    with pytest.raises(DataError, match="places for 4 visual tokens, and 2 visuals give 8"):
        chat.embed(ids, pooled[:2])
    with pytest.raises(DataError, match="places for 4 visual tokens, and 0 visuals give 0"):
        chat.embed(ids)


@pytest.mark.parametrize("kind", ["mlp", "perceiver"])
def test_other_projectors(kind: str) -> None:
    chat = small_chat({"kind": kind, "grid": [2, 1, 1], "num_queries": 3})
    per_clip = {"mlp": 8, "perceiver": 6}[kind]
    assert chat.projector.num_tokens == per_clip
    assert chat.projector(chat.encode_visual(clips(2))).shape == (2, per_clip, 32)
    objective = Tune(chat, "projector")
    objective({"video": clips(2), "question": [QUESTION] * 2, "answer": ["two", "hook"]})["loss"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in chat.projector.parameters())
    if kind == "perceiver":
        # A group's tokens come from its own time alone.
        tokens = torch.randn(1, 8, 32)
        other = tokens.clone()
        other[:, 4:] = torch.randn(1, 4, 32)
        a, b = chat.projector(chat.projector.pool(tokens)), chat.projector(chat.projector.pool(other))
        assert torch.allclose(a[:, :3], b[:, :3], atol=1e-6)
        assert not torch.allclose(a[:, 3:], b[:, 3:], atol=1e-3)
    with pytest.raises(ConfigError, match="must be one of grid, mlp, perceiver"):
        Projector(32, 32, (2, 2, 2), kind="conv")


@pytest.mark.parametrize("train", ["projector", "full", "lora", "encoder"])
@pytest.mark.slow
def test_stages_train_what_they_say(train: str) -> None:
    chat = small_chat()
    objective = Tune(chat, train, lora_rank=2)
    batch = {"video": clips(), "question": [QUESTION, "how many?"], "answer": ["clipping_cutting", "two"]}
    objective(batch)["loss"].backward()
    moved = {name for name, p in chat.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert any(name.startswith("projector.") for name in moved)
    assert any(name.startswith("encoder.") for name in moved) == (train == "encoder")
    language = {name for name in moved if name.startswith("language.")}
    assert bool(language) == (train != "projector")
    assert all("lora" in name for name in language) == (train in ("lora", "projector"))
    if train == "lora":
        before = chat.state_dict().keys()
        chat.language = merge_lora(chat.language)
        assert not any("lora" in name for name in chat.state_dict())
        assert before != chat.state_dict().keys()
    with pytest.raises(ConfigError, match="must be one of projector, full, lora"):
        Tune(chat, "everything")


@pytest.mark.slow
def test_folder_round_trip(chat: Chat, pooled: Tensor, tmp_path: Path) -> None:
    save_model(chat, tmp_path, PREPROCESS)
    loaded, preprocess = load_model(tmp_path)
    assert isinstance(loaded, Chat)
    assert preprocess == PREPROCESS
    want = candidate_scores(chat, pooled, QUESTION, CANDIDATES)
    assert torch.equal(candidate_scores(loaded, pooled, QUESTION, CANDIDATES), want)
    assert generate(loaded, pooled, QUESTION, 5) == generate(chat, pooled, QUESTION, 5)


@pytest.mark.slow
def test_transformers_reads_the_folder(chat: Chat, pooled: Tensor, tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

    chat.save_pretrained(tmp_path)
    assert load_model(tmp_path)[1] == PREPROCESS
    model: Any = AutoModelForImageTextToText.from_pretrained(tmp_path)
    processor = AutoProcessor.from_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert config.architectures == ["SurgVLForConditionalGeneration"]
    assert config.text_config.model_type == "qwen2"
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path)
    messages = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": QUESTION}]}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    frames = clips(1)[0].permute(1, 2, 3, 0).numpy()
    given = processor(text=text, videos=[frames])
    assert given["input_ids"].tolist() == [prompt_ids(chat.ready, QUESTION)]
    out = model.eval().generate(**given, max_new_tokens=6)
    with torch.no_grad():
        want = generate(chat, chat.encode_visual(clips(1)), QUESTION, 6)
    assert tokenizer.decode(out[0], skip_special_tokens=True).strip() == want[0]
    (tmp_path / "config.json").write_text('{"model_type": "surgvl_chat", "grid": [2, 4, 4]}')
    with pytest.raises(CheckpointError, match="predates the processor of chat models"):
        load_model(tmp_path)


@pytest.mark.slow
def test_tiny_fit_learns_answers_that_need_the_picture() -> None:
    """Black clips and white clips: the same question has two answers, so only the clip can tell."""
    chat = small_chat()
    chat.language.apply(chat.language._init_weights)
    objective = Tune(chat, "full")
    video = torch.stack([torch.zeros(3, 4, 16, 16), torch.full((3, 4, 16, 16), 255.0)])
    batch = {"video": video, "question": ["what?", "what?"], "answer": ["gut", "liver"]}
    optimizer = torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad], lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        objective(batch)["loss"].backward()
        optimizer.step()
    with torch.no_grad():
        assert candidate_scores(chat, chat.encode_visual(video), "what?", ["gut", "liver"]).argmax(1).tolist() == [0, 1]
