import { readFileSync } from 'node:fs';
import path from 'node:path';
import { costsPage, scenarios } from '../../tools/costs.ts';
import { PROJECT } from '../support/service.ts';

const all = scenarios();

test.each(all)('$name: each line says what it stands for', ({ lines }) => {
  expect(lines.length).toBeGreaterThan(0);
  for (const { quantity, usd: each, why } of lines) {
    expect(quantity).toBeGreaterThan(0);
    expect(each).toBeGreaterThan(0);
    expect(why).not.toBe('');
  }
});

test('a price is a quantity times what one costs', () => {
  const [small] = all.filter(({ name }) => name === 'One small run');
  const [glue] = (small?.lines ?? []).filter(({ price }) => price === 'Glue DPU second');
  expect(glue).toMatchObject({ quantity: 900 });
  expect(glue?.usd).toBeCloseTo(0.11, 10); // a quarter of an hour of a DPU at 0.44 an hour
});

test('a large run costs more than a small one, and Glue is most of it', () => {
  const [small, large] = ['One small run', 'One run of 100 GB'].map((wanted) => all.find(({ name }) => name === wanted));
  expect(large?.usd).toBeGreaterThan(8 * (small?.usd ?? Infinity));
  expect(large?.lines[0]?.usd).toBeGreaterThan((large?.usd ?? Infinity) / 2);
});

test('the page has every total and every source', () => {
  const page = costsPage();
  for (const { name } of all) expect(page).toContain(`## ${name}`);
  expect(page).toMatch(/https:\/\/aws\.amazon\.com\/glue\/pricing\/ +\| 20\d\d-\d\d /);
});

test('README says what they come to', () => {
  const readme = readFileSync(path.join(PROJECT, 'README.md'), 'utf8');
  const usd = (wanted: string) => all.find(({ name }) => name === wanted)?.usd ?? NaN;
  expect(readme).toContain(`about ${usd('Idle month').toFixed(0)} USD for a month in which nothing happens`);
  expect(readme).toContain(`${usd('One small run').toFixed(2)} USD for a small run`);
  expect(readme).toContain(`${usd('One run of 100 GB').toFixed(2)} USD for a run of 100 GB`);
  expect(readme).toContain(`adds about ${usd('network: vpc, each month besides').toFixed(0)} USD a month`);
});
