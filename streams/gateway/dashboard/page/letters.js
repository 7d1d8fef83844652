// What could not be read or answered.

import { badge } from "./adapter.js";
import { byId, el, keyed, setText } from "./dom.js";
import { clock, count, full } from "./format.js";

export function showLetters(letters, now) {
  const { count: all, more, newest } = letters;
  setText(byId("letter-count"), all ? `${count(all)}${more ? " or more" : ""}, the newest first` : "");
  byId("letter-hint").hidden = all === 0;
  keyed(byId("letter-rows"), newest, (letter) => `${letter.origin} ${letter.since} ${letter.redriven}`, (letter) => make(letter, now), () => {});
}

function make(letter, now) {
  const time =
    letter.since === null
      ? "–"
      : el("time", { datetime: new Date(letter.since).toISOString(), title: full(letter.since) }, clock(letter.since, now));
  // A query without an id is named after its record.
  const id = letter.query_id === letter.origin.replaceAll("/", "-") ? null : letter.query_id;
  const about = [id, letter.adapter].filter(Boolean).join(", ");
  return el(
    "tr",
    {},
    el("td", { class: "time" }, time),
    el("th", { scope: "row" }, el("span", { class: "name" }, letter.origin), about ? el("span", { class: "note" }, about) : null),
    el(
      "td",
      { class: "words" },
      badge("bad", letter.code || letter.category || "unknown"),
      ...(letter.redriven ? [" ", badge("plain", `redriven ${count(letter.redriven)}×`)] : []),
      el("span", { class: "message" }, letter.message),
    ),
  );
}
