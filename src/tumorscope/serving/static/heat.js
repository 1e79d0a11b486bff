// What moved one answer: heat over the image, with its opacity, class and method to choose, and its sanity check.

import { ApiError, call } from "./api.js";
import { announce, element, freshId } from "./dom.js";
import { capital, correlation, methodName, probability, shown } from "./words.js";

const LIKE = 0.5; // from here half of the order of pixels is the same with random weights
const OPACITY = 60;
const SETTLE_MS = 250; // arrow keys in a list pass over entries that nobody wants computed

function check(likeness) {
  if (typeof likeness !== "number") return element("p", { class: "check" }, "Sanity check: not made, the map is the same everywhere or has no heat.");
  const figure = element("strong", {}, correlation(likeness));
  if (likeness >= LIKE) {
    return element(
      "p",
      { class: "check notice warning" },
      element("span", { class: "tag care" }, "Doubtful map"),
      " Likeness to the map of the same network with random weights: ",
      figure,
      ". That is high: this map shows the picture more than what the model learned.",
    );
  }
  return element(
    "p",
    { class: "check" },
    "Sanity check: likeness to the map of the same network with random weights ",
    figure,
    `. Near 0 is good: the map depends on what was learned. From ${LIKE} on it would be doubtful.`,
  );
}

function picker(label, names, chosen, words, changed) {
  const id = freshId("choice");
  const select = element("select", { id, onchange: changed }, names.map((name) => element("option", { value: name, selected: name === chosen }, words(name))));
  return { select, field: element("p", { class: "field" }, element("label", { for: id }, label), select) };
}

/** Fill `place`; gives `open()`, which asks the server once, and `stop()`. */
export function heatPanel(place, { item, model, target }) {
  let control = null;
  let timer = 0;
  let asked = false;

  const wish = () => {
    clearTimeout(timer);
    control?.abort(new DOMException("replaced", "AbortError"));
    timer = setTimeout(ask, asked ? SETTLE_MS : 0);
    asked = true;
  };
  const classes = picker("Class explained", model.classes, target, shown, wish);
  const methods = picker("Method", model.methods, model.methods[0], (name) => capital(methodName(name)), wish);

  const slider = element("input", { type: "range", id: freshId("opacity"), min: 0, max: 100, step: 5, value: OPACITY, autocomplete: "off" });
  const value = element("output", { for: slider.id }, `${OPACITY}%`);
  const stage = element("div", { class: "stage picture" });
  const found = element("div", { class: "found" });
  const move = () => {
    stage.style.setProperty("--heat", String(slider.value / 100));
    value.textContent = `${slider.value}%`;
    slider.setAttribute("aria-valuetext", `${slider.value} percent`);
  };
  slider.addEventListener("input", move);
  move();

  const tools = element(
    "div",
    { class: "heat-tools" },
    classes.field,
    methods.field,
    element("p", { class: "field" }, element("label", { for: slider.id }, "Opacity of the heat"), element("span", { class: "row" }, slider, value)),
    element("p", { class: "ramp" }, "no heat ", element("span", { class: "colours", role: "img", "aria-label": "from clear and dark blue through gray to yellow" }), " most heat"),
    found,
  );
  place.replaceChildren(stage, tools);

  const say = (text, kind = "muted") => {
    found.replaceChildren(element("p", { class: kind }, text));
  };

  function show(answer) {
    const size = { width: answer.width, height: answer.height };
    const name = shown(item.name);
    const method = methodName(answer.method);
    stage.replaceChildren(
      element("img", { src: answer.image, ...size, alt: `Image ${name}` }),
      element("img", { class: "heat", src: answer.heat, ...size, alt: `Heat of ${method} for ${shown(answer.target)}` }),
    );
    const about = `${capital(method)} for “${shown(answer.target)}”. The most probable class is “${shown(answer.predicted)}”, ${probability(answer.prob)}.`;
    found.replaceChildren(element("p", {}, about), check(answer.likeness), element("p", { class: "caution" }, answer.caution));
    announce(`Heat of ${method} for ${answer.target} is shown.`);
  }

  async function ask() {
    control = new AbortController();
    const { signal } = control;
    place.setAttribute("aria-busy", "true");
    stage.classList.add("old");
    say("Computing the map and its sanity check.");
    const form = new FormData();
    try {
      form.append("file", new Blob([await item.file.arrayBuffer()], { type: item.file.type }), "image");
    } catch {
      return say("The browser can no longer read this file: it was moved or changed. Add it again.", "notice error");
    }
    form.append("target", classes.select.value);
    form.append("method", methods.select.value);
    try {
      const busy = (seconds) => say(`The server is busy. Trying again in ${seconds} s.`);
      show(await call("v1/explain", { body: form, signal, busy }));
      stage.classList.remove("old");
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      stage.replaceChildren();
      found.replaceChildren(
        element("p", { class: "notice error", role: "alert" }, `${shown(error.detail)} ${shown(error.fix ?? "")}`),
        element("button", { type: "button", onclick: wish }, "Try again"),
      );
    } finally {
      if (control?.signal === signal) place.removeAttribute("aria-busy");
    }
  }

  return {
    open: () => asked || wish(),
    stop: () => {
      clearTimeout(timer);
      control?.abort(new DOMException("closed", "AbortError"));
    },
  };
}
