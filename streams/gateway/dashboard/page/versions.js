// Latency and errors of each adapter version.

import { KIND_OF_STATUS, adapterName, badge } from "./adapter.js";
import { chart, drawTrend } from "./charts.js";
import { byId, el, fill, keyed, setText } from "./dom.js";
import { count, ms, part, rate } from "./format.js";

/** `states` has the status and the share of those that serve, by version. */
export function showVersions(versions, states, now) {
  const span = versions.seconds * 1000;
  keyed(byId("version-rows"), versions.rows, (row) => row.adapter, make, (node, row) =>
    update(node, row, states.get(row.adapter), now, span),
  );
}

function make(row) {
  const cell = (kind) => el("td", { class: kind });
  const parts = {
    state: cell("wide"),
    requests: cell("n"),
    rate: cell("n wide"),
    errors: cell("n"),
    rejects: cell("n wide"),
    average: cell("n wide"),
    p95: cell("n strong"),
    first50: cell("n wide"),
    first95: cell("n mid"),
  };
  parts.chart = chart("trend", 22);
  const node = el(
    "tr",
    {},
    el("th", { scope: "row" }, adapterName(row.adapter)),
    ...Object.values(parts).slice(0, 9),
    el("td", { class: "wide" }, parts.chart),
  );
  node.parts = parts;
  return node;
}

function update(node, row, state, now, span) {
  const { parts } = node;
  fill(parts.state, state?.status ?? "", () =>
    state?.status ? [badge(KIND_OF_STATUS[state.status] ?? "plain", state.status)] : [],
  );
  setText(parts.requests, count(row.requests));
  setText(parts.rate, rate(row.per_second));
  setText(parts.errors, row.errors ? part(row.error_rate) : "0");
  parts.errors.classList.toggle("bad", row.errors > 0);
  setText(parts.rejects, count(row.rejects));
  setText(parts.average, ms(row.avg_ms));
  setText(parts.p95, ms(row.p95_ms));
  setText(parts.first50, ms(row.first_p50_ms));
  setText(parts.first95, ms(row.first_p95_ms));
  const points = row.trend
    .filter(([, , p95]) => p95 !== null)
    .map(([end, , p95]) => [Math.min(1, Math.max(0, 1 - (now - end * 1000) / span)), p95]);
  const values = points.map(([, value]) => value);
  const label = values.length
    ? `p95 from ${ms(Math.min(...values))} to ${ms(Math.max(...values))} ms in ${count(values.length)} windows`
    : "no times";
  drawTrend(parts.chart, points, label);
}
