// What selection decides, and how near the queries come.

import { adapterName } from "./adapter.js";
import { chart, drawBins, drawParts } from "./charts.js";
import { byId, el, fill, keyed, setText } from "./dom.js";
import { count, part, score } from "./format.js";

/** In the order in which they are drawn. */
export const CHOICES = {
  selected: "selected",
  named: "named by the query",
  below_threshold: "none near enough",
  undecided: "two equally near",
  uncompared: "not compared",
};

const bar = chart("choices", 10);

export function showSelections(selections) {
  const { responses, choices } = selections;
  setText(byId("selection-count"), responses ? `the last ${count(responses)} answers` : "");
  const found = Object.entries(CHOICES).filter(([choice]) => choices[choice]);
  const words = found.map(([choice, name]) => `${name}: ${count(choices[choice])}`).join(", ");
  drawParts(bar, found.map(([choice]) => [choice, choices[choice]]), `Decisions. ${words}`);
  fill(byId("choices"), words, () =>
    found.length === 0
      ? []
      : [
          bar,
          el(
            "ul",
            { class: "legend" },
            ...found.map(([choice, name]) =>
              el("li", {}, el("span", { class: `key ${choice}` }), `${name} `, el("b", {}, part(choices[choice] / responses))),
            ),
          ),
        ],
  );
  keyed(byId("nearest-rows"), selections.nearest, (row) => row.adapter, make, update);
  byId("selection").querySelector(":scope > .legend").hidden = selections.nearest.length === 0;
}

function make(row) {
  const parts = {
    compared: el("td", { class: "n" }),
    rejected: el("td", { class: "n mid" }),
    median: el("td", { class: "n wide" }),
    chart: chart("bins", 26),
  };
  const node = el(
    "tr",
    {},
    el("th", { scope: "row" }, adapterName(row.adapter)),
    parts.compared,
    parts.rejected,
    parts.median,
    el("td", {}, parts.chart),
  );
  node.parts = parts;
  return node;
}

function update(node, row) {
  const { parts } = node;
  setText(parts.compared, count(row.compared));
  setText(parts.rejected, row.rejected ? part(row.rejected / row.compared) : "0");
  setText(parts.median, score(row.median));
  const mark = row.threshold === null ? "" : `, threshold ${score(row.threshold)}`;
  const label = `Scores: median ${score(row.median)}${mark}, ${count(row.rejected)} of ${count(row.compared)} not chosen`;
  drawBins(parts.chart, row.chosen_bins, row.rejected_bins, row.threshold, label);
}
