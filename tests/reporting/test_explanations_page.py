"""The page of heatmaps as a file: every figure from the file, nothing missing in silence, nothing from outside."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.explaining.planted import cohort_of, spot_subject, spots
from tests.reporting.explanations import (
    MEASURES,
    METHODS,
    Change,
    changed,
    content,
    estimates_in,
    pixels,
    write_explanations,
    write_gallery,
)
from tests.reporting.page import Page
from tests.reporting.test_escape import EVIL, SURROGATE
from tumorscope.explaining.heat import coloured
from tumorscope.explaining.score import score
from tumorscope.explaining.sources import References
from tumorscope.reporting.explanations_page import MOST_PICTURES, render_explanations
from tumorscope.reporting.words import metric_range, percent, points

WHOLE = content()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = write_explanations(tmp_path_factory.mktemp("explanations") / "whole")
    return render_explanations(folder).read_text(encoding="utf-8")


def tables(markup: str) -> dict[str, list[list[str]]]:
    """Cells of every table by the name of its frame, without the tags."""
    frames = re.findall(r'aria-label="([^"]*)"><table.*?</table>', markup, re.S)
    bodies = re.findall(r'aria-label="[^"]*">(<table.*?</table>)', markup, re.S)
    return {
        name: [
            [
                " ".join(html.unescape(re.sub(r"<[^>]+>", " ", cell)).split())
                for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)
            ]
            for row in re.findall(r"<tr[^>]*>(.*?)</tr>", body, re.S)
        ]
        for name, body in zip(frames, bodies, strict=True)
    }


def spelled(e: dict[str, Any]) -> str:
    return f"{percent(e['value'])} {metric_range('accuracy', e['low'], e['high'])}"


def shuffled_values(found: dict[str, Any]) -> None:
    """Other numbers everywhere, so that none can be written into the template."""
    rng = np.random.default_rng(5)
    for e in estimates_in(found):
        low, value, high = sorted(rng.random(3) * (1 if e["low"] >= 0 else -1))
        e.update(low=low, value=value, high=high)


@pytest.mark.parametrize("change", [lambda _: None, shuffled_values], ids=["usual", "others"])
def test_every_number_of_the_score_comes_from_the_file(change: Change, tmp_path: Path) -> None:
    found = content()
    change(found)
    page = render_explanations(write_explanations(tmp_path, found)).read_text(encoding="utf-8")
    sources = found["score"]["sources"]
    rows = tables(page)["Score of every method and its controls"]
    assert len(rows) == 1 + 4 + len(sources)
    ranked = sorted(METHODS, key=lambda n: -sources[n]["overall"]["energy"]["value"])
    others = [f"{n}@{o}" for o in ("random-weights", "shuffled labels") for n in ranked]
    names = [*ranked, *others, *(n for n, s in sources.items() if s["kind"] == "control")]
    figures = [row for row in rows[1:] if len(row) > 1]
    for name, row in zip(names, figures, strict=True):
        assert row[0].startswith(sources[name]["title"].split(", ")[0])
        for key, cell in zip(MEASURES, row[1:], strict=True):
            numbers = cell if name not in METHODS else re.split(r" (?=[▲≈▼?])", cell)[0]
            assert numbers == spelled(sources[name]["overall"][key])


def test_gaps_classes_and_steps_come_from_the_file(whole: str) -> None:
    shown, found = tables(whole), WHOLE["score"]
    gaps = [row for row in shown["Paired differences to the controls"][1:] if len(row) > 1]
    expected = [
        [found["sources"][control]["title"]]
        + [
            f"{'▲' if g['low'] > 0 else '▼' if g['high'] < 0 else '≈'} {points(g['value'])}"
            f" {points(g['low'])} to {points(g['high'])}"
            for g in measures.values()
        ]
        for controls in found["gaps"].values()
        for control, measures in controls.items()
    ]
    assert gaps == expected
    for label in found["lesion_classes"]:
        by_title = {row[0]: row[1:] for row in shown[f"Score on class {label}"][1:]}
        for source in found["sources"].values():
            own = source["per_class"][label]
            figures = [spelled(own[key]) for key in MEASURES if not key.startswith("ap")]
            assert by_title[source["title"]] == [str(own["n"]), *figures]
    steps = [row for row in shown["Every step of the cascade"][1:] if row[0] == "Grad-CAM"]
    assert [row[1] for row in steps] == ["1 of 10", "3 of 10", "6 of 10", "8 of 10", "10 of 10"]
    last = found["cascade"]["grad-cam"][-1]["similarity"]
    assert steps[-1][3] == f"{last['value']:.3f} {last['low']:.3f} to {last['high']:.3f}"


def test_removal_and_areas_come_from_the_file(whole: str) -> None:
    shown = tables(whole)
    rows = {row[0]: row[1:3] for row in shown["Accuracy with the boxes taken away"][1:]}
    for row in WHOLE["removal"]["rows"]:
        change = row["change"]
        moved = f"{points(change['value'])} {points(change['low'])} to {points(change['high'])}" if change else "–"
        part = "" if row["n"] == 123 else f" n = {row['n']}"
        assert rows[row["name"].capitalize() + part] == [spelled(row["accuracy"]), moved]
    areas = {row[0]: row[1:] for row in shown["Areas under the curves"][1:]}
    for name, title in (("layer-cam", "Layer-CAM"), ("random order", "random order")):
        curve = WHOLE["curves"]["methods"][name]
        assert areas[title] == [
            f"{e['value']:.3f} {metric_range('', e['low'], e['high'])}"
            for e in (curve["deletion_area"], curve["insertion_area"])
        ]
    (row,) = [r for r in shown["Areas minus those of controls"] if r[0] == "Layer-CAM minus another image's map"]
    gaps = WHOLE["curves"]["methods"]["layer-cam"]["gaps"]["another image's map"]
    assert row[1].startswith(f"{gaps['deletion']['value']:.3f}".replace("-", "−")[:2])
    border = WHOLE["removal"]["border"]
    answered = {r[0]: r[1:] for r in shown["Classes answered to the border alone"][1:]}
    assert answered == {label: [str(n), str(border["answers"][label])] for label, n in border["present"].items()}
    text = Page.of(whole).text
    assert f"would be right in {max(border['present'].values()) / 214:.1%}" in text
    assert f"is {border['accuracy']['value']:.1%} (" in text
    beyond = WHOLE["removal"]["beyond"]
    assert f"changes accuracy by {points(beyond['value'])} points" in text
    assert "Besides the shuffling its recipe has stage.all.epochs = 2 instead of 8" in text


def test_charts_draw_the_figures_of_the_file(whole: str) -> None:
    cascade, deletion, insertion = re.findall(r'<svg class="chart".*?</svg>', whole, re.S)
    # the last step of the third method, shifted sideways by one: value 0.719 of an axis from 0 to 1
    dot = re.search(r'<circle class="dot c3" cx="([\d.]+)" cy="([\d.]+)" r="3"><title>([^<]*10 of 10[^<]*)', cascade)
    assert dot is not None
    assert dot.groups() == ("388.6", "71.3", "Integrated Gradients: 10 of 10 groups 0.72 (0.689 to 0.752)")
    assert cascade.count("<circle") == 15
    for chart, start in ((deletion, "M52 31.8L"), (insertion, "M52 162.6L")):
        lines = re.findall(r'<path class="line ([^"]*)" d="([^"]*)"', chart)
        assert sorted(look for look, _ in lines) == ["c0 dashed", "c1", "c2", "c3"]
        assert all(path.startswith(start) for _, path in lines)


def test_the_page_is_in_the_order_a_sceptic_asks(whole: str) -> None:
    text = Page.of(whole).text
    words = (
        "Brain MRI, ResNet-50",
        "214 images of brain-mri-boxes, scored against the annotated boxes of 123. Its test images without a copy",
        "A heatmap shows influence, not location.",
        "Of 3 methods, Layer-CAM was chosen on validation images; it has this share of its heat in the boxes: 45.1%",
        "Score of every method and its controls",
        "The same methods, random weights",
        "Controls without a model",
        "Not scored: attention-gradients (it needs a transformer).",
        "Every paired difference to a control",
        "Sanity check: the same model with random weights",
        "Accuracy with the boxes taken away",
        "Deletion and insertion",
        "Pictures, worst first",
        "not where the lesion is",
        "Layer-CAM under random weights: rank correlation 0.158",
        "tumorscope explain runs/a1 --score --data 'my boxes'",
        "61 images: copy of a training image",
    )
    text = text[text.rindex("Scored heatmaps") :]
    places = [text.find(w) for w in words]
    assert -1 not in places, words[places.index(-1)]
    assert places == sorted(places)


def test_marks_say_how_a_method_stands(whole: str) -> None:
    rows = {row[0]: row[1:] for row in tables(whole)["Score of every method and its controls"] if len(row) > 1}
    assert all("▲ above all" in cell for cell in rows["Layer-CAM Jiang et al. 2021"])
    (own,) = [cells for name, cells in rows.items() if name.startswith("Integrated Gradients Sund")]
    assert "≈ 1 of 6 not distinguishable from “where training boxes lie”; better than" in own[1]
    assert "▼ 1 ≈ 1 of 6 worse than “where training boxes lie”; not distinguishable from “a Gaussian" in own[2]
    assert "above all" not in "".join(rows["the same heat everywhere"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(removal=None), "Not measured: accuracy with the boxes removed"),
        (lambda c: c.update(curves=None), "Not measured: deletion and insertion curves."),
        (lambda c: c["curves"]["methods"].pop("random order"), "No random order was measured"),
        (lambda c: [m.update(gaps={}) for m in c["curves"]["methods"].values()], "No paired difference to a control"),
        (lambda c: c["score"].update(best_by="the scored images"), "the best of several methods on the same images"),
        (lambda c: c["score"].update(best="", best_by=""), "Layer-CAM has the largest share of its heat"),
        (lambda c: c.update(gallery=[]), "No picture was kept."),
        (lambda c: c.update(command=""), "The command was not recorded."),
        (lambda c: c["run"].update(bundle=""), "SHA-256 was not recorded"),
        (lambda c: c["data"].update(left_out={}), "No image was left out."),
        (lambda c: c["data"].update(left_out={"copies": 0}), "No image was left out."),
        (lambda c: c["score"].update(cascade={}), "No cascade of random weights was computed."),
        (lambda c: c["score"].update(cascade={}), "Whether random weights change its maps is not known."),
        (lambda c: c["score"].update(gaps={}), "nothing here is shown to be better than chance"),
        (lambda c: c["score"].update(gaps={}), "Layer-CAM was compared with no control"),
        (lambda c: c["score"].update(sources={}, gaps={}, cascade={}), "No method was scored."),
        (lambda c: [s.update(per_class={}) for s in c["score"]["sources"].values()], "No class was scored by itself."),
        (lambda c: c["score"]["sources"]["edges"]["overall"].pop("iou"), "undefined"),
        (lambda c: c["score"]["sources"]["edges"].pop("thresholds"), "not recorded"),
    ],
)
def test_a_missing_part_is_said(change: Change, words: str, tmp_path: Path, whole: str) -> None:
    assert words not in Page.of(whole).text
    page = Page.of(changed(tmp_path, change))
    assert words in page.text
    assert page.faults == []


def test_missing_pictures_are_said(tmp_path: Path) -> None:
    folder = write_explanations(tmp_path)
    (folder / "gallery.npz").unlink()
    page = render_explanations(folder).read_text(encoding="utf-8")
    assert "No pictures: gallery.npz is not beside explanations.json ." in Page.of(page).text
    assert "<script" not in page


def test_too_many_pictures_are_counted(tmp_path: Path) -> None:
    page = changed(tmp_path, lambda _: None, pictures=MOST_PICTURES + 2)
    assert page.count('class="heat"') == MOST_PICTURES
    assert "2 pictures more" in Page.of(page).text


def test_heat_is_kept_exactly_in_its_colours(whole: str) -> None:
    drawn = re.findall(r'class="heat" src="data:image/png;base64,([^"]+)"', whole)
    _, heats = pixels()
    assert len(drawn) == len(heats)
    for text, heat in zip(drawn, heats, strict=True):
        seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGBA"))
        np.testing.assert_array_equal(seen, coloured(heat.astype(np.float32) / 255))


def test_pictures_say_what_they_are(whole: str) -> None:
    page = Page.of(whole)
    assert "glioma 98.1% 0000.jpg Layer-CAM: 1.3% of the heat in the boxes, hottest pixel outside" in page.text
    assert "truth: meningioma" in page.text
    assert "hottest pixel in a box" in page.text
    own = [e.attributes for e in page.all("rect") if e.attributes["class"] == "own"]
    assert (own[0]["x"], own[0]["y"], own[0]["width"], own[0]["height"]) == ("0.2500", "0.3150", "0.2000", "0.1700")
    assert all(e.attributes.get("alt") for e in page.all("img"))


def test_the_markup_is_well_formed_and_can_be_read_aloud(whole: str) -> None:
    page = Page.of(whole)
    assert page.faults == []
    assert len(set(page.ids())) == len(page.ids())
    assert {e.attributes["href"][1:] for e in page.all("a")} <= set(page.ids())
    assert all("scope" in e.attributes for e in page.all("th"))
    assert {e.attributes["for"] for e in page.all("label")} <= set(page.ids())


def test_the_page_asks_for_nothing_outside_itself(whole: str) -> None:
    page = Page.of(whole)
    asked = ("src", "srcset", "href", "action", "data", "poster", "formaction")
    addresses = [e.attributes[a] for e in page.elements for a in asked if a in e.attributes]
    assert [a for a in addresses if not a.startswith(("data:", "#"))] == []
    assert "://" not in whole
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|import\(", whole)
    (script,) = re.findall(r"<script>(.*?)</script>", whole, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [e.attributes["content"] for e in page.all("meta") if "http-equiv" in e.attributes]
    assert policy == (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline';"
        f" script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def test_the_same_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    first = render_explanations(write_explanations(tmp_path / "a"))
    before = first.read_bytes()
    assert render_explanations(tmp_path / "a").read_bytes() == before
    assert render_explanations(write_explanations(tmp_path / "b")).read_bytes() == before


def poison(value: Any) -> Any:
    """Every string and name of the file with markup and half characters in it, except words the program knows."""
    known = {"method", "control", "random-weights", "model", *MEASURES}
    if isinstance(value, str):
        return value if value in known else f"{value}{EVIL}{SURROGATE}"
    if isinstance(value, dict):
        names = set(value) <= {*content(), *content()["score"], *content()["curves"], "rows"} or "kind" in value
        plain = names or {"low", "path", "cx", "recipe", "what", "deletion", "accuracy", "groups", "iou", "n"} & set(
            value
        )
        return {k if plain else poison(k): poison(v) for k, v in value.items()}
    return [poison(v) for v in value] if isinstance(value, list) else value


def test_nothing_of_a_hostile_name_becomes_markup(tmp_path: Path, whole: str) -> None:
    found = poison(content())
    assert "grad-cam" not in found["score"]["sources"]
    (tmp_path / "explanations.json").write_text(json.dumps(found))
    write_gallery(tmp_path, *pixels())
    raw = render_explanations(tmp_path).read_bytes()
    text = raw.decode("utf-8")
    page, plain = Page.of(text), Page.of(whole)
    assert page.faults == []
    assert {e.tag for e in page.elements} <= {e.tag for e in plain.elements}
    assert {n for e in page.elements for n in e.attributes} <= {n for e in plain.elements for n in e.attributes}
    assert text.lower().count("<script") == text.lower().count("</script") == 1
    assert text.count("</style>") == 1
    assert b"\x00" not in raw
    assert "alert(1)" in page.text
    assert "\\u202e${{7*7}}{% raw %}caf\\xe9 \\ud800\\x00" in page.text
    images = [e.attributes for e in page.all("p") if e.attributes.get("class") == "path"]
    assert images[0]["title"].startswith("Val/glioma/images/0000.jpg<script>alert(1)</script>\"'")


def test_what_the_score_gives_can_be_shown(tmp_path: Path) -> None:
    found = score(
        spot_subject(),
        cohort_of(spots(12, seed=3), np.arange(12, dtype=np.int64) // 2),
        methods=["grad-cam", "layer-cam"],
        references=References(train_boxes=spots(8, seed=5).boxes),
    )
    page = changed(tmp_path, lambda c: c.update(score=found, curves=None))
    shown = tables(page)["Score of every method and its controls"]
    assert len([row for row in shown[1:] if len(row) > 1]) == len(found["sources"])
    assert "Of 2 methods" in Page.of(page).text
    best = found["ceilings"]["7"]["pointing"]["value"]
    assert f"a map of 7 × 7 places, have pointing {best:.2f} and energy" in Page.of(page).text
