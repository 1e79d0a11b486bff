// Elements without markup strings: whatever comes from a file, its name or the server enters as text.

/**
 * A new element. `attributes` are set as attributes, true for a bare one, and left out where null or false; functions
 * become listeners ("onclick"). `children` are elements, strings or null.
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.replace(/^on/, ""), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, String(value));
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

export const find = (id) => document.getElementById(id);

let turn = 0;

/** Tell a screen reader; the same sentence twice is said twice. */
export function announce(text) {
  turn = 1 - turn;
  find("live").textContent = text + (turn ? "\u00a0" : "");
}

let count = 0;

/** An id that no other element has. */
export const freshId = (word) => `${word}-${(count += 1)}`;
