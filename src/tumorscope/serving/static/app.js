// The page: what comes in goes to the queue, what comes back goes to cards, the summary and the live region.

import { showAbout } from "./about.js";
import { ApiError, call, onTokenNeeded } from "./api.js";
import { ItemCard, inWords } from "./card.js";
import { announce, element, find } from "./dom.js";
import { asCsv, asJson, save } from "./download.js";
import { watch } from "./intake.js";
import { Queue } from "./queue.js";
import { listed, number, plural, shown } from "./words.js";

const MOST = 500; // images on the page; more is work for the command line

let model = null;
let early = []; // files that came before the model was known
const items = [];
const cards = new Map();

const done = (item) => item.state === "answered" || item.state === "failed";
const queue = new Queue({
  limits: () => model.limits,
  identity: () => model.identity,
  preview: (item) => cards.get(item)?.shows ?? Promise.resolve(true),
  changed: (some) => {
    for (const item of some) cards.get(item)?.update();
    summarise(some.filter(done));
  },
  busy: (seconds) => {
    find("progress-text").textContent = `The server is busy. Trying again in ${plural(seconds, "second")}`;
  },
});

/** Counts by outcome, in words. */
function outcomes() {
  const answers = items.filter((item) => item.state === "answered").map((item) => item.answer);
  const read = answers.filter((answer) => answer.error === null);
  const counts = [
    ...model.classes.map((name) => [shown(name), read.filter((answer) => answer.abstained === null && answer.predicted === name).length]),
    ["no class named", read.filter((answer) => answer.abstained !== null).length],
    ["refused", answers.filter((answer) => answer.error?.code === "refused").length],
    ["not read", answers.filter((answer) => answer.error !== null && answer.error.code !== "refused").length],
    ["not answered", items.filter((item) => item.state === "failed").length],
  ];
  return counts.filter(([, count]) => count > 0).map(([name, count]) => `${name}\u00a0${number(count)}`);
}

function summarise(news) {
  const finished = items.filter(done).length;
  const running = finished < items.length;
  find("answers").hidden = items.length === 0;
  find("summary").textContent = outcomes().join(" · ");
  find("progress-line").hidden = !running;
  find("progress-text").textContent = `${number(finished)} of ${plural(items.length, "image")}`;
  find("progress").max = Math.max(1, items.length);
  find("progress").value = finished;
  find("cancel").hidden = !running;
  const again = items.filter((item) => item.state === "failed" && item.failure.again).length;
  find("again").hidden = running || again === 0;
  find("again").textContent = `Send ${plural(again, "image")} again`;
  for (const id of ["save-csv", "save-json"]) find(id).disabled = finished === 0;
  if (news.length === 0) return;
  if (running) announce(`${number(finished)} of ${plural(items.length, "image")} done.`);
  else if (news.length === 1) announce(`${shown(news[0].name)}: ${inWords(news[0])}`);
  else announce(`All ${plural(items.length, "image")} are done: ${listed(outcomes())}.`);
}

function note(text) {
  find("intake-note").hidden = text === "";
  find("intake-note").textContent = text;
}

function take(files) {
  if (model === null) {
    early.push(...files);
    return;
  }
  const room = MOST - items.length;
  note(
    files.length === 0
      ? "There was no file in what was added."
      : files.length > room
        ? `This page holds ${number(MOST)} images; ${number(files.length - Math.max(0, room))} were left out. For whole folders use “tumorscope predict”.`
        : "",
  );
  const fresh = files.slice(0, Math.max(0, room)).map((file) => ({ file, name: file.name, state: "waiting", answer: null, failure: null }));
  for (const item of fresh) {
    const card = new ItemCard(item, { model, remove });
    items.push(item);
    cards.set(item, card);
    find("cards").append(card.root);
  }
  if (fresh.length > 0) queue.add(fresh);
}

function forget(item) {
  queue.drop(item);
  cards.get(item).close();
  cards.delete(item);
  items.splice(items.indexOf(item), 1);
}

function remove(item) {
  const at = items.indexOf(item);
  forget(item);
  summarise([]);
  announce(`Removed. ${plural(items.length, "image")} left.`);
  const next = items[Math.min(at, items.length - 1)];
  (next ? cards.get(next).root.querySelector("button") : find("files")).focus();
}

function clear() {
  for (const item of [...items]) forget(item);
  queue.cancel();
  note("");
  summarise([]);
  announce("All images are removed.");
  find("files").focus();
}

function askToken(wrong) {
  const input = find("token");
  find("token-panel").hidden = false;
  if (model === null) find("title").textContent = "The model is not open yet";
  for (const id of ["intake", "about"]) find(id).hidden = model === null;
  find("token-wrong").hidden = !wrong;
  input.setAttribute("aria-invalid", String(wrong));
  input.focus();
  return new Promise((resolve) => {
    find("token-form").addEventListener(
      "submit",
      (event) => {
        event.preventDefault();
        for (const id of ["token-panel", "intake", "about"]) find(id).hidden = id === "token-panel";
        const given = input.value.trim();
        input.value = "";
        find("files").focus();
        resolve(given);
      },
      { once: true },
    );
  });
}

async function openModel() {
  const place = find("model-failed");
  place.hidden = true;
  try {
    model = await call("v1/model");
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    find("title").textContent = "The model is not open";
    place.replaceChildren(
      element("p", {}, `${shown(error.detail)} ${shown(error.fix ?? "")}`),
      element("button", { type: "button", onclick: openModel }, "Try again"),
    );
    place.hidden = false;
    return;
  }
  const title = shown(model.title);
  document.title = `${title} – tumorscope`;
  find("title").textContent = title;
  find("version").textContent = `tumorscope ${shown(model.version)}`;
  showAbout(find("about-body"), model);
  find("no-gate").hidden = model.gate;
  if (early.length > 0) take(early.splice(0));
}

/** The model's identity in a file name says which model gave the answers. */
const fileName = (extension) => `answers-${model.identity.replace(/[^\w]/g, "").slice(0, 8)}.${extension}`;

let asking = null;
onTokenNeeded((wrong) => {
  asking ??= askToken(wrong).finally(() => {
    asking = null;
  });
  return asking;
});
watch({ take, most: MOST });
find("cancel").addEventListener("click", () => queue.cancel());
find("again").addEventListener("click", () => {
  queue.add(items.filter((item) => item.state === "failed" && item.failure.again));
  find("files").focus();
});
find("clear").addEventListener("click", clear);
find("save-csv").addEventListener("click", () => save(fileName("csv"), "text/csv;charset=utf-8", asCsv(items, model.classes)));
find("save-json").addEventListener("click", () => save(fileName("json"), "application/json", asJson(items, model)));
openModel();
