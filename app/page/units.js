// Units that weather is shown and typed in. The service's own are °F, mm and %: views, addresses and charts reckon in these.

import { session } from "./session.js";

/** What a weather's unit may be, by the name that queries have for it: how it is written, and what one and zero of it are in °F or mm. */
export const GIVEN = {
  temperature: { fahrenheit: ["°F", 1, 0], celsius: ["°C", 1.8, 32], kelvin: ["K", 1.8, 32 - 1.8 * 273.15] },
  rainfall: { mm: ["mm", 1, 0], inch: ["in", 25.4, 0] },
};
/** What can be chosen to be shown, by feature, the service's own first. */
export const CHOICES = { temperature: ["°F", "°C"], rainfall: ["mm", "in"] };
const BY_SIGN = Object.fromEntries(Object.values(GIVEN).flatMap((units) => Object.entries(units).map(([name, [sign, ...scale]]) => [sign, { name, scale }])));
const STEPS = { "°F": 0.5, "°C": 0.25, mm: 1, in: 0.05, "%": 0.5 };
const DIGITS = { "°F": 1, "°C": 1, mm: 1, in: 2, "%": 1 };

const scale = (feature) => BY_SIGN[session.units[feature]]?.scale ?? [1, 0];

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
/**
 * Return the units that are shown as a query says them, so that the service's sentences speak them, too. Its own are left out:
 * of a unit that was said it guesses no mistake.
 */
export const shownQuery = () =>
  Object.fromEntries(Object.entries(CHOICES).map(([feature, [own]]) => [`${feature}_unit`, unit(feature) === own ? null : BY_SIGN[unit(feature)]?.name]));
/** Return by how much a slider moves. */
export const step = (feature) => STEPS[unit(feature)] ?? 1;
/** Return a value of the service's unit, written in the one that is shown, without its name. */
export const written = (feature, value) =>
  shown(feature, value).toLocaleString("en", { maximumFractionDigits: DIGITS[unit(feature)] ?? 2, useGrouping: false });
