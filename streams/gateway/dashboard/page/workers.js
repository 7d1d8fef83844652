// The workers and what they hold.

import { adapterName, badge } from "./adapter.js";
import { byId, el, fill, keyed, setText } from "./dom.js";
import { count, span } from "./format.js";

const SILENT_MS = 20_000; // Heartbeats come every five seconds, unless set otherwise.
const KINDS = { ready: "good", restarting: "warn", stopping: "plain" };
const SHOWN = 24;

export function showWorkers(workers, now) {
  keyed(byId("worker-rows"), workers, (worker) => worker.worker, make, (node, worker) => update(node, worker, now));
}

/** Whether it takes requests. */
export const isReady = (worker, now) => worker.status === "ready" && now - worker.heartbeat_at <= SILENT_MS;

function make(worker) {
  const parts = {
    state: el("td"),
    load: el("td", { class: "n" }),
    resident: el("td", { class: "chips" }),
    about: el("span", { class: "note" }),
  };
  const name = el("span", { class: "name" }, worker.worker);
  const node = el("tr", {}, el("th", { scope: "row" }, name, parts.about), parts.state, parts.load, parts.resident);
  node.parts = parts;
  return node;
}

function update(node, worker, now) {
  const { parts } = node;
  const silent = now - worker.heartbeat_at;
  const isSilent = silent > SILENT_MS;
  const state = isSilent ? `silent for ${span(silent)}` : worker.status;
  fill(parts.state, state, () => [badge(isSilent ? "bad" : (KINDS[worker.status] ?? "plain"), state)]);
  setText(parts.load, count(worker.in_flight));
  setText(parts.about, [worker.base_model, worker.engine, worker.host].filter(Boolean).join(" · "));
  fill(parts.resident, JSON.stringify([worker.resident, worker.failed, worker.places]), () => chips(worker));
}

function chips(worker) {
  const { resident, failed, places } = worker;
  const room = places === null ? "" : ` of ${count(places)}`;
  const shown = resident.slice(0, SHOWN).map((key) => el("span", { class: "chip" }, adapterName(key)));
  const more = resident.length - shown.length;
  const broken = Object.entries(failed).map(([key, why]) =>
    el("p", { class: "note bad" }, adapterName(key), ` could not be loaded: ${why}`),
  );
  const number = resident.length ? `${count(resident.length)}${room}` : `none${room}`;
  return [el("span", { class: "note" }, number), ...shown, ...(more > 0 ? [`and ${count(more)} more`] : []), ...broken];
}
