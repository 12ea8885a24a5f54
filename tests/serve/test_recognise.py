"""A trained readout behind the gateway: its answers are those of this process, and what does not fit is refused."""

import base64
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'surgvl[serve]'")
httpx = pytest.importorskip("httpx", reason="httpx is not installed: pip install 'surgvl[serve]'")

from surgvl.api import load_recogniser  # noqa: E402
from surgvl.core.errors import CheckpointError, ConfigError, DataError, ServerError  # noqa: E402
from surgvl.core.files import write_json  # noqa: E402
from surgvl.models.vit import VideoViT  # noqa: E402
from surgvl.models.vit_config import ViTConfig  # noqa: E402
from surgvl.probe.labels import Head  # noqa: E402
from surgvl.probe.linear import Linear  # noqa: E402
from surgvl.probe.recogniser import Recogniser, save_recogniser  # noqa: E402
from surgvl.probe.recognition import Recognition  # noqa: E402
from surgvl.serve.gateway import Gateway  # noqa: E402
from surgvl.serve.media_check import MediaRules  # noqa: E402
from surgvl.serve.recognise import PATH, Recognise  # noqa: E402
from surgvl.video.clip import Preprocess  # noqa: E402
from surgvl.video.writer import write  # noqa: E402
from tests.helpers.fake_engine import served  # noqa: E402
from tests.helpers.gateway_stand import refusal  # noqa: E402

