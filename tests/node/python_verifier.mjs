// Python's verifiers of Web Push, in an environment of their own below target/, which is made once per list of packages.
import { execFile, execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { root } from "./server.mjs";

const run = promisify(execFile);
const REQUIREMENTS = join(root, "tests", "python", "push_requirements.txt");
const SCRIPT = join(root, "tests", "python", "push_verify.py");
const INSTALL_MS = 180_000;

/// Where the environment is; made if it is not there. The error says why it cannot be.
export async function environment() {
  const digest = createHash("sha256").update(readFileSync(REQUIREMENTS)).digest("hex").slice(0, 16);
  const made = join(root, "target", `push-check-python-${digest}`);
  if (existsSync(join(made, "bin", "python"))) return made;
  // Under another name until it is whole. Nothing in it that is used knows the name.
  const making = `${made}.${process.pid}`;
  try {
    mkdirSync(join(root, "target"), { recursive: true });
    await run("python3", ["-m", "venv", making]);
    const install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", REQUIREMENTS];
    await run(join(making, "bin", "python"), install, { timeout: INSTALL_MS });
    renameSync(making, made);
    return made;
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
}

/// What Python's libraries say of each of these; see push_verify.py.
export function verifyInPython(environment, pushes) {
  const python = join(environment, "bin", "python");
  const input = pushes.map((push) => `${JSON.stringify(push)}\n`).join("");
  return execFileSync(python, [SCRIPT], { input, encoding: "utf8" }).trim().split("\n").map((line) => JSON.parse(line));
}
