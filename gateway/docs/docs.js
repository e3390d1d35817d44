// The API's documentation, drawn from its OpenAPI document, with a form to try each operation.
"use strict";

const make = (tag, text, ...children) => {
  const element = document.createElement(tag);
  if (text) element.textContent = text;
  element.append(...children);
  return element;
};

function headers() {
  const key = document.getElementById("key").value;
  return key ? { Authorization: `Bearer ${key}` } : {};
}

function resolve(api, schema) {
  return schema?.$ref ? api.components.schemas[schema.$ref.split("/").pop()] : schema;
}

function named(schema) {
  if (!schema) return "";
  if (schema.contentSchema) return `a ${named(schema.contentSchema)} in each line`;
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.type === "array") return `list of ${named(schema.items)}`;
  return schema.format ? `${schema.type} (${schema.format})` : schema.type;
}

function fields(api, schema) {
  const table = make("table");
  const shape = resolve(api, schema);
  for (const [name, each] of Object.entries(shape?.properties ?? {})) {
    const needed = (shape.required ?? []).includes(name) ? " · required" : "";
    table.append(make("tr", "", make("td", name), make("td", named(each) + needed), make("td", each.description ?? "")));
  }
  return table;
}

async function send(operation, path, verb, form, output) {
  output.textContent = "…";
  const query = new URLSearchParams();
  let address = path;
  for (const input of form.querySelectorAll("input[name]")) {
    if (input.dataset.in === "path") address = address.replace(`{${input.name}}`, encodeURIComponent(input.value));
    else if (input.value) query.append(input.name, input.value);
  }
  const body = form.querySelector("textarea")?.value;
  const options = { method: verb.toUpperCase(), headers: headers() };
  if (body) Object.assign(options, { body, headers: { ...options.headers, "Content-Type": "application/json" } });
  const began = performance.now();
  try {
    const answer = await fetch(`${address}${query.size ? `?${query}` : ""}`, options);
    const text = await answer.text();
    let shown = text;
    try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not one JSON value: shown as it came */ }
    output.textContent = `${answer.status} · ${Math.round(performance.now() - began)} ms\n\n${shown.slice(0, 100000)}`;
  } catch (error) {
    output.textContent = `No answer: ${error.message}`;
  }
}

function trial(api, path, verb, operation) {
  const form = make("form");
  const table = make("table");
  for (const each of operation.parameters ?? []) {
    const input = make("input");
    input.name = each.name;
    input.dataset.in = each.in;
    input.required = each.in === "path";
    const label = make("label", `${each.name} `, input);
    table.append(make("tr", "", make("td", "", label), make("td", `${named(each.schema)}${each.required ? " · required" : ""}`),
      make("td", each.description ?? "")));
  }
  form.append(table);
  const body = operation.requestBody?.content["application/json"];
  if (body) {
    const schema = body.schema;
    const text = make("textarea");
    text.value = JSON.stringify(body.example, null, 2);
    text.setAttribute("aria-label", "Body");
    form.append(make("h3", `Body: ${named(schema)}`), text, fields(api, schema));
  }
  const output = make("pre", "Not sent yet.");
  output.setAttribute("role", "status");
  form.append(make("p", "", make("button", "Send")), output);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(operation, path, verb, form, output);
  });
  return form;
}

function drawn(api, path, verb, operation) {
  const details = make("details");
  const summary = make("summary", "", make("b", verb.toUpperCase()), ` ${path}`);
  details.append(summary, make("p", operation.description));
  details.addEventListener("toggle", () => {
    if (details.open && !details.querySelector("form")) {
      const answer = Object.values(operation.responses["200"].content)[0].schema;
      details.append(trial(api, path, verb, operation), make("h3", `Answer: ${named(answer)}`),
        fields(api, answer.contentSchema ?? answer));
    }
  }, true);
  details.dataset.words = `${verb} ${path} ${operation.operationId} ${operation.description}`.toLowerCase();
  return details;
}

function draw(api) {
  const main = document.getElementById("operations");
  main.replaceChildren();
  main.removeAttribute("aria-busy");
  for (const tag of api.tags) {
    const section = make("section", "", make("h2", tag.name), make("p", tag.description));
    for (const [path, verbs] of Object.entries(api.paths)) {
      for (const [verb, operation] of Object.entries(verbs)) {
        if (operation.tags[0] === tag.name) section.append(drawn(api, path, verb, operation));
      }
    }
    main.append(section);
  }
  document.getElementById("find").addEventListener("input", (event) => {
    const wanted = event.target.value.toLowerCase();
    for (const each of main.querySelectorAll("details")) each.hidden = !each.dataset.words.includes(wanted);
    for (const each of main.querySelectorAll("section")) each.hidden = !each.querySelector("details:not([hidden])");
  });
}

async function start() {
  const answer = await fetch("/v1/openapi.json", { headers: headers() });
  const main = document.getElementById("operations");
  if (answer.ok) draw(await answer.json());
  else main.replaceChildren(make("p", answer.status === 401 ? "Enter an API key above." : `The document did not come: ${answer.status}`));
}

document.getElementById("key").addEventListener("change", start);
start();
