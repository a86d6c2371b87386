// The API's own description, read from /openapi.json: what each endpoint takes, gives, and a form to try it.

import { $, brief, make } from "./api.js";
import { fill, t } from "./words.js";

let schemas = {};
const follow = (schema = {}) => (schema.$ref ? schemas[schema.$ref.split("/").pop()] : schema);

function kind(schema) {
  const own = follow(schema);
  if (own.enum) return own.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (own.anyOf) return own.anyOf.map(kind).join(" | ");
  if (own.type === "array") return `[${kind(own.items)}, …]`;
  const { minimum, maximum, exclusiveMinimum: above, exclusiveMaximum: below } = own;
  const bounds = [
    minimum !== undefined && `≥ ${minimum}`, above !== undefined && `> ${above}`,
    maximum !== undefined && `≤ ${maximum}`, below !== undefined && `< ${below}`,
  ].filter(Boolean).join(", ");
  const name = own.format === "binary" ? "file" : own.title && own.type === "object" ? own.title : own.type ?? t("api.any");
  return bounds ? `${name} ${bounds}` : name;
}

// rows of [name, where, type, default, description, needed]
function parameters(operation) {
  return (operation.parameters ?? []).filter((each) => each.in !== "header").map((each) =>
    [each.name, each.in, kind(each.schema), each.schema.default, each.description, each.required]);
}

function fields(schema, where) {
  const own = follow(schema);
  return Object.entries(own.properties ?? {}).map(([name, each]) =>
    [name, where, kind(each), each.default, each.description ?? follow(each).description, own.required?.includes(name)]);
}

function table(rows) {
  const head = make("tr", {}, ...["", t("api.in"), t("api.type"), t("api.default"), ""].map((text) => make("th", { textContent: text })));
  const body = rows.map(([name, where, type, usual, told, needed]) => make("tr", {},
    make("td", {}, make("code", { textContent: name }), needed ? " *" : ""),
    make("td", { textContent: where }), make("td", { textContent: type }),
    make("td", { textContent: usual === undefined ? "" : JSON.stringify(usual) }),
    make("td", { className: "wide", textContent: told ?? "" })));
  const inner = make("table", {}, make("thead", {}, head), make("tbody", {}, ...body));
  return make("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: t("api.parameters") }, inner);
}

function example(schema) {
  const own = follow(schema);
  const needed = Object.entries(own.properties ?? {}).filter(([name]) => own.required?.includes(name));
  return JSON.stringify(Object.fromEntries(needed.map(([name, each]) => [name, examples[name] ?? (each.type === "integer" ? 1 : "")])), null, 2);
}
const examples = { text: t("api.example"), sql: "SELECT name, duration_seconds FROM videos", path: "/videos/street.mp4" };

async function send(method, path, form, json) {
  const query = new URLSearchParams();
  for (const input of form.querySelectorAll("input[data-in]")) {
    if (input.dataset.in === "path") path = path.replace(`{${input.name}}`, encodeURIComponent(input.value));
    else if (input.value) query.set(input.name, input.value);
  }
  const key = sessionStorage.getItem("key");
  const headers = { ...(json && { "Content-Type": "application/json" }), ...(key && { Authorization: `Bearer ${key}` }) };
  const started = performance.now();
  const response = await fetch(`${path}${String(query) && "?"}${query}`, { method, headers, body: json ? form.body.value : undefined });
  const type = response.headers.get("content-type") ?? "";
  const said = t("api.answer", { status: String(response.status), reason: response.statusText, time: brief((performance.now() - started) / 1000), type: type || t("api.no.body") });
  if (type.startsWith("image/")) return [said, make("img", { src: URL.createObjectURL(await response.blob()) })];
  if (type.startsWith("video/")) return [said, make("video", { src: URL.createObjectURL(await response.blob()), controls: true })];
  const text = await response.text();
  return [said, make("pre", { textContent: type.includes("json") ? JSON.stringify(JSON.parse(text), null, 2) : text })];
}

function attempt(method, path, operation, json) {
  const inputs = parameters(operation).map(([name, where, type, usual, , needed]) => {
    const input = make("input", { name, placeholder: `${name}${usual === undefined || usual === null ? "" : ` (${usual})`}`, required: needed, title: type });
    input.dataset.in = where;
    input.setAttribute("aria-label", name);
    return input;
  });
  if (json) {
    const body = make("textarea", { name: "body", rows: 5, spellcheck: false, value: example(json) });
    body.setAttribute("aria-label", t("api.body"));
    inputs.push(body);
  }
  const button = make("button", { textContent: t("api.send") });
  const answer = make("div");
  const form = make("form", { className: "attempt" }, ...inputs, button);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      const [said, shown] = await send(method.toUpperCase(), path, form, json);
      answer.replaceChildren(make("p", { className: "said", textContent: said }), shown);
    } catch (error) {
      answer.replaceChildren(make("p", { className: "said bad", textContent: error.message }));
    } finally { button.disabled = false; }
  });
  return make("div", {}, form, answer);
}

function endpoint(method, path, operation) {
  const content = operation.requestBody?.content ?? {};
  const json = content["application/json"]?.schema;
  const rows = [...parameters(operation),
    ...Object.entries(content).flatMap(([type, each]) => fields(each.schema, t(type === "application/json" ? "api.in.json" : "api.in.form")))];
  const gives = Object.entries(operation.responses).filter(([status]) => status < "300").flatMap(([, each]) =>
    Object.values(each.content ?? {}).map((given) => given.schema)).filter((schema) => schema && (schema.$ref || schema.items));
  const streams = path.endsWith("/events"); // never ends by itself
  return make("details", { className: "endpoint" },
    make("summary", {}, make("span", { className: `method ${method}`, textContent: method.toUpperCase() }),
      make("code", { textContent: path }), make("span", { className: "hint", textContent: operation.description.split("\n")[0] })),
    ...(rows.length ? [table(rows)] : []),
    ...gives.map((schema) => make("p", { className: "hint", textContent: t("api.gives", { kind: kind(schema) }) })),
    ...(streams ? [] : [attempt(method, path, operation, json)]));
}

async function read() {
  const described = await (await fetch("/openapi.json")).json();
  schemas = described.components.schemas;
  $("title").textContent = t("api.called", described.info);
  $("said").textContent = t("api.told", described.info);
  let group = "";
  for (const [path, methods] of Object.entries(described.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      if (operation.tags[0] !== group) {
        group = operation.tags[0];
        $("endpoints").append(make("h2", { textContent: group }));
      }
      $("endpoints").append(endpoint(method, path, operation));
    }
  }
}

fill();
$("key-form").key.value = sessionStorage.getItem("key") ?? "";
$("key-form").addEventListener("input", (event) => sessionStorage.setItem("key", event.target.value));
$("key-form").addEventListener("submit", (event) => event.preventDefault());
read().catch((error) => { $("said").textContent = error.message; $("said").classList.add("bad"); });
