// The page: which runs are shown, what is asked for, and when.

import { ask, await_, byId, make, places, seconds } from "./dom.js";
import { life } from "./life.js";
import { Frames, legend, MemoryMap } from "./memory.js";
import { highest, Plot } from "./plots.js";
import { showResult } from "./result.js";

const state = { runs: [], chosen: [], views: [], frames: [], maps: [], plots: [], time: 0, follow: true, turn: 0, streams: [], life: null, playing: null };
const DEEP = { collisions: "Collisions", preemptions: "Preemptions", evicted: "Evicted", reminders: "Reminders", completed: "Completed", "via PS": "Sums by the PS" };

const names = () => {
  const short = state.views.map((view) => view.summary.policy);
  return new Set(short).size === short.length ? short : state.views.map((view) => view.name);
};

async function listRuns() {
  const told = await ask("/api/runs");
  state.runs = told.runs;
  for (const [id, none] of [["first", null], ["second", "–"]]) {
    const before = byId(id).value;
    byId(id).replaceChildren(...(none ? [make("option", { value: "" }, none)] : []), ...told.runs.map((run) => make("option", { value: run.id }, run.name + (run.state === "finished" ? "" : ` (${run.state})`))));
    if ([...byId(id).options].some((option) => option.value === before)) byId(id).value = before;
  }
  state.problems = told.problems;
  showNotes();
}

function showNotes() {
  const notes = state.views.flatMap((view) => view.notes.map((note) => (state.views.length > 1 ? `${view.name}: ${note}` : note)));
  byId("notes").replaceChildren(...[...(state.problems || []), ...notes].map((note) => make("p", { class: "note" }, note)));
}

// Another choice of runs: everything anew.
async function choose(ids) {
  const turn = ++state.turn;
  state.streams.forEach((stream) => stream.close());
  Object.assign(state, { chosen: ids, streams: [], frames: ids.map(() => null), follow: true, time: 0, life: null });
  byId("life").replaceChildren();
  location.replace(`#${ids.join("+")}`);
  const views = await Promise.all(ids.map((id) => ask(`/api/runs/${id}/view`)));
  if (turn !== state.turn) return;
  state.views = views;
  state.plots.forEach((plot) => plot.root.remove());
  state.plots = [];
  state.maps = ids.map(() => new MemoryMap((time) => setTime(time), (job, seq) => askLife(job, seq)));
  byId("memory").replaceChildren(...state.maps.map((map) => map.root));
  for (const id of ["memory", "life"]) byId(id).classList.toggle("two", ids.length > 1);
  show();
  ids.forEach((id, k) => (views[k].state === "under way" ? follow(id, k, turn) : fetchFrames(id, k, turn)));
}

function show() {
  const all = names();
  showNotes();
  showResult(state.views, all);
  byId("live").hidden = !state.views.some((view) => view.state === "under way");
  const jobs = [...places(state.views).keys()], before = byId("life-job").value;
  byId("life-job").replaceChildren(...jobs.map((name) => make("option", {}, name)));
  if (jobs.includes(before)) byId("life-job").value = before;
  showMemory();
  showSeries();
}

function showMemory() {
  const place = places(state.views), all = names();
  legend(place, state.frames.some((frames) => frames && frames.times.length));
  state.maps.forEach((map, k) => state.frames[k] && map.show(state.frames[k], place, state.views.length > 1 ? all[k] : ""));
  byId("scrub").hidden = !state.frames.some((frames) => frames && frames.times.length && frames.rows);
  if (state.follow) state.time = until();
  drawMemory();
}

const from = () => Math.min(until(), ...state.frames.map((frames) => (frames && frames.times.length ? frames.begin : Infinity)));
const until = () => Math.max(0, ...state.frames.map((frames) => (frames ? frames.end : 0)));

function drawMemory() {
  const begin = from(), end = until();
  byId("time").max = 1000;
  byId("time").value = end > begin ? Math.round((1000 * (state.time - begin)) / (end - begin)) : 0;
  byId("at").textContent = seconds(state.time, end);
  state.maps.forEach((map) => map.draw(state.time, begin, end));
}

function setTime(time) {
  const end = until();
  state.time = Math.min(end, Math.max(from(), time));
  state.follow = state.time >= end;
  drawMemory();
}

async function fetchFrames(id, k, turn) {
  const map = state.maps[k];
  map.wait("looking into the rows…", state.views[k].virtual ? 0 : null);
  const told = await await_(`/api/runs/${id}/memory`, (part) => map.wait("simulating it once more, to look into the rows…", part), () => turn === state.turn).catch((error) => ({ failed: error.message }));
  if (told === null || turn !== state.turn) return;
  if (told.failed) return map.wait(told.failed);
  state.frames[k] = new Frames();
  state.frames[k].add(told);
  if (state.time === 0) state.time = (from() + until()) / 2;
  state.follow = false;
  showMemory();
  showSeries();
}

// A run that is under way: its view whenever it is another one, and what is in its rows since.
function follow(id, k, turn) {
  const stream = new EventSource(`/api/runs/${id}/events`);
  state.streams.push(stream);
  let asking = false;
  stream.onmessage = async (event) => {
    if (turn !== state.turn) return;
    state.views[k] = JSON.parse(event.data);
    show();
    if (asking) return;
    asking = true;
    const frames = state.frames[k] || new Frames();
    const told = await ask(`/api/runs/${id}/memory?after=${frames.times.length}`).catch((error) => ({ failed: error.message }));
    asking = false;
    if (turn !== state.turn) return;
    if (told.failed || told.working !== undefined) return state.maps[k].wait(told.failed || "");
    frames.add(told);
    state.frames[k] = frames;
    showMemory();
  };
  stream.addEventListener("over", () => {
    stream.close();
    listRuns();
    if (turn === state.turn) choose(state.chosen);
  });
}

