// Charts that answer: hover, one cursor over all charts of a page, drag to zoom, double-click back.
// The server has drawn each chart already; this replaces the drawing when it can, and leaves it when it cannot.
import uPlot from "uplot";
import "./charts.css";

const REFRESH_MS = 30_000;
const SHORTEST_ZOOM_S = 120;
const sync = uPlot.sync("page");
const charts = new Map(); // figure → {plot, observer}

const probe = document.createElement("span");
probe.hidden = true;
document.body.append(probe);

// A canvas cannot read light-dark(): let an element resolve the variable to the colour of the theme.
function colour(name) {
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

function palette() {
  return [colour("--series-1"), colour("--series-2"), colour("--series-3"), colour("--series-4")];
}

function withAlpha(value, alpha) {
  return `color-mix(in srgb, ${value} ${Math.round(alpha * 100)}%, transparent)`;
}

const PREFIXES = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];

function inWords(value, unit) {
  if (value == null) return "no data";
  if (unit === "B" || unit === "B/s" || unit === "") {
    for (const [size, prefix] of PREFIXES) {
      if (Math.abs(value) >= size) return `${trimmed(value / size, 1)} ${prefix}${unit}`;
    }
  }
  return `${trimmed(value, Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 1 ? 1 : 2)} ${unit}`.trim();
}

function trimmed(value, digits) {
  return value.toFixed(digits).replace(/\.0+$/, "");
}

// Maintenance windows behind the lines, thresholds across them, the past dimmed where nothing was heard.
function backdrop(data) {
  return {
    hooks: {
      drawClear: [
        (plot) => {
          const { ctx, bbox } = plot;
          ctx.save();
          ctx.fillStyle = colour("--chart-window");
          for (const window of data.windows) {
            const left = Math.max(plot.valToPos(window.from, "x", true), bbox.left);
            const right = Math.min(plot.valToPos(window.to, "x", true), bbox.left + bbox.width);
            if (right > left) ctx.fillRect(left, bbox.top, right - left, bbox.height);
          }
          // What happened on the device: a dotted line through every chart, so that cause and effect line up.
          ctx.lineWidth = devicePixelRatio;
          ctx.setLineDash([devicePixelRatio, 3 * devicePixelRatio]);
          for (const mark of data.marks) {
            if (mark.at < data.from || mark.at > data.to) continue;
            const x = plot.valToPos(mark.at, "x", true);
            ctx.strokeStyle = colour(mark.status ? `--${mark.status}` : "--faint");
            ctx.beginPath();
            ctx.moveTo(x, bbox.top);
            ctx.lineTo(x, bbox.top + bbox.height);
            ctx.stroke();
          }
          ctx.restore();
        },
      ],
      draw: [
        (plot) => {
          const { ctx, bbox } = plot;
          ctx.save();
          ctx.lineWidth = devicePixelRatio;
          ctx.font = `${11 * devicePixelRatio}px ${getComputedStyle(document.body).fontFamily}`;
          ctx.textBaseline = "bottom";
          ctx.textAlign = "right";
          for (const line of data.thresholds) {
            const y = plot.valToPos(line.value, "y", true);
            if (y < bbox.top - 1 || y > bbox.top + bbox.height + 1) continue;
            ctx.strokeStyle = ctx.fillStyle = colour(`--${line.status}`);
            ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
            ctx.beginPath();
            ctx.moveTo(bbox.left, y);
            ctx.lineTo(bbox.left + bbox.width, y);
            ctx.stroke();
            // The two lie close together: one is named above its line, the other below.
            const below = line.status === "warn";
            ctx.textBaseline = below ? "top" : "bottom";
            ctx.fillText(line.label, bbox.left + bbox.width - 4 * devicePixelRatio, y + (below ? 3 : -2) * devicePixelRatio);
          }
          ctx.restore();
        },
      ],
    },
  };
}

