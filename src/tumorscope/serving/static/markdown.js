// A model card's Markdown as elements: headings, paragraphs, lists, tables, code. Anything else stays text. No markup
// of the card reaches the page, and links are shown, not followed.

import { element } from "./dom.js";
import { shown } from "./words.js";

const INLINE = /(`+)(.+?)\1|\*\*(.+?)\*\*|!?\[([^\]]*)\]\(([^)\s]+)[^)]*\)/g;

/** Text with code, strong words and links. */
function inline(text) {
  const parts = [];
  let last = 0;
  for (const found of text.matchAll(INLINE)) {
    const [all, , code, strong, name, address] = found;
    parts.push(shown(text.slice(last, found.index)));
    if (code !== undefined) parts.push(element("code", {}, shown(code)));
    else if (strong !== undefined) parts.push(element("strong", {}, shown(strong)));
    else parts.push(shown(name === address ? name : `${name} (${address})`));
    last = found.index + all.length;
  }
  parts.push(shown(text.slice(last)));
  return parts.filter((part) => part !== "");
}

const cells = (line) =>
  line
    .trim()
    .replace(/^\||\|$/g, "")
    .split(/(?<!\\)\|/)
    .map((text) => text.trim().replaceAll("\\|", "|"));

function table(lines) {
  const [head, , ...rows] = lines.map(cells);
  const numeric = head.map((_, i) => rows.length > 0 && rows.every((row) => /^[<>−\-+\d.,%\s]*(to [\d.,%]+)?$/.test(row[i] ?? "")));
  const line = (row, tag) =>
    element(
      "tr",
      {},
      row.map((text, i) => element(tag, { scope: tag === "th" ? "col" : null, class: numeric[i] ? "num" : null }, inline(text))),
    );
  return element(
    "div",
    { class: "scroll", tabindex: 0, role: "group", "aria-label": "Table, can be scrolled sideways" },
    element("table", { "aria-label": "Table of the model card" }, element("thead", {}, line(head, "th")), element("tbody", {}, rows.map((row) => line(row, "td")))),
  );
}

const BLOCKS = [
  { name: "heading", starts: /^#{1,6}\s/ },
  { name: "fence", starts: /^```/ },
  { name: "table", starts: /^\s*\|/ },
  { name: "list", starts: /^\s*(?:[-*+]|\d+[.)])\s/ },
];

/** Elements for a card; the first heading becomes an h`level`. */
export function markdown(text, level = 4) {
  const lines = text.replaceAll("\r\n", "\n").replace(/^---\n[\s\S]*?\n---\n/, "").split("\n");
  const made = [];
  let at = 0;
  const kind = (line) => BLOCKS.find(({ starts }) => starts.test(line))?.name ?? (line.trim() ? "text" : "blank");
  const takeWhile = (wanted) => {
    const from = at;
    while (at < lines.length && wanted(lines[at], at - from)) at += 1;
    return lines.slice(from, at);
  };
  while (at < lines.length) {
    const line = lines[at];
    const found = kind(line);
    if (found === "blank") {
      at += 1;
    } else if (found === "heading") {
      const depth = Math.min(6, level + line.match(/^#+/)[0].length - 1);
      made.push(element(`h${depth}`, {}, inline(line.replace(/^#+\s+/, "").replace(/\s+#+\s*$/, ""))));
      at += 1;
    } else if (found === "fence") {
      at += 1;
      const code = takeWhile((one) => !one.startsWith("```"));
      at += 1;
      made.push(element("pre", { tabindex: 0 }, element("code", {}, code.map(shown).join("\n"))));
    } else if (found === "table") {
      made.push(table(takeWhile((one) => kind(one) === "table")));
    } else if (found === "list") {
      const first = line.match(/^\s*(\d+)[.)]\s/);
      const entries = [];
      for (const one of takeWhile((other, n) => n === 0 || kind(other) === "list" || /^\s+\S/.test(other))) {
        if (kind(one) === "list") entries.push(one.replace(/^\s*(?:[-*+]|\d+[.)])\s+/, ""));
        else entries.push(`${entries.pop()} ${one.trim()}`);
      }
      const items = entries.map((entry) => element("li", {}, inline(entry)));
      made.push(first ? element("ol", { start: first[1] }, items) : element("ul", {}, items));
    } else {
      made.push(element("p", {}, inline(takeWhile((one, n) => n === 0 || kind(one) === "text").map((one) => one.trim()).join(" "))));
    }
  }
  return made;
}
