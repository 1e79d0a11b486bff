"""Uploads come out as they went in, however they are cut; nothing of them is written or logged."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Sequence

import numpy as np
import pytest
from starlette.requests import Request
from starlette.types import Message

from tests.serving.asgi import BOUNDARY, FORM_TYPE, form, part
from tumorscope.serving.forms import MAX_FIELD, Form, read_form, silence_parser
from tumorscope.serving.refusal import Refusal


def parsed(chunks: Sequence[bytes], *, kind: str = FORM_TYPE[1], most: int = 3, fields: Sequence[str] = ()) -> Form:
    waiting = list(chunks)

    async def receive() -> Message:
        if not waiting:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", kind.encode())], "path": "/"}
    return asyncio.run(read_form(Request(scope, receive), file_field="files", most=most, fields=fields))


def refused(chunks: Sequence[bytes], **arguments: object) -> tuple[int, str]:
    with pytest.raises(Refusal) as caught:
        parsed(chunks, **arguments)  # type: ignore[arg-type]  # chosen by the test
    return caught.value.status, caught.value.code


@pytest.mark.parametrize("size", [1, 2, 7, 64, 100_000])
def test_files_come_out_however_they_are_cut(size: int) -> None:
    rng = np.random.default_rng(0)
    files = [rng.bytes(300), b"", f"\r\n--{BOUNDARY}x\r\n--".encode() + rng.bytes(50)]
    body = form(*(part(file) for file in files), part("größe".encode(), name="method", filename=None))
    found = parsed([body[i : i + size] for i in range(0, len(body), size)], fields=("method",))
    assert found.files == files
    assert found.fields == {"method": "größe"}


def test_an_empty_field_counts_as_not_there() -> None:
    body = form(part(b"x"), part(b"", name="method", filename=None))
    assert parsed([body], fields=("method",)).fields == {}


def test_what_is_no_form() -> None:
    assert refused([b"{}"], kind="application/json") == (415, "not-multipart")
    assert refused([b"{}"], kind="") == (415, "not-multipart")
    assert refused([b"--x"], kind="multipart/form-data") == (400, "malformed")
    assert refused([b"--x"], kind=f"multipart/form-data; boundary={'x' * 500}") == (400, "malformed")
    assert refused([b"something else"]) == (400, "malformed")
    assert refused([form(part(b"x"))[:-5]]) == (400, "malformed")
    assert refused([b""]) == (400, "malformed")
    many = b"".join(b"X-H%d: 1\r\n" % i for i in range(50))
    assert refused([form(part(b"x").replace(b"\r\n\r\n", b"\r\n" + many + b"\r\n", 1))]) == (400, "malformed")
    assert refused([form(part(b"x", filename="x" * 100_000))]) == (400, "malformed")


def test_what_is_another_form() -> None:
    assert refused([form(part(b"x", name="file"))]) == (422, "unknown-field")
    assert refused([form(part(b"x", name=""))]) == (422, "unknown-field")
    assert refused([form()]) == (422, "no-file")
    one = part(b"x", name="method", filename=None)
    assert refused([form(one, one)], fields=("method",)) == (422, "unknown-field")
    long = part(b"x" * (MAX_FIELD + 1), name="method", filename=None)
    assert refused([form(long)], fields=("method",)) == (422, "field-too-long")
    assert refused([form(part(b"\xff\xfe", name="method"), part(b"x"))], fields=("method",)) == (422, "not-text")
    assert refused([form(*[part(b"x")] * 4)]) == (413, "too-many-files")


def test_nothing_is_written_and_nothing_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_file(*_: object, **__: object) -> None:
        raise AssertionError("a temporary file")

    for name in ("TemporaryFile", "SpooledTemporaryFile", "NamedTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, no_file)
    logging.getLogger("python_multipart.multipart").setLevel(logging.NOTSET)
    silence_parser()
    with caplog.at_level(logging.DEBUG):
        (file,) = parsed([form(part(b"x" * 3_000_000, filename="smith.png"))]).files
        refused([form(part(b"x", filename="smith.png")).replace(b"--\r\n", b"!!\r\n")])
    assert len(file) == 3_000_000
    assert [record for record in caplog.records if record.name != "asyncio"] == []
