// What the model is, how well it did, and what it cannot do.

import { element } from "./dom.js";
import { markdown } from "./markdown.js";
import { coverage, decimal, lowerIsBetter, metricName, metricRange, metricValue, number, plural, shown } from "./words.js";

const FIRST = ["accuracy", "balanced_accuracy", "auroc", "sensitivity", "specificity", "macro_f1"];

/** What test images with a copy in training or validation mean for the figures. */
function inflated(n, clean) {
  if (clean === null || clean.n === n) return null;
  const { accuracy } = clean.metrics;
  const rest =
    accuracy === undefined
      ? ""
      : ` On the ${number(clean.n)} others: accuracy ${metricValue("accuracy", accuracy.value)} (${metricRange("accuracy", accuracy.low, accuracy.high)}).`;
  return element("p", { class: "notice warning" }, `${number(n - clean.n)} of the ${plural(n, "test image")} have a copy among the training or validation images: these figures do not say how it does on new ones.${rest}`);
}

function results({ n, metrics }) {
  const names = Object.keys(metrics);
  if (names.length === 0) return element("p", { class: "muted" }, "The card holds no test results.");
  const order = [...FIRST.filter((name) => names.includes(name)), ...names.filter((name) => !FIRST.includes(name))];
  const rows = order.map((name) => {
    const { value, low, high } = metrics[name];
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, metricName(name), lowerIsBetter(name) ? element("span", { class: "n" }, " lower is better") : null),
      element("td", { class: "num" }, metricValue(name, value), element("span", { class: "range" }, metricRange(name, low, high))),
    );
  });
  return element(
    "table",
    { class: "results" },
    element("caption", {}, `Results on ${plural(n, "test image")}`),
    element(
      "thead",
      {},
      element(
        "tr",
        {},
        element("th", { scope: "col" }, `${plural(n, "test image")}`),
        element("th", { scope: "col", class: "num" }, "Value", element("span", { class: "range" }, "95% interval")),
      ),
    ),
    element("tbody", {}, rows),
  );
}

function classes({ classes: names, positive }) {
  return element(
    "ul",
    { class: "classes" },
    names.map((name) => element("li", {}, shown(name), name === positive ? element("span", { class: "n" }, " positive class") : null)),
  );
}

function bounds(model) {
  const said = [
    model.gate
      ? "It refuses images that are unlike its training data. The check misses some."
      : "It has no check of its input: it answers for any picture, also for one that is no scan.",
    model.coverage === null
      ? "It gives no prediction sets."
      : `Of new images like its validation images, about ${coverage(model.coverage)} of each class get a set that holds their class.`,
    "Results hold for images like those it was tested on. On other scanners, protocols or patients they may be worse.",
  ];
  if (model.methods.length > 0) said.push("Heat shows influence on the answer, not the place of a lesion.");
  return element("ul", { class: "limits" }, said.map((text) => element("li", {}, text)));
}

function facts(model) {
  const { size_px: size, channels } = model.input;
  const { body_mb: mb, megapixels, min_side_px: side } = model.limits;
  const pairs = [
    ["Recipe", element("code", {}, shown(model.recipe))],
    ["Input", `${size} × ${size} px, ${channels === 1 ? "gray" : "colour"}`],
    ["Temperature", decimal(model.temperature)],
    ["Licence", shown(model.licence || "not stated")],
    ["Accepted", `files up to ${number(mb)} MB, ${number(side)} px or more on each side, up to ${number(megapixels)} megapixels`],
    ["Identity", element("code", {}, shown(model.identity))],
  ];
  return element("dl", { class: "facts" }, pairs.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
}

/** Fill `place` with the answer of /v1/model. */
export function showAbout(place, model) {
  place.replaceChildren(
    element("h3", {}, "Classes it tells apart"),
    classes(model),
    element("h3", {}, "Limits"),
    bounds(model),
    element("h3", {}, "Test results"),
    inflated(model.results.n, model.results.without_copies) ?? "",
    results(model.results),
    element("h3", {}, "Model"),
    facts(model),
    element("details", {}, element("summary", {}, "Model card"), element("div", { class: "card-text" }, markdown(model.card, 4))),
  );
}
