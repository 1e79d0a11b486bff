// Numbers and names as a reader sees them: rounding that never flatters, text that cannot hide. The rules are those
// of the run reports.

const SHARES = new Set(["accuracy", "balanced_accuracy", "sensitivity", "specificity", "ppv", "npv"]);
const METRIC_NAMES = {
  accuracy: "Accuracy",
  balanced_accuracy: "Balanced accuracy",
  macro_f1: "F1, mean of classes",
  weighted_f1: "F1, weighted by class size",
  mcc: "Matthews correlation",
  auroc: "AUROC",
  auprc: "AUPRC",
  brier: "Brier score",
  ece: "Expected calibration error",
  sensitivity: "Sensitivity",
  specificity: "Specificity",
  ppv: "PPV",
  npv: "NPV",
  f1: "F1",
};
const METHOD_NAMES = {
  "grad-cam": "Grad-CAM",
  "layer-cam": "Layer-CAM",
  "hires-cam": "HiResCAM, finer stage",
  "attention-gradients": "attention times gradients",
  "integrated-gradients": "Integrated Gradients",
  occlusion: "occlusion",
};
const LOWER_IS_BETTER = new Set(["brier", "ece", "log_loss"]);
const MINUS = "\u2212";

const own = (table, key) => (Object.hasOwn(table, key) ? table[key] : undefined);
const signed = (text) => text.replace("-", MINUS);

export const capital = (text) => text.slice(0, 1).toUpperCase() + text.slice(1);
export const number = (value) => value.toLocaleString("en");
export const metricName = (key) => own(METRIC_NAMES, key) ?? capital(key.replaceAll("_", " ").toLowerCase());
export const methodName = (key) => own(METHOD_NAMES, key) ?? key;
export const lowerIsBetter = (key) => LOWER_IS_BETTER.has(key);

/** `count` and the word for it: "1 image", "1,311 images". */
export const plural = (count, word) => `${number(count)} ${word}${count === 1 ? "" : "s"}`;

/** "a", "a and b", "a, b and c". */
export function listed(names, last = "and") {
  if (names.length < 2) return names.join("");
  return `${names.slice(0, -1).join(", ")} ${last} ${names.at(-1)}`;
}

/** One answer's probability: a percentage with one place that never claims certainty. */
export function probability(value) {
  if (value >= 0.9995 && value < 1) return "> 99.9%";
  return value > 0 && value < 0.0005 ? "< 0.1%" : `${(100 * value).toFixed(1)}%`;
}

/** `value` with three places; more where rounding would turn it into a perfect 0 or 1. */
export function decimal(value) {
  if (value === null || value === undefined) return "undefined";
  let text = "";
  for (let digits = 3; digits < 7; digits += 1) {
    text = value.toFixed(digits);
    if (![0, 1, -1].includes(Number(text)) || Number(text) === value) break;
  }
  return signed(Number(text) === 0 ? text.replace(/^-/, "") : text);
}

/** A share as a percentage with one place; 99.96% is never printed as 100.0%. */
export function percent(value, unit = "%") {
  if (value === null || value === undefined) return "undefined";
  let text = "";
  for (let digits = 1; digits < 5; digits += 1) {
    text = (100 * value).toFixed(digits);
    if (![0, 100].includes(Number(text)) || value === 0 || value === 1) break;
  }
  return signed(text) + unit;
}

/** A share without places it does not need: 0.9 is "90%". */
export const coverage = (value) => `${Number((100 * value).toFixed(1))}%`;

export const metricValue = (key, value) => (SHARES.has(key) ? percent(value) : decimal(value));

/** An interval: "80.3 to 91.0%" or "0.862 to 0.941"; "no interval" where it is undefined. */
export function metricRange(key, low, high) {
  if (typeof low !== "number" || typeof high !== "number") return "no interval";
  return SHARES.has(key) ? `${percent(low, "")} to ${percent(high)}` : `${decimal(low)} to ${decimal(high)}`;
}

/** A correlation with its sign and two places. */
export function correlation(value) {
  const text = value.toFixed(2);
  return Number(text) === 0 ? "0.00" : signed(value > 0 ? `+${text}` : text);
}

/** `text` with every character made visible that could hide or reorder what is read, such as direction overrides. */
export function shown(text) {
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu, (character) => {
    const point = character.codePointAt(0);
    const digits = point.toString(16);
    if (point < 0x100) return `\\x${digits.padStart(2, "0")}`;
    return point < 0x10000 ? `\\u${digits.padStart(4, "0")}` : `\\U${digits.padStart(8, "0")}`;
  });
}

/** What the prediction set says. `all` are the model's classes. */
export function setSentence(set, all) {
  if (set.length === 0) return "None: no class is probable enough.";
  if (set.length === all.length) return `Any of the ${all.length} classes: none is ruled out.`;
  if (set.length === 1) return `${shown(set[0])} alone`;
  return `One of: ${listed(set.map(shown), "or")}`;
}

const FIXES = {
  "empty-file": "Copy the file again; nothing arrived.",
  "not-an-image": "Choose a PNG, JPEG, TIFF, BMP, WebP, JPEG 2000 or PNM image.",
  truncated: "Copy the file again from where it came; its end is missing.",
  "multi-frame": "Save the one frame or page that is meant as a file of its own.",
  "too-small": "Use the image at its original size.",
  "too-large": "Use a smaller copy of the image.",
  unreadable: "Open the file in an image viewer and save it again as PNG.",
  "not-finite": "Export the image again; its pixel values are damaged.",
  refused: "Use an image of the kind this model was trained on.",
};

/** What to do about an image that has no answer; "" where nothing can be said. */
export const fixFor = (code) => own(FIXES, code) ?? "";
