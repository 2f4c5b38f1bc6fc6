/** Programs under test as child processes. */

import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

const PATIENCE_MS = 10_000;
const START_MS = 60_000;
/** Lines of its log that are kept for when it does not start. */
const LOG_LINES = 50;

/** Starts a program that says on its first line, as JSON, where it is. `env` comes on top of ours. */
export async function started<T>(
  program: string,
  args: string[],
  { cwd, env }: { cwd: string; env: NodeJS.ProcessEnv },
): Promise<{ child: ChildProcess; says: T }> {
  const child = spawn(program, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  const log: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => {
    log.push(line);
    if (log.length > LOG_LINES) log.shift();
  });
  try {
    const line = await new Promise<string>((done, failed) => {
      createInterface({ input: child.stdout }).once('line', done);
      child.once('error', failed);
      child.once('exit', (code, signal) => failed(new Error(`exit ${code ?? signal}`)));
      setTimeout(() => failed(new Error(`nothing on standard output within ${START_MS} ms`)), START_MS).unref();
    });
    return { child, says: JSON.parse(line) as T };
  } catch (error) {
    await ended(child);
    throw new Error(`${program} ${args[0]} did not start: ${error}\n${log.join('\n')}`);
  }
}

/** Ends it as an operator would, and less gently if that does not help. */
export function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return Promise.resolve();
  return new Promise((done) => {
    const force = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS);
    child.once('exit', () => {
      clearTimeout(force);
      done();
    });
    child.kill('SIGTERM');
  });
}

/** Asks until the answer is neither undefined, null nor false. `what` is for the error. */
export async function until<T>(what: string, ask: () => T | Promise<T>, ms = 15_000): Promise<NonNullable<Exclude<T, false>>> {
  const end = Date.now() + ms;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== null && answer !== false) return answer as NonNullable<Exclude<T, false>>;
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}
