// How the error fell while the model was fitted.

import { called, figure, same } from "../figures.js";
import { count, significant } from "../numbers.js";

const { Plot } = window;
const HEIGHT = 190;

/** Return the loss curve of a version, all crops together. */
export function loss({ fit, loss_curve: curve }) {
  const data = same("loss", [curve], () => ({ curve: curve.filter((point) => point.loss > 0), least: fit.least_squares_loss }));
  const end = fit.converged ? "to the end" : "and stopped before the end";
  return figure({
    id: "loss", title: "How it was fitted", data, draw, height: HEIGHT,
    sentence: `${count(fit.epochs, "epoch")}, ${end}: the loss of all crops together is ${significant(fit.loss, 4)} t², ${fit.relative_gap < 1e-6 ? "the smallest possible" : `${significant(100 * fit.relative_gap, 2)}% above the smallest possible`}.`,
    columns: ["epoch", "loss"],
    rows: () => curve.map((point) => [point.epoch, point.loss]),
  });
}

function draw({ curve, least }, width) {
  return {
    height: HEIGHT, marginLeft: 50, marginRight: 10, marginTop: 20, marginBottom: 32,
    x: { label: "epoch →", ticks: d3.ticks(1, curve.at(-1)?.epoch ?? 1, Math.max(3, width / 80)).filter(Number.isInteger), tickFormat: "d" },
    y: { type: "log", label: "↑ loss, t² (log)", tickSize: 3, ticks: 4, tickFormat: (value) => d3.format("~g")(value).replace("e+", "e") },
    marks: [
      least > 0 ? called("the smallest possible", Plot.ruleY([least], { stroke: "currentColor", strokeDasharray: "4 3", strokeOpacity: 0.8 })) : null,
      Plot.lineY(curve, { x: "epoch", y: "loss", stroke: "var(--pico-primary)", strokeWidth: 2 }),
      curve.length === 1 ? Plot.dot(curve, { x: "epoch", y: "loss", fill: "var(--pico-primary)" }) : null,
    ],
  };
}
