"""The page in a real browser on the real server: what comes in, what is shown, what is saved."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.scans import CLASSES
from tests.serving.page.conftest import TOKEN, Open, altered
from tests.serving.page.site import Site
from tumorscope.bundle.bundle import load_bundle
from tumorscope.evaluation.cells import escape_cell, unescape_cell
from tumorscope.explaining.explain import CAUTION
from tumorscope.predicting.answers import Answer, answers
from tumorscope.predicting.model import open_model
from tumorscope.reporting.words import probability

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def answer_of(bundle: Path, path: Path) -> Answer:
    """What the command line says of a file."""
    (found,) = answers(open_model(bundle, backend="torch"), [str(path)])
    return found


# --- coming in


def test_one_image_is_answered_with_the_predictor_s_probabilities(visit: Open, images: Path, bundle: Path) -> None:
    found = visit()
    found.add(images / "scan-3.png")
    expected = answer_of(bundle, images / "scan-3.png")
    named, row = expected.predicted, expected.probs
    assert named
    assert expected.classes
    card = found.tab.get_by_role("article", name="scan-3.png")
    assert card.locator(".class").inner_text() == named
    assert card.locator(".prob").inner_text() == probability(max(row))
    bars = card.get_by_role("list", name="Calibrated probability of each class").get_by_role("listitem")
    assert [re.sub(r"\s+", " ", text) for text in bars.all_inner_texts()] == [
        f"{name} {probability(p)}" for name, p in zip(CLASSES, row, strict=True)
    ]
    members = expected.classes
    words = f"{named} alone" if len(members) == 1 else f"One of: {' or '.join(members)}"
    assert card.locator(".set").inner_text().split("\n") == ["Prediction set at 90% coverage", words]
    assert found.said() == f"scan-3.png: {named}, {probability(max(row))}."


def test_many_images_go_in_small_requests_without_their_names(visit: Open, images: Path, site: Site) -> None:
    found = visit()
    found.add(*(images / f"scan-{i}.png" for i in range(10)))
    assert [card.split("\n")[0] for card in found.cards()] == [f"scan-{i}.png" for i in range(10)]
    bodies = site.sent("predict")
    assert [body.count(b'name="files"') for body in bodies] == [8, 2]
    assert not any(b"scan-" in body for body in bodies)
    total = sum(int(n) for n in re.findall(r"\s(\d+)", found.tab.inner_text("#summary")))
    assert total == 10
    assert found.said().startswith("All 10 images are done: ")


def test_a_file_that_is_no_image_has_its_reason_beside_the_others(visit: Open, images: Path) -> None:
    found = visit()
    found.add(images / "broken.png", images / "scan-1.png")
    bad, good = found.tab.locator(".card").all()
    assert "Not read" in bad.inner_text()
    assert "no image format" in bad.inner_text()
    assert "Choose a PNG, JPEG, TIFF" in bad.inner_text()
    assert bad.get_by_role("button").all_inner_texts() == ["Remove"]
    assert good.locator(".probs").count() == 1
    assert "not read\u00a01" in found.tab.inner_text("#summary")


def test_a_format_that_the_browser_cannot_show_gets_the_server_s_thumbnail(visit: Open, images: Path) -> None:
    found = visit()
    found.add(images / "slice.tif")
    picture = found.tab.locator(".card > .picture img")
    assert (picture.get_attribute("src") or "").startswith("data:image/png")
    assert picture.evaluate("i => i.decode().then(() => i.naturalWidth)") == 64
    found.add(images / "scan-1.png")
    asked = [r.url.split("?")[1] for r in found.requests if "predict" in r.url]
    assert asked == ["thumbnails=true", "thumbnails=false"]


def test_an_image_is_pasted(visit: Open) -> None:
    found = visit()
    found.tab.evaluate(
        """async () => {
            const canvas = new OffscreenCanvas(40, 40);
            canvas.getContext("2d").fillRect(5, 5, 20, 20);
            const data = new DataTransfer();
            data.items.add(new File([await canvas.convertToBlob()], "image.png", {type: "image/png"}));
            document.body.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true}));
        }"""
    )
    found.settled()
    assert found.tab.locator(".card .probs").count() == 1


def test_files_and_folders_are_dropped_anywhere(visit: Open, images: Path, tmp_path: Path) -> None:
    (tmp_path / "study" / "series").mkdir(parents=True)
    for name in ("a.png", "series/b.png", ".hidden.png"):
        (tmp_path / "study" / name).write_bytes((images / "scan-2.png").read_bytes())
    found = visit()
    cdp = found.context.new_cdp_session(found.tab)
    data = {
        "items": [],
        "files": [str(tmp_path / "study"), str(images / "scan-1.png")],
        "dragOperationsMask": 1,
    }
    for kind in ("dragEnter", "dragOver"):
        cdp.send("Input.dispatchDragEvent", {"type": kind, "x": 1100, "y": 700, "data": data})
    expect(found.tab.locator("#drop.over")).to_have_count(1)
    cdp.send("Input.dispatchDragEvent", {"type": "drop", "x": 1100, "y": 700, "data": data})
    found.settled()
    assert sorted(card.split("\n")[0] for card in found.cards()) == ["a.png", "b.png", "scan-1.png"]
    assert found.tab.locator("#drop.over").count() == 0


def test_a_file_that_vanished_before_it_was_sent_is_said(visit: Open, images: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone.png"
    gone.write_bytes((images / "scan-2.png").read_bytes())
    found = visit()
    found.tab.route("**/v1/predict*", lambda route: None)  # never answered, so the second file waits
    found.tab.set_input_files("#files", [images / "scan-1.png"] * 8 + [gone])
    found.tab.wait_for_selector('.card[data-state="sent"]')
    gone.unlink()
    found.tab.get_by_role("button", name="Cancel").click()
    found.settled()
    found.tab.unroute("**/v1/predict*")
    found.tab.get_by_role("button", name="Send 9 images again").click()
    found.settled()
    assert "The browser cannot read this file" in found.cards()[8]
    assert found.tab.locator(".card .probs").count() == 8
    found.noise.clear()


# --- what the server may say


def test_abstained_and_refused_are_said_plainly(visit: Open, images: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        first, second = content["answers"]
        first.update(predicted=None, abstained="the prediction set holds all classes", set=list(CLASSES))
        second.update(predicted=None, probs=None, set=None, error={"code": "refused", "detail": "it is a photo"})

    found = visit()
    found.tab.route("**/v1/predict*", altered(change))
    found.add(images / "scan-1.png", images / "scan-2.png")
    first, second = found.cards()
    assert "No class named\n\nThe prediction set holds all classes." in first
    assert "Any of the 3 classes: none is ruled out." in first
    assert "Show what moved the answer" in first
    assert "Refused\n\nIt is a photo.\n\nUse an image of the kind this model was trained on." in second
    assert found.tab.inner_text("#summary") == "no class named\u00a01 · refused\u00a01"


def test_a_full_queue_is_waited_for(visit: Open, images: Path, site: Site) -> None:
    found = visit()
    site.service.full = 1
    found.tab.set_input_files("#files", images / "scan-1.png")
    expect(found.tab.locator("#progress-text")).to_have_text("The server is busy. Trying again in 1 second")
    found.settled()
    assert found.tab.locator(".card .probs").count() == 1
    assert len(site.sent("predict")) == 2
    assert [text for text in found.noise if "429" not in text] == []
    found.noise.clear()


def test_a_request_that_is_too_large_is_halved(visit: Open, images: Path, site: Site) -> None:
    found = visit()
    problem = {"error": {"code": "body-too-large", "detail": "the request is too large"}}
    found.tab.route("**/v1/predict*", lambda route: route.fulfill(status=413, json=problem), times=1)
    found.add(*(images / f"scan-{i}.png" for i in range(3)))
    assert found.tab.locator(".card .probs").count() == 3
    assert [body.count(b'name="files"') for body in site.sent("predict")] == [2, 1]
    found.noise.clear()


def test_a_server_that_is_gone_is_said_and_asked_again(visit: Open, images: Path) -> None:
    found = visit()
    found.tab.route("**/v1/predict*", lambda route: route.abort())
    found.add(*(images / f"scan-{i}.png" for i in range(9)))
    assert all("The server could not be reached." in card for card in found.cards())
    assert found.tab.inner_text("#summary") == "not answered\u00a09"
    assert sum("predict" in r.url for r in found.requests) == 1, "what waits is not sent after it"
    found.tab.unroute("**/v1/predict*")
    found.tab.get_by_role("button", name="Send 9 images again").click()
    found.settled()
    assert found.tab.locator(".card .probs").count() == 9
    found.noise.clear()


def test_an_answer_of_another_model_is_not_shown(visit: Open, images: Path) -> None:
    found = visit()
    found.tab.route("**/v1/predict*", altered(lambda content: content.update(model="another")))
    found.add(images / "scan-1.png")
    assert "The server now answers with another model. Reload this page" in re.sub(r"\s+", " ", found.cards()[0])


def test_a_token_is_asked_for_and_kept_in_memory_only(visit: Open, images: Path, closed_site: Site) -> None:
    found = visit(closed_site.url, wait=False)
    token = found.tab.get_by_role("textbox", name="Token")
    expect(token).to_be_focused()
    assert not found.tab.locator("#intake").is_visible()
    token.fill("another-token-0123456789")
    found.tab.keyboard.press("Enter")
    expect(found.tab.get_by_text("did not accept this token")).to_be_visible()
    token.fill(f" {TOKEN}\n")
    found.tab.keyboard.press("Enter")
    found.tab.wait_for_selector("#about .results")
    found.add(images / "scan-1.png")
    found.explain()
    assert not token.is_visible()
    kept = "[localStorage.length, sessionStorage.length, document.cookie, document.getElementById('token').value]"
    assert found.tab.evaluate(kept) == [0, 0, "", ""]
    assert [text for text in found.noise if "401" not in text] == []
    found.noise.clear()


# --- what moved the answer


def test_heat_is_shown_with_its_check_and_its_opacity_is_moved(visit: Open, images: Path, site: Site) -> None:
    found = visit()
    found.add(images / "scan-4.png")
    found.explain()
    stage = found.tab.locator(".stage")
    places = stage.evaluate("s => [...s.children].map(e => [e.offsetLeft, e.offsetTop, e.clientWidth, e.clientHeight])")
    assert places[0] == places[1]
    opacity = "s => Number(getComputedStyle(s.querySelector('.heat')).opacity)"
    assert stage.evaluate(opacity) == 0.6
    slider = found.tab.get_by_label("Opacity of the heat")
    slider.focus()
    found.tab.keyboard.press("ArrowRight")
    assert stage.evaluate(opacity) == 0.65
    found.tab.keyboard.press("Home")
    assert stage.evaluate(opacity) == 0
    assert found.tab.locator("output").inner_text() == "0%"
    # this network's Grad-CAM may be flat, its gradients along the way from black are not
    found.tab.get_by_label("Method").select_option("integrated-gradients")
    expect(found.tab.locator(".found")).to_contain_text("Integrated Gradients for")
    text = found.tab.inner_text(".found")
    assert "likeness to the map of the same network with random weights" in text.replace("Likeness", "likeness")
    assert CAUTION in text
    assert "scan-" not in b"".join(site.sent("explain")).decode("latin-1")


def test_class_and_method_are_chosen(visit: Open, images: Path, site: Site) -> None:
    found = visit()
    found.add(images / "scan-4.png")
    found.explain()
    found.tab.get_by_label("Class explained").select_option("right")
    found.tab.get_by_label("Method").select_option("integrated-gradients")
    expect(found.tab.locator(".found")).to_contain_text("Integrated Gradients for “right”")
    sent = site.sent("explain")
    assert len(sent) == 2, "two changes in a row are one request"
    assert b"right" in sent[1]
    assert b"integrated-gradients" in sent[1]
    assert found.tab.locator(".stage .heat").get_attribute("alt") == "Heat of Integrated Gradients for right"


@pytest.mark.parametrize(("likeness", "doubtful"), [(0.49, False), (0.5, True), (-0.9, False)])
def test_a_map_like_that_of_random_weights_is_doubted(
    likeness: float, doubtful: bool, visit: Open, images: Path
) -> None:
    found = visit()
    found.tab.route("**/v1/explain", altered(lambda content: content.update(likeness=likeness)))
    found.add(images / "scan-4.png")
    found.explain()
    assert ("Doubtful map" in found.tab.inner_text(".check")) == doubtful


def test_a_flat_map_is_said_to_be_unchecked(visit: Open, images: Path) -> None:
    found = visit()
    found.tab.route("**/v1/explain", altered(lambda content: content.update(likeness=None)))
    found.add(images / "scan-4.png")
    found.explain()
    assert "Sanity check: not made" in found.tab.inner_text(".check")


def test_a_failed_explanation_is_said_and_asked_again(visit: Open, images: Path) -> None:
    found = visit()
    found.add(images / "scan-4.png")
    found.tab.route("**/v1/explain", lambda route: route.abort())
    found.tab.get_by_role("button", name="Show what moved the answer").click()
    expect(found.tab.get_by_role("alert")).to_contain_text("The server could not be reached.")
    found.tab.unroute("**/v1/explain")
    found.tab.get_by_role("button", name="Try again").click()
    expect(found.tab.locator(".stage .heat")).to_be_visible()
    found.noise.clear()


# --- going out


def test_saved_files_hold_every_image_and_run_nothing(visit: Open, images: Path, tmp_path: Path, bundle: Path) -> None:
    hostile = tmp_path / '=1+1,"a".png'
    hostile.write_bytes((images / "scan-3.png").read_bytes())
    expected = answer_of(bundle, hostile)
    found = visit()
    found.add(hostile, images / "broken.png")
    with found.tab.expect_download() as saving:
        found.tab.get_by_role("button", name="Save CSV").click()
    text = saving.value.path().read_text(encoding="utf-8")
    header, first, second = csv.reader(io.StringIO(text))
    assert header == ["path", "predicted", *(f"prob_{name}" for name in CLASSES), "set", "error", "abstained"]
    assert first[0] == escape_cell(hostile.name) != hostile.name
    assert unescape_cell(first[0]) == hostile.name
    assert first[1] == expected.predicted != ""
    assert [float(cell) for cell in first[2:5]] == pytest.approx(expected.probs, rel=1e-6)
    assert first[5:] == ["|".join(expected.classes or ()), "", ""]
    assert second[:6] == ["broken.png", "", "", "", "", ""]
    assert second[6].startswith("not-an-image: ")
    with found.tab.expect_download() as saving:
        found.tab.get_by_role("button", name="Save JSON").click()
    content = json.loads(saving.value.path().read_text(encoding="utf-8"))
    assert content["model"] == load_bundle(bundle).identity
    assert content["research_use"] == "Research use only; not for clinical decisions."
    assert [answer["path"] for answer in content["answers"]] == [hostile.name, "broken.png"]
    assert [content["answers"][0][f"prob_{name}"] for name in CLASSES] == pytest.approx(expected.probs, rel=1e-6)
    assert content["answers"][1]["predicted"] is None


LOADS = """address => new Promise((resolve) => {
    const image = new Image();
    image.onload = () => resolve(true);
    image.onerror = () => resolve(false);
    image.src = address;
})"""


def test_removing_and_clearing_leave_nothing_behind(visit: Open, images: Path) -> None:
    found = visit()
    found.add(images / "scan-1.png", images / "scan-2.png", images / "scan-3.png")
    found.tab.get_by_role("button", name="Remove").first.click()
    assert [card.split("\n")[0] for card in found.cards()] == ["scan-2.png", "scan-3.png"]
    address = found.tab.locator(".card > .picture img").first.get_attribute("src")
    assert found.tab.evaluate(LOADS, address) is True
    found.tab.get_by_role("button", name="Clear all").click()
    assert found.cards() == []
    assert not found.tab.locator("#answers").is_visible()
    expect(found.tab.locator("#files")).to_be_focused()
    assert found.tab.evaluate(LOADS, address) is False
    found.noise.clear()  # the failed load of this test
    found.add(images / "scan-1.png")
    assert len(found.cards()) == 1


def test_what_is_cleared_while_it_is_sent_does_not_come_back(visit: Open, images: Path) -> None:
    found = visit()
    found.tab.route("**/v1/predict*", lambda route: None)  # never answered
    found.tab.set_input_files("#files", images / "scan-1.png")
    found.tab.wait_for_selector('.card[data-state="sent"]')
    found.tab.get_by_role("button", name="Clear all").click()
    found.tab.unroute("**/v1/predict*")
    found.add(images / "scan-2.png")
    assert [card.split("\n")[0] for card in found.cards()] == ["scan-2.png"]
    assert found.tab.locator(".card .probs").count() == 1
    found.noise.clear()
