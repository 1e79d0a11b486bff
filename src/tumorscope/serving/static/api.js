// Calls to this server, one at a time: asks for the token when the server wants one, waits when it is busy.

export class ApiError extends Error {
  /** `again` says that the same request may succeed later. */
  constructor(status, { code, detail, expected, fix }, again = false) {
    super(detail);
    Object.assign(this, { status, code, detail, expected: expected ?? null, fix: fix ?? null, again });
  }
}

const LONGEST_WAIT_S = 60;
const TRIES = 30;
let token = null;
let askToken = async () => {
  throw new Error("no way to ask for a token");
};

/** `ask(wrong)` gives a promise of the token; `wrong` says that the last one was not accepted. */
export function onTokenNeeded(ask) {
  askToken = ask;
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, 1000 * seconds);
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop, { once: true });
  });
}

function stoppable(promise, signal) {
  if (!signal) return promise;
  return Promise.race([
    promise,
    new Promise((_, reject) => {
      if (signal.aborted) reject(signal.reason);
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    }),
  ]);
}

function secondsToWait(response) {
  const asked = Number(response.headers.get("Retry-After"));
  return Math.min(Number.isFinite(asked) && asked > 0 ? asked : 1, LONGEST_WAIT_S);
}

async function problem(response) {
  let said = null;
  try {
    said = (await response.json()).error;
  } catch {
    // an answer that is no JSON, for instance of a proxy on the way: its status is all there is
  }
  const detail = said?.detail ?? `The server answered with status ${response.status}.`;
  const again = response.status >= 500 || response.status === 429 || said?.code === "too-slow";
  return new ApiError(response.status, { code: `http-${response.status}`, ...said, detail }, again);
}

/**
 * The JSON that the server answers.
 *
 * `busy(seconds)` is called before each wait of a full queue. Throws ApiError, or the signal's reason when stopped.
 */
export async function call(path, { body = null, signal = null, busy = () => {} } = {}) {
  let left = TRIES;
  let wrong = false;
  for (;;) {
    const sent = token;
    const headers = sent === null ? {} : { Authorization: `Bearer ${sent}` };
    let response;
    try {
      response = await fetch(path, { method: body === null ? "GET" : "POST", body, headers, signal, redirect: "error" });
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      const detail = "The server could not be reached.";
      throw new ApiError(0, { code: "unreachable", detail, fix: "See that it is still running, then send again." }, true);
    }
    if (response.status === 401) {
      // another call may have got a token meanwhile
      if (sent === token) {
        wrong = sent !== null;
        token = await stoppable(askToken(wrong), signal);
      }
    } else if (response.status === 429 && (left -= 1) > 0) {
      const seconds = secondsToWait(response);
      busy(seconds);
      await pause(seconds, signal);
    } else if (!response.ok) {
      throw await problem(response);
    } else {
      try {
        return await response.json();
      } catch (error) {
        if (signal?.aborted) throw signal.reason;
        throw new ApiError(response.status, { code: "bad-answer", detail: "The server's answer was cut off." }, true);
      }
    }
  }
}
