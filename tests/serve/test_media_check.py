"""What a request may show: every address is checked by its content, and only offered files are read."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'surgvl[serve]'")

from surgvl.serve.media_check import MAX_PIXELS, MediaRules, check_media  # noqa: E402
from tests.helpers.made_media import data, frames, picture, refused, shows, video  # noqa: E402

# ---- taken


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
def test_images_are_taken(kind: str) -> None:
    request = shows(data(picture(kind=kind), f"image/{kind.lower()}"), "image_url")
    before = str(request)
    assert check_media(request, MediaRules()) == (48, [])
    assert str(request) == before


@pytest.mark.parametrize("kind", ["mp4", "avi", "matroska", "mpegts"])
def test_videos_are_taken_and_counted_in_pixels(kind: str) -> None:
    request = shows(data(video(2.0, kind), "video/mp4"))
    assert check_media({**request}, MediaRules()) == (64 * 48 * 10, [])
    assert check_media({**request}, MediaRules(num_frames=4)) == (64 * 48 * 4, [])
    assert check_media({**request, "media_io_kwargs": {"video": {"num_frames": 3}}}, MediaRules()) == (64 * 48 * 3, [])
    for wish in ({"num_frames": -1}, {"num_frames": 10**9}, {"fps": 0.1}, {"fps": -1}):
        asked = {**request, "media_io_kwargs": {"video": wish}}
        assert check_media(asked, MediaRules(num_frames=1)) == (64 * 48 * 10, [])
        assert asked["media_io_kwargs"] == {"video": wish}


def test_lists_of_frames_are_taken() -> None:
    assert check_media(shows(frames(picture(), picture(kind="JPEG"))), MediaRules()) == (96, [])


def test_the_engine_is_told_how_many_frames_it_shall_decode() -> None:
    """Otherwise vLLM drops what a list has beyond 32, without a word."""
    request = shows(frames(*[picture()] * 40))
    check_media(request, MediaRules(num_frames=8))
    assert request["media_io_kwargs"] == {"video": {"num_frames": 40}}
    request = {**shows(data(video(2.0), "video/mp4")), "media_io_kwargs": None}
    check_media(request, MediaRules(num_frames=8))
    assert request["media_io_kwargs"] == {"video": {"num_frames": 8}}
    image, backend, many = (
        {"image": {"image_mode": None}},
        {"video": {"backend": "x"}},
        {"video": {"num_frames": "many"}},
    )
    for wrong in ([1], "x", {"video": 3}, image, backend, many, {"video": {"num_frames": 1.5}}):
        for request in (shows(frames(picture())), {"messages": []}):
            assert refused({**request, "media_io_kwargs": wrong}).status == 400
    assert refused({"mm_processor_kwargs": {"size": 9}}).status == 400
    request = shows(data(picture(), "image/png"), "image_url")
    check_media(request, MediaRules())
    assert "media_io_kwargs" not in request


def test_a_request_without_media_is_left_alone() -> None:
    tools = [{"function": {"parameters": {"properties": {"image_url": {"type": "string"}, "x_embeds": {}}}}}]
    request = {"messages": [{"role": "user", "content": "see http://x and file:///y"}], "tools": tools, "input": ["a"]}
    assert check_media(request, MediaRules()) == (0, [])


# ---- refused


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/a.mp4",
        "HTTPS://example.org/a.mp4",
        "ftp://example.org/a",
        "//example.org/a",
        "/etc/passwd",
        "a.mp4",
        " data:image/png;base64,AAAA",
        "s3://bucket/a",
        "",
    ],
)
def test_nothing_is_fetched(url: str) -> None:
    for kind in ("video_url", "image_url"):
        no = refused(shows(url, kind), media_folder=Path("/"))
        assert no.status == 400
        assert "nothing is fetched" in no.message


@pytest.mark.parametrize(
    "where",
    [
        lambda url: {"messages": [{"role": "user", "content": [{"image_url": url}]}]},
        lambda url: {"messages": [{"role": "user", "content": [{"type": "input_image", "image_url": url}]}]},
        lambda url: {"messages": [{"role": "user", "content": [{"uuid": "1", "video_url": {"url": url}}]}]},
        lambda url: {"messages": [{"content": [{"type": "text", "text": "a", "video_url": {"url": url}}]}]},
        lambda url: {"messages": [[{"role": "user", "content": [{"type": "video_url", "video_url": {"url": url}}]}]]},
        lambda url: {"input": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]},
        lambda url: {"messages": [{"content": [{"type": "video_url", "video_url": {"url": "data:x", "more": url}}]}]},
        lambda url: {"messages": [], "documents": [{"video_url": url}]},
    ],
)
def test_addresses_are_found_wherever_they_stand(where: Any) -> None:
    assert refused(where("http://127.0.0.1/secret")).status == 400


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "audio_url", "audio_url": {"url": "data:audio/wav;base64,AAAA"}},
        {"type": "image_embeds", "image_embeds": "AAAA"},
        {"video_embeds": "AAAA"},
        {"type": "prompt_embeds", "data": "AAAA"},
        {"type": "image_pil", "image_pil": "x"},
        {"type": "image_url", "image_url": {"url": None}},
        {"type": "image_url", "image_url": 3},
        {"type": "video_url", "video_url": ["data:video/mp4;base64,AAAA"]},
    ],
)
def test_other_kinds_of_media_are_refused(part: dict[str, Any]) -> None:
    assert refused({"messages": [{"role": "user", "content": [part]}]}).status == 400


def test_embeddings_are_taken_on_trust_only() -> None:
    request = {"messages": [{"content": [{"type": "image_embeds", "image_embeds": "AAAA"}]}]}
    assert "--trust_embeds" in refused(request).message
    assert "--trust_embeds" in refused({"prompt_embeds": "AAAA"}).message
    assert check_media(request, MediaRules(trust_embeds=True)) == (0, [])


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("data:video/mp4;base64", "form data:"),
        ("data:video/mp4,abc", "form data:"),
        ("data:video/mp4;base64,ab*c", "not valid base64"),
        ("data:video/mp4;base64,QUJD\nREVG", "not valid base64"),
        ("data:video/mp4;base64,", "empty"),
        (data(b"This is a text with the name of a video.\n" * 50, "video/mp4"), "cannot be read"),
        (data(b"\x00" * 5000, "video/mp4"), "cannot be read"),
        (data(picture(), "video/mp4"), "cannot be read"),
        (data(b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n", "video/mp4"), "cannot be read"),
        (data(b"ffconcat version 1.0\nfile /etc/passwd\n", "video/mp4"), "cannot be read"),
        (frames(picture(), b"This is not a picture."), "frame 1 is not an image"),
        (frames(picture(), picture(9, 6)), "frame 1 has a different size"),
        (frames(picture(), b""), "frame 1 is empty"),
    ],
)
def test_what_is_no_video_is_refused(url: str, part: str) -> None:
    no = refused(shows(url))
    assert (no.status, part in no.message) == (400, True), no.message
    assert "/etc" not in no.message


def test_what_is_no_image_is_refused() -> None:
    for content in (b"text", video(1.0), b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'}", b"%!PS-Adobe-3.0 EPSF-3.0\n"):
        assert "not an image" in refused(shows(data(content, "image/png"), "image_url")).message


@pytest.mark.parametrize("kind", ["mp4", "avi", "mpegts"])
def test_a_video_that_is_too_long_is_refused(kind: str) -> None:
    url = data(video(4.0, kind), "video/mp4")
    assert check_media(shows(url), MediaRules(max_video_s=4.2))[0]
    no = refused(shows(url), max_video_s=3.0)
    assert (no.status, "longer than 3 s" in no.message) == (413, True)


def test_a_header_that_lies_about_the_length_does_not_help() -> None:
    content = bytearray(video(4.0))
    # The movie header: version and flags, two times, ticks a second, then the length in ticks (ISO 14496-12).
    at = content.index(b"mvhd") + 4
    ticks = int.from_bytes(content[at + 12 : at + 16], "big")
    content[at + 16 : at + 20] = ticks.to_bytes(4, "big")
    assert refused(shows(data(bytes(content), "video/mp4")), max_video_s=3.0).status == 413


def test_a_video_cut_short_is_refused() -> None:
    whole = video(2.0, "mpegts")
    assert refused(shows(data(whole[:300], "video/mp4"))).status == 400


@pytest.mark.slow
def test_a_picture_that_is_too_large_is_refused() -> None:
    small = bytearray(picture())
    small[16:24] = (20_000).to_bytes(4, "big") * 2
    small[29:33] = __import__("zlib").crc32(bytes(small[12:29])).to_bytes(4, "big")
    for url, kind in ((data(bytes(small), "image/png"), "image_url"), (frames(bytes(small)), "video_url")):
        assert refused(shows(url, kind)).status == 413
    wide = picture(8000, 4000)
    count = MAX_PIXELS // (8000 * 4000) + 1
    assert check_media(shows(frames(*[wide] * (count - 1))), MediaRules())[0] <= MAX_PIXELS
    assert "pixels: send fewer" in refused(shows(frames(*[wide] * count))).message
