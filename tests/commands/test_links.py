"""The report of dead addresses, against a local server."""

import pytest

from surgvl.commands.links import addresses, report
from tests.helpers.file_server import Page, serving_files


def test_all_models_and_data_sets_are_asked() -> None:
    found = addresses()
    assert found["https://github.com/CAMMA-public/SurgVLP"] == ["model hecvl", "model peskavlp", "model surgvlp"]
    assert "data set pitvqa" in found["https://arxiv.org/abs/2405.13949"]
    assert "data set pitvqa" in found["https://doi.org/10.5522/04/27004666"]
    assert "data set cholec80" in found["https://camma.unistra.fr/datasets"]
    assert "https://huggingface.co/aleperez24/SurgCLIP/resolve/main/surgclip_beta.pth" in found
    assert not [url for url in found if "*" in url or " " in url]


def test_dead_ones_are_named_with_who_names_them(capsys: pytest.CaptureFixture[str]) -> None:
    pages = {"/good": Page(b"x"), "/gated": Page(status=401), "/moved": Page(status=302, headers={"Location": "/good"})}
    with serving_files(pages) as site:
        alive = {f"{site.url}{path}": ["model a"] for path in pages}
        assert report(alive) == 0
        assert capsys.readouterr().out == "0 dead of 3 links\n"
        assert report({**alive, f"{site.url}/gone": ["model b", "data set c"]}) == 1
    said = capsys.readouterr().out
    assert f"{site.url}/gone\n  404 Not Found; model b, data set c\n1 dead of 4 links\n" == said
    assert report({f"{site.url}/good": ["model a"]}) == 1
    assert "ConnectError" in capsys.readouterr().out
    # Without a network, no address is dead.
    assert report({f"{site.url}/{name}": ["model a"] for name in ("good", "gated")}) == 1
    said = capsys.readouterr().out
    assert "none of 2 links can be reached (ConnectError" in said
    assert said.count("\n") == 1
