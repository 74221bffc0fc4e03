// Requests to this endpoint; a refusal becomes a Refused with one plain line.

import { say } from "./words.js";

export class Refused extends Error {}

function refusalOf(status, text, retryAfter) {
  let error = "";
  try {
    error = JSON.parse(text).error ?? "";
  } catch {
    error = `${status}`;
  }
  error = error.charAt(0).toUpperCase() + error.slice(1);
  if (!/[.。！!]$/.test(error)) error += ".";
  const seconds = Number(retryAfter);
  return new Refused(retryAfter && seconds >= 0 ? say("wait", { error, seconds }) : error);
}

export async function getJson(path) {
  let answer;
  try {
    answer = await fetch(path, { headers: { Accept: "application/json" }, cache: "no-store" });
  } catch {
    throw new Refused(say("unreachable"));
  }
  const text = await answer.text();
  if (!answer.ok) throw refusalOf(answer.status, text, answer.headers.get("Retry-After"));
  return JSON.parse(text);
}

export async function postJson(path, content) {
  let answer;
  const headers = { "Content-Type": "application/json" };
  try {
    answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(content) });
  } catch {
    throw new Refused(say("unreachable"));
  }
  const text = await answer.text();
  if (!answer.ok) throw refusalOf(answer.status, text, answer.headers.get("Retry-After"));
  return JSON.parse(text);
}

// Sends a form; `sent` is told the share that is sent, `signal` ends it.
export function postForm(path, form, sent, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.setRequestHeader("Accept", "application/json");
    request.upload.onprogress = (event) => event.lengthComputable && sent(event.loaded / event.total);
    request.onerror = () => reject(new Refused(say("unreachable")));
    request.onabort = () => reject(new Refused(say("cancelled")));
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) {
        resolve(JSON.parse(request.responseText));
      } else {
        const after = request.getResponseHeader("Retry-After");
        reject(refusalOf(request.status, request.responseText, after));
      }
    };
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}
