"""What the page reads and serves: facts of a run, videos by id, uploads, routes."""

import html
import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from surgvl import video
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.results import Result
from surgvl.data.manifest import Manifest, VideoRow
from surgvl.demo import routes, run_info, video_catalog, views
from surgvl.demo.latest_request import LatestRequest
from surgvl.demo.schemas import Download
from surgvl.demo.video_catalog import VideoCatalog

# ---- facts


def test_facts_of_absent_or_foreign_files_are_left_out(tmp_path: Path) -> None:
    assert run_info.read_scores(tmp_path / "result.json") == ([], [])
    (tmp_path / "result.json").write_text("[1, 2]")
    assert run_info.read_scores(tmp_path / "result.json") == ([], [])
    (tmp_path / "result.json").write_text(json.dumps({"trained": [{"foreign": 1}], "control": "none"}))
    assert run_info.read_scores(tmp_path / "result.json") == ([], [])
    (tmp_path / "metrics.jsonl").write_text("not json\n")
    (tmp_path / "config.yaml").write_text("run:\n  steps: 7\n")
    assert run_info.num_steps(tmp_path) == 7
    (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n{"step": 19}\n')
    assert run_info.num_steps(tmp_path) == 20
    assert run_info.num_parameters(tmp_path / "model.safetensors") == 0


def test_undefined_scores_come_back_as_nan(tmp_path: Path) -> None:
    whole = Result(
        task="phase", metric="accuracy", value=0.5, low=0.4, high=0.6, num_videos=8, num_clips=9,
        baselines={}, protocol="",
    )  # fmt: skip
    row = vars(whole) | {"low": None, "high": None, "sd_videos": None, "baselines": {"random": None}}
    (tmp_path / "result.json").write_text(json.dumps({"trained": [row], "control": []}))
    (found,), _ = run_info.read_scores(tmp_path / "result.json")
    assert found.value == 0.5
    assert math.isnan(found.low)
    assert math.isnan(found.sd_videos)
    assert math.isnan(found.baselines["random"])


# ---- videos by id


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Two seconds of moving grey, 64 x 48 px."""
    path = tmp_path / "clip.mp4"
    video.write(path, (np.full((48, 64, 3), 40 + 10 * at, np.uint8) for at in range(20)), fps=10)
    return path


@pytest.fixture
def catalog(clip: Path) -> VideoCatalog:
    """A catalog with one run video called `one`."""
    return VideoCatalog(Manifest([VideoRow(video_id="one", path=str(clip), source="s", fps=10, duration_s=2.0)]))


def test_test_videos_come_first(clip: Path) -> None:
    rows = [
        VideoRow(video_id=split, path=f"{split}.mp4", source="s", fps=10, duration_s=2.0, split=split)
        for split in ("train", "val", "test")
    ]
    rows.append(VideoRow(video_id="labels", path="", source="s", fps=10, duration_s=2.0, split="test"))
    assert [each.video_id for each in VideoCatalog(Manifest(rows)).videos] == ["test", "val", "train"]
    with pytest.raises(ConfigError, match="no video of this run has a file"):
        VideoCatalog(Manifest(rows[3:]))


def test_an_upload_gets_a_random_id(catalog: VideoCatalog, clip: Path, tmp_path: Path) -> None:
    found = catalog.add_upload(clip, "../../my film <1>.mp4", tmp_path)
    assert found.title == "my film _1_.mp4"
    assert re.fullmatch(r"upload-[\w-]{12}", found.video_id)
    assert catalog.get(found.video_id) == found
    assert found.duration_s == pytest.approx(2.0)
    assert catalog.add_upload(clip, "a.mp4", tmp_path).video_id != found.video_id


def test_the_earliest_upload_makes_room(
    catalog: VideoCatalog, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_catalog, "NUM_UPLOADS", 1)
    first, second = (catalog.add_upload(clip, "a.mp4", tmp_path) for _ in range(2))
    assert catalog.get(second.video_id)
    with pytest.raises(DataError, match="upload it again"):
        catalog.get(first.video_id)


def test_uploads_that_are_not_videos_are_refused_by_their_own_name(catalog: VideoCatalog, tmp_path: Path) -> None:
    text = tmp_path / "x8f3" / "notes.mp4"
    text.parent.mkdir()
    text.write_text("not a video at all\n" * 50)
    with pytest.raises(DataError, match=r"^notes\.mp4") as caught:
        catalog.add_upload(text, "notes.mp4", tmp_path)
    assert str(tmp_path) not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_uploads_are_limited_in_size_and_length(
    catalog: VideoCatalog, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_catalog, "MAX_UPLOAD_S", 1.0)
    with pytest.raises(DataError, match=r"a\.mp4 is 0 minutes long and the limit is 0 minutes"):
        catalog.add_upload(clip, "a.mp4", tmp_path)
    monkeypatch.setattr(video_catalog, "MAX_UPLOAD_BYTES", 1 << 20)
    big = tmp_path / "big.mp4"
    big.write_bytes(b"\0")
    os.truncate(big, (1 << 20) + 1)
    with pytest.raises(DataError, match=r"big\.mp4 is larger than 1 MB"):
        catalog.add_upload(big, "big.mp4", tmp_path)


def test_only_the_upload_folder_is_read(catalog: VideoCatalog, clip: Path, tmp_path: Path) -> None:
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    (uploads / "link.mp4").symlink_to(clip)
    for path in (clip, uploads / ".." / "clip.mp4", uploads / "link.mp4", uploads / "absent.mp4", uploads):
        with pytest.raises(DataError, match="did not come through the upload button"):
            catalog.add_upload(path, "a.mp4", uploads)


# ---- routes


@pytest.fixture
def client(catalog: VideoCatalog) -> Iterator[TestClient]:
    """A client of the routes alone."""
    with TestClient(Starlette(routes=routes.routes(catalog))) as found:
        yield found


def test_videos_are_served_by_id_in_ranges(client: TestClient, clip: Path) -> None:
    whole = client.get("/media/one")
    assert whole.content == clip.read_bytes()
    assert whole.headers["content-type"] == "video/mp4"
    assert whole.headers["x-content-type-options"] == "nosniff"
    part = client.get("/media/one", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, clip.read_bytes()[10:20])


@pytest.mark.parametrize("name", ["lap/video01", "a/b/c d", "case 1 é", "a#b", "a?b"])
def test_ids_with_slashes_and_signs_are_served(clip: Path, name: str) -> None:
    row = VideoRow(video_id=name, path=str(clip), source="s", fps=10, duration_s=2.0)
    found = VideoCatalog(Manifest([row]))
    sources = re.findall(r'(?:src|poster)="([^"]+)"', views.player(found.videos[0]))
    with TestClient(Starlette(routes=routes.routes(found))) as client:
        assert [client.get("/" + html.unescape(source)).status_code for source in sources] == [200, 200]


def test_a_browser_can_ask_whether_the_server_answers(client: TestClient) -> None:
    found = client.get("/alive")
    assert (found.status_code, found.content) == (204, b"")
    assert found.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "name",
    ["two", "..%2Fclip.mp4", "%2Fetc%2Fpasswd", "file:%2F%2F%2Fetc%2Fpasswd", "http:%2F%2F127.0.0.1%2F", "one%00"],
)
@pytest.mark.parametrize("route", ["media", "frame"])
def test_nothing_else_is_served(client: TestClient, route: str, name: str) -> None:
    found = client.get(f"/{route}/{name}")
    assert found.status_code == 404
    assert len(found.text.splitlines()) == 1


def test_frames_are_pictures_of_the_right_moment_and_shape(client: TestClient) -> None:
    import cv2

    for time_s, grey in ((0.0, 40), (1.05, 140), (99.0, 230), (-5.0, 40)):
        found = client.get(f"/frame/one?t={time_s}&h=96")
        picture = cv2.imdecode(np.frombuffer(found.content, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert picture.shape == (96, 128, 3)
        assert abs(float(picture.mean()) - grey) < 8
    assert client.get("/frame/one?t=soon").status_code == 404
    assert client.get("/frame/one?t=nan").status_code == 404
    huge = cv2.imdecode(np.frombuffer(client.get("/frame/one?h=99999").content, np.uint8), cv2.IMREAD_COLOR)
    assert huge is not None
    assert huge.shape[0] == routes.HEIGHTS_PX[1]


def test_a_timeline_is_saved_as_a_file_and_a_refusal_is_one_line() -> None:
    def timeline_file(video_id: str, phases: str, triplets: str, smooth_s: float, format: str) -> Download:
        if format == "doc":
            raise ConfigError("no such format")
        if video_id == "lost":
            raise DataError("/srv/run/lost.mp4 does not exist: check the path")
        return Download("größe 1.csv", "text/csv", f"{video_id},{phases},{triplets},{smooth_s}".encode())

    with TestClient(Starlette(routes=[routes.export_route(timeline_file)])) as client:
        found = client.get("/export/lap/a%20b?format=csv&phases=p&triplets=t&smooth=5")
        assert found.text == "lap/a b,p,t,5.0"
        assert found.headers["content-disposition"] == "attachment; filename*=UTF-8''gr%C3%B6%C3%9Fe%201.csv"
        assert found.headers["x-content-type-options"] == "nosniff"
        assert found.headers["content-type"].startswith("text/csv")
        for address, said in (
            ("/export/a?format=doc", "no such format"),
            ("/export/a?format=csv&smooth=soon", "smooth must be a number"),
            ("/export/lost?format=csv", "this recording cannot be read at this time"),
        ):
            refused = client.get(address)
            assert (refused.status_code, refused.text) == (404, said)


# ---- requests


def test_only_the_latest_request_may_write() -> None:
    requests = LatestRequest()
    first = requests.begin()
    assert first()
    second = requests.begin()
    assert (first(), second()) == (False, True)
