// Pick a user, see the list, click an item; the list is asked again until it reflects the click.
"use strict";

const at = (id) => document.getElementById(id);
const titles = new Map();
let before = new Set();
let answer = null;

async function recommend() {
  const user = at("user").value.trim();
  const query = new URLSearchParams({ n: at("n").value, surface: at("surface").value.trim() });
  const reply = await ask("GET", `/v1/recommend/${encodeURIComponent(user)}?${query}`);
  if (!reply.ok) { say(reply.value.detail || reply.text, true); return null; }
  answer = reply.value;
  localStorage.setItem("refold-user", user);
  return reply;
}

async function describe(id) {
  if (!titles.has(id)) {
    const reply = await ask("GET", `/v1/items/${encodeURIComponent(id)}`);
    titles.set(id, (reply.ok && reply.value.catalogue) || {});
  }
  return titles.get(id);
}

async function show(reply, note) {
  const items = reply.value.items || [];
  const described = await Promise.all(items.map((item) => describe(item.item_id)));
  const rows = items.map((item, n) => {
    const row = element("tr", undefined, { className: before.size && !before.has(item.item_id) ? "new" : "" });
    const title = element("td", described[n].title || item.item_id);
    title.append(element("div", item.item_id, { className: "soft" }));
    const act = element("td");
    act.append(element("button", at("type").value, { onclick: () => say_event(item, n) }));
    row.append(
      element("td", String(n + 1)), title, element("td", (described[n].categories || []).join(", ")),
      element("td", item.score.toFixed(4), { className: "number" }), element("td", item.source), act);
    return row;
  });
  at("list").replaceChildren(...rows);
  before = new Set(items.map((item) => item.item_id));
  const rung = reply.value.rung + (reply.value.reason ? ` (${reply.value.reason})` : "");
  const lag = (reply.value.state || {}).lag;
  say(`${items.length} items, rung ${rung}, ${reply.ms.toFixed(1)} ms, replica lag ${lag ?? "?"}. ${note || ""}`);
  await known();
}

async function known() {
  const reply = await ask("GET", `/v1/users/${encodeURIComponent(at("user").value.trim())}`);
  if (!reply.ok) { at("known").textContent = reply.value.detail || reply.text; return; }
  const { affinity, totals, session, trail } = reply.value;
  at("known").textContent = JSON.stringify({ affinity, totals, session, trail }, null, 2);
}

async function say_event(item, n) {
  const began = performance.now();
  const event = {
    type: at("type").value, user_id: at("user").value.trim(), item_id: item.item_id,
    request_id: answer.request_id, surface: answer.surface, position: n,
  };
  const reply = await ask("POST", "/v1/events", JSON.stringify(event));
  if (!reply.ok) { say(reply.value.detail || reply.text, true); return; }
  const offset = Math.max(...Object.values(reply.value.offsets));
  let list = null;
  while (performance.now() - began < 3000) {
    list = await recommend();
    if (!list) return;
    if ((list.value.state || {}).user_offset >= offset) break;
    await new Promise((done) => setTimeout(done, 20));
  }
  const seen = (list.value.state || {}).user_offset >= offset;
  const ms = (performance.now() - began).toFixed(0);
  const note = seen ? `This list reflects the ${event.type}, ${ms} ms after it.`
    : `After ${ms} ms no list reflects the ${event.type}: does a worker run?`;
  await show(list, `Event stored in ${reply.ms.toFixed(1)} ms. ${note}`);
}

function say(text, bad) { at("said").textContent = text; at("said").className = bad ? "bad" : "soft"; }

keyField();
const asked = new URLSearchParams(location.search).get("user");
at("user").value = asked || localStorage.getItem("refold-user") || "";
at("ask").addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  before = new Set();
  const reply = await recommend();
  if (reply) await show(reply);
});
if (asked) at("ask").requestSubmit();
