import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Page } from '@playwright/test';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/**
 * What fades in has the contrast of neither its beginning nor its end. What moves for ever, as a spinner does, is not waited for, and
 * neither is what is taken away while it moves.
 */
async function settled(page: Page): Promise<void> {
  await page.evaluate(async () => {
    const moving = document.getAnimations().filter((one) => one.effect?.getComputedTiming().endTime !== Number.POSITIVE_INFINITY);
    await Promise.allSettled(moving.map((one) => one.finished));
  });
}

/** Runs axe-core in the page. Evaluated, not added as a script: the page's Content-Security-Policy forbids that. */
export async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe);
  await settled(page);
  return page.evaluate(async () => {
    // biome-ignore lint/suspicious/noExplicitAny: axe-core puts itself on the window
    const result = await (window as any).axe.run(document);
    return result.violations.map(
      (violation: { id: string; help: string; nodes: { html: string; failureSummary: string }[] }) =>
        `${violation.id}: ${violation.help}\n${violation.nodes
          .slice(0, 3)
          .map((node) => `  ${node.html.slice(0, 200)}\n  ${node.failureSummary}`)
          .join('\n')}`,
    );
  });
}
