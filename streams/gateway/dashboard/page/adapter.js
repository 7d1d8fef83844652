// An adapter's name, and its state.

import { el } from "./dom.js";

const NAMES = { base: "base model", unrouted: "not routed" };

/** `id@version`, the version set off; a line may break before it. */
export function adapterName(key) {
  if (key === null) return el("span", { class: "name none" }, NAMES.unrouted);
  const [id, version] = key.split("@");
  if (!version) return el("span", { class: "name none" }, NAMES[key] ?? key);
  return el("span", { class: "name" }, id, el("wbr"), el("span", { class: "version" }, `@${version}`));
}

/** A word on a coloured ground; the word says it all. */
export function badge(kind, text) {
  return el("span", { class: `badge ${kind}` }, text);
}

export const KIND_OF_STATUS = { active: "good", canary: "warn", registered: "plain", retired: "plain", failed: "bad" };
