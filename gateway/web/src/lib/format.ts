// Numbers, dates and sizes, all through Intl in the user's language.
const language = document.documentElement.lang || "en";
const nf = (options: Intl.NumberFormatOptions) => new Intl.NumberFormat(language, options);
const whole = nf({ maximumFractionDigits: 0 });
const two = nf({ minimumFractionDigits: 2, maximumFractionDigits: 2 });
const three = nf({ minimumFractionDigits: 3, maximumFractionDigits: 3 });
const significant = nf({ minimumSignificantDigits: 3, maximumSignificantDigits: 3 });
const compact = nf({ notation: "compact", maximumFractionDigits: 1 });
const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
const THIN = "\u202f";

/** A number of proto3 JSON: 64-bit integers come as strings. */
export const num = (value: string | number | undefined | null): number => Number(value ?? 0);
export const count = (value: string | number | undefined): string => whole.format(num(value));
export const short = (value: string | number | undefined): string =>
  num(value) < 10_000 ? count(value) : compact.format(num(value)).toLowerCase();
export const share = (value: number): string =>
  value === 0 ? "0" : value < 0.0001 ? `< ${two.format(0.01)}${THIN}%` : `${two.format(value * 100)}${THIN}%`;
export const activation = (value: number): string => (value === 0 ? "0" : significant.format(value));
export const score = (value: number): string => two.format(value).replace("-", "−");
export const exact = (value: number): string => three.format(value).replace("-", "−");
export const tiny = (value: number): string =>
  value !== 0 && Math.abs(value) < 0.001 ? value.toExponential(1).replace("e-", " × 10^−") : String(+value.toPrecision(3));

export function size(bytes: string | number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = num(bytes);
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit && value < 100 ? nf({ maximumFractionDigits: 1 }).format(value) : whole.format(value)} ${units[unit]}`;
}

export function duration(seconds: number): string {
  const left = Math.max(0, Math.round(seconds));
  const parts = [Math.floor(left / 3600), Math.floor((left % 3600) / 60), left % 60];
  const [, minutes, rest] = parts.map((part) => String(part).padStart(2, "0"));
  return parts[0] ? `${parts[0]}:${minutes}:${rest}` : `${parts[1]}:${rest}`;
}

/** "3 minutes ago" within a day, then the date. */
export function when(time: string | undefined): string {
  if (!time) return "";
  const seconds = (Date.parse(time) - Date.now()) / 1000;
  if (Math.abs(seconds) < 60) return relative.format(Math.round(seconds), "second");
  if (Math.abs(seconds) < 3600) return relative.format(Math.round(seconds / 60), "minute");
  if (Math.abs(seconds) < 86_400) return relative.format(Math.round(seconds / 3600), "hour");
  return new Date(time).toLocaleDateString(language, { day: "numeric", month: "short", year: "numeric" });
}

export const clock = (time: string): string => new Date(time).toLocaleTimeString(language);
/** A text whose lines were cut at some width, as paragraphs; indented lines and lists keep their breaks. */
export const flowing = (text: string): string => text.replace(/([^\n])\n(?=[\p{L}\p{N}"'(`])/gu, "$1 ");
/** The last segment of a resource's name. */
/** Round numbers over a range, a few; the range that they span. */
export function ticks(low: number, high: number, count = 3): number[] {
  const rough = Math.max(high - low, 1e-12) / count;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * unit).find((candidate) => candidate >= rough * 0.999)!;
  const first = Math.floor(low / step + 1e-9), last = Math.ceil(high / step - 1e-9);
  return Array.from({ length: Math.max(1, last - first) + 1 }, (_, index) => Number(((first + index) * step).toPrecision(12)));
}
/** What one in a hundred of the values exceeds, by size; 1 where there are none. */
export function nearlyMost(values: number[]): number {
  const sizes = Float32Array.from(values, Math.abs).sort();
  return sizes[Math.floor(sizes.length * 0.99)] || 1;
}
/** A tag as people read it: a sweep's by the begin of its job's id. */
export const tagText = (tag: string): string => tag.replace(/^sweep\/\w+\.(\w{6})\w*$/, "sweep $1");
export const idOf = (name: string | undefined): string => (name ?? "").split("/").pop() ?? "";
export const colourOf = (colour: number | undefined): string => (colour ? `var(--cat-${colour})` : "var(--cat-none)");
/** The step of the activation ramp for a share of the maximum. */
export const warmth = (part: number): string => `var(--act-${Math.min(6, 2 + Math.floor(Math.max(0, part) * 5))})`;
