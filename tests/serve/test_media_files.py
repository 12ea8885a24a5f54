"""Files that a request names: those of the media folder are taken, and no other is touched."""

import os
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'surgvl[serve]'")

from surgvl.serve.media_check import MediaRules, check_media  # noqa: E402
from tests.helpers.made_media import picture, refused, shows  # noqa: E402


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret.png").write_bytes(picture())
    inside = tmp_path / "media"
    (inside / "deep").mkdir(parents=True)
    for name in ("a.png", "a b%20#?;ü.png", "deep/b.png"):
        (inside / name).write_bytes(picture())
    (inside / "text.mp4").write_text("no video")
    (inside / "out.png").symlink_to(tmp_path / "secret.png")
    (inside / "up").symlink_to(tmp_path)
    (inside / "in.png").symlink_to(inside / "deep" / "b.png")
    os.mkfifo(inside / "pipe.png")
    (tmp_path / "media2").mkdir()
    (tmp_path / "media2" / "c.png").write_bytes(picture())
    return inside


@pytest.mark.parametrize("name", ["a.png", "a b%20#?;ü.png", "deep/b.png", "in.png"])
def test_files_of_the_media_folder_are_taken(folder: Path, name: str) -> None:
    url = (folder / name).as_uri()
    request = shows(url, "image_url")
    assert check_media(request, MediaRules(media_folder=folder)) == (48, [url])
    passed_on = request["messages"][0]["content"][0]["image_url"]["url"]
    # As vLLM reads it.
    assert Path(url2pathname(urlsplit(passed_on).path)) == (folder / name).resolve()


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "file:/etc/passwd",
        "file://etc/passwd",
        "file://evil.example{folder}/a.png",
        "file://{folder}/../secret.png",
        "file://{folder}/%2e%2e/secret.png",
        "file://{folder}/out.png",
        "file://{folder}/up/secret.png",
        "file://{folder}2/c.png",
        "file://{folder}/nothing.png",
        "file://{folder}/a.png%00.mp4",
        "file://{folder}/%ff",
        "file://{folder}/deep",
        "file://{folder}/pipe.png",
        "file://{folder}",
        "file:",
        "file:///proc/self/environ",
    ],
)
def test_no_other_file_is_touched(folder: Path, url: str) -> None:
    no = refused(shows(url.format(folder=folder), "image_url"), media_folder=folder)
    assert no.status == 400
    # Whether there is such a file is not said either.
    assert no.message == refused(shows("file:///no/such/file", "image_url"), media_folder=folder).message


def test_without_a_media_folder_no_file_is_read(folder: Path) -> None:
    assert "--media_folder" in refused(shows((folder / "a.png").as_uri(), "image_url")).message


def test_files_are_looked_at_too(folder: Path) -> None:
    assert "cannot be read" in refused(shows((folder / "text.mp4").as_uri()), media_folder=folder).message
