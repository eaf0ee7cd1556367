// The head line and the large numbers.
import { count, money, span, second, minute, day } from "./format.js";
import { ages, inFlight, verdict } from "./verdict.js";

const byId = (id) => document.getElementById(id);

/** Set an element's text, only if it changes: a screen reader would say it again. */
export function put(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

/** Set a number, and let it glow for a moment if it moved. */
function move(id, text) {
  const element = byId(id);
  if (element.textContent === text) return;
  const first = element.textContent === "–";
  element.textContent = text;
  if (first) return;
  element.classList.remove("moved");
  void element.offsetWidth; // so that the glow begins anew
  element.classList.add("moved");
}

export function drawHead(stream) {
  const { state } = stream;
  const quiet = stream.quietFor();
  const said = verdict({ state, now: stream.now(), open: stream.open, quiet });
  byId("verdict").dataset.tone = said.tone;
  put("verdict-word", said.word);
  put("verdict-why", said.why);
  document.title = said.tone === "bad" ? `${said.word} · Penstock` : "Penstock, live";
  const age = quiet === null ? "no update yet" : quiet < 1.5 ? "live" : `last update ${span(quiet)} ago`;
  put("since", stream.open || quiet === null ? age : `${age} · reconnecting`);
  byId("since").dataset.tone = stream.open ? "ok" : "wait";
  if (state?.books) drawVitals(state, stream.now());
}

function drawVitals(state, now) {
  const kept = Object.values(state.books.partitions);
  const sum = (of) => kept.reduce((total, one) => total + of(one), 0);
  const oldest = Math.max(...ages(state, now).map(([, age]) => age));
  put("fresh", Number.isFinite(oldest) ? `${span(oldest)} ago` : "not measured");
  put("flight", count(sum(inFlight)));
  put("applied", count(sum((one) => one.applied)));
  put("late", count(sum((one) => one.late)));
  put("dead", count(sum((one) => one.dead)));
  put("books-word", state.books.problems.length ? "do not add up" : "add up");
  byId("books-word").dataset.tone = state.books.problems.length ? "bad" : "ok";
}

export function drawFigures(state) {
  const { today, statuses } = state;
  if (today?.day !== undefined) {
    move("revenue", money(today.revenue_e4));
    move("orders", count(today.orders));
    put("orders-note", `${count(today.units)} units · ${count(today.cancellations)} cancelled · ${day(today.day)}`);
  }
  const minutes = Object.keys(state.minutes ?? {}).map(Number).sort((a, b) => a - b);
  const closed = minutes.filter((at) => state.minutes[at][3]);
  const at = closed.at(-1) ?? minutes.at(-1);
  if (at !== undefined) {
    move("rate", count(state.minutes[at][0]));
    const waiting = statuses ? ` · ${count((statuses.placed ?? 0) + (statuses.paid ?? 0))} to ship` : "";
    put("rate-note", `${closed.length ? "final minute" : "open minute"} ${minute(at)}${waiting}`);
  }
  const fleet = state.devices;
  if (fleet?.all !== undefined) {
    move("fleet", count(fleet.all));
    const trouble = [fleet.silent && `${count(fleet.silent)} silent`, fleet.low && `${count(fleet.low)} low on battery`];
    put("fleet-note", trouble.filter(Boolean).join(" · ") || `all reporting at ${second(fleet.newest)}`);
  }
}
