// Files from the button, dropped anywhere on the page, or pasted.

import { find } from "./dom.js";

/** All files of dropped entries, folders opened, hidden files left out, at most `most`. */
async function opened(entries, most) {
  const files = [];
  const open = [...entries];
  while (open.length > 0 && files.length <= most) {
    const entry = open.shift();
    if (entry.isFile) {
      files.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
    } else {
      const reader = entry.createReader();
      const inside = [];
      for (;;) {
        const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
        if (part.length === 0) break;
        inside.push(...part);
      }
      inside.sort((a, b) => (a.name < b.name ? -1 : 1));
      open.unshift(...inside.filter((one) => !one.name.startsWith(".")));
    }
  }
  return files;
}

/** Call `take(files)` for whatever comes in; `most` bounds how many files of folders are listed. */
export function watch({ take, most }) {
  const input = find("files");
  const drop = find("drop");
  input.addEventListener("change", () => {
    const files = [...input.files];
    input.value = ""; // so that the same file can be chosen again
    take(files);
  });

  const carries = (event) => [...event.dataTransfer.types].includes("Files");
  // over every element there is an enter and a leave: only the balance says whether the pointer is on the page
  let depth = 0;
  const mark = (by) => {
    depth = by === 0 ? 0 : Math.max(0, depth + by);
    drop.classList.toggle("over", depth > 0);
  };
  document.addEventListener("dragenter", (event) => carries(event) && mark(1));
  document.addEventListener("dragleave", (event) => carries(event) && mark(-1));
  document.addEventListener("dragover", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  });
  document.addEventListener("drop", async (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    mark(0);
    const plain = [...event.dataTransfer.files];
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const folders = entries.some((entry) => entry.isDirectory);
    take(folders ? await opened(entries, most) : plain);
  });

  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0) return;
    event.preventDefault();
    take(files);
  });
}
