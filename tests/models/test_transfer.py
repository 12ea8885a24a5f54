"""Fetching a file from a local server that cuts, changes, redirects and refuses."""

import hashlib
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from surgvl.core.errors import ConfigError, DataError, SurgVLError
from surgvl.core.files import write_json
from surgvl.models import transfer as module
from surgvl.models.transfer import Wanted, transfer
from tests.helpers.file_server import Page, Site, serving_files

BODY = random.Random(0).randbytes(3_000_000)
OTHER = random.Random(1).randbytes(3_000_000)
SHA256 = hashlib.sha256(BODY).hexdigest()


class Place(NamedTuple):
    site: Site
    folder: Path

    def wanted(self, sha256: str = "", path: str = "/a.bin", size: int | None = None) -> Wanted:
        return Wanted(url=self.site.url + path, target=self.folder / "a.bin", sha256=sha256, size=size)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(module, "WAIT_S", 0.0)
    with serving_files({"/a.bin": Page(BODY)}) as site:
        yield Place(site, tmp_path)


def one_line(place: Place, wanted: Wanted, kind: type[SurgVLError] = DataError) -> str:
    with pytest.raises(kind) as raised:
        transfer(wanted)
    assert "\n" not in str(raised.value)
    assert not (place.folder / "a.bin").exists()
    return str(raised.value)


@pytest.mark.parametrize("sha256", ["", SHA256])
def test_a_file_arrives_whole_and_leaves_nothing_else(place: Place, sha256: str) -> None:
    assert transfer(place.wanted(sha256, size=len(BODY))) == SHA256
    assert (place.folder / "a.bin").read_bytes() == BODY
    assert place.names() == ["a.bin"]


def test_a_cut_connection_is_resumed_where_it_was_cut(place: Place) -> None:
    place.site.pages["/a.bin"].cuts = [1_200_000, 700_000]
    assert transfer(place.wanted()) == SHA256
    assert (place.folder / "a.bin").read_bytes() == BODY
    first, second, third = place.site.ranges("/a.bin")
    assert first == ""
    # What the last packet held may be lost, but no more.
    assert 1_000_000 < int(second[6:-1]) <= 1_200_000
    assert int(second[6:-1]) < int(third[6:-1]) <= 1_900_000
    assert place.site.requests[1][1]["if-range"] == place.site.pages["/a.bin"].tag()


