// Requests to the server. Addresses are relative, so that the page may lie behind a prefix.

/** What a server refuses, in one line for people. */
export class Refused extends Error {}

/** An address below api/: ids are encoded, empty parameters are left out. */
export function address(parts, parameters = {}) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(parameters)) {
    if (value !== "" && value !== null && value !== undefined) query.set(key, value);
  }
  const tail = query.size ? `?${query}` : "";
  return `api/${parts.map(encodeURIComponent).join("/")}${tail}`;
}

export const frameOf = (id, time_s, height_px) =>
  address(["recordings", id, "frame"], { t: Math.max(0, time_s).toFixed(1), h: height_px });
export const videoOf = (id) => address(["recordings", id, "video"]);

/** Send a request; a JSON value comes back, or a file where `isFile`. */
export async function request(
  path,
  { method = "GET", body = undefined, form = undefined, signal = undefined, isFile = false } = {},
) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers,
      signal,
      body: form ?? (body === undefined ? undefined : JSON.stringify(body)),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    document.dispatchEvent(new CustomEvent("surgvl:reach", { detail: false }));
    throw new Refused("The server does not answer: is surgvl still running?");
  }
  if (!answer.ok) throw new Refused(await refusal(answer));
  if (isFile) return { blob: await answer.blob(), name: fileName(answer) };
  return answer.status === 204 ? null : answer.json();
}

async function refusal(answer) {
  const text = await answer.text();
  try {
    return JSON.parse(text).error ?? `The server refused this (${answer.status})`;
  } catch {
    return `The server refused this (${answer.status})`;
  }
}

function fileName(answer) {
  const given = answer.headers.get("Content-Disposition") ?? "";
  const [, encoded] = given.match(/filename\*=UTF-8''([^;]+)/i) ?? [];
  const [, plain] = given.match(/filename="?([^";]+)"?/i) ?? [];
  return encoded ? decodeURIComponent(encoded) : (plain ?? "surgvl");
}

/** Upload files with the progress that fetch does not report; aborts with the signal. */
export function upload(path, form, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();
    sending.open("POST", path);
    sending.upload.addEventListener(
      "progress",
      (event) => event.lengthComputable && onProgress(event.loaded, event.total),
    );
    sending.addEventListener("error", () => reject(new Refused("The upload was cut off: try again")));
    sending.addEventListener("abort", () => reject(new DOMException("aborted", "AbortError")));
    sending.addEventListener("load", async () => {
      const answer = new Response(sending.response, { status: sending.status });
      if (answer.ok) resolve(JSON.parse(sending.response));
      else reject(new Refused(await refusal(answer)));
    });
    signal.addEventListener("abort", () => sending.abort());
    sending.send(form);
  });
}

/** Save a file that comes as the reply to a request. */
export async function saveReply(path, options) {
  const { blob, name } = await request(path, { ...options, isFile: true });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Only the newest request of a kind counts: earlier ones are given up. */
export function newest() {
  let last = null;
  return () => {
    last?.abort();
    last = new AbortController();
    return last.signal;
  };
}
