// Puts the parts together: one stream, and at most one drawing a frame, of what changed.
import { Stream } from "./stream.js";
import { drawHead, drawFigures } from "./figures.js";
import { Charts } from "./charts.js";
import { drawRanks } from "./ranks.js";
import { drawDevices } from "./devices.js";
import { drawBooks } from "./books.js";

const charts = new Charts();
let asked = false;
let shown = false;

function draw() {
  asked = false;
  drawHead(stream);
  const { state } = stream;
  if (!state) return;
  drawFigures(state);
  if (!shown && state.today?.day !== undefined) {
    shown = true;
    performance.mark("first number"); // a test holds it below a second
  }
  if (Object.keys(state.minutes ?? {}).length) charts.draw(state.minutes);
  drawRanks("products", state.products?.top ?? []);
  drawRanks("countries", state.today?.countries ?? []);
  if (state.devices) drawDevices(state.devices);
  if (state.books) drawBooks(state.books, stream.now());
}

function ask() {
  if (!asked) {
    asked = true;
    requestAnimationFrame(draw);
  }
}

const stream = new Stream("/api/stream", ask);
document.addEventListener("visibilitychange", ask);
