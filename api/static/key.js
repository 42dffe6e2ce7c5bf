// The API key, kept in this browser tab only, and a fetch that sends it and measures.
"use strict";

function keyField() {
  const input = document.getElementById("key");
  input.value = sessionStorage.getItem("refold-key") || "";
  input.addEventListener("change", () => sessionStorage.setItem("refold-key", input.value.trim()));
}

async function ask(method, path, body, type = "application/json") {
  const headers = {};
  const key = sessionStorage.getItem("refold-key");
  if (key) headers["X-API-Key"] = key;
  if (body !== undefined) headers["Content-Type"] = type;
  const began = performance.now();
  const reply = await fetch(path, { method, headers, body });
  const text = await reply.text();
  const ms = performance.now() - began;
  let value = text;
  try { value = JSON.parse(text); } catch { /* not JSON: shown as it is */ }
  return { status: reply.status, ok: reply.ok, ms, text, value };
}

function element(name, text, more = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  return Object.assign(made, more);
}
