import { costsPage, scenarios } from '../../tools/costs.ts';

const all = scenarios();

test.each(all)('$name: the lines add up, and each says what it stands for', ({ lines, usd }) => {
  expect(lines.length).toBeGreaterThan(0);
  expect(lines.reduce((sum, line) => sum + line.usd, 0)).toBeCloseTo(usd, 10);
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