SPANS, NUMBERS = ("times_s", "starts_s", "ends_s"), ("probabilities", "values")
HEADS = [
    Head("phase", "one", ("a", "b", "c")),
    Head("tool", "many", ("hook", "clipper")),
    Head("skill", "number", ("skill",), 20.0, 4.0),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 6 s, and an untrained recogniser."""
    folder = tmp_path_factory.mktemp("recognise")
    rng = np.random.default_rng(0)
    write(folder / "video.mp4", rng.integers(0, 256, (30, 32, 32, 3), np.uint8), 5.0)
    torch.manual_seed(0)
    encoder = VideoViT(ViTConfig(size_px=16, num_frames=4, patch_px=8, tubelet=2, dim=32, depth=1, heads=2))
    readout = Linear(32, HEADS)
    for parameter in readout.parameters():
        torch.nn.init.normal_(parameter)
    preprocess = Preprocess(num_frames=4, fps=4.0, size_px=16)
    save_recogniser(Recogniser(encoder, readout), folder / "run" / "model", preprocess)
    return folder


@pytest.fixture(scope="module")
def client(made: Path) -> Iterator[Any]:
    readout = Recognise(Recognition.load(made / "run"))
    rules, about = MediaRules(max_video_s=20, media_folder=made), {"version": "1", "readout": readout.about()}
    with (
        served(Gateway({}, rules, 1.0, "key", about, readout=readout).app) as url,
        httpx.Client(base_url=url, headers={"Authorization": "Bearer key"}, timeout=60) as client,
    ):
        yield client


def as_data(path: Path) -> str:
    return f"data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode()}"


@pytest.mark.slow
@pytest.mark.parametrize("stride_s", [None, 2.0])
def test_a_posted_video_gets_what_the_model_says_of_the_file(made: Path, client: Any, stride_s: float | None) -> None:
    body: dict[str, Any] = {} if stride_s is None else {"stride_s": stride_s}
    answer = client.post(PATH, json={"video_url": {"url": as_data(made / "video.mp4")}, **body})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    logits, starts, ends = Recognition.load(made / "run").predict(made / "video.mp4", stride_s)
    assert (found["starts_s"], found["ends_s"]) == (starts.tolist(), ends.tolist())
    assert len(starts) == (6 if stride_s is None else 3)
    assert found["times_s"] == ((starts + ends) / 2).tolist()
    phase = np.exp(logits["phase"]) / np.exp(logits["phase"]).sum(1, keepdims=True)
    np.testing.assert_allclose(found["heads"]["phase"]["probabilities"], phase, atol=1e-5)
    assert found["heads"]["phase"]["classes"] == ["a", "b", "c"]
    np.testing.assert_allclose(found["heads"]["tool"]["probabilities"], 1 / (1 + np.exp(-logits["tool"])), atol=1e-5)
    assert not found["heads"]["tool"]["exclusive"]
    np.testing.assert_allclose(found["heads"]["skill"]["values"], 20 + 4 * logits["skill"][:, 0], rtol=1e-5)
    # A file of the media folder is read where it lies.
    again = client.post(PATH, json={"video_url": (made / "video.mp4").as_uri(), **body})
    assert again.json() == found


@pytest.mark.slow
@pytest.mark.parametrize("stride_s", [None, 2.0])
def test_the_client_reports_as_the_model_in_this_process_does(made: Path, client: Any, stride_s: float | None) -> None:
    pytest.importorskip("openai", reason="openai is not installed: pip install 'surgvl[client]'")
    url, video = str(client.base_url), made / "video.mp4"
    here, there = load_recogniser(made / "run"), load_recogniser(made / "run", server=url, api_key="key")
    found, wanted = there.report(video, stride_s), here.report(video, stride_s)
    assert list(found) == list(wanted)
    assert {name: found[name] for name in SPANS} == {name: wanted[name] for name in SPANS}
    assert found["heads"].keys() == wanted["heads"].keys() == {"phase", "tool", "skill"}
    for name, head in wanted["heads"].items():
        for fact in head:
            wanted_fact = pytest.approx(np.array(head[fact]), abs=1e-5) if fact in NUMBERS else head[fact]
            assert found["heads"][name][fact] == wanted_fact
    assert (there.preprocess, there.hash) == (here.preprocess, here.hash)
    assert there.server.recognise(str(video), stride_s) == found  # type: ignore[union-attr]


def test_what_the_client_refuses(made: Path, client: Any, tmp_path: Path) -> None:
    pytest.importorskip("openai", reason="openai is not installed: pip install 'surgvl[client]'")
    url = str(client.base_url)
    remote = load_recogniser(server=url, api_key="key")
    with pytest.raises(DataError, match="none.mp4 cannot be read .No such file or directory.: give a video file"):
        remote.report(tmp_path / "none.mp4")
    with pytest.raises(DataError, match="cannot be read .Is a directory.: give a video file"):
        remote.report(tmp_path)
    with pytest.raises(ServerError, match="says 400: stride_s must be a number of seconds >= 0.1, got 0.01"):
        remote.report(made / "video.mp4", 0.01)
    with pytest.raises(ServerError, match="says 401: .*set SURGVL_API_KEY"):
        load_recogniser(server=url, api_key="wrong")
    shutil.copytree(made / "run", tmp_path / "run")
    other = asdict(Preprocess(num_frames=4, fps=2.0, size_px=16))
    write_json(tmp_path / "run" / "model" / "preprocessor_config.json", other)
    with pytest.raises(CheckpointError, match="serves model .* and .* holds"):
        load_recogniser(tmp_path / "run", server=url, api_key="key")
    with pytest.raises(ConfigError, match="give a model, a run folder of `surgvl probe`, or the address of a server"):
        load_recogniser()
    with (
        served(Gateway({}, MediaRules(), about={"version": "1"}).app) as bare,
        pytest.raises(ServerError, match="serves nothing yet but no re"),
    ):
        load_recogniser(server=bare)


def test_what_is_served_is_said(client: Any) -> None:
    about = client.get("/surgvl/about").json()["readout"]
    assert about["heads"]["phase"] == {"kind": "one", "classes": ["a", "b", "c"]}
    assert [each["id"] for each in client.get("/v1/models").json()["data"]] == ["surgvl-readout"]
    assert "only surgvl-readout" in refusal(client.post("/v1/embeddings", json={"input": "a"}), 404)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 400, "video_url must be a video file"),
        ({"video_url": 3}, 400, "video_url has no address"),
        ({"video_url": "data:video/mp4;base64,AAAA"}, 400, "the video cannot be read"),
        ({"video_url": "http://127.0.0.1/video.mp4"}, 400, "nothing is fetched"),
        ({"video_url": "VIDEO", "stride_s": 0}, 400, "stride_s must be a number of seconds >= 0.1, got 0"),
        ({"video_url": "VIDEO", "threshold": 1}, 400, "threshold is not a field of /surgvl/recognise"),
        ({"video_url": "VIDEO", "model": "surgvl-chat"}, 404, "the model must be surgvl-readout"),
    ],
)
def test_what_does_not_fit_is_refused(made: Path, client: Any, body: dict[str, Any], status: int, words: str) -> None:
    given = {name: as_data(made / "video.mp4") if value == "VIDEO" else value for name, value in body.items()}
    assert words in refusal(client.post(PATH, json=given), status)


def test_the_limits_and_the_key_hold(made: Path, client: Any, tmp_path: Path) -> None:
    body = {"video_url": as_data(made / "video.mp4")}
    refused = httpx.post(client.base_url.join(PATH), json=body)
    assert "Authorization: Bearer" in refusal(refused, 401)
    write(tmp_path / "long.mp4", np.zeros((30, 16, 16, 3), np.uint8), 1.0)
    assert "longer than 20 s" in refusal(client.post(PATH, json={"video_url": as_data(tmp_path / "long.mp4")}), 413)
    assert "larger than 1 MB" in refusal(client.post(PATH, json={"video_url": "data:," + "A" * 1_100_000}), 413)


def test_without_a_readout_it_says_how_to_start_one() -> None:
    with served(Gateway({}, MediaRules()).app) as url:
        assert "surgvl serve readout" in refusal(httpx.post(f"{url}{PATH}", json={}), 404)
