// Revenue and orders by minute: bars, those of open minutes lighter, and what the pointer is on in words.
import { count, money, shortMoney, minute } from "./format.js";

const MOST = 60; // minutes
const LEAST = 15; // of a pipeline that is young
const MINUTE_S = 60;

const colour = (name) => {
  const probe = document.createElement("i"); // resolves light-dark()
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
};

function options(element, format, draws, height) {
  const [accent, open, line, muted] = ["accent", "accent-open", "line", "muted"].map(colour);
  const font = `11px ${getComputedStyle(document.body).fontFamily}`;
  const axis = { stroke: muted, font, ticks: { show: false }, border: { show: false } };
  const fills = (plot) => plot.data[2].map((final) => (final ? accent : open));
  return {
    width: Math.max(element.clientWidth, 200),
    height,
    padding: [8, 4, 0, 0],
    legend: { show: false },
    cursor: { sync: { key: "minutes" }, y: false, points: { show: false }, drag: { x: false, y: false } },
    scales: {
      x: { time: true, range: (_plot, from, to) => [from - MINUTE_S / 2, to + MINUTE_S / 2] }, // whole bars
      y: { range: (_plot, _low, high) => [0, Math.max(high * 1.08, 1)] },
    },
    axes: [
      { ...axis, grid: { show: false }, space: 64, size: 24, values: (_plot, at) => at.map((s) => minute(s * 1_000)) },
      { ...axis, grid: { stroke: line, width: 1 }, space: 34, size: 52, values: (_plot, at) => at.map(format) },
    ],
    series: [
      {},
      {
        stroke: accent,
        width: 0,
        points: { show: false },
        paths: uPlot.paths.bars({
          size: [0.72, 26], radius: 0.18,
          disp: { fill: { unit: 3, values: fills } },
        }),
      },
      { show: false, scale: "final" },
    ],
    hooks: { setCursor: [(plot) => draws(plot.cursor.idx)] },
  };
}

export class Charts {
  constructor() {
    this.elements = ["revenue-chart", "orders-chart"].map((id) => document.getElementById(id));
    this.readout = document.getElementById("readout");
    this.minutes = {};
    this.plots = [];
    this.pointed = null;
    document.addEventListener("theme", () => this.#make());
    new ResizeObserver(() => this.#resize()).observe(this.elements[0]);
  }

  draw(minutes) {
    this.minutes = minutes;
    if (!this.plots.length) this.#make();
    const [revenue, orders] = this.#data();
    this.plots[0].setData(revenue);
    this.plots[1].setData(orders);
    this.#say();
  }

  #data() {
    const known = Object.keys(this.minutes).map((at) => at / 1_000);
    const [oldest, newest] = [Math.min(...known), Math.max(...known)];
    const length = Math.min(MOST, Math.max(LEAST, (newest - oldest) / MINUTE_S + 1));
    this.times = Array.from({ length }, (_, place) => newest - (length - 1 - place) * MINUTE_S);
    const of = (column) => this.times.map((at) => this.minutes[at * 1_000]?.[column] ?? null);
    const final = this.times.map((at) => this.minutes[at * 1_000]?.[3] ?? 1);
    return [[this.times, of(1), final], [this.times, of(0), final]];
  }

  #make() {
    if (!Object.keys(this.minutes).length) return;
    for (const plot of this.plots) plot.destroy();
    const [revenue, orders] = this.#data();
    const point = (place) => { this.pointed = place ?? null; this.#say(); };
    const [first, second] = this.elements;
    this.plots = [
      new uPlot(options(first, shortMoney, point, 168), revenue, first),
      new uPlot(options(second, count, point, 120), orders, second),
    ];
  }

  #resize() {
    for (const [place, plot] of this.plots.entries()) {
      plot.setSize({ width: Math.max(this.elements[place].clientWidth, 200), height: plot.height });
    }
  }

  /** Say the minute under the pointer, else the last one that is final. */
  #say() {
    const last = this.times.findLastIndex((at) => this.minutes[at * 1_000]?.[3]);
    const place = this.pointed ?? (last < 0 ? this.times.length - 1 : last);
    const at = this.times[place] * 1_000;
    const [orders, revenue, cancelled, final] = this.minutes[at] ?? [0, 0, 0, 1];
    const text = `${minute(at)}  ${money(revenue)} · ${count(orders)} orders · ${count(cancelled)} cancelled`;
    this.readout.textContent = final ? text : `${text} · open`;
    if (this.pointed === null) {
      for (const element of this.elements) element.setAttribute("aria-label", `By minute; last: ${text}`);
    }
  }
}
