// One fragment's life: who had it when, what the switch did with it, and what was said to whom.

import { make, seconds, svg, tip } from "./dom.js";

const MARKS = {
  sent: ["●", 0], resent: ["↻", 1], seated: ["■", 2], added: ["+", 2], completed: ["★", 2], preempts: ["▲", 3], preempted: ["▼", 1], evicted: ["▼", 1],
  collides: ["✕", 1], partial: ["◆", 4], reminded: ["?", 4], missed: ["∅", 4], queried: ["?", 4], result: ["○", 5], received: ["✓", 0], lost: ["✕", 1], stopped: ["■", 1],
};
const WIDTH = 640, LEFT = 92, LANE = 26;

export function life(told, title) {
  const root = make("div");
  if (title) root.append(make("h3", {}, title));
  for (const note of told.notes) root.append(make("p", { class: "note" }, note));
  if (!told.events.length) return root;
  const list = make("ol", { "aria-label": "what happened" }, ...told.events.map((event) => entry(event, told)));
  root.append(make("div", { class: "life" }, make("div", {}, drawing(told)), list));
  return root;
}

function entry(event, told) {
  const [mark, index] = MARKS[event.what] || ["·", 0];
  const glyph = make("i", { style: { color: `var(--series-${index})` } }, mark);
  return make("li", {}, make("time", {}, seconds(event.t_s - told.from_s, told.until_s - told.from_s)), make("b", {}, glyph, event.what), make("span", {}, `${event.at}: ${event.text}`));
}

function drawing(told) {
  const height = LANE * told.lanes.length + 34, span = Math.max(1e-12, told.until_s - told.from_s);
  const x = (time) => LEFT + ((time - told.from_s) / span) * (WIDTH - LEFT - 12), y = (lane) => 16 + LANE * lane;
  const root = svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": `fragment ${told.seq} of job ${told.job} over time` });
  told.lanes.forEach((name, lane) => {
    root.append(svg("line", { x1: LEFT, x2: WIDTH - 8, y1: y(lane), y2: y(lane), stroke: "var(--grid)" }));
    const label = svg("text", { x: LEFT - 8, y: y(lane) + 4, "text-anchor": "end" }, name.length > 13 ? `${name.slice(0, 12)}…` : name);
    label.append(svg("title", {}, name));
    root.append(label);
  });
  for (const one of told.spans) {
    const bar = svg("rect", { x: x(one.from_s), y: y(one.lane) - 6, width: Math.max(2, x(one.until_s) - x(one.from_s)), height: 12, rx: 2, fill: "var(--series-2)", opacity: 0.35 });
    bar.append(svg("title", {}, one.text));
    root.append(bar);
  }
  for (const one of told.packets) {
    const line = svg("line", { x1: x(one.from_s), y1: y(one.lane), x2: x(one.until_s), y2: y(one.to), stroke: `var(--series-${{ GRADIENT: 0, RESULT: 5, PARTIAL: 4 }[one.kind] ?? 1})`, "stroke-width": 1.2, opacity: 0.75 });
    if (one.kind !== "GRADIENT" && one.kind !== "RESULT") line.setAttribute("stroke-dasharray", "4 3");
    root.append(line);
  }
  for (const event of told.events) {
    const [mark, index] = MARKS[event.what] || ["·", 0];
    if (event.lane === null) continue;
    const glyph = svg("text", { x: x(event.t_s), y: y(event.lane) + 4.5, "text-anchor": "middle" }, mark);
    Object.assign(glyph.style, { fill: `var(--series-${index})`, fontSize: "13px", fontWeight: "700" });
    glyph.addEventListener("pointermove", (pointer) => tip(`${event.what}, ${seconds(event.t_s - told.from_s, span)}\n${event.at}: ${event.text}`, pointer));
    glyph.addEventListener("pointerleave", () => tip(null));
    root.append(glyph);
  }
  for (const part of [0, 0.5, 1]) root.append(svg("text", { x: x(told.from_s + part * span), y: height - 6, "text-anchor": part === 0 ? "start" : part === 1 ? "end" : "middle" }, part ? `+${seconds(part * span, span)}` : "0"));
  return root;
}
