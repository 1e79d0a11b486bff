"""The page, its files, and the answers that every web server gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.serving.asgi import HOST, ask
from tests.serving.conftest import Serve
from tumorscope.serving.pages import FOLDER, read_pages


def test_every_file_of_the_page_is_served_as_it_is(serve: Serve) -> None:
    app, _ = serve()
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert FOLDER / "index.html" in files
    for path in files:
        reply = ask(app, f"/static/{path.relative_to(FOLDER).as_posix()}")
        assert (reply.status, reply.body) == (200, path.read_bytes())
        again = ask(app, f"/static/{path.name}", headers=[HOST, ("if-none-match", reply.headers["etag"])])
        assert (again.status, again.body) == (304, b"")
    first = ask(app, "/")
    assert first.body == (FOLDER / "index.html").read_bytes()
    assert first.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("name", ["../app.py", "..%2fapp.py", "/etc/passwd", "", "index.html/", "%00"])
def test_no_path_leads_out(serve: Serve, name: str) -> None:
    app, _ = serve()
    reply = ask(app, f"/static/{name}")
    assert (reply.status, reply.code) == (404, "not-found")


def test_other_methods_and_places(serve: Serve) -> None:
    app, _ = serve()
    reply = ask(app, "/v1/predict")
    assert (reply.status, reply.code) == (405, "method-not-allowed")
    assert reply.headers["allow"] == "POST"
    assert ask(app, "/docs").status == 404
    assert ask(app, "/v1/model", method="OPTIONS", headers=[HOST]).status == 405


def test_files_of_unknown_kinds_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    for name in ("index.html", "lib/a.js", "notes.md", "key.pem"):
        (tmp_path / name).write_text(name)
    assert sorted(read_pages(tmp_path)) == ["index.html", "lib/a.js"]


def test_counters(serve: Serve) -> None:
    app, service = serve()
    ask(app, "/v1/model")
    ask(app, "/patients/smith")
    ask(app, "/static/app.js")
    text = ask(app, "/metrics")
    assert text.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = text.body.decode()
    assert 'tumorscope_requests_total{route="model",status="200"} 1.0' in found
    assert 'tumorscope_requests_total{route="other",status="404"} 1.0' in found
    assert "tumorscope_queue_images 0.0" in found
    assert "smith" not in found
    assert service.metrics.registry is not None
