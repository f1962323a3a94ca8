// The switches' rows: a map of one moment, and above all of them over time. A colour is a job, its strength the priority.

import { byId, bytes, COLOURS, make, rgb, seconds, tip, variable } from "./dom.js";

const LEFT = 255;

// Frames of one run, as they come.
export class Frames {
  constructor() {
    this.times = [];
    this.owner = this.priority = new Uint8Array(0);
    this.seq = new Uint32Array(0);
    this.byJob = [];
    this.series = {};
    this.lowest = 255;
    this.highest = 1;
  }

  add(told) {
    const first = told.first === 0;
    this.switches = told.switches;
    this.jobs = told.jobs;
    this.note = told.note;
    this.rows = told.switches.reduce((sum, one) => sum + one.rows, 0);
    this.times = first ? told.times_s : [...this.times, ...told.times_s];
    const seq = new Uint32Array(bytes(told.seq).buffer);
    this.owner = first ? bytes(told.owner) : joined(this.owner, bytes(told.owner));
    this.priority = first ? bytes(told.priority) : joined(this.priority, bytes(told.priority));
    this.seq = first ? seq : joined(this.seq, seq);
    const more = (before, now) => now.map((line, k) => (first ? line : [...before[k], ...line]));
    this.byJob = more(this.byJob, told.rows_by_job);
    this.series = Object.fromEntries(Object.entries(told.series).map(([what, lines]) => [what, more(this.series[what], lines)]));
    for (const one of this.priority) {
      if (one && one < this.lowest) this.lowest = one;
      if (one > this.highest) this.highest = one;
    }
  }

  // The last frame that is not after a time.
  at(time) {
    let low = 0, high = this.times.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.times[middle] <= time) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  get begin() {
    return this.times.length ? this.times[0] : 0;
  }

  get end() {
    return this.times.length ? this.times[this.times.length - 1] : 0;
  }
}

