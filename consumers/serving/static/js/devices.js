// Devices: state in words, the newest reading, and a line of the last half hour. Those with trouble come first.
import { reading, unit, span, count } from "./format.js";
import { put } from "./figures.js";

const SILENT_MS = 120_000; // as the server counts them
const DAY_MS = 86_400_000;
const WIDE = 120;
const HIGH = 26;
const LEAST_REACH = 0.01; // of the value: less is noise, and drawn flat
const SVG = "http://www.w3.org/2000/svg";

const known = new Map(); // device -> its elements: drawing anew would lose the reader's place

function stateOf(device, newest) {
  const last = Math.max(0, ...Object.values(device.sensors ?? {}).map((sensor) => sensor.at));
  if (!last) return ["idle", "no readings"];
  if (newest - last > SILENT_MS) return ["bad", `silent ${span((newest - last) / 1_000)}`];
  if (device.battery_low > newest - DAY_MS) return ["warn", `battery ${device.battery} %`];
  return ["ok", "reporting"];
}

function line(points) {
  const times = Object.keys(points ?? {}).map(Number).sort((a, b) => a - b);
  if (times.length < 2) return "";
  const values = times.map((at) => points[at]);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const reach = Math.max(high - low, Math.abs(high) * LEAST_REACH) || 1;
  const middle = (high + low) / 2;
  const x = (at) => ((at - times[0]) / (times.at(-1) - times[0])) * WIDE;
  const y = (value) => HIGH / 2 - ((value - middle) / reach) * (HIGH - 6);
  return times.map((at, place) => `${place ? "L" : "M"}${x(at).toFixed(1)} ${y(values[place]).toFixed(1)}`).join("");
}

function made(name) {
  const item = document.createElement("li");
  const parts = { item, lines: new Map() };
  for (const [part, tag] of [["name", "h3"], ["state", "p"]]) {
    parts[part] = document.createElement(tag);
    parts[part].className = part;
    item.append(parts[part]);
  }
  parts.name.textContent = name;
  parts.name.title = name;
  return parts;
}

function sensorOf(parts, sensor) {
  if (!parts.lines.has(sensor)) {
    const box = document.createElement("div");
    box.className = "sensor";
    const [label, value] = ["label", "value"].map((part) => {
      const text = document.createElement("span");
      text.className = part;
      return text;
    });
    label.textContent = sensor.toLowerCase().replace("_", " ");
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${WIDE} ${HIGH}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    const path = document.createElementNS(SVG, "path");
    svg.append(path);
    box.append(label, value, svg);
    parts.item.append(box);
    parts.lines.set(sensor, { value, path });
  }
  return parts.lines.get(sensor);
}

export function drawDevices(devices) {
  const order = { bad: 0, warn: 1, idle: 2, ok: 3 };
  const rows = Object.entries(devices.shown ?? {}).map(([name, device]) => [name, device, ...stateOf(device, devices.newest)]);
  rows.sort((a, b) => order[a[2]] - order[b[2]] || (a[0] < b[0] ? -1 : 1));
  const list = document.getElementById("devices");
  for (const [name, device, tone, word] of rows) {
    if (!known.has(name)) known.set(name, made(name));
    const parts = known.get(name);
    parts.item.dataset.tone = tone;
    if (parts.state.textContent !== word) parts.state.textContent = word;
    for (const [sensor, { value, unit: of }] of Object.entries(device.sensors ?? {})) {
      const drawn = sensorOf(parts, sensor);
      const text = `${reading(value)} ${unit(of)}`;
      if (drawn.value.textContent !== text) drawn.value.textContent = text;
      drawn.path.setAttribute("d", line(devices.points?.[`${name}/${sensor}`]));
    }
  }
  const items = rows.map(([name]) => known.get(name).item);
  if (items.length !== list.children.length || items.some((item, place) => item !== list.children[place])) {
    list.replaceChildren(...items);
  }
  for (const name of known.keys()) if (!(name in (devices.shown ?? {}))) known.delete(name);
  const all = devices.all ?? 0;
  put("devices-note", items.length < all ? `${count(items.length)} of ${count(all)}, trouble first` : "last 30 minutes");
}
