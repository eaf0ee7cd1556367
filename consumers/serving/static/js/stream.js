// The stream of changes: keeps the state, and says how the connection is. The browser reconnects by itself and names
// the last event that it saw; where it can't (the server answered with an error, or says nothing), we begin anew.
import { patch } from "./patch.js";

const QUIET_MS = 12_000; // the server says something every 5 s
const AGAIN_MS = 2_000;

export class Stream {
  constructor(address, changed) {
    this.address = address;
    this.changed = changed;
    this.state = null;
    this.open = false;
    this.heardAt = null; // our clock
    this.ahead = 0; // the server's clock less ours
    setInterval(() => this.#watch(), 1_000);
    this.#connect();
  }

  /** Seconds since the server last said anything; null before it did. */
  quietFor() {
    return this.heardAt === null ? null : (performance.now() - this.heardAt) / 1_000;
  }

  /** What the server's clock says now. */
  now() {
    return Date.now() + this.ahead;
  }

  #connect() {
    this.source?.close();
    this.triedAt = performance.now();
    const source = new EventSource(this.address);
    this.source = source;
    source.onopen = () => { this.open = true; this.changed(); };
    source.onerror = () => { this.open = false; this.changed(); };
    source.addEventListener("snapshot", (event) => this.#take(event, (data) => { this.state = data.state; }));
    source.addEventListener("delta", (event) => this.#take(event, (data) => {
      if (this.state) patch(this.state, data.patch);
    }));
    source.addEventListener("alive", (event) => this.#take(event, () => {}));
  }

  #take(event, apply) {
    const data = JSON.parse(event.data);
    this.heardAt = performance.now();
    this.ahead = data.now - Date.now();
    this.open = true;
    apply(data);
    this.changed();
  }

  #watch() {
    const ended = this.source.readyState === EventSource.CLOSED;
    const since = performance.now() - Math.max(this.heardAt ?? 0, this.triedAt);
    if ((ended && since > AGAIN_MS) || since > QUIET_MS) {
      this.open = false;
      this.#connect();
    }
    this.changed();
  }
}
