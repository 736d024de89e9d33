// Units that weather is shown and typed in. The service's own are °F, mm and %: it is always asked in these.

import { session } from "./session.js";

/** What can be chosen, by feature: how much one unit of it is, and where its zero lies, in the service's unit. */
export const CHOICES = {
  temperature: { "°F": [1, 0], "°C": [1.8, 32] },
  rainfall: { mm: [1, 0], in: [25.4, 0] },
};
const STEPS = { "°F": 0.5, "°C": 0.25, mm: 1, in: 0.05, "%": 0.5 };
const DIGITS = { "°F": 1, "°C": 1, mm: 1, in: 2, "%": 1 };

const scale = (feature) => CHOICES[feature]?.[session.units[feature]] ?? [1, 0];

/** Return the unit that a feature is shown in. */
export const unit = (feature) => session.units[feature] ?? "";
/** Return a feature's name with its unit, such as "temperature (°F)". */
export const named = (feature) => `${feature} (${unit(feature)})`;
/** Return a value of the service's unit in the one that is shown. */
export const shown = (feature, value) => (value - scale(feature)[1]) / scale(feature)[0];
/** Return a value of the unit that is shown in the service's. */
export const stored = (feature, value) => value * scale(feature)[0] + scale(feature)[1];
/** Return a weight, tons per unit of the service, per unit that is shown. */
export const perUnit = (feature, weight) => weight * scale(feature)[0];
/** Return by how much a slider moves. */
export const step = (feature) => STEPS[unit(feature)] ?? 1;
/** Return a value of the service's unit, written in the one that is shown, without its name. */
export const written = (feature, value) =>
  shown(feature, value).toLocaleString("en", { maximumFractionDigits: DIGITS[unit(feature)] ?? 2, useGrouping: false });
