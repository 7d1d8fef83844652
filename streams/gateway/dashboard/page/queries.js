// The newest answers, and the decision behind each.

import { adapterName, badge } from "./adapter.js";
import { byId, el, fill, keyed, setAttribute, setText } from "./dom.js";
import { clock, count, fine, full, ms, part, score } from "./format.js";
import { CHOICES } from "./selections.js";

const KEPT = 50;
const MOST_NEW = 2;
const opened = new Set();
let rows = [];
let isNew = new Set();

/** All rows, as a newcomer gets them. */
export function setLatest(latest) {
  rows = latest;
  isNew = new Set();
}

/** Those that have come, or changed, since. */
export function addNews(news) {
  const changed = new Map(news.map((row) => [row.origin, row]));
  const known = new Set(rows.map((row) => row.origin));
  const fresh = news.filter((row) => !known.has(row.origin));
  // One by one they are shown to come; a stream of them is not to flicker.
  isNew = new Set(fresh.length <= MOST_NEW ? fresh.map((row) => row.origin) : []);
  rows = [...news, ...rows.filter((row) => !changed.has(row.origin))]
    .sort((one, other) => other.at - one.at)
    .slice(0, KEPT);
}

export function showQueries(withText, now) {
  setText(byId("query-note"), rows.length ? (withText ? "with their texts" : "their texts are hidden") : "");
  // A narrow window shows fewer; a cell across more than there are would add some.
  const columns = [...document.querySelectorAll(".queries thead th")].filter((head) => head.offsetWidth > 0).length || 1;
  const parts = rows.flatMap((row) => [
    { key: row.origin, row },
    ...(opened.has(row.origin) ? [{ key: `${row.origin} more`, row, isMore: true }] : []),
  ]);
  keyed(byId("query-rows"), parts, (one) => one.key, (one) => (one.isMore ? makeMore() : make(one.row, now, withText)), (node, one) => {
    if (!one.isMore) return update(node, one.row);
    setAttribute(node.firstElementChild, "colspan", columns);
    fill(node.firstElementChild, JSON.stringify(one.row), () => [details(one.row)]);
  });
  isNew = new Set();
}

function make(row, now, withText) {
  const time = el("time", { datetime: new Date(row.at).toISOString(), title: full(row.at) }, clock(row.at, now));
  const button = el("button", { type: "button", class: "more", "aria-expanded": String(opened.has(row.origin)) }, time, el("span", { class: "hidden" }, ", details"));
  const by = el("th", { scope: "row", class: "by" });
  const why = el("td", { class: "wide reason" });
  button.addEventListener("click", () => {
    if (!opened.delete(row.origin)) opened.add(row.origin);
    button.setAttribute("aria-expanded", String(opened.has(row.origin)));
    showQueries(withText, Date.now());
  });
  const node = el(
    "tr",
    { class: isNew.has(row.origin) ? "query new" : "query" },
    el("td", { class: "time" }, button),
    by,
    el("td", { class: "mid" }, ...decision(row)),
    el("td", { class: "n" }, score(row.score)),
    el("td", { class: "n wide" }, score(row.margin)),
    why,
    el("td", { class: "n" }, ms(row.total_ms)),
    el("td", { class: "n wide" }, ms(row.first_token_ms)),
  );
  node.parts = { by, why };
  return node;
}

function update(node, row) {
  fill(node.parts.by, row.adapter + row.status, () => [adapterName(row.adapter), ...(row.error ? [" ", badge("bad", row.error.code)] : [])]);
  fill(node.parts.why, JSON.stringify([row.prompt, row.reason]), () =>
    [row.prompt ? el("span", { class: "prompt" }, row.prompt) : null, el("span", {}, row.error?.message || row.reason || "–")].filter(Boolean),
  );
}

function decision(row) {
  if (row.choice === null) return ["–"];
  const words = [CHOICES[row.choice] ?? row.choice];
  if (row.routed_to !== null && row.adapter !== row.routed_to) words.push(" ", badge("warn", "fallback"));
  if (row.variant) words.push(" ", badge("plain", row.variant));
  if (row.attempt > 1) words.push(" ", badge("warn", `attempt ${count(row.attempt)}`));
  return words;
}

const makeMore = () => el("tr", { class: "opened" }, el("td"));

function details(row) {
  const entry = (term, ...shown) => [el("dt", {}, term), el("dd", {}, ...shown)];
  const times = [
    ["queue", row.queue_ms],
    ["routing", row.routing_ms],
    ["first token", row.first_token_ms],
    ["inference", row.inference_ms],
    ["total", row.total_ms],
  ].filter(([, value]) => value !== null);
  return el(
    "dl",
    {},
    ...(row.prompt ? entry("Asked", row.prompt) : []),
    ...(row.text ? entry("Answered", row.text) : []),
    ...(row.error ? entry("Error", `${row.error.category}, ${row.error.code}: ${row.error.message}`) : []),
    ...entry("Decision", ...decision(row), row.reason ? `: ${row.reason}` : ""),
    ...entry("Score", scores(row)),
    ...(row.candidates.length ? entry("Candidates", candidates(row)) : []),
    ...entry("Times", times.map(([name, value]) => `${name} ${ms(value)} ms`).join(", ") || "–"),
    ...entry("Written", `${count(row.tokens)} tokens${row.finish ? `, ${row.finish}` : ""}`),
    ...entry("Query", el("code", {}, row.id), " from ", el("code", {}, row.origin)),
  );
}

function scores(row) {
  if (row.score === null) return "not compared";
  const said = [`score ${fine(row.score)}`];
  if (row.margin !== null) said.push(`margin ${fine(row.margin)}`);
  if (row.threshold !== null) said.push(`threshold ${fine(row.threshold)}`);
  if (row.probability !== null) said.push(`probability ${part(row.probability)}`);
  if (row.language) said.push(`language ${row.language}`);
  return said.join(", ");
}

function candidates(row) {
  const items = row.candidates.map((one) => el("li", {}, adapterName(one.adapter), ` ${fine(one.score)}`));
  return el("ol", { class: "candidates" }, ...items);
}
