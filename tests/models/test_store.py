"""The store: models fetched from a local hub or brought by hand, whole or not at all, with their licence and hashes."""

import errno
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from surgvl.cli import main as cli
from surgvl.core.errors import CheckpointError, ConfigError
from surgvl.models import convert_published, install, published, store, transfer
from surgvl.models.model_info import find_model, pretraining_video_ids, training_record
from surgvl.models.published import Published, registry
from tests.helpers.file_server import Page, Site, serving_files
from tests.helpers.in_fork import imports_none_of

COMMIT = "c0ffee"
FILES = {"config.json": b'{"model_type": "mine"}', "model.safetensors": bytes(range(256)) * 4096, "code.py": b"evil"}
ENTRY: dict[str, Any] = {
    "title": "Mine",
    "kind": "chat",
    "purpose": "a test",
    "licence": "CC BY-NC 4.0",
    "commercial": "no",
    "source": "https://example.org/mine",
    "files": [{"name": "*.safetensors", "hub": "acme/vlm"}, {"name": "*.json", "hub": "acme/vlm"}],
    "trained_on": [
        {"data_set": "Cholec80", "videos": ["video02", "video01"], "source": "a paper"},
        {"data_set": "CholecT50", "unknown": "no split is published", "source": "a card"},
    ],
}
SEEN = ["cholec80:video01", "cholec80:video02", "cholect50:*"]


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def listed(files: dict[str, bytes]) -> Page:
    """The answer of the hub's API, in which only large files have a SHA-256."""
    siblings = [
        {"rfilename": name, "size": len(body)} | ({"lfs": {"sha256": sha256(body)}} if len(body) > 1000 else {})
        for name, body in files.items()
    ]
    return Page(json.dumps({"sha": COMMIT, "siblings": siblings}).encode())


def hub(files: dict[str, bytes]) -> dict[str, Page]:
    pages = {f"/acme/vlm/resolve/{COMMIT}/{name}": Page(body) for name, body in files.items()}
    return {**pages, "/api/models/acme/vlm/revision/main": listed(files)}


