"use strict";
// The gallery: filters, pages, blink and marks. Everything is read from this file; nothing is asked from outside.
(() => {
  const byId = (id) => document.getElementById(id);
  const taken = (id) => JSON.parse(byId(id).textContent);
  const { address, chunk, size, kinds, images, cells, pairs } = taken("pair-data");
  const first = taken("first-picture");
  const gallery = byId("gallery");
  const filters = byId("filters");
  const [A, B, KIND, SCORE, SCORE_TEXT, MIRRORED, QUARTER] = [0, 1, 2, 3, 4, 5, 6];
  const [PATH, SPLIT, LABEL] = [0, 1, 2];
  const MARKS = { c: "copy", d: "different", u: "unsure" };
  const made = (tag, className, textContent) => Object.assign(document.createElement(tag), { className, textContent });
  const many = (n) => n.toLocaleString("en-GB");

  // Pictures: those of the first page stand in the markup, the others in chunks that are unpacked when needed.
  const pictures = new Map([...gallery.querySelectorAll("img")].map((img) => [Number(img.dataset.picture), img.src]));
  const chunks = [...document.querySelectorAll("script.pictures")];
  function picture(number) {
    if (!pictures.has(number)) {
      const at = Math.floor((number - first) / chunk);
      JSON.parse(chunks[at].textContent).forEach((text, i) => pictures.set(first + at * chunk + i, address + text));
      chunks[at].remove();
    }
    return pictures.get(number);
  }

  // What a pair is.
  const ends = (pair) => [images[pair[A]], images[pair[B]]];
  const acrossParts = (pair) => ends(pair).every((i) => i[SPLIT]) && images[pair[A]][SPLIT] !== images[pair[B]][SPLIT];
  const acrossClasses = (pair) => images[pair[A]][LABEL] !== images[pair[B]][LABEL];
  const undone = (pair) => {
    const parts = [...(pair[MIRRORED] ? ["mirrored"] : []), ...(pair[QUARTER] ? ["turned"] : [])];
    return parts.length ? parts.join(", ") + " back" : "";
  };
  // One place, more where rounding would turn the share into a perfect 0% or 100%.
  function percent(value) {
    let text = "";
    for (let digits = 1; digits < 5; digits += 1) {
      text = (100 * value).toFixed(digits);
      if (![0, 100].includes(Number(text)) || value === 0 || value === 1) break;
    }
    return text;
  }

  // State: which pairs, in which order, which page, which marks.
  const orders = {
    gravest: (a, b) => a - b,
    high: (a, b) => pairs[b][SCORE] - pairs[a][SCORE] || a - b,
    low: (a, b) => pairs[a][SCORE] - pairs[b][SCORE] || a - b,
    sample: (a, b) => places()[a] - places()[b],
  };
  let shuffled = null;
  function places() {
    // The same for every reader: Fisher and Yates with a linear congruential generator (Numerical Recipes).
    if (shuffled === null) {
      shuffled = pairs.map((_, i) => i);
      let state = 1;
      for (let i = shuffled.length - 1; i > 0; i -= 1) {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        const j = Math.floor((state / 4294967296) * (i + 1));
        [shuffled[i], shuffled[j]] = [shuffled[j], shuffled[i]];
      }
    }
    return shuffled;
  }
  let list = pairs.map((_, i) => i);
  let page = 0;
  const marks = new Map();
  let unsaved = false;

  function choose() {
    const form = new FormData(filters);
    const wanted = new Set(form.getAll("kind"));
    const only = new Set(form.getAll("only"));
    list = pairs.map((_, i) => i).filter((i) => {
      const pair = pairs[i];
      return wanted.has(kinds[pair[KIND]][0])
        && (!only.has("parts") || acrossParts(pair))
        && (!only.has("classes") || acrossClasses(pair))
        && (!only.has("mirrored") || pair[MIRRORED]);
    }).sort(orders[form.get("order")]);
    page = 0;
    draw();
  }

  function card(index) {
    const pair = pairs[index];
    const node = byId("card").content.firstElementChild.cloneNode(true);
    const at = (selector) => node.querySelector(selector);
    const article = at(".pair");
    article.dataset.index = index;
    at(".kind").textContent = kinds[pair[KIND]][1];
    at(".score").textContent = pair[SCORE_TEXT];
    for (const [holds, text] of [[acrossParts(pair), "across parts"], [acrossClasses(pair), "across classes"]]) {
      if (holds) at(".flags").append(made("span", "flag", text));
    }
    node.querySelectorAll("img").forEach((img, side) => {
      img.dataset.picture = pair[side];
      img.src = picture(pair[side]);
    });
    at(".second").className = `frame second${pair[MIRRORED] ? " flip" : ""} turn${pair[QUARTER]}`;
    at(".undone").textContent = undone(pair);
    if (!undone(pair)) at(".as-stored").remove();
    node.querySelectorAll(".side").forEach((side, i) => {
      const image = images[pair[i]];
      const what = side.querySelector(".what");
      if (image[SPLIT]) what.append(made("span", "part", image[SPLIT]), " ");
      what.append(made("span", "label", image[LABEL]));
      // A path may be broken after / and #, so that numbers stay whole.
      image[PATH].split(/(?<=[/#])/).forEach((piece, at) => {
        side.querySelector(".path").append(...(at ? [made("wbr", "", "")] : []), piece);
      });
    });
    press(article, marks.get(index));
    return node;
  }

  const pages = () => Math.max(1, Math.ceil(list.length / size));
  function draw() {
    const start = page * size;
    const some = list.slice(start, start + size);
    gallery.replaceChildren(...some.map(card));
    const order = filters.elements.order.selectedOptions[0].textContent;
    byId("count").textContent = some.length
      ? `Pairs ${many(start + 1)} to ${many(start + some.length)} of ${many(list.length)}, ${order}.`
      : "No pair is left by these filters.";
    for (const pager of document.querySelectorAll(".pager")) {
      pager.hidden = pages() === 1;
      pager.querySelector(".position").textContent = `Page ${many(page + 1)} of ${many(pages())}`;
      pager.querySelector("[data-step='-1']").disabled = page === 0;
      pager.querySelector("[data-step='1']").disabled = page === pages() - 1;
    }
  }
  function turn(step) {
    const next = page + step;
    if (next < 0 || next >= pages()) return false;
    page = next;
    draw();
    byId("count").scrollIntoView();
    return true;
  }

  // Marks.
  const cards = () => [...gallery.querySelectorAll(".pair")];
  const current = () => document.activeElement?.closest?.("#gallery .pair") ?? null;
  function go(step) {
    const here = cards().indexOf(current()) + step;
    if (here >= 0 && here < cards().length) cards()[here].focus();
    else if (turn(step)) cards().at(step > 0 ? 0 : -1).focus();
  }
  function press(article, mark) {
    for (const button of article.querySelectorAll("[data-mark]")) {
      button.setAttribute("aria-pressed", String(button.dataset.mark === mark));
    }
  }
  function setMark(article, mark) {
    const index = Number(article.dataset.index);
    if (mark === undefined) marks.delete(index);
    else marks.set(index, mark);
    unsaved = marks.size > 0;
    press(article, mark);
    tell();
  }
  function wilson(k, n) {
    // Score interval at 95% (Wilson 1927).
    const z = 1.959963984540054;
    const p = k / n;
    const centre = (p + (z * z) / (2 * n)) / (1 + (z * z) / n);
    const half = (z / (1 + (z * z) / n)) * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n));
    return [k === 0 ? 0 : centre - half, k === n ? 1 : centre + half];
  }
  function share(tally) {
    const judged = tally.copy + tally.different;
    if (!judged) return ["–", ""];
    const [low, high] = wilson(tally.copy, judged);
    return [`${percent(tally.copy / judged)}%`, `${percent(low)} to ${percent(high)}%`];
  }
  function tell() {
    const none = () => ({ copy: 0, different: 0, unsure: 0 });
    const all = none();
    const byKind = new Map();
    for (const [index, mark] of [...marks].sort((a, b) => a[0] - b[0])) {
      const kind = pairs[index][KIND];
      if (!byKind.has(kind)) byKind.set(kind, none());
      all[mark] += 1;
      byKind.get(kind)[mark] += 1;
    }
    byId("marked").hidden = marks.size === 0;
    byId("marked-count").textContent = `${many(marks.size)} marked: ${many(all.copy)} copy, ${many(all.different)} different, ${many(all.unsure)} unsure.`;
    byId("marked-share").textContent = all.copy + all.different ? `True copies ${share(all).join(" (")}).` : "";
    byId("marked-kinds").replaceChildren(...[...byKind].sort((a, b) => a[0] - b[0]).map(([kind, tally]) => {
      const row = made("tr", "", "");
      const name = Object.assign(made("th", "", kinds[kind][1]), { scope: "row" });
      const [value, range] = share(tally);
      const cells = [many(tally.copy), many(tally.different), many(tally.unsure), `${value} `].map((text) => made("td", "num", text));
      cells.at(-1).append(made("span", "range", range));
      row.append(name, ...cells);
      return row;
    }));
  }
  // Paths and scores are spelled as in pairs.csv, so that the marks can be joined to it.
  const name = (number) => cells[number] ?? images[number][PATH];
  const cell = (text) => /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  function download() {
    const rows = [...marks].sort((a, b) => a[0] - b[0]).map(([index, mark]) => {
      const pair = pairs[index];
      return [name(pair[A]), name(pair[B]), kinds[pair[KIND]][0], pair[SCORE].toFixed(4), mark];
    });
    const text = [["image_a", "image_b", "kind", "score", "mark"], ...rows].map((row) => row.map(cell).join(",") + "\n").join("");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = "audit-marks.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    unsaved = false;
  }

  // Events.
  filters.addEventListener("change", choose);
  filters.addEventListener("submit", (event) => event.preventDefault());
  for (const button of document.querySelectorAll(".pager button")) {
    button.addEventListener("click", () => turn(Number(button.dataset.step)));
  }
  gallery.addEventListener("click", (event) => {
    const button = event.target.closest("[data-mark]");
    if (button === null) return;
    setMark(button.closest(".pair"), button.getAttribute("aria-pressed") === "true" ? undefined : button.dataset.mark);
  });
  byId("download").addEventListener("click", download);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("select, .scroll, pre")) return;
    const article = current();
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      if (turn(event.key === "ArrowRight" ? 1 : -1)) event.preventDefault();
    } else if (article === null) {
      return;
    } else if (event.key in MARKS) {
      setMark(article, MARKS[event.key]);
      go(1);
    } else if (event.key === "b") {
      article.querySelector(".blink").click();
    } else if (event.key === "j" || event.key === "k") {
      go(event.key === "j" ? 1 : -1);
    }
  });
  window.addEventListener("beforeunload", (event) => {
    if (unsaved) event.preventDefault();
  });

  filters.hidden = byId("judging").hidden = false;
  byId("no-script").hidden = true;
  filters.reset();
  choose();
})();
