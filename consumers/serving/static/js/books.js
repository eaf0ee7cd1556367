// The books by partition: what the views hold, and how far they are.
import { count, span } from "./format.js";
import { put } from "./figures.js";
import { STALE_S, inFlight } from "./verdict.js";

export function drawBooks({ partitions, problems }, now) {
  const rows = Object.entries(partitions).map(([name, kept]) => {
    const line = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    const age = kept.probe === undefined ? null : Math.max(0, (now - kept.probe) / 1_000);
    const numbers = [kept.applied, kept.open, kept.late, kept.dead, kept.settled, inFlight(kept)];
    const texts = [...numbers.map(count), age === null ? "–" : `${span(age)} ago`];
    const cells = texts.map((text) => {
      const cell = document.createElement("td");
      cell.textContent = text;
      return cell;
    });
    if (age > STALE_S) cells.at(-1).dataset.tone = "bad";
    line.append(head, ...cells);
    return line;
  });
  document.getElementById("books").replaceChildren(...rows);
  put("books-note", problems.length ? problems.join("; ") : "nothing in them contradicts itself");
}
