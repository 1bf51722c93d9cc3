"""One address for both halves of an OpenWeights server: /rest/v1 goes to PostgREST, /storage/v1/object to a folder."""

import http.client
import json
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote

import jwt

REST = "/rest/v1"
STORAGE = "/storage/v1/object/"
DROPPED = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}


class Gateway(ThreadingHTTPServer):
    """Serves in a thread of its own until it is closed. `fail` makes the next requests get that status."""

    daemon_threads = True

    def __init__(self, postgrest_port: int, folder: Path, secret: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.postgrest_port, self.folder, self.secret = postgrest_port, folder, secret
        self._failures: list[int] = []
        folder.mkdir(exist_ok=True)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def fail(self, status: int, count: int = 1) -> None:
        self._failures += [status] * count

    def take_failure(self) -> int | None:
        return self._failures.pop() if self._failures else None

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: Gateway
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if status := self.server.take_failure():
            self._answer(status, json.dumps({"code": str(status), "message": "asked for by a test"}).encode())
        elif self.path.startswith(REST):
            self._forward(body)
        elif self.path.startswith(STORAGE):
            self._store(body)
        else:
            self._answer(404, b"{}")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _serve

    def _forward(self, body: bytes) -> None:
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.postgrest_port, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in DROPPED}
        try:
            upstream.request(self.command, self.path.removeprefix(REST), body or None, headers)
            reply = upstream.getresponse()
            data = reply.read()
        except OSError as error:
            self._answer(502, json.dumps({"message": str(error)}).encode())
            return
        finally:
            upstream.close()
        self._answer(reply.status, data, reply.getheaders())

    def _store(self, body: bytes) -> None:
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        try:
            jwt.decode(token, self.server.secret, algorithms=["HS256"])
        except jwt.ExpiredSignatureError:
            self._refuse("403", '"exp" claim timestamp check failed')
            return
        except jwt.InvalidTokenError:
            self._refuse("403", "signature verification failed")
            return
        name = unquote(self.path.removeprefix(STORAGE).partition("?")[0])
        place = self.server.folder / quote(name, safe="")
        if self.command in ("POST", "PUT"):
            place.write_bytes(file_of(body, self.headers.get("content-type", "")))
            self._answer(200, json.dumps({"Id": name, "Key": name}).encode())
        elif place.is_file():
            self._answer(200, place.read_bytes(), [("Content-Type", "application/octet-stream")])
        else:
            self._answer(400, json.dumps({"statusCode": "404", "error": "not_found", "message": name}).encode())

    def _refuse(self, status: str, message: str) -> None:
        self._answer(400, json.dumps({"statusCode": status, "error": "Unauthorized", "message": message}).encode())

    def _answer(
        self, status: int, body: bytes, headers: Sequence[tuple[str, str]] = (("Content-Type", "application/json"),)
    ) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in DROPPED:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


def file_of(body: bytes, content_type: str) -> bytes:
    """The file in a multipart form: the part that has a file name."""
    boundary = b"--" + content_type.partition("boundary=")[2].strip('"').encode()
    for part in body.split(boundary):
        head, _, data = part.partition(b"\r\n\r\n")
        if b"filename=" in head:
            return data.removesuffix(b"\r\n")
    return body
