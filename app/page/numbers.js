// How numbers, intervals and times are written.

const MINUS = /^-/;
const NOTHING = /^-(?=[0.,]*$)/;

/** Return how many decimals say something of a number that is known to within `margin`: two digits of that. */
export function decimals(margin) {
  if (!Number.isFinite(margin) || margin <= 0) return 1;
  return Math.min(6, Math.max(-6, 1 - Math.floor(Math.log10(margin))));
}

/** Write a number with so many decimals; negative ones round to tens, hundreds, and so on. */
export function rounded(value, places = 1) {
  const power = 10 ** -places;
  const near = places < 0 ? Math.round(value / power) * power : value;
  return near
    .toLocaleString("en", { minimumFractionDigits: Math.max(0, places), maximumFractionDigits: Math.max(0, places) })
    .replace(NOTHING, "")
    .replace(MINUS, "−");
}

/** Write a number with that many significant digits. */
export function significant(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  return value.toLocaleString("en", { maximumSignificantDigits: digits }).replace(MINUS, "−");
}

/** Write a prediction: `{tons, low, high}` as `{tons: "57.3", low: "54.4", high: "60.3"}`, as precise as it is. */
export function interval({ tons, low, high }) {
  const isKnown = low !== null && high !== null && low !== undefined;
  const places = decimals(isKnown ? (high - low) / 2 : Math.abs(tons) / 100);
  return { tons: rounded(tons, places), low: isKnown ? rounded(low, places) : null, high: isKnown ? rounded(high, places) : null };
}

/** Write a difference with its sign. */
export function signed(value, places = 1) {
  const text = rounded(value, places);
  return value > 0 && /[1-9]/.test(text) ? `+${text}` : text;
}

/** Write a share in percent. */
export function percent(share, places = 0) {
  return `${rounded(100 * share, places)}%`;
}

/** Write a moment as a date, with the year where it is not this one. */
export function day(text) {
  const when = new Date(text);
  const isNow = when.getFullYear() === new Date().getFullYear();
  return when.toLocaleDateString("en-GB", { day: "numeric", month: "short", ...(isNow ? {} : { year: "numeric" }) });
}

/** Write a moment to the minute, in the reader's time. */
export function moment(text) {
  return new Date(text).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}

/** Write how long ago a moment was. */
export function ago(when) {
  const seconds = Math.max(0, Math.round((Date.now() - new Date(when)) / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3_600)} h`;
}

/** Write a count and its noun. */
export function count(number, noun, nouns = `${noun}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? noun : nouns}`;
}

/** Write a number beside an axis, large ones shortly. */
export function short(value) {
  return (Math.abs(value) >= 10_000 ? d3.format("~s")(value) : value.toLocaleString("en")).replace(MINUS, "−");
}
