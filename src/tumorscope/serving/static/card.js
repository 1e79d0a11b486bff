// One image and its answer.

import { element, freshId } from "./dom.js";
import { heatPanel } from "./heat.js";
import { capital, coverage, fixFor, probability, setSentence, shown } from "./words.js";

const most = (probs) => Object.entries(probs).reduce((best, one) => (one[1] > best[1] ? one : best))[0];

const LONG = 18; // characters of a class name that get a line of their own

function bars(probs, classes, named) {
  const rows = classes.map((name) => {
    const fill = element("i", {});
    fill.style.width = `${100 * Math.min(1, Math.max(0, probs[name]))}%`;
    return element(
      "li",
      { class: name === named ? "named" : null },
      element("span", { class: "label" }, shown(name)),
      element("span", { class: "track", "aria-hidden": "true" }, fill),
      " ",
      element("span", { class: "num" }, probability(probs[name])),
    );
  });
  const stacked = classes.some((name) => name.length > LONG);
  // the role is said because some browsers drop it from lists without bullets
  return element("ul", { class: stacked ? "probs stacked" : "probs", role: "list", "aria-label": "Calibrated probability of each class" }, rows);
}

const tag = (kind, text) => element("span", { class: `tag ${kind}` }, text);
const sentence = (text) => (text === "" ? "" : capital(text) + (/[.!?]$/.test(text) ? "" : "."));

function fault(word, { code, detail, fix }) {
  const next = fix || fixFor(code);
  return [
    element("p", { class: "said" }, tag(word === "Refused" ? "care" : "bad", word)),
    element("p", { class: "reason" }, sentence(shown(detail))),
    next ? element("p", { class: "reason muted" }, next) : null,
  ];
}

function answered(answer, model) {
  const { predicted, probs, set, abstained } = answer;
  const at = model.coverage === null ? "" : ` at ${coverage(model.coverage)} coverage`;
  const inSet = set === null ? null : element("p", { class: "set" }, element("span", { class: "key-word" }, `Prediction set${at}`), " ", setSentence(set, model.classes));
  if (abstained !== null) {
    return [
      element("p", { class: "said" }, tag("care", "No class named")),
      element("p", { class: "reason" }, sentence(shown(abstained))),
      probs === null ? null : element("p", { class: "reason muted" }, `Highest: ${shown(most(probs))}, ${probability(probs[most(probs)])}.`),
      inSet,
    ];
  }
  return [
    element(
      "p",
      { class: "said" },
      element("strong", { class: "class" }, shown(predicted)),
      " ",
      element("span", { class: "prob" }, probability(probs[predicted])),
      " ",
      element("span", { class: "key-word" }, "calibrated probability"),
    ),
    inSet,
  ];
}

/** The outcome of an item in one line. */
export function inWords({ state, answer, failure }) {
  if (state === "failed") return `not answered. ${sentence(shown(failure.detail))}`;
  const { error, abstained, predicted, probs } = answer;
  if (error !== null) return `${error.code === "refused" ? "refused" : "not read"}. ${sentence(shown(error.detail))}`;
  if (abstained !== null) return `no class named. ${sentence(shown(abstained))}`;
  return `${shown(predicted)}, ${probability(probs[predicted])}.`;
}

export class ItemCard {
  /** `remove(item)` is called by the card's own button. */
  constructor(item, { model, remove }) {
    this.item = item;
    this.model = model;
    this.panel = null;
    const id = freshId("image");
    this.picture = element("div", { class: "picture" });
    this.answer = element("div", { class: "answer" });
    this.bars = element("div", { class: "figures" });
    this.more = element("div", { class: "more" });
    this.heat = element("div", { class: "heat" });
    const name = element("h3", { id, class: "name" }, shown(item.name));
    const button = element("button", { type: "button", class: "plain", "aria-describedby": id, onclick: () => remove(item) }, "Remove");
    this.root = element(
      "li",
      {},
      element("article", { class: "card", "aria-labelledby": id }, this.picture, element("div", { class: "head" }, name, button), this.answer, this.bars, this.more, this.heat),
    );
    this.address = URL.createObjectURL(item.file);
    this.shows = new Promise((resolve) => {
      const image = element("img", { alt: "", decoding: "async", onload: () => resolve(true) });
      image.addEventListener("error", () => {
        this.show(null);
        resolve(false);
      });
      image.src = this.address;
      this.show(image);
    });
  }

  show(image) {
    this.picture.replaceChildren(image ?? element("span", { class: "no-preview" }, "no preview"));
  }

  /** Draw the item's state anew. */
  update() {
    const { item, model } = this;
    const busy = item.state === "waiting" || item.state === "sent";
    this.root.firstChild.setAttribute("aria-busy", String(busy));
    this.root.firstChild.dataset.state = item.state;
    this.bars.replaceChildren();
    if (busy) {
      this.answer.replaceChildren(element("p", { class: "said muted" }, item.state === "waiting" ? "Waiting" : "Asking the model"));
      this.closePanel();
    } else if (item.state === "failed") {
      this.answer.replaceChildren(...fault("Not answered", item.failure).filter(Boolean));
    } else if (item.answer.error !== null) {
      this.answer.replaceChildren(...fault(item.answer.error.code === "refused" ? "Refused" : "Not read", item.answer.error).filter(Boolean));
    } else {
      this.drawAnswer();
    }
    const thumbnail = item.answer?.thumbnail ?? null;
    if (thumbnail !== null && this.picture.querySelector("img") === null) {
      this.show(element("img", { src: thumbnail, alt: "" }));
    }
  }

  drawAnswer() {
    const { answer } = this.item;
    const { model } = this;
    this.answer.replaceChildren(...answered(answer, model).filter(Boolean));
    if (answer.probs === null) return;
    this.bars.replaceChildren(bars(answer.probs, model.classes, answer.abstained === null ? answer.predicted : null));
    if (model.methods.length > 0 && this.more.firstChild === null) this.offerHeat(answer.predicted ?? most(answer.probs));
  }

  offerHeat(target) {
    const id = freshId("heat");
    const body = element("div", { id, class: "heat-body", hidden: true });
    const words = (open) => (open ? "Hide what moved the answer" : "Show what moved the answer");
    const button = element("button", { type: "button", "aria-expanded": "false", "aria-controls": id }, words(false));
    button.addEventListener("click", () => {
      this.panel ??= heatPanel(body, { item: this.item, model: this.model, target });
      body.hidden = !body.hidden;
      button.setAttribute("aria-expanded", String(!body.hidden));
      button.textContent = words(!body.hidden);
      if (!body.hidden) this.panel.open();
    });
    this.more.replaceChildren(button);
    this.heat.replaceChildren(body);
  }

  closePanel() {
    this.panel?.stop();
    this.panel = null;
    this.more.replaceChildren();
    this.heat.replaceChildren();
  }

  /** Free what the card holds. */
  close() {
    this.closePanel();
    URL.revokeObjectURL(this.address);
    this.root.remove();
  }
}
