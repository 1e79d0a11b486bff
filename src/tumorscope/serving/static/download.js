// All answers as a file, made in the browser; the columns are those of `tumorscope predict`, with `abstained` added.

const NEEDS_APOSTROPHE = /^'*[=+\-@\t\r\n]/;
const NEEDS_QUOTES = /[",\r\n]|^\s|\s$/;

/** `text` as a cell that a spreadsheet does not run (OWASP, CSV injection), quoted where needed (RFC 4180). */
export function cell(text) {
  const safe = NEEDS_APOSTROPHE.test(text) ? `'${text}` : text;
  return NEEDS_QUOTES.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** One item as a record; what is not there is null. */
export function record(item, classes) {
  const answer = item.state === "answered" ? item.answer : null;
  const fault = item.state === "failed" ? item.failure : answer === null ? { code: "waiting", detail: "no answer yet" } : answer.error;
  return {
    path: item.name,
    predicted: answer?.predicted ?? null,
    ...Object.fromEntries(classes.map((name) => [`prob_${name}`, answer?.probs?.[name] ?? null])),
    set: answer?.set ?? null,
    error: fault ? `${fault.code}: ${fault.detail}` : null,
    abstained: answer?.abstained ?? null,
  };
}

/** The answers as CSV, one row an image. */
export function asCsv(items, classes) {
  const columns = ["path", "predicted", ...classes.map((name) => `prob_${name}`), "set", "error", "abstained"];
  const rows = items.map((item) => {
    const found = record(item, classes);
    return columns.map((name) => {
      const value = found[name];
      if (value === null) return "";
      if (typeof value === "number") return String(Number(value.toPrecision(9)));
      return cell(Array.isArray(value) ? value.join("|") : value);
    });
  });
  return [columns.map(cell), ...rows].map((row) => `${row.join(",")}\n`).join("");
}

/** The answers as JSON, with the model that gave them. */
export function asJson(items, model) {
  const { title, identity, version, classes, coverage, research_use } = model;
  const answers = items.map((item) => record(item, classes));
  return `${JSON.stringify({ research_use, title, model: identity, version, classes, coverage, answers }, null, 2)}\n`;
}

/** Hand a text to the browser as a file. */
export function save(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
