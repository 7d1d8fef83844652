// Who gets a family's queries, and what is on trial.

import { KIND_OF_STATUS, adapterName, badge } from "./adapter.js";
import { chart, drawParts } from "./charts.js";
import { byId, el, fill, keyed } from "./dom.js";
import { clock, count, full, part, span } from "./format.js";

export function showFamilies(families, now) {
  keyed(byId("family-list"), families, (family) => family.family, make, (node, family) => {
    const minute = family.canary ? Math.floor(now / 15_000) : 0;
    fill(node, JSON.stringify([family, minute]), () => body(family, now));
  });
}

const make = () => el("article", { class: "family" });

function body(family, now) {
  const { shares, canary } = family;
  const bar = chart("shares", 8);
  const words = shares.map((share) => `${share.adapter} ${part(share.percent / 100)}`).join(", ");
  drawParts(bar, shares.map((share, i) => [`share-${i % 6}`, share.percent]), words || "no version serves");
  return [
    el("h3", {}, family.family, canary ? badge("warn", canary.shadow ? "shadow" : "canary") : null),
    shares.length ? bar : el("p", { class: "note bad" }, "No version serves this family."),
    el("ul", { class: "shares" }, ...shares.map(shareItem)),
    canary ? el("p", { class: "note" }, ...trial(canary, now)) : null,
    el("p", { class: "note" }, ...about(family, now)),
  ].filter((node) => node !== null);
}

function shareItem(share, i) {
  const isPlain = share.status === "active" || share.status === null;
  return el(
    "li",
    {},
    el("span", { class: `key share-${i % 6}` }),
    adapterName(share.adapter),
    ...(isPlain ? [] : [" ", badge(KIND_OF_STATUS[share.status] ?? "plain", share.status)]),
    el("b", {}, part(share.percent / 100)),
  );
}

function trial(canary, now) {
  const left = canary.ends_at - now;
  const until = left > 0 ? `is judged within ${span(left)}` : `was to be judged ${span(-left)} ago`;
  const how = canary.shadow ? "answers too, and nobody sees it" : `gets ${part(canary.percent / 100)}`;
  return [adapterName(canary.adapter), ` ${how}; it ${until}.`];
}

function about(family, now) {
  const others = Object.entries(family.others).map(([status, number]) => `${count(number)} ${status}`);
  const parts = [];
  if (family.updated_at !== null) {
    const time = el("time", { datetime: new Date(family.updated_at).toISOString(), title: full(family.updated_at) }, clock(family.updated_at, now));
    const by = family.updated_by ? ` by ${family.updated_by}` : "";
    parts.push(`Split ${count(family.revision)}, since `, time, by);
  } else parts.push("Never split");
  if (others.length) parts.push(`; beside it ${others.join(", ")}`);
  return parts;
}
