// Records per second on their way through, and what waits.

import { chart, drawArea } from "./charts.js";
import { byId, el, keyed, setText } from "./dom.js";
import { count, rate } from "./format.js";

const LAG = { queries: "waiting for a router", requests: "waiting for a worker" };
const CHART_HEIGHT = 44;

export function showFlow(flow) {
  const top = Math.max(1, ...flow.topics.flatMap((topic) => topic.counts.map((each) => each ?? 0)));
  keyed(byId("tiles"), flow.topics, (topic) => topic.kind, makeTile, (tile, topic) => update(tile, topic, top));
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
