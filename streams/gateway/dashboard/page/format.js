// Numbers and times as the browser's own locale has them.

const LOCALES = navigator.languages?.length ? [...navigator.languages] : undefined;
const NONE = "–";

const number = (options) => {
  const format = new Intl.NumberFormat(LOCALES, options);
  return (value) => (value === null || value === undefined ? NONE : format.format(value));
};

const whole = number({ maximumFractionDigits: 0 });
const hundredths = number({ minimumFractionDigits: 2, maximumFractionDigits: 2 });
const tenths = number({ minimumFractionDigits: 1, maximumFractionDigits: 1 });

export const count = whole;
export const compact = number({ notation: "compact", maximumFractionDigits: 1 });
export const score = number({ minimumFractionDigits: 2, maximumFractionDigits: 2 });
export const fine = number({ minimumFractionDigits: 3, maximumFractionDigits: 3 });
const percent = number({ style: "percent", maximumFractionDigits: 1 });

/** A part from 0 to 1. */
export const part = (value) => percent(value);

/** A figure with as many decimals as say something. */
const measured = (value) => {
  if (value === null || value === 0) return whole(value);
  return (value >= 100 ? whole : value >= 1 ? tenths : hundredths)(value);
};

/** So many a second. */
export const rate = measured;

/** Milliseconds. */
export const ms = measured;

const time = new Intl.DateTimeFormat(LOCALES, { timeStyle: "medium" });
const moment = new Intl.DateTimeFormat(LOCALES, { dateStyle: "medium", timeStyle: "medium" });
const day = new Intl.DateTimeFormat(LOCALES, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

/** The time of day, with the day where it is another one. */
export function clock(at, now = Date.now()) {
  if (at === null) return NONE;
  return Math.abs(now - at) < 12 * 3600e3 ? time.format(at) : day.format(at);
}

export const full = (at) => (at === null ? NONE : moment.format(at));

const UNITS = [
  [1000, 120, "s"],
  [60_000, 120, "min"],
  [3600_000, 48, "h"],
  [86_400_000, Infinity, "days"],
];

/** A span in a unit that leaves few digits. */
export function span(milliseconds) {
  const passed = Math.max(0, milliseconds);
  const [size, , name] = UNITS.find(([size, most]) => passed / size < most);
  return `${whole(passed / size)} ${name}`;
}
