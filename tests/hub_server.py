"""A small hub on 127.0.0.1 for tests, which answers huggingface_hub's client and fails on order.

It answers HEAD and GET on `/[datasets/]<repo>/resolve/<revision>/<file>`, whole or by Range, with
the headers that the client reads: X-Repo-Commit, X-Linked-Etag, X-Linked-Size and X-Error-Code.
`/api/datasets/<repo>/revision/<revision>` names the commit, and `tree` the files.

It takes uploads of models by POST: `/api/repos/create`, `/api/validate-yaml`, `/preupload/`, the
batch of Git LFS, which .onnx and .bin go through by PUT, and `/commit/`.
"""

import base64
import hashlib
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

COMMIT = "1" * 40


class Request(NamedTuple):
    """One request as the server saw it; an absent header is None."""

    method: str
    path: str
    range: str | None
    authorization: str | None


@dataclass
class Hub:
    """What the server holds, how it misbehaves, and what it was asked.

    `files` maps a path such as `datasets/owner/name/file` to its bytes; `branches` are the
    revisions that stand for the last commit, and `past` has the files of earlier ones.
    """

    files: dict[str, bytes]
    branches: tuple[str, ...] = ("main",)
    commit: str | None = COMMIT  # None: a server that is no hub
    past: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refusal: tuple[int, str] | None = None  # status and X-Error-Code of every answer
    xet: str | None = None  # the address of a Xet storage that the files are said to be in
    wrong_bytes: bool = False  # right size, right headers, other content
    cuts: list[int] = field(default_factory=list)  # the next GETs end after so many bytes ...
    reset: bool = False  # ... by a TCP reset instead of a plain end
    private: dict[str, bool] = field(default_factory=dict)  # of each model that was made
    stored: dict[str, bytes] = field(default_factory=dict)  # what was PUT, by its SHA-256
    commits: list[list[str]] = field(default_factory=list)  # the files of each
    requests: list[Request] = field(default_factory=list)
    url: str = ""

    def asked(self, method: str) -> list[Request]:
        """The requests of one method for files."""
        return [one for one in self.requests if one.method == method and "/resolve/" in one.path]


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve `hub` at `hub.url` while the body runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("_Bound", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_POST(self) -> None:
        self._record()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path = unquote(urlsplit(self.path).path).strip("/")
        asked = [json.loads(line) for line in body.splitlines()]
        if self.hub.refusal:
            self._refuse(*self.hub.refusal)
        elif path == "api/validate-yaml":
            wrong = "license: other-than-known" in asked[0]["content"]
            errors = [{"message": '"license" must be one of mit'}] if wrong else []
            self._send_json({"errors": errors, "warnings": []}, 400 if wrong else 200)
        elif path == "api/repos/create":
            self._create(asked[0])
        elif path.endswith(".git/info/lfs/objects/batch"):
            self._send_json(
                {"transfer": "basic", "objects": list(map(self._batched, asked[0]["objects"]))}
            )
        else:
            repo, what, _ = path.removeprefix("api/models/").rsplit("/", 2)
            {"preupload": self._preupload, "commit": self._commit}[what](repo, asked)

    def do_PUT(self) -> None:
        self._record()
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.hub.stored[hashlib.sha256(content).hexdigest()] = content
        self._send_json({})

    def _create(self, asked: dict[str, str]) -> None:
        repo = f"{asked['organization']}/{asked['name']}"
        there = repo in self.hub.private
        self.hub.private.setdefault(repo, asked.get("visibility") == "private")
        self._send_json({"url": f"{self.hub.url}/{repo}"}, 409 if there else 200)

    def _preupload(self, repo: str, asked: list[dict]) -> None:
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith((".onnx", ".bin")) else "regular",
                "shouldIgnore": False,
            }
            for file in asked[0]["files"]
        ]
        self._send_json({"files": files})

    def _batched(self, asked: dict) -> dict:
        """Where an object of Git LFS is sent; nowhere if it is there."""
        upload = {"upload": {"href": f"{self.hub.url}/lfs/{asked['oid']}"}}
        return asked if asked["oid"] in self.hub.stored else asked | {"actions": upload}

    def _commit(self, repo: str, asked: list[dict]) -> None:
        files = {}
        for line in asked:
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "lfsFile":
                files[line["value"]["path"]] = self.hub.stored[line["value"]["oid"]]
        self.hub.files |= {f"{repo}/{name}": content for name, content in files.items()}
        self.hub.commits.append(sorted(files))
        commit = {"commitUrl": f"{self.hub.url}/{repo}/commit/{COMMIT}", "commitOid": COMMIT}
        self._send_json(commit)

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""

    def _record(self) -> None:
        asked_range, authorization = self.headers["Range"], self.headers["Authorization"]
        self.hub.requests.append(Request(self.command, self.path, asked_range, authorization))

    def _answer(self, with_body: bool) -> None:
        self._record()
        asked_range = self.headers["Range"]
        path = unquote(urlsplit(self.path).path).strip("/")
        kind = next((k for k in ("resolve", "revision", "tree") if f"/{k}/" in path), None)
        repo, _, rest = path.removeprefix("api/").partition(f"/{kind}/")
        revision, _, filename = rest.partition("/")
        current = revision in (*self.hub.branches, self.hub.commit or COMMIT)
        files = self.hub.files if current else self.hub.past.get(revision)
        commit = self.hub.commit if current else revision
        model = path.removeprefix("api/models/")
        if "/xet-read-token/" in self.path or "/xet-write-token/" in self.path:
            self._send_xet_token()
        elif model in self.hub.private and not self.hub.refusal:
            self._send_json({"id": model, "private": self.hub.private[model]})
        elif kind is None:
            self._refuse(404, "")
        elif self.hub.refusal:
            self._refuse(*self.hub.refusal)
        elif not any(name.startswith(f"{repo}/") for name in self.hub.files):
            self._refuse(401, "RepoNotFound")
        elif files is None:
            self._refuse(404, "RevisionNotFound")
        elif kind == "revision":
            self._send_json({"id": repo.partition("/")[2], "sha": commit})
        elif kind == "tree":
            own = {name: files[name] for name in files if name.startswith(f"{repo}/")}
            self._send_json([_listed(n.removeprefix(f"{repo}/"), c) for n, c in own.items()])
        elif f"{repo}/{filename}" not in files:
            self._refuse(404, "EntryNotFound")
        else:
            self._send(files[f"{repo}/{filename}"], commit, asked_range, with_body)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send_xet_token(self) -> None:
        """Downloads read the headers, uploads the body."""
        expires = int(time.time()) + 3600
        told = {"casUrl": self.hub.xet, "accessToken": "token", "exp": expires}
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("X-Xet-Cas-Url", self.hub.xet)
        self.send_header("X-Xet-Access-Token", "token")
        self.send_header("X-Xet-Token-Expiration", str(expires))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_json(self, answer: object, status: int = 200) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send(
        self, content: bytes, commit: str | None, asked_range: str | None, with_body: bool
    ) -> None:
        start = int(asked_range.removeprefix("bytes=").removesuffix("-")) if asked_range else 0
        self.send_response(206 if asked_range else 200)
        if asked_range:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Linked-Etag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Linked-Size", str(len(content)))
        if commit:
            self.send_header("X-Repo-Commit", commit)
        if self.hub.xet:
            self.send_header("X-Xet-Hash", hashlib.sha256(content).hexdigest())
            self.send_header("Link", f'<{self.hub.url}/api/xet-read-token/main>; rel="xet-auth"')
        self.end_headers()
        if with_body:
            self._send_body(content[start:])

    def _send_body(self, body: bytes) -> None:
        if self.hub.wrong_bytes:
            body = bytes(255 - byte for byte in body)
        if not self.hub.cuts:
            self.wfile.write(body)
            return
        self.wfile.write(body[: self.hub.cuts.pop(0)])
        self.close_connection = True
        if self.hub.reset:  # closing with a linger of 0 s sends RST, unless a shutdown came before
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()


def _listed(path: str, content: bytes) -> dict[str, object]:
    """A file as the hub lists it."""
    oid = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    return {"type": "file", "path": path, "size": len(content), "oid": oid}
