"""The `search` command: finds moments that match a sentence, or that look like other moments."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from surgvl.commands.conditions import chosen, resolved
from surgvl.commands.query_parts import QueryEncoder, segments
from surgvl.core.errors import ConfigError
from surgvl.core.files import command
from surgvl.core.plurals import plural
from surgvl.core.tables import plain_table
from surgvl.core.times import clock
from surgvl.retrieval.clip_index import ClipIndex
from surgvl.retrieval.hits_file import check_hits_file, write_hits
from surgvl.retrieval.moments import Moment, SearchResults, looks_like_a_file, score_texts
from surgvl.retrieval.query import Query, find
from surgvl.retrieval.where import EVERYWHERE, Where

if TYPE_CHECKING:
    from surgvl.archive.archive import Archive

WORDS = ("weak", "maybe", "strong")


def search(
    query: str = "",
    *,
    index: Path | None = None,
    archive: Path | None = None,
    like: list[str] | None = None,
    image: Path | None = None,
    minus: str = "",
    unlike: list[str] | None = None,
    weight: float = 0.5,
    good: list[str] | None = None,
    bad: list[str] | None = None,
    k: int = 5,
    least: Literal["weak", "maybe", "strong"] = "weak",
    out: Path | None = None,
    video: str = "",
    procedure: str = "",
    source: str = "",
    where: Where = EVERYWHERE,
    model: Path | None = None,
    device: str = "cpu",
    server: str = "",
    api_key: str = "",
) -> SearchResults:
    """Find moments that match a sentence, or that look like other moments.

    A moment is typed as VIDEO@TIME or VIDEO@START-END, of a video in the index (video01@12.5) or of any file
    (clip.mp4@0:12.5); times are in seconds, m:ss or h:mm:ss.

    Args:
        query: a sentence; or give --like, --image or --good.
        index: index folder (surgvl index); or give --archive.
        archive: archive folder (surgvl archive), whose case details and labels can be conditions, too.
        like: moments that results resemble.
        image: a picture that results resemble.
        minus: a sentence about what results do not show.
        unlike: moments that results do not resemble.
        weight: weight of the sentence where moments or a picture are given as well, 0 to 1.
        good: results of an earlier search that were good; from six marks on, a probe is fitted to them.
        bad: results of an earlier search that were bad.
        k: number of moments.
        least: leave out results whose score is weaker than this word, which compares it with random pairs of clips.
        out: also write the results to this .csv or .json file.
        video: only in this video.
        procedure: only in videos of this procedure.
        source: only in videos of this data set.
        where: further conditions.
        model: the model that made the vectors; needed only if its folder was moved.
        device: torch device, such as cpu or cuda.
        server: address of `surgvl serve` with that model, which encodes instead of this process.
        api_key: the server's key, or @FILE that contains it; SURGVL_API_KEY by default, which is safer.

    Raises:
        ConfigError: nothing to search for, not exactly one of --index and --archive, a file name as a sentence, or an
            invalid moment.
        DataError: not an index or archive folder, or not the model that made its vectors.
    """
    if looks_like_a_file(query):
        raise ConfigError(f"{query!r} is a file, not a sentence: search by a clip with --like {query}@TIME")
    if (index is None) == (archive is None):
        raise ConfigError("give either --index, an index folder, or --archive, an archive folder")
    if out is not None:
        check_hits_file(out)
    if not (query.strip() or like or image or good):
        raise ConfigError("give a sentence, --like VIDEO@TIME or --image FILE")
    asked = Query(
        text=query,
        like=segments("--like", like),
        image=image,
        minus=minus,
        unlike=segments("--unlike", unlike),
        weight=weight,
        good=segments("--good", good),
        bad=segments("--bad", bad),
    )
    where = chosen(where, [video] if video else [], procedure, source)
    with _opened(index, archive, where) as (clip_index, conditions, opened):
        own_model = None if opened is None else Path(opened.model)
        encoder = QueryEncoder(clip_index, model if model or server else own_model, device, server, api_key)
        found, _ = find(clip_index, asked, encoder, k, conditions)
        if opened is not None:
            found = _with_details(opened.foreign.marked(found), opened)
        kept = [each for each in found if not each.word or WORDS.index(each.word) >= WORDS.index(least)]
        found = SearchResults(kept, found.remark)
        _print(found, clip_index.version.table.num_matching(conditions), index, archive)
        if clip_index.version.placed:
            print(clip_index.version.placed)
    if out is not None:
        write_hits(out, found)
        print(f"written to {out}")
    return found


@contextlib.contextmanager
def _opened(
    index: Path | None, archive: Path | None, where: Where
) -> Iterator[tuple[ClipIndex, Where, "Archive | None"]]:
    """The index that is searched, conditions as it understands them, and the archive that it belongs to."""
    if index is not None:
        with ClipIndex.open(index) as opened:
            yield opened, where, None
        return
    from surgvl.archive.archive import Archive

    assert archive is not None
    with Archive.open(archive) as found:
        yield found.index(), resolved(found, where), found


def _with_details(found: SearchResults, archive: "Archive") -> SearchResults:
    """The same with what the index does not know: the procedures that people have entered, and where files are now."""
    details = archive.catalogue.all_details()
    given = {name: details[name].procedure for name in details}
    paths = {row.id: str(archive.absolute(row.path)) for row in archive.catalogue.rows()}
    moments = [
        replace(each, procedure=given.get(each.video_id, ""), path=paths.get(each.video_id, each.path))
        for each in found
    ]
    return SearchResults(moments, found.remark)


def _print(found: SearchResults, searched: tuple[int, int], index: Path | None, archive: Path | None) -> None:
    """The results as a table, how many clips of how many videos were searched, and how to go on from the best one."""
    rows: list[list[object]] = [["", "score", "", "video", "from", "to", "procedure", "source"]]
    scores = score_texts([moment.score for moment in found])
    for place, (moment, score) in enumerate(zip(found, scores, strict=True), 1):
        times = (clock(moment.start_s), clock(moment.end_s))
        rows.append([place, score, moment.word, moment.video_id, *times, moment.procedure, moment.source])
    print(plain_table(rows, indent=""))
    num_clips, num_videos = searched
    clips, videos = plural(num_clips, "clip"), plural(num_videos, "video")
    print(f"\n{plural(len(found), 'moment')} among {clips} of {videos}")
    if found and found[0].odds:
        print(f"the best score is as high as that of one in {found[0].odds:,} random pairs of clips")
    if found.remark:
        print(found.remark)
    if found:
        there = {"archive": archive} if index is None else {"index": index}
        print(f"next: {command('search', like=f'{found[0].video_id}@{_middle(found[0]):.1f}', **there)}")


def _middle(moment: Moment) -> float:
    return (moment.start_s + moment.end_s) / 2
