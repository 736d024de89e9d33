// The rows that the live version was trained on, where a token lets them be seen.

import { asked } from "../asked.js";
import { get } from "../calls.js";
import { session } from "../session.js";

const MOST = 1_000;
const rows = asked(async () => ({ found: (await get("observations", { limit: MOST })).observations.filter((row) => !row.withdrawn) }));

/** Return the newest rows in use, at most a thousand; null until they are there, and where none may be seen or can be had. */
export const observed = () => (session.access?.rows ? (rows.of(session.live.version).found ?? null) : null);
