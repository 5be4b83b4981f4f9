"use strict";
const at = (id) => document.getElementById(id);
const made = (tag, text, into, kind) => {
  const one = document.createElement(tag);
  one.textContent = text;
  if (kind) one.className = kind;
  into.append(one);
  return one;
};
const headers = () => (at("token").value ? { Authorization: "Bearer " + at("token").value } : {});

async function load() {
  const answer = await fetch("openapi.json", { headers: headers() });
  if (answer.status === 401 || answer.status === 403) {
    at("asks").hidden = false;
    at("about").textContent = "This service asks for a token.";
    return;
  }
  if (!answer.ok) {
    at("about").textContent = (await answer.json()).error.words;
    setTimeout(load, 1000);
    return;
  }
  const known = await answer.json();
  document.title = known.info.title;
  at("title").textContent = known.info.title + ", version " + known.info.version;
  at("about").textContent = known.info.description;
  at("uses").replaceChildren();
  for (const [path, methods] of Object.entries(known.paths)) if (methods.post) show(path, methods.post);
}

function show(path, use) {
  const part = made("section", "", at("uses"));
  made("h2", use.operationId, part);
  made("p", use.summary, part);
  const body = made("textarea", "", part);
  body.id = use.operationId + "-body";
  body.value = JSON.stringify(use.requestBody.content["application/json"].example, null, 1);
  const button = made("button", "Ask", part);
  button.id = use.operationId + "-ask";
  const out = made("div", "", part);
  out.id = use.operationId + "-out";
  button.addEventListener("click", async () => {
    const answer = await fetch(path.slice(1), { method: "POST", body: body.value, headers: { "Content-Type": "application/json", ...headers() } });
    const told = await answer.json();
    out.replaceChildren();
    if (answer.ok) rows(told.rows, out);
    else made("p", told.error.words, out, "untrusted");
    made("pre", JSON.stringify(told, null, 1), out);
  });
  if (location.hash === "#" + use.operationId) button.click();
}

function rows(all, out) {
  const table = made("table", "", out);
  const head = made("tr", "", table);
  for (const word of ["row", "verdict", "in range", "why"]) made("th", word, head);
  all.forEach((row, i) => {
    const line = made("tr", "", table);
    made("td", i, line);
    made("td", row.verdict === null ? "none" : row.verdict, line, row.verdict || "");
    made("td", row.in_range ? "yes" : "no", line);
    made("td", row.reason, line);
  });
}

at("open").addEventListener("click", load);
load();
