// A node's latencies: three lines.

import { chart, colours, frame, moment } from "./chart.js";

const NAMES = ["p50", "p95", "p99"];
const DASHES = { p50: [2, 3], p95: [], p99: [8, 4] };

// `milliseconds` of jatevo/web/templatetags/numbers.py; adding 0 turns -0 into 0
const milliseconds = (value) => {
  if (!Number.isFinite(value)) return "—";
  const rounded = (Math.abs(value) < 10 ? Math.round(value * 10) / 10 : Math.round(value)) + 0;
  return `${rounded.toLocaleString("en-GB", { minimumFractionDigits: Math.abs(value) < 10 ? 1 : 0 })} ms`;
};

function options(host, readout, height) {
  const { lines, text, grid } = colours(host);
  const words = (index, data) =>
    `${moment(data[0][index], host.dataset.zone)}: ${NAMES.map((name, place) => `${name} ${milliseconds(data[place + 1][index])}`).join(", ")}`;
  return {
    ...frame(host, readout, height, { text, grid, words, value: (value) => `${value.toLocaleString("en-GB")} ms` }),
    series: [{}, ...NAMES.map((name) => ({ label: name, stroke: lines[name], dash: DASHES[name], width: 1.5, show: name in lines, points: { size: 4 } }))],
  };
}

export default function latencyChart(host) {
  return chart(host, { options, data: JSON.parse(host.dataset.series), label: "Latency chart: use the arrow keys to read values" });
}
