// Uses the explorer and the verification of receipts in Firefox: `npm run firefox -- --url http://127.0.0.1:8000 --home ../../.local`.
//
// Needs a console that is up and has receipts. Says each step, and writes a picture of it to --out. The exit code is 1 if
// one failed. Firefox is driven over WebDriver BiDi, which it has built in. FIREFOX_PATH names it, or it is found in PATH.
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import puppeteer from "puppeteer-core";
import { installed } from "./browser.js";

const { values: options } = parseArgs({
  options: {
    url: { type: "string", default: "http://127.0.0.1:8000" },
    home: { type: "string", default: process.env.JATEVO_HOME || "../../.local" },
    as: { type: "string", default: "operator" },
    out: { type: "string", default: "../../build/firefox" },
  },
});
const ROWS = "main [data-list] [data-open]";
const WIDTHS = [1440, 360];
const browser = await puppeteer.launch({
  browser: "firefox",
  executablePath: process.env.FIREFOX_PATH || installed(["firefox-esr", "firefox"], "firefox-esr"),
  headless: true,
});
const page = await browser.newPage();
const complaints = [];
let failed = 0;
page.on("pageerror", (error) => complaints.push(String(error)));
page.on("console", (message) => {
  if (message.type() === "error") complaints.push(message.text());
});

try {
  mkdirSync(options.out, { recursive: true });
  console.log(await browser.version());
  await page.setViewport({ width: WIDTHS[0], height: 900 });
  await step("signs in", signIn);
  await step("lists receipts with their totals and the histogram", list);
  await step("walks with j and k, opens the drawer and closes it", walk);
  await step("loads more rows when scrolled", scrollOn);
  const receipt = await step("verifies a receipt in this browser", verifyStored);
  await step("verifies a pasted receipt, and refuses a changed one", () => verifyPasted(receipt));
  for (const width of WIDTHS) await step(`nothing scrolls sideways at ${width} px`, () => fits(width, receipt));
  await step("no error was logged", async () => expect(complaints.length === 0, complaints.join("; ")));
} finally {
  await browser.close();
}
process.exitCode = failed ? 1 : 0;

async function step(what, act) {
  try {
    const found = await act();
    console.log(`ok      ${what}`);
    return found;
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${what}: ${error.message}`);
  } finally {
    await page.screenshot({ path: join(options.out, `${what.replaceAll(/[^a-z0-9]+/gi, "-")}.png`) });
  }
  return undefined;
}

function expect(holds, otherwise) {
  if (!holds) throw new Error(otherwise);
}

async function open(path) {
  await page.goto(new URL(path, options.url).href, { waitUntil: "load" });
}

async function signIn() {
  const { email, password } = JSON.parse(readFileSync(join(options.home, "credentials.json"), "utf8"))[options.as];
  await open("/login/");
  await page.type('input[type="email"]', email);
  await page.type('input[type="password"]', password);
  await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
  expect((await page.$('form[action="/logout/"]')) !== null, `still at ${page.url()}`);
}

async function list() {
  await open("/receipts/");
  await page.waitForSelector(ROWS);
  await page.waitForSelector("#receipts-histogram svg");
}

async function walk() {
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await page.keyboard.press("k");
  const first = await page.evaluate((rows) => document.querySelector(rows) === document.activeElement, ROWS);
  expect(first, "the first row has no focus");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.activeElement?.id === "drawer-title");
  await page.keyboard.press("Escape");
  await page.waitForFunction(
    (rows) => new URL(location).pathname === "/receipts/" && document.querySelector(rows) === document.activeElement,
    {},
    ROWS,
  );
}

async function scrollOn() {
  const before = (await page.$$(ROWS)).length;
  await page.evaluate(() => {
    const box = document.querySelector(".table-scroll");
    box.scrollTop = box.scrollHeight;
    scrollTo(0, document.body.scrollHeight);
  });
  await page.waitForFunction((rows, count) => document.querySelectorAll(rows).length > count, {}, ROWS, before);
}

async function verifyStored() {
  const path = await page.$eval(ROWS, (row) => row.getAttribute("href"));
  await open(path);
  const button = await page.waitForSelector('[data-module*="stored_receipt"] button:not([disabled])');
  await button.click();
  await page.waitForFunction(() => document.querySelector("[data-result]").textContent.trim() !== "");
  const said = await page.waitForFunction(() => {
    const text = document.querySelector("[data-result]").innerText;
    return /valid/i.test(text) && text;
  });
  expect(!/not valid|invalid/i.test(await said.jsonValue()), await said.jsonValue());
  return await page.$eval('[data-module*="stored_receipt"]', async (panel) => {
    const answer = await fetch(panel.dataset.raw);
    return { path: location.pathname, raw: await answer.text(), key: panel.dataset.key };
  });
}

async function verifyPasted({ raw, key }) {
  await open("/verify/");
  await page.waitForSelector('form[data-module] button[type="submit"]:not([disabled])');
  expect((await verdictOn(raw, key)).startsWith("Valid"), "a good receipt does not verify");
  const changed = raw.replace(/"tokens_output":\s*\d+/, '"tokens_output":999999');
  expect(changed !== raw, "the receipt could not be changed");
  expect(!(await verdictOn(changed, key)).startsWith("Valid"), "a changed receipt verifies");
}

async function verdictOn(raw, key) {
  return await page.evaluate(
    async (texts) => {
      const form = document.querySelector("form[data-module]");
      const verdict = document.querySelector("#verdict");
      form.elements.receipt.value = texts.raw;
      form.elements.key.value = texts.key;
      const told = new Promise((resolve) => {
        new MutationObserver(() => setTimeout(resolve, 300)).observe(verdict, { childList: true, subtree: true });
      });
      form.requestSubmit();
      await told;
      return verdict.innerText.trim();
    },
    { raw, key },
  );
}

async function fits(width, { path }) {
  await page.setViewport({ width, height: 900 });
  for (const each of ["/receipts/", path, "/verify/"]) {
    await open(each);
    const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    expect(over <= 0, `${each} is ${over} px too wide`);
  }
}
