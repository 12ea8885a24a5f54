"""A local HTTP server of files with the habits of real ones: ranges, redirects, cut connections, gates."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Page:
    """What is at a path.

    `cuts` are the numbers of bytes after which the connection of the first, second, ... answer is cut.
    """

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    if_range: bool = True
    etag: str = ""
    cuts: list[int] = field(default_factory=list)
    before: Callable[[], None] | None = None

    def tag(self) -> str:
        return self.etag or f'"{hashlib.md5(self.body).hexdigest()}"'


@dataclass
class Site:
    """A running server: its pages by path, and (path, headers) of all requests."""

    url: str
    pages: dict[str, Page]
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def ranges(self, path: str) -> list[str]:
        """What was asked for of a path, request by request."""
        return [headers.get("range", "") for each, headers in self.requests if each == path]


@contextmanager
def serving_files(pages: dict[str, Page]) -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            asked = {name.lower(): value for name, value in self.headers.items()}
            site.requests.append((path, asked))
            page = pages.get(path)
            if page is None:
                self.send_error(404)
                return
            if page.before:
                page.before()
            body, status, extra = page.body, page.status, dict(page.headers)
            if status == 200:
                extra.setdefault("ETag", page.tag())
                start = int(asked.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
                same = not page.if_range or asked.get("if-range", page.tag()) == page.tag()
                if start and page.ranges and same:
                    status = 206 if start < len(body) else 416
                    whole = len(body)
                    extra["Content-Range"] = (
                        f"bytes {start}-{whole - 1}/{whole}" if status == 206 else f"bytes */{whole}"
                    )
                    body = body[start:] if status == 206 else b""
            self.send_response(status)
            for name, value in {**extra, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            cut = page.cuts.pop(0) if page.cuts else len(body)
            self.wfile.write(body[:cut])
            if cut < len(body):
                self.wfile.flush()
                self.close_connection = True

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None: ...

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Clients hang up in the middle of an answer."""

    server = Server(("127.0.0.1", 0), Handler)
    site = Site(f"http://127.0.0.1:{server.server_port}", pages)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
