// What came out: tiles, JCT bars, the table of jobs, and what stands behind them.

import { byId, colour, count, make, part, places, seconds, swatch, UNKNOWN } from "./dom.js";

const COUNTERS = ["gradients", "aggregated", "completed", "collisions", "preemptions", "evicted", "reminders", "misses", "resends", "duplicates", "denied"];

export function showResult(views, names) {
  tiles(views);
  const place = places(views);
  byId("bars").replaceChildren(...bars(views, place));
  byId("jobs").replaceChildren(...views.map((view, k) => jobs(view, place, views.length > 1 ? names[k] : "")));
  byId("tables").replaceChildren(...views.flatMap((view, k) => behind(view, views.length > 1 ? `${names[k]}: ` : "")));
}

const total = (view, counter) =>
  view.jobs.some((job) => counter in job.counters) ? view.jobs.reduce((sum, job) => sum + (job.counters[counter] || 0), 0) : null;

function tiles(views) {
  const ratio = (value) => (value === null || value === undefined ? UNKNOWN : `${value.toFixed(2)}×`);
  const fragments = (view) => view.jobs.reduce((sum, job) => sum + job.fragments, 0);
  const by_ps = (view) => {
    if (fragments(view)) return view.jobs.reduce((sum, job) => sum + job.via_ps, 0) / fragments(view);
    const known = view.jobs.map((job) => job.by_ps).filter((one) => one !== null && one !== undefined);
    return known.length ? known.reduce((a, b) => a + b) / known.length : null;
  };
  const shown = [
    ["mean JCT", "mean_jct_s", (view) => seconds(view.summary.mean_jct_s)],
    ["makespan", "makespan_s", (view) => seconds(view.summary.makespan_s)],
    ["mean JCT / bound", "mean_per_bound", (view) => ratio(view.summary.mean_per_bound)],
    ["mean occupancy", "occupancy_mean", (view) => part(view.summary.occupancy_mean)],
    ["sums from the PS", "by_ps", (view) => part(by_ps(view))],
    ["preemptions", "preemptions", (view) => count(total(view, "preemptions"))],
    ["collisions", "collisions", (view) => count(total(view, "collisions"))],
  ];
  byId("tiles").replaceChildren(
    ...shown.map(([name, key, value]) =>
      make("div", { class: "tile", "data-figure": key }, make("span", {}, name), ...views.map((view) => make("b", { "data-value": view.summary[key] }, value(view))))
    )
  );
}

function bars(views, place) {
  const known = views.flatMap((view) => view.jobs.map((job) => job.jct_s ?? job.expected_s ?? job.so_far_s ?? 0));
  const most = Math.max(...known, ...views.flatMap((view) => view.jobs.map((job) => job.bound_s || 0)), 1e-12);
  const rows = [...place].map(([name, index]) => {
    const row = make("div", { class: "bar" }, make("span", { class: "name", title: name }, swatch(index), name));
    views.forEach((view, k) => {
      const job = view.jobs.find((one) => one.name === name);
      const track = make("div", { class: `track${k ? " second" : ""}` });
      const time = job && (job.jct_s ?? job.so_far_s);
      const width = (value) => `${(100 * value) / most}%`;
      if (job && job.jct_s == null && job.expected_s) track.append(make("div", { class: "fill open", style: { width: width(job.expected_s), backgroundColor: colour(index) } }));
      if (time) track.append(make("div", { class: "fill", style: { width: width(time), backgroundColor: colour(index) } }));
      if (job && job.bound_s) track.append(make("div", { class: "bound", style: { left: width(job.bound_s) }, title: `bound ${seconds(job.bound_s)}` }));
      row.append(track, make("span", { class: "value", "data-job": name, "data-value": job && job.jct_s }, time ? seconds(time, most) : UNKNOWN));
    });
    return row;
  });
  const words = ["the line in a bar: the least that computing and links need"];
  if (views.length > 1) words.unshift("plain: the first run, hatched: the other");
  if (views.some((view) => view.state === "under way")) words.unshift("full: so far, light: expected");
  return [...rows, make("p", { class: "caption" }, words.join("; "))];
}

function jobs(view, place, title) {
  const most = Math.max(...view.jobs.map((job) => job.jct_s || job.so_far_s || 0));
  const live = view.state === "under way";
  const columns = [
    ["iterations", (job) => (job.done !== undefined && job.planned ? `${job.done} / ${job.planned}` : count(job.iterations))],
    ["/s", (job) => (job.rate ? job.rate.toFixed(2) : UNKNOWN)],
    [live ? "so far" : "JCT", (job) => seconds(job.jct_s ?? (live ? job.so_far_s : null), most)],
    ["expected", (job) => (live ? seconds(job.expected_s, most) : UNKNOWN)],
    ["waited", (job) => seconds(job.wait_s, most)],
    ["computes", (job) => seconds(job.compute_s, most)],
    ["sends", (job) => seconds(job.comm_s, most)],
    ["/ bound", (job) => (job.jct_s && job.bound_s ? (job.jct_s / job.bound_s).toFixed(2) : UNKNOWN)],
    ["/ alone", (job) => (job.inflation ? job.inflation.toFixed(2) : UNKNOWN)],
    ["by switch", (job) => share(job)],
    ["resends", (job) => (job.fragments ? count(job.resends) : UNKNOWN)],
    ["loss", (job) => (job.final_loss == null ? UNKNOWN : job.final_loss.toFixed(4))],
    ["accuracy", (job) => (job.accuracy == null ? UNKNOWN : job.accuracy.toFixed(3))],
  ].map(([name, cell]) => [name, view.jobs.map(cell)]);
  const shown = columns.filter(([, cells]) => cells.some((cell) => cell !== UNKNOWN));
  const head = make("tr", {}, make("th", {}), ...shown.map(([name]) => make("th", { scope: "col" }, name)));
  const rows = view.jobs.map((job, k) =>
    make("tr", {}, make("th", { scope: "row" }, swatch(place.get(job.name)), job.name), ...shown.map(([, cells]) => make("td", {}, cells[k])))
  );
  return make("div", {}, title ? make("h3", {}, title) : null, make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)));
}

function share(job) {
  if (job.fragments) return part(1 - job.via_ps / job.fragments);
  return job.by_ps == null ? UNKNOWN : part(1 - job.by_ps);
}

function table(title, head, rows) {
  if (!rows.length) return null;
  return make(
    "figure",
    { style: { margin: 0 }, class: "wide" },
    make("h3", {}, title),
    make("table", {}, make("thead", {}, make("tr", {}, ...head.map((name) => make("th", { scope: "col" }, name)))), make("tbody", {}, ...rows.map(([name, ...cells]) => make("tr", {}, make("th", { scope: "row" }, name), ...cells.map((cell) => make("td", { class: head.length === 2 ? "words" : "" }, cell))))))
  );
}

function behind(view, title) {
  const counted = COUNTERS.filter((name) => total(view, name) !== null).map((name) => [name, ...view.jobs.map((job) => count(job.counters[name] ?? 0))]);
  return [
    table(`${title}switch counters`, ["", ...view.jobs.map((job) => job.name)], counted),
    table(`${title}settings`, ["key", "value"], view.settings),
    table(`${title}made with`, ["", "version"], view.versions),
  ].filter((one) => one !== null);
}
