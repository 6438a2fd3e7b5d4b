// Builds the stylesheet and fails if the committed one differs.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const committed = new URL("../../static/dist/app.css", import.meta.url);
const folder = mkdtempSync(join(tmpdir(), "jatevo-css-"));
try {
  const fresh = join(folder, "app.css");
  execFileSync("npx", ["--no-install", "tailwindcss", "--input", "src/app.css", "--output", fresh, "--minify"], {
    cwd: new URL(".", import.meta.url),
    stdio: ["ignore", "ignore", "inherit"],
  });
  if (!readFileSync(fresh).equals(readFileSync(committed))) {
    console.error("static/dist/app.css is stale: run `npm run --prefix deploy/css build` and commit it.");
    process.exitCode = 1;
  }
} finally {
  rmSync(folder, { recursive: true });
}
