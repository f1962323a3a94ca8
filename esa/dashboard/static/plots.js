// What was counted over time, drawn by uPlot (github.com/leeoniya/uPlot), which is served beside this file.

import { COLOURS, ink, make, rgb, seconds, short, variable } from "./dom.js";

const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3], [5, 2], [1, 2]];
const HEIGHT = 190;

// A chart of one series: title, unit, kind, t, lines.
export class Plot {
  constructor(sync, choose) {
    this.title = make("h3");
    this.keys = make("div", { class: "keys" });
    this.box = make("div");
    this.root = make("figure", { class: "card plot", style: { margin: 0 } }, this.title, this.box, this.keys);
    this.sync = sync;
    this.choose = choose;
    this.signature = "";
  }

  show(series, label, place, most, until) {
    this.series = series;
    this.title.replaceChildren(label ? `${series.title}: ${label}` : series.title, make("small", {}, series.unit));
    const names = series.lines.map((line) => line.name);
    this.index = names.map((name, k) => place.get(name) ?? k);
    const stacked = series.kind === "stacked";
    const values = stacked ? stack(series.lines.map((line) => line.values)) : series.lines.map((line) => line.values);
    const order = names.map((_, k) => k);
    if (stacked) order.reverse(); // what is on top is drawn first
    const data = [series.t, ...order.map((k) => values[k])];
    if (until > series.t[series.t.length - 1]) data.forEach((line, k) => (data[k] = [...line, k ? null : until])); // as long as the other run
    const width = Math.max(200, this.box.clientWidth || 360);
    const signature = JSON.stringify([names, series.kind, document.documentElement.dataset.theme, width, most, until]);
    if (this.plot && signature === this.signature) this.plot.setData(data);
    else {
      this.signature = signature;
      if (this.plot) this.plot.destroy();
      this.plot = new uPlot(this.options(order, stacked, width, most), data, this.box);
      this.plot.over.addEventListener("click", () => {
        const time = this.plot.posToVal(this.plot.cursor.left, "x");
        if (Number.isFinite(time)) this.choose(time);
      });
    }
    this.legend(null);
  }

  options(order, stacked, width, most) {
    const muted = variable("--muted"), grid = variable("--grid"), font = '11px system-ui, "DejaVu Sans", sans-serif';
    const axis = { stroke: muted, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1, size: 4 }, font };
    return {
      width,
      height: HEIGHT,
      padding: [8, 14, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: this.sync }, drag: { x: true, y: false }, points: { size: 6 } },
      scales: { x: { time: false }, y: { range: (_, low, high) => [Math.min(0, low ?? 0), Math.max(most || 0, high ?? 0) * 1.06 || 1] } },
      axes: [
        { ...axis, size: 30, values: (_, marks) => marks.map((mark) => seconds(mark, marks[marks.length - 1]).replace(/\.?0+ /, " ")) },
        { ...axis, size: 52, values: (_, marks) => marks.map(short) },
      ],
      series: [
        {},
        ...order.map((k) => ({
          stroke: ink(this.index[k]),
          width: stacked ? 1 : 1.6,
          fill: stacked ? mixed(ink(this.index[k]), variable("--card")) : undefined,
          dash: stacked ? [] : DASHES[(this.index[k] + Math.floor(this.index[k] / COLOURS)) % DASHES.length],
          spanGaps: this.series.lines.length > 1 && !stacked,
          points: { show: this.series.t.length < 3 },
        })),
      ],
      hooks: { setCursor: [(plot) => this.legend(plot.cursor.idx)] },
    };
  }

  legend(at) {
    this.keys.replaceChildren(
      ...this.series.lines.map((line, k) => {
        const value = at === null || at === undefined ? null : line.values[at];
        return make("span", {}, make("i", { class: "swatch", style: { background: `var(--series-${this.index[k] % COLOURS})` } }), line.name, value === null || value === undefined ? null : make("b", {}, short(value)));
      })
    );
  }
}

function mixed(colour, paper) {
  const [a, b] = [rgb(colour), rgb(paper)];
  return `rgb(${a.map((one, k) => Math.round(0.62 * one + 0.38 * b[k])).join(" ")})`;
}

export function highest(series) {
  if (!series) return 0;
  const values = series.kind === "stacked" ? stack(series.lines.map((line) => line.values)).slice(-1) : series.lines.map((line) => line.values);
  return Math.max(0, ...values.flat().filter((one) => one !== null));
}

function stack(lines) {
  const sum = new Array(lines.length ? lines[0].length : 0).fill(0);
  return lines.map((line) => line.map((value, k) => (sum[k] += value || 0)));
}
