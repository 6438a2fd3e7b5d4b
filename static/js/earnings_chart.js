// Earnings over time: stacked bars, with what is held as a hollow bar on top. The server wrote the amounts as words,
// because numbers here cannot hold every digit.

import { chart, colours, frame } from "./chart.js";

// Each part on top of those below it. Drawn from the top down, so that the lower ones cover the higher ones.
function stacked([times, ...parts]) {
  const sums = parts.map((part, place) => part.map((_, index) => (part[index] == null ? null : parts.slice(0, place + 1).reduce((sum, each) => sum + (each[index] ?? 0), 0))));
  return [times, ...sums.toReversed()];
}

const dollars = (value) => `$${value.toLocaleString("en-GB", { minimumFractionDigits: Number.isInteger(value) ? 0 : 2, maximumFractionDigits: 6 })}`;

function shade(plot, spans, colour) {
  const { left, width, top, height } = plot.bbox;
  const at = (seconds) => Math.min(Math.max(plot.valToPos(seconds, "x", true), left), left + width);
  plot.ctx.save();
  plot.ctx.fillStyle = colour;
  plot.ctx.globalAlpha = 0.5;
  for (const [start, end] of spans) plot.ctx.fillRect(at(start), top, at(end) - at(start), height);
  plot.ctx.restore();
}

export default function earningsChart(host) {
  const data = JSON.parse(host.dataset.series);
  const words = JSON.parse(host.dataset.words);
  const keys = [...host.closest("figure").querySelectorAll("[data-line]")].map((sample) => sample.dataset.line);

  // what is not known is shaded, as in the server's drawing; quiet steps are empty
  const unknown = data[0].flatMap((start, index) => (data.slice(1).every((part) => part[index] == null) ? [[start, data[0][index + 1] ?? Number(host.dataset.until)]] : []));

  const options = (element, readout, height) => {
    const { lines, text, grid } = colours(element);
    const paths = window.uPlot.paths.bars({ size: [0.8, 48], align: 1 });
    const series = keys.map((key) => ({ label: key, stroke: lines[key], fill: key === "held" ? undefined : lines[key], width: 1, paths, points: { show: false } }));
    const shell = frame(element, readout, height, { text, grid, value: dollars, words: (index) => words[index] });
    return { ...shell, series: [{}, ...series.toReversed()], hooks: { ...shell.hooks, drawClear: [(plot) => shade(plot, unknown, grid)] } };
  };
  return chart(host, { options, data: stacked(data), label: "Earnings chart: use the arrow keys to read values" });
}
