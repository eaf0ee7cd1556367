// Tables of what sells best: a bar behind each row says how much of the best one it is.
import { count, money } from "./format.js";

function row(name, number, amount, share) {
  const line = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = name;
  const cells = [count(number), money(amount)].map((text) => {
    const cell = document.createElement("td");
    cell.textContent = text;
    return cell;
  });
  line.append(head, ...cells);
  line.style.setProperty("--share", `${Math.max(0, Math.min(1, share)) * 100}%`);
  return line;
}

/** Fill a table's body with rows of [name, number, amount], the largest amount first. */
export function drawRanks(id, rows) {
  const best = Math.max(...rows.map(([, , amount]) => amount), 1);
  document.getElementById(id).replaceChildren(...rows.map((one) => row(...one, one[2] / best)));
}
