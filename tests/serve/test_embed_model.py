"""Vectors of a real vLLM server against `DualEncoder`: sentences, clips, both at once, and what has no vector."""

import asyncio
import base64
import importlib.util
import io
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from surgvl.models.checkpoint import load_model
from surgvl.models.dual_encoder import DualEncoder
from surgvl.serve.dual_config import MAX_TEXT_IDS
from surgvl.video.clip import resample_frames
from tests.helpers.made_duals import SENTENCES

pytest.importorskip("openai", reason="openai is not installed: pip install 'surgvl[client]'")

from tests.helpers.live import Live  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None, reason="vllm is not installed: pip install 'surgvl[serve]'"
    ),
]
Frames = NDArray[np.uint8]
Vectors = NDArray[np.float32]


@dataclass
class Server:
    """The running server and the model that it serves."""

    live: Live
    dual: DualEncoder

    @property
    def client(self) -> Any:
        import openai

        return openai.OpenAI(base_url=f"{self.live.url}/v1", api_key=self.live.key, max_retries=0)

    def texts(self, texts: list[str]) -> Vectors:
        with torch.inference_mode():
            found: Vectors = self.dual.encode_text(texts).numpy()
        return found

    def clips(self, clips: list[Frames]) -> Vectors:
        video = torch.from_numpy(np.stack([resample_frames(frames, 4, 16) for frames in clips])).permute(0, 4, 1, 2, 3)
        with torch.inference_mode():
            found: Vectors = self.dual.encode_video(video).numpy()
        return found

    def refused(self, body: dict[str, Any]) -> tuple[int, str]:
        """Status and message of a request that is refused."""
        import openai

        with self.client as client, pytest.raises(openai.APIStatusError) as refused:
            client.post("/embeddings", body={"model": "surgvl-embed", **body}, cast_to=object)
        return refused.value.status_code, refused.value.body["message"]  # type: ignore[index]


def message(*clips: Frames, text: str = "") -> list[dict[str, Any]]:
    """Clips as a client sends them."""
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    for frames in clips:
        pictures = []
        for frame in frames:
            Image.fromarray(frame).save(png := io.BytesIO(), "PNG")
            pictures.append(base64.b64encode(png.getvalue()).decode())
        url = f"data:video/jpeg;base64,{','.join(pictures)}"
        parts.append({"type": "video_url", "video_url": {"url": url}})
    return [{"role": "user", "content": parts}]


def made_clips(num: int, *shape: int) -> list[Frames]:
    rng = np.random.default_rng(num)
    return [rng.integers(0, 256, (*(shape or (4, 16, 16)), 3), dtype=np.uint8) for _ in range(num)]


@pytest.fixture(scope="module")
def server(live: Live) -> Server:
    assert metadata.entry_points(group="vllm.general_plugins", name="surgvl"), "install surgvl again: no entry point"
    dual, _ = load_model(live.dual_run)
    assert isinstance(dual, DualEncoder)
    return Server(live, dual)


def test_sentences_through_openais_client(server: Server) -> None:
    with server.client as client:
        reply = client.embeddings.create(model="surgvl-embed", input=SENTENCES)
        said = client.post(
            "/embeddings",
            body={"model": "surgvl-embed", "messages": [{"role": "user", "content": SENTENCES[0]}]},
            cast_to=object,
        )
    got = np.array([row.embedding for row in reply.data], np.float32)
    want = server.texts(SENTENCES)
    assert np.abs(got - want).max() < 1e-4
    assert np.abs(np.array(said["data"][0]["embedding"]) - want[0]).max() < 1e-4
    # Sentences are told apart by far more than that.
    assert np.abs(want[:, None] - want[None]).max(2)[~np.eye(len(want), dtype=bool)].min() > 0.01
    assert np.allclose(np.linalg.norm(got, axis=1), 1, atol=1e-5)


def test_clips_one_by_one_and_several_in_a_request(server: Server) -> None:
    clips = [*made_clips(3), *made_clips(2, 7, 30, 20)]
    with server.client as client:
        alone = [client.post("/embeddings", body={"model": "surgvl-embed", "messages": message(clip)}, cast_to=object)
                 for clip in clips]  # fmt: skip
        body = {"model": "surgvl-embed", "messages": [message(clip) for clip in clips]}
        together = client.post("/embeddings", body=body, cast_to=object)
    want = server.clips(clips)
    assert np.abs(np.array([reply["data"][0]["embedding"] for reply in alone]) - want).max() < 1e-4
    assert np.abs(np.array([row["embedding"] for row in together["data"]]) - want).max() < 1e-4
    assert np.abs(want[:, None] - want[None]).max(2)[~np.eye(len(want), dtype=bool)].min() > 0.001


def test_forty_mixed_requests_at_once(server: Server) -> None:
    import openai

    clips = made_clips(20)
    texts = [f"{SENTENCES[0]} number {n} " * (n + 1) for n in range(20)]

    async def ask() -> list[Any]:
        async with openai.AsyncOpenAI(
            base_url=f"{server.live.url}/v1", api_key=server.live.key, max_retries=0
        ) as client:
            bodies: list[dict[str, Any]] = []
            for clip, text in zip(clips, texts, strict=True):
                bodies += [{"messages": message(clip)}, {"input": text}]
            asked = [
                client.post("/embeddings", body={"model": "surgvl-embed", **body}, cast_to=object) for body in bodies
            ]
            return list(await asyncio.gather(*asked))

    got = np.array([reply["data"][0]["embedding"] for reply in asyncio.run(ask())])
    assert np.abs(got[0::2] - server.clips(clips)).max() < 1e-4
    assert np.abs(got[1::2] - server.texts(texts)).max() < 1e-4


def test_what_has_no_vector_is_refused_and_the_server_lives(server: Server) -> None:
    clip, wide = made_clips(1)[0], made_clips(1, 2, 8, 12)[0]
    torn = message(clip)
    torn[0]["content"][0]["video_url"]["url"] += message(wide)[0]["content"][0]["video_url"]["url"].partition(",")[1:][
        1
    ]
    assert server.refused({"messages": message(clip, text="hello")}) == (
        400,
        "a clip and a text in one request: send two requests, each has its own vector",
    )
    for body in (
        {"messages": message(clip, clip)},
        {"messages": torn},
        {"messages": [{"role": "user", "content": ""}]},
        {"input": [[10**6]]},
        {"input": "cut the cystic duct " * MAX_TEXT_IDS},
        {"input": "x", "dimensions": 8},
    ):
        status, said = server.refused(body)
        assert status == 400, said
    with server.client as client:
        long = "cut the cystic duct " * MAX_TEXT_IDS
        cut = {"model": "surgvl-embed", "input": [long, "alive"], "extra_body": {"truncate_prompt_tokens": -1}}
        got = np.array([row.embedding for row in client.embeddings.create(**cut).data], np.float32)
    assert np.abs(got - server.texts([long, "alive"])).max() < 1e-4
