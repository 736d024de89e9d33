// A program as a dashboard's developer writes it, strictly typed by /openapi.json; tests/api/test_typescript_http.py runs it.
import createClient from "openapi-fetch";
import type { paths } from "./orchard.js";

const orchard = createClient<paths>({ baseUrl: "http://localhost:8000", headers: { Authorization: "Bearer TOKEN" } });

// One region, as README asks about it; what may be left out is left out.
const { data, error } = await orchard.POST("/predict", { body: { temperature: 73, rainfall: 67, humidity: 43 } });
if (error) throw new Error(`${error.code}: ${error.detail}`);
if (typeof data === "string" || !("yields" in data) || typeof data.extrapolated !== "boolean") throw new Error("not one");
const tons: number | undefined = data.yields["mango"]?.tons;
console.log("one", tons?.toFixed(4), data.region, data.warnings.length);

const several = await orchard.POST("/predict", {
  body: { regions: [{ region: "A", temperature: 73, rainfall: 67, humidity: 43 }] },
  params: { query: { level: 0.8, explain: true } },
});
if (several.error) throw new Error(several.error.detail);
if (typeof several.data === "string" || !("predictions" in several.data)) throw new Error("not several");
console.log("several", several.data.predictions[0]?.yields["mango"]?.contributions?.["rainfall"]?.toFixed(4));

const columns = await orchard.POST("/predict", { body: { temperature: [73], rainfall: [67], humidity: [43] } });
if (columns.error) throw new Error(columns.error.detail);
if (typeof columns.data === "string" || !("yields" in columns.data)) throw new Error("not columns");
console.log("columns", Array.isArray(columns.data.extrapolated));

const report = await orchard.POST("/retrain", {
  body: { observations: [{ temperature: 73, rainfall: 67, humidity: 43, yields: { mango: 56 } }], dry_run: true },
});
if (report.error) throw new Error(report.error.detail);
console.log("report", typeof report.data === "string" ? "" : report.data.dry_run);

const problem = await orchard.POST("/predict", { body: { temperature: 730, rainfall: 67, humidity: 43 } });
console.log("problem", problem.error?.code, problem.error?.errors?.[0]?.loc.join("."));

// What the types refuse; each would be no error here if the one below it were none.
// @ts-expect-error: a text is no number
await orchard.POST("/predict", { body: { temperature: "73", rainfall: 67, humidity: 43 } });
// @ts-expect-error: no such answer
console.log("none", data.tons);