def test_another_process_goes_on_from_the_part_that_is_there(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.site.pages["/a.bin"].cuts = [1_200_000]
    monkeypatch.setattr(module, "TRIES", 1)
    assert "goes on where it stopped" in one_line(place, place.wanted())
    assert place.names() == ["a.bin.part", "a.bin.part.json"]
    assert transfer(place.wanted()) == SHA256
    assert place.names() == ["a.bin"]
    assert place.site.ranges("/a.bin")[-1].startswith("bytes=1")


def test_a_part_that_is_whole_only_needs_its_name(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "_checked", killed)
        with pytest.raises(KeyboardInterrupt):
            transfer(place.wanted())
    assert place.names() == ["a.bin.part", "a.bin.part.json"]
    assert transfer(place.wanted()) == SHA256
    assert place.site.ranges("/a.bin") == ["", f"bytes={len(BODY)}-"]
    assert place.names() == ["a.bin"]


def test_a_server_that_ignores_ranges_starts_over(place: Place) -> None:
    page = place.site.pages["/a.bin"]
    page.cuts, page.ranges = [1_200_000], False
    assert transfer(place.wanted()) == SHA256
    assert (place.folder / "a.bin").read_bytes() == BODY


@pytest.mark.parametrize("if_range", [True, False])
def test_parts_of_two_versions_are_never_joined(place: Place, if_range: bool) -> None:
    page = place.site.pages["/a.bin"]
    page.cuts, page.if_range = [1_200_000], if_range

    def change() -> None:
        if len(place.site.requests) == 2:
            page.body = OTHER

    page.before = change
    assert transfer(place.wanted()) == hashlib.sha256(OTHER).hexdigest()
    assert (place.folder / "a.bin").read_bytes() == OTHER


@pytest.mark.parametrize("etag", ['W/"1"', ""])
def test_without_a_strong_tag_a_part_is_only_kept_if_the_hash_is_known(place: Place, etag: str) -> None:
    page = place.site.pages["/a.bin"]
    page.headers = {"ETag": etag}
    page.cuts, page.if_range = [1_200_000], False
    assert transfer(place.wanted()) == SHA256
    assert place.site.ranges("/a.bin") == ["", ""]
    (place.folder / "a.bin").unlink()
    page.cuts = [1_200_000]
    assert transfer(place.wanted(SHA256)) == SHA256
    assert place.site.ranges("/a.bin")[-1].startswith("bytes=1")


@pytest.mark.slow
def test_a_part_that_does_not_fit_is_fetched_again_as_a_whole(place: Place) -> None:
    (place.folder / "a.bin.part").write_bytes(bytes(1000))
    url = f"{place.site.url}/a.bin"
    write_json(place.folder / "a.bin.part.json", {"url": url, "validator": "", "sha256": SHA256})
    assert transfer(place.wanted(SHA256)) == SHA256
    assert place.site.ranges("/a.bin") == ["bytes=1000-", ""]
    # Of another file, such as that of a later commit, nothing is asked for by its length.
    (place.folder / "a.bin").rename(place.folder / "a.bin.part")
    write_json(place.folder / "a.bin.part.json", {"url": "elsewhere", "validator": '"1"', "sha256": "0" * 64})
    assert transfer(place.wanted(SHA256)) == SHA256
    assert place.site.ranges("/a.bin")[-1] == ""


def test_a_wrong_hash_or_size_is_refused_and_deleted(place: Place) -> None:
    said = one_line(place, place.wanted("0" * 64))
    assert SHA256[:16] in said
    assert "0" * 16 in said
    assert place.names() == []
    assert "3,000,000 bytes, but 7 " in one_line(place, place.wanted(size=7))
    assert place.names() == []


def test_the_hash_that_the_hub_states_is_compared(place: Place) -> None:
    place.site.pages["/hub"] = Page(
        status=302, headers={"Location": "/a.bin", "X-Linked-Etag": f'"{hashlib.sha256(OTHER).hexdigest()}"'}
    )
    assert "by its server" in one_line(place, place.wanted(path="/hub"))
    assert "nothing was fetched" in one_line(place, place.wanted(SHA256, path="/hub"))
    place.site.pages["/hub"].headers["X-Linked-Etag"] = f'"{SHA256}"'
    assert transfer(place.wanted(path="/hub")) == SHA256


def test_a_redirect_loop_ends(place: Place) -> None:
    place.site.pages["/loop"] = Page(status=302, headers={"Location": "/loop"})
    assert "redirects more than 10 times" in one_line(place, place.wanted(path="/loop"))
    assert len(place.site.requests) == 11


def test_a_key_stays_with_its_host(place: Place, tmp_path: Path) -> None:
    with serving_files({"/b.bin": Page(BODY)}) as elsewhere:
        place.site.pages["/away"] = Page(status=302, headers={"Location": f"{elsewhere.url}/b.bin"})
        wanted = Wanted(
            url=f"{place.site.url}/away", target=tmp_path / "b.bin", headers={"Authorization": "Bearer secret"}
        )
        assert transfer(wanted) == SHA256
        assert place.site.requests[0][1]["authorization"] == "Bearer secret"
        assert "authorization" not in elsewhere.requests[0][1]


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (Page(status=401), "needs permission (401 Unauthorized): ask nicely"),
        (Page(status=403), "needs permission (403 Forbidden): ask nicely"),
        (Page(status=410), "is dead (410"),
        (Page(status=418), "418"),
        (Page(b"<html>", headers={"Content-Type": "text/html; charset=utf-8"}), "is a page, not a file"),
    ],
)
def test_answers_without_a_file_are_told_at_once(place: Place, page: Page, said: str) -> None:
    place.site.pages["/b.bin"] = page
    wanted = Wanted(url=f"{place.site.url}/b.bin", target=place.folder / "a.bin", refused="ask nicely")
    assert said in one_line(place, wanted)
    assert len(place.site.requests) == 1
    assert place.names() == []


def test_a_busy_server_is_asked_again_as_late_as_it_says(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    busy = Page(BODY, status=503, headers={"Retry-After": "7"})

    def recover() -> None:
        if len(place.site.requests) == 3:
            busy.status, busy.headers = 200, {}

    busy.before = recover
    place.site.pages["/a.bin"] = busy
    assert transfer(place.wanted()) == SHA256
    assert waited == [7.0, 7.0]


def test_nobody_there_ends_with_what_to_do(place: Place, tmp_path: Path) -> None:
    with serving_files({}) as gone:
        pass
    wanted = Wanted(url=f"{gone.url}/a.bin", target=tmp_path / "a.bin")
    assert "check the network" in one_line(place, wanted)


def test_the_space_is_checked_before_anything_is_asked_for(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    little = shutil.disk_usage(place.folder)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: little)
    said = one_line(place, place.wanted(size=len(BODY)), ConfigError)
    assert "0.00 GB free" in said
    assert "SURGVL_MODELS" in said
    assert place.site.requests == []
    # Where the size is only known from the answer, nothing is written.
    one_line(place, place.wanted(), ConfigError)
    assert place.names() == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux that is always full")
def test_a_disk_that_fills_up_is_told_and_the_part_is_kept(place: Place) -> None:
    (place.folder / "a.bin.part").symlink_to("/dev/full")
    said = one_line(place, place.wanted(), ConfigError)
    assert "No space left on device" in said
    assert "goes on from there" in said
    assert "a.bin.part" in place.names()
