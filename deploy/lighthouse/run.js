// Prints scores of the console's pages as Markdown: `npm start -- --url http://127.0.0.1:8000 --home ../../.local`.
//
// Each page is loaded on desktop and on mobile, with Lighthouse's own throttling. The median of several runs counts.
// Each run has an empty HTTP cache, which Lighthouse clears without clearing the cookies.
// The exit code is 1 if a score is below the limit. Full reports go to --out.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import lighthouse, { desktopConfig } from "lighthouse";
import { launch, signIn } from "./browser.js";
import { CATEGORIES, failing, metrics, middle, score } from "./findings.js";

const { values: options } = parseArgs({
  options: {
    url: { type: "string", default: "http://127.0.0.1:8000" },
    home: { type: "string", default: process.env.JATEVO_HOME || "../../.local" },
    as: { type: "string", default: "admin" }, // a role of credentials.json, or "nobody"
    page: { type: "string", multiple: true, default: ["/", "/nodes/"] },
    theme: { type: "string", default: "dark" },
    runs: { type: "string", default: "3" },
    limit: { type: "string", default: "98" },
    out: { type: "string", default: "../../build/lighthouse" },
  },
});
const FORMS = { desktop: desktopConfig, mobile: undefined };
const base = new URL(options.url);
const MOST_LOST = 5;
let lost = 0;
const limit = Number(options.limit);

const browser = await launch();
try {
  mkdirSync(options.out, { recursive: true });
  await browser.setCookie({ name: "theme", value: options.theme, path: "/", domain: base.hostname });
  const results = [];
  for (const path of options.page) {
    for (const form of Object.keys(FORMS)) results.push({ path, form, report: await judge(path, form) });
  }
  print(results);
  const low = results.some(({ report }) => CATEGORIES.some((category) => !(score(report, category) >= limit)));
  process.exitCode = low ? 1 : 0;
} finally {
  await browser.close();
}

/** The median of several runs of a page. Signs in before each run, so that it never gets the login page. */
async function judge(path, form) {
  const runs = [];
  for (let number = 0; number < Number(options.runs); number += 1) {
    if (options.as !== "nobody") await signIn(browser, base, credentials());
    const page = await browser.newPage();
    try {
      const address = new URL(path, base).href;
      const flags = { logLevel: "error", onlyCategories: CATEGORIES, output: ["json", "html"] };
      const { lhr, report } = await lighthouse(address, flags, FORMS[form], page);
      // A browser that has just started sometimes loses the start of its first trace.
      if (lhr.runtimeError?.code === "NO_NAVSTART" && (lost += 1) < MOST_LOST) {
        number -= 1;
        continue;
      }
      if (lhr.runtimeError) throw new Error(`${address}: ${lhr.runtimeError.message}`);
      if (lhr.finalDisplayedUrl !== address) throw new Error(`${address} led to ${lhr.finalDisplayedUrl}`);
      const signedIn = (await page.$('form[action="/logout/"]')) !== null;
      if (signedIn === (options.as === "nobody")) throw new Error(`${address} was not seen as ${options.as}`);
      runs.push(lhr);
      const name = `${path.replaceAll(/[^a-z0-9]+/gi, "-").replaceAll(/^-|-$/g, "") || "overview"}-${form}-${number + 1}`;
      writeFileSync(join(options.out, `${name}.json`), report[0]);
      writeFileSync(join(options.out, `${name}.html`), report[1]);
    } finally {
      await page.close();
    }
  }
  return middle(runs);
}

function credentials() {
  return JSON.parse(readFileSync(join(options.home, "credentials.json"), "utf8"))[options.as];
}

function print(results) {
  console.log(`Lighthouse ${results[0].report.lighthouseVersion}, ${options.as}, ${options.theme}, middle of ${options.runs}\n`);
  console.log(`| page | form | ${CATEGORIES.join(" | ")} | limit ${limit} |\n| --- | --- | ${"---: | ".repeat(CATEGORIES.length)}--- |`);
  for (const { path, form, report } of results) {
    const scores = CATEGORIES.map((category) => score(report, category));
    const verdict = scores.every((each) => each >= limit) ? "pass" : "FAIL";
    console.log(`| ${path} | ${form} | ${scores.join(" | ")} | ${verdict} |`);
  }
  for (const { path, form, report } of results) {
    console.log(`\n### ${path}, ${form}\n\n${metrics(report).join("; ")}\n`);
    for (const { category, id, weight, title, value, items } of failing(report)) {
      console.log(`- **${title}** (${category}, ${id}, ${weight ? `weight ${weight}` : "no score"}) ${value}`);
      for (const item of items) console.log(`  - ${item}`);
    }
  }
}
