"""Uploads, parsed as they arrive, into memory and nowhere else; names of files are skipped and never kept.

Web frameworks spool large parts into temporary files. A scan must not touch a disk here, so parts are collected in
memory; how much of it is for the middleware to limit.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from tumorscope.serving.refusal import Refusal

MAX_FIELD = 1000
"""Bytes of a field that is no file: names of methods and classes."""
MAX_HEADERS = 8
MAX_HEADER = 4096


@dataclass(slots=True)
class Form:
    """What was uploaded.

    Attributes:
        files: Content of each file, in order.
        fields: Values of the other fields; an empty value counts as not there.
    """

    files: list[bytes] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)


def _unusable(code: str, detail: str, expected: str) -> Refusal:
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, code, detail, expected=expected)


def _malformed() -> Refusal:
    return Refusal(
        HTTPStatus.BAD_REQUEST,
        "malformed",
        "the body is no complete multipart/form-data",
        expected="parts between boundaries, as RFC 7578 says",
        headers={"Connection": "close"},
    )


class _Collector:
    """The parser's callbacks: one part after another becomes a file or a field."""

    def __init__(self, *, file_field: str, most: int, fields: Sequence[str]) -> None:
        self.form = Form()
        self.whole = False
        self._file_field = file_field
        self._most = most
        self._fields = fields
        self._header: list[bytes] = []
        self._value: list[bytes] = []
        self._disposition = b""
        self._name = ""
        self._parts: list[bytes] = []
        self._size = 0

    def part_begin(self) -> None:
        self._disposition, self._parts, self._size = b"", [], 0

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._header.append(data[start:end])

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value.append(data[start:end])

    def header_end(self) -> None:
        if b"".join(self._header).lower() == b"content-disposition":
            self._disposition = b"".join(self._value)
        self._header, self._value = [], []

    def headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        if self._name == self._file_field:
            if len(self.form.files) == self._most:
                raise Refusal(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    "too-many-files",
                    f"more than {self._most} files in one request",
                    expected=f"at most {self._most}",
                    fix="send several requests",
                    headers={"Connection": "close"},
                )
        elif self._name not in self._fields or self._name in self.form.fields:
            names = ", ".join([self._file_field, *self._fields])
            raise _unusable("unknown-field", "a field has another name, or is there twice", f"the fields {names}")

    def part_data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._name != self._file_field and self._size > MAX_FIELD:
            raise _unusable("field-too-long", "a field is too long", f"at most {MAX_FIELD} bytes")
        self._parts.append(data[start:end])

    def part_end(self) -> None:
        content = b"".join(self._parts)
        self._parts = []
        if self._name == self._file_field:
            self.form.files.append(content)
            return
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _unusable("not-text", "a field is no UTF-8 text", "UTF-8") from error
        self.form.fields[self._name] = text

    def end(self) -> None:
        self.whole = True


def silence_parser() -> None:
    """Keep the parser's warnings, which quote bytes of the body, out of every log of this process."""
    logging.getLogger("python_multipart.multipart").setLevel(logging.CRITICAL)


async def read_form(request: Request, *, file_field: str, most: int, fields: Sequence[str] = ()) -> Form:
    """The files and fields of a request.

    Args:
        request: Its body is read.
        file_field: Name of the field with the files.
        most: How many files there may be.
        fields: Names of other fields that may be there, once each.

    Raises:
        Refusal: 400 for a damaged body, 413 for too many files, 415 for another kind of body, 422 for other fields or
            no file at all.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        raise Refusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "not-multipart",
            "the body is of another kind",
            expected=f"multipart/form-data with the field {file_field!r}",
            headers={"Connection": "close"},
        )
    collector = _Collector(file_field=file_field, most=most, fields=fields)
    try:
        parser = MultipartParser(
            options[b"boundary"],
            {
                "on_part_begin": collector.part_begin,
                "on_part_data": collector.part_data,
                "on_part_end": collector.part_end,
                "on_header_field": collector.header_field,
                "on_header_value": collector.header_value,
                "on_header_end": collector.header_end,
                "on_headers_finished": collector.headers_finished,
                "on_end": collector.end,
            },
            max_header_count=MAX_HEADERS,
            max_header_size=MAX_HEADER,
        )
        async for chunk in request.stream():
            parser.write(chunk)
        parser.finalize()
    except (FormParserError, KeyError) as error:
        raise _malformed() from error
    except ClientDisconnect as error:
        raise _malformed() from error
    if not collector.whole:
        raise _malformed()
    if not collector.form.files:
        raise _unusable("no-file", "there is no file", f"one in the field {file_field!r}")
    collector.form.fields = {name: text for name, text in collector.form.fields.items() if text}
    return collector.form
