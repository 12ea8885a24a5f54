"""AVI files as XviD and capture programs write them: placeholders, packed and dropped frames are not damage."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from surgvl import video
from surgvl.core.errors import DataError
from surgvl.video.avi import avi_chunks
from tests.helpers.numbered_videos import EVEN, encode, number_in

START = b"\0\0\1\xb6"
# ISO/IEC 14496-2, 6.2.5: start code, "predicted", no whole second, a marker, five bits of time, a marker, not coded.
NOT_CODED = START + bytes([0b01_0_1_0000, 0b0_1_0_0_1111])
LAG = b"\x7f"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """250 numbered pictures with up to two B-frames in a row."""
    path = tmp_path_factory.mktemp("xvid") / "source.avi"
    encode(path, EVEN, codec="mpeg4", options={"bf": "2"})
    return path


def packets(path: Path) -> list[tuple[bytes, bool]]:
    with av.open(str(path)) as container:
        return [(bytes(each), each.is_keyframe) for each in container.demux(video=0) if each.size]


def rewrite(source: Path, path: Path, chunks: Sequence[tuple[bytes, bool]]) -> Path:
    with av.open(str(source)) as template, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(template.streams.video[0])
        for number, (content, is_keyframe) in enumerate(chunks):
            packet = av.Packet(content)
            packet.pts = packet.dts = number
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 25), stream, is_keyframe
            container.mux(packet)
    return path


def kind(content: bytes) -> str:
    """Letter of the first picture in a chunk."""
    return "IPBS"[content[content.index(START) + 4] >> 6]


def packed(chunks: Sequence[tuple[bytes, bool]]) -> list[tuple[bytes, bool]]:
    """As DivX packs them: a B-frame in the chunk of the picture before, and what is not coded in its place."""
    said = [(content.replace(b"Lavc", b"DivX503b1393p\0\0\1\xb2Lavc"), is_key) for content, is_key in chunks]
    out: list[tuple[bytes, bool]] = []
    for number, (content, is_keyframe) in enumerate(said):
        before, after = kind(said[number - 1][0]) if number else "", [kind(each) for each, _ in said[number + 1 :][:1]]
        if kind(content) != "B":
            joined = content + said[number + 1][0] if after == ["B"] else content
            out.append((joined, is_keyframe))
        elif before == "B":
            out += [(content, False), (NOT_CODED, False)]
        elif after != ["B"]:
            out.append((NOT_CODED, False))
    return out


def seen(path: Path) -> list[int]:
    return [number_in(image) for _, image in video.stream(path, 25, 48)]


@pytest.mark.slow
@pytest.mark.parametrize("place", [0, 1, 100])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("stand_in", [LAG, b"\0", NOT_CODED], ids=["lag", "nul", "not coded"])
def test_what_stands_in_for_a_picture_is_no_damage(
    stand_in: bytes, count: int, place: int, source: Path, tmp_path: Path
) -> None:
    chunks = packets(source)
    path = rewrite(source, tmp_path / "x.avi", [*chunks[:place], *[(stand_in, False)] * count, *chunks[place:]])
    found = seen(path)
    assert list(dict.fromkeys(found)) == EVEN
    assert len(found) >= len(EVEN)
    for start_s in (0.0, 3.0, 4.0, 9.0):
        video.read(path, start_s, start_s + 0.5, 8, 48)
    assert video.probe(path).width_px == 64


@pytest.mark.slow
def test_packed_pictures_are_all_there(source: Path, tmp_path: Path) -> None:
    path = rewrite(source, tmp_path / "packed.avi", packed(packets(source)))
    with av.open(str(path)) as container:
        pictures = [np.asarray(each.to_ndarray(format="rgb24"), np.uint8) for each in container.decode(video=0)]
    assert [number_in(each) for each in pictures] == EVEN
    assert list(dict.fromkeys(seen(path))) == EVEN


def test_a_damaged_picture_is_still_damage(source: Path, tmp_path: Path) -> None:
    chunks = packets(source)
    broken = (b"\0\0\1\x20" + bytes(9) + START + b"\x10" + bytes(3), False)  # with a header that nothing can have
    path = rewrite(source, tmp_path / "x.avi", [*chunks[:100], *[broken] * 3, *chunks[100:]])
    with pytest.raises(DataError, match=r"x\.avi is truncated or damaged"):
        seen(path)


def with_dropped(source: Path, path: Path, count: int) -> Path:
    """As capture programs write frames that they dropped at the end: empty chunks, counted in the header."""
    content = bytearray(source.read_bytes())
    movi = content.index(b"movi")
    (length,) = struct.unpack_from("<I", content, movi - 4)
    end = movi + length
    at = content.index(b"idx1", end)
    (index_length,) = struct.unpack_from("<I", content, at + 4)
    index = content[at + 8 : at + 8 + index_length]
    place, size = struct.unpack_from("<II", index, index_length - 8)
    place += 8 + size + size % 2
    empty = b"00dc" + struct.pack("<I", 0)
    for number in range(count):
        index += b"00dc" + struct.pack("<III", 0, place + 8 * number, 0)
    new = content[:end] + empty * count + b"idx1" + struct.pack("<I", len(index)) + index
    struct.pack_into("<I", new, movi - 4, length + 8 * count)
    struct.pack_into("<I", new, 4, len(new) - 8)
    for field in (new.index(b"avih") + 8 + 16, new.index(b"strh") + 8 + 32):
        (frames,) = struct.unpack_from("<I", new, field)
        struct.pack_into("<I", new, field, frames + count)
    path.write_bytes(new)
    return path


def test_dropped_frames_at_the_end_hold_the_last_picture(source: Path, tmp_path: Path) -> None:
    path = with_dropped(source, tmp_path / "dropped.avi", 60)
    assert avi_chunks(path, 0) == 310
    assert seen(path) == [*EVEN, *[249] * 60]
    assert {number_in(image) for image in video.read(path, 11.0, 12.0, 25, 48)} == {249}
    assert video.probe(path).duration_s == pytest.approx(12.4)
    with pytest.raises(DataError, match="is past the end"):
        video.read(path, 12.5, 13.0, 25, 48)


def test_a_header_that_promises_more_than_the_index_has_is_told(source: Path, tmp_path: Path) -> None:
    path = with_dropped(source, tmp_path / "dropped.avi", 60)
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, content.index(b"strh") + 8 + 32, 500)
    path.write_bytes(content)
    with pytest.raises(DataError, match="is truncated at"):
        seen(path)
    path.write_bytes(content[: len(content) * 6 // 10])
    assert avi_chunks(path, 0) == 0
