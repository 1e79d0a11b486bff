// Images waiting for answers: sent a few at a time, in the order they were added, one request after another.

import { ApiError, call } from "./api.js";

export const BATCH = 8;
const MOST_BYTES = 16e6; // of one request, so that answers come often also over a slow line
const SHARE_OF_BODY = 0.9; // the rest is for the form around the images

export class Queue {
  /**
   * `limits()` and `identity()` tell of the model that is open; `preview(item)` resolves to whether the browser can
   * show the item's file; `changed(items)` follows every change of items, `busy(seconds)` every wait.
   */
  constructor({ limits, identity, preview, changed, busy }) {
    Object.assign(this, { limits, identity, preview, changed, busy });
    this.waiting = [];
    this.running = false;
    this.control = null; // of the request on its way
  }

  add(items) {
    for (const item of items) item.state = "waiting";
    this.waiting.push(...items);
    this.changed(items);
    if (!this.running) this.run();
  }

  /** Forget an item; an answer on its way is dropped. */
  drop(item) {
    item.state = "dropped";
    this.waiting = this.waiting.filter((other) => other !== item);
  }

  /** Stop now; what has no answer yet is marked, and can be sent again. */
  cancel() {
    this.control?.abort(new DOMException("cancelled", "AbortError"));
    this.fail(this.waiting.splice(0), { code: "cancelled", detail: "Not sent: cancelled.", again: true });
  }

  async run() {
    this.running = true;
    try {
      while (this.waiting.length > 0) {
        this.control = new AbortController();
        await this.send(this.next(), this.control.signal);
      }
    } finally {
      this.running = false;
      this.control = null;
    }
  }

  /** Take the next items that fit into one request. */
  next() {
    const { body_mb: mb, files } = this.limits();
    const room = Math.min(MOST_BYTES, SHARE_OF_BODY * mb * 1e6);
    let bytes = 0;
    let count = 0;
    for (const { file } of this.waiting.slice(0, Math.min(BATCH, files))) {
      if (count > 0 && bytes + file.size > room) break;
      bytes += file.size;
      count += 1;
    }
    return this.waiting.splice(0, count);
  }

  /** The items that can be sent, with their bytes; the others get their reason. */
  async readable(batch) {
    const mb = this.limits().body_mb;
    const read = [];
    for (const item of batch) {
      if (item.file.size > mb * 1e6) {
        this.fail([item], { code: "too-large", detail: `Not sent: the server takes at most ${mb} MB.` });
        continue;
      }
      try {
        read.push([item, new Blob([await item.file.arrayBuffer()], { type: item.file.type })]);
      } catch {
        this.fail([item], { code: "unreadable", detail: "The browser cannot read this file: it was moved, changed or is a folder." });
      }
    }
    return read;
  }

  async send(batch, signal) {
    for (const item of batch) item.state = "sent";
    this.changed(batch);
    const read = await this.readable(batch);
    const seen = await Promise.all(read.map(([item]) => this.preview(item)));
    await this.ask(read, `v1/predict?thumbnails=${!seen.every(Boolean)}`, signal);
  }

  async ask(read, path, signal) {
    if (read.length === 0) return;
    const batch = read.map(([item]) => item);
    const form = new FormData();
    read.forEach(([, bytes], i) => form.append("files", bytes, `image-${i}`)); // a name may say who the patient is
    try {
      signal.throwIfAborted();
      this.take(batch, await call(path, { body: form, signal, busy: this.busy }));
    } catch (error) {
      if (signal.aborted) {
        this.fail(batch, { code: "cancelled", detail: "No answer: cancelled.", again: true });
      } else if (!(error instanceof ApiError)) {
        throw error;
      } else if (error.status === 413 && read.length > 1) {
        const half = Math.ceil(read.length / 2);
        await this.ask(read.slice(0, half), path, signal);
        await this.ask(read.slice(half), path, signal);
      } else {
        this.fail(batch, error);
        // what comes after would meet the same: it waits with the same reason for one click
        if (error.again) this.fail(this.waiting.splice(0), error);
      }
    }
  }

  take(batch, found) {
    if (found.model !== this.identity()) {
      const fix = "Reload this page, then add the images again.";
      throw new ApiError(200, { code: "other-model", detail: "The server now answers with another model.", fix });
    }
    const answers = batch.map((_, i) => found.answers.find((one) => one.index === i));
    if (answers.includes(undefined)) {
      throw new ApiError(200, { code: "bad-answer", detail: "The server left out an answer." }, true);
    }
    const kept = batch.filter((item) => item.state !== "dropped");
    batch.forEach((item, i) => {
      if (item.state !== "dropped") Object.assign(item, { answer: answers[i], state: "answered" });
    });
    this.changed(kept);
  }

  fail(items, { code, detail, fix = null, again = false }) {
    const kept = items.filter((item) => item.state !== "dropped");
    for (const item of kept) Object.assign(item, { state: "failed", failure: { code, detail, fix, again } });
    if (kept.length > 0) this.changed(kept);
  }
}
