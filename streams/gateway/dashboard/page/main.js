// Takes what the feed sends, and has each section show its part.

import { byId, el, fill, setAttribute, setText } from "./dom.js";
import { showFamilies } from "./families.js";
import { Feed } from "./feed.js";
import { showFlow, showGlance } from "./flow.js";
import { clock, count } from "./format.js";
import { showLetters } from "./letters.js";
import { addNews, setLatest, showQueries } from "./queries.js";
import { showSelections } from "./selections.js";
import { showVersions } from "./versions.js";
import { showWorkers } from "./workers.js";

const KEPT_TOKEN = "lorelay-token";

let seen = {};
let ahead = 0; // milliseconds that the gateway's clock is ahead of ours
let isPaused = false;

const feed = new Feed({
  connecting: (since) => since === null && say("waiting", "Connecting"),
  event(content) {
    const { latest, news, ...sections } = content;
    if (seen.about && sections.about && sections.about.page !== seen.about.page) {
      location.reload(); // The gateway is of another version by now.
      return;
    }
    // A newcomer gets everything: what was seen before may have been of another gateway.
    seen = latest ? sections : { ...seen, ...sections };
    if (latest) setLatest(latest);
    if (news) addNews(news);
    ahead = seen.flow.end * 1000 - Date.now();
    openDoor(true);
    sayLive();
    if (!isPaused) show();
  },
  away: (since, why) => say("bad", `No gateway since ${clock(since)}: ${why}. Trying again`),
  refused(status, message, hadToken) {
    say("bad", status === 401 ? "A token is needed" : "Not allowed");
    openDoor(false);
    const canTry = status === 401 || hadToken;
    for (const part of byId("door").querySelectorAll("label, .field, .note")) part.hidden = !canTry;
    setText(byId("refusal"), status === 401 && !hadToken ? "" : message);
    sessionStorage.removeItem(KEPT_TOKEN);
    if (canTry) byId("token").focus();
  },
});

function openDoor(isOpen) {
  byId("door").hidden = isOpen;
  for (const id of ["main", "pause", "sections"]) byId(id).hidden = !isOpen;
}

function show() {
  const now = Date.now() + ahead;
  const { about, families } = seen;
  setText(byId("gateway"), about.gateway);
  const troubles = [...about.troubles, ...notes(seen.reading)];
  byId("troubles").hidden = troubles.length === 0;
  fill(byId("troubles"), troubles.join("\n"), () => troubles.map((each) => el("li", {}, each)));
  const states = new Map(families.flatMap((family) => family.shares.map((share) => [share.adapter, share])));
  for (const { canary } of families) if (canary?.shadow) states.set(canary.adapter, { status: "canary" });
  showFlow(seen.flow);
  showGlance(seen, now);
  showVersions(seen.versions, states, now);
  showSelections(seen.selections);
  showFamilies(families, now);
  showWorkers(seen.workers, now);
  showLetters(seen.letters, now);
  showQueries(about.with_text, now);
  for (const region of document.querySelectorAll(".scroll")) reachable(region);
}

/** What has to be scrolled can be by keyboard, too. */
function reachable(region) {
  const isWide = region.scrollWidth > region.clientWidth;
  setAttribute(region, "tabindex", isWide ? 0 : null);
  setAttribute(region, "role", isWide ? "region" : null);
  setAttribute(region, "aria-label", isWide ? region.closest("section").querySelector("h2").firstChild.textContent.trim() : null);
}

function notes(reading) {
  const said = [];
  if (reading.unreadable) said.push(`${count(reading.unreadable)} records were written by another version and can't be read here.`);
  if (reading.skipped) said.push("More answers come than can be looked at: selection and queries show some of them.");
  return said;
}

function sayLive() {
  const waits = seen.about.waits_for;
  if (isPaused) say("waiting", "Paused");
  else if (waits) say("waiting", `The gateway is ${waits}`);
  else say("good", "Live");
}

function say(state, text) {
  byId("state").dataset.state = state;
  setText(byId("state"), text);
}

byId("pause").addEventListener("click", (click) => {
  isPaused = !isPaused;
  click.currentTarget.setAttribute("aria-pressed", String(isPaused));
  if (seen.about) sayLive();
  if (seen.about && !isPaused) show();
});

byId("door").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  const token = byId("token").value;
  byId("token").value = "";
  sessionStorage.setItem(KEPT_TOKEN, token);
  feed.use(token);
});

const kept = sessionStorage.getItem(KEPT_TOKEN);
if (kept) feed.use(kept);
feed.run();
