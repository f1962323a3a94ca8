// Elements, numbers and colours, for all parts of the page. Whatever comes from a run becomes text, never markup.

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "style") Object.assign(element.style, value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function svg(tag, attributes = {}, text = null) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== null) element.textContent = text;
  return element;
}

export const byId = (id) => document.getElementById(id);
export const UNKNOWN = "–";

// Seconds in the unit that suits `like`, the largest of those that stand together.
export function seconds(value, like = value) {
  if (value === null || value === undefined) return UNKNOWN;
  const size = Math.abs(like);
  const [factor, unit] = size >= 0.5 || size === 0 ? [1, "s"] : size >= 5e-4 ? [1e3, "ms"] : [1e6, "µs"];
  const shown = value * factor;
  const digits = Math.abs(like * factor) >= 100 ? 1 : Math.abs(like * factor) >= 10 ? 2 : 3;
  return `${shown.toFixed(digits)} ${unit}`;
}

export function count(value) {
  if (value === null || value === undefined) return UNKNOWN;
  return Math.round(value).toLocaleString("en");
}

export function part(value, digits = 1) {
  return value === null || value === undefined ? UNKNOWN : `${(100 * value).toFixed(digits)} %`;
}

export function short(value) {
  if (value === null || value === undefined) return UNKNOWN;
  const size = Math.abs(value);
  if (size >= 1e9) return `${+(value / 1e9).toPrecision(3)} G`;
  if (size >= 1e6) return `${+(value / 1e6).toPrecision(3)} M`;
  if (size >= 1e4) return `${+(value / 1e3).toPrecision(3)} k`;
  return `${+value.toPrecision(3)}`;
}

// Colours: as many as a colour-blind person tells apart; of more jobs they come again, with dashes.
export const COLOURS = 6;
export const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
export const colour = (index) => `var(--series-${index % COLOURS})`;
export const ink = (index) => variable(`--series-${index % COLOURS}`);

export function rgb(text) {
  const number = parseInt(text.slice(1), 16);
  return [number >> 16, (number >> 8) & 255, number & 255];
}

// The place of each job's colour: by its name, so that it is the same in both runs.
export function places(views) {
  const found = new Map();
  for (const view of views) for (const job of view.jobs) if (!found.has(job.name)) found.set(job.name, found.size);
  return found;
}

export function swatch(index) {
  return make("i", { class: "swatch", style: { background: colour(index) } });
}

export function tip(text, event) {
  const box = byId("tip");
  box.hidden = text === null;
  if (text === null) return;
  box.textContent = text;
  const { innerWidth: width, innerHeight: height } = window;
  box.style.left = `${Math.min(event.clientX + 14, width - box.offsetWidth - 8)}px`;
  box.style.top = `${Math.min(event.clientY + 14, height - box.offsetHeight - 8)}px`;
}

export function bytes(text) {
  const raw = atob(text);
  const found = new Uint8Array(raw.length);
  for (let k = 0; k < raw.length; k++) found[k] = raw.charCodeAt(k);
  return found;
}

export async function ask(path) {
  const answer = await fetch(path);
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.failed || answer.statusText);
  return told;
}

// Ask until it is done: what takes a while says how far it is.
export async function await_(path, working, wanted) {
  for (;;) {
    const told = await ask(path);
    if (!wanted()) return null;
    if (told.working === undefined) return told;
    working(told.working);
    await new Promise((go) => setTimeout(go, 250));
  }
}
