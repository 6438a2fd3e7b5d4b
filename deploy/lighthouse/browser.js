// One chromium for all runs, with the cookies of a signed-in person.
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import puppeteer from "puppeteer-core";

const NAMES = ["chromium", "chromium-browser", "google-chrome", "chromium-headless-shell"];
const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
];

/** Starts a headless browser: the one named by CHROME_PATH, or the first one found in PATH. */
export function launch() {
  return puppeteer.launch({ executablePath: process.env.CHROME_PATH || installed(NAMES, "chromium"), args: ARGUMENTS, headless: true });
}

/** Signs the browser in with POST /v1/auth/login. The access cookie is valid for five minutes. */
export async function signIn(browser, base, { email, password }) {
  const answer = await fetch(new URL("/v1/auth/login", base), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ email, password }),
  });
  if (!answer.ok) throw new Error(`${email} cannot sign in: ${answer.status} ${await answer.text()}`);
  for (const line of answer.headers.getSetCookie()) {
    const [pair, ...attributes] = line.split("; ");
    const [name, value] = [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)];
    const path = attributes.find((each) => each.toLowerCase().startsWith("path="))?.slice(5) ?? "/";
    await browser.setCookie({ name, value, path, domain: base.hostname, httpOnly: true, sameSite: "Lax" });
  }
}

/** The first of these programs in PATH. `debian` is the package to install otherwise. */
export function installed(names, debian) {
  for (const name of names) {
    for (const folder of (process.env.PATH ?? "").split(delimiter)) {
      try {
        accessSync(join(folder, name), constants.X_OK);
        return join(folder, name);
      } catch {
        // not in this folder
      }
    }
  }
  throw new Error(`None of ${names.join(", ")} is installed (Debian: apt-get install ${debian}).`);
}
