// Numbers and times as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const cents = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

export const count = (value) => whole.format(value);

/** An amount of 1/10,000, to the cent. */
export const money = (e4) => cents.format(e4 / 10_000);

/** An amount of 1/10,000, short: for axes. */
export const shortMoney = (e4) => {
  const value = e4 / 10_000;
  if (Math.abs(value) >= 1e6) return `${+(value / 1e6).toFixed(1)}M`;
  return Math.abs(value) >= 1e3 ? `${+(value / 1e3).toFixed(1)}k` : `${+value.toFixed(0)}`;
};

export const reading = (value) => {
  const size = Math.abs(value);
  return value.toFixed(size >= 1_000 ? 0 : size >= 100 ? 1 : 2);
};

const UNITS = { celsius: "°C", fahrenheit: "°F", percent: "%", hectopascal: "hPa" };
export const unit = (name) => UNITS[name] ?? name;

/** Seconds, as long as it takes to know how bad it is. */
export const span = (seconds) => {
  if (seconds < 10) return `${Math.max(seconds, 0).toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return seconds < 7_200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3_600)} h`;
};

/** The minute of a time, UTC. */
export const minute = (ms) => new Date(ms).toISOString().slice(11, 16);
export const second = (ms) => new Date(ms).toISOString().slice(11, 19);
export const day = (ms) => new Date(ms).toISOString().slice(0, 10);