class Place(NamedTuple):
    site: Site
    registry: Path
    models: Path

    def write(self, name: str = "mine", **changes: Any) -> None:
        path = self.registry / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**ENTRY, **changes}), encoding="utf-8")
        published._read.cache_clear()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(transfer, "WAIT_S", 0.0)
    monkeypatch.setattr(published, "REGISTRY", tmp_path / "registry")
    monkeypatch.setenv("SURGVL_MODELS", str(tmp_path / "models"))
    for name in ("HF_TOKEN", "HF_OIDC_RESOURCE", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with serving_files(hub(FILES)) as site:
        monkeypatch.setenv("HF_ENDPOINT", site.url)
        found = Place(site, tmp_path / "registry", tmp_path / "models")
        found.registry.mkdir()
        found.write()
        yield found


def run(words: str, capsys: pytest.CaptureFixture[str], status: int = 0) -> str:
    """What a command prints; where it must fail, its single line on standard error."""
    assert cli.main(words.split()) == status, capsys.readouterr().err
    out, err = capsys.readouterr()
    if status:
        lines = [line for line in err.splitlines() if not line.startswith(("model.safetensors: ", "listing.json: "))]
        assert len(lines) == 1
        return lines[0]
    return out


def left(place: Place) -> list[str]:
    """Files of the store outside of model folders and records."""
    return [path.name for path in place.models.rglob("*") if path.is_file() and ".downloads" in path.parts]


def test_a_model_is_fetched_whole_with_its_card(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    said = run("models fetch mine --accept_licence", capsys)
    folder = place.models / "mine"
    assert "licence CC BY-NC 4.0; commercial use not allowed; https://example.org/mine" in said
    assert f"mine is in {folder}" in said
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {name: whole[name] for name in ("config.json", "model.safetensors")} == {
        name: FILES[name] for name in ("config.json", "model.safetensors")
    }
    assert sorted(whole) == ["config.json", "model.safetensors", "model_card.json"]
    card = json.loads(whole["model_card.json"])
    assert card["licence"] == "CC BY-NC 4.0"
    assert card["accepted"].startswith("CC BY-NC 4.0, on 20")
    assert card["sha256"] == {name: sha256(FILES[name]) for name in ("config.json", "model.safetensors")}
    assert card["trained_on"] == ENTRY["trained_on"]
    assert training_record(folder) == {"pretraining_video_ids": SEEN}
    assert left(place) == []
    # A second time nothing is asked for, and no licence either.
    before = len(place.site.requests)
    run("models fetch mine", capsys)
    assert len(place.site.requests) == before


def test_nothing_is_fetched_before_the_licence_is_accepted(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "fetch", "mine"]) == 1
    out, err = capsys.readouterr()
    assert "commercial use not allowed" in out
    assert "--accept_licence" in err
    assert place.site.requests == []
    assert not place.models.exists()
    place.write(licence="MIT", commercial="yes")
    run("models fetch mine", capsys)
    assert json.loads((place.models / "mine" / "model_card.json").read_text())["accepted"] == ""


def test_a_gate_is_explained_and_a_token_opens_it(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    api = place.site.pages["/api/models/acme/vlm/revision/main"]
    api.status = 401
    said = run("models fetch mine --accept_licence", capsys, 1)
    for part in ("401", "https://huggingface.co/acme/vlm", "HF_TOKEN"):
        assert part in said
    api.status = 200
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    run("models fetch mine --accept_licence", capsys)
    assert {headers["authorization"] for _, headers in place.site.requests[1:]} == {"Bearer hf_secret"}


def test_a_file_that_is_not_the_published_one_is_refused(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.site.pages[f"/acme/vlm/resolve/{COMMIT}/model.safetensors"].body = b"x" * len(FILES["model.safetensors"])
    said = run("models fetch mine --accept_licence", capsys, 1)
    assert sha256(FILES["model.safetensors"])[:16] in said
    assert not (place.models / "mine").exists()
    assert store.stored(registry()["mine"]) is None


@pytest.mark.slow
def test_a_file_that_was_replaced_since_the_first_fetch_is_refused(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    run("models fetch mine --accept_licence", capsys)
    (place.models / "mine").rename(place.models / "other")
    place.site.pages.update(hub({**FILES, "config.json": b'{"model_type": "Mine"}'}))
    said = run("models fetch mine --accept_licence", capsys, 1)
    assert "config.json" in said
    assert "first fetch" in said
    assert store.stored(registry()["mine"]) is None


@pytest.mark.slow
def test_what_was_interrupted_goes_on(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = f"/acme/vlm/resolve/{COMMIT}/model.safetensors"
    place.site.pages[weights].cuts = [700_000]
    with monkeypatch.context() as patch:
        patch.setattr(transfer, "TRIES", 1)
        run("models fetch mine --accept_licence", capsys, 1)
    assert [name for name in left(place) if name.endswith(".part")] == ["model.safetensors.part"]
    run("models fetch mine --accept_licence", capsys)
    assert place.site.ranges(weights)[-1].startswith("bytes=")
    assert left(place) == []

    def full(*rest: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    # A folder that could not be finished, because the disk was full, needs its files only once.
    (place.models / "mine").rename(place.models / "other")
    with monkeypatch.context() as patch:
        patch.setattr(install, "_install", full)
        run("models fetch mine --accept_licence", capsys, 1)
    asked = len(place.site.ranges(weights))
    run("models fetch mine --accept_licence", capsys)
    assert len(place.site.ranges(weights)) == asked


def test_a_full_disk_is_told_before_anything_is_fetched(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    little = shutil.disk_usage(place.registry)._replace(free=transfer.SPARE + len(FILES["model.safetensors"]))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: little)
    assert "SURGVL_MODELS" in run("models fetch mine --accept_licence", capsys, 1)
    assert [path for path, _ in place.site.requests] == ["/api/models/acme/vlm/revision/main"]


def _killed_when_cut(argv: list[str], registry: Path) -> None:
    published.REGISTRY = registry
    # Asleep between two tries is as good a moment as any.
    vars(time)["sleep"] = lambda seconds: os.kill(os.getpid(), signal.SIGKILL)
    cli.main(argv)


@pytest.mark.slow
def test_a_killed_process_leaves_a_part_that_the_next_one_goes_on_with(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = f"/acme/vlm/resolve/{COMMIT}/model.safetensors"
    place.site.pages[weights].cuts = [700_000]
    words = "models fetch mine --accept_licence"
    process = multiprocessing.get_context("fork").Process(target=_killed_when_cut, args=(words.split(), place.registry))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert "model.safetensors.part" in left(place)
    assert "model.safetensors" not in left(place)
    run(words, capsys)
    first, second = place.site.ranges(weights)
    assert first == ""
    assert 600_000 < int(second[6:-1]) <= 700_000
    assert (place.models / "mine" / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def _fetch(argv: list[str], registry: Path, barrier: Any) -> None:
    published.REGISTRY = registry
    barrier.wait()
    sys.exit(cli.main(argv))


@pytest.mark.slow
def test_two_processes_at_once_fetch_one_copy(place: Place) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    words = ["models", "fetch", "mine", "--accept_licence"]
    both = [context.Process(target=_fetch, args=(words, place.registry, barrier)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert (place.models / "mine" / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    asked = [path for path, _ in place.site.requests]
    assert len(asked) == len(set(asked)) == 3


def test_files_that_one_has_make_the_same_folder(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "brought"
    mine.mkdir()
    (mine / "model.safetensors").write_bytes(FILES["model.safetensors"])
    assert "--accept_licence" in run(f"models add mine {mine}", capsys, 1).replace("\n", " ")
    assert "lacks" not in run(f"models add mine {mine} --accept_licence", capsys)
    (mine / "config.json").write_bytes(FILES["config.json"])
    run(f"models add mine {mine} --accept_licence", capsys)
    folder = place.models / "mine"
    assert (folder / "model.safetensors").resolve() == mine / "model.safetensors"
    assert (folder / "config.json").read_bytes() == FILES["config.json"]
    assert place.site.requests == []
    # Hashes count for what is brought, too.
    (mine / "model.safetensors").write_bytes(b"other")
    assert "it is another file, or damaged" in run(f"models add mine {mine} --accept_licence", capsys, 1)
    assert store.stored(registry()["mine"]) == folder


def test_a_missing_model_says_what_to_type_with_and_without_a_network(place: Place) -> None:
    with pytest.raises(CheckpointError) as raised:
        store.require_stored("mine")
    said = str(raised.value)
    assert "\n" not in said
    for part in (
        "`surgvl models fetch mine --accept_licence`",
        "*.safetensors, *.json of https://huggingface.co/acme/vlm",
        "`surgvl models add mine FOLDER`",
    ):
        assert part in said
    assert place.site.requests == []


@pytest.mark.parametrize("name", ["../../evil.json", "/evil.json", "a\\..\\evil.json"])
def test_a_hub_cannot_write_elsewhere(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    place.site.pages["/api/models/acme/vlm/revision/main"] = listed({**FILES, name: b"evil"})
    assert "leads out of its folder" in run("models fetch mine --accept_licence", capsys, 1)
    assert list(tmp_path.rglob("evil.json")) == []


def test_any_folder_of_the_hub_is_fetched_by_its_id(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CheckpointError, match="surgvl models fetch hf:acme/vlm"):
        store.stored_hub("hf:acme/vlm")
    run("models fetch hf:acme/vlm", capsys)
    folder = store.stored_hub("hf:acme/vlm")
    # Neither code nor what is not a part of a model.
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "hub.json", "model.safetensors"]
    assert json.loads((folder / "hub.json").read_text())["commit"] == COMMIT
    assert store.stored_hub("hf:acme/vlm/config.json") == folder / "config.json"
    before = len(place.site.requests)
    run("models fetch hf:acme/vlm", capsys)
    assert len(place.site.requests) == before


@pytest.mark.parametrize("name", ["hf:a/../b", "hf:a/b/c\0", "hf:", "hf:a b/c"])
def test_names_of_the_hub_have_a_form(place: Place, name: str) -> None:
    with pytest.raises(ConfigError, match="is not a name of the hub"):
        store.stored_hub(name)


def _links(entry: Published, weights: Path, files: Path, folder: Path) -> None:
    """As families of large models do: nothing is copied."""
    (folder / "tower").mkdir()
    for path in files.iterdir():
        (folder / "tower" / path.name).symlink_to(path.resolve())


@pytest.mark.parametrize("hard_links", [True, False])
def test_links_to_fetched_files_outlive_the_download(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, hard_links: bool
) -> None:
    def refuse(path: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(convert_published, "convert", _links)
    if not hard_links:
        monkeypatch.setattr(Path, "hardlink_to", refuse)
    place.write(kind="video-text", family="open_clip", sees="clips")
    run("models fetch mine --accept_licence", capsys)
    tower = place.models / "mine" / "tower"
    assert sorted(path.name for path in tower.iterdir()) == ["config.json", "model.safetensors"]
    assert (tower / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert left(place) == []


def test_a_family_that_this_version_cannot_read_is_not_fetched(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.write(kind="video-text", family="no_such_family", sees="clips")
    assert "no_such_family" in run("models fetch mine --accept_licence", capsys, 1)
    assert place.site.requests == []


def test_a_command_fetches_only_if_it_is_told(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.write("free", licence="MIT", commercial="yes")
    assert "`surgvl models fetch free` fetches it" in run("models check free", capsys, 1)
    assert place.site.requests == []
    with store.with_network():
        assert find_model("free") == place.models / "free"
        assert find_model("hf:acme/vlm") == place.models / "hf" / "acme--vlm"
        with pytest.raises(ConfigError, match="`surgvl models fetch mine --accept_licence`"):
            find_model("mine")
    assert not store.fetching()
    run("models info mine --fetch", capsys)
    # What evaluation must not use is known by the name, too.
    assert pretraining_video_ids(Path("free")) == SEEN
    # A repository of the hub is that of an entry, too.
    assert pretraining_video_ids(store.stored_hub("hf:acme/vlm")) == SEEN
    place.write("free", trained_on=[{"data_set": "unknown", "unknown": "nobody says it", "source": "a card"}])
    assert pretraining_video_ids(Path("free")) == ["unknown:*"]


def test_list_and_info_tell_what_is_known(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.write("free", licence="MIT", commercial="yes", note="read me")
    said = run("models list", capsys)
    rows = {line.split()[0]: line for line in said.splitlines() if line[:4] in ("mine", "free")}
    assert rows["mine"].split()[1] == "no"
    assert "CC BY-NC 4.0" in rows["mine"]
    run("models fetch free", capsys)
    row = next(line for line in run("models list", capsys).splitlines() if line.startswith("free"))
    assert row.split()[1:4] == ["yes", "1.0", "MB"]
    said = run("models info free", capsys)
    for part in (
        "read me",
        "trained on  Cholec80: video02, video01; source: a paper\n",
        "            CholecT50: nobody lists its videos (no split is published); source: a card\n",
        f"{sha256(FILES['config.json'])} config.json, as first fetched",
    ):
        assert part in said
    assert "not recorded yet" in run("models info mine", capsys)
    assert place.site.requests


@pytest.mark.slow
def test_none_of_these_commands_imports_torch_or_asks_the_network(place: Place) -> None:
    def never(*args: object, **named: object) -> None:
        raise AssertionError("network")

    def work() -> None:
        from surgvl.cli import main as cli

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", never)
            patch.setattr(socket.socket, "connect", never)
            for words in ("models list", "models info surgclip", "models info phantom"):
                assert cli.main(words.split()) == 0

    assert imports_none_of({"torch", "transformers", "open_clip"}, work)


def test_every_published_name_is_free_of_commands(place: Place) -> None:
    assert all(name not in registry() for name in ("list", "info", "hf"))


def test_archives_are_told_from_weights_that_are_zipped(place: Place, tmp_path: Path) -> None:
    from surgvl.models.originals import weights_file

    place.write(files=[{"name": "Mine.zip", "url": f"{place.site.url}/x"}])
    files = tmp_path / "in" / "files"
    files.mkdir(parents=True)
    # torch.save writes zip files with another suffix.
    for name in ("Mine.zip", "Mine.pth"):
        with zipfile.ZipFile(files / name, "w") as opened:
            opened.writestr("Mine.pth", "weights")
    assert weights_file(registry()["mine"], files).read_text() == "weights"
    (files / "Mine.zip").unlink()
    assert weights_file(registry()["mine"], files) == files / "Mine.pth"
