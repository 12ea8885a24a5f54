"""Archives of unknown origin: what is in them goes into their folder or nowhere."""

import stat
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from surgvl.core.errors import DataError
from surgvl.models import unzip as module
from surgvl.models.unzip import unzip


def archive(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, body in members:
            opened.writestr(name, body)
    return path


def refused(file: Path) -> str:
    folder = file.parent / "in" / "folder"
    with pytest.raises(DataError) as raised:
        unzip(file, folder)
    assert "\n" not in str(raised.value)
    assert not folder.exists()
    written = [path for path in file.parent.rglob("*") if path.is_file() and path != file]
    assert written == []
    return str(raised.value)


def test_files_and_folders_come_out_as_they_went_in(tmp_path: Path) -> None:
    file = archive(tmp_path / "a.zip", ("Model.pth", b"weights" * 1000), ("text/vocab.txt", b"a\nb"), ("empty/", b""))
    found = unzip(file, tmp_path / "out")
    assert [path.relative_to(tmp_path / "out").as_posix() for path in found] == ["Model.pth", "text/vocab.txt"]
    assert found[0].read_bytes() == b"weights" * 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "out"]


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/evil", "C:/evil", "C:evil", "..\\evil", "a\\..\\..\\evil", ".."]
)
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    said = refused(archive(tmp_path / "a.zip", ("good", b"1"), (name, b"2")))
    assert "leads out of its folder" in said


def test_links_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    assert "not a plain file" in refused(archive(tmp_path / "a.zip", (link, b"/etc")))


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FREE_BYTES", 100_000)
    assert "no archive of weights" in refused(archive(tmp_path / "a.zip", ("zeros", bytes(10_000_000))))
    monkeypatch.setattr(module, "MAX_FILES", 3)
    assert "4 files" in refused(archive(tmp_path / "a.zip", *((f"{number}", b"") for number in range(4))))


def test_a_size_that_lies_does_not_help_a_bomb(tmp_path: Path) -> None:
    file = archive(tmp_path / "a.zip", ("zeros", bytes(1_000_000)))
    told = bytearray(file.read_bytes())
    # The uncompressed size in the central directory (APPNOTE 4.3.12) and in the local header (4.3.7).
    struct.pack_into("<I", told, told.rindex(b"PK\x01\x02") + 24, 10)
    struct.pack_into("<I", told, told.index(b"PK\x03\x04") + 22, 10)
    file.write_bytes(told)
    assert "cannot be unpacked" in refused(file)


@pytest.mark.parametrize("body", [b"", b"<html>no zip</html>", b"PK\x03\x04 and then nothing"])
def test_what_is_no_archive_is_refused(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(body)
    assert "cannot be unpacked" in refused(tmp_path / "a.zip")


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    file = archive(tmp_path / "a.zip", ("a", bytes(range(256)) * 100))
    told = bytearray(file.read_bytes())
    told[60] ^= 255
    file.write_bytes(told)
    assert "cannot be unpacked" in refused(file)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    assert "twice" in refused(archive(tmp_path / "a.zip", ("a", b"1"), ("a", b"2")))
    assert "twice" in refused(archive(tmp_path / "a.zip", ("a", b"1"), ("a/b", b"2")))


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    file = archive(tmp_path / "a.zip", ("a", b"1"))
    told = bytearray(file.read_bytes())
    told[told.rindex(b"PK\x01\x02") + 8] |= 1
    file.write_bytes(told)
    assert "encrypted" in refused(file)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_is_told_whatever_compresses_the_data(tmp_path: Path, method: int) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", method) as made:
        made.writestr("weights.bin", np.random.default_rng(0).bytes(20_000))
    data = bytearray(path.read_bytes())
    middle = slice(len(data) // 2, len(data) // 2 + 40)
    data[middle] = bytes(each ^ 0xA5 for each in data[middle])
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"a\.zip cannot be unpacked .*: fetch it again"):
        unzip(path, tmp_path / "out")
    assert [each.name for each in tmp_path.iterdir()] == ["a.zip"]
