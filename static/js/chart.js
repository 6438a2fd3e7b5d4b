// What all charts with uPlot share: they take the place of the server's drawing of the same points. The mouse and
// the arrow keys read values off, dragging zooms. Colours are those of the legend, so that a theme changes them too.

export const AXIS_FONT = "11px ui-sans-serif, system-ui, sans-serif";
const zooms = new Map(); // what a chart was zoomed to, kept over its refreshes

let library;
async function load({ script, style }) {
  const arrive = (tag, attributes) =>
    new Promise((resolve, reject) => {
      const failed = () => reject(new DOMException(`${tag} was not loaded`, "NetworkError"));
      const element = Object.assign(document.createElement(tag), attributes, { onload: resolve, onerror: failed });
      document.head.append(element);
    });
  library ??= Promise.all([arrive("script", { src: script }), arrive("link", { rel: "stylesheet", href: style })]);
  try {
    await library;
  } catch (error) {
    library = undefined; // the next chart, or this one, asks again
    throw error;
  }
}

export const moment = (seconds, timeZone) =>
  new Date(seconds * 1000).toLocaleString("en-GB", { timeZone, timeZoneName: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

// The legend's colours by line, and those of text and grid.
export function colours(host) {
  const of = (element, property) => getComputedStyle(element)[property];
  const samples = host.closest("figure").querySelectorAll("[data-line]");
  return {
    lines: Object.fromEntries([...samples].map((sample) => [sample.dataset.line, of(sample, "color")])),
    text: of(host.querySelector("[data-drawing]"), "color"),
    grid: of(host.querySelector("[data-drawing] > svg"), "borderLeftColor"),
  };
}

export const wholeRange = (host) => ({ min: Number(host.dataset.since), max: Number(host.dataset.until) });

// The width of the longest label. Later cycles get the same answer, or the layout would not settle.
function widthOfLabels(plot, labels, index, cycle) {
  const axis = plot.axes[index];
  if (cycle > 1) return axis._size;
  plot.ctx.font = axis.font[0];
  const widths = (labels ?? []).map((label) => plot.ctx.measureText(label).width / window.devicePixelRatio);
  return Math.ceil(Math.max(0, ...widths) + axis.ticks.size + axis.gap);
}

// uPlot's options but for the series: times below, values beside, and the readout of the point under the cursor.
export function frame(host, readout, height, { text, grid, value, words }) {
  const whole = wholeRange(host);
  const axis = { stroke: text, font: AXIS_FONT, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1, size: 4 } };
  return {
    width: host.clientWidth,
    height,
    legend: { show: false },
    tzDate: (seconds) => window.uPlot.tzDate(new Date(seconds * 1000), host.dataset.zone),
    scales: {
      x: { time: true, range: (plot, min, max) => (min == null || min === max ? [whole.min, whole.max] : [min, max]) },
      y: { range: (plot, min, max) => [0, max ? max * 1.08 : 1] },
    },
    axes: [
      { ...axis, space: 64, values: [[86400, "{D} {MMM}", null, null, null, null, null, null, 1], [60, "{HH}:{mm}", "\n{D} {MMM}", null, "\n{D} {MMM}", null, null, null, 1], [1, "{HH}:{mm}:{ss}", null, null, null, null, null, null, 1]] },
      { ...axis, size: widthOfLabels, values: (plot, ticks) => ticks.map(value) },
    ],
    cursor: { y: false, drag: { x: true, y: false } },
    hooks: {
      setCursor: [
        ({ cursor, data }) => {
          if (cursor.idx == null || data[0][cursor.idx] == null) return;
          readout.textContent = words(cursor.idx, data);
        },
      ],
      setScale: [
        (plot, key) => {
          if (key !== "x") return;
          const { min, max } = plot.scales.x;
          if (min > whole.min + 1 || max < whole.max - 1) zooms.set(host.id, [min, max]);
          else zooms.delete(host.id);
        },
      ],
    },
  };
}

// Draws the data with the options that `options(host, readout, height)` gives, and again when theme or size change.
export async function chart(host, { options, data, label }) {
  try {
    await load(host.dataset);
  } catch {
    return; // the server's drawing stays
  }
  if (!host.isConnected) return;
  const whole = wholeRange(host);
  const figure = host.closest("figure");
  const readout = figure.querySelector("[data-readout]");
  const height = host.clientHeight;
  const holder = document.createElement("div");
  host.append(holder);
  let plot;

  const draw = () => {
    plot?.destroy();
    plot = new window.uPlot(options(host, readout, height), data, holder);
    const [min, max] = zooms.get(host.id) ?? [whole.min, whole.max];
    plot.setScale("x", { min, max });
  };
  draw();
  host.querySelector("[data-drawing]").classList.add("sr-only"); // its words are for those who hear the page

  holder.id = `${host.id}-plot`;
  holder.dataset.reading = ""; // while it has the focus, nothing is drawn anew under the reader
  holder.tabIndex = 0;
  holder.setAttribute("role", "group");
  holder.setAttribute("aria-label", label);
  holder.setAttribute("aria-describedby", (readout.id = `${host.id}-readout`));
  holder.addEventListener("focus", () => readout.setAttribute("aria-live", "polite"));
  holder.addEventListener("blur", () => readout.removeAttribute("aria-live"));
  holder.addEventListener("dblclick", () => plot.setScale("x", whole));
  holder.addEventListener("keydown", (event) => {
    if (event.key === "Home") plot.setScale("x", whole);
    else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      const last = data[0].length - 1;
      const from = plot.cursor.idx ?? last + 1;
      let index = from + (event.key === "ArrowLeft" ? -1 : 1);
      index = Math.min(Math.max(index, 0), last);
      plot.setCursor({ left: plot.valToPos(data[0][index], "x"), top: 0 });
    } else return;
    event.preventDefault();
  });

  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const theme = new MutationObserver(() => draw());
  theme.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  scheme.addEventListener("change", draw);
  const size = new ResizeObserver(() => {
    if (host.isConnected) {
      if (host.clientWidth) plot.setSize({ width: host.clientWidth, height });
      return;
    }
    plot.destroy();
    theme.disconnect();
    size.disconnect();
    scheme.removeEventListener("change", draw);
  });
  size.observe(host);
}
