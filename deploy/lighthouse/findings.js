// Summarises a Lighthouse report for a person who wants to act on it.

export const CATEGORIES = ["performance", "accessibility", "best-practices"];
const METRICS = [
  "first-contentful-paint",
  "largest-contentful-paint",
  "total-blocking-time",
  "cumulative-layout-shift",
  "server-response-time",
];

/** The run with the median performance. Only performance varies from run to run. */
export function middle(runs) {
  const ordered = [...runs].sort((a, b) => score(a, "performance") - score(b, "performance"));
  return ordered[Math.floor((ordered.length - 1) / 2)];
}

/** A category's score from 0 to 100. NaN if Lighthouse has none. */
export function score(report, category) {
  const found = report.categories[category].score;
  return found === null ? NaN : Math.round(found * 100);
}

/** The five figures that make up the performance, as Lighthouse formats them. */
export function metrics(report) {
  return METRICS.map((id) => `${report.audits[id]?.title ?? id}: ${report.audits[id]?.displayValue ?? "—"}`);
}

/** Every audit without a full score: `{category, id, weight, title, value, items}`. Weight 0 does not affect scores. */
export function failing(report) {
  const found = [];
  for (const category of CATEGORIES) {
    for (const { id, weight } of report.categories[category].auditRefs) {
      const audit = report.audits[id];
      const judged = audit.score !== null && !["notApplicable", "manual"].includes(audit.scoreDisplayMode);
      const failed = audit.scoreDisplayMode === "error" || (judged && audit.score < 1);
      if (!failed || METRICS.includes(id) || id === "speed-index") continue;
      found.push({ category, id, weight, title: audit.title, value: audit.displayValue ?? "", items: items(audit) });
    }
  }
  return found.sort((a, b) => b.weight - a.weight);
}

function items(audit) {
  if (audit.errorMessage) return [audit.errorMessage];
  if (!["table", "opportunity"].includes(audit.details?.type)) return [];
  return audit.details.items.slice(0, 8).map(describe);
}

/** One row of an audit's table: its element, its address, or any other text in it. */
function describe(item) {
  const node = item.node ?? {};
  const words = [
    node.selector ?? node.nodeLabel,
    node.explanation,
    item.url ?? item.source?.url ?? item.sourceLocation?.url,
    item.description,
    item.issueType,
    item.directive,
    item.label,
    ["totalBytes", "wastedBytes"].filter((key) => item[key]).map((key) => `${key} ${Math.round(item[key])}`).join(" "),
    item.wastedMs ? `wastedMs ${Math.round(item.wastedMs)}` : "",
    item.score ? `score ${item.score.toFixed?.(4) ?? item.score}` : "",
  ];
  const said = words.filter((word) => typeof word === "string" && word).join(" | ");
  return (said || JSON.stringify(item)).replace(/\s+/g, " ").slice(0, 400);
}