// What was counted when the rows were looked into, for runs that keep no such thing themselves.
function deepSeries(view, frames) {
  if (!view.virtual || !frames || !frames.times.length) return [];
  const line = (values) => (name, k) => ({ name, values: values[k] });
  const found = [{ title: "Rows by job", unit: "rows", kind: "stacked", t: frames.times, lines: frames.jobs.slice(0, frames.byJob.length).map(line(frames.byJob)) }];
  for (const [what, title] of Object.entries(DEEP)) {
    const lines = frames.series[what];
    if (lines && lines.some((one) => one[one.length - 1] > 0)) found.push({ title, unit: "so far", kind: "lines", t: frames.times, lines: frames.jobs.map(line(lines)) });
  }
  return found;
}

function showSeries() {
  const place = places(state.views), all = names();
  const each = state.views.map((view, k) => [...deepSeries(view, state.frames[k]), ...view.series]);
  const titles = [...new Set(each.flat().map((series) => series.title))];
  const shown = titles.flatMap((title) => each.map((list, k) => [list.find((series) => series.title === title), k]).filter(([series]) => series));
  byId("series-card").hidden = !shown.length;
  byId("series").classList.toggle("two", state.views.length > 1);
  while (state.plots.length < shown.length) {
    const plot = new Plot("time", setTime);
    state.plots.push(plot);
    byId("series").append(plot.root);
  }
  while (state.plots.length > shown.length) state.plots.pop().root.remove();
  const last = Math.max(0, ...shown.map(([series]) => series.t[series.t.length - 1]));
  shown.forEach(([series, k], at) => {
    state.plots[at].root.classList.toggle("right", k === 1);
    const most = state.views.length > 1 ? Math.max(...each.map((list) => highest(list.find((one) => one.title === series.title)))) : 0;
    state.plots[at].show(series, state.views.length > 1 ? all[k] : "", place, most, state.views.length > 1 ? last : null);
  });
}

async function askLife(job, seq) {
  byId("life-job").value = job;
  byId("life-seq").value = seq;
  const mine = (state.life = {}), turn = state.turn, all = names();
  const boxes = state.chosen.map(() => make("div", {}, make("p", { class: "working" }, "looking…")));
  byId("life").replaceChildren(...boxes);
  await Promise.all(
    state.chosen.map(async (id, k) => {
      const query = new URLSearchParams({ job, seq });
      const bar = make("progress", { max: 1, value: 0 });
      const working = (part) => { bar.value = part; boxes[k].replaceChildren(make("p", { class: "working" }, "simulating it once more, to follow the fragment…", bar)); };
      const told = await await_(`/api/runs/${id}/fragment?${query}`, working, () => turn === state.turn && mine === state.life).catch((error) => ({ failed: error.message }));
      if (told === null) return;
      boxes[k].replaceChildren(told.failed ? make("p", { class: "note" }, told.failed) : life(told, state.views.length > 1 ? all[k] : ""));
    })
  );
}

function theme(name) {
  document.documentElement.dataset.theme = name;
  if (state.views.length) show();
}

function play() {
  if (state.playing) {
    clearInterval(state.playing);
    state.playing = null;
  } else {
    if (state.time >= until()) setTime(from());
    state.playing = setInterval(() => {
      setTime(state.time + (until() - from()) / 240);
      if (state.time >= until()) play();
    }, 50);
  }
  byId("play").textContent = state.playing ? "❚❚" : "▶";
  byId("play").setAttribute("aria-label", state.playing ? "Pause" : "Play");
}

const chosen = () => [byId("first").value, byId("second").value].filter((id) => id !== "").map(Number);

async function start() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  theme(dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => theme(dark.matches ? "dark" : "light"));
  byId("theme").addEventListener("click", () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  for (const id of ["first", "second"]) byId(id).addEventListener("change", () => choose(chosen()));
  byId("time").addEventListener("input", () => setTime(from() + (byId("time").value / 1000) * (until() - from())));
  byId("play").addEventListener("click", play);
  byId("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    if (byId("life-seq").value.trim() !== "") askLife(byId("life-job").value, byId("life-seq").value.trim());
  });
  let resized = null;
  window.addEventListener("resize", () => {
    clearTimeout(resized);
    resized = setTimeout(() => state.views.length && show(), 150);
  });
  await listRuns();
  if (!state.runs.length) return byId("tiles").replaceChildren(make("p", { class: "note" }, "there is no run to show"));
  const wanted = location.hash.slice(1).split("+").filter((id) => state.runs.some((run) => String(run.id) === id)).map(Number);
  const ids = wanted.length ? wanted.slice(0, 2) : [state.runs[0].id];
  byId("first").value = ids[0];
  byId("second").value = ids[1] ?? "";
  await choose(ids);
  setInterval(() => !document.hidden && listRuns().catch(() => {}), 5000);
}

start().catch((error) => byId("notes").replaceChildren(make("p", { class: "note" }, `cannot be shown: ${error.message}`)));
