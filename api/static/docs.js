// Lists the operations of /openapi.json and lets a person try them.
"use strict";

const EXAMPLES = {
  postEvents: { type: "click", user_id: "user-1", item_id: "item-1" },
  putItem: { title: "A title", categories: ["a-category"], tags: [], available: true },
  postItems: [{ item_id: "item-1", title: "A title", categories: ["a-category"] }],
  putUser: { attributes: { country: "de" } },
  recommendAnonymous: { session: [{ type: "view", item_id: "item-1" }], n: 10 },
};

function field(parameter) {
  const label = element("label", parameter.name + (parameter.required ? " *" : ""));
  const schema = parameter.schema || {};
  const open = parameter.name === "ctx";
  const hint = open ? "country=de&device=phone" : schema.type === "array" ? "one or more, by commas" : "";
  const input = element("input", undefined, { placeholder: hint || String(schema.default ?? "") });
  input.title = parameter.description || "";
  label.append(input);
  return { label, parameter, input };
}

function address(path, fields) {
  const query = new URLSearchParams();
  for (const { parameter, input } of fields) {
    const value = input.value.trim();
    if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, encodeURIComponent(value));
    else if (!value) continue;
    else if (parameter.name === "ctx") new URLSearchParams(value).forEach((v, k) => query.append(`ctx.${k}`, v));
    else if ((parameter.schema || {}).type === "array") value.split(",").forEach((v) => query.append(parameter.name, v.trim()));
    else query.append(parameter.name, value);
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

function operation(method, path, said) {
  const box = element("details");
  const summary = element("summary");
  summary.append(element("span", method.toUpperCase(), { className: "method" }), element("code", path), ` ${said.summary} `);
  summary.append(element("span", `scope: ${said["x-scope"]}`, { className: "soft" }));
  const fields = said.parameters.map(field);
  const row = element("div", undefined, { className: "row" });
  row.append(...fields.map(({ label }) => label));
  const body = element("textarea", undefined, { value: JSON.stringify(EXAMPLES[said.operationId] || {}, null, 2) });
  const run = element("button", "Try it", { className: "main" });
  const out = element("pre", "");
  const curl = element("pre", "");
  run.addEventListener("click", async () => {
    const where = address(path, fields);
    const sent = said.requestBody ? body.value : undefined;
    const quoted = sent === undefined ? "" : ` -H 'content-type: application/json' -d '${sent.replaceAll("'", "'\\''")}'`;
    curl.textContent = `curl -X ${method.toUpperCase()} '${location.origin}${where}'${quoted}`;
    const reply = await ask(method.toUpperCase(), where, sent);
    const text = typeof reply.value === "string" ? reply.value : JSON.stringify(reply.value, null, 2);
    out.textContent = `${reply.status}, ${reply.ms.toFixed(1)} ms\n${text.slice(0, 20000)}`;
  });
  row.append(run);
  box.append(summary, row);
  if (said.requestBody) box.append(body);
  const answers = Object.entries(said.responses).map(([status, { description, content }]) => {
    const schema = Object.values(content)[0].schema || {};
    return `${status} ${description}: ${(schema.$ref || schema.type || "").split("/").pop()}`;
  });
  box.append(element("p", answers.join(" · "), { className: "soft" }), curl, out);
  return box;
}

async function load() {
  const { value } = await ask("GET", "/openapi.json");
  const boxes = [];
  let tag = "";
  for (const [path, methods] of Object.entries(value.paths)) {
    for (const [method, said] of Object.entries(methods)) {
      if (said.tags[0] !== tag) { tag = said.tags[0]; boxes.push(element("h2", tag)); }
      boxes.push(operation(method, path, said));
    }
  }
  document.getElementById("operations").replaceChildren(...boxes);
  const types = Object.entries(value.components.schemas).map(([name, schema]) => {
    const box = element("details");
    box.append(element("summary", `${name}: ${schema.description || ""}`), element("pre", JSON.stringify(schema, null, 2)));
    return box;
  });
  document.getElementById("types").replaceChildren(...types);
}

keyField();
load();