function options(figure, data, width) {
  const colours = palette();
  const series = [{ value: (_, v) => (v == null ? "" : timeText(v, data.zone)) }];
  const bands = [];
  data.series.forEach((one, index) => {
    const line = colours[index % colours.length];
    const unit = data.unit;
    if (one.min) {
      series.push({ scale: "y", show: true, stroke: "transparent", width: 0, points: { show: false }, label: `${one.label} max` });
      series.push({ scale: "y", show: true, stroke: "transparent", width: 0, points: { show: false }, label: `${one.label} min` });
      bands.push({ series: [series.length - 2, series.length - 1], fill: withAlpha(line, 0.16) });
    }
    series.push({
      label: one.label,
      scale: "y",
      stroke: line,
      width: 1.5,
      spanGaps: false,
      points: { show: false },
      value: (_, v) => inWords(v, unit),
    });
    if (one.compare) {
      series.push({ label: `${one.label}, a week before`, scale: "y", stroke: withAlpha(line, 0.55), width: 1, dash: [2, 3], points: { show: false } });
    }
    if (one.forecast) {
      series.push({ label: `${one.label}, forecast`, scale: "y", stroke: line, width: 1.5, dash: [6, 4], points: { show: false } });
    }
  });
  const axis = {
    stroke: colour("--muted"),
    font: `11px ${getComputedStyle(document.body).fontFamily}`,
    grid: { stroke: colour("--chart-grid"), width: 1 },
    ticks: { show: false },
  };
  return {
    width,
    height: figure.querySelector(".plot").clientHeight,
    padding: [8, 8, 0, 0],
    legend: { show: false },
    tzDate: (stamp) => uPlot.tzDate(new Date(stamp * 1e3), data.zone),
    cursor: {
      sync: { key: sync.key, setSeries: false },
      drag: { x: true, y: false, setScale: false },
      points: { size: 6 },
    },
    scales: {
      x: { time: true, min: data.from, max: data.to, range: () => [data.from, data.to] },
      y: { range: (_, low, high) => bounds(data, low, high) },
    },
    axes: [
      { ...axis, size: 24, space: 90, values: timeTicks },
      { ...axis, size: 60, space: 32, values: (_, ticks) => ticks.map((tick) => inWords(tick, data.unit)) },
    ],
    series,
    bands,
    plugins: [backdrop(data)],
    hooks: {
      setSelect: [
        (plot) => {
          if (plot.select.width < 4) return;
          const from = plot.posToVal(plot.select.left, "x");
          const to = plot.posToVal(plot.select.left + plot.select.width, "x");
          plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
          zoom(from, to);
        },
      ],
      setCursor: [(plot) => readOut(figure, data, plot.cursor.idx, markUnder(plot, data))],
      ready: [
        (plot) => {
          plot.over.addEventListener("dblclick", (event) => {
            event.stopPropagation();
            if (zooms > 0) history.back();
          });
        },
      ],
    },
  };
}

// Hours in the middle of a day, days in the middle of a month: never both on each tick.
function timeTicks(plot, ticks, _axis, _space, step) {
  const zone = plot.data.zone;
  const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: zone });
  const hour = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: zone });
  return ticks.map((tick) => {
    const at = new Date(tick * 1000);
    const clock = hour.format(at);
    return step >= 86400 || clock === "00:00" ? day.format(at) : clock;
  });
}

function bounds(data, low, high) {
  let top = high ?? 1;
  let bottom = Math.min(low ?? 0, 0);
  if (data.unit === "%") top = 100;
  if (data.unit === "°C") bottom = Math.min(low ?? 0, 20);
  for (const line of data.thresholds) if (line.value <= top * 1.6) top = Math.max(top, line.value * 1.06);
  return [bottom, top > bottom ? top * (data.unit === "%" ? 1 : 1.06) : bottom + 1];
}

function timeText(stamp, zone) {
  return new Intl.DateTimeFormat("en-GB", {
    weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", timeZone: zone, timeZoneName: "short",
  }).format(new Date(stamp * 1000));
}

// One line under the title says what the cursor is on; empty, it says the newest value.
function readOut(figure, data, index, mark) {
  const place = figure.querySelector(".reading");
  if (!place) return;
  const at = index ?? lastIndex(data);
  place.replaceChildren();
  if (at == null) {
    place.textContent = "no data in this span";
    return;
  }
  data.series.forEach((one, number) => {
    const item = document.createElement("span");
    item.className = `reading-item series-${(number % 4) + 1}`;
    const span = one.min && one.min[at] != null && one.max[at] - one.min[at] > 0.05
      ? ` (${inWords(one.min[at], data.unit)} to ${inWords(one.max[at], data.unit)})` : "";
    const name = document.createElement("span");
    name.textContent = data.series.length > 1 ? `${one.label} ` : "";
    const value = document.createElement("b");
    value.textContent = inWords(one.mean[at], data.unit);
    item.append(name, value, span);
    place.append(item);
  });
  const time = document.createElement("span");
  time.className = "reading-time";
  time.textContent = index == null ? "now" : timeText(data.times[at], data.zone);
  place.append(time);
  if (mark) {
    const note = document.createElement("span");
    note.className = "reading-mark";
    note.textContent = mark.text;
    place.append(note);
  }
}

