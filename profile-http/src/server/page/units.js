// Values for people.

const unknown = "–";

function bytes(value) {
  if (value == null) return unknown;
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let scaled = Math.abs(value);
  let unit = 0;
  while (scaled >= 1023.95 && unit < units.length - 1) { scaled /= 1024; unit += 1; }
  const digits = unit === 0 ? 0 : scaled < 10 ? 2 : scaled < 100 ? 1 : 0;
  return `${value < 0 ? "−" : ""}${scaled.toFixed(digits)} ${units[unit]}`;
}

const count = (value) => (value == null ? unknown : Math.round(value).toLocaleString("en"));

function percent(value, digits) {
  if (value == null) return unknown;
  return `${value.toFixed(digits ?? (Math.abs(value) < 10 ? 1 : 0))} %`;
}

function seconds(value) {
  if (value == null) return unknown;
  if (value === 0) return "0 s";
  if (value < 1e-3) return `${(value * 1e6).toFixed(0)} µs`;
  if (value < 1) return `${(value * 1e3).toFixed(0)} ms`;
  if (value < 60) return `${value.toFixed(value < 10 ? 1 : 0)} s`;
  const whole = Math.floor(value);
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const words = [];
  let rest = whole;
  for (const [size, name] of parts) {
    if (rest >= size || words.length) words.push(`${Math.floor(rest / size)} ${name}`);
    rest %= size;
  }
  return words.slice(0, 2).join(" ");
}

const clock = (time) => new Date(time).toLocaleTimeString("en-GB");

/** A value in the unit of a profile. */
function inUnit(value, unit) {
  if (unit === "nanoseconds") return seconds(value / 1e9);
  if (unit === "bytes") return bytes(value);
  return count(value);
}

/** A change with its sign. */
function signed(value, format) {
  if (value == null) return unknown;
  if (value === 0) return "0";
  return `${value > 0 ? "+" : "−"}${format(Math.abs(value))}`;
}

const changed = (value) => (value > 0 ? "grew" : value < 0 ? "shrank" : "");

/** The last two parts of a path. */
const shortPath = (path) => path.split(/[/\\]/).slice(-2).join("/");

const isPlumbing = (name, file) =>
  /\/rustc\/|\/rustlib\/src\/rust\/library\//.test(file ?? "") ||
  /^<?(alloc|core|std|hashbrown)::|^_?_?(rust_|rustc|libc_|rjem_)|^start_thread$|^clone3?$/.test(name);

/** A line of a stack, `function file:line`, in its parts. */
function frameOf(text) {
  const parts = text.match(/^(.*\S) (\S.*):(\d+)$/);
  if (!parts) return { name: text, file: "", line: 0 };
  // Names of functions hold blanks (`<A as B>::c`), so the last one is where the file begins.
  const [, name, file, line] = parts;
  return { name, file, line: Number(line) };
}
