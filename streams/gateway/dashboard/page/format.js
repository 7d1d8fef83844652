// Numbers and times as the browser's own locale has them.

const LOCALES = navigator.languages?.length ? [...navigator.languages] : undefined;
const NONE = "–";

const number = (options) => {
  const format = new Intl.NumberFormat(LOCALES, options);
  return (value) => (value === null || value === undefined ? NONE : format.format(value));
};

const whole = number({ maximumFractionDigits: 0 });
const tenths = number({ minimumFractionDigits: 1, maximumFractionDigits: 1 });

export const count = whole;
export const compact = number({ notation: "compact", maximumFractionDigits: 1 });
export const score = number({ minimumFractionDigits: 2, maximumFractionDigits: 2 });
export const fine = number({ minimumFractionDigits: 3, maximumFractionDigits: 3 });
const percent = number({ style: "percent", maximumFractionDigits: 1 });

/** A part from 0 to 1. */
export const part = (value) => percent(value);

/** So many a second: with a decimal as long as that says something. */
export const rate = (value) => (value !== null && value >= 100 ? whole(value) : tenths(value));

/** Milliseconds. */
export const ms = (value) => (value !== null && value >= 100 ? whole(value) : tenths(value));

const time = new Intl.DateTimeFormat(LOCALES, { timeStyle: "medium" });
const moment = new Intl.DateTimeFormat(LOCALES, { dateStyle: "medium", timeStyle: "medium" });
const day = new Intl.DateTimeFormat(LOCALES, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

/** The time of day, with the day where it is another one. */
export function clock(at, now = Date.now()) {
  if (at === null) return NONE;
  return Math.abs(now - at) < 12 * 3600e3 ? time.format(at) : day.format(at);
}

export const full = (at) => (at === null ? NONE : moment.format(at));

const spans = Object.fromEntries(
  ["second", "minute", "hour", "day"].map((unit) => [
    unit,
    new Intl.NumberFormat(LOCALES, { style: "unit", unit, unitDisplay: "narrow", maximumFractionDigits: 0 }),
  ]),
);

/** A span in its largest whole unit. */
export function span(milliseconds) {
  const seconds = Math.max(0, milliseconds / 1000);
  if (seconds < 120) return spans.second.format(seconds);
  if (seconds < 7200) return spans.minute.format(seconds / 60);
  if (seconds < 172800) return spans.hour.format(seconds / 3600);
  return spans.day.format(seconds / 86400);
}