function markUnder(plot, data) {
  const near = (mark) => Math.abs(plot.valToPos(mark.at, "x") - plot.cursor.left);
  const closest = [...data.marks].sort((one, other) => near(one) - near(other))[0];
  return closest && plot.cursor.left >= 0 && near(closest) < 6 ? closest : null;
}

function lastIndex(data) {
  for (let at = data.times.length - 1; at >= 0; at--) {
    if (data.series.some((one) => one.mean[at] != null)) return at;
  }
  return null;
}

function columns(data) {
  const rows = [data.times];
  for (const one of data.series) {
    if (one.min) rows.push(one.max, one.min);
    rows.push(one.mean);
    if (one.compare) rows.push(one.compare);
    if (one.forecast) rows.push(one.forecast);
  }
  rows.zone = data.zone;
  return rows;
}

function address(figure) {
  const url = new URL(figure.dataset.chart, location.href);
  const page = new URL(location.href);
  for (const key of ["range", "from", "to", "compare"]) {
    if (page.searchParams.has(key)) url.searchParams.set(key, page.searchParams.get(key));
  }
  return url;
}

async function load(figure) {
  const answer = await fetch(address(figure), { headers: { Accept: "application/json" } });
  if (!answer.ok) {
    figure.dataset.state = "failed"; // the server's drawing stays, marked as no longer live
    return;
  }
  const data = await answer.json();
  if (!figure.isConnected) return;
  figure.dataset.state = "live";
  const place = figure.querySelector(".plot");
  charts.get(figure)?.plot?.destroy();
  place.replaceChildren();
  const plot = new uPlot(options(figure, data, place.clientWidth), columns(data), place);
  charts.set(figure, { plot, data });
  readOut(figure, data, null);
}

let zooms = 0;
let zooming = false;

function zoom(from, to) {
  // The shared cursor tells every chart of the selection: the first one's word counts.
  if (zooming) return;
  zooming = true;
  setTimeout(() => (zooming = false), 0);
  if (to - from < SHORTEST_ZOOM_S) {
    const middle = (from + to) / 2;
    from = middle - SHORTEST_ZOOM_S / 2;
    to = middle + SHORTEST_ZOOM_S / 2;
  }
  const url = new URL(location.href);
  url.searchParams.delete("range");
  url.searchParams.set("from", new Date(Math.round(from) * 1000).toISOString().replace(".000", ""));
  url.searchParams.set("to", new Date(Math.round(to) * 1000).toISOString().replace(".000", ""));
  history.pushState({ zoom: true }, "", url);
  zooms += 1;
  reload();
}

function reload() {
  for (const link of document.querySelectorAll(".ranges a")) {
    const same = new URL(link.href).searchParams.get("range") === new URL(location.href).searchParams.get("range");
    if (new URL(location.href).searchParams.has("from") || !same) link.removeAttribute("aria-current");
    else link.setAttribute("aria-current", "true");
  }
  for (const figure of charts.keys()) if (figure.isConnected) load(figure);
}

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    seen.unobserve(entry.target);
    charts.set(entry.target, {});
    load(entry.target);
  }
}, { rootMargin: "200px" });

const resized = new ResizeObserver((entries) => {
  for (const entry of entries) {
    const chart = charts.get(entry.target.closest(".chart"));
    if (chart?.plot && Math.abs(chart.plot.width - entry.contentRect.width) > 1) {
      chart.plot.setSize({ width: entry.contentRect.width, height: entry.contentRect.height });
    }
  }
});

function adopt(root) {
  for (const figure of root.querySelectorAll(".chart[data-chart]")) {
    if (charts.has(figure)) continue;
    seen.observe(figure);
    resized.observe(figure.querySelector(".plot"));
  }
}

addEventListener("popstate", (event) => {
  if (charts.size === 0) return;
  zooms = event.state?.zoom ? Math.max(zooms - 1, 1) : 0;
  reload();
});
document.addEventListener("themechange", reload);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", reload);
document.addEventListener("htmx:afterSwap", (event) => adopt(event.target));
setInterval(() => {
  for (const figure of charts.keys()) if (!figure.isConnected) charts.delete(figure);
  if (!document.hidden && !new URL(location.href).searchParams.has("from")) reload();
}, REFRESH_MS);
adopt(document);
