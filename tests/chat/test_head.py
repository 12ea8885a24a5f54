"""The classification head: against plain passes of the trunk, through training, folders, and `ask` to a table."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from surgvl.chat.answerer import Question, Window
from surgvl.chat.answerers import HeadAnswerer
from surgvl.chat.head import AnswerHead, HeadTune, has_head, head_states, load_head, save_head
from surgvl.chat.template import prompt_ids
from surgvl.cli import main as cli
from surgvl.core.errors import CheckpointError, ConfigError, DataError
from surgvl.core.results import read_results
from surgvl.data.manifest import Manifest
from surgvl.models.chat import Chat
from surgvl.models.tokenizer import SentencePieceTokenizer
from surgvl.video.clip import Preprocess
from tests.helpers.made_organs import ORGANS, QUESTION, colour_clips, made_manifest, save_run
from tests.models.test_chat_model import CANDIDATES, small_chat
from tests.models.test_models import PREPROCESS, clips, small_encoder

QUESTIONS = ["what is the surgical phase shown in the image?", "how many?", "which tool is at the centre?"]


CLIP = Preprocess(num_frames=4, fps=2.0, size_px=16)


@pytest.fixture(scope="module")
def chat() -> Chat:
    return small_chat()


@pytest.fixture(scope="module")
def pooled(chat: Chat) -> Tensor:
    with torch.no_grad():
        return chat.encode_visual(clips(3))


def other_language(kind: str) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    size = {"n_embd": 32, "n_layer": 2, "n_head": 2} if kind == "gpt2" else {}
    if not size:
        size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
    config = AutoConfig.for_model(kind, vocab_size=SentencePieceTokenizer().vocab_size, **size)
    return AutoModelForCausalLM.from_config(config)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["qwen2", "gpt2", "llama"])
def test_states_are_those_from_which_the_answer_would_be_written(kind: str) -> None:
    """Prompts of unequal length in one batch, against transformers' own hidden states of each alone."""
    torch.manual_seed(0)
    chat = Chat.of(
        small_encoder(),
        other_language(kind),
        SentencePieceTokenizer(),
        {"grid": [2, 2, 1]},
        CLIP,
    )
    chat.train(False)
    with torch.no_grad():
        pooled = chat.encode_visual(clips(3))
        got = head_states(chat, pooled, QUESTIONS)
        for row, question in enumerate(QUESTIONS):
            ids = torch.tensor([prompt_ids(chat.ready, question)])
            out = chat.language(inputs_embeds=chat.embed(ids, pooled[row : row + 1]), output_hidden_states=True)
            assert torch.allclose(got[row], out.hidden_states[-1][0, -1], atol=1e-5)
            # The language model's own head on this state is its score of the first token of the answer.
            assert torch.allclose(chat.language.lm_head(got[row]), out.logits[0, -1], atol=1e-4)
    assert (got[0] - got[1]).abs().max() > 1e-2


@pytest.mark.slow
def test_the_best_of_the_allowed_answers(chat: Chat, pooled: Tensor, tmp_path: Path) -> None:
    torch.manual_seed(1)
    head = AnswerHead.of(chat, CANDIDATES)
    scores = head(head_states(chat, pooled, [QUESTION] * 3)).detach()
    assert scores.shape == (3, 4)
    run = save_run(chat, tmp_path)
    save_head(head, run / "model")
    answerer = HeadAnswerer(chat, PREPROCESS, run)

    def ask(answers: list[str]) -> list[str]:
        frames = [clip.permute(1, 2, 3, 0).numpy() for clip in clips(3)]
        return [each.text for each in answerer.answer([Question(clip, QUESTION, tuple(answers)) for clip in frames])]

    assert ask(CANDIDATES) == [CANDIDATES[at] for at in scores.argmax(1)]
    best = CANDIDATES[int(scores[0].argmax())]
    others = [each for each in CANDIDATES if each != best]
    left = [CANDIDATES.index(each) for each in others]
    assert ask(others) == [others[at] for at in scores[:, left].argmax(1)]
    with pytest.raises(DataError, match="answer 'spleen' is not one of the 4 that the head was tuned on"):
        ask(["spleen"])
    with pytest.raises(DataError, match="must be distinct, got 2, of which 1 distinct"):
        AnswerHead(8, ["two", "two"])


@pytest.mark.slow
def test_loss_is_cross_entropy_and_moves_what_it_should(pooled: Tensor) -> None:
    for train in ("full", "head"):
        chat = small_chat()
        objective = HeadTune(chat, AnswerHead.of(chat, CANDIDATES), train)
        answers = [CANDIDATES[2], CANDIDATES[0], CANDIDATES[2]]
        out = objective({"pooled": pooled, "question": QUESTIONS, "answer": answers})
        scores = objective.head(head_states(chat, pooled, QUESTIONS)).detach()
        wanted = [scores[row].softmax(0)[CANDIDATES.index(each)].log() for row, each in enumerate(answers)]
        assert out["loss"].item() == pytest.approx(-float(torch.stack(wanted).mean()), abs=1e-5)
        out["loss"].backward()
        moved = {name.split(".")[0] for name, p in chat.named_parameters() if p.grad is not None and p.grad.any()}
        assert moved == ({"projector", "language"} if train == "full" else set())
        assert objective.head.linear.weight.grad is not None
    with pytest.raises(ConfigError, match="one of full, head"):
        HeadTune(chat, objective.head, "projector")