function joined(a, b) {
  const both = new a.constructor(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

// By owner and priority, what a pixel is.
function palette(frames, place) {
  const free = rgb(variable("--free")), left = rgb(variable("--muted"));
  const table = new Uint32Array(256 * 256);
  const span = Math.max(1, frames.highest - frames.lowest);
  const pack = (r, g, b) => (255 << 24) | (b << 16) | (g << 8) | r;
  table.fill(pack(...free));
  const put = (owner, base) => {
    for (let priority = 0; priority < 256; priority++) {
      const strength = frames.highest === frames.lowest ? 1 : 0.38 + 0.62 * Math.min(1, Math.max(0, (priority - frames.lowest) / span));
      table[owner * 256 + priority] = pack(...base.map((one, k) => Math.round(free[k] + (one - free[k]) * strength)));
    }
  };
  frames.jobs.slice(0, LEFT - 1).forEach((name, k) => put(k + 1, rgb(variable(`--series-${(place.get(name) ?? k) % COLOURS}`))));
  put(LEFT, left);
  return table;
}

export class MemoryMap {
  // choose: told the time that is clicked on; ask: the job and the fragment of a row.
  constructor(choose, ask) {
    this.root = make("div");
    this.title = make("h3");
    this.words = make("p", { class: "working" });
    this.bar = make("progress", { max: 1, value: 0, hidden: true });
    this.cells = make("div");
    this.flow = make("canvas", { class: "flow", role: "img" });
    this.axis = make("p", { class: "caption" });
    this.map = make("div", { class: "map" }, make("div", {}, this.cells), make("div", {}, this.flow, this.axis));
    this.map.hidden = true;
    this.root.append(this.title, make("div", {}, this.words, this.bar), this.map);
    this.choose = choose;
    this.ask = ask;
    this.frame = 0;
    this.flow.addEventListener("pointerdown", (event) => this.choose(this.timeAt(event)));
    this.flow.addEventListener("pointermove", (event) => {
      if (event.buttons) this.choose(this.timeAt(event));
      const frame = this.frames.at(this.timeAt(event));
      const row = Math.min(this.frames.rows - 1, Math.floor((event.offsetY / this.flow.clientHeight) * this.frames.rows));
      tip(this.says(frame, row), event);
    });
    this.flow.addEventListener("pointerleave", () => tip(null));
  }

  timeAt(event) {
    return this.from + (event.offsetX / this.flow.clientWidth) * (this.until - this.from);
  }

  wait(text, part = null) {
    this.words.textContent = text;
    this.bar.hidden = part === null;
    if (part !== null) this.bar.value = part;
  }

  show(frames, place, title) {
    this.frames = frames;
    this.place = place;
    this.title.textContent = title;
    this.wait(frames.note);
    this.map.hidden = !frames.times.length || !frames.rows;
    if (!frames.rows) return this.wait(frames.note || "no job of this run uses rows");
    this.palette = palette(frames, place);
    if (!this.canvases || this.canvases.length !== frames.switches.length) this.makeCanvases();
    this.image = this.overTime();
  }

  makeCanvases() {
    this.canvases = this.frames.switches.map((one, k) => {
      const canvas = make("canvas", { class: "cells", role: "img", "aria-label": `rows of ${one.name}` });
      const first = this.frames.switches.slice(0, k).reduce((sum, other) => sum + other.rows, 0);
      const row = (event) => {
        const columns = columnsOf(one.rows), lines = Math.ceil(one.rows / columns);
        const at = Math.floor((event.offsetY / canvas.clientHeight) * lines) * columns + Math.floor((event.offsetX / canvas.clientWidth) * columns);
        return at >= 0 && at < one.rows ? first + at : null;
      };
      canvas.addEventListener("pointermove", (event) => tip(row(event) === null ? null : this.says(this.frame, row(event)), event));
      canvas.addEventListener("pointerleave", () => tip(null));
      canvas.addEventListener("click", (event) => {
        const at = row(event);
        const owner = at === null ? 0 : this.frames.owner[this.frame * this.frames.rows + at];
        if (owner && owner !== LEFT) this.ask(this.frames.jobs[owner - 1], this.frames.seq[this.frame * this.frames.rows + at]);
      });
      return { canvas, first, rows: one.rows };
    });
    this.cells.replaceChildren(...this.frames.switches.flatMap((one, k) => [make("p", { class: "caption" }, `${one.name}: ${one.rows} rows`), this.canvases[k].canvas]));
  }

  says(frame, row) {
    const at = frame * this.frames.rows + row, owner = this.frames.owner[at];
    let which = row, name = "";
    for (const one of this.frames.switches) {
      if (which < one.rows) { name = one.name; break; }
      which -= one.rows;
    }
    const head = `${name}, row ${which}, ${seconds(this.frames.times[frame], this.frames.end)}`;
    if (!owner) return `${head}\nfree`;
    if (owner === LEFT) return `${head}\nleft by a run that is over`;
    return `${head}\njob ${this.frames.jobs[owner - 1]}, fragment ${this.frames.seq[at]}\npriority ${this.frames.priority[at]}`;
  }

  // All frames side by side, a pixel for each row of each.
  overTime() {
    const { rows, times } = this.frames, width = times.length;
    const image = new ImageData(width, rows), pixels = new Uint32Array(image.data.buffer);
    for (let frame = 0; frame < width; frame++)
      for (let row = 0; row < rows; row++) pixels[row * width + frame] = this.palette[this.frames.owner[frame * rows + row] * 256 + this.frames.priority[frame * rows + row]];
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = rows;
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  }

  draw(time, from, until) {
    if (this.map.hidden || !this.frames) return;
    this.from = from;
    this.until = until > from ? until : from + 1;
    this.frame = this.frames.at(time);
    this.drawFlow(time);
    for (const one of this.canvases) this.drawCells(one);
    this.axis.textContent = `all rows, from ${seconds(from, until)} to ${seconds(until)}; choose a time, or a row to see its fragment`;
    this.flow.setAttribute("aria-label", "rows over time");
  }

  drawFlow(time) {
    const ratio = window.devicePixelRatio || 1, { clientWidth, clientHeight } = this.flow;
    const width = (this.flow.width = Math.max(1, Math.round(clientWidth * ratio))), height = (this.flow.height = Math.max(1, Math.round(clientHeight * ratio)));
    const pen = this.flow.getContext("2d"), { times } = this.frames;
    pen.imageSmoothingEnabled = this.image.height > height;
    const x = (at) => ((at - this.from) / (this.until - this.from)) * width;
    for (let k = 0; k < times.length; k++) {
      const from = x(times[k]), to = x(k + 1 < times.length ? times[k + 1] : this.frames.end);
      pen.drawImage(this.image, k, 0, 1, this.image.height, Math.floor(from), 0, Math.max(1, Math.ceil(to) - Math.floor(from)), height);
    }
    pen.fillStyle = variable("--ink");
    pen.fillRect(Math.min(width - 2, x(time)), 0, 1.5 * ratio, height);
  }

  drawCells({ canvas, first, rows }) {
    const ratio = window.devicePixelRatio || 1, columns = columnsOf(rows), lines = Math.ceil(rows / columns);
    const size = Math.max(1, Math.floor((canvas.clientWidth * ratio) / columns)), gap = size >= 6 ? Math.max(1, Math.round(size / 9)) : 0;
    canvas.width = size * columns;
    canvas.height = size * lines;
    const pen = canvas.getContext("2d");
    pen.fillStyle = variable("--card");
    pen.fillRect(0, 0, canvas.width, canvas.height);
    for (let row = 0; row < rows; row++) {
      const at = this.frame * this.frames.rows + first + row, pixel = this.palette[this.frames.owner[at] * 256 + this.frames.priority[at]];
      pen.fillStyle = `rgb(${pixel & 255} ${(pixel >> 8) & 255} ${(pixel >> 16) & 255})`;
      pen.fillRect((row % columns) * size, Math.floor(row / columns) * size, size - gap, size - gap);
    }
  }
}

const columnsOf = (rows) => 2 ** Math.ceil(Math.log2(Math.sqrt(Math.max(1, rows))));

export function legend(place, anything) {
  const jobs = [...place].map(([name, index]) => make("span", {}, make("i", { class: "swatch", style: { background: `var(--series-${index % COLOURS})` } }), name));
  const scale = make("span", { class: "scale" }, "priority: low", make("i"), "high");
  byId("legend").replaceChildren(...jobs, ...(anything ? [scale] : []));
}
