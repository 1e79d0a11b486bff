"""200 requests at once, a tenth of them hostile: good ones get the predictor's answers, and nothing stays behind."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.clients import ask, connect, upload
from PIL import Image

from tests.serving.conftest import encoded
from tests.serving.test_run import Running, metric, started
from tests.serving.test_service import bomb
from tumorscope.imaging.decode import decode_image
from tumorscope.predicting.model import Model

NAME = b"Smith_John_1950-01-01"


def _hostile(port: int, good: bytes) -> dict[str, tuple[bytes, int, str]]:
    """Requests with the status and the code that each must get."""
    plain = upload(good, port=port)
    rng = np.random.default_rng(1)
    scan = encoded(Image.fromarray(rng.integers(0, 256, (300, 300), dtype=np.uint8)), "JPEG")
    escape = b'filename="../../../../tmp/' + NAME + b'.png"'
    return {
        "garbage": (upload(rng.bytes(5000), port=port), 200, "not-an-image"),
        "truncated": (upload(scan[: len(scan) // 2], port=port), 200, "truncated"),
        "bomb": (upload(bomb(60_000, 60_000), port=port), 200, "too-large"),
        "nothing": (upload(b"", port=port), 200, "empty-file"),
        "field": (upload(good, port=port, field="file"), 422, "unknown-field"),
        "host": (plain.replace(b"Host: 127.0.0.1", b"Host: evil.example", 1), 403, "host"),
        "origin": (plain.replace(b"\r\n", b"\r\nOrigin: http://evil.example\r\n", 1), 403, "origin"),
        "long": (plain.replace(b"Content-Length: ", b"Content-Length: 99999", 1), 413, "body-too-large"),
        "path": (plain.replace(b'filename="x"', escape, 1), 200, ""),
        "malformed": (plain.replace(b"name=", b"mane=", 1).replace(b"multipart/form-data", b"text/plain"), 415, ""),
    }


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server for all of them; at its end it has said nothing of anyone."""
    with started(folder, tmp_path_factory.mktemp("hostile") / "t") as running:
        yield running
        assert running.stop() == 0
        assert NAME.decode() not in "".join(running.ended)
        assert [line for line in running.ended[1].splitlines() if "Ctrl-C stops" not in line] == []


def _fix_length(request: bytes) -> bytes:
    """Content-Length set to what the body has, where a test changed the body."""
    head, _, body = request.partition(b"\r\n\r\n")
    if b"Content-Length: 99999" in head:
        return request
    return re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(body), head) + b"\r\n\r\n" + body


def test_good_ones_are_answered_and_nothing_stays(server: Running, model: Model, pictures: list[bytes]) -> None:
    names = model.answers.card.classes
    expected = [
        dict(zip(names, row, strict=True))
        for row in model.answers.predict(decode_image(data, name="").pixels for data in pictures)
    ]
    hostile = _hostile(server.port, pictures[0])
    jobs: list[tuple[bytes, Callable[[int, Any], None]]] = []

    def good(number: int) -> Callable[[int, Any], None]:
        def check(status: int, content: Any) -> None:
            assert status == 200
            (answer,) = content["answers"]
            assert answer["probs"] == pytest.approx(expected[number], abs=1e-5)

        return check

    def bad(status_: int, code: str) -> Callable[[int, Any], None]:
        def check(status: int, content: Any) -> None:
            assert status == status_
            if status == 200:
                error = content["answers"][0]["error"]
                assert (error["code"] if error else "") == code
            elif code:
                assert content["error"]["code"] == code

        return check

    for number in range(180):
        request = upload(pictures[number % len(pictures)], port=server.port)
        jobs.append((request.replace(b'filename="x"', b'filename="%s.png"' % NAME, 1), good(number % len(pictures))))
    for request, status, code in hostile.values():
        jobs += [(request, bad(status, code))] * 2
    order = np.random.default_rng(2).permutation(len(jobs))

    def send(request: bytes) -> tuple[int, bytes]:
        with connect(server.port) as link:
            reply = ask(link, _fix_length(request))
            return reply.status, reply.data.split(b"\r\n\r\n", 1)[1]

    before = metric(server.port, "process_resident_memory_bytes")
    with ThreadPoolExecutor(len(jobs)) as pool:
        replies = list(pool.map(lambda i: send(jobs[i][0]), order.tolist()))
    for index, (status, body) in zip(order.tolist(), replies, strict=True):
        jobs[index][1](status, json.loads(body))
        assert NAME not in body
    grown = metric(server.port, "process_resident_memory_bytes") - before
    assert grown < 200e6, f"{grown / 1e6:.0f} MB"
    assert metric(server.port, "tumorscope_queue_images") == 0
    assert list(server.temporary.iterdir()) == []


def test_an_endless_body_is_cut_off_and_large_ones_touch_no_disk(server: Running, pictures: list[bytes]) -> None:
    large = pictures[0] + bytes(20_000_000)
    with connect(server.port) as link:
        reply = ask(link, upload(large, port=server.port))
        assert reply.status == 200
        assert reply.content["answers"][0]["probs"]
    head = upload(b"", port=server.port).split(b"\r\n\r\n", 1)[0]
    endless = re.sub(rb"Content-Length: \d+", b"Transfer-Encoding: chunked", head) + b"\r\n\r\n"
    with connect(server.port) as link:
        link.sendall(endless)
        chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
        sent = 0
        link.settimeout(0.0)
        answer = b""
        while not answer and sent < 80 * len(chunk):
            link.settimeout(5.0)
            try:
                sent += len(chunk)
                link.sendall(chunk)
                link.settimeout(0.0)
                answer = link.recv(1 << 16)
            except BlockingIOError:
                continue
            except ConnectionError:
                break
    assert sent < 70_000_000
    assert list(server.temporary.iterdir()) == []
