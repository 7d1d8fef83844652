// Records per second on their way through, and what waits.

import { chart, drawArea } from "./charts.js";
import { byId, el, fill, keyed, setText } from "./dom.js";
import { count, rate } from "./format.js";
import { isReady } from "./workers.js";

const LAG = { queries: "waiting for a router", requests: "waiting for a worker" };
const CHART_HEIGHT = 56;

export function showFlow(flow) {
  const top = Math.max(1, ...flow.topics.flatMap((topic) => topic.counts.map((each) => each ?? 0)));
  keyed(byId("tiles"), flow.topics, (topic) => topic.kind, makeTile, (tile, topic) => update(tile, topic, top));
}

/** What an operator wants to know first, each with the way to more. */
export function showGlance({ workers, versions, letters, families }, now) {
  const ready = workers.filter((worker) => isReady(worker, now)).length;
  const missed = workers.length - ready;
  const asked = versions.rows.reduce((sum, row) => sum + row.requests, 0);
  const failed = versions.rows.reduce((sum, row) => sum + row.errors, 0);
  const trials = families.filter((family) => family.canary).length;
  const entries = [
    ["#workers", "Workers ready", missed ? `${count(ready)} of ${count(workers.length)}` : count(ready), !ready || missed],
    ["#versions", "Failed in five minutes", failed ? `${count(failed)} of ${count(asked)}` : count(0), failed],
    ["#letters", "Dead letters", `${count(letters.count)}${letters.more ? "+" : ""}`, letters.count],
    ["#families", "On trial", count(trials), false],
  ];
  fill(byId("glance"), JSON.stringify(entries), () =>
    entries.flatMap(([to, name, shown, isBad]) => [
      el("dt", {}, el("a", { href: to }, name)),
      el("dd", { class: isBad ? "bad" : null }, shown),
    ]),
  );
}

function makeTile(topic) {
  const parts = {
    rate: el("span", { class: "figure" }),
    most: el("span", { class: "note" }),
    lag: el("p", { class: "note lag" }),
    chart: chart("flow", CHART_HEIGHT),
  };
  const tile = el(
    "div",
    { class: "tile" },
    el("h3", { title: topic.topic }, topic.kind),
    el("p", { class: "reading" }, parts.rate, el("span", { class: "unit" }, " /s"), parts.most),
    parts.chart,
    parts.lag,
  );
  tile.parts = parts;
  return tile;
}

function update(tile, topic, top) {
  const { parts } = tile;
  const most = Math.max(0, ...topic.counts.map((each) => each ?? 0));
  setText(parts.rate, rate(topic.per_second));
  setText(parts.most, most ? `up to ${count(most)}` : "");
  // The newest seconds may not be whole yet.
  const label = `${topic.kind}: ${rate(topic.per_second)} per second now, up to ${count(most)} in the last two minutes`;
  drawArea(parts.chart, topic.counts.slice(0, -2), label, top);
  const waits = LAG[topic.kind];
  setText(parts.lag, waits ? `${count(topic.lag)} ${waits}` : "");
  parts.lag.classList.toggle("some", (topic.lag ?? 0) > 0);
}
