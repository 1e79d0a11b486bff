"""Answers over HTTP are the predictor's, explanations are `explain`'s, and every kind of file has its answer."""

from __future__ import annotations

import asyncio
import base64
import zlib
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import tumorscope
from tests.serving.asgi import FORM_TYPE, HOST, call, form, part, post
from tests.serving.conftest import Serve, encoded
from tumorscope.bundle.export import export_bundle
from tumorscope.bundle.predictor import Predictor
from tumorscope.explaining.explain import explain
from tumorscope.explaining.heat import coloured, scaled
from tumorscope.imaging.decode import decode_image
from tumorscope.predicting.model import Model, open_model
from tumorscope.serving.settings import Settings


def opened(url: str) -> NDArray[np.uint8]:
    head, _, text = url.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(BytesIO(base64.b64decode(text))))


def test_answers_are_the_predictors(serve: Serve, model: Model, pictures: list[bytes]) -> None:
    app, _ = serve()
    reply = post(app, "/v1/predict", *(part(one) for one in pictures))
    assert reply.status == 200
    assert reply.json["model"] == model.identity
    assert "not for clinical" in reply.json["research_use"]
    names = model.answers.card.classes
    for index, (row, data) in enumerate(zip(reply.json["answers"], pictures, strict=True)):
        (probs,) = model.answers.predict([decode_image(data, name="").pixels])
        assert row["index"] == index
        assert row["probs"] == pytest.approx(dict(zip(names, probs, strict=True)), abs=1e-5)
        inside = [name for name, p in zip(names, probs, strict=True) if p >= 0.2]
        assert row["set"] == inside
        assert (row["predicted"] is None) is (len(inside) != 1) is (row["abstained"] is not None)
        assert row["predicted"] in (None, names[int(probs.argmax())])
        assert (row["error"], row["thumbnail"]) == (None, None)


def test_a_file_that_cannot_be_read_has_its_error_in_its_place(serve: Serve, pictures: list[bytes]) -> None:
    app, service = serve()
    small = encoded(Image.new("L", (15, 400)))
    scans = encoded(Image.new("L", (32, 32)), "JPEG")
    bad = {
        "empty-file": b"",
        "not-an-image": b"no picture",
        "truncated": pictures[0][:200],
        "too-small": small,
        "too-large": bomb(9000, 9000),
        "unreadable": scans[:2] + b"\xff\xda\x00\x02" * 200 + scans[2:],
    }
    parts = [part(pictures[0]), *map(part, bad.values()), part(pictures[1])]
    rows = post(app, "/v1/predict", *parts).json["answers"]
    assert [row["index"] for row in rows] == list(range(len(parts)))
    assert [row["error"] and row["error"]["code"] for row in rows] == [None, *bad, None]
    for row in rows[1:-1]:
        assert (row["predicted"], row["probs"], row["set"]) == (None, None, None)
    counted = service.metrics.text().decode()
    assert 'tumorscope_images_total{outcome="unreadable"} 6.0' in counted


def bomb(width: int, height: int) -> bytes:
    """A PNG file that says it is huge and holds next to nothing."""
    data = bytearray(encoded(Image.new("L", (16, 16))))
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def test_thumbnails_are_small_and_only_there_if_asked_for(serve: Serve) -> None:
    app, _ = serve()
    wide = encoded(Image.fromarray(np.full((300, 900), 80, dtype=np.uint8)))
    (row,) = post(app, "/v1/predict", part(wide), query="thumbnails=true").json["answers"]
    assert opened(row["thumbnail"]).shape == (85, 256)
    bad = post(app, "/v1/predict", part(wide), query="thumbnails=perhaps")
    assert (bad.status, bad.code) == (422, "bad-parameter")
    assert "perhaps" not in bad.body.decode()


def test_a_gate_refuses_with_its_reason(serve: Serve, model: Model, pictures: list[bytes]) -> None:
    class Wary:
        def refusal(self, pixels: Any, prepared: Any) -> str:
            return "unlike the training images" if pixels.shape[0] > 100 else ""

    wary = replace(model, gate=Wary())  # type: ignore[arg-type]  # stands in for a gate
    app, service = serve(model_=wary)
    big = encoded(Image.fromarray(np.zeros((120, 120), dtype=np.uint8)))
    rows = post(app, "/v1/predict", part(pictures[0]), part(big)).json["answers"]
    assert [row["error"] for row in rows] == [None, {"code": "refused", "detail": "unlike the training images"}]
    assert service.about()["gate"] is True
    refused = post(app, "/v1/explain", part(big, name="file"))
    assert (refused.status, refused.code) == (422, "refused")
    assert 'tumorscope_images_total{outcome="refused"} 1.0' in service.metrics.text().decode()