def taught_head(chat: Chat) -> AnswerHead:
    """A head that tells red from blue; the trunk learns with it."""
    chat.language.apply(chat.language._init_weights)
    objective = HeadTune(chat, AnswerHead.of(chat, list(ORGANS.values())))
    batch = {"video": colour_clips(), "question": [QUESTION] * 2, "answer": list(ORGANS.values())}
    optimizer = torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad], lr=6e-3)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        out = objective(batch)
        out["loss"].backward()
        optimizer.step()
        losses.append(out["loss"].item())
    assert losses[-1] < 0.1 * losses[0]
    assert out["accuracy"] == 1
    return objective.head.eval()


def test_folder_round_trip(chat: Chat, pooled: Tensor, tmp_path: Path) -> None:
    head = AnswerHead.of(chat, CANDIDATES)
    run = save_run(chat, tmp_path)
    assert not has_head(run / "model")
    with pytest.raises(CheckpointError, match="has no classification head: .*--finetune head"):
        load_head(chat, run / "model")
    save_head(head, run / "model")
    loaded = load_head(chat, run / "model")
    assert loaded.answers == CANDIDATES
    with torch.no_grad():
        one, two = (each(head_states(chat, pooled, QUESTIONS)) for each in (head, loaded))
    assert torch.equal(one, two)
    # vLLM reads every weight file that lies in the model folder itself.
    assert [path.name for path in (run / "model").glob("*.safetensors")] == ["model.safetensors"]
    save_head(AnswerHead(16, CANDIDATES), run / "model")
    with pytest.raises(
        CheckpointError, match=r"head\.safetensors does not fit: .*linear\.weight \(4, 16\) for \(4, 32\)"
    ):
        load_head(chat, run / "model")


@pytest.mark.slow
def test_the_head_is_a_row_of_the_table(taught_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = made_manifest(tmp_path)
    written = shutil.copytree(taught_run, tmp_path / "written")
    chat = small_chat()
    headed = save_run(chat, tmp_path / "headed")
    save_head(taught_head(chat), headed / "model")
    save_run(chat, headed)
    for run in (written, headed):
        words = ["ask", "--model", str(run), "--manifest", str(manifest), "--controls", "--out", str(run / "answers")]
        cli.run(words)
    assert (
        "24 answers (100.0% right, 50.0% right with a black video, 0.0% right with another" in capsys.readouterr().out
    )
    with pytest.raises(ConfigError, match="--open_ended needs a model that generates text"):
        cli.run([*words[:-1], str(tmp_path / "open"), "--open_ended"])

    evaluate = ["eval", "--manifest", str(manifest), "--answers", str(written / "answers")]
    cli.run([*evaluate, "--controls", str(headed / "answers"), "--out", str(tmp_path / "eval")])
    found = {result.metric: result for result in read_results(tmp_path / "eval" / "result.json")}
    assert found["accuracy_head"].value == found["accuracy"].value == 1
    assert found["accuracy_head"].baselines["other video"] == 0
    assert "closed answers of a classification head" in found["accuracy_head"].protocol
    assert found["gain_over_black_video_head"].value == 0.5
    page = (tmp_path / "eval" / "result.md").read_text()
    head = next(line for line in page.splitlines() if "by part" in line)
    columns = ["vqa by part", "clips", "accuracy", "accuracy_head", "blind", "black video", "other video"]
    assert [cell.strip() for cell in head.split("|")[1:-1]] == columns


@pytest.mark.slow
def test_a_head_does_not_write(tmp_path: Path, chat: Chat, capsys: pytest.CaptureFixture[str]) -> None:
    folder = made_manifest(tmp_path)
    table = Manifest.load(folder)
    free = table.qa[-1].model_copy(update={"type": "open", "question": "What is there?"})
    Manifest(table.videos, (), [*table.qa, free]).save(tmp_path / "mixed")
    run = save_run(chat, tmp_path / "run")
    save_head(AnswerHead.of(chat, list(ORGANS.values())), run / "model")
    with pytest.raises(
        ConfigError, match="'why\\?' needs a free-text answer, and a classification head cannot generate text"
    ):
        HeadAnswerer(chat, PREPROCESS, run).answer([Question(Window("v", 0.0, 1.0), "why?")])
    cli.run(["ask", "--model", str(run), "--manifest", str(tmp_path / "mixed"), "--out", str(tmp_path / "answers")])
    printed = capsys.readouterr().out
    assert "1 question with free-text answers left out" in printed
    assert "8 answers (" in printed
