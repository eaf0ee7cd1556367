// Is it all right? One rule, in the order of what matters most. Pure: the state, the time, the connection.
import { span } from "./format.js";

export const STALE_S = 30; // the views are as old as that: somebody should look
const LOST_S = 3; // a reconnect takes a moment; only then is it worth a word

/** Age in seconds of each source partition's newest numbers, by name. Without probes there is none. */
export function ages(state, now) {
  const partitions = Object.entries(state.books?.partitions ?? {});
  return partitions.filter(([, kept]) => kept.probe).map(([name, kept]) => [name, Math.max(0, (now - kept.probe) / 1_000)]);
}

/** Events that the entity views have and the metrics do not yet. */
export const inFlight = (kept) => Math.max(0, kept.read - kept.settled);

export function verdict({ state, now, open, quiet }) {
  if (!state) return open ? say("wait", "Waiting", "for the first numbers") : say("wait", "Connecting", "");
  if (!open && (quiet === null || quiet > LOST_S)) {
    return say("bad", "Disconnected", "these are the last numbers; reconnecting", false);
  }
  if (state.trouble) return say("bad", "Not OK", state.trouble);
  const [problem] = state.books?.problems ?? [];
  if (problem) return say("bad", "Not OK", `books: ${problem}`, false);
  if (!Object.keys(state.books?.partitions ?? {}).length) return say("wait", "Waiting", "no event has come yet");
  const aged = ages(state, now);
  const stale = aged.filter(([, age]) => age > STALE_S);
  if (stale.length) {
    const what = stale.length === aged.length ? "nothing new" : `nothing new from ${names(stale)}`;
    return say("bad", "Not OK", `${what} for more than ${span(STALE_S)}`);
  }
  return say("ok", "OK", aged.length ? "fresh, and the books add up" : "the books add up; freshness is not measured");
}

const say = (tone, word, why, balanced = true) => ({ tone, word, why, balanced });

const names = (stale) => {
  const [first, ...more] = stale.map(([name]) => name);
  return more.length ? `${first} and ${more.length} more` : first;
};