def test_an_explanation_is_that_of_explain(serve: Serve, folder: Path, pictures: list[bytes], tmp_path: Path) -> None:
    app, _ = serve()
    path = tmp_path / "scan.png"
    path.write_bytes(pictures[3])
    names = Predictor.load(folder).card.classes
    for method, target in ((None, None), ("layer-cam", names[1])):
        (expected,) = explain(Predictor.load(folder), [path], methods=[method or "grad-cam"], target=target)
        fields = [
            part((text or "").encode(), name=n, filename=None)
            for n, text in zip(("method", "target"), (method, target), strict=True)
        ]
        found = post(app, "/v1/explain", part(pictures[3], name="file"), *fields).json
        assert (found["method"], found["target"]) == (expected.method, expected.target)
        assert found["predicted"] == expected.predicted
        assert found["prob"] == pytest.approx(expected.prob, abs=1e-6)
        assert found["likeness"] == pytest.approx(expected.likeness, abs=1e-4)
        assert "not the place of a lesion" in found["caution"]
        assert (found["height"], found["width"]) == expected.pixels.shape
        assert np.array_equal(opened(found["image"]), expected.pixels)
        assert np.abs(opened(found["heat"]).astype(int) - coloured(scaled(expected.heat))).max() <= 1


def test_a_large_picture_is_shown_smaller_with_the_heat_in_place(serve: Serve) -> None:
    app, _ = serve()
    pixels = np.zeros((1500, 3000), dtype=np.uint8)
    pixels[200:500, 2200:2600] = 230
    found = post(app, "/v1/explain", part(encoded(Image.fromarray(pixels)), name="file")).json
    assert (found["width"], found["height"]) == (1024, 512)
    image, heat = opened(found["image"]), opened(found["heat"])
    assert image.shape == (512, 1024)
    assert heat.shape == (512, 1024, 4)
    small = post(app, "/v1/explain", part(encoded(Image.fromarray(image)), name="file")).json
    assert np.abs(opened(small["heat"])[..., 3].astype(int) - heat[..., 3]).mean() < 6


def test_explanations_that_cannot_be(serve: Serve, pictures: list[bytes]) -> None:
    app, _ = serve()
    for name, value, code in (
        ("method", b"attention-gradients", "unknown-method"),
        ("method", b"magic", "unknown-method"),
        ("target", b"no class", "unknown-class"),
    ):
        reply = post(app, "/v1/explain", part(pictures[0], name="file"), part(value, name=name, filename=None))
        assert (reply.status, reply.code) == (422, code)
        assert value.decode() not in reply.body.decode()
        assert "grad-cam" in reply.json["error"]["expected"] or "malignant" in reply.json["error"]["expected"]
    reply = post(app, "/v1/explain", part(b"no picture", name="file"))
    assert (reply.status, reply.code) == (422, "not-an-image")


def test_an_export_answers_and_explains_nothing(
    serve: Serve, folder: Path, pictures: list[bytes], tmp_path: Path
) -> None:
    exported = open_model(export_bundle(folder, tmp_path / "onnx"))
    app, service = serve(model_=exported)
    assert service.about()["methods"] == []
    assert post(app, "/v1/predict", part(pictures[0])).json["answers"][0]["probs"]
    assert post(app, "/v1/explain", part(pictures[0], name="file")).code == "no-explanations"


def test_what_it_says_of_itself(serve: Serve, model: Model) -> None:
    _, service = serve()
    about = service.about()
    card = model.answers.card
    assert about["classes"] == list(card.classes)
    assert about["positive"] == "malignant"
    assert about["input"] == {"size_px": 80, "channels": 1}
    clean = {"n": 30, "metrics": {"accuracy": {"value": 0.8, "low": 0.6, "high": 0.9}}}
    figures = {"accuracy": {"value": 0.9, "low": 0.8, "high": 0.95}}
    assert about["results"] == {"n": 40, "metrics": figures, "without_copies": clean}
    assert about["coverage"] == 0.9
    assert about["gate"] is False
    assert about["methods"][0] == "grad-cam"
    assert "attention-gradients" not in about["methods"]
    assert about["version"] == tumorscope.__version__
    assert about["limits"] == {"body_mb": 50, "megapixels": 64, "min_side_px": 16, "files": 32}
    assert about["card"].startswith("---") or about["card"].startswith("#")


def test_a_full_queue_says_when_to_come_again(serve: Serve, pictures: list[bytes]) -> None:
    app, service = serve(Settings(queue_images=32, explanations=1))
    headers = [HOST, FORM_TYPE]

    async def crowd() -> list[tuple[int, str]]:
        body = form(*[part(pictures[0])] * 20)
        one = form(part(pictures[0], name="file"))
        calls = [call(app, "/v1/predict", method="POST", headers=headers, chunks=[body]) for _ in range(6)]
        calls += [call(app, "/v1/explain", method="POST", headers=headers, chunks=[one]) for _ in range(6)]
        found = await asyncio.gather(*calls)
        return [(reply.status, reply.headers.get("retry-after", "")) for reply in found]

    found = asyncio.run(crowd())
    for kind in (found[:6], found[6:]):
        assert {status for status, _ in kind} == {200, 429}
        assert all(1 <= int(again) <= 60 for status, again in kind if status == 429)
    assert post(app, "/v1/predict", part(pictures[0])).status == 200
    assert post(app, "/v1/explain", part(pictures[0], name="file")).status == 200
    assert 'tumorscope_refusals_total{code="queue-full"}' in service.metrics.text().decode()
