// Charts as SVG. Each says in words what it shows, for whoever does not see it.

import { setAttribute, svg } from "./dom.js";

const WIDTH = 240;

/** An empty chart that `draw…` fills. */
export function chart(kind, height) {
  return svg("svg", {
    class: `chart ${kind}`,
    viewBox: `0 0 ${WIDTH} ${height}`,
    preserveAspectRatio: "none",
    role: "img",
  });
}

/** Counts over time as an area; null where nothing is known. */
export function drawArea(node, counts, label, top) {
  const height = node.viewBox.baseVal.height;
  const step = WIDTH / Math.max(1, counts.length - 1);
  const y = (value) => (height - 1 - (value / top) * (height - 3)).toFixed(1);
  const runs = [];
  let run = null;
  counts.forEach((value, i) => {
    if (value === null) run = null;
    else {
      if (run === null) runs.push((run = []));
      run.push(`${(i * step).toFixed(1)},${y(value)}`);
    }
  });
  const line = runs.map((points) => `M${points.join("L")}`).join("");
  const area = runs
    .map((points) => {
      const [first, last] = [points[0], points.at(-1)].map((point) => point.split(",")[0]);
      return `M${first},${height}L${points.join("L")}L${last},${height}Z`;
    })
    .join("");
  paths(node, [["area", area], ["line", line]], label);
}

/** Points [x from 0 to 1, value] as a line; a single one as a dash. */
export function drawTrend(node, points, label) {
  const height = node.viewBox.baseVal.height;
  const top = Math.max(...points.map(([, value]) => value), 1e-9);
  const drawn = points.map(
    ([x, value]) => `${(x * WIDTH).toFixed(1)},${(height - 2 - (value / top) * (height - 4)).toFixed(1)}`,
  );
  const line = drawn.length === 1 ? `M${drawn[0]}h6` : drawn.length ? `M${drawn.join("L")}` : "";
  paths(node, [["line", line]], label);
}

/** Two layers of bins from 0 to 1, one on the other, and a mark. */
export function drawBins(node, chosen, rejected, mark, label) {
  const height = node.viewBox.baseVal.height;
  const width = WIDTH / chosen.length;
  const top = Math.max(...chosen.map((value, i) => value + rejected[i]), 1);
  // Not in proportion: one query among hundreds still shows.
  const scaled = (value) => Math.sqrt(value / top) * (height - 2);
  const bar = (i, from, to) =>
    to - from < 0.05
      ? ""
      : `M${(i * width + 0.5).toFixed(1)},${(height - from).toFixed(1)}h${(width - 1).toFixed(1)}V${(height - to).toFixed(1)}h${(1 - width).toFixed(1)}Z`;
  const low = rejected.map((value, i) => bar(i, 0, scaled(value))).join("");
  const high = chosen
    .map((value, i) => bar(i, scaled(rejected[i]), scaled(value + rejected[i])))
    .join("");
  const at = mark === null || !Number.isFinite(mark) ? "" : `M${(mark * WIDTH).toFixed(1)},0V${height}`;
  paths(node, [["axis", `M0,${height - 0.5}H${WIDTH}`], ["rejected", low], ["chosen", high], ["threshold", at]], label);
}

/** Parts of a whole side by side; `parts` are [class, size, words]. */
export function drawParts(node, parts, label) {
  const height = node.viewBox.baseVal.height;
  const total = parts.reduce((sum, [, size]) => sum + size, 0) || 1;
  let x = 0;
  const drawn = parts.map(([kind, size]) => {
    const width = (size / total) * WIDTH;
    const path = width > 0 ? `M${x.toFixed(2)},0h${Math.max(0, width - 0.6).toFixed(2)}v${height}H${x.toFixed(2)}Z` : "";
    x += width;
    return [kind, path];
  });
  paths(node, drawn, label);
}

function paths(node, drawn, label) {
  setAttribute(node, "aria-label", label);
  while (node.childElementCount > drawn.length) node.lastElementChild.remove();
  drawn.forEach(([kind, d], i) => {
    const path = node.children[i] ?? node.appendChild(svg("path"));
    setAttribute(path, "class", kind);
    setAttribute(path, "d", d);
  });
}
